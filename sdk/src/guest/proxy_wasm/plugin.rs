//! What a plugin may ask of its host.

use std::time::Duration;

use super::returned::{Returned, give, property};
use super::{PluginRef, level_number};
use crate::guest::abi::{
    check, encode_pairs, proxy_define_metric, proxy_dequeue_shared_queue, proxy_enqueue_shared_queue,
    proxy_get_current_time_nanoseconds, proxy_get_log_level, proxy_get_metric, proxy_get_shared_data,
    proxy_http_call, proxy_increment_metric, proxy_log, proxy_record_metric, proxy_register_shared_queue,
    proxy_resolve_shared_queue, proxy_set_shared_data, proxy_set_tick_period_milliseconds,
};
use crate::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginHost, QueueId};

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
        let status = unsafe { proxy_increment_metric(metric.0, by) };
        check(status, HostError::Invalid)
    }

    fn metric_record(&self, metric: MetricId, value: u64) -> Result<(), HostError> {
        // SAFETY: takes numbers.
        let status = unsafe { proxy_record_metric(metric.0, value) };
        check(status, HostError::Invalid)
    }

    fn metric_value(&self, metric: MetricId) -> Result<u64, HostError> {
        let mut value = 0;
        // SAFETY: the result is written to a local of the right type.
        let status = unsafe { proxy_get_metric(metric.0, &mut value) };
        check(status, HostError::Invalid)?;
        Ok(value)
    }

    fn property(&self, path: &[u8], value: &mut Vec<u8>) -> Result<(), HostError> {
        property(path, value)
    }

    fn account(&self, _callback: &'static str, _took: Duration) {
        // Time is accounted for outside of the guest.
    }
}

/// Rounded up, so that a short time does not become none.
fn milliseconds(duration: Duration) -> u32 {
    // Envoy refuses 2^31 and more.
    u32::try_from(duration.as_nanos().div_ceil(1_000_000))
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}
