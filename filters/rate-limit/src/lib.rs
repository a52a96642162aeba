//! Leno's rate-limit stage as a filter.
