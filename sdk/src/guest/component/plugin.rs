//! What a plugin may ask of its host.

use std::time::Duration;

use super::PluginRef;
use super::bindings::leno::filter::{clock, log, metrics, outbound, properties, shared};
use super::convert::{error, fields, give};
use crate::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginHost, QueueId};

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

/// Rounded up, so that a short time does not become none.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
