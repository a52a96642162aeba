//! A component of the `leno:filter` package.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::host::{
    Call, CallId, Direction, Edit, ExchangeHost, HostError, LocalReply, LogLevel, Map, MetricId, MetricKind,
    PluginHost, QueueId,
};
use crate::plugin::{BodyVerdict, CallResponse, Exchange, HeadersVerdict, Plugin, TrailersVerdict};

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
    use super::Component;
}

use bindings::exports::leno::filter::plugin as exported;
use bindings::leno::filter::types;
use bindings::leno::filter::{clock, flow, http, log, metrics, outbound, properties, shared};

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

struct Component;

impl exported::Guest for Component {
    type Exchange = Part;

    fn configure(configuration: Vec<u8>) -> Result<types::Interest, String> {
        let factory = super::FACTORY.get().ok_or("the module was not initialised")?;
        let plugin = (factory.start)(&configuration, PluginRef)?;
        let interest = plugin.interest();
        PLUGIN.set(Some(plugin));
        let flags = [
            (interest.request_headers, types::Interest::REQUEST_HEADERS),
            (interest.request_body, types::Interest::REQUEST_BODY),
            (interest.request_trailers, types::Interest::REQUEST_TRAILERS),
            (interest.response_headers, types::Interest::RESPONSE_HEADERS),
            (interest.response_body, types::Interest::RESPONSE_BODY),
            (interest.response_trailers, types::Interest::RESPONSE_TRAILERS),
        ];
        let wanted = flags.into_iter().filter(|(wanted, _)| *wanted);
        Ok(wanted.fold(types::Interest::LOG, |all, (_, flag)| all | flag))
    }

    fn on_tick() {
        // Inside of a guest nothing unwinds, so a callback that returns has succeeded.
        let _ = plugin().map(|plugin| plugin.on_tick());
    }

    fn on_queue_ready(queue: u32) {
        let _ = plugin().map(|plugin| plugin.on_queue_ready(QueueId(queue)));
    }

    fn on_call_response(call: u32, headers: Vec<u8>, body: Vec<u8>, trailers: Vec<u8>) {
        let response = CallResponse {
            headers: pairs(&headers),
            body,
            trailers: pairs(&trailers),
        };
        let _ = plugin().map(|plugin| plugin.on_call_response(CallId(call), &response));
    }
}

/// The part of the filter in one exchange.
struct Part(RefCell<Option<Box<dyn Exchange>>>);

impl Part {
    fn call<T>(&self, otherwise: T, callback: impl FnOnce(&mut Box<dyn Exchange>) -> Option<T>) -> T {
        let mut exchange = self.0.borrow_mut();
        exchange.as_mut().and_then(callback).unwrap_or(otherwise)
    }
}

impl exported::GuestExchange for Part {
    fn new(id: u64) -> Self {
        Self(RefCell::new(
            plugin().and_then(|plugin| plugin.exchange(ExchangeRef { id }).ok()),
        ))
    }

    fn on_request_headers(&self, fields: u32, end: bool) -> types::HeadersVerdict {
        self.call(types::HeadersVerdict::Proceed, |exchange| {
            exchange
                .on_request_headers(fields as usize, end)
                .ok()
                .map(headers_verdict)
        })
    }

    fn on_request_body(&self, size: u32, end: bool) -> types::BodyVerdict {
        self.call(types::BodyVerdict::Proceed, |exchange| {
            exchange
                .on_request_body(size as usize, end)
                .ok()
                .map(body_verdict)
        })
    }

    fn on_request_trailers(&self, fields: u32) -> types::TrailersVerdict {
        self.call(types::TrailersVerdict::Proceed, |exchange| {
            exchange
                .on_request_trailers(fields as usize)
                .ok()
                .map(trailers_verdict)
        })
    }

    fn on_response_headers(&self, fields: u32, end: bool) -> types::HeadersVerdict {
        self.call(types::HeadersVerdict::Proceed, |exchange| {
            exchange
                .on_response_headers(fields as usize, end)
                .ok()
                .map(headers_verdict)
        })
    }

    fn on_response_body(&self, size: u32, end: bool) -> types::BodyVerdict {
        self.call(types::BodyVerdict::Proceed, |exchange| {
            exchange
                .on_response_body(size as usize, end)
                .ok()
                .map(body_verdict)
        })
    }

    fn on_response_trailers(&self, fields: u32) -> types::TrailersVerdict {
        self.call(types::TrailersVerdict::Proceed, |exchange| {
            exchange
                .on_response_trailers(fields as usize)
                .ok()
                .map(trailers_verdict)
        })
    }

    fn on_log(&self) {
        self.call((), |exchange| exchange.on_log().ok());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.finish();
        }
    }
}

fn headers_verdict(verdict: HeadersVerdict) -> types::HeadersVerdict {
    match verdict {
        HeadersVerdict::Continue => types::HeadersVerdict::Proceed,
        HeadersVerdict::HoldHeaders => types::HeadersVerdict::HoldHeaders,
        HeadersVerdict::Hold => types::HeadersVerdict::Hold,
        HeadersVerdict::HoldAndBuffer => types::HeadersVerdict::HoldAndBuffer,
    }
}

fn body_verdict(verdict: BodyVerdict) -> types::BodyVerdict {
    match verdict {
        BodyVerdict::Continue => types::BodyVerdict::Proceed,
        BodyVerdict::Buffer => types::BodyVerdict::Buffer,
        BodyVerdict::Watermark => types::BodyVerdict::Watermark,
        BodyVerdict::Drop => types::BodyVerdict::Drop,
    }
}

fn trailers_verdict(verdict: TrailersVerdict) -> types::TrailersVerdict {
    match verdict {
        TrailersVerdict::Continue => types::TrailersVerdict::Proceed,
        TrailersVerdict::Hold => types::TrailersVerdict::Hold,
    }
}

impl PluginHost for PluginRef {
    fn log(&self, level: LogLevel, message: &[u8]) {
        let level = match level {
            LogLevel::Trace => log::Level::Trace,
            LogLevel::Debug => log::Level::Debug,
            LogLevel::Info => log::Level::Info,
            LogLevel::Warn => log::Level::Warn,
            LogLevel::Error => log::Level::Error,
            LogLevel::Critical => log::Level::Critical,
        };
        log::write(level, message);
    }

    fn log_level(&self) -> LogLevel {
        match log::enabled() {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
            log::Level::Critical => LogLevel::Critical,
        }
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn set_tick_period(&self, period: Duration) {
        clock::set_tick_period(milliseconds(period));
    }

    fn call(&self, call: Call) -> Result<CallId, HostError> {
        let request = outbound::Request {
            timeout_ms: milliseconds(call.timeout),
            cluster: call.cluster,
            headers: fields(call.headers),
            body: call.body,
            trailers: fields(call.trailers),
        };
        outbound::send(&request).map(CallId).map_err(error)
    }

    fn cancel_call(&self, call: CallId) {
        outbound::cancel(call.0);
    }

    fn shared_get(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, HostError> {
        let (bytes, version) = shared::get(key).map_err(error)?;
        give(value, bytes);
        Ok(version)
    }

    fn shared_set(&self, key: &[u8], value: &[u8], expected: Option<u32>) -> Result<(), HostError> {
        shared::set(key, value, expected).map_err(error)
    }

    fn queue_register(&self, name: &[u8]) -> QueueId {
        QueueId(shared::queue_register(name))
    }

    fn queue_resolve(&self, name_space: &[u8], name: &[u8]) -> Result<QueueId, HostError> {
        shared::queue_resolve(name_space, name)
            .map(QueueId)
            .map_err(error)
    }

    fn queue_push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        shared::queue_push(queue.0, entry).map_err(error)
    }

    fn queue_pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        give(entry, shared::queue_pop(queue.0).map_err(error)?);
        Ok(())
    }

    fn metric_define(&self, kind: MetricKind, name: &str) -> Result<MetricId, HostError> {
        let kind = match kind {
            MetricKind::Counter => metrics::Kind::Counter,
            MetricKind::Gauge => metrics::Kind::Gauge,
            MetricKind::Histogram => metrics::Kind::Histogram,
        };
        metrics::define(kind, name).map(MetricId).map_err(error)
    }

    fn metric_add(&self, metric: MetricId, by: i64) -> Result<(), HostError> {
        metrics::add(metric.0, by).map_err(error)
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        metrics::record_value(metric.0, value).map_err(error)
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        metrics::value(metric.0).map_err(error)
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        give(value, properties::get(0, path).map_err(error)?);
        Ok(())
    }

    fn account(&self, _callback: &'static str, _took: Duration) {
        // Time is accounted for outside of the guest.
    }
}

impl ExchangeHost for ExchangeRef {
    fn id(&self) -> u64 {
        self.id
    }

    fn header(&self, map: Map, name: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        give(value, http::header(self.id, map_of(map), name).map_err(error)?);
        Ok(())
    }

    fn headers(&self, map: Map, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError> {
        unpack(&http::headers(self.id, map_of(map)).map_err(error)?, each);
        Ok(())
    }

    fn edit(&self, map: Map, edit: Edit<'_>) -> Result<(), HostError> {
        let field = |name: &[u8], value: &[u8]| types::Field {
            name: name.to_vec(),
            value: value.to_vec(),
        };
        let edit = match edit {
            Edit::Append(name, value) => types::Edit::Append(field(name, value)),
            Edit::Set(name, value) => types::Edit::Set(field(name, value)),
            Edit::Remove(name) => types::Edit::Remove(name.to_vec()),
            Edit::Replace(all) => {
                types::Edit::Replace(all.iter().map(|(name, value)| field(name, value)).collect())
            }
        };
        http::edit(self.id, map_of(map), &[edit]).map_err(error)
    }

    fn body_len(&self, direction: Direction) -> Result<usize, HostError> {
        http::body_len(self.id, direction_of(direction))
            .map(|size| size as usize)
            .map_err(error)
    }

    fn body_read(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), HostError> {
        let (start, len) = (start as u32, len as u32);
        give(
            bytes,
            http::body_read(self.id, direction_of(direction), start, len).map_err(error)?,
        );
        Ok(())
    }

    fn body_splice(
        &self,
        direction: Direction,
        start: usize,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), HostError> {
        let (start, len) = (start as u32, len as u32);
        http::body_splice(self.id, direction_of(direction), start, len, bytes).map_err(error)
    }

    fn reply(&self, reply: LocalReply) {
        let reply = types::LocalReply {
            status: reply.status,
            headers: fields(reply.headers),
            body: reply.body,
            grpc_status: reply.grpc_status,
            details: reply.details,
        };
        http::reply(self.id, &reply);
    }

    fn resume(&self, direction: Direction) {
        flow::resume(self.id, direction_of(direction));
    }

    fn reset(&self) {
        flow::reset(self.id);
    }

    fn clear_route_cache(&self) {
        flow::clear_route_cache(self.id);
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        give(value, properties::get(self.id, path).map_err(error)?);
        Ok(())
    }

    fn set_property(&self, path: &[u8], value: &[u8]) {
        properties::set(self.id, path, value);
    }

    fn fail(&self) {
        // For adapters, which are on the other side.
    }
}

fn error(error: types::Error) -> HostError {
    match error {
        types::Error::NotFound => HostError::NotFound,
        types::Error::WrongPhase => HostError::WrongPhase,
        types::Error::Invalid => HostError::Invalid,
        types::Error::Conflict => HostError::Conflict,
        types::Error::Empty => HostError::Empty,
        types::Error::Limit => HostError::Limit,
        types::Error::Denied => HostError::Denied,
        types::Error::Unsupported => HostError::Unsupported,
        types::Error::Internal => HostError::Internal,
    }
}

fn map_of(map: Map) -> types::Map {
    match map {
        Map::RequestHeaders => types::Map::RequestHeaders,
        Map::RequestTrailers => types::Map::RequestTrailers,
        Map::ResponseHeaders => types::Map::ResponseHeaders,
        Map::ResponseTrailers => types::Map::ResponseTrailers,
    }
}

fn direction_of(direction: Direction) -> types::Direction {
    match direction {
        Direction::Request => types::Direction::Request,
        Direction::Response => types::Direction::Response,
    }
}

fn fields(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<types::Field> {
    pairs
        .into_iter()
        .map(|(name, value)| types::Field { name, value })
        .collect()
}

fn pairs(packed: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    unpack(packed, &mut |name, value| {
        pairs.push((name.to_vec(), value.to_vec()))
    });
    pairs
}

/// Shows the fields of a `packed`; stops where it is not sound.
fn unpack(packed: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) {
    let number = |at: usize| {
        let bytes = packed.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0).unwrap_or(0);
    let Some(bytes) = count
        .checked_mul(8)
        .and_then(|table| packed.get(table.checked_add(4)?..))
    else {
        return;
    };
    let text = |index: usize| {
        let (offset, len) = (number(4 + index * 8)?, number(8 + index * 8)?);
        bytes.get(offset..offset.checked_add(len)?)
    };
    for index in (0..count).step_by(2) {
        let (Some(name), Some(value)) = (text(index), text(index + 1)) else {
            return;
        };
        each(name, value);
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
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
