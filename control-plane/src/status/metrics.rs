//! The same in numbers: Prometheus's text format (version 0.0.4), for `GET /metrics`.

use std::fmt::Write as _;

use leno_xds::resource::Kind;

use super::{Plugin, Status, status};
use crate::api::meta::Key;
use crate::artifacts::States;
use crate::artifacts::failure::Step;
use crate::artifacts::ledger::Phase;
use crate::folder::Reading;
use crate::publish::Publisher;

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as of now.
pub fn metrics(publisher: &Publisher) -> String {
    let (reading, states) = publisher.inputs();
    let status = status(publisher);
    let mut text = Text::default();
    text.family("build_info", "gauge", "1, with the version that runs.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    documents(&mut text, &reading);
    proxies(&mut text, publisher, &status);
    plugins(&mut text, &status.plugins, &reading, &states);
    text.written
}

fn documents(text: &mut Text, reading: &Reading) {
    let world = &reading.world;
    let kinds = [
        ("WasmPlugin", world.wasm_plugins.len()),
        ("Gateway", world.gateways.len()),
        ("VirtualService", world.virtual_services.len()),
        ("ServiceEntry", world.service_entries.len()),
        ("DestinationRule", world.destination_rules.len()),
        ("Sidecar", world.sidecars.len()),
        ("Secret", world.pull_secrets.len()),
    ];
    text.family("objects", "gauge", "Objects that serve, by kind.");
    for (kind, count) in kinds {
        text.sample(&[("kind", kind)], count);
    }
    text.family(
        "documents",
        "gauge",
        "Documents that were taken (good) and that were not (refused).",
    );
    text.sample(&[("state", "good")], reading.taken);
    text.sample(&[("state", "refused")], reading.problems.len());
}

fn proxies(text: &mut Text, publisher: &Publisher, status: &Status) {
    text.family("connected_proxies", "gauge", "Proxies that are connected.");
    for role in ["gateway", "sidecar"] {
        let count = status.proxies.iter().filter(|proxy| proxy.role == role).count();
        text.sample(&[("role", role)], count);
    }
    let counts = publisher.proxies().counts();
    let of = |kind: Kind| counts.get(&kind).copied().unwrap_or_default();
    text.family(
        "config_pushes_total",
        "counter",
        "Responses that were sent to proxies.",
    );
    for kind in Kind::ALL {
        text.sample(&[("kind", kind.noun())], of(kind).pushed);
    }
    text.family("config_acks_total", "counter", "Responses that proxies took.");
    for kind in Kind::ALL {
        text.sample(&[("kind", kind.noun())], of(kind).accepted);
    }
    text.family(
        "config_nacks_total",
        "counter",
        "Responses that proxies refused, at least in part.",
    );
    for kind in Kind::ALL {
        text.sample(&[("kind", kind.noun())], of(kind).refused);
    }
}

fn plugins(text: &mut Text, plugins: &[Plugin], reading: &Reading, states: &States) {
    let key = |plugin: &Plugin| Key {
        namespace: plugin.namespace.clone(),
        name: plugin.name.clone(),
    };
    text.family(
        "plugin_artifact",
        "gauge",
        "1 at the state of the version that a plugin names now; a good one from before serves meanwhile.",
    );
    for plugin in plugins {
        for state in ["ready", "pending", "failed"] {
            let labels = [
                ("namespace", &*plugin.namespace),
                ("name", &plugin.name),
                ("state", state),
            ];
            text.sample(&labels, u8::from(plugin.state == state));
        }
    }
    text.family(
        "plugin_artifact_failing",
        "gauge",
        "1 at the step at which the version that a plugin names now fails.",
    );
    for plugin in plugins {
        let wanted = reading.world.wasm_plugins.get(&key(plugin));
        let phase = states
            .get(&key(plugin))
            .zip(wanted)
            .map(|(state, wanted)| state.phase(wanted));
        for step in Step::ALL {
            let fails = matches!(phase, Some(Phase::Failed(failure)) if failure.step == step);
            text.sample(&of_step(plugin, step), u8::from(fails));
        }
    }
    text.family(
        "plugin_artifact_failures_total",
        "counter",
        "How often a version of a plugin failed at a step, retries included.",
    );
    for plugin in plugins {
        let failed = states.get(&key(plugin)).map(|state| &state.failed);
        for step in Step::ALL {
            let count = failed
                .and_then(|failed| failed.get(&step))
                .copied()
                .unwrap_or_default();
            text.sample(&of_step(plugin, step), count);
        }
    }
    text.family(
        "plugin_proxies",
        "gauge",
        "Proxies that should run a plugin, by what became of it there.",
    );
    for plugin in plugins {
        for state in ["programmed", "outdated", "waiting", "refused"] {
            let count = plugin.proxies.iter().filter(|at| at.state == state).count();
            let labels = [
                ("namespace", &*plugin.namespace),
                ("name", &plugin.name),
                ("state", state),
            ];
            text.sample(&labels, count);
        }
    }
}

fn of_step(plugin: &Plugin, step: Step) -> [(&'static str, &str); 3] {
    [
        ("namespace", &plugin.namespace),
        ("name", &plugin.name),
        ("step", step.name()),
    ]
}

#[derive(Debug, Default)]
struct Text {
    written: String,
    family: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        self.line(format_args!("# HELP leno_control_plane_{name} {help}"));
        self.line(format_args!("# TYPE leno_control_plane_{name} {kind}"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let family = self.family;
        self.line(format_args!("leno_control_plane_{family}{{{labels}}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.written, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{Text, escaped};

    #[test]
    fn samples_are_prometheus_text() {
        let mut text = Text::default();
        text.family("x", "gauge", "Of x.");
        text.sample(&[("a", "b\"\\\n"), ("c", "")], 3);
        let want = "# HELP leno_control_plane_x Of x.\n# TYPE leno_control_plane_x gauge\n\
                    leno_control_plane_x{a=\"b\\\"\\\\\\n\",c=\"\"} 3\n";
        assert_eq!(text.written, want);
        assert_eq!(escaped("plain"), "plain");
    }
}
