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

fn gateway(world: &World) -> Translation {
    check(
        world,
        &ready(world),
        &view(Role::Gateway, &[("istio", "ingressgateway")]),
    )
}

fn messages(translation: &Translation) -> Vec<&str> {
    translation
        .notes
        .iter()
        .map(|note| note.message.as_str())
        .collect()
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}}}\n"
    )
}

fn routes_to(name: &str, hosts: &str, http: &str) -> String {
    document(
        "VirtualService",
        name,
        &format!("hosts: [{hosts}], gateways: [front], http: [{http}]"),
    )
}

const TO_CART: &str = "route: [{destination: {host: cart}}]";

/// Domain and names of the routes of each virtual host.
fn routes<'a>(translation: &'a Translation, name: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let hosts = translation.snapshot.routes[name].virtual_hosts.iter();
    hosts
        .map(|host| {
            let names = host.routes.iter().map(|route| route.name.as_str());
            (host.domains[0].as_str(), names.collect())
        })
        .collect()
}

#[test]
fn virtual_services_of_one_host_are_merged_whatever_its_case() {
    let text = [
        document("Gateway", "front", "selector: {istio: ingressgateway}, servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*.EXAMPLE']}]"),
        routes_to("aa", "A.example", &format!("{{name: first, match: [{{uri: {{exact: /a}}}}], {TO_CART}}}, {{name: rest, {TO_CART}}}, {{name: never, match: [{{uri: {{exact: /n}}}}], {TO_CART}}}")),
        routes_to("bb", "a.EXAMPLE", &format!("{{name: second, match: [{{uri: {{prefix: /b}}}}], {TO_CART}}}, {{name: all, match: [{{uri: {{prefix: /}}}}], {TO_CART}}}")),
        routes_to("cc", "a.example", &format!("{{name: grouped, match: [{{headers: {{x: {{}}}}}}], {TO_CART}}}")),
        routes_to("dd", "b.example", &format!("{{name: rest, {TO_CART}}}, {{name: kept, match: [{{uri: {{exact: /n}}}}], {TO_CART}}}")),
    ]
    .concat();
    let translation = gateway(&world(&text));
    assert_eq!(
        routes(&translation, "http.80"),
        [
            ("a.example", vec!["first", "second", "grouped", "rest", "all"]),
            ("b.example", vec!["rest", "kept"]),
        ]
    );
}

#[test]
fn each_address_of_one_port_has_its_own_routes() {
    let on = |name: &str, bind: &str| {
        document(
            "Gateway",
            name,
            &format!(
                "selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 80, protocol: HTTP}}, {bind}hosts: ['*']}}]"
            ),
        )
    };
    let text = [
        on("front", ""),
        on("inner", "bind: 127.0.0.2, "),
        on("six", "bind: '::1', "),
        routes_to("outside", "'*'", &format!("{{name: out, {TO_CART}}}")),
        routes_to("inside", "'::1'", &format!("{{name: in, {TO_CART}}}")).replace("[front]", "[inner, six]"),
        document("Sidecar", "all", "egress: [{port: {number: 90, protocol: HTTP}, hosts: ['*/*']}, {port: {number: 90, protocol: HTTP}, bind: 127.0.0.2, hosts: ['none/*']}], \
                  ingress: [{port: {number: 91, protocol: HTTP}, defaultEndpoint: '127.0.0.1:1'}, {port: {number: 91, protocol: HTTP}, bind: 127.0.0.2, defaultEndpoint: '127.0.0.1:2'}]"),
        document("ServiceEntry", "cart", "hosts: [cart.example], resolution: STATIC, ports: [{number: 90, name: http}], endpoints: [{address: 127.0.0.1}]"),
    ]
    .concat();
    let world = world(&text);
    let translation = gateway(&world);
    assert_eq!(routes(&translation, "http.80"), [("*", vec!["out"])]);
    assert_eq!(routes(&translation, "http.80.127.0.0.2"), [("[::1]", vec!["in"])]);
    assert_eq!(routes(&translation, "http.80.::1"), [("[::1]", vec!["in"])]);
    let names: Vec<_> = translation.snapshot.listeners.keys().collect();
    assert_eq!(names, ["0.0.0.0_80", "127.0.0.2_80", "::1_80"]);

    let translation = check(&world, &ready(&world), &view(Role::Sidecar, &[]));
    assert_eq!(routes(&translation, "90"), [("cart.example", vec!["default"])]);
    assert_eq!(routes(&translation, "90.127.0.0.2"), []);
    for cluster in ["inbound|91||", "inbound|91||127.0.0.2"] {
        assert!(translation.snapshot.clusters.contains_key(cluster), "{cluster}");
    }
}

#[test]
fn an_address_of_several_hosts_stands_in_one_domain() {
    let entry = |name: &str, hosts: &str| {
        document(
            "ServiceEntry",
            name,
            &format!(
                "hosts: [{hosts}], addresses: [10.0.0.1, '::1'], resolution: STATIC, ports: [{{number: 90, name: http}}], endpoints: [{{address: 127.0.0.1}}]"
            ),
        )
    };
    let text = [
        entry("a", "a.example, b.example"),
        entry("c", "c.example"),
        document(
            "Sidecar",
            "all",
            "egress: [{port: {number: 90, protocol: HTTP}, hosts: ['*/*']}]",
        ),
    ]
    .concat();
    let world = world(&text);
    let translation = check(&world, &ready(&world), &view(Role::Sidecar, &[]));
    let domains: Vec<_> = translation.snapshot.routes["90"]
        .virtual_hosts
        .iter()
        .map(|host| host.domains.join(" "))
        .collect();
    assert_eq!(domains, ["a.example 10.0.0.1 [::1]", "b.example", "c.example"]);
    assert_eq!(
        messages(&translation),
        [
            "spec.addresses: 10.0.0.1 is taken by another host; it does not lead to c.example",
            "spec.addresses: ::1 is taken by another host; it does not lead to c.example",
        ]
    );
}

#[test]
fn a_derived_port_is_the_scheme_s_or_the_listener_s() {
    let port = |redirect: &str| {
        let text = [
            document(
                "Gateway",
                "front",
                "selector: {istio: ingressgateway}, servers: [{port: {number: 8080, protocol: HTTP}, hosts: ['*']}]",
            ),
            routes_to("v", "a", &format!("{{redirect: {{{redirect}}}}}")),
        ];
        let translation = gateway(&world(&text.concat()));
        let route = &translation.snapshot.routes["http.8080"].virtual_hosts[0].routes[0];
        match &route.action {
            leno_model::route::RouteAction::Redirect(redirect) => redirect.port,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(port("derivePort: FROM_PROTOCOL_DEFAULT"), Some(80));
    assert_eq!(
        port("scheme: HTTPS, derivePort: FROM_PROTOCOL_DEFAULT"),
        Some(443)
    );
    assert_eq!(port("scheme: https, derivePort: FROM_REQUEST_PORT"), Some(8080));
    assert_eq!(port("port: 9"), Some(9));
    assert_eq!(port("uri: /a"), None);
}

#[test]
fn rules_of_one_host_are_merged_and_patterns_apply() {
    let rule = |name: &str, host: &str, rest: &str| {
        document("DestinationRule", name, &format!("host: {host}, {rest}"))
    };
    let policy =
        |most: u32| format!("trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {most}}}}}}}");
    let entry = document(
        "ServiceEntry",
        "cart",
        "hosts: [Cart.demo], resolution: DNS_ROUND_ROBIN, ports: [{number: 90, name: http}]",
    );
    let clusters = |rules: &[String]| {
        let translation = gateway(&world(&[entry.clone(), rules.concat()].concat()));
        let clusters = translation.snapshot.clusters.iter();
        let most: Vec<_> = clusters
            .map(|(name, cluster)| format!("{name} {}", cluster.limits.max_connections))
            .collect();
        let notes: Vec<_> = translation.notes.into_iter().map(|note| note.message).collect();
        (most.join(", "), notes)
    };
    let none = Vec::<String>::new();
    assert_eq!(
        clusters(&[
            rule("far", "'*.mo'", &policy(1)),
            rule("near", "'*.demo'", &policy(2))
        ]),
        ("outbound|90||cart.demo 2".to_owned(), none.clone())
    );
    assert_eq!(
        clusters(&[
            rule("a", "'*.demo'", &policy(1)),
            rule("b", "CART.demo", &policy(3))
        ]),
        ("outbound|90||cart.demo 3".to_owned(), none.clone())
    );
    let merged = [
        rule("a", "cart.demo", "subsets: [{name: v1, labels: {v: a}}]"),
        rule(
            "b",
            "cart.demo",
            &format!(
                "subsets: [{{name: v1, labels: {{v: b}}}}, {{name: v2}}], {}",
                policy(4)
            ),
        ),
        rule("c", "cart.demo", &policy(5)),
    ];
    assert_eq!(
        clusters(&merged),
        (
            "outbound|90|v1|cart.demo 4, outbound|90|v2|cart.demo 4, outbound|90||cart.demo 4".to_owned(),
            vec![
                "spec.subsets[0]: an older rule for cart.demo has a subset \"v1\", which is used".to_owned(),
                "spec.trafficPolicy: an older rule for cart.demo has one, which is used".to_owned(),
            ]
        )
    );
    // A subset that selects nobody is a cluster that a proxy takes all the same.
    let translation = gateway(&world(&[entry.clone(), merged.concat()].concat()));
    for cluster in translation.snapshot.clusters.into_values() {
        let resource = leno_xds::resource::Resource::Cluster(cluster);
        let (type_url, bytes) = leno_xds::codec::encode(&resource);
        let again = leno_xds::codec::decode(resource.kind(), type_url, &bytes);
        assert_eq!(again.as_ref(), Ok(&resource));
    }
}

#[test]
fn a_gateway_that_is_not_there_is_said() {
    let text = SHOP.replace("gateways: [front, mesh]", "gateways: [frnt, other/front, front]");
    let text = text.replace("port: 8080\n", "port: 8080\n      gateways: [bakc]\n");
    assert_eq!(
        messages(&gateway(&world(&text))),
        [
            "spec.gateways[0]: there is no Gateway shop/frnt",
            "spec.gateways[1]: there is no Gateway other/front",
            "spec.http[3].match[0].gateways[0]: there is no Gateway shop/bakc",
        ]
    );
}
