//! End-to-end and conformance suites with real peers.
