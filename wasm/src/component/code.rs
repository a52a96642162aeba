//! Native code of a component, linked with the host's interfaces.

use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{Filter, FilterPre};
use super::instance::State;
use crate::engine::Engine;

/// Shared by all instances of the component, on every thread.
pub(crate) struct Code {
    pub(super) linked: FilterPre<State>,
}

impl Code {
    pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        let component = Component::new(engine.wasmtime(), bytes)?;
        let mut linker = Linker::new(engine.wasmtime());
        Filter::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
        let linked = FilterPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { linked })
    }
}

/// Interfaces that a component may import: those of the world.
pub(crate) fn offers(interface: &str) -> bool {
    const INTERFACES: [&str; 9] = [
        "types",
        "http",
        "flow",
        "properties",
        "outbound",
        "shared",
        "metrics",
        "log",
        "clock",
    ];
    interface
        .strip_prefix("leno:filter/")
        .and_then(|name| name.strip_suffix("@0.1.0"))
        .is_some_and(|name| INTERFACES.contains(&name))
}
