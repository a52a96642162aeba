//! What is wrong is named, with its place, and nothing that served stops serving.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use leno_oci::keychain::{Keychain, PullSecret};
use leno_tests::bootstrap::{Bootstrap, Speaks, all_to, wasm_filter};
use leno_tests::client::Ask;
use leno_tests::files::{self, File};
use leno_tests::mesh::{ControlPlane, replace};
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::registry::{DockerRegistry, push};
use leno_tests::wait::{free_address, until};
use leno_tests::{peers, upstream};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const BOOTSTRAP: &str = include_str!("../../examples/gateway/bootstrap.yaml");

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: demo }
spec:
  selector: { app: front }
  servers:
  - port: { number: 18080, name: http, protocol: HTTP }
    bind: 127.0.0.1
    hosts: [\"*\"]
";

const ROUTES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: demo }
spec:
  hosts: [\"*\"]
  gateways: [front]
  http:
  - route:
    - destination: { host: shop.demo }
";

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: shop, namespace: demo }
spec:
  hosts: [shop.demo]
  resolution: STATIC
  ports:
  - { number: 80, name: http, protocol: HTTP }
  endpoints:
  - { address: 127.0.0.1, ports: { http: 18081 } }
";

/// User `tests` with password `open`, as `htpasswd -nbB` writes it.
const HTPASSWD: &str = "tests:$2y$05$i.1r1y1AE1vU26kLpNy8eOifVW6MMxnF9grwf1P4pRxKWAehMSnYG\n";

/// A gateway that serves with one good filter.
struct Mesh {
    control: ControlPlane,
    _proxy: Proxy,
    gateway: SocketAddr,
    ports: Vec<(&'static str, SocketAddr)>,
    folder: TempDir,
}

impl Mesh {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shop = upstream::serve("shop").await;
        let control = ControlPlane::start(folder.path()).await;
        let (gateway, admin) = (free_address(), free_address());
        let ports = vec![
            ("18080", gateway),
            ("18081", shop),
            ("15010", control.xds),
            ("15000", admin),
        ];
        control.push("header-rewrite").await;
        let bootstrap = replace(BOOTSTRAP, &ports);
        let mut proxy = Proxy::start(Kind::Leno, folder.path(), &bootstrap, admin);
        proxy.ready().await;
        let mesh = Self {
            control,
            _proxy: proxy,
            gateway,
            ports,
            folder,
        };
        mesh.write("gateway.yaml", GATEWAY);
        mesh.write("routes.yaml", ROUTES);
        mesh.write("service.yaml", SERVICE);
        mesh.control.write("plugin.yaml", &mesh.good("first"));
        mesh.control.programmed(&["header-rewrite"]).await;
        mesh.serves("first").await;
        mesh
    }

    fn write(&self, name: &str, text: &str) {
        self.control.write(name, &replace(text, &self.ports));
    }

    /// A plugin whose artifact is there.
    fn good(&self, value: &str) -> String {
        plugin(
            &format!("url: oci://{}/filters/header-rewrite:v1", self.control.http),
            value,
        )
    }

    /// Waits until requests pass through the filter with this configuration.
    async fn serves(&self, value: &str) {
        until(&format!("{value} serves"), || async {
            let answer = Ask::get("/").send(self.gateway).await?;
            anyhow::ensure!(
                answer.status == 200 && answer.header("x-version") == value,
                "{answer:?}"
            );
            Ok(())
        })
        .await;
    }

    /// What served still does, right now.
    async fn still_serves(&self, value: &str, case: &str) {
        for _ in 0..4 {
            let answer = Ask::get("/")
                .send(self.gateway)
                .await
                .unwrap_or_else(|error| panic!("{case}: {error:#}"));
            assert_eq!(
                (answer.status, answer.header("x-version")),
                (200, value),
                "{case}: {answer:?}"
            );
        }
    }
}

fn plugin(source: &str, value: &str) -> String {
    format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: header-rewrite, namespace: demo }}\n\
         spec:\n  {source}\n  pluginConfig:\n    response:\n    - set: {{ name: x-version, value: \"{value}\" }}\n"
    )
}

fn contains_all(text: &str, wants: &[String]) -> bool {
    wants.iter().all(|want| text.contains(want.as_str()))
}

fn texts(wants: &[&str]) -> Vec<String> {
    wants.iter().map(|want| (*want).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
async fn wrong_documents_are_named_by_file_line_and_field() {
    let mesh = Mesh::start().await;
    let new = |kind: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{ name: other, namespace: demo }}\nspec:\n{spec}"
        )
    };
    let cases: Vec<(&str, String, usize, Vec<&str>)> = vec![
        (
            "gateway.yaml",
            GATEWAY.replace("  servers:", "  servers: ["),
            0,
            vec![],
        ),
        (
            "gateway.yaml",
            GATEWAY.replace("number: 18080", "number: eighty"),
            7,
            vec!["spec.servers[0].port.number: \"eighty\" is not a whole number from 0 to 65535"],
        ),
        (
            "gateway.yaml",
            GATEWAY.replace("number: 18080", "number: 70000"),
            7,
            vec!["spec.servers[0].port.number"],
        ),
        (
            "gateway.yaml",
            GATEWAY.replace("selector:", "selectors:"),
            5,
            vec!["unknown field", "selectors"],
        ),
        (
            "gateway.yaml",
            GATEWAY.replace("HTTP }", "TLS }"),
            7,
            vec!["spec.servers[0].port.protocol", "TLS", "HTTP"],
        ),
        (
            "gateway.yaml",
            GATEWAY.replace("bind: 127.0.0.1", "bind: localhost"),
            8,
            vec!["spec.servers[0].bind", "localhost"],
        ),
        (
            "new.yaml",
            GATEWAY
                .replace("kind: Gateway", "kind: Gatewy")
                .replace("front", "back"),
            1,
            vec!["Gatewy", "not supported"],
        ),
        (
            "routes.yaml",
            ROUTES.replace("- route:", "- fault: {}\n    route:"),
            8,
            vec!["spec.http[0]", "fault", "does not support"],
        ),
        (
            "routes.yaml",
            ROUTES.replace("shop.demo", "\"*\""),
            9,
            vec!["destination.host"],
        ),
        (
            "routes.yaml",
            ROUTES.replace("  hosts: [\"*\"]", "  hosts: []"),
            5,
            vec!["spec.hosts", "empty"],
        ),
        (
            "service.yaml",
            SERVICE.replace("STATIC", "SOMEHOW"),
            6,
            vec!["spec.resolution", "SOMEHOW"],
        ),
        (
            "service.yaml",
            SERVICE.replace("resolution: STATIC", "resolution: 7"),
            6,
            vec!["spec.resolution"],
        ),
        (
            "service.yaml",
            SERVICE.replace("127.0.0.1", "shop.example"),
            10,
            vec!["spec.endpoints[0].address", "shop.example"],
        ),
        (
            "new.yaml",
            new("EnvoyFilter", "  configPatches: []\n"),
            1,
            vec!["EnvoyFilter", "not supported"],
        ),
        (
            "new.yaml",
            new("VirtualService", "  hosts: [a.demo]\n"),
            4,
            vec!["spec.http"],
        ),
        (
            "new.yaml",
            "metadata: { name: x }\n".to_owned(),
            1,
            vec!["apiVersion"],
        ),
        (
            "plugin.yaml",
            mesh.good("bad").replace("url:", "uri:"),
            5,
            vec!["unknown field", "uri"],
        ),
        (
            "plugin.yaml",
            mesh.good("bad").replace("oci:", "ftp:"),
            5,
            vec!["spec.url", "ftp"],
        ),
        (
            "plugin.yaml",
            mesh.good("bad")
                .replace("  pluginConfig", "  phase: EARLY\n  pluginConfig"),
            6,
            vec!["spec.phase", "EARLY"],
        ),
        (
            "plugin.yaml",
            mesh.good("bad")
                .replace("  pluginConfig", "  sha256: abc\n  pluginConfig"),
            6,
            vec!["spec.sha256", "64"],
        ),
        (
            "plugin.yaml",
            mesh.good("bad")
                .replace("  pluginConfig", "  verificationKey: x\n  pluginConfig"),
            6,
            vec!["spec.verificationKey"],
        ),
    ];
    let originals = BTreeMap::from([
        ("gateway.yaml", GATEWAY.to_owned()),
        ("routes.yaml", ROUTES.to_owned()),
        ("service.yaml", SERVICE.to_owned()),
        ("plugin.yaml", mesh.good("first")),
    ]);
    for (file, text, line, wants) in cases {
        mesh.write(file, &text);
        let case = format!("{file} line {line} {wants:?}");
        let problem = until(&format!("{case} is reported"), || async {
            let status = mesh.control.status().await?;
            let found = status
                .problems
                .iter()
                .find(|problem| problem.file == file && contains_all(&problem.message, &texts(&wants)));
            found
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("{:#?} of\n{text}", status.problems))
        })
        .await;
        // Readers differ in where they notice that YAML is broken.
        assert!(line == 0 || problem.line == line, "{case}: {problem:?}\n{text}");
        mesh.still_serves("first", &case).await;
        match originals.get(file) {
            Some(original) => mesh.write(file, original),
            None => mesh.control.remove(file),
        }
        until(&format!("{case} is gone"), || async {
            let status = mesh.control.status().await?;
            anyhow::ensure!(status.problems.is_empty(), "{:#?}", status.problems);
            Ok(())
        })
        .await;
    }
    let log = mesh.control.process.log();
    assert!(
        log.contains("gateway.yaml:7: Gateway demo/front: spec.servers[0].port.number"),
        "{log}"
    );
    mesh.write("plugin.yaml", &mesh.good("second"));
    mesh.serves("second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_does_not_exist_is_named_and_costs_only_its_own_route() {
    let mesh = Mesh::start().await;
    let text = ROUTES.replace(
        "  - route:",
        "  - match:\n    - uri: { prefix: /lost }\n    route:\n    - destination: { host: lost.demo }\n  - route:",
    );
    mesh.write("routes.yaml", &text);
    until("the note", || async {
        let status = mesh.control.status().await?;
        let found = status.notes.iter().any(|note| {
            contains_all(
                &note.message,
                &texts(&["spec.http[0].route[0].destination.host", "lost.demo"]),
            )
        });
        anyhow::ensure!(found, "{status:#?}");
        Ok(())
    })
    .await;
    until("the route is there", || async {
        let answer = Ask::get("/lost").send(mesh.gateway).await?;
        anyhow::ensure!(answer.status == 503, "{answer:?}");
        Ok(())
    })
    .await;
    mesh.still_serves("first", "a lost destination").await;
}

/// Modules that no proxy may run, by path.
fn refused_modules() -> BTreeMap<&'static str, File> {
    let text = |text: &str| File::Bytes(wat::parse_str(text).expect("a module"));
    let good = peers::module_bytes("header-rewrite");
    let page = "<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n";
    BTreeMap::from([
        ("/good", File::Bytes(good.clone())),
        ("/truncated", File::Bytes(good[..good.len() / 2].to_vec())),
        ("/page", File::Bytes(page.into())),
        ("/empty", File::Bytes(Vec::new())),
        ("/large", File::Announced(1 << 40)),
        (
            "/no-abi",
            text(r#"(module (memory (export "memory") 1) (func (export "run")))"#),
        ),
        (
            "/imports",
            text(
                r#"(module (import "env" "proxy_brew_coffee" (func (param i32) (result i32)))
                (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) i32.const 0))"#,
            ),
        ),
    ])
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
async fn artifacts_that_cannot_serve_are_refused_and_the_last_good_one_serves() {
    let mesh = Mesh::start().await;
    let web = files::serve(refused_modules()).await;
    let dead = free_address();
    let good = peers::module_bytes("header-rewrite");
    let (sum, other) = (hex::encode(Sha256::digest(&good)), "0".repeat(64));
    let folder = mesh.folder.path().join("docker-registry");
    std::fs::create_dir_all(&folder).expect("the folder can be written");
    let registry = DockerRegistry::start(&folder, Some(HTPASSWD)).await;
    let secret = |password: &str| {
        json!({"auths": {registry.address.to_string(): {"username": "tests", "password": password}}})
            .to_string()
    };
    let keychain = Keychain::secrets(vec![
        PullSecret::parse(secret("open").as_bytes()).expect("a secret"),
    ]);
    push(
        registry.address,
        "filters/header-rewrite",
        "v1",
        good,
        Some(keychain),
    )
    .await
    .expect("a push");
    for (name, password) in [("right", "open"), ("wrong", "sesame")] {
        let text = secret(password);
        let document = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: {name}, namespace: demo }}\n\
             type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{text}'\n"
        );
        mesh.control.write(&format!("{name}.yaml"), &document);
    }
    let private = format!("url: oci://{}/filters/header-rewrite:v1", registry.address);
    let at = |path: &str| format!("url: http://{web}/{path}");
    let cases: Vec<(String, Vec<String>)> = vec![
        (at("truncated"), texts(&["cut off"])),
        (at("page"), texts(&["HTML"])),
        (at("empty"), texts(&["empty"])),
        (at("large"), texts(&["larger than the limit"])),
        (at("no-abi"), texts(&["which ABI", "leno build"])),
        (at("imports"), texts(&["proxy_brew_coffee"])),
        (at("absent"), texts(&["not found", "absent"])),
        (format!("{}\n  sha256: \"{other}\"", at("good")), vec![sum, other]),
        (
            format!("url: oci://{dead}/filters/header-rewrite:v1"),
            vec![dead.to_string(), "unreachable".to_owned()],
        ),
        (
            format!("url: oci://{}/filters/header-rewrite:v9", mesh.control.http),
            texts(&["v9", "not found"]),
        ),
        (
            private.clone(),
            vec![registry.address.to_string(), "denied".to_owned()],
        ),
        (
            format!("{private}\n  imagePullSecret: wrong"),
            vec![registry.address.to_string(), "denied".to_owned()],
        ),
        (
            format!("{private}\n  imagePullSecret: lost"),
            texts(&["spec.imagePullSecret", "demo/lost"]),
        ),
        (
            format!("{}\n  pluginName: x\n  vmConfig: {{ env: [] }}", at("page?again")),
            texts(&["not found"]),
        ),
    ];
    for (source, wants) in cases {
        mesh.control.write("plugin.yaml", &plugin(&source, "never"));
        until(&format!("{source} is refused with {wants:?}"), || async {
            let plugin = mesh.control.plugin("header-rewrite").await?;
            let failure = plugin.failure.clone().unwrap_or_default();
            anyhow::ensure!(
                contains_all(&failure, &wants) && plugin.summary.contains(&failure),
                "{plugin:#?}"
            );
            Ok(())
        })
        .await;
        mesh.still_serves("first", &source).await;
    }
    let bad = mesh.good("never").replace("set:", "sett:");
    mesh.control.write("plugin.yaml", &bad);
    until("the filter's own refusal", || async {
        let plugin = mesh.control.plugin("header-rewrite").await?;
        let failure = plugin.failure.clone().unwrap_or_default();
        anyhow::ensure!(
            contains_all(&failure, &texts(&["does not start", "sett"])),
            "{plugin:#?}"
        );
        Ok(())
    })
    .await;
    mesh.still_serves("first", "a wrong configuration").await;

    // The same registry with the right credentials, and the same web server with the right digest.
    mesh.control.write(
        "plugin.yaml",
        &plugin(&format!("{private}\n  imagePullSecret: right"), "second"),
    );
    mesh.serves("second").await;
    mesh.control.programmed(&["header-rewrite"]).await;
    // What was pulled serves on when its registry is gone.
    drop(registry);
    mesh.still_serves("second", "a dead registry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_proxy_can_see_is_refused_by_it() {
    let mesh = Mesh::start().await;
    let file = mesh.folder.path().join("page.wasm");
    std::fs::write(&file, "<html></html>").expect("the folder can be written");
    for (url, want) in [
        (file.as_path(), "HTML"),
        (Path::new("/nonexistent/filter.wasm"), "/nonexistent/filter.wasm"),
    ] {
        mesh.control.write(
            "plugin.yaml",
            &plugin(&format!("url: file://{}", url.display()), "never"),
        );
        until(&format!("{} is refused", url.display()), || async {
            let plugin = mesh.control.plugin("header-rewrite").await?;
            let refused = plugin.proxies.iter().find(|proxy| proxy.state == "refused");
            let message = refused
                .and_then(|proxy| proxy.message.clone())
                .unwrap_or_default();
            anyhow::ensure!(
                message.contains(want) && message.contains("header-rewrite"),
                "{plugin:#?}"
            );
            Ok(())
        })
        .await;
        mesh.still_serves("first", want).await;
    }
    mesh.control.write("plugin.yaml", &mesh.good("second"));
    mesh.serves("second").await;
    mesh.control.programmed(&["header-rewrite"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bootstraps_are_refused_with_their_file_and_field() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("page.wasm");
    std::fs::write(&page, "<html></html>").expect("the folder can be written");
    let base = |filters: &[serde_json::Value], cluster: &str| {
        Bootstrap::default()
            .cluster("shop", free_address(), Speaks::Http1)
            .listener("front", free_address(), filters, &all_to(cluster))
            .text(free_address())
    };
    let good = base(&[], "shop");
    let bad_filter = |path: &Path| base(&[wasm_filter("auth", path, &json!({}))], "shop");
    let unknown = json!({"name": "other", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}});
    let cases = [
        ("broken", good.replacen('}', "", 1), vec!["broken"]),
        (
            "type",
            good.replacen("\"STATIC\"", "\"STATICAL\"", 1),
            vec!["STATICAL", "clusters"],
        ),
        (
            "field",
            good.replacen("\"stat_prefix\"", "\"stat_prefixes\"", 1),
            vec!["stat_prefixes"],
        ),
        (
            "duration",
            good.replacen("\"2s\"", "\"two\"", 1),
            vec!["connect_timeout"],
        ),
        (
            "filter",
            base(&[unknown], "shop"),
            vec!["filters.http.lua.v3.Lua"],
        ),
        (
            "cluster",
            base(&[], "lost"),
            vec![
                "front: filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster",
                "unknown cluster `lost`",
                "validate_clusters",
            ],
        ),
        ("page", bad_filter(&page), vec!["auth", "HTML"]),
        (
            "absent",
            bad_filter(Path::new("/nonexistent.wasm")),
            vec!["auth", "/nonexistent.wasm"],
        ),
        (
            "config",
            bad_filter(&peers::module("rate-limit")).replace("\"{}\"", "\"{\\\"rulez\\\": 1}\""),
            vec!["auth", "rulez"],
        ),
    ];
    let validate = |name: &str, text: &str| {
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).expect("the folder can be written");
        let mut command = std::process::Command::new(peers::program("leno-proxy"));
        command.args(["--mode", "validate", "-l", "off", "-c"]).arg(&file);
        let done = command.output().expect("leno-proxy can be started");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
            file.display().to_string(),
        )
    };
    let (code, errors, _) = validate("good", &good);
    assert_eq!(code, Some(0), "{errors}");
    for (name, text, wants) in cases {
        assert_ne!(text, good, "{name} changes something");
        let (code, errors, file) = validate(name, &text);
        assert_eq!(code, Some(1), "{name}: {errors}");
        assert!(
            errors.contains(&file) && contains_all(&errors, &texts(&wants)),
            "{name}: {wants:?} in {errors}"
        );
    }
}
