//! Leno's telemetry stage as a filter.
