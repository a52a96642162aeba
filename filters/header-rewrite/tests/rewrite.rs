//! What each operation does, and which configurations are refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use leno_filter_header_rewrite::HeaderRewrite;
use leno_sdk::testing::{Mesh, Outcome, TestRequest, get, response};

fn run(config: &str, request: TestRequest) -> Outcome {
    Mesh::new()
        .worker()
        .native::<HeaderRewrite>(config)
        .unwrap()
        .run(request)
}

fn values(outcome: &Outcome, name: &str) -> Vec<String> {
    let fields = outcome
        .upstream
        .headers
        .iter()
        .filter(|(field, _)| field == name.as_bytes());
    fields
        .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
        .collect()
}

fn refused(config: &str) -> String {
    Mesh::new()
        .worker()
        .native::<HeaderRewrite>(config)
        .err()
        .expect("the configuration is refused")
}

#[test]
fn fields_are_added_appended_set_and_removed_in_order() {
    let config = r#"{"request": [
        {"add": {"name": "X-A", "value": "2"}},
        {"append": {"name": "x-b", "value": "2"}},
        {"append": {"name": "x-new", "value": "1"}},
        {"set": {"name": "x-c", "value": "2"}},
        {"setIfAbsent": {"name": "x-c", "value": "3"}},
        {"setIfAbsent": {"name": "x-d", "value": "4"}},
        {"remove": "x-e"},
        {"removePrefix": "x-internal-"}
    ]}"#;
    let request = get("/")
        .header("x-a", "1")
        .header("x-b", "1")
        .header("x-c", "1")
        .header("x-c", "1")
        .header("x-e", "1")
        .header("x-internal-one", "1")
        .header("x-internal-two", "1");
    let outcome = run(config, request);
    outcome.assert_status(200);
    assert_eq!(values(&outcome, "x-a"), ["1", "2"]);
    assert_eq!(values(&outcome, "x-b"), ["1, 2"]);
    assert_eq!(values(&outcome, "x-new"), ["1"]);
    assert_eq!(values(&outcome, "x-c"), ["2"]);
    assert_eq!(values(&outcome, "x-d"), ["4"]);
    for gone in ["x-e", "x-internal-one", "x-internal-two"] {
        outcome.assert_no_upstream_header(gone);
    }
}

#[test]
fn values_are_rewritten_in_place() {
    let config = r#"{"request": [{"rewrite": {"name": "x-a", "regex": "v(\\d+)", "with": "version-$1"}}]}"#;
    let outcome = run(
        config,
        get("/")
            .header("x-a", "v1 v2")
            .header("x-b", "v1")
            .header("x-a", "none"),
    );
    assert_eq!(values(&outcome, "x-a"), ["version-1 version-2", "none"]);
    assert_eq!(values(&outcome, "x-b"), ["v1"]);
}

#[test]
fn paths_keep_their_query() {
    let check = |operation: &str, path: &str, expected: &str| {
        let outcome = run(&format!(r#"{{"request": [{{"path": {operation}}}]}}"#), get(path));
        outcome.assert_upstream_header(":path", expected);
    };
    check(
        r#"{"prefix": "/api/", "with": "/"}"#,
        "/api/users?x=1",
        "/users?x=1",
    );
    check(
        r#"{"prefix": "/api/", "with": "/"}"#,
        "/other/api/",
        "/other/api/",
    );
    check(
        r#"{"regex": "^/u/(\\d+)$", "with": "/users/$1"}"#,
        "/u/42?x=/u/1",
        "/users/42?x=/u/1",
    );
    check(
        r#"{"template": "/%{request.headers.:authority}%{request.path}"}"#,
        "/a",
        "/example.test/a",
    );
    check(r#"{"template": "/b?y=2"}"#, "/a?x=1", "/b?y=2");
    check(r#"{"prefix": "/api", "with": ""}"#, "/api", "/api");
}

#[test]
fn host_is_a_template_and_never_becomes_empty() {
    let config = r#"{"request": [{"host": "%{request.headers.x-tenant}"}], "clearRouteCache": true}"#;
    let outcome = run(config, get("/").header("x-tenant", "blue.test"));
    outcome.assert_upstream_header(":authority", "blue.test");
    assert!(outcome.cleared_route);
    run(config, get("/")).assert_upstream_header(":authority", "example.test");
}

#[test]
fn templates_show_fields_and_attributes() {
    let config = r#"{"request": [
        {"set": {"name": "x-from", "value": "%{source.address}/%{source.port}/%{request.headers.x-no:-none}/100%%"}}
    ]}"#;
    let request = get("/")
        .property(&["source", "address"], "10.0.0.1:5")
        .int_property(&["source", "port"], 5);
    run(config, request).assert_upstream_header("x-from", "10.0.0.1:5/5/none/100%");
}

#[test]
fn a_value_cannot_carry_another_field() {
    let config = r#"{"request": [{"set": {"name": "x-a", "value": "%{source.address}"}}]}"#;
    let request = get("/").property(&["source", "address"], "1\r\nx-evil: 1");
    run(config, request).assert_upstream_header("x-a", "1x-evil: 1");
}

#[test]
fn responses_can_depend_on_the_request() {
    let config = r#"{"response": [
        {"set": {"name": "x-path", "value": "%{request.path}"}, "when": {"paths": [{"prefix": "/api/"}]}},
        {"set": {"name": "x-failed", "value": "yes"}, "whenResponse": [{"name": ":status", "prefix": "5"}]},
        {"remove": "server"}
    ]}"#;
    let answer = |status| response(status).header("server", "secret");
    let outcome = run(config, get("/api/a").answered(answer(200)));
    outcome
        .assert_header("x-path", "/api/a")
        .assert_no_header("x-failed")
        .assert_no_header("server");
    let outcome = run(config, get("/other").answered(answer(503)));
    outcome
        .assert_no_header("x-path")
        .assert_header("x-failed", "yes");
}

#[test]
fn conditions_see_what_earlier_operations_did() {
    let config = r#"{"request": [
        {"set": {"name": "x-beta", "value": "1"}, "when": {"headers": [{"name": "x-user", "regex": "a.*"}]}},
        {"set": {"name": "x-late", "value": "1"}, "when": {"headers": [{"name": "x-beta", "present": true}]}}
    ]}"#;
    run(config, get("/").header("x-user", "anna")).assert_upstream_header("x-late", "1");
    run(config, get("/").header("x-user", "hanna")).assert_no_upstream_header("x-late");
}

#[test]
fn nothing_to_do_asks_for_no_callbacks() {
    let filter = Mesh::new().worker().native::<HeaderRewrite>("").unwrap();
    assert_eq!(filter.plugin().interest(), leno_sdk::Interest::NONE);
}

#[test]
fn refusals_name_the_field() {
    let check = |operation: &str, expected: &str| {
        let error = refused(&format!(r#"{{"request": [{operation}]}}"#));
        assert!(error.starts_with(expected), "{error}");
    };
    check("{}", "request[0]: needs exactly one of");
    check(
        r#"{"remove": "a", "removePrefix": "b"}"#,
        "request[0]: needs exactly one of",
    );
    check(
        r#"{"remove": ":path"}"#,
        "request[0].remove: \":path\" cannot be changed so",
    );
    check(
        r#"{"set": {"name": "content-length", "value": "1"}}"#,
        "request[0].set.name: \"content-length\" frames",
    );
    check(
        r#"{"set": {"name": "a b", "value": "1"}}"#,
        "request[0].set.name: \"a b\" is not a field name",
    );
    check(
        r#"{"set": {"name": "a", "value": "%{"}}"#,
        "request[0].set.value: ",
    );
    check(
        r#"{"set": {"name": "a", "valeu": "1"}}"#,
        "request[0].set.valeu: unknown field",
    );
    check(
        r#"{"rewrite": {"name": "a", "regex": "(", "with": ""}}"#,
        "request[0].rewrite.regex: ",
    );
    check(
        r#"{"path": {"prefix": "/"}}"#,
        "request[0].path: needs prefix and with",
    );
    check(
        r#"{"remove": "a", "whenResponse": [{"name": "b", "present": true}]}"#,
        "request[0].whenResponse: is for",
    );
    assert!(
        refused(r#"{"response": [{"host": "a"}]}"#)
            .starts_with("response[0].host: is for operations under request")
    );
}
