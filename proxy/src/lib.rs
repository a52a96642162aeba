//! The data plane: listeners, HTTP, filter chains, routing, upstreams.

pub mod server;

pub mod options;

pub mod config;

pub mod worker;

pub mod runtime;

pub mod listener;

pub mod tls;

mod connection;

mod request;

mod forwarding;

pub mod chain;

pub mod exchange;

pub mod filters;

pub mod router;

pub mod balancer;

pub mod upstream;

pub mod retry;

pub mod reply;

pub mod http;

pub mod access_log;

pub mod stats;

pub mod admin;

pub mod logging;
