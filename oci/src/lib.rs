//! Wasm modules as OCI artifacts: formats, pull, push, digests, content store.
