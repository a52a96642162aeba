use std::fs;

use super::Folder;

/// Reads a folder of these files and gives the problems as text.
fn check(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("write");
    }
    let reading = Folder::default()
        .read(folder.path())
        .expect("the folder can be listed");
    reading.problems.iter().map(ToString::to_string).collect()
}

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: web }
spec:
  selector: { app: gateway }
  servers:
  - port: { number: 8080, name: http, protocol: HTTP }
    hosts: [\"*\"]
";

#[test]
fn good_documents_have_no_problems() {
    assert_eq!(
        check(&[("a.yaml", GATEWAY), ("b.txt", "not yaml: ["), (".c.yaml", "]")]),
        Vec::<String>::new()
    );
}

fn with_headers(headers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  hosts: [a]\n  \
         http:\n  - headers: {{{headers}}}\n    route: [{{destination: {{host: b}}}}]\n"
    )
}

#[test]
fn problems_name_file_line_object_and_field() {
    let plugin = |spec: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata:\n  name: p\nspec:\n{spec}"
        )
    };
    let cases: Vec<(String, &str)> = vec![
        ("a: [1\n".into(), "f.yaml:"),
        ("kind: Gateway\nmetadata: {name: x}\n".into(), "f.yaml:1: apiVersion: missing"),
        (GATEWAY.replace("8080", "eighty"), "f.yaml:7: Gateway default/web: spec.servers[0].port.number: \"eighty\" is not a whole number from 0 to 65535"),
        (GATEWAY.replace("8080", "'70000'"), "f.yaml:7: Gateway default/web: spec.servers[0].port.number: \"70000\" is not a whole number from 0 to 65535"),
        (GATEWAY.replace("name: web", "name: wéb, labels: { ä: ö }").replace("8080", "-1"), "port.number: \"-1\" is not a whole number from 0 to 65535"),
        (GATEWAY.replace("selector", "selectr"), "f.yaml:5: Gateway default/web: spec.selectr: unknown field `selectr`"),
        (GATEWAY.replace("protocol: HTTP", "protocol: TLS"), "f.yaml:7: Gateway default/web: spec.servers[0].port.protocol: \"TLS\""),
        (GATEWAY.replace("Gateway", "EnvoyFilter"), "f.yaml:1: EnvoyFilter default/web: networking.istio.io/v1 EnvoyFilter is not supported"),
        (GATEWAY.replace("io/v1", "io/v9"), "apiVersion: networking.istio.io is served as v1, v1beta1, v1alpha3"),
        (plugin("  url: ftp://x/y\n"), "f.yaml:6: WasmPlugin default/p: spec.url: scheme \"ftp\""),
        (plugin("  url: oci://x/y\n  sha256: abc\n"), "f.yaml:7: WasmPlugin default/p: spec.sha256: must be 64"),
        (plugin("  url: oci://x/y\n  failStrategy: MAYBE\n"), "spec.failStrategy: unknown variant `MAYBE`"),
        (plugin("  url: oci://x/y\n  priority: high\n"), "f.yaml:7: WasmPlugin default/p: spec.priority: \"high\" is not a whole number from -2147483648 to 2147483647"),
        (plugin("  url: oci://x/y\n  vmConfig:\n    env:\n    - name: A\n    - name: B\n      valueFrom: HOST\n      value: x\n"),
         "f.yaml:12: WasmPlugin default/p: spec.vmConfig.env[1].value: may only"),
        ("---\n---\n# c\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [a]\n  http:\n  - fault: {}\n".into(),
         "VirtualService default/v: spec.http[0].fault: fault: a field of Istio's VirtualService that this version does not support"),
        (with_headers("request: {remove: [x-a, ':path']}"), "spec.http[0].headers.request.remove[1]: `:path` may not be edited"),
        (with_headers("response: {set: {'x a': b}}"), "spec.http[0].headers.response.set.x a: `x a` is not a field name"),
        (with_headers("request: {add: {host: b}}"), "spec.http[0].headers.request.add.host: `host` may not be edited"),
        (with_headers("request: {add: {x: \"a\\nb\"}}"), "spec.http[0].headers.request.add.x: holds '\\n'"),
        (with_headers("request: {add: {x: '%WHAT%'}}"), "spec.http[0].headers.request.add.x: "),
    ];
    for (text, want) in cases {
        let problems = check(&[("f.yaml", &text)]);
        assert_eq!(problems.len(), 1, "{text}\n{problems:?}");
        assert!(
            problems[0].contains(want),
            "got  {}\nwant {want}\nin\n{text}",
            problems[0]
        );
    }
}

#[test]
fn duplicates_are_reported_and_the_first_is_used() {
    let problems = check(&[("a.yaml", GATEWAY), ("b.yaml", GATEWAY)]);
    assert_eq!(
        problems,
        ["b.yaml:1: Gateway default/web: is defined twice; the one at a.yaml:1 is used, remove one of them"]
    );
}

#[test]
fn the_last_good_version_of_a_wrong_document_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("g.yaml");
    let mut folder = Folder::default();
    fs::write(&file, GATEWAY).expect("write");
    let good = folder.read(dir.path()).expect("read").world;
    assert_eq!(good.gateways.len(), 1);
    let wrong_kind = GATEWAY.replace("kind: Gateway", "kind: Gatway");
    for broken in [GATEWAY.replace("8080", "x"), "{{{{".to_owned(), wrong_kind] {
        fs::write(&file, broken).expect("write");
        let reading = folder.read(dir.path()).expect("read");
        assert_eq!(reading.world, good);
        assert!(reading.problems[0].keeps_last_good, "{:?}", reading.problems);
    }
    // Removing the document removes the object: that is not a mistake.
    fs::write(&file, "").expect("write");
    assert!(folder.read(dir.path()).expect("read").world.gateways.is_empty());
}
