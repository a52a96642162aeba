//! Leno's routing stage as a filter.
