//! World to snapshot to proxies: translation, publishing, artifacts, registry and status.
//!
//! `folder` (later also Kubernetes) reads the outside into a [`world::World`]; [`translate`](mod@translate) is a pure
//! function from it to what each kind of proxy runs; the rest carries that to proxies and reports what became of it.

pub mod api;

pub mod check;

pub mod world;

pub mod folder;

pub mod translate;

pub mod artifacts;

pub mod publish;

pub mod status;

pub mod registry;

pub mod server;
