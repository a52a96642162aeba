//! The data plane: listeners, HTTP, filter chains, routing, upstreams.

pub mod router;

pub mod balancer;

pub mod retry;

pub mod reply;

pub mod http;
