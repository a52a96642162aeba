//! What a component may ask: each interface of the world, answered by the two hosts of `leno_sdk`.

use std::rc::Rc;
use std::time::Duration;

use leno_sdk::host::{self, Call, CallId, ExchangeHost, HostError, LocalReply, LogLevel, MetricId, QueueId};

use super::bindings::leno::filter::{clock, flow, http, log, metrics, outbound, properties, shared, types};
use super::instance::State;
use super::packed::pack;

impl types::Host for State {}

impl State {
    fn exchange(&self, id: u64) -> Result<&Rc<dyn ExchangeHost>, types::Error> {
        self.exchanges.get(&id).ok_or(types::Error::NotFound)
    }
}

impl http::Host for State {
    fn header(&mut self, exchange: u64, map: types::Map, name: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        let mut value = Vec::new();
        self.exchange(exchange)?
            .header(of_map(map), &name, &mut value)
            .map_err(error)?;
        Ok(value)
    }

    fn headers(&mut self, exchange: u64, map: types::Map) -> Result<Vec<u8>, types::Error> {
        let exchange = self.exchange(exchange)?;
        pack(|each| exchange.headers(of_map(map), each)).map_err(error)
    }

    fn edit(&mut self, exchange: u64, map: types::Map, edits: Vec<types::Edit>) -> Result<(), types::Error> {
        let exchange = self.exchange(exchange)?;
        let map = of_map(map);
        for edit in &edits {
            match edit {
                types::Edit::Append(field) => {
                    exchange.edit(map, host::Edit::Append(&field.name, &field.value))
                }
                types::Edit::Set(field) => exchange.edit(map, host::Edit::Set(&field.name, &field.value)),
                types::Edit::Remove(name) => exchange.edit(map, host::Edit::Remove(name)),
                types::Edit::Replace(fields) => {
                    let fields: Vec<_> = fields
                        .iter()
                        .map(|field| (field.name.as_slice(), field.value.as_slice()))
                        .collect();
                    exchange.edit(map, host::Edit::Replace(&fields))
                }
            }
            .map_err(error)?;
        }
        Ok(())
    }

    fn body_len(&mut self, exchange: u64, direction: types::Direction) -> Result<u32, types::Error> {
        let length = self
            .exchange(exchange)?
            .body_len(of_direction(direction))
            .map_err(error)?;
        Ok(u32::try_from(length).unwrap_or(u32::MAX))
    }

    fn body_read(
        &mut self,
        exchange: u64,
        direction: types::Direction,
        start: u32,
        len: u32,
    ) -> Result<Vec<u8>, types::Error> {
        let mut bytes = Vec::new();
        let exchange = self.exchange(exchange)?;
        exchange
            .body_read(of_direction(direction), start as usize, len as usize, &mut bytes)
            .map_err(error)?;
        Ok(bytes)
    }

    fn body_splice(
        &mut self,
        exchange: u64,
        direction: types::Direction,
        start: u32,
        len: u32,
        bytes: Vec<u8>,
    ) -> Result<(), types::Error> {
        let exchange = self.exchange(exchange)?;
        exchange
            .body_splice(of_direction(direction), start as usize, len as usize, &bytes)
            .map_err(error)
    }

    fn reply(&mut self, exchange: u64, reply: types::LocalReply) {
        if let Ok(exchange) = self.exchange(exchange) {
            exchange.reply(LocalReply {
                status: reply.status,
                headers: fields(reply.headers),
                body: reply.body,
                grpc_status: reply.grpc_status,
                details: reply.details.split_whitespace().collect::<Vec<_>>().join("_"),
            });
        }
    }
}

impl flow::Host for State {
    fn resume(&mut self, exchange: u64, direction: types::Direction) {
        if let Ok(exchange) = self.exchange(exchange) {
            exchange.resume(of_direction(direction));
        }
    }

    fn reset(&mut self, exchange: u64) {
        if let Ok(exchange) = self.exchange(exchange) {
            exchange.reset();
        }
    }

    fn clear_route_cache(&mut self, exchange: u64) {
        if let Ok(exchange) = self.exchange(exchange) {
            exchange.clear_route_cache();
        }
    }
}

impl properties::Host for State {
    fn get(&mut self, exchange: u64, path: Vec<u8>) -> Result<Vec<u8>, types::Error> {
        let mut value = Vec::new();
        match exchange {
            0 => self.host.property(&path, &mut value),
            id => self.exchange(id)?.property(&path, &mut value),
        }
        .map_err(error)?;
        Ok(value)
    }

    fn set(&mut self, exchange: u64, path: Vec<u8>, value: Vec<u8>) {
        match self.exchange(exchange) {
            Ok(exchange) => exchange.set_property(&path, &value),
            Err(_) => self.log(
                LogLevel::Warn,
                b"a property that is set outside of an exchange is not kept",
            ),
        }
    }
}

impl outbound::Host for State {
    fn send(&mut self, request: outbound::Request) -> Result<u32, types::Error> {
        let call = Call {
            cluster: request.cluster,
            headers: fields(request.headers),
            body: request.body,
            trailers: fields(request.trailers),
            timeout: Duration::from_millis(request.timeout_ms.into()),
        };
        self.host.call(call).map(|call| call.0).map_err(error)
    }

    fn cancel(&mut self, call: u32) {
        self.host.cancel_call(CallId(call));
    }
}

impl shared::Host for State {
    fn get(&mut self, key: Vec<u8>) -> Result<(Vec<u8>, u32), types::Error> {
        let mut value = Vec::new();
        let version = self.host.shared_get(&key, &mut value).map_err(error)?;
        Ok((value, version))
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>, expected: Option<u32>) -> Result<(), types::Error> {
        self.host.shared_set(&key, &value, expected).map_err(error)
    }

    fn queue_register(&mut self, name: Vec<u8>) -> u32 {
        self.host.queue_register(&name).0
    }

    fn queue_resolve(&mut self, name_space: Vec<u8>, name: Vec<u8>) -> Result<u32, types::Error> {
        self.host
            .queue_resolve(&name_space, &name)
            .map(|queue| queue.0)
            .map_err(error)
    }

    fn queue_push(&mut self, queue: u32, entry: Vec<u8>) -> Result<(), types::Error> {
        self.host.queue_push(QueueId(queue), &entry).map_err(error)
    }

    fn queue_pop(&mut self, queue: u32) -> Result<Vec<u8>, types::Error> {
        let mut entry = Vec::new();
        self.host.queue_pop(QueueId(queue), &mut entry).map_err(error)?;
        Ok(entry)
    }
}

impl metrics::Host for State {
    fn define(&mut self, kind: metrics::Kind, name: String) -> Result<u32, types::Error> {
        let kind = match kind {
            metrics::Kind::Counter => host::MetricKind::Counter,
            metrics::Kind::Gauge => host::MetricKind::Gauge,
            metrics::Kind::Histogram => host::MetricKind::Histogram,
        };
        self.host
            .metric_define(kind, &name)
            .map(|metric| metric.0)
            .map_err(error)
    }

    fn add(&mut self, metric: u32, by: i64) -> Result<(), types::Error> {
        self.host.metric_add(MetricId(metric), by).map_err(error)
    }

    fn record_value(&mut self, metric: u32, value: u64) -> Result<(), types::Error> {
        self.host.metric_record(MetricId(metric), value).map_err(error)
    }

    fn value(&mut self, metric: u32) -> Result<u64, types::Error> {
        self.host.metric_value(MetricId(metric)).map_err(error)
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: Vec<u8>) {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
            log::Level::Critical => LogLevel::Critical,
        };
        self.log(level, &message);
    }

    fn enabled(&mut self) -> log::Level {
        match self.host.log_level() {
            LogLevel::Trace => log::Level::Trace,
            LogLevel::Debug => log::Level::Debug,
            LogLevel::Info => log::Level::Info,
            LogLevel::Warn => log::Level::Warn,
            LogLevel::Error => log::Level::Error,
            LogLevel::Critical => log::Level::Critical,
        }
    }
}

impl clock::Host for State {
    fn now(&mut self) -> u64 {
        self.host.now()
    }

    fn set_tick_period(&mut self, milliseconds: u32) {
        self.host
            .set_tick_period(Duration::from_millis(milliseconds.into()));
    }
}

fn of_map(map: types::Map) -> host::Map {
    match map {
        types::Map::RequestHeaders => host::Map::RequestHeaders,
        types::Map::RequestTrailers => host::Map::RequestTrailers,
        types::Map::ResponseHeaders => host::Map::ResponseHeaders,
        types::Map::ResponseTrailers => host::Map::ResponseTrailers,
    }
}

fn of_direction(direction: types::Direction) -> host::Direction {
    match direction {
        types::Direction::Request => host::Direction::Request,
        types::Direction::Response => host::Direction::Response,
    }
}

fn fields(fields: Vec<types::Field>) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .into_iter()
        .map(|field| (field.name, field.value))
        .collect()
}

fn error(error: HostError) -> types::Error {
    match error {
        HostError::NotFound => types::Error::NotFound,
        HostError::WrongPhase => types::Error::WrongPhase,
        HostError::Invalid => types::Error::Invalid,
        HostError::Conflict => types::Error::Conflict,
        HostError::Empty => types::Error::Empty,
        HostError::Limit => types::Error::Limit,
        HostError::Denied => types::Error::Denied,
        HostError::Unsupported => types::Error::Unsupported,
        HostError::Internal => types::Error::Internal,
    }
}
