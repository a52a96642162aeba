use std::fs;
use std::time::{Duration, Instant};

use super::{Folder, GRACE};

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

fn with_route(route: &str) -> String {
    with_headers("").replace("headers: {}", route)
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
        ("apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems: []\n".into(), "f.yaml:1: kind: List holds several objects"),
        ("apiVersion: networking.istio.io/v1\nkind: GatewayList\nitems: []\n".into(), "f.yaml:1: kind: GatewayList holds several objects"),
        (with_headers("request: {remove: [x-a, ':path']}"), "spec.http[0].headers.request.remove[1]: `:path` may not be edited"),
        (with_headers("response: {set: {'x a': b}}"), "spec.http[0].headers.response.set.x a: `x a` is not a field name"),
        (with_headers("request: {add: {host: b}}"), "spec.http[0].headers.request.add.host: `host` may not be edited"),
        (with_headers("request: {add: {x: \"a\\nb\"}}"), "spec.http[0].headers.request.add.x: holds '\\n'"),
        (with_route("match:\n    - uri: {exact: /}\n    - uri: {regex: '('}"),
         "f.yaml:9: VirtualService default/v: spec.http[0].match[1].uri.regex: \"(\" is not an expression: "),
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
    fs::write(&file, "# moved\n").expect("write");
    assert!(folder.read(dir.path()).expect("read").world.gateways.is_empty());
}

#[test]
fn an_empty_file_keeps_its_objects_for_a_while() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("g.yaml");
    let (mut folder, start) = (Folder::default(), Instant::now());
    let mut gateways = |text: &str, now: Instant| {
        fs::write(&file, text).expect("write");
        let reading = folder.read_at(dir.path(), now).expect("read");
        (reading.world.gateways.len(), folder.due())
    };
    assert_eq!(gateways(GATEWAY, start), (1, None));
    let late = start + GRACE - Duration::from_millis(1);
    assert_eq!(gateways("", start), (1, Some(start + GRACE)));
    assert_eq!(gateways(" \n", late), (1, Some(start + GRACE)));
    assert_eq!(gateways(GATEWAY, late), (1, None), "the save is complete");
    assert_eq!(
        gateways("", late),
        (1, Some(late + GRACE)),
        "the time starts anew"
    );
    assert_eq!(gateways("", late + GRACE), (0, None));
    // An object that moved to another file is not held against it.
    assert_eq!(gateways(GATEWAY, start), (1, None));
    fs::write(dir.path().join("h.yaml"), GATEWAY.replace("8080", "8081")).expect("write");
    fs::write(&file, "").expect("write");
    let reading = folder.read_at(dir.path(), start).expect("read");
    let ports = reading
        .world
        .gateways
        .values()
        .map(|gateway| gateway.spec.servers[0].port.number);
    assert_eq!(
        (ports.collect::<Vec<_>>(), reading.problems.len()),
        (vec![8081], 0)
    );
}

#[test]
fn a_newcomer_does_not_displace_what_serves() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut folder = Folder::default();
    let mut read = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).expect("write");
        let reading = folder.read(dir.path()).expect("read");
        let ports = reading
            .world
            .gateways
            .values()
            .map(|gateway| gateway.spec.servers[0].port.number);
        let problems = reading.problems.iter().map(ToString::to_string);
        (ports.collect::<Vec<_>>(), problems.collect::<Vec<_>>())
    };
    let newcomer = GATEWAY.replace("8080", "9090");
    let twice = |new: &str, old: &str| {
        format!("{new}: Gateway default/web: is defined twice; the one at {old} is used, remove one of them")
    };
    assert_eq!(read("m.yaml", GATEWAY), (vec![8080], vec![]));
    assert_eq!(
        read("a.yaml", &newcomer),
        (vec![8080], vec![twice("a.yaml:1", "m.yaml:1")])
    );
    // Not even while the incumbent's file is being edited.
    let edited = GATEWAY.replace("8080", "8081");
    assert_eq!(
        read("m.yaml", &edited),
        (vec![8081], vec![twice("a.yaml:1", "m.yaml:1")])
    );
    for broken in [edited.replace("8081", "x"), "{{{{".to_owned()] {
        let (ports, problems) = read("m.yaml", &broken);
        assert_eq!((ports, problems.len()), (vec![8081], 2), "{problems:?}");
        assert_eq!(problems[0], twice("a.yaml:1", "m.yaml:1"));
        assert!(
            problems[1].ends_with("(the last good version keeps serving)"),
            "{problems:?}"
        );
    }
    // In one file, it is the one that says what serves.
    let both = format!("{newcomer}---\n{edited}");
    let (ports, problems) = read("m.yaml", &both);
    assert_eq!((ports, problems.len()), (vec![8081], 2), "{problems:?}");
    assert_eq!(problems[1], twice("m.yaml:1", "m.yaml:10"));
    // It takes over when the other is gone.
    assert_eq!(read("m.yaml", "# none\n"), (vec![9090], vec![]));
}

#[test]
fn what_is_no_regular_file_is_skipped_with_a_word() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).expect("a folder");
    fs::write(at("sub/g.yaml"), GATEWAY).expect("write");
    let made = std::process::Command::new("mkfifo").arg(at("p.yaml")).status();
    assert!(made.expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(at("s.yml")).expect("a socket");
    for (to, link) in [
        (".", "loop"),
        ("..", "sub/up"),
        ("sub", "a"),
        ("/dev/zero", "z.json"),
    ] {
        std::os::unix::fs::symlink(to, at(link)).expect("a link");
    }
    let reading = Folder::default().read(dir.path()).expect("read");
    assert_eq!((reading.problems, reading.world.gateways.len()), (vec![], 1));
    let skipped: Vec<String> = reading.skipped.iter().map(ToString::to_string).collect();
    let (root, sub) = (dir.path().display(), at("sub"));
    let wants = [
        format!("a: leads to {} again, which is read once", sub.display()),
        format!("loop: leads to {root} again, which is read once"),
        "p.yaml: is a FIFO, not a regular file, and is not read".to_owned(),
        "s.yml: is a socket, not a regular file, and is not read".to_owned(),
        format!("sub/up: leads to {root} again, which is read once"),
        "z.json: is a device, not a regular file, and is not read".to_owned(),
    ];
    assert_eq!(skipped, wants);
}

#[test]
fn what_stands_behind_a_marker_is_read() {
    let flow = "--- {apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: one}, spec: {servers: [{port: \
                {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}\n";
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        dir.path().join("g.yaml"),
        format!("{flow}--- # two\n{GATEWAY}---\t\n"),
    )
    .expect("write");
    let reading = Folder::default().read(dir.path()).expect("read");
    assert_eq!((reading.problems, reading.world.gateways.len()), (vec![], 2));
    let problems = check(&[("f.yaml", &format!("{GATEWAY}{}", flow.replace("80", "x")))]);
    assert!(
        problems[0].starts_with("f.yaml:9: Gateway default/one: spec.servers[0].port.number"),
        "{problems:?}"
    );
}
