//! What a host calls: the exports of a module, under the names of the ABI.

use std::rc::Rc;

use super::returned::{buffer, map_pairs};
use super::{EFFECTIVE, ExchangeRef, PARTS, Part, PluginRef, ROOTS, Root};
use crate::guest::FACTORY;
use crate::host::{CallId, LogLevel, PluginHost, QueueId};
use crate::plugin::{BodyVerdict, CallResponse, Exchange, HeadersVerdict, Interest, Plugin, TrailersVerdict};

const CALL_HEADERS: u32 = 6;
const CALL_TRAILERS: u32 = 7;
const CALL_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

// SAFETY of all exports: their names and signatures are the ABI's, and no other symbol of a module has them.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    EFFECTIVE.set(context);
    if parent == 0 {
        let root = Root {
            host: PluginRef(Rc::default()),
            plugin: None,
        };
        ROOTS.with_borrow_mut(|roots| roots.push((context, root)));
        return;
    }
    let plugin = plugin(parent);
    let Some(plugin) = plugin else { return };
    if let Ok(exchange) = plugin.exchange(ExchangeRef { context }) {
        let part = Part {
            interest: plugin.interest(),
            exchange,
        };
        PARTS.with_borrow_mut(|parts| parts.insert(context, part));
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(context: u32, _size: usize) -> u32 {
    EFFECTIVE.set(context);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
    EFFECTIVE.set(context);
    let host = ROOTS.with_borrow(|roots| Some(root(roots, context)?.host.clone()));
    let (Some(host), Some(factory)) = (host, FACTORY.get()) else {
        return 0;
    };
    let configuration = buffer(PLUGIN_CONFIGURATION, 0, size).unwrap_or_default();
    match (factory.start)(&configuration, host.clone()) {
        Ok(plugin) => {
            ROOTS.with_borrow_mut(|roots| {
                let mut all = roots.iter_mut();
                if let Some((_, root)) = all.find(|(other, _)| *other == context) {
                    root.plugin = Some(plugin);
                }
            });
            1
        }
        Err(error) => {
            host.log(
                LogLevel::Error,
                format!("the configuration is refused: {error}").as_bytes(),
            );
            0
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    EFFECTIVE.set(context);
    // Inside of a guest nothing unwinds, so a callback that returns has succeeded. The same below.
    let _ = plugin(context).map(|plugin| plugin.on_tick());
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(context: u32, queue: u32) {
    EFFECTIVE.set(context);
    let _ = plugin(context).map(|plugin| plugin.on_queue_ready(QueueId(queue)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(context: u32, call: u32, _fields: u32, body: usize, trailers: u32) {
    EFFECTIVE.set(context);
    let root = ROOTS.with_borrow(|roots| {
        let root = root(roots, context)?;
        Some((root.host.clone(), root.plugin.clone()?))
    });
    let Some((host, plugin)) = root else { return };
    let call = CallId(call);
    let cancelled = host.0.borrow().iter().position(|cancelled| *cancelled == call);
    if let Some(index) = cancelled {
        host.0.borrow_mut().swap_remove(index);
        return;
    }
    let collect = |map| {
        let mut pairs = Vec::new();
        // A map that is not there is empty.
        let _ = map_pairs(map, &mut |name, value| {
            pairs.push((name.to_vec(), value.to_vec()))
        });
        pairs
    };
    let response = CallResponse {
        headers: collect(CALL_HEADERS),
        body: buffer(CALL_BODY, 0, body).unwrap_or_default(),
        trailers: if trailers == 0 {
            Vec::new()
        } else {
            collect(CALL_TRAILERS)
        },
    };
    let _ = plugin.on_call_response(call, &response);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, fields: usize, end: u32) -> u32 {
    let wanted = |interest: &Interest| interest.request_headers;
    on(context, wanted, |exchange| {
        exchange
            .on_request_headers(fields, end != 0)
            .map_or(0, headers_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end: u32) -> u32 {
    let wanted = |interest: &Interest| interest.request_body;
    on(context, wanted, |exchange| {
        exchange.on_request_body(size, end != 0).map_or(0, body_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, fields: usize) -> u32 {
    let wanted = |interest: &Interest| interest.request_trailers;
    on(context, wanted, |exchange| {
        exchange.on_request_trailers(fields).map_or(0, trailers_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, fields: usize, end: u32) -> u32 {
    let wanted = |interest: &Interest| interest.response_headers;
    on(context, wanted, |exchange| {
        exchange
            .on_response_headers(fields, end != 0)
            .map_or(0, headers_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end: u32) -> u32 {
    let wanted = |interest: &Interest| interest.response_body;
    on(context, wanted, |exchange| {
        exchange.on_response_body(size, end != 0).map_or(0, body_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, fields: usize) -> u32 {
    let wanted = |interest: &Interest| interest.response_trailers;
    on(context, wanted, |exchange| {
        exchange.on_response_trailers(fields).map_or(0, trailers_action)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    on(context, |_| true, |exchange| exchange.on_log().map_or(0, |()| 0));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    EFFECTIVE.set(context);
    if let Some(plugin) = plugin(context) {
        plugin.on_shutdown();
    }
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    EFFECTIVE.set(context);
    if let Some(part) = PARTS.with_borrow_mut(|parts| parts.remove(&context)) {
        part.exchange.finish();
    }
    ROOTS.with_borrow_mut(|roots| roots.retain(|(other, _)| *other != context));
}

fn root(roots: &[(u32, Root)], context: u32) -> Option<&Root> {
    let found = roots.iter().find(|(other, _)| *other == context);
    found.map(|(_, root)| root)
}

fn plugin(context: u32) -> Option<Rc<dyn Plugin>> {
    ROOTS.with_borrow(|roots| root(roots, context)?.plugin.clone())
}

/// Makes a callback of an exchange that wants it. The host never calls back from within one.
fn on(context: u32, wanted: fn(&Interest) -> bool, callback: impl FnOnce(&mut dyn Exchange) -> u32) -> u32 {
    EFFECTIVE.set(context);
    PARTS.with_borrow_mut(|parts| match parts.get_mut(&context) {
        Some(part) if wanted(&part.interest) => callback(&mut *part.exchange),
        _ => 0,
    })
}

/// Envoy's numbers of `FilterHeadersStatus`. A plain 1 would mean `Hold` or `HoldHeaders`, as the host is configured.
fn headers_action(verdict: HeadersVerdict) -> u32 {
    match verdict {
        HeadersVerdict::Continue => 0,
        HeadersVerdict::HoldHeaders => 1,
        HeadersVerdict::HoldAndBuffer => 3,
        HeadersVerdict::Hold => 4,
    }
}

fn body_action(verdict: BodyVerdict) -> u32 {
    match verdict {
        BodyVerdict::Continue => 0,
        BodyVerdict::Buffer => 1,
        BodyVerdict::Watermark => 2,
        BodyVerdict::Drop => 3,
    }
}

fn trailers_action(verdict: TrailersVerdict) -> u32 {
    match verdict {
        TrailersVerdict::Continue => 0,
        TrailersVerdict::Hold => 1,
    }
}
