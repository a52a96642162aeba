//! Wasm modules as OCI artifacts: formats, pull, push, digests, content store.
//!
//! Bytes from a registry are hostile until their digest and size are checked: nothing here reads more than a
//! stated limit, and nothing reaches the [`store`] unverified.

pub mod reference;

pub mod digest;

pub mod client;

pub mod pull;

pub mod push;

pub mod fetch;

pub mod store;

pub mod inspect;

pub mod manifest;

pub mod layout;

pub mod keychain;

pub mod error;

mod session;

mod token;

mod transport;

mod guard;

mod answer;

mod transfer;

mod pack;

mod index;

mod archive;

mod unpack;
