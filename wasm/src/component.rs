//! Components of the world `leno:filter/filter@0.1.0` (the folder `wit`).
//!
//! One instance per plugin and worker: exchanges of one plugin share its memory, other plugins never do. A component
//! that breaks takes the exchanges of its plugin with it, and its plugin is started anew by whoever owns it.

mod code;
mod exchange;
mod instance;
mod plugin;

mod bindings;
mod hosting;
mod packed;

pub(crate) use code::{Code, offers};
pub(crate) use plugin::start;
