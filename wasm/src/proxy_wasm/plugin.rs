//! A plugin in a VM: its root context.

use std::rc::Rc;

use leno_sdk::host::{CallId, ExchangeHost, PluginHost, QueueId};
use leno_sdk::plugin::{CallResponse, Exchange, Interest, Plugin, Trap};

use super::code::Code;
use super::exchange::HttpContext;
use super::state::{Context, Root};
use super::vm::Vm;
use crate::engine::Engine;
use crate::worker::{PluginOptions, StartError, VmOptions};

/// Starts a plugin in `vm`, or in a new VM. Returns the VM, for the next plugin of its key.
pub(crate) fn start(
    engine: &Engine,
    code: &Code,
    vm: Option<Rc<Vm>>,
    (vm_options, options): (&VmOptions, &PluginOptions),
    host: Rc<dyn PluginHost>,
) -> Result<(Rc<Vm>, Rc<dyn Plugin>), StartError> {
    let id = vm
        .as_ref()
        .and_then(|vm| vm.with_state(super::State::new_context_id))
        .unwrap_or(1);
    let root = Rc::new(Root::new(id, vm_options.vm_id.clone(), options.clone(), host));
    let vm = match vm {
        Some(vm) => vm,
        None => Vm::new(engine, code, vm_options, &root)?,
    };
    let context = Context { root, exchange: None };
    vm.with_state(|state| {
        state.contexts.insert(id, context.clone());
        state.next_context = state.next_context.max(id + 1);
    });
    let (started, log) = vm.starting(|| configure(&vm, &context, vm_options));
    match started {
        Ok(()) => {
            let interest = vm.exports.interest();
            let plugin = Rc::new(RootPlugin {
                vm: Rc::clone(&vm),
                context,
                interest,
            });
            Ok((vm, plugin))
        }
        Err(Start::Trap(trap)) => Err(StartError::Failed { trap, log }),
        Err(Start::Refused(callback)) => {
            vm.finish_root(&context.root);
            Err(StartError::Refused { callback, log })
        }
    }
}

enum Start {
    Trap(Trap),
    Refused(&'static str),
}

impl From<Trap> for Start {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

fn configure(vm: &Vm, context: &Context, vm_options: &VmOptions) -> Result<(), Start> {
    let id = context.root.id;
    let on = (id, context);
    let exports = &vm.exports;
    if let Some(create) = &exports.context_create {
        vm.call(on, "proxy_on_context_create", create, (id, 0))?;
    }
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(start) = &exports.vm_start
        && vm.call(
            on,
            "proxy_on_vm_start",
            start,
            (id, size(&vm_options.configuration)),
        )? == 0
    {
        return Err(Start::Refused("proxy_on_vm_start"));
    }
    if let Some(configure) = &exports.configure
        && vm.call(
            on,
            "proxy_on_configure",
            configure,
            (id, size(&context.root.options.configuration)),
        )? == 0
    {
        return Err(Start::Refused("proxy_on_configure"));
    }
    Ok(())
}

struct RootPlugin {
    vm: Rc<Vm>,
    context: Context,
    interest: Interest,
}

impl RootPlugin {
    fn on(&self) -> (u32, &Context) {
        (self.context.root.id, &self.context)
    }
}

impl Plugin for RootPlugin {
    fn interest(&self) -> Interest {
        self.interest
    }

    fn exchange(&self, host: Rc<dyn ExchangeHost>) -> Result<Box<dyn Exchange>, Trap> {
        Ok(Box::new(HttpContext::begin(&self.vm, &self.context.root, host)?))
    }

    fn on_tick(&self) -> Result<(), Trap> {
        let Some(tick) = &self.vm.exports.tick else {
            return Ok(());
        };
        self.vm
            .call(self.on(), "proxy_on_tick", tick, self.context.root.id)
    }

    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap> {
        let Some(ready) = &self.vm.exports.queue_ready else {
            return Ok(());
        };
        self.vm.call(
            self.on(),
            "proxy_on_queue_ready",
            ready,
            (self.context.root.id, queue.0),
        )
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap> {
        let root = self.context.root.id;
        let token = self.vm.with_state(|state| {
            let token = state.calls.close(root, call)?;
            state.response = Some(response.clone());
            Some(token)
        });
        // A call that the guest has not made, or that was answered before, must not reach it: SDKs panic.
        let (Some(Some(token)), Some(callback)) = (token, &self.vm.exports.http_call_response) else {
            return Ok(());
        };
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let sizes = (
            count(response.headers.len()),
            count(response.body.len()),
            count(response.trailers.len()),
        );
        let result = self.vm.call(
            self.on(),
            "proxy_on_http_call_response",
            callback,
            (root, token, sizes.0, sizes.1, sizes.2),
        );
        self.vm.with_state(|state| state.response = None);
        result
    }

    fn on_shutdown(&self) {
        let root = &self.context.root;
        if !root.shut_down.replace(true) && root.open.get() == 0 {
            self.vm.finish_root(root);
        }
    }

    fn is_broken(&self) -> bool {
        self.vm.is_broken()
    }
}

/// Other plugins may go on in the VM, and must not carry this one along.
impl Drop for RootPlugin {
    fn drop(&mut self) {
        self.on_shutdown();
    }
}
