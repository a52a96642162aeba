//! Wasm guests as filters: engine, limits, pool, component and Proxy-Wasm hosts.
