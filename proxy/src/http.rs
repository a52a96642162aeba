//! HTTP on connections: one small interface over HTTP/1 and HTTP/2, for both sides of the proxy.

pub mod client;
pub mod error;
pub mod headers;
pub mod io;
pub mod message;
pub mod server;
pub mod settings;
