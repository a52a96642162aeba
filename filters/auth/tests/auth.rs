//! Who gets in and who does not, and which configurations are refused.
//!
//! `tokens.json` holds two key sets and tokens of a test issuer, made once with pyca/cryptography; the private keys
//! were thrown away. Times in it are relative to the clock of a new mesh, 2026-01-01.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use leno_filter_auth::Auth;
use leno_sdk::testing::{Mesh, Outcome, Running, TestRequest, get, response};
use serde_json::{Value, json};

fn data() -> Value {
    serde_json::from_str(include_str!("tokens.json")).unwrap()
}

fn token(name: &str) -> String {
    data()["tokens"][name].as_str().unwrap().to_owned()
}

fn bearer(token: &str) -> TestRequest {
    get("/").header("authorization", format!("Bearer {token}"))
}

fn start(config: &Value) -> Running {
    Mesh::new().worker().native::<Auth>(&config.to_string()).unwrap()
}

fn refused(config: &Value) -> String {
    Mesh::new()
        .worker()
        .native::<Auth>(&config.to_string())
        .err()
        .unwrap()
}

/// One JWT provider with local keys, for all requests.
fn jwt(extra: &Value) -> Value {
    let mut jwt = json!({"issuer": "https://issuer.test", "audiences": ["shop"], "jwks": data()["jwks"]});
    for (name, value) in extra.as_object().unwrap() {
        jwt[name] = value.clone();
    }
    json!({"providers": [{"name": "idp", "jwt": jwt}], "rules": [{"require": {"anyOf": ["idp"]}}]})
}

fn remote() -> Value {
    let remote = json!({"cluster": "idp", "host": "issuer.test", "path": "/keys", "cacheDuration": "5m"});
    json!({
        "providers": [{"name": "idp", "jwt": {"issuer": "https://issuer.test", "remoteJwks": remote}}],
        "rules": [{"require": {"anyOf": ["idp"]}}]
    })
}

fn key_set(name: &str) -> leno_sdk::testing::TestResponse {
    response(200).chunk(data()[name].to_string())
}

fn assert_denied(outcome: &Outcome, status: u16, body: &str) {
    outcome.assert_reply(status).assert_body(body);
    assert!(outcome.upstream.headers.is_empty(), "the upstream was asked");
}

#[test]
fn every_algorithm_is_verified() {
    let filter = start(&jwt(&json!({})));
    let all = [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "RS256-2049",
        "PS256-2049",
        "ES256",
        "EdDSA",
        "HS256",
        "no-kid",
        "within-skew",
        "one-audience",
        "no-exp",
    ];
    for name in all {
        filter
            .run(bearer(&token(name)))
            .assert_status(200)
            .assert_no_upstream_header("authorization");
    }
}

#[test]
fn every_signature_can_be_wrong() {
    let filter = start(&jwt(&json!({})));
    for name in ["RS256", "PS256", "PS256-2049", "ES256", "EdDSA", "HS256"] {
        let token = token(name);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        // Another first character changes the first bits; `A` and `B` are both valid.
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let changed = format!("{signed}.{first}{}", &signature[1..]);
        assert_denied(&filter.run(bearer(&changed)), 401, "Jwt verification fails");
        let short = format!("{signed}.{}", &signature[4..]);
        assert_denied(&filter.run(bearer(&short)), 401, "Jwt verification fails");
    }
}

#[test]
fn refusals_speak_as_envoy_does() {
    let filter = start(&jwt(&json!({})));
    let check = |name: &str, status: u16, body: &str| {
        assert_denied(&filter.run(bearer(&token(name))), status, body);
    };
    check("expired", 401, "Jwt is expired");
    check("not-before", 401, "Jwt not yet valid");
    check("issued-later", 401, "Jwt not yet valid");
    check("issuer", 401, "Jwt issuer is not configured");
    check("audience", 403, "Audiences in Jwt are not allowed");
    check("wrong-key", 401, "Jwt verification fails");
    check(
        "unknown-kid",
        401,
        "Jwks doesn't have key to match kid or alg from Jwt",
    );
    check(
        "confused",
        401,
        "Jwks doesn't have key to match kid or alg from Jwt",
    );
    check("none", 401, "Jwt header [alg] is not supported");
    check("ES384", 401, "Jwt header [alg] is not supported");
    check("critical", 401, "Jwt header [crit] is not supported");
    check("text-exp", 401, "Jwt payload has a time that is not a number");
    let shape = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    assert_denied(&filter.run(bearer("a.b")), 401, shape);
    assert_denied(
        &filter.run(bearer("a.b.c")),
        401,
        "Jwt header is an invalid Base64url encoded or not a JSON",
    );
}

#[test]
fn challenges_tell_a_missing_token_from_a_bad_one() {
    let filter = start(&jwt(&json!({})));
    let missing = filter.run(get("/a?b"));
    assert_denied(&missing, 401, "Jwt is missing");
    missing.assert_header("www-authenticate", "Bearer realm=\"http://example.test/a\"");
    missing.assert_details("jwt_authn_access_denied{Jwt_is_missing}");
    let bad = filter.run(bearer(&token("expired")));
    bad.assert_header(
        "www-authenticate",
        "Bearer realm=\"http://example.test/\", error=\"invalid_token\"",
    );
    filter
        .run(bearer(&token("audience")))
        .assert_no_header("www-authenticate");
}

#[test]
fn tokens_are_found_in_all_places_and_taken_out() {
    let token = token("ES256");
    let default = start(&jwt(&json!({})));
    let outcome = default.run(get(&format!("/a?x=1&access_token={token}")));
    outcome
        .assert_status(200)
        .assert_upstream_header(":path", "/a?x=1");
    let places = jwt(&json!({
        "fromHeaders": [{"name": "x-token"}], "fromParams": ["t"], "fromCookies": ["session"]
    }));
    let filter = start(&places);
    filter
        .run(get("/").header("x-token", &token))
        .assert_status(200)
        .assert_no_upstream_header("x-token");
    filter
        .run(get(&format!("/?t={token}")))
        .assert_status(200)
        .assert_upstream_header(":path", "/");
    filter
        .run(get("/").header("cookie", format!("a=b; session={token}")))
        .assert_status(200);
    assert_denied(&filter.run(bearer(&token)), 401, "Jwt is missing");
    let forward = start(&jwt(&json!({"forward": true})));
    forward
        .run(bearer(&token))
        .assert_upstream_header("authorization", &format!("Bearer {token}"));
}

#[test]
fn claims_go_to_headers_that_nobody_else_can_set() {
    let filter = start(&jwt(&json!({
        "outputPayloadToHeader": "x-payload",
        "claimToHeaders": [
            {"claim": "sub", "header": "x-user"},
            {"claim": "org.id", "header": "x-org"},
            {"claim": "admin", "header": "x-admin"},
            {"claim": "nobody", "header": "x-none"}
        ]
    })));
    let token = token("ES256");
    let outcome = filter.run(
        bearer(&token)
            .header("x-none", "forged")
            .header("x-user", "forged"),
    );
    outcome
        .assert_status(200)
        .assert_upstream_header("x-payload", token.split('.').nth(1).unwrap());
    outcome
        .assert_upstream_header("x-user", "anna")
        .assert_upstream_header("x-org", "7");
    outcome
        .assert_upstream_header("x-admin", "true")
        .assert_no_upstream_header("x-none");
}

#[test]
fn clock_skew_and_expiration_are_settings() {
    let strict = start(&jwt(&json!({"clockSkew": "0s", "requireExpiration": true})));
    assert_denied(&strict.run(bearer(&token("within-skew"))), 401, "Jwt is expired");
    assert_denied(&strict.run(bearer(&token("no-exp"))), 401, "Jwt never expires");
    strict.run(bearer(&token("ES256"))).assert_status(200);
}

#[test]
fn requests_wait_for_the_first_keys() {
    let filter = start(&remote());
    let mut waiting = filter.begin(bearer(&token("ES256")));
    let mut bad = filter.begin(bearer(&token("expired")));
    assert!(waiting.is_held() && bad.is_held());
    assert_denied(&filter.run(get("/")), 401, "Jwt is missing");
    let call = filter.answer(key_set("jwks"));
    assert_eq!(call.cluster, "idp");
    let field = |name: &str| {
        let (_, value) = call
            .headers
            .iter()
            .find(|(field, _)| field == name.as_bytes())
            .unwrap();
        String::from_utf8(value.clone()).unwrap()
    };
    assert_eq!(
        [field(":method"), field(":authority"), field(":path")],
        ["GET", "issuer.test", "/keys"]
    );
    assert!(filter.calls().is_empty(), "one fetch serves all");
    assert!(!waiting.is_held());
    waiting.finish().assert_status(200);
    assert_denied(&bad.finish(), 401, "Jwt is expired");
    filter.run(bearer(&token("ES256"))).assert_status(200);
}

#[test]
fn a_failed_fetch_refuses_and_is_tried_again() {
    let filter = start(&remote());
    let waiting = filter.begin(bearer(&token("ES256")));
    filter.answer(response(503).chunk("no"));
    assert_denied(&waiting.finish(), 401, "Jwks remote fetch is failed");
    assert_denied(
        &filter.run(bearer(&token("ES256"))),
        401,
        "Jwks remote fetch is failed",
    );
    assert!(filter.calls().is_empty(), "not at once again");
    filter.advance(Duration::from_secs(1));
    filter.answer(key_set("jwks"));
    filter.run(bearer(&token("ES256"))).assert_status(200);
    let logs = filter.mesh().logs();
    assert!(
        logs.iter()
            .any(|(_, line)| line == "Jwks from issuer.test/keys in cluster \"idp\": status 503"),
        "{logs:?}"
    );
}

#[test]
fn old_keys_serve_while_new_ones_cannot_be_fetched() {
    let filter = start(&remote());
    filter.answer(key_set("jwks"));
    filter.advance(Duration::from_secs(301));
    filter.answer(response(200).chunk("<html>"));
    filter.run(bearer(&token("ES256"))).assert_status(200);
    filter.advance(Duration::from_secs(11));
    assert_eq!(filter.calls().len(), 1, "and it is tried again");
}

#[test]
fn fetched_keys_of_other_kinds_are_left_out() {
    let filter = start(&remote());
    let mut set: Value = data()["jwks"].clone();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.insert(
        0,
        json!({"kty": "EC", "kid": "p384", "crv": "P-384", "x": "AA", "y": "AA"}),
    );
    filter.answer(response(200).chunk(set.to_string()));
    filter.run(bearer(&token("ES256"))).assert_status(200);
    let body = "Jwt header [alg] is not supported";
    assert_denied(&filter.run(bearer(&token("ES384"))), 401, body);
}

#[test]
fn a_key_that_is_not_known_yet_is_asked_for() {
    let filter = start(&remote());
    filter.answer(key_set("jwks"));
    filter.advance(Duration::from_secs(60));
    let mut waiting = filter.begin(bearer(&token("unknown-kid")));
    assert!(waiting.is_held());
    filter.answer(key_set("rotated"));
    waiting.finish().assert_status(200);
    // A second unknown key does not lead to another fetch at once.
    let body = "Jwks doesn't have key to match kid or alg from Jwt";
    assert_denied(&filter.run(bearer(&token("EdDSA"))), 401, body);
    assert!(filter.calls().is_empty());
}

#[test]
fn workers_share_what_one_has_fetched() {
    let mesh = Mesh::new();
    let config = remote().to_string();
    let first = mesh.worker().native::<Auth>(&config).unwrap();
    let second = mesh.worker().native::<Auth>(&config).unwrap();
    let mut waiting = second.begin(bearer(&token("ES256")));
    assert!(waiting.is_held());
    first.answer(key_set("jwks"));
    second.advance(Duration::from_secs(1));
    waiting.finish().assert_status(200);
    let third = mesh.worker().native::<Auth>(&config).unwrap();
    assert!(third.calls().is_empty());
    third.run(bearer(&token("ES256"))).assert_status(200);
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let filter = start(&remote());
    let waiting = filter.begin(bearer(&token("ES256")));
    assert!(!waiting.finish().complete);
    filter.answer(key_set("jwks"));
    filter.run(bearer(&token("ES256"))).assert_status(200);
}

#[test]
fn an_unknown_cluster_is_logged_and_refuses() {
    let mesh = Mesh::new();
    mesh.refuse_cluster("idp");
    let filter = mesh.worker().native::<Auth>(&remote().to_string()).unwrap();
    assert_denied(
        &filter.run(bearer(&token("ES256"))),
        401,
        "Jwks remote fetch is failed",
    );
    let logs = mesh.logs();
    assert!(
        logs[0]
            .1
            .starts_with("Jwks cannot be fetched from cluster \"idp\": invalid"),
        "{logs:?}"
    );
}

fn keys_and_users() -> Value {
    json!({
        "providers": [
            {"name": "keys", "apiKey": {
                "keys": [
                    {"client": "a", "key": "secret-a"},
                    // sha256 of `secret-b`
                    {"client": "b", "sha256": "ff492ef788c89b555e6f738b33d2422f57dbb6656af2402155672c5f123a90af"}
                ],
                "fromHeaders": [{"name": "x-key"}], "fromParams": ["key"], "clientHeader": "x-client"
            }},
            {"name": "users", "basic": {
                "realm": "shop",
                "users": [
                    {"name": "anna", "password": "pa:ss"},
                    // htpasswd -s of `password`
                    {"name": "bob", "htpasswd": "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}
                ],
                "userHeader": "x-user"
            }}
        ],
        "rules": [
            {"match": {"paths": [{"prefix": "/public/"}], "methods": ["GET"]}, "require": "none"},
            {"match": {"paths": [{"exact": "/both"}]}, "require": {"allOf": ["keys", "users"]}},
            {"match": {"paths": [{"exact": "/maybe"}]}, "require": {"allowMissing": ["keys", "users"]}},
            {"match": {"paths": [{"regex": "/v\\d+/.*"}]}, "require": {"anyOf": ["keys", "users"]}}
        ]
    })
}

const ANNA: &str = "Basic YW5uYTpwYTpzcw==";
const BOB: &str = "Basic Ym9iOnBhc3N3b3Jk";

#[test]
fn api_keys_name_their_client() {
    let filter = start(&keys_and_users());
    let outcome = filter.run(
        get("/v1/a")
            .header("x-key", "secret-a")
            .header("x-client", "forged"),
    );
    outcome
        .assert_status(200)
        .assert_upstream_header("x-client", "a")
        .assert_no_upstream_header("x-key");
    let outcome = filter.run(get("/v1/a?key=secret-a&x=1"));
    outcome
        .assert_upstream_header("x-client", "a")
        .assert_upstream_header(":path", "/v1/a?x=1");
    filter
        .run(get("/v1/a").header("x-key", "secret-b"))
        .assert_upstream_header("x-client", "b");
    // A hash that has leaked does not get in.
    let hash = "ff492ef788c89b555e6f738b33d2422f57dbb6656af2402155672c5f123a90af";
    assert_denied(
        &filter.run(get("/v1/a").header("x-key", hash)),
        401,
        "Client authentication failed.",
    );
    assert_denied(
        &filter.run(get("/v1/a").header("x-key", "secret-")),
        401,
        "Client authentication failed.",
    );
}

#[test]
fn passwords_may_hold_colons_and_be_hashed() {
    let filter = start(&keys_and_users());
    let run = |credential: &str| filter.run(get("/v1/a").header("authorization", credential));
    run(ANNA)
        .assert_status(200)
        .assert_upstream_header("x-user", "anna")
        .assert_no_upstream_header("authorization");
    run(BOB)
        .assert_status(200)
        .assert_upstream_header("x-user", "bob");
    let wrong = "User authentication failed. Invalid username/password combination.";
    // anna:wrong, carl:x, no colon, no base64
    for credential in [
        "Basic YW5uYTp3cm9uZw==",
        "Basic Y2FybDp4",
        "Basic YW5uYQ==",
        "Basic !",
    ] {
        let outcome = run(credential);
        assert_denied(&outcome, 401, wrong);
        outcome.assert_header("www-authenticate", "Basic realm=\"shop\"");
    }
}

#[test]
fn rules_decide_in_order() {
    let filter = start(&keys_and_users());
    filter.run(get("/public/a")).assert_status(200);
    let both = get("/both")
        .header("x-key", "secret-a")
        .header("authorization", ANNA);
    filter
        .run(both)
        .assert_status(200)
        .assert_upstream_header("x-client", "a")
        .assert_upstream_header("x-user", "anna");
    let half = filter.run(get("/both").header("x-key", "secret-a"));
    assert_denied(
        &half,
        401,
        "User authentication failed. Missing username and password.",
    );
    filter
        .run(get("/maybe"))
        .assert_status(200)
        .assert_no_upstream_header("x-client");
    filter
        .run(get("/maybe").header("authorization", ANNA))
        .assert_upstream_header("x-user", "anna");
    assert_denied(
        &filter.run(get("/maybe").header("x-key", "no")),
        401,
        "Client authentication failed.",
    );
    assert_denied(&filter.run(get("/v1/a")), 401, "Client authentication failed.");
    let unmatched = filter.run(get("/other").header("x-key", "secret-a"));
    assert_denied(&unmatched, 403, "no rule allows this request");
    let outcome = start(&json!({"unmatched": "allow"})).run(get("/"));
    outcome.assert_status(200);
}

#[test]
fn refusals_name_the_field() {
    let check = |config: Value, expected: &str| {
        let error = refused(&config);
        assert!(error.starts_with(expected), "{error}");
    };
    let provider = |provider: Value| json!({"unmatched": "allow", "providers": [provider]});
    let jwt = |jwt: Value| provider(json!({"name": "a", "jwt": jwt}));
    check(json!({}), "rules: must not be empty");
    check(
        provider(json!({"name": "a"})),
        "providers[0]: needs exactly one of jwt, apiKey, basic",
    );
    check(
        jwt(json!({})),
        "providers[0].jwt: needs exactly one of jwks, remoteJwks",
    );
    check(jwt(json!({"jwks": "{"})), "providers[0].jwt.jwks: is not JSON");
    check(
        jwt(json!({"jwks": {"keys": []}})),
        "providers[0].jwt.jwks: has no key",
    );
    let short = json!({"keys": [{"kty": "oct", "k": "AAAA"}]});
    check(
        jwt(json!({"jwks": short})),
        "providers[0].jwt.jwks: keys[0] has a `k` of fewer than 32 bytes",
    );
    let small = json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]});
    check(
        jwt(json!({"jwks": small})),
        "providers[0].jwt.jwks: keys[0] has an `n` that is even, or not 2048 to 8192 bits long",
    );
    let other = json!({"keys": [data()["jwks"]["keys"][0], {"kty": "EC", "crv": "P-384"}]});
    for other in [other.clone(), json!(other.to_string())] {
        check(
            jwt(json!({"jwks": other})),
            "providers[0].jwt.jwks: keys[1] is on the curve P-384 (ES384), which is not supported",
        );
    }
    check(
        jwt(json!({"isuer": "a"})),
        "providers[0].jwt.isuer: unknown field",
    );
    check(
        jwt(json!({"remoteJwks": {"cluster": "a", "host": "b", "path": "c"}})),
        "providers[0].jwt.remoteJwks.path: ",
    );
    let key = |key: Value| provider(json!({"name": "a", "apiKey": {"keys": [key]}}));
    check(
        key(json!({"client": "a"})),
        "providers[0].apiKey.keys[0]: needs the secret or its sha256",
    );
    check(
        key(json!({"client": "a", "sha256": "12"})),
        "providers[0].apiKey.keys[0].sha256: is not 64",
    );
    let user = |user: Value| provider(json!({"name": "a", "basic": {"users": [user]}}));
    check(
        user(json!({"name": "a:b", "password": "c"})),
        "providers[0].basic.users[0].name: \"a:b\" is not",
    );
    let bcrypt = user(json!({"name": "a", "htpasswd": "$2y$05$abc"}));
    check(bcrypt, "providers[0].basic.users[0].htpasswd: only {SHA} hashes");
    let rule = json!({"rules": [{"require": {"anyOf": ["x"]}}]});
    check(rule, "rules[0].require.anyOf[0]: there is no provider \"x\"");
    check(
        json!({"rules": [{"require": {"allOf": []}}]}),
        "rules[0].require.allOf: must not be empty",
    );
    check(
        json!({"rules": [{"require": "nothing"}]}),
        "rules[0].require: unknown variant `nothing`",
    );
}
