//! HTTP/1: a codec without IO (`lines`, `fields`, `parse`, `body`, `encode`) and the connections that use it.

pub mod body;
pub(crate) mod client;
pub mod encode;
mod fields;
pub(crate) mod halves;
mod lines;
pub mod parse;
pub(crate) mod server;
mod transport;
