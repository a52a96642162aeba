//! Which cluster for which request, and which configurations are refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use leno_filter_routing::Routing;
use leno_sdk::testing::{Mesh, Outcome, Running, TestRequest, get};

fn start(config: &str) -> Running {
    Mesh::new().worker().native::<Routing>(config).unwrap()
}

fn refused(config: &str) -> String {
    Mesh::new()
        .worker()
        .native::<Routing>(config)
        .err()
        .expect("the configuration is refused")
}

fn cluster(outcome: &Outcome) -> String {
    outcome.upstream.header("x-leno-cluster").unwrap()
}

const SPLIT: &str = r#""split": [{"cluster": "v1", "weight": 90}, {"cluster": "v2", "weight": 10}]"#;

#[test]
fn the_first_rule_that_is_for_a_request_decides() {
    let filter = start(
        r#"{"rules": [
            {"match": {"headers": [{"name": "x-beta", "exact": "1"}]}, "cluster": "beta"},
            {"cookies": [{"name": "group", "prefix": "b"}], "cluster": "b"},
            {"match": {"paths": [{"prefix": "/old/"}]}, "cluster": "old"}
        ], "default": "stable"}"#,
    );
    let check = |request: TestRequest, expected: &str| {
        let outcome = filter.run(request);
        assert_eq!(cluster(outcome.assert_status(200)), expected);
        assert!(outcome.cleared_route);
    };
    check(
        get("/old/").header("x-beta", "1").header("cookie", "group=b"),
        "beta",
    );
    check(get("/old/").header("cookie", "a=1; group=blue"), "b");
    check(get("/old/").header("cookie", "group=a"), "old");
    check(get("/"), "stable");
    let name = "rule=.=0;.;cluster=.=beta;.;leno_routing_requests_total";
    assert_eq!(filter.mesh().metric(name), Some(1));
}

#[test]
fn a_client_does_not_choose() {
    let forged = || get("/").header("x-leno-cluster", "internal");
    let outcome = start(r#"{"rules": []}"#).run(forged());
    outcome.assert_no_upstream_header("x-leno-cluster");
    assert!(outcome.cleared_route);
    assert_eq!(cluster(&start(r#"{"default": "a"}"#).run(forged())), "a");
    assert!(!start("").run(get("/")).cleared_route);
}

#[test]
fn a_split_follows_its_weights() {
    let filter = start(&format!(r#"{{"rules": [{{{SPLIT}}}]}}"#));
    let second = (0..2_000)
        .filter(|_| cluster(&filter.run(get("/"))) == "v2")
        .count();
    assert!((140..260).contains(&second), "{second} of 2000 for a tenth");
}

#[test]
fn a_sticky_client_stays_and_a_growing_share_keeps_its_clients() {
    let with = |first: u32| {
        start(&format!(
            r#"{{"rules": [{{"name": "canary", "sticky": {{"header": "x-user"}}, "split": [
                {{"cluster": "v1", "weight": {first}}}, {{"cluster": "v2", "weight": {}}}
            ]}}]}}"#,
            100 - first
        ))
    };
    let (small, large) = (with(90), with(70));
    let request = |user: u32| get("/").header("x-user", user.to_string());
    let mut moved = 0;
    for user in 0..500 {
        let before = cluster(&small.run(request(user)));
        assert_eq!(before, cluster(&small.run(request(user))));
        match (before.as_str(), cluster(&large.run(request(user))).as_str()) {
            ("v2", after) => assert_eq!(after, "v2", "user {user} has left the canary"),
            ("v1", "v2") => moved += 1,
            _ => {}
        }
    }
    assert!((60..140).contains(&moved), "{moved} of 500 for a fifth");
}

#[test]
fn a_cookie_is_given_once_and_leads_to_the_same_cluster() {
    let filter = start(&format!(
        r#"{{"rules": [{{{SPLIT}, "sticky": {{"cookie": {{"name": "group", "ttl": "1h", "secure": true}}}}}}]}}"#
    ));
    for _ in 0..50 {
        let first = filter.run(get("/"));
        let set = first.response.header("set-cookie").unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
        let again = filter.run(get("/").header("cookie", pair));
        again.assert_no_header("set-cookie");
        assert_eq!(cluster(&first), cluster(&again));
    }
}

#[test]
fn the_source_address_counts_without_its_port() {
    let filter = start(
        r#"{"rules": [{"split": [{"cluster": "a", "weight": 50}, {"cluster": "b", "weight": 50}],
            "sticky": {"sourceAddress": true}}]}"#,
    );
    let from = |address: String| cluster(&filter.run(get("/").property(&["source", "address"], address)));
    let clusters: Vec<String> = (0..64).map(|host| from(format!("10.0.0.{host}:1"))).collect();
    let again: Vec<String> = (0..64)
        .map(|host| from(format!("10.0.0.{host}:{}", 2 + host)))
        .collect();
    assert_eq!(clusters, again);
    assert!(clusters.iter().any(|cluster| cluster == "a") && clusters.iter().any(|cluster| cluster == "b"));
}

#[test]
fn the_header_can_have_another_name() {
    let outcome = start(r#"{"header": "X-Target", "default": "a"}"#).run(get("/"));
    outcome
        .assert_upstream_header("x-target", "a")
        .assert_no_upstream_header("x-leno-cluster");
}

#[test]
fn refusals_name_the_field() {
    let check = |rule: &str, expected: &str| {
        let error = refused(&format!(r#"{{"rules": [{rule}]}}"#));
        assert!(error.starts_with(expected), "{error}");
    };
    check("{}", "rules[0]: needs cluster or split");
    check(
        r#"{"cluster": "a", "split": [{"cluster": "b", "weight": 100}]}"#,
        "rules[0]: takes only one of",
    );
    check(
        r#"{"split": [{"cluster": "a", "weight": 50}]}"#,
        "rules[0].split: the weights make 50, not 100",
    );
    check(
        r#"{"split": [{"cluster": "a", "weight": -1}]}"#,
        "rules[0].split[0].weight: ",
    );
    check(
        r#"{"split": [{"cluster": "", "weight": 100}]}"#,
        "rules[0].split[0].cluster: must not be empty",
    );
    let twice = r#"{"split": [{"cluster": "a", "weight": 50}, {"cluster": "a", "weight": 50}]}"#;
    check(twice, "rules[0].split[1].cluster: \"a\" has a share already");
    check(
        r#"{"cluster": "a", "sticky": {"header": "x"}}"#,
        "rules[0].sticky: has no meaning without split",
    );
    check(
        &format!(r#"{{{SPLIT}, "sticky": {{}}}}"#),
        "rules[0].sticky: needs header, cookie or sourceAddress",
    );
    let bad_cookie = format!(r#"{{{SPLIT}, "sticky": {{"cookie": {{"name": "a;b"}}}}}}"#);
    check(
        &bad_cookie,
        "rules[0].sticky.cookie.name: \"a;b\" is not a field name",
    );
    check(
        r#"{"match": {"path": "/"}, "cluster": "a"}"#,
        "rules[0].match.path: unknown field",
    );
    assert!(refused(r#"{"header": ":path"}"#).starts_with("header: \":path\" is not a plain field"));
}
