//! Golden cases: a world as YAML, a view, and the snapshot it becomes as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use leno_model::filter::InlineCode;

use super::plugins::Artifact;
use super::scope::{Agent, Role, View};
use super::{Artifacts, Settings, Translation, translate};
use crate::api::wasm_plugin::WasmPlugin;
use crate::folder::document::{read_document, split};
use crate::world::{Object, World};

fn world(text: &str) -> World {
    let mut world = World::default();
    for (_, document) in split(text) {
        if let Some(parsed) = read_document(document).expect("a good document") {
            parsed.insert_into(&mut world);
        }
    }
    world
}

fn view(role: Role, labels: &[(&str, &str)]) -> View {
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    View {
        role,
        agent: Agent::Leno,
        namespace: "shop".to_owned(),
        labels: labels.collect(),
    }
}

fn check(world: &World, artifacts: &Artifacts, view: &View) -> Translation {
    let settings = Settings {
        root_namespace: "istio-system".to_owned(),
        artifacts: ([127, 0, 0, 1], 15014).into(),
        access_log: None,
    };
    translate(world, artifacts, view, &settings)
}

fn ready(world: &World) -> Artifacts {
    let code = InlineCode::from(&b"\0asm"[..]);
    artifacts(world, |plugin| Artifact::Ready {
        sha256: "ab".repeat(32),
        proxy_wasm: Some(code.clone()),
        plugin: Arc::clone(plugin),
    })
}

fn components(world: &World) -> Artifacts {
    artifacts(world, |plugin| Artifact::Ready {
        sha256: "cd".repeat(32),
        proxy_wasm: None,
        plugin: Arc::clone(plugin),
    })
}

fn artifacts(world: &World, artifact: impl Fn(&Arc<Object<WasmPlugin>>) -> Artifact) -> Artifacts {
    let plugins = world.wasm_plugins.iter();
    plugins
        .map(|(key, plugin)| (key.clone(), artifact(plugin)))
        .collect()
}

const SHOP: &str = include_str!("testdata/shop.yaml");

#[test]
fn a_gateway_serves_what_its_virtual_services_say() {
    let world = world(SHOP);
    let translation = check(
        &world,
        &ready(&world),
        &view(Role::Gateway, &[("istio", "ingressgateway")]),
    );
    insta::with_settings!({ snapshot_path => "testdata" }, { insta::assert_debug_snapshot!("gateway", translation) });
}

#[test]
fn a_sidecar_listens_where_its_sidecar_object_says() {
    let world = world(SHOP);
    let translation = check(&world, &ready(&world), &view(Role::Sidecar, &[("app", "cart")]));
    insta::with_settings!({ snapshot_path => "testdata" }, { insta::assert_debug_snapshot!("sidecar", translation) });
}

#[test]
fn a_gateway_that_nothing_selects_listens_nowhere() {
    let world = world(SHOP);
    let translation = check(
        &world,
        &ready(&world),
        &view(Role::Gateway, &[("istio", "other")]),
    );
    assert_eq!(translation.snapshot.listeners, BTreeMap::new());
}

#[test]
fn plugins_run_by_phase_then_priority_then_age() {
    let plugin = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  url: oci://r/{name}:v1\n{rest}"
        )
    };
    let text = [
        SHOP.to_owned(),
        plugin("last", ""),
        plugin("negative", "  priority: -5\n"),
        plugin("high", "  priority: 10\n"),
        plugin("stats", "  phase: STATS\n"),
        plugin("authn", "  phase: AUTHN\n"),
        plugin("elsewhere", "  selector: {matchLabels: {app: other}}\n"),
        plugin("server", "  match: [{mode: SERVER}]\n"),
        plugin("port", "  match: [{ports: [{number: 1}]}]\n"),
        plugin(
            "aimed",
            "  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}]\n",
        ),
    ]
    .concat();
    let world = world(&text);
    let translation = check(
        &world,
        &ready(&world),
        &view(Role::Gateway, &[("istio", "ingressgateway")]),
    );
    let leno_model::listener::NetworkFilter::Http(manager) =
        &translation.snapshot.listeners["0.0.0.0_8080"].filter_chains[0].network;
    let names: Vec<_> = manager
        .filters
        .iter()
        .map(|filter| filter.name.rsplit('.').next().unwrap_or(""))
        .collect();
    assert_eq!(
        names,
        ["authn", "auth", "stats", "high", "negative", "last", "router"]
    );
}

#[test]
fn a_plugin_without_its_artifact_holds_its_listeners_unless_it_fails_open() {
    let world = world(SHOP);
    let gateway = view(Role::Gateway, &[("istio", "ingressgateway")]);
    let missing = artifacts(&world, |_| Artifact::Missing {
        reason: "404".to_owned(),
    });
    let translation = check(&world, &missing, &gateway);
    assert!(translation.held.contains("0.0.0.0_8080"));
    let open = self::world(&SHOP.replace("phase: AUTHZ", "phase: AUTHZ\n  failStrategy: FAIL_OPEN"));
    let translation = check(&open, &missing, &gateway);
    assert!(translation.held.is_empty());
    let note = translation
        .notes
        .iter()
        .find(|note| note.kind == "WasmPlugin")
        .expect("a note");
    assert_eq!(
        note.message,
        "spec.url: 404; traffic passes without it (FAIL_OPEN)"
    );
}

#[test]
fn a_proxy_that_is_not_leno_gets_modules_inline() {
    let world = world(SHOP);
    let envoy = View {
        agent: Agent::named("envoy"),
        ..view(Role::Gateway, &[("istio", "ingressgateway")])
    };
    let snapshot = check(&world, &ready(&world), &envoy).snapshot;
    assert!(!snapshot.clusters.contains_key("leno-artifacts"));
    insta::with_settings!({ snapshot_path => "testdata" }, { insta::assert_debug_snapshot!("inline", snapshot.filters) });
}

#[test]
fn a_component_is_kept_from_proxies_that_cannot_run_it() {
    let world = world(SHOP);
    let leno = view(Role::Gateway, &[("istio", "ingressgateway")]);
    let envoy = View {
        agent: Agent::named("envoy"),
        ..leno.clone()
    };
    let runs = check(&world, &components(&world), &leno);
    assert!(runs.left_out.is_empty() && !runs.snapshot.filters.is_empty());

    let name = "extensions.istio.io/wasmplugin/shop.auth";
    let reason = "envoy cannot run components; push a Proxy-Wasm build";
    let closed = check(&world, &components(&world), &envoy);
    assert_eq!(closed.left_out[name], reason);
    assert!(closed.held.contains("0.0.0.0_8080"), "{:?}", closed.held);

    let open = self::world(&SHOP.replace("phase: AUTHZ", "phase: AUTHZ\n  failStrategy: FAIL_OPEN"));
    let open = check(&open, &components(&open), &envoy);
    assert_eq!(open.left_out[name], reason);
    assert!(open.held.is_empty() && open.snapshot.filters.is_empty());
}

#[test]
fn what_a_destination_lacks_is_said_with_its_path() {
    let text = SHOP
        .replace("subset: canary", "subset: nightly")
        .replace("host: web.example", "host: nowhere");
    let world = world(&text);
    let translation = check(
        &world,
        &ready(&world),
        &view(Role::Gateway, &[("istio", "ingressgateway")]),
    );
    let notes: Vec<_> = translation
        .notes
        .iter()
        .map(|note| note.message.as_str())
        .collect();
    assert_eq!(
        notes,
        [
            "spec.http[0].route[0].destination.subset: no DestinationRule for cart.shop.svc.cluster.local has the subset \"nightly\"",
            "spec.http[3].route[0].destination.host: no ServiceEntry has the host \"nowhere.shop.svc.cluster.local\"",
            "spec.http[4].route[1].destination.subset: no DestinationRule for cart.shop.svc.cluster.local has the subset \"nightly\"",
        ]
    );
}
