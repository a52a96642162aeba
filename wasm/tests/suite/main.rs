//! Guests of every kind on a host that records what they ask for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

mod both;
mod classic;
mod component;
mod failures;
mod life;
mod refusals;
mod statuses;
