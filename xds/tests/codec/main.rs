//! Resources and bootstraps through the public codec: what is read, what is refused and where, and back again.

mod documents;
mod refusals;
mod round_trip;
mod strategies;
