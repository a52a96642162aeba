//! Envoy v3 API to and from the model, and the ADS conversation.
//!
//! Wire types stop here: this is the only crate that names prost types, and none of them stands in a public
//! signature. A resource is decoded whole or refused with the path of the field that is wrong or not supported.

pub mod resource;

pub mod ads;
