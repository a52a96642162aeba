//! The ADS conversation: its messages, and both ends of it as state machines without IO and clock.

pub mod message;
