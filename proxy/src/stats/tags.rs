//! From a dotted name to a Prometheus name with labels, as Envoy's default tag rules do it.
//!
//! Where Envoy's rules stop at the first dot of a cluster name, these know how the names of our own metrics end, so
//! that a cluster called `web.prod` is one label. Metrics of guests (`wasmcustom.`) carry their labels in the name
//! in Istio's form, `label.=.value;.`, and are exported without a prefix.

/// The names of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As asked for.
    pub dotted: String,
    /// As `envoy_cluster_upstream_rq_total`.
    pub prometheus: String,
    /// In the order of Envoy's rules; names are valid label names.
    pub labels: Vec<(String, String)>,
}

/// What guests' metrics begin with.
pub const CUSTOM: &str = "wasmcustom.";

impl Name {
    /// Reads `dotted`. The values of `tags` are taken out of it where they stand between dots.
    pub fn read(dotted: &str, tags: &[(&str, &str)]) -> Self {
        let mut reading = Reading {
            name: dotted.to_owned(),
            labels: Vec::new(),
        };
        if let Some(custom) = dotted.strip_prefix(CUSTOM) {
            reading.custom(custom);
            reading.given(tags);
            return reading.finish(dotted, "");
        }
        reading.response_code();
        reading.given(tags);
        reading.known();
        reading.finish(dotted, "envoy_")
    }
}

struct Reading {
    name: String,
    labels: Vec<(String, String)>,
}

impl Reading {
    fn finish(self, dotted: &str, prefix: &str) -> Name {
        Name {
            dotted: dotted.to_owned(),
            prometheus: format!("{prefix}{}", valid(&self.name)),
            labels: self.labels,
        }
    }

    fn label(&mut self, name: &str, value: &str) {
        self.labels.push((valid(name), value.to_owned()));
    }

    fn has(&self, label: &str) -> bool {
        self.labels.iter().any(|(name, _)| name == label)
    }

    /// `…_rq_200` and `…_rq_2xx`.
    fn response_code(&mut self) {
        let Some(at) = self.name.rfind("_rq_") else {
            return;
        };
        let code = self.name[at + 4..].to_owned();
        match code.as_bytes() {
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
                self.label("envoy.response_code", &code);
                self.name.truncate(at + 3);
            }
            [b'1'..=b'5', b'x', b'x'] => {
                self.label("envoy.response_code_class", &code[..1]);
                self.name.replace_range(at + 4..at + 5, "");
            }
            _ => {}
        }
    }

    fn given(&mut self, tags: &[(&str, &str)]) {
        for (tag, value) in tags {
            let middle = format!(".{value}.");
            if value.is_empty() {
            } else if let Some(at) = self.name.find(&middle) {
                self.name.replace_range(at..at + middle.len() - 1, "");
            } else if let Some(short) = self.name.strip_suffix(&middle[..middle.len() - 1]) {
                self.name.truncate(short.len());
            }
            self.label(tag, value);
        }
    }

    fn known(&mut self) {
        if self.name.starts_with("cluster.") && !self.has("envoy_cluster_name") {
            self.cut("cluster.", cluster_length, "envoy.cluster_name");
        } else if self.name.starts_with("listener.") && !self.has("envoy_listener_address") {
            self.cut("listener.", address_length, "envoy.listener_address");
        } else if self.name.starts_with("listener_manager.worker_") {
            self.cut("listener_manager.", first_length, "envoy.worker_id");
        } else if self.name.starts_with("vhost.") && !self.has("envoy_virtual_host") {
            self.cut("vhost.", first_length, "envoy.virtual_host");
        }
        if self.has("envoy_http_conn_manager_prefix") {
        } else if self.name.starts_with("http.") {
            self.cut("http.", first_length, "envoy.http_conn_manager_prefix");
        } else if self.name.starts_with("listener.http.") {
            self.cut("listener.http.", first_length, "envoy.http_conn_manager_prefix");
        }
        if self.name.starts_with("http.rds.") {
            self.cut("http.rds.", |rest| rest.rfind('.'), "envoy.rds_route_config");
        }
    }

    /// Takes the value that stands after `prefix` out of the name; `length` says how long it is.
    fn cut(&mut self, prefix: &str, length: fn(&str) -> Option<usize>, tag: &str) {
        let rest = &self.name[prefix.len()..];
        let Some(length) = length(rest).filter(|length| *length > 0) else {
            return;
        };
        let value = rest[..length].to_owned();
        self.name
            .replace_range(prefix.len()..prefix.len() + length + 1, "");
        self.label(tag, &value);
    }

    /// `label=.=value;.;` anywhere in the name, which is what the `stats_tags` of Istio's bootstrap take out, and the
    /// older `label.=.value;.`.
    fn custom(&mut self, custom: &str) {
        let mut name = String::new();
        let (end, middle) = if custom.contains(";.;") {
            (";.;", "=.=")
        } else {
            (";.", ".=.")
        };
        for piece in custom.split(end) {
            match piece.split_once(middle) {
                Some((label, value)) => self.label(label, value),
                None => name.push_str(piece),
            }
        }
        name.trim_matches(['_', '.', ';']).clone_into(&mut self.name);
    }
}

fn first_length(rest: &str) -> Option<usize> {
    rest.find('.')
}

/// `127.0.0.1_80.` and `[__1]_80.`; listeners with a name of their own keep it in the metric's name, as in Envoy.
fn address_length(rest: &str) -> Option<usize> {
    let letter = |letter: char| letter.is_ascii_hexdigit() || "_.[]:".contains(letter);
    let end = rest.find(|other| !letter(other)).unwrap_or(rest.len());
    let length = rest[..end].rfind('.')?;
    rest[..length]
        .ends_with(|last: char| last.is_ascii_digit())
        .then_some(length)
}

/// Everything but the end of the name, which is one to three words long.
fn cluster_length(rest: &str) -> Option<usize> {
    const GROUPS: [&str; 9] = [
        "internal",
        "external",
        "canary",
        "http1",
        "http2",
        "ssl",
        "outlier_detection",
        "health_check",
        "assignment",
    ];
    let dots: Vec<usize> = rest.match_indices('.').map(|(at, _)| at).rev().take(3).collect();
    let word = |dot: usize, end: usize| &rest[dot + 1..end];
    match dots.as_slice() {
        [last, middle, first] if word(*first, *middle) == "circuit_breakers" && last > middle => Some(*first),
        [last, before, ..] if GROUPS.contains(&word(*before, *last)) => Some(*before),
        [last, ..] => Some(*last),
        [] => None,
    }
}

/// Letters that Prometheus does not allow become `_`.
fn valid(name: &str) -> String {
    let letter = |(at, letter): (usize, char)| match letter {
        'a'..='z' | 'A'..='Z' | '_' => letter,
        '0'..='9' if at > 0 => letter,
        _ => '_',
    };
    name.chars().enumerate().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::Name;

    /// `dotted` (with `tags`) reads as `expected`, written as in the Prometheus text format.
    fn check(dotted: &str, tags: &[(&str, &str)], expected: &str) {
        let name = Name::read(dotted, tags);
        let labels = name
            .labels
            .iter()
            .map(|(label, value)| format!("{label}={value}"));
        let found = format!("{}{{{}}}", name.prometheus, labels.collect::<Vec<_>>().join(","));
        assert_eq!(found, expected, "{dotted}");
    }

    #[test]
    fn envoys_names_give_envoys_labels() {
        for (dotted, expected) in [
            ("server.live", "envoy_server_live{}"),
            (
                "cluster.web.upstream_rq_total",
                "envoy_cluster_upstream_rq_total{envoy_cluster_name=web}",
            ),
            (
                "cluster.web.prod.upstream_cx_active",
                "envoy_cluster_upstream_cx_active{envoy_cluster_name=web.prod}",
            ),
            (
                "cluster.outbound|80||a.b.svc.upstream_rq_200",
                "envoy_cluster_upstream_rq{envoy_response_code=200,envoy_cluster_name=outbound|80||a.b.svc}",
            ),
            (
                "cluster.web.external.upstream_rq_5xx",
                "envoy_cluster_external_upstream_rq_xx{envoy_response_code_class=5,envoy_cluster_name=web}",
            ),
            (
                "cluster.web.circuit_breakers.default.cx_open",
                "envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name=web}",
            ),
            (
                "http.ingress.downstream_rq_2xx",
                "envoy_http_downstream_rq_xx{envoy_response_code_class=2,envoy_http_conn_manager_prefix=ingress}",
            ),
            (
                "http.ingress.rds.route.a.update_success",
                "envoy_http_rds_update_success{envoy_http_conn_manager_prefix=ingress,envoy_rds_route_config=route.a}",
            ),
            (
                "listener.127.0.0.1_8080.downstream_cx_total",
                "envoy_listener_downstream_cx_total{envoy_listener_address=127.0.0.1_8080}",
            ),
            (
                "listener.[__1]_80.http.in.downstream_rq_completed",
                "envoy_listener_http_downstream_rq_completed{envoy_listener_address=[__1]_80,\
                 envoy_http_conn_manager_prefix=in}",
            ),
            (
                "listener.admin.downstream_cx_total",
                "envoy_listener_admin_downstream_cx_total{}",
            ),
            (
                "listener_manager.lds.update_success",
                "envoy_listener_manager_lds_update_success{}",
            ),
        ] {
            check(dotted, &[], expected);
        }
    }

    #[test]
    fn given_tags_are_taken_out_of_the_name() {
        check(
            "http.in.extension_config_discovery.a.b.config_reload",
            &[
                ("envoy.http_conn_manager_prefix", "in"),
                ("extension_config_name", "a.b"),
            ],
            "envoy_http_extension_config_discovery_config_reload{envoy_http_conn_manager_prefix=in,\
             extension_config_name=a.b}",
        );
        check("x.last", &[("t", "last")], "envoy_x{t=last}");
        check("x.y", &[("t", "absent")], "envoy_x_y{t=absent}");
    }

    #[test]
    fn metrics_of_guests_bring_their_own_labels() {
        check("wasmcustom.my-counter.x", &[], "my_counter_x{}");
        check(
            "wasmcustom.reporter.=.source;.code.=.200;._istio_requests_total",
            &[],
            "istio_requests_total{reporter=source,code=200}",
        );
        check(
            "wasmcustom.reporter=.=source;.;destination.service=.=a.b:80;.;istio_requests_total",
            &[],
            "istio_requests_total{reporter=source,destination_service=a.b:80}",
        );
        check(
            "wasmcustom.istio_requests_total;.destination.service.=.a.b:80;.",
            &[],
            "istio_requests_total{destination_service=a.b:80}",
        );
    }
}
