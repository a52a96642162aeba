//! Wasm guests as filters: every module becomes a [`leno_sdk::plugin::Plugin`], whatever ABI it was built for.
//!
//! The way of a module: [`inspect()`] reads it without compiling, [`Engine::compile`] makes it a [`Module`] (slow; on
//! any thread but a worker's), and [`Worker::plugin`] starts it on one worker thread. `proxy_wasm` and `component`
//! are sibling adapters that do not import each other.

mod engine;
mod inspect;
mod module;
mod trial;
mod worker;

mod component;
mod proxy_wasm;

mod deadline;
mod trap;

pub use engine::{Engine, EngineError, Limits};
pub use inspect::{Abi, Import, Inspection, ProxyWasmVersion, inspect};
pub use module::{Module, ModuleError};
pub use trial::trial;
pub use worker::{PluginOptions, StartError, VmOptions, Worker};
