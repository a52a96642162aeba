//! TLS on both sides: contexts made ready from configuration, and what their connections tell.
//!
//! A context is made once for all workers, so that a session begun on one is resumed on another. A context that
//! changes in anything is a new one, with new ticket keys and new caches: no session outlives the trust it began with.

pub mod server;

pub mod client;

pub mod certificate;

pub mod session;

pub mod stats;

mod trust;

mod names;

mod load;

mod der;
