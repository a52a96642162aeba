//! End-to-end suites with real peers: what starts, watches and ends them.
//!
//! Suites stand in `tests/`; every one names the parts that it runs: the programs of this workspace as processes, a
//! real Envoy, a real registry, nginx, curl, h2load and gRPC. Nothing is skipped: a part that is missing fails the
//! suite, with the command that gets it.

pub mod peers;

pub mod process;

pub mod wait;

pub mod upstream;

pub mod files;

pub mod client;

pub mod bootstrap;

pub mod proxy;

pub mod status;

pub mod mesh;

pub mod registry;

pub mod http1;

pub mod mutation;
