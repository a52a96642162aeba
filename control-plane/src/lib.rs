//! World to snapshot to proxies: translation, publishing, artifacts, registry, status.

pub mod registry;
