//! The HTTP/1 codec against its cases, against itself however the bytes are cut, and against hyper.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod differences;
mod generated;
mod hyper_peer;
mod oracle;
