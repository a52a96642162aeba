//! The HTTP/1 codec against its cases, against itself however the bytes are cut, and against hyper.

mod cases;
mod differences;
mod generated;
mod hyper_peer;
mod oracle;
