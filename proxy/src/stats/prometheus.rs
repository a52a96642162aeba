//! The `/stats/prometheus` page: Prometheus text format 0.0.4, named and bucketed as Envoy does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::snapshot::{Distribution, Sample, Value};
use super::text::Selection;

/// Envoy's default histogram buckets (`Histogram buckets` in its statistics documentation).
const LIMITS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// All samples that are asked for, one `# TYPE` per name.
pub fn render(samples: &[Sample], selection: &Selection) -> String {
    let mut families: BTreeMap<(&str, &'static str), Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| selection.takes(sample)) {
        let family = (sample.name.prometheus.as_str(), kind(&sample.value));
        families.entry(family).or_default().push(sample);
    }
    let mut out = String::new();
    let mut previous = "";
    for ((name, kind), samples) in &families {
        // One name may not have two types: the one that comes second keeps its values under a name of its own.
        let name = if *name == previous {
            format!("{name}_{kind}")
        } else {
            (*name).to_owned()
        };
        line(&mut out, format_args!("# TYPE {name} {kind}\n"));
        samples.iter().for_each(|sample| write(&mut out, &name, sample));
        previous = &samples[0].name.prometheus;
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Counter(_) => "counter",
        Value::Gauge { .. } => "gauge",
        Value::Histogram(_) => "histogram",
    }
}

fn write(out: &mut String, name: &str, sample: &Sample) {
    let labels = labels(sample);
    match &sample.value {
        Value::Counter(value) | Value::Gauge { value, .. } => {
            line(out, format_args!("{name}{{{labels}}} {value}\n"));
        }
        Value::Histogram(distribution) => histogram(out, name, &labels, distribution),
    }
}

fn histogram(out: &mut String, name: &str, labels: &str, distribution: &Distribution) {
    let comma = if labels.is_empty() { "" } else { "," };
    for limit in LIMITS {
        let count = distribution.up_to(limit);
        line(
            out,
            format_args!("{name}_bucket{{{labels}{comma}le=\"{limit}\"}} {count}\n"),
        );
    }
    let count = distribution.count();
    line(
        out,
        format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}\n"),
    );
    line(
        out,
        format_args!("{name}_sum{{{labels}}} {}\n", distribution.sum()),
    );
    line(out, format_args!("{name}_count{{{labels}}} {count}\n"));
}

fn labels(sample: &Sample) -> String {
    let mut out = String::new();
    for (label, value) in &sample.name.labels {
        let comma = if out.is_empty() { "" } else { "," };
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        line(&mut out, format_args!("{comma}{label}=\"{value}\""));
    }
    out
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(line);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::render;
    use crate::stats::Registry;
    use crate::stats::text::Selection;

    fn page(fill: impl FnOnce(&Registry)) -> String {
        let registry = Registry::new();
        fill(&registry);
        render(&registry.snapshot(Instant::now()), &Selection::default())
    }

    #[test]
    fn families_come_once_with_all_their_labels() {
        let page = page(|registry| {
            registry.counter("cluster.b.upstream_rq_200", &[]).inc();
            registry.counter("cluster.a.upstream_rq_503", &[]).add(2);
            registry.counter("wasmcustom.x.=.say \"hi\";.calls", &[]).inc();
        });
        assert_eq!(
            page,
            "# TYPE calls counter\n\
             calls{x=\"say \\\"hi\\\"\"} 1\n\
             # TYPE envoy_cluster_upstream_rq counter\n\
             envoy_cluster_upstream_rq{envoy_response_code=\"503\",envoy_cluster_name=\"a\"} 2\n\
             envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"b\"} 1\n"
        );
    }

    #[test]
    fn histograms_have_envoys_buckets() {
        let page = page(|registry| {
            let histogram = registry.histogram("cluster.a.upstream_rq_time", &[]);
            [0, 7, 250].into_iter().for_each(|value| histogram.record(value));
        });
        for expected in [
            "# TYPE envoy_cluster_upstream_rq_time histogram\n",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"0.5\"} 1\n",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"10\"} 2\n",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"250\"} 3\n",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"3600000\"} 3\n",
            "envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=\"a\",le=\"+Inf\"} 3\n",
            "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"a\"} 257\n",
            "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"a\"} 3\n",
        ] {
            assert!(page.contains(expected), "{expected} in\n{page}");
        }
    }

    #[test]
    fn one_name_with_two_kinds_is_still_a_valid_page() {
        let page = page(|registry| {
            registry.counter("x", &[]).inc();
            registry.gauge("x", &[]).set(1);
        });
        assert_eq!(
            page,
            "# TYPE envoy_x counter\nenvoy_x{} 1\n# TYPE envoy_x_gauge gauge\nenvoy_x_gauge{} 1\n"
        );
    }
}
