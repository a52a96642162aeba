//! Leno's header-rewrite stage as a filter.
