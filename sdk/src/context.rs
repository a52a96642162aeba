//! What a filter may ask outside of an exchange: log, clock, calls, shared data, queues, metrics.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

#[cfg(target_family = "wasm")]
use crate::host::PluginHost as _;
use crate::host::{Call, CallId, HostError, LogLevel, MetricId, MetricKind, PluginRef, QueueId};
use crate::property::{Property, join};

/// The proxy, as one filter on one worker sees it. Cloning it is cheap.
#[derive(Clone)]
pub struct Context {
    host: PluginRef,
    random: Rc<Cell<Option<u64>>>,
}

impl Context {
    pub(crate) fn new(host: PluginRef) -> Self {
        Self {
            host,
            random: Rc::default(),
        }
    }

    /// Writes a line to the proxy's log, if this level is written at all.
    pub fn log(&self, level: LogLevel, message: impl Display) {
        if level >= self.host.log_level() {
            self.host.log(level, message.to_string().as_bytes());
        }
    }

    /// For the author of the filter. Takes text or `format_args!`.
    pub fn debug(&self, message: impl Display) {
        self.log(LogLevel::Debug, message);
    }

    /// For the operator.
    pub fn info(&self, message: impl Display) {
        self.log(LogLevel::Info, message);
    }

    /// Worth a look.
    pub fn warn(&self, message: impl Display) {
        self.log(LogLevel::Warn, message);
    }

    /// Something did not work.
    pub fn error(&self, message: impl Display) {
        self.log(LogLevel::Error, message);
    }

    /// Time since 1970. Stands still within one callback.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.host.now())
    }

    /// Has [`Filter::on_tick`](crate::Filter::on_tick) called every `period`; zero stops.
    pub fn set_tick_period(&self, period: Duration) {
        self.host.set_tick_period(period);
    }

    /// Starts a request to a cluster. The answer comes through
    /// [`Filter::on_call_response`](crate::Filter::on_call_response), never before this has returned.
    ///
    /// # Errors
    /// `Invalid` for an unknown cluster or missing pseudo headers; `Limit` or `Internal` when it cannot start.
    pub fn call(&self, call: Call) -> Result<CallId, HostError> {
        self.host.call(call)
    }

    /// Ends a call whose answer is no longer wanted.
    pub fn cancel_call(&self, call: CallId) {
        self.host.cancel_call(call);
    }

    /// A shared value and its version.
    #[must_use]
    pub fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let mut value = Vec::new();
        let version = self.host.shared_get(key.as_bytes(), &mut value).ok()?;
        Some((value, version))
    }

    /// Writes a shared value, whatever it was.
    ///
    /// # Errors
    /// `Limit` when the name space is full.
    pub fn shared_set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), HostError> {
        self.host.shared_set(key.as_bytes(), value.as_ref(), None)
    }

    /// Writes a shared value if it still has this version. Without a version: if there is none yet.
    ///
    /// # Errors
    /// `Conflict` if somebody else was first; `Limit` when the name space is full.
    pub fn shared_replace(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        version: Option<u32>,
    ) -> Result<(), HostError> {
        // A new key ignores the expected version, and no host counts up to this one: it matches only a new key.
        let expected = version.unwrap_or(u32::MAX);
        self.host
            .shared_set(key.as_bytes(), value.as_ref(), Some(expected))
    }

    /// Changes a shared value that other workers change as well. `change` sees what is there and returns what
    /// should be, or nothing to leave it; it runs again, at most `attempts` times, when somebody else was first.
    ///
    /// # Errors
    /// `Conflict` when every attempt met another writer; `Limit` when the name space is full.
    pub fn shared_update<T>(
        &self,
        key: &str,
        attempts: u32,
        mut change: impl FnMut(Option<&[u8]>) -> (Option<Vec<u8>>, T),
    ) -> Result<T, HostError> {
        for _ in 0..attempts {
            let current = self.shared_get(key);
            let (value, version) = match &current {
                Some((value, version)) => (Some(value.as_slice()), Some(*version)),
                None => (None, None),
            };
            let (new, result) = change(value);
            let Some(new) = new else { return Ok(result) };
            match self.shared_replace(key, new, version) {
                Ok(()) => return Ok(result),
                Err(HostError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(HostError::Conflict)
    }

    /// Creates the queue of this name, or finds it, and hears of its new entries from then on.
    #[must_use]
    pub fn queue_register(&self, name: &str) -> QueueId {
        self.host.queue_register(name.as_bytes())
    }

    /// Finds a queue; an empty `name_space` is the own one.
    #[must_use]
    pub fn queue_resolve(&self, name_space: &str, name: &str) -> Option<QueueId> {
        self.host
            .queue_resolve(name_space.as_bytes(), name.as_bytes())
            .ok()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when the queue is full.
    pub fn queue_push(&self, queue: QueueId, entry: impl AsRef<[u8]>) -> Result<(), HostError> {
        self.host.queue_push(queue, entry.as_ref())
    }

    /// Takes the oldest entry.
    #[must_use]
    pub fn queue_pop(&self, queue: QueueId) -> Option<Vec<u8>> {
        let mut entry = Vec::new();
        self.host.queue_pop(queue, &mut entry).ok()?;
        Some(entry)
    }

    /// A metric that only grows.
    ///
    /// # Errors
    /// `Invalid` for a name that exists with another kind, `Limit` when there are too many.
    pub fn counter(&self, name: &str) -> Result<Counter, HostError> {
        let id = self.host.metric_define(MetricKind::Counter, name)?;
        Ok(Counter {
            host: self.host.clone(),
            id,
        })
    }

    /// A metric that goes both ways.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn gauge(&self, name: &str) -> Result<Gauge, HostError> {
        let id = self.host.metric_define(MetricKind::Gauge, name)?;
        Ok(Gauge {
            host: self.host.clone(),
            id,
        })
    }

    /// A metric that counts values by size.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn histogram(&self, name: &str) -> Result<Histogram, HostError> {
        let id = self.host.metric_define(MetricKind::Histogram, name)?;
        Ok(Histogram {
            host: self.host.clone(),
            id,
        })
    }

    /// An attribute that does not depend on an exchange, such as `["xds", "node", "id"]`.
    #[must_use]
    pub fn property(&self, path: &[&str]) -> Property {
        let mut value = Vec::new();
        Property::new(self.host.property(&join(path), &mut value).ok().map(|()| value))
    }

    /// 64 bits that look random. Good for ids and percentages, not for secrets: a component has no entropy.
    #[must_use]
    pub fn random(&self) -> u64 {
        let state = self
            .random
            .get()
            .unwrap_or_else(|| seed(self))
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(Some(state));
        mix(state ^ mix(self.host.now()))
    }

    /// The object below, for what this view does not offer.
    #[must_use]
    pub fn host(&self) -> &PluginRef {
        &self.host
    }
}

/// A metric that only grows.
pub struct Counter {
    host: PluginRef,
    id: MetricId,
}

impl Counter {
    /// Adds; zero does nothing.
    pub fn add(&self, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        if by > 0 {
            // The metric exists and the amount is above zero, so there is nothing to refuse.
            let _ = self.host.metric_add(self.id, by);
        }
    }

    /// Its value over all workers.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.host.metric_value(self.id).unwrap_or(0)
    }
}

/// A metric that goes both ways.
pub struct Gauge {
    host: PluginRef,
    id: MetricId,
}

impl Gauge {
    /// Adds or takes away.
    pub fn add(&self, by: i64) {
        let _ = self.host.metric_add(self.id, by);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        let _ = self.host.metric_record(self.id, value);
    }
}

/// A metric that counts values by size.
pub struct Histogram {
    host: PluginRef,
    id: MetricId,
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, value: u64) {
        let _ = self.host.metric_record(self.id, value);
    }
}

/// The name of a metric with tags: each as `tag=.=value;.;`, then the name. Hosts take it apart again (Istio configures
/// Envoy so; the proxy of this project does it by itself), so that `tagged("hits", &[("rule", "a")])` is exported as
/// `hits{rule="a"}`.
#[must_use]
pub fn tagged(name: &str, tags: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(name.len() + tags.len() * 32);
    for (tag, value) in tags {
        out.push_str(tag);
        out.push_str("=.=");
        // The separator cannot be part of a value.
        if value.contains(";.;") {
            out.push_str(&value.replace(";.;", ";"))
        } else {
            out.push_str(value)
        }
        out.push_str(";.;");
    }
    out.push_str(name);
    out
}

/// The finisher of Murmur 3 (64 bits): every bit of the input moves every bit of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// Where the system gives entropy (natively and under WASI), from that; in a component from the node and the clock.
fn seed(context: &Context) -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write(
        &context
            .property(&["xds", "node", "id"])
            .bytes()
            .unwrap_or_default(),
    );
    hasher.write_u64(context.host.now());
    hasher.finish()
}
