//! Leno's auth stage as a filter.
