//! The `/stats` page: one metric per line, or JSON, as Envoy writes them.

use std::fmt::Write as _;

use regex_automata::meta::Regex;
use serde_json::{Value as Json, json};

use super::snapshot::{Distribution, Sample, Value};

/// Which quantiles are shown, in percent.
const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// What of the metrics is asked for.
#[derive(Default)]
pub struct Selection {
    /// Only names in which this is found.
    pub filter: Option<Regex>,
    /// Only what was written since the start.
    pub used_only: bool,
}

impl Selection {
    /// Whether `sample` is asked for.
    pub fn takes(&self, sample: &Sample) -> bool {
        let named = self
            .filter
            .as_ref()
            .is_none_or(|filter| filter.is_match(&sample.name.dotted));
        named && (!self.used_only || sample.is_used())
    }
}

/// Counters and gauges by name, then histograms.
pub fn lines(samples: &[Sample], selection: &Selection) -> String {
    let mut out = String::new();
    let mut histograms = String::new();
    for sample in samples.iter().filter(|sample| selection.takes(sample)) {
        let name = &sample.name.dotted;
        // Writing to a string cannot fail.
        let _ = match &sample.value {
            Value::Counter(value) | Value::Gauge { value, .. } => writeln!(out, "{name}: {value}"),
            Value::Histogram(distribution) => writeln!(histograms, "{name}: {}", quantiles(distribution)),
        };
    }
    out + &histograms
}

/// `{"stats": [...]}`.
pub fn json(samples: &[Sample], selection: &Selection) -> Json {
    let mut stats = Vec::new();
    let mut computed = Vec::new();
    for sample in samples.iter().filter(|sample| selection.takes(sample)) {
        let name = &sample.name.dotted;
        match &sample.value {
            Value::Counter(value) | Value::Gauge { value, .. } => {
                stats.push(json!({"name": name, "value": value}));
            }
            Value::Histogram(distribution) => {
                let value = |percent: &f64| json!({"cumulative": distribution.quantile(percent / 100.0), "interval": null});
                let values: Vec<Json> = QUANTILES.iter().map(value).collect();
                computed.push(json!({"name": name, "values": values}));
            }
        }
    }
    if !computed.is_empty() {
        stats.push(json!({"histograms": {"supported_quantiles": QUANTILES, "computed_quantiles": computed}}));
    }
    json!({"stats": stats})
}

/// Envoy shows the last interval beside the whole life; there is no interval here, which it writes as `nan`.
fn quantiles(distribution: &Distribution) -> String {
    if distribution.count() == 0 {
        return "No recorded values".to_owned();
    }
    let shown = QUANTILES.iter().filter_map(|percent| {
        let value = distribution.quantile(percent / 100.0)?;
        Some(format!("P{percent}(nan,{})", (value * 100.0).round() / 100.0))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use regex_automata::meta::Regex;

    use super::{Selection, json, lines};
    use crate::stats::Registry;
    use crate::stats::snapshot::Sample;

    fn samples() -> Vec<Sample> {
        let registry = Registry::new();
        let held = (
            registry.counter("b.count", &[]),
            registry.counter("b.unused", &[]),
        );
        registry.gauge("a.level", &[]).set(3);
        registry.histogram("a.time", &[]).record(7);
        held.0.add(2);
        registry.snapshot(Instant::now())
    }

    #[test]
    fn lines_are_sorted_and_histograms_come_last() {
        assert_eq!(
            lines(&samples(), &Selection::default()),
            "a.level: 3\nb.count: 2\nb.unused: 0\n\
             a.time: P0(nan,7) P25(nan,7) P50(nan,7) P75(nan,7) P90(nan,7) P95(nan,7) P99(nan,7) P99.5(nan,7) \
             P99.9(nan,7) P100(nan,7)\n"
        );
    }

    #[test]
    fn selections_narrow() {
        let selection = Selection {
            filter: Some(Regex::new("^b").unwrap()),
            used_only: true,
        };
        assert_eq!(lines(&samples(), &selection), "b.count: 2\n");
        assert_eq!(
            json(&samples(), &selection).to_string(),
            r#"{"stats":[{"name":"b.count","value":2}]}"#
        );
    }
}
