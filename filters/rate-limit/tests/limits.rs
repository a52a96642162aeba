//! What clients see of limits, and which configurations are refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use leno_filter_rate_limit::RateLimit;
use leno_sdk::testing::{Mesh, Running, get, post};

fn start(mesh: &Mesh, config: &str) -> Running {
    mesh.worker().native::<RateLimit>(config).unwrap()
}

fn refused(config: &str) -> String {
    Mesh::new()
        .worker()
        .native::<RateLimit>(config)
        .err()
        .expect("the configuration is refused")
}

fn counted(mesh: &Mesh, rule: &str, result: &str) -> u64 {
    let name = format!("rule=.={rule};.;result=.={result};.;leno_rate_limit_requests_total");
    mesh.metric(&name).unwrap()
}

#[test]
fn refuses_what_is_over_the_limit_and_says_when_to_come_back() {
    let mesh = Mesh::new();
    let filter = start(
        &mesh,
        r#"{"rules": [{"name": "all", "tokens": 2, "interval": "60s"}]}"#,
    );
    let first = filter.run(get("/"));
    first
        .assert_status(200)
        .assert_header("x-ratelimit-limit", "2, 2;w=60");
    first
        .assert_header("x-ratelimit-remaining", "1")
        .assert_header("x-ratelimit-reset", "30");
    filter
        .run(get("/"))
        .assert_status(200)
        .assert_header("x-ratelimit-remaining", "0");
    let third = filter.run(get("/"));
    third
        .assert_reply(429)
        .assert_body("rate limit exceeded")
        .assert_details("rate_limited");
    third
        .assert_header("retry-after", "30")
        .assert_header("x-ratelimit-remaining", "0");
    assert!(third.upstream.headers.is_empty());
    filter.advance(Duration::from_secs(30));
    filter.run(get("/")).assert_status(200);
    assert_eq!(
        (counted(&mesh, "all", "allowed"), counted(&mesh, "all", "limited")),
        (3, 1)
    );
}

#[test]
fn workers_share_buckets() {
    let mesh = Mesh::new();
    let config = r#"{"rules": [{"tokens": 3, "interval": "60s"}]}"#;
    let (one, two) = (start(&mesh, config), start(&mesh, config));
    one.run(get("/")).assert_status(200);
    two.run(get("/")).assert_status(200);
    one.run(get("/")).assert_status(200);
    two.run(get("/")).assert_reply(429);
}

#[test]
fn every_descriptor_has_its_own_bucket() {
    let check = |descriptor: &str,
                 same: [leno_sdk::testing::TestRequest; 2],
                 other: leno_sdk::testing::TestRequest| {
        let mesh = Mesh::new();
        let rule =
            format!(r#"{{"rules": [{{"tokens": 1, "interval": "1h", "descriptor": [{descriptor}]}}]}}"#);
        let filter = start(&mesh, &rule);
        let [first, second] = same;
        filter.run(first).assert_status(200);
        filter.run(second).assert_reply(429);
        filter.run(other).assert_status(200);
    };
    let header = |value: &str| get("/").header("x-user", value);
    check(r#"{"header": "X-User"}"#, [header("a"), header("a")], header("b"));
    check(r#"{"query": "k"}"#, [get("/?k=a"), get("/x?k=a&b")], get("/?k=b"));
    check(
        r#"{"cookie": "c"}"#,
        [
            get("/").header("cookie", "c=1"),
            get("/").header("cookie", "b=2; c=1"),
        ],
        get("/"),
    );
    check(r#""path""#, [get("/a?x=1"), get("/a")], get("/b"));
    check(r#""method""#, [get("/"), get("/a")], post("/", ""));
    check(
        r#""host""#,
        [
            get("/").header(":authority", "A"),
            get("/").header(":authority", "a"),
        ],
        get("/"),
    );
    let from = |address: &str| get("/").property(&["source", "address"], address);
    check(
        r#""remoteAddress""#,
        [from("10.0.0.1:1"), from("10.0.0.1:2")],
        from("10.0.0.2:1"),
    );
    check(
        r#""remoteAddress""#,
        [from("[::1]:1"), from("[::1]:2")],
        from("[::2]:1"),
    );
    // {"sub":"a","org":{"id":7}} and {"sub":"b","org":{"id":8}}
    let claims = |value: &str| get("/").header("x-payload", value);
    let (seven, eight) = (
        "eyJzdWIiOiJhIiwib3JnIjp7ImlkIjo3fX0",
        "eyJzdWIiOiJiIiwib3JnIjp7ImlkIjo4fX0=",
    );
    let claim = |name: &str| format!(r#"{{"claim": {{"header": "x-payload", "name": "{name}"}}}}"#);
    check(&claim("sub"), [claims(seven), claims(seven)], claims(eight));
    check(&claim("org.id"), [claims(seven), claims(seven)], claims(eight));
    let both = r#"{"header": "x-user"}, {"generic": "b"}"#;
    check(both, [header("a"), header("a")], get("/"));
}

#[test]
fn values_cannot_run_into_each_other() {
    let mesh = Mesh::new();
    let config = r#"{"rules": [
        {"tokens": 1, "interval": "1h", "descriptor": [{"header": "a"}, {"header": "b"}]}
    ]}"#;
    let filter = start(&mesh, config);
    filter
        .run(get("/").header("a", "xy").header("b", "z"))
        .assert_status(200);
    filter
        .run(get("/").header("a", "x").header("b", "yz"))
        .assert_status(200);
}

#[test]
fn a_request_without_the_descriptor_is_not_limited() {
    let mesh = Mesh::new();
    let config = r#"{"rules": [{"tokens": 1, "interval": "1h", "descriptor": [{"header": "x-user"}]}]}"#;
    let filter = start(&mesh, config);
    for _ in 0..3 {
        filter
            .run(get("/"))
            .assert_status(200)
            .assert_no_header("x-ratelimit-limit");
    }
}

#[test]
fn shadow_rules_count_and_let_pass() {
    let mesh = Mesh::new();
    let filter = start(
        &mesh,
        r#"{"rules": [{"name": "s", "tokens": 1, "interval": "1h", "shadow": true}]}"#,
    );
    filter.run(get("/")).assert_status(200);
    filter
        .run(get("/"))
        .assert_status(200)
        .assert_no_header("x-ratelimit-limit");
    assert_eq!(counted(&mesh, "s", "shadow_limited"), 1);
}

#[test]
fn the_tightest_rule_is_the_one_that_clients_see() {
    let mesh = Mesh::new();
    let config = r#"{"rules": [
        {"name": "wide", "tokens": 100, "interval": "1s"},
        {"name": "tight", "tokens": 5, "interval": "1s", "burst": 10, "match": {"methods": ["GET"]}}
    ]}"#;
    let filter = start(&mesh, config);
    filter
        .run(get("/"))
        .assert_header("x-ratelimit-limit", "10, 5;w=1")
        .assert_header("x-ratelimit-remaining", "9");
    filter
        .run(post("/", "x"))
        .assert_header("x-ratelimit-limit", "100, 100;w=1");
}

#[test]
fn refusals_can_be_dressed() {
    let mesh = Mesh::new();
    let config = r#"{
        "rules": [{"tokens": 1, "interval": "1h"}], "status": 503, "body": "later", "quotaHeaders": false
    }"#;
    let filter = start(&mesh, config);
    filter
        .run(get("/"))
        .assert_status(200)
        .assert_no_header("x-ratelimit-limit");
    let refused = filter.run(get("/"));
    refused
        .assert_reply(503)
        .assert_body("later")
        .assert_header("retry-after", "3600");
    refused.assert_no_header("x-ratelimit-limit");
}

#[test]
fn a_bounded_number_of_buckets_is_kept() {
    let mesh = Mesh::new();
    let config = r#"{"rules": [
        {"name": "few", "tokens": 1, "interval": "1h", "descriptor": [{"header": "u"}], "slots": 8}
    ]}"#;
    let filter = start(&mesh, config);
    for user in 0..1_000 {
        filter
            .run(get("/").header("u", user.to_string()))
            .assert_status(200);
    }
    let kept = (0..1_000)
        .filter(|slot| mesh.shared(&format!("rate-limit/few/{slot}")).is_some())
        .count();
    assert!(kept <= 8, "{kept}");
    // The one that came last has not been pushed out.
    filter.run(get("/").header("u", "999")).assert_reply(429);
}

#[test]
fn refusals_name_the_field() {
    let check = |config: &str, expected: &str| {
        let error = refused(config);
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        r#"{"rules": [{"interval": "1s"}]}"#,
        "rules[0]: missing field `tokens`",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "1"}]}"#,
        "rules[0].interval: \"1\" is not a duration",
    );
    check(
        r#"{"rules": [{"tokens": 0, "interval": "1s"}]}"#,
        "rules[0].tokens: must be at least 1",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "0s"}]}"#,
        "rules[0].interval: must be more than nothing",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "1s", "slots": 0}]}"#,
        "rules[0].slots: must be at least 1",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "1s", "descriptor": ["paht"]}]}"#,
        "rules[0].descriptor[0]: unknown variant `paht`",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "1s", "descriptor": [{"header": ""}]}]}"#,
        "rules[0].descriptor[0].header: \"\" is not a field name",
    );
    check(
        r#"{"rules": [{"tokens": 1, "interval": "1s", "match": {"paths": [{}]}}]}"#,
        "rules[0].match.paths[0]: needs one of",
    );
    let twice = r#"{"rules": [{"name": "a", "tokens": 1, "interval": "1s"}, {"name": "a", "tokens": 1, "interval": "1s"}]}"#;
    check(twice, "rules[1].name: \"a\" is the name of another rule");
    check(r#"{"status": 200}"#, "status: 200 is not between 400 and 599");
    check(r#"{"rule": []}"#, "rule: unknown field");
}
