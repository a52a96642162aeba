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

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
