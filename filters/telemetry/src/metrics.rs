//! Recording: one set of metrics per combination of labels, made when it is first seen.

use std::cell::RefCell;
use std::collections::BTreeMap;

use leno_sdk::template::{Saved, Template};
use leno_sdk::{ConfigError, Context, Counter, Histogram, Log, tagged};

use crate::config::{Metric, Metrics, Reporter, TagOverride};
use crate::labels::{self, Node};

/// Combinations of labels that are remembered. Beyond that they are looked up again, which only costs time.
const REMEMBERED: usize = 2_048;

pub(crate) struct Recorder {
    node: Node,
    reporter: Option<Reporter>,
    disabled: Vec<Metric>,
    removed: Vec<String>,
    values: Vec<(String, Template)>,
    known: RefCell<BTreeMap<String, Series>>,
}

/// The metrics of one combination of labels.
struct Series {
    requests: Option<Counter>,
    duration: Option<Histogram>,
    request_bytes: Option<Histogram>,
    response_bytes: Option<Histogram>,
}

impl Recorder {
    pub(crate) fn new(config: Metrics, context: &Context) -> Result<Self, ConfigError> {
        let mut removed = Vec::new();
        let mut values = Vec::new();
        for (label, TagOverride { value, remove }) in config.tag_overrides {
            let path = format!("tagOverrides.{label}");
            if !is_label(&label) {
                return Err(ConfigError::new(
                    path,
                    "is not a label: letters, digits and _ only",
                ));
            }
            match (value, remove) {
                (None, true) => removed.push(label),
                (Some(value), false) => {
                    let template = Template::parse(&value)
                        .map_err(|reason| ConfigError::new(format!("{path}.value"), reason))?;
                    values.push((label, template));
                }
                (None, false) | (Some(_), true) => {
                    return Err(ConfigError::new(
                        path,
                        "needs exactly one of value and remove: true",
                    ));
                }
            }
        }
        Ok(Self {
            node: Node::of(context),
            reporter: config.reporter,
            disabled: config.disable,
            removed,
            values,
            known: RefCell::default(),
        })
    }

    pub(crate) fn record(&self, log: &Log<'_>) {
        let tags = self.tags(log);
        let mut known = self.known.borrow_mut();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let series = known
            .entry(tags)
            .or_insert_with_key(|tags| self.series(tags, log.context()));
        let int = |path: &[&str]| u64::try_from(log.property(path).int().unwrap_or(0)).unwrap_or(0);
        if let Some(requests) = &series.requests {
            requests.add(1);
        }
        if let Some(duration) = &series.duration {
            let duration_value = log
                .property(&["request", "duration"])
                .duration()
                .unwrap_or_default();
            duration.record(u64::try_from(duration_value.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(bytes) = &series.request_bytes {
            bytes.record(int(&["request", "total_size"]));
        }
        if let Some(bytes) = &series.response_bytes {
            bytes.record(int(&["response", "total_size"]));
        }
    }

    /// The labels as they stand before a metric's name.
    fn tags(&self, log: &Log<'_>) -> String {
        let mut labels = labels::all(&self.node, self.reporter, log);
        labels.retain(|(label, _)| !self.removed.iter().any(|removed| removed == label));
        let mut extra = Vec::new();
        for (label, template) in &self.values {
            let value = String::from_utf8_lossy(&template.render(log, &Saved::default())).into_owned();
            match labels.iter_mut().find(|(known, _)| known == label) {
                Some((_, current)) => *current = value,
                None => extra.push((label.as_str(), value)),
            }
        }
        let pairs = labels.iter().map(|(label, value)| (*label, value.as_str()));
        let pairs: Vec<_> = pairs
            .chain(extra.iter().map(|(label, value)| (*label, value.as_str())))
            .collect();
        tagged("", &pairs)
    }

    fn series(&self, tags: &str, context: &Context) -> Series {
        let name =
            |metric: Metric, name: &str| (!self.disabled.contains(&metric)).then(|| format!("{tags}{name}"));
        let histogram = |name: Option<String>| name.and_then(|name| context.histogram(&name).ok());
        let requests = name(Metric::RequestCount, "istio_requests_total").and_then(|name| {
            let counter = context.counter(&name);
            if let Err(error) = &counter {
                context.warn(format_args!("{name} cannot be counted: {error}"));
            }
            counter.ok()
        });
        Series {
            requests,
            duration: histogram(name(
                Metric::RequestDuration,
                "istio_request_duration_milliseconds",
            )),
            request_bytes: histogram(name(Metric::RequestSize, "istio_request_bytes")),
            response_bytes: histogram(name(Metric::ResponseSize, "istio_response_bytes")),
        }
    }
}

fn is_label(label: &str) -> bool {
    let mut bytes = label.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
