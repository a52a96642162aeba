//! The ADS conversation: its messages, and both ends of it as state machines without IO and clock.
//!
//! A caller moves messages between a stream and a session, and tells it when the stream begins and ends.

pub mod message;

pub mod client;

pub mod published;

pub mod server;

mod backoff;

mod watch;
