//! Which plugins stand in a listener's chain, in which order, and as what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use leno_model::filter::{
    DiscoveredFilter, FailurePolicy, FilterConfig, FilterSource, HttpFilter, InlineCode, RemoteCode, Router,
    WasmCode, WasmFilter, WasmVm,
};
use leno_model::listener::Direction;

use super::scope::{Agent, View};
use super::services::ARTIFACTS_CLUSTER;
use super::{Artifacts, Note, Settings, Translation};
use crate::api::meta::{Key, selects};
use crate::api::wasm_plugin::{EnvSource, FailStrategy, WasmPlugin, WorkloadMode};
use crate::world::{Object, World};

/// What is known of a plugin's artifact.
#[derive(Clone, Debug, PartialEq)]
pub enum Artifact {
    /// Pulled, verified and checked.
    Ready {
        /// Of the module, in hexadecimal digits.
        sha256: String,
        /// The module, unless it is a component.
        proxy_wasm: Option<InlineCode>,
        /// The plugin as it was when its artifact was taken: a new version that fails changes nothing, so module and
        /// configuration stay together.
        plugin: Arc<Object<WasmPlugin>>,
    },
    /// Not there, and nothing of it was there before.
    Missing {
        /// Why.
        reason: String,
    },
}

/// The type URL of a Wasm filter's configuration.
pub const WASM_TYPE_URL: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// A listener, as plugins select it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// Its port.
    pub port: u16,
    /// Its side.
    pub direction: Direction,
}

/// The name under which a plugin's configuration is discovered (Istio's).
pub fn resource_name(key: &Key) -> String {
    format!("extensions.istio.io/wasmplugin/{}.{}", key.namespace, key.name)
}

/// The chain of one listener: its plugins in order, then the router. Configurations go into the snapshot.
pub fn chain(
    world: &World,
    artifacts: &Artifacts,
    view: &View,
    settings: &Settings,
    site: Site<'_>,
    translation: &mut Translation,
) -> Vec<HttpFilter> {
    let mut plugins: Vec<&Arc<Object<WasmPlugin>>> = world
        .wasm_plugins
        .iter()
        .map(|(key, plugin)| match artifacts.get(key) {
            Some(Artifact::Ready { plugin, .. }) => plugin,
            Some(Artifact::Missing { .. }) | None => plugin,
        })
        .filter(|plugin| applies(plugin, view, settings) && matches_site(&plugin.spec, site))
        .collect();
    // Istio: an absent priority is the lowest there is; ties by creation, name, namespace.
    plugins.sort_by_key(|plugin| {
        (
            plugin.spec.phase,
            Reverse(plugin.spec.priority.map_or(i64::MIN, i64::from)),
            plugin.meta.creation_timestamp.clone(),
            plugin.meta.name.clone(),
            plugin.meta.namespace.clone(),
        )
    });
    let mut filters = Vec::with_capacity(plugins.len() + 1);
    for plugin in plugins {
        let key = plugin.meta.key();
        let name = resource_name(&key);
        let code = match code(&plugin.spec, artifacts.get(&key), &view.agent) {
            Ok(code) => code,
            Err(reason) => {
                leave_out(plugin, &reason, site, translation);
                translation.left_out.insert(name, reason);
                continue;
            }
        };
        let config = FilterConfig::Wasm(Box::new(wasm_filter(plugin, code)));
        translation
            .snapshot
            .filters
            .insert(name.clone(), Arc::new(config));
        filters.push(HttpFilter {
            name,
            source: FilterSource::Discovered(DiscoveredFilter {
                default: None,
                apply_default_without_warming: false,
                type_urls: vec![WASM_TYPE_URL.to_owned()],
            }),
            disabled: false,
        });
    }
    filters.push(HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        source: FilterSource::Inline(Arc::new(FilterConfig::Router(Router::default()))),
        disabled: false,
    });
    filters
}

fn leave_out(plugin: &Object<WasmPlugin>, reason: &str, site: Site<'_>, translation: &mut Translation) {
    let effect = if plugin.spec.fail_strategy == FailStrategy::Open {
        "traffic passes without it (FAIL_OPEN)"
    } else {
        translation.held.insert(site.listener.to_owned());
        "its listeners stay as they are until it is there"
    };
    translation.notes.insert(Note {
        kind: "WasmPlugin",
        key: plugin.meta.key(),
        message: format!("spec.url: {reason}; {effect}"),
    });
}

/// Where `agent` finds the module, or why it cannot have it.
fn code(spec: &WasmPlugin, artifact: Option<&Artifact>, agent: &Agent) -> Result<WasmCode, String> {
    // As in Istio, a file is one of the proxy's own file system.
    if let Some(path) = spec.url.strip_prefix("file://") {
        return Ok(WasmCode::File(PathBuf::from(path)));
    }
    let (sha256, proxy_wasm) = match artifact {
        Some(Artifact::Ready {
            sha256, proxy_wasm, ..
        }) => (sha256, proxy_wasm),
        Some(Artifact::Missing { reason }) => return Err(reason.clone()),
        None => return Err("its artifact is being fetched".to_owned()),
    };
    match (agent, proxy_wasm) {
        (Agent::Leno, _) => Ok(WasmCode::Remote(RemoteCode {
            uri: format!("http://{ARTIFACTS_CLUSTER}/artifacts/sha256/{sha256}"),
            cluster: ARTIFACTS_CLUSTER.to_owned(),
            timeout: Duration::from_secs(30),
            sha256: sha256.clone(),
            retries: 5,
        })),
        // Envoy would run the chain without a module that it has yet to fetch.
        (Agent::Other(_), Some(code)) => Ok(WasmCode::Inline(code.clone())),
        (Agent::Other(name), None) => Err(format!("{name} cannot run components; push a Proxy-Wasm build")),
    }
}

fn wasm_filter(plugin: &Object<WasmPlugin>, code: WasmCode) -> WasmFilter {
    let spec = &plugin.spec;
    let mut environment = BTreeMap::new();
    let mut host_environment = BTreeSet::new();
    for env in spec.vm_config.iter().flat_map(|vm| &vm.env) {
        match env.value_from {
            EnvSource::Inline => drop(environment.insert(env.name.clone(), env.value.clone())),
            EnvSource::Host => drop(host_environment.insert(env.name.clone())),
        }
    }
    let configuration = spec
        .plugin_config
        .as_ref()
        .map(|config| serde_json::Value::Object(config.clone()).to_string().into_bytes())
        .unwrap_or_default();
    WasmFilter {
        name: format!("{}.{}", plugin.meta.namespace, plugin.meta.name),
        root_id: spec.plugin_name.clone(),
        vm: WasmVm {
            // Istio leaves this empty, so that plugins of all namespaces share data; tenants must not.
            id: plugin.meta.namespace.clone(),
            code,
            configuration: Vec::new(),
            environment,
            host_environment,
        },
        configuration,
        failure: match spec.fail_strategy {
            FailStrategy::Close => FailurePolicy::Closed,
            FailStrategy::Open => FailurePolicy::Open,
            FailStrategy::Reload => FailurePolicy::Reload,
        },
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    }
}

fn applies(plugin: &Object<WasmPlugin>, view: &View, settings: &Settings) -> bool {
    let namespace = &plugin.meta.namespace;
    if *namespace != view.namespace && *namespace != settings.root_namespace {
        return false;
    }
    let targets: Vec<_> = plugin
        .spec
        .target_refs
        .iter()
        .chain(&plugin.spec.target_ref)
        .collect();
    if targets.is_empty() {
        return plugin
            .spec
            .selector
            .as_ref()
            .is_none_or(|selector| selects(&selector.match_labels, &view.labels));
    }
    // Services and ServiceEntries are targets at waypoints only, which no proxy of this version is.
    targets.iter().any(|target| match target.kind.as_str() {
        "Gateway" => {
            *namespace == view.namespace
                && view.labels.get("gateway.networking.k8s.io/gateway-name") == Some(&target.name)
        }
        "GatewayClass" => {
            *namespace == settings.root_namespace
                && view.labels.get("gateway.networking.k8s.io/gateway-class-name") == Some(&target.name)
        }
        _ => false,
    })
}

fn matches_site(spec: &WasmPlugin, site: Site<'_>) -> bool {
    spec.matches.is_empty()
        || spec.matches.iter().any(|traffic| {
            let side = match traffic.mode {
                WorkloadMode::Undefined | WorkloadMode::ClientAndServer => true,
                WorkloadMode::Client => site.direction != Direction::Inbound,
                WorkloadMode::Server => site.direction == Direction::Inbound,
            };
            side && (traffic.ports.is_empty() || traffic.ports.iter().any(|port| port.number == site.port))
        })
}
