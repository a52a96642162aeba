//! The data plane: listeners, HTTP, filter chains, routing, upstreams.

fn main() {}
