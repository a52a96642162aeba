//! End-to-end suites with real peers: what starts, watches and ends them.
//!
//! Suites stand in `tests/`; every one names the parts that it runs: the programs of this workspace as processes, a
//! real Envoy, a real registry, nginx, curl, h2load and gRPC. Nothing is skipped: a part that is missing fails the
//! suite, with the command that gets it.
//!
//! [`properties`] and [`http1`] need nobody: what must hold for any bytes from outside, and the HTTP/1 codec against its
//! cases and against hyper.

pub mod peers;

pub mod process;

pub mod wait;

pub mod upstream;

pub mod files;

pub mod client;

pub mod bootstrap;

pub mod certificates;

pub mod proxy;

pub mod status;

pub mod mesh;

pub mod registry;

pub mod http1;

pub mod mutation;

pub mod properties;
