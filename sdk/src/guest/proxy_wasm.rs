//! A Proxy-Wasm module, ABI 0.2.1.
//!
//! A module may hold several plugins (root contexts), which share its memory. A callback runs on behalf of a
//! context; to act on another one, the effective context is switched, and switched back when it is needed.
#![allow(
    unsafe_code,
    reason = "the ABI passes pointers and is exported under fixed names"
)]

use std::alloc::{Layout, alloc};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::abi::{
    check, decode_pairs, encode_pairs, proxy_add_header_map_value, proxy_call_foreign_function,
    proxy_close_stream, proxy_continue_stream, proxy_define_metric, proxy_dequeue_shared_queue,
    proxy_enqueue_shared_queue, proxy_get_buffer_bytes, proxy_get_buffer_status,
    proxy_get_current_time_nanoseconds, proxy_get_header_map_pairs, proxy_get_header_map_value,
    proxy_get_log_level, proxy_get_metric, proxy_get_property, proxy_get_shared_data, proxy_http_call,
    proxy_increment_metric, proxy_log, proxy_record_metric, proxy_register_shared_queue,
    proxy_remove_header_map_value, proxy_replace_header_map_value, proxy_resolve_shared_queue,
    proxy_send_local_response, proxy_set_buffer_bytes, proxy_set_effective_context,
    proxy_set_header_map_pairs, proxy_set_property, proxy_set_shared_data,
    proxy_set_tick_period_milliseconds,
};
use crate::host::{
    Call, CallId, Direction, Edit, ExchangeHost, HostError, LocalReply, LogLevel, Map, MetricId, MetricKind,
    PluginHost, QueueId,
};
use crate::plugin::{BodyVerdict, CallResponse, Exchange, HeadersVerdict, Interest, Plugin, TrailersVerdict};

const CALL_HEADERS: u32 = 6;
const CALL_TRAILERS: u32 = 7;
const CALL_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

/// The host of one plugin.
#[derive(Clone)]
pub struct PluginRef(Rc<Cancelled>);

/// Calls whose answers are not wanted. The ABI cannot cancel.
type Cancelled = RefCell<Vec<CallId>>;

/// The host of one exchange.
#[derive(Clone)]
pub struct ExchangeRef {
    context: u32,
}

struct Root {
    host: PluginRef,
    plugin: Option<Rc<dyn Plugin>>,
}

struct Part {
    interest: Interest,
    exchange: Box<dyn Exchange>,
}

thread_local! {
    /// There are few.
    static ROOTS: RefCell<Vec<(u32, Root)>> = const { RefCell::new(Vec::new()) };
    static PARTS: RefCell<HashMap<u32, Part>> = RefCell::default();
    /// The context that the host takes calls for.
    static EFFECTIVE: Cell<u32> = const { Cell::new(0) };
}

/// Static constructors of C code. Calling them here keeps the linker from wrapping every export in a call to them.
pub(super) fn run_constructors() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: `_initialize` is called once, and nothing else calls the constructors.
    unsafe { __wasm_call_ctors() };
}

pub(super) fn log_panic(message: &str) {
    // SAFETY: the message is readable for its length.
    unsafe { proxy_log(level_number(LogLevel::Critical), message.as_ptr(), message.len()) };
}

// SAFETY of all exports below: their names and signatures are the ABI's, and no other symbol of a module has them.

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // SAFETY: the size is not zero.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

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
    let (Some(host), Some(factory)) = (host, super::FACTORY.get()) else {
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

fn level_number(level: LogLevel) -> u32 {
    match level {
        LogLevel::Trace => 0,
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
        LogLevel::Critical => 5,
    }
}

/// Bytes that a host has written into memory from [`proxy_on_memory_allocate`].
struct Returned {
    bytes: *mut u8,
    size: usize,
}

impl Returned {
    const fn new() -> Self {
        Self {
            bytes: std::ptr::null_mut(),
            size: 0,
        }
    }

    /// Nothing if the host has written nothing, which is how it returns an empty value.
    fn take(self) -> Vec<u8> {
        if self.bytes.is_null() || self.size == 0 {
            return Vec::new();
        }
        // SAFETY: such a pointer comes from `proxy_on_memory_allocate(size)`, called for this result alone, so it is
        // an allocation of the global allocator for `size` bytes, all written, and owned by nobody else.
        unsafe { Vec::from_raw_parts(self.bytes, self.size, self.size) }
    }
}

fn buffer(buffer: u32, start: usize, max: usize) -> Result<Vec<u8>, HostError> {
    let mut out = Returned::new();
    // SAFETY: both results are written to locals of the right type.
    let status = unsafe { proxy_get_buffer_bytes(buffer, start, max, &mut out.bytes, &mut out.size) };
    check(status, HostError::WrongPhase)?;
    Ok(out.take())
}

/// `WrongPhase` for a map that is not there: hosts return nothing at all then, and a count for an empty one.
fn map_pairs(map: u32, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
    let mut out = Returned::new();
    // SAFETY: both results are written to locals of the right type.
    let status = unsafe { proxy_get_header_map_pairs(map, &mut out.bytes, &mut out.size) };
    check(status, HostError::WrongPhase)?;
    let bytes = out.take();
    if bytes.is_empty() {
        return Err(HostError::WrongPhase);
    }
    decode_pairs(&bytes, each);
    Ok(())
}

fn property(path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
    let mut out = Returned::new();
    // SAFETY: the path is readable for its length; both results are written to locals of the right type.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &mut out.bytes, &mut out.size) };
    match status {
        // Envoy answers SerializationFailure for a whole group such as `request`.
        3 => Err(HostError::Invalid),
        status => check(status, HostError::Invalid),
    }?;
    give(value, out.take());
    Ok(())
}

impl PluginHost for PluginRef {
    fn log(&self, level: LogLevel, message: &[u8]) {
        // SAFETY: the message is readable for its length.
        unsafe { proxy_log(level_number(level), message.as_ptr(), message.len()) };
    }

    fn log_level(&self) -> LogLevel {
        let mut level = 0;
        // SAFETY: the result is written to a local of the right type.
        unsafe { proxy_get_log_level(&mut level) };
        match level {
            0 => LogLevel::Trace,
            1 => LogLevel::Debug,
            2 => LogLevel::Info,
            3 => LogLevel::Warn,
            4 => LogLevel::Error,
            _ => LogLevel::Critical,
        }
    }

    fn now(&self) -> u64 {
        let mut now = 0;
        // SAFETY: the result is written to a local of the right type.
        unsafe { proxy_get_current_time_nanoseconds(&mut now) };
        now
    }

    fn set_tick_period(&self, period: Duration) {
        // SAFETY: takes a number.
        unsafe { proxy_set_tick_period_milliseconds(milliseconds(period)) };
    }

    fn call(&self, call: Call) -> Result<CallId, HostError> {
        let encode = |fields: &[(Vec<u8>, Vec<u8>)]| {
            encode_pairs(
                fields
                    .iter()
                    .map(|(name, value)| (name.as_slice(), value.as_slice())),
            )
        };
        let (headers, trailers) = (encode(&call.headers), encode(&call.trailers));
        let mut id = 0;
        // SAFETY: all inputs are readable for their lengths; the result is written to a local of the right type.
        let status = unsafe {
            proxy_http_call(
                call.cluster.as_ptr(),
                call.cluster.len(),
                headers.as_ptr(),
                headers.len(),
                call.body.as_ptr(),
                call.body.len(),
                trailers.as_ptr(),
                trailers.len(),
                milliseconds(call.timeout),
                &mut id,
            )
        };
        check(status, HostError::Invalid)?;
        Ok(CallId(id))
    }

    fn cancel_call(&self, call: CallId) {
        self.0.borrow_mut().push(call);
    }

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let mut out = Returned::new();
        let mut version = 0;
        // SAFETY: the key is readable for its length; all results are written to locals of the right type.
        let status = unsafe {
            proxy_get_shared_data(
                key.as_ptr(),
                key.len(),
                &mut out.bytes,
                &mut out.size,
                &mut version,
            )
        };
        check(status, HostError::Invalid)?;
        give(value, out.take());
        Ok(version)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        let version = expected.unwrap_or(0);
        // SAFETY: both inputs are readable for their lengths.
        let status =
            unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) };
        check(status, HostError::Invalid)
    }

    fn queue_register(&self, name: &[u8]) -> QueueId {
        let mut queue = 0;
        // SAFETY: the name is readable for its length; the result is written to a local of the right type.
        unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &mut queue) };
        QueueId(queue)
    }

    fn queue_resolve(&self, name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError> {
        let mut queue = 0;
        // SAFETY: both inputs are readable for their lengths; the result is written to a local of the right type.
        let status = unsafe {
            proxy_resolve_shared_queue(
                name_space.as_ptr(),
                name_space.len(),
                name.as_ptr(),
                name.len(),
                &mut queue,
            )
        };
        check(status, HostError::Invalid)?;
        Ok(QueueId(queue))
    }

    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        // SAFETY: the entry is readable for its length.
        let status = unsafe { proxy_enqueue_shared_queue(queue.0, entry.as_ptr(), entry.len()) };
        check(status, HostError::Invalid)
    }

    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        let mut out = Returned::new();
        // SAFETY: both results are written to locals of the right type.
        let status = unsafe { proxy_dequeue_shared_queue(queue.0, &mut out.bytes, &mut out.size) };
        check(status, HostError::Invalid)?;
        give(entry, out.take());
        Ok(())
    }

    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let kind = match kind {
            MetricKind::Counter => 0,
            MetricKind::Gauge => 1,
            MetricKind::Histogram => 2,
        };
        let mut metric = 0;
        // SAFETY: the name is readable for its length; the result is written to a local of the right type.
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut metric) };
        check(status, HostError::Invalid)?;
        Ok(MetricId(metric))
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        // SAFETY: takes numbers.
        check(
            unsafe { proxy_increment_metric(metric.0, by) },
            HostError::Invalid,
        )
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        // SAFETY: takes numbers.
        check(
            unsafe { proxy_record_metric(metric.0, value) },
            HostError::Invalid,
        )
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        let mut value = 0;
        // SAFETY: the result is written to a local of the right type.
        check(
            unsafe { proxy_get_metric(metric.0, &mut value) },
            HostError::Invalid,
        )?;
        Ok(value)
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        property(path, value)
    }

    fn account(&self, _callback: &'static str, _took: Duration) {
        // Time is accounted for outside of the guest.
    }
}

impl ExchangeRef {
    /// Has the host take the next calls for this exchange; nothing to do in its own callbacks.
    fn enter(&self) -> Result<(), HostError> {
        if EFFECTIVE.get() == self.context {
            return Ok(());
        }
        // SAFETY: takes a number.
        check(
            unsafe { proxy_set_effective_context(self.context) },
            HostError::NotFound,
        )?;
        EFFECTIVE.set(self.context);
        Ok(())
    }
}

impl ExchangeHost for ExchangeRef {
    fn id(&self) -> u64 {
        u64::from(self.context)
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        self.enter()?;
        let mut out = Returned::new();
        // SAFETY: the name is readable for its length; both results are written to locals of the right type.
        let status = unsafe {
            proxy_get_header_map_value(
                map_number(map),
                name.as_ptr(),
                name.len(),
                &mut out.bytes,
                &mut out.size,
            )
        };
        check(status, HostError::WrongPhase)?;
        give(value, out.take());
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        self.enter()?;
        map_pairs(map_number(map), each)
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        self.enter()?;
        let map = map_number(map);
        let status = match edit {
            // SAFETY, for all arms: the inputs are readable for their lengths.
            Edit::Append(name, value) => unsafe {
                proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            },
            // SAFETY: as above.
            Edit::Set(name, value) => unsafe {
                proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            },
            // SAFETY: as above.
            Edit::Remove(name) => unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) },
            Edit::Replace(fields) => {
                let pairs = encode_pairs(fields.iter().copied());
                // SAFETY: as above.
                unsafe { proxy_set_header_map_pairs(map, pairs.as_ptr(), pairs.len()) }
            }
        };
        check(status, HostError::WrongPhase)
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        self.enter()?;
        let (mut size, mut flags) = (0, 0);
        // SAFETY: both results are written to locals of the right type.
        let status = unsafe { proxy_get_buffer_status(stream(direction), &mut size, &mut flags) };
        check(status, HostError::WrongPhase)?;
        Ok(size)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let size = self.body_len(direction)?;
        if start < size {
            give(bytes, buffer(stream(direction), start, len.min(size - start))?);
        }
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let size = self.body_len(direction)?;
        let (start, end) = (start.min(size), start.saturating_add(len).min(size));
        let whole;
        // Hosts can replace at the front and append at the end only (Envoy, `WasmBufferInterface::copyFrom`).
        let (start, len, bytes) = if start == 0 || start == size {
            (start, end - start, bytes)
        } else {
            let mut all = buffer(stream(direction), 0, size)?;
            let end = end.min(all.len());
            all.splice(start.min(end)..end, bytes.iter().copied());
            whole = all;
            (0, size, whole.as_slice())
        };
        // SAFETY: the bytes are readable for their length.
        let status =
            unsafe { proxy_set_buffer_bytes(stream(direction), start, len, bytes.as_ptr(), bytes.len()) };
        check(status, HostError::WrongPhase)
    }

    fn reply(&self, reply: LocalReply) {
        if self.enter().is_err() {
            return;
        }
        let headers = reply
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let headers = encode_pairs(headers);
        let grpc_status = reply
            .grpc_status
            .and_then(|status| i32::try_from(status).ok())
            .unwrap_or(-1);
        // SAFETY: all inputs are readable for their lengths.
        unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.as_ptr(),
                headers.len(),
                grpc_status,
            )
        };
    }

    fn resume(&self, direction: Direction) {
        if self.enter().is_ok() {
            // SAFETY: takes a number.
            unsafe { proxy_continue_stream(stream(direction)) };
        }
    }

    fn reset(&self) {
        if self.enter().is_ok() {
            // SAFETY: takes a number. Either half resets the whole exchange.
            unsafe { proxy_close_stream(stream(Direction::Request)) };
        }
    }

    fn clear_route_cache(&self) {
        if self.enter().is_ok() {
            let name = b"clear_route_cache";
            let null = std::ptr::null_mut::<Returned>();
            // SAFETY: the name is readable for its length; there is no argument, and null asks for no result.
            unsafe {
                proxy_call_foreign_function(
                    name.as_ptr(),
                    name.len(),
                    std::ptr::null(),
                    0,
                    null.cast(),
                    null.cast(),
                )
            };
        }
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        self.enter()?;
        property(path, value)
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        if self.enter().is_ok() {
            // SAFETY: both inputs are readable for their lengths.
            unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
        }
    }

    fn fail(&self) {
        // For adapters, which are on the other side.
    }
}

fn map_number(map: Map) -> u32 {
    match map {
        Map::RequestHeaders => 0,
        Map::RequestTrailers => 1,
        Map::ResponseHeaders => 2,
        Map::ResponseTrailers => 3,
    }
}

/// The number of a half as a stream, and of its body as a buffer.
fn stream(direction: Direction) -> u32 {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}

/// Appends without a copy where that is possible.
fn give(to: &mut Vec<u8>, bytes: Vec<u8>) {
    if to.is_empty() {
        *to = bytes;
    } else {
        to.extend_from_slice(&bytes);
    }
}

/// Rounded up, so that a short time does not become none.
fn milliseconds(duration: Duration) -> u32 {
    // Envoy refuses 2^31 and more.
    u32::try_from(duration.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}
