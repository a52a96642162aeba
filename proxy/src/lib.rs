//! The data plane: listeners, HTTP, filter chains, routing, upstreams.

pub mod chain;

pub mod exchange;

pub mod filters;

pub mod router;

pub mod balancer;

pub mod retry;

pub mod reply;

pub mod http;
