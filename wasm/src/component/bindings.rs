//! Generated from `wit/filter.wit`.

#![allow(
    missing_docs,
    reason = "generated; the interface is documented in wit/filter.wit"
)]
#![allow(clippy::all, unreachable_pub, unused_qualifications, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "filter",
});
