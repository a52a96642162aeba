//! A component of the `leno:filter` package.

mod exports;

mod plugin;

mod exchange;

mod convert;

use std::cell::RefCell;
use std::rc::Rc;

use crate::plugin::Plugin;

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    reason = "generated; the component ABI passes pointers"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "filter" });
    export!(Component with_types_in self);
    use super::exports::Component;
}

use bindings::leno::filter::log;

pub(super) fn log_panic(message: &str) {
    log::write(log::Level::Critical, message.as_bytes());
}

/// The host of the only plugin of a component.
#[derive(Clone)]
pub struct PluginRef;

/// The host of one exchange.
#[derive(Clone)]
pub struct ExchangeRef {
    id: u64,
}

thread_local! {
    static PLUGIN: RefCell<Option<Rc<dyn Plugin>>> = const { RefCell::new(None) };
}

/// Before `configure` has succeeded there is none, and the host has no reason to call.
fn plugin() -> Option<Rc<dyn Plugin>> {
    PLUGIN.with_borrow(Clone::clone)
}
