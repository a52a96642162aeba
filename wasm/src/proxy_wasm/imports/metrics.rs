//! Counters, gauges and histograms.

use leno_sdk::host::{LogLevel, MetricKind};
use wasmtime::{Caller, Result};

use crate::proxy_wasm::memory::{bytes, put, put_word, with};
use crate::proxy_wasm::state::State;
use crate::proxy_wasm::status::{BAD_ARGUMENT, NOT_FOUND, missing_or_bad};
use crate::proxy_wasm::tables::Metric;

type Guest<'a> = Caller<'a, State>;

/// A metric that the host refuses gets an id that keeps nothing, because SDKs panic on a refusal; the log says so.
pub(super) fn define(mut guest: Guest<'_>, kind: u32, name: u32, name_size: u32, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let kind = match kind {
            0 => MetricKind::Counter,
            1 => MetricKind::Gauge,
            2 => MetricKind::Histogram,
            _ => return Err(BAD_ARGUMENT),
        };
        let name = String::from_utf8_lossy(bytes(memory, name, name_size)?);
        let root = state.root().cloned().ok_or(BAD_ARGUMENT)?;
        let id = match root.host.metric_define(kind, &name) {
            Ok(id) => Some(id),
            Err(error) => {
                let text = format!("metric {name} is not kept: {error}");
                state.log(LogLevel::Error, text.as_bytes());
                None
            }
        };
        let id = state.metrics.define(kind, Metric { root, id });
        put_word(memory, out, id)
    })
}

pub(super) fn increment(mut guest: Guest<'_>, id: u32, by: i64) -> Result<u32> {
    with(&mut guest, |_, state| {
        let metric = state.metrics.find(id)?;
        let Some(id) = metric.id else { return Ok(()) };
        metric.root.host.metric_add(id, by).map_err(missing_or_bad)
    })
}

pub(super) fn record(mut guest: Guest<'_>, id: u32, value: u64) -> Result<u32> {
    with(&mut guest, |_, state| {
        let metric = state.metrics.find(id)?;
        let Some(id) = metric.id else { return Ok(()) };
        metric.root.host.metric_record(id, value).map_err(|_| NOT_FOUND)
    })
}

pub(super) fn value(mut guest: Guest<'_>, id: u32, out: u32) -> Result<u32> {
    with(&mut guest, |memory, state| {
        let metric = state.metrics.find(id)?;
        let value = match metric.id {
            Some(id) => metric.root.host.metric_value(id).map_err(missing_or_bad)?,
            None => 0,
        };
        put(memory, out, &value.to_le_bytes())
    })
}
