//! Micro benches named by layer, and the load harness that runs peers side by side.
