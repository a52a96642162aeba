//! HTTP/2 over the `h2` crate, with our message rules on top.
//!
//! Two things are lost on the way through that crate's types: the order of pseudo headers (ours is `:method`,
//! `:scheme`, `:authority`, `:path`), and the place of a repeated name, whose values come together.

pub(crate) mod client;
mod convert;
pub(crate) mod server;
mod streams;
