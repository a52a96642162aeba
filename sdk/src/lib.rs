//! Write a proxy filter once: as a Proxy-Wasm module, as a component, and natively.
//!
//! A filter author meets one trait and the views it is called with. Below it stand two object-safe seams that every
//! kind of filter shares: [`plugin`] is what a proxy calls, [`host`] is what a filter may ask. Native filters,
//! Proxy-Wasm modules and components all implement the first and use the second, so a chain cannot tell them apart.

pub mod plugin;

pub mod host;
