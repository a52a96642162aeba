//! The data plane: listeners, HTTP, filter chains, routing, upstreams.

pub mod http;
