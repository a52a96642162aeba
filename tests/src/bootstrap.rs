//! Bootstrap files without a control plane, as JSON (which is YAML): the same one for ours and for Envoy.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// The start of every type URL.
const TYPES: &str = "type.googleapis.com/envoy.";

/// One file.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
}

/// The protocol that a cluster is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

impl Bootstrap {
    /// With a cluster of one endpoint.
    #[must_use]
    pub fn cluster(mut self, name: &str, address: SocketAddr, speaks: Speaks) -> Self {
        let protocol = match speaks {
            Speaks::Http1 => "http_protocol_options",
            Speaks::Http2 => "http2_protocol_options",
        };
        let options = "extensions.upstreams.http.v3.HttpProtocolOptions";
        self.clusters.push(json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "typed_extension_protocol_options": {
                (format!("envoy.{options}")): {
                    "@type": format!("{TYPES}{options}"),
                    "explicit_http_config": { protocol: {} },
                },
            },
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
            },
        }));
        self
    }

    /// With a listener that runs `filters` before its router. `routes` are those of one virtual host for every name.
    #[must_use]
    pub fn listener(mut self, name: &str, address: SocketAddr, filters: &[Value], routes: &Value) -> Self {
        let mut filters = filters.to_vec();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{TYPES}extensions.filters.http.router.v3.Router")},
        }));
        let manager = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        self.listeners.push(json!({
            "name": name,
            "address": socket(address),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{TYPES}{manager}"),
                    "stat_prefix": name,
                    "http_filters": filters,
                    "route_config": {
                        "name": name,
                        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
                    },
                },
            }]}],
        }));
        self
    }

    /// The last listener ends TLS: its chain has this `DownstreamTlsContext`.
    #[must_use]
    pub fn ends_tls(mut self, context: &Value) -> Self {
        if let Some(listener) = self.listeners.last_mut() {
            listener["filter_chains"][0]["transport_socket"] = tls("DownstreamTlsContext", context);
        }
        self
    }

    /// A client of the last listener must say what it is, and shake hands, within this (as `0.5s`).
    #[must_use]
    pub fn handshake_within(mut self, time: &str) -> Self {
        if let Some(listener) = self.listeners.last_mut() {
            listener["listener_filters_timeout"] = time.into();
            for chain in listener["filter_chains"].as_array_mut().into_iter().flatten() {
                chain["transport_socket_connect_timeout"] = time.into();
            }
        }
        self
    }

    /// The last listener has one chain for each of these instead of its own: name, `FilterChainMatch`,
    /// `DownstreamTlsContext` (null: plain). Each answers `GET /who` with its name.
    #[must_use]
    pub fn chains(mut self, chains: &[(&str, Value, Value)]) -> Self {
        let Some(listener) = self.listeners.last_mut() else {
            return self;
        };
        let own = listener["filter_chains"][0].take();
        let chains = chains.iter().map(|(name, matches, context)| {
            let mut chain = own.clone();
            chain["name"] = (*name).into();
            chain["filter_chain_match"] = matches.clone();
            if !context.is_null() {
                chain["transport_socket"] = tls("DownstreamTlsContext", context);
            }
            let host = &mut chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0];
            let answer = json!({"status": 200, "body": {"inline_string": name}});
            let who = json!({"match": {"path": "/who"}, "direct_response": answer});
            if let Some(routes) = host["routes"].as_array_mut() {
                routes.insert(0, who);
            }
            chain
        });
        listener["filter_chains"] = chains.collect();
        listener["listener_filters"] = json!([{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {"@type": format!("{TYPES}extensions.filters.listener.tls_inspector.v3.TlsInspector")},
        }]);
        self
    }

    /// The last listener writes a line of this format per exchange, in its first chain.
    #[must_use]
    pub fn logs(mut self, path: &Path, format: &str) -> Self {
        if let Some(listener) = self.listeners.last_mut() {
            listener["filter_chains"][0]["filters"][0]["typed_config"]["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": format!("{TYPES}extensions.access_loggers.file.v3.FileAccessLog"),
                    "path": path,
                    "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
                },
            }]);
        }
        self
    }

    /// The last cluster begins TLS with this `UpstreamTlsContext`.
    #[must_use]
    pub fn begins_tls(mut self, context: &Value) -> Self {
        if let Some(cluster) = self.clusters.last_mut() {
            cluster["transport_socket"] = tls("UpstreamTlsContext", context);
        }
        self
    }

    /// The endpoint of the last cluster has this host name.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        if let Some(cluster) = self.clusters.last_mut() {
            let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            endpoint["hostname"] = name.into();
        }
        self
    }

    /// With the listeners and clusters of `other` as well.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.listeners.extend(other.listeners);
        self.clusters.extend(other.clusters);
        self
    }

    /// The file.
    pub fn text(&self, admin: SocketAddr) -> String {
        let file = json!({
            "node": {"id": "tests", "cluster": "tests"},
            "admin": {"address": socket(admin)},
            "static_resources": {"listeners": self.listeners, "clusters": self.clusters},
        });
        format!("{file:#}")
    }
}

/// A Proxy-Wasm module from a file, as an HTTP filter.
pub fn wasm_filter(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": format!("{TYPES}extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": name,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
            },
        },
    })
}

/// A route of everything to `cluster`.
pub fn all_to(cluster: &str) -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}])
}

fn tls(context: &str, fields: &Value) -> Value {
    let mut typed = fields.clone();
    typed["@type"] = format!("{TYPES}extensions.transport_sockets.tls.v3.{context}").into();
    json!({"name": "envoy.transport_sockets.tls", "typed_config": typed})
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
