//! Envoy v3 API to and from the model, and the ADS conversation.
//!
//! Wire types stop here: this is the only crate that names prost types, and none of them stands in a public
//! signature. A resource is decoded whole or refused with the path of the field that is wrong or not supported.

pub mod resource;

pub mod codec;

pub mod bootstrap;

pub mod ads;

pub mod transport;

mod listener;

mod chain_match;

mod http;

mod route;

mod route_action;

mod retry;

mod header_edits;

mod matching;

mod tls;

mod cluster;

mod upstream_protocol;

mod endpoint;

mod filter;

mod wasm_plugin;

mod wasm_code;

mod access_log;

mod wire;

mod strict;

mod document;

mod descriptors;

mod pb;
