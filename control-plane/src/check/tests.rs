//! What is refused before it enters the world, and what is not.

use crate::folder::document::read_document;

fn refusal(text: &str) -> Option<String> {
    match read_document(text) {
        Ok(Some(_)) => None,
        Ok(None) => panic!("nothing stands in {text}"),
        Err(refused) => Some(refused.message),
    }
}

fn check(cases: &[(String, &str)]) {
    for (text, want) in cases {
        let got = refusal(text).unwrap_or_else(|| panic!("taken: {text}"));
        assert!(got.contains(want), "got  {got}\nwant {want}\nin\n{text}");
    }
}

fn object(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: v}}\nspec: {{{}}}\n",
        spec.trim_matches(['{', '}'])
    )
}

fn virtual_service(hosts: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  hosts: [{hosts}]\n  \
         gateways: [g]\n  http:\n  - {{{http}}}\n"
    )
}

const ROUTE: &str = "route: [{destination: {host: b}}]";

fn matched(by: &str) -> String {
    virtual_service("a", &format!("match: [{{{by}}}], {ROUTE}"))
}

fn routed(rest: &str) -> String {
    virtual_service("a", &format!("{rest}, {ROUTE}"))
}

#[test]
fn expressions_that_no_proxy_compiles_are_refused() {
    let of = |field: &str| {
        format!("spec.http[0].match[0].{field}.regex: \"(\" is not an expression: unclosed group")
    };
    for field in ["uri", "scheme", "method", "authority"] {
        let text = matched(&format!("{field}: {{regex: '('}}"));
        assert_eq!(refusal(&text), Some(of(field)));
    }
    for field in ["headers", "withoutHeaders", "queryParams"] {
        let text = matched(&format!("{field}: {{x-a: {{regex: '('}}}}"));
        assert_eq!(refusal(&text), Some(of(&format!("{field}.x-a"))));
    }
    check(&[
        (
            matched("uri: {regex: ''}"),
            "match[0].uri.regex: is empty; write what must match",
        ),
        (
            matched("uri: {regex: '\\w{900}'}"),
            "match[0].uri.regex: \"\\\\w{900}\" is not an expression: it takes more than 1048576 bytes",
        ),
        (
            matched("uri: {regex: '(?x) /a # behind'}"),
            "is not an expression that can match a whole text: ",
        ),
        (
            routed("rewrite: {uriRegexRewrite: {match: '(', rewrite: a}}"),
            "spec.http[0].rewrite.uriRegexRewrite.match: \"(\" is not an expression: ",
        ),
        (
            routed("rewrite: {uriRegexRewrite: {match: '(a)', rewrite: '\\2'}}"),
            "rewrite.uriRegexRewrite.rewrite: \"\\\\2\" uses group 2; the expression has 1",
        ),
        (
            routed("rewrite: {uriRegexRewrite: {match: a, rewrite: '\\a'}}"),
            "uriRegexRewrite.rewrite: \"\\\\a\": a backslash goes before",
        ),
    ]);
    for good in [
        "uri: {regex: '/a/[^/]+(?i:b)?'}",
        "headers: {x-a: {regex: '.*'}, ':path': {prefix: /}, Host: {exact: a}}",
    ] {
        assert_eq!(refusal(&matched(good)), None, "{good}");
    }
    let rewrite = routed("rewrite: {uriRegexRewrite: {match: '(a)\\\\', rewrite: '/\\0\\1\\\\'}}");
    assert_eq!(refusal(&rewrite), None);
}

#[test]
fn an_empty_match_asks_for_presence_and_null_is_none() {
    for good in [
        "headers: {x-a: {}}, withoutHeaders: {x-b: {}}, queryParams: {q: {}}",
        "uri: {}",
        "headers: {x-a: {prefix: ''}}, queryParams: {q: {prefix: ''}}",
    ] {
        assert_eq!(refusal(&matched(good)), None, "{good}");
    }
    check(&[
        (
            matched("headers: {x-a: }"),
            "spec.http[0].match[0].headers.x-a: null is not a match; write {}",
        ),
        (
            matched("withoutHeaders: {x-a: null}"),
            "withoutHeaders.x-a: null is not a match",
        ),
        (
            matched("uri: {exact: a, prefix: b}"),
            "match[0].uri: takes one of exact, prefix and regex",
        ),
        (
            matched("uri: {suffix: a}"),
            "match[0].uri.suffix: unknown field `suffix`",
        ),
        (
            matched("headers: {'@request.auth.claims.group': {exact: a}}"),
            "`@request.auth.claims.group` is not a field name",
        ),
    ]);
}

#[test]
fn what_would_take_the_other_routes_of_a_port_with_it_is_refused() {
    let to = |weights: [u32; 2]| {
        let [one, two] = weights;
        virtual_service(
            "a",
            &format!(
                "route: [{{destination: {{host: b}}, weight: {one}}}, {{destination: {{host: c}}, weight: {two}}}]"
            ),
        )
    };
    check(&[
        (
            virtual_service("A.example, a.example", ROUTE),
            "spec.hosts[1]: \"a.example\" stands there twice",
        ),
        (
            virtual_service("v, v.default.svc.cluster.local", ROUTE),
            "spec.hosts[1]: \"v.default.svc.cluster.local\" stands there twice",
        ),
        (
            to([u32::MAX, u32::MAX]),
            "spec.http[0].route: the weights add up to 8589934590; 4294967295 is the most",
        ),
        (to([0, 0]), "spec.http[0].route: the weights add up to 0"),
        (
            routed("retries: {attempts: 1, backoff: 0s}"),
            "spec.http[0].retries.backoff: must be 1ms at least",
        ),
        (
            routed("rewrite: {uri: '/a b'}"),
            "spec.http[0].rewrite.uri: holds ' '",
        ),
        (
            routed("rewrite: {authority: \"a\\r\\nb: c\"}"),
            "spec.http[0].rewrite.authority: holds '\\r'",
        ),
        (
            routed("headers: {request: {set: {Host: \"a\\nb\"}}}"),
            "headers.request.set.Host: holds '\\n'",
        ),
        (
            virtual_service("a", "redirect: {uri: \"/a\\nb\"}"),
            "spec.http[0].redirect.uri: holds '\\n'",
        ),
        (
            virtual_service("a", "redirect: {port: 0}"),
            "spec.http[0].redirect.port: must be 1 to 65535",
        ),
        // What nobody thought of ends at the proxies' own decoder.
        (
            matched("uri: {exact: /}, queryParams: {'': {exact: a}}"),
            "spec.http[0].match[0]: makes a route that proxies refuse: match.query_parameters[0].name: is required",
        ),
    ]);
    assert_eq!(refusal(&to([u32::MAX, 0])), None);
    assert_eq!(
        refusal(&virtual_service("a.example, b.example, '*.example'", ROUTE)),
        None
    );
}

#[test]
fn names_are_those_of_kubernetes() {
    let named = |meta: &str| virtual_service("a", ROUTE).replace("{name: v}", meta);
    check(&[
        (
            named("{name: Bad_Name!!/..}"),
            "metadata.name: \"Bad_Name!!/..\" is not a name; write a-z",
        ),
        (named("{name: ''}"), "metadata.name: \"\" is not a name"),
        (named("{name: a..b}"), "metadata.name: "),
        (
            named("{name: v, namespace: a.b}"),
            "metadata.namespace: \"a.b\" is not a namespace",
        ),
        (named("{name: v, namespace: A}"), "metadata.namespace: "),
        (
            object("Gateway", "servers: []").replace("{name: v}", "{name: -v}"),
            "metadata.name: ",
        ),
        (
            object("DestinationRule", "host: a, subsets: [{name: 'a|b'}]"),
            "spec.subsets[0].name: \"a|b\" is not a name",
        ),
    ]);
    assert_eq!(refusal(&named("{name: v-1.example, namespace: team-1}")), None);
}

#[test]
fn hosts_are_names_patterns_or_addresses() {
    for bad in [
        "a..b",
        "'['",
        "a:80",
        "-a",
        "a-.b",
        "'*a'",
        "'a*'",
        "'*.'",
        "a b",
        "'[1.2.3.4]'",
    ] {
        let text = virtual_service(bad, ROUTE);
        let got = refusal(&text).unwrap_or_else(|| panic!("taken: {text}"));
        assert!(got.starts_with("spec.hosts[0]: "), "{got}");
    }
    for good in [
        "a",
        "A.b_c.example",
        "a.example.",
        "'*.example'",
        "'*'",
        "1.2.3.4",
        "'::1'",
        "'[::1]'",
    ] {
        assert_eq!(refusal(&virtual_service(good, ROUTE)), None, "{good}");
    }
    let long = "a".repeat(64);
    check(&[
        (virtual_service(&long, ROUTE), "spec.hosts[0]: "),
        (
            virtual_service("a", "route: [{destination: {host: 'b..c'}}]"),
            "spec.http[0].route[0].destination.host: \"b..c\" is not a host",
        ),
        (
            object("DestinationRule", "host: 'a..b'"),
            "spec.host: \"a..b\" is not a host",
        ),
        (
            object(
                "Gateway",
                "servers: [{port: {number: 1, protocol: HTTP}, hosts: ['./a..b']}]",
            ),
            "spec.servers[0].hosts[0]: ",
        ),
        (
            object(
                "ServiceEntry",
                "resolution: DNS, hosts: [a.b], ports: [{number: 1, name: http}], endpoints: [{address: 'a..b'}]",
            ),
            "spec.endpoints[0].address: \"a..b\" is not a host",
        ),
    ]);
}

#[test]
fn ports_and_sums_and_times_are_within_their_bounds() {
    let entry = |ports: &str, endpoint: &str| {
        format!(
            "{}  resolution: STATIC\n  hosts: [a.b]\n  ports: [{{number: 1, name: http{ports}}}]\n  endpoints:\n  - \
             {{address: 1.2.3.4{endpoint}}}\n  - {{address: 1.2.3.5, weight: 4294967295}}\n",
            object("ServiceEntry", "").replace(" {}", "")
        )
    };
    check(&[
        (
            entry(", targetPort: 0", ""),
            "spec.ports[0].targetPort: must be 1 to 65535",
        ),
        (
            entry("", ", ports: {http: 0}, weight: 0"),
            "spec.endpoints[0].weight: must be at least 1",
        ),
        (
            entry("", ""),
            "spec.endpoints: the weights add up to 4294967296; 4294967295 is the most",
        ),
        (
            entry("", ", ports: {http: 0}").replace("4294967295", "1"),
            "spec.endpoints[0].ports.http: must be 1 to 65535",
        ),
        (
            object(
                "DestinationRule",
                "host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}} ",
            ),
            "spec.trafficPolicy.connectionPool.tcp.connectTimeout: must be 1ms at least",
        ),
    ]);
    assert_eq!(refusal(&entry("", "").replace("4294967295", "1")), None);
}

#[test]
fn plugins_name_modules_and_variables() {
    let plugin = |url: &str, env: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: p}}\nspec:\n  url: {url}\n  \
             vmConfig: {{env: [{env}]}}\n"
        )
    };
    let good = "oci://localhost:5000/filters/auth:v1";
    check(&[
        (
            plugin("oci://", ""),
            "spec.url: `oci://` is not a module reference: ",
        ),
        (
            plugin("oci://UPPER/X:1", ""),
            "spec.url: `oci://UPPER/X:1` is not a module reference: repository names are lower case",
        ),
        (
            plugin("file://a.wasm", ""),
            "spec.url: `file://a.wasm` is not a module reference: a file URL wants an absolute path",
        ),
        (
            plugin("http://", ""),
            "spec.url: `http://` is not a module reference: the host is missing",
        ),
        (
            plugin(good, "{name: A=B, value: c}"),
            "spec.vmConfig.env[0].name: \"A=B\" cannot name a variable",
        ),
        (
            plugin(good, "{name: A}, {name: B, value: \"\\0\"}"),
            "spec.vmConfig.env[1].value: holds '\\0'",
        ),
    ]);
    for url in [
        good,
        "docker.io/a/b",
        "https://a.example/m.wasm",
        "file:///a/m.wasm",
    ] {
        assert_eq!(refusal(&plugin(url, "{name: A, value: b=c}")), None, "{url}");
    }
}
