//! The mesh as meant: values that are always valid, comparable with `==`, and free of IO, clock and wire format.
//!
//! `xds` decodes the Envoy v3 API into these and encodes them back; `control-plane` translates what users write
//! into these; `proxy` applies these. Nothing else knows two of the three shapes (see `ARCHITECTURE.md`).

pub mod snapshot;

pub mod listener;

pub mod http;

pub mod route;

pub mod matching;

pub mod tls;

pub mod cluster;

pub mod endpoint;

pub mod filter;

pub mod access_log;

pub mod field;

pub mod bootstrap;

pub mod invalid;
