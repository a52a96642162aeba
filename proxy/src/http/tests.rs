//! Live tests: real sockets, with curl and hyper as peers.

mod clients;
mod echo;
mod servers;
