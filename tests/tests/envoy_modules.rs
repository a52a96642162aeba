//! The five stage filters as Proxy-Wasm modules, in a real Envoy and in ours, asked the same: what clients and upstreams
//! see is the same.

use std::net::SocketAddr;

use leno_tests::bootstrap::{Bootstrap, Speaks, all_to, wasm_filter};
use leno_tests::client::{Answer, Ask, client};
use leno_tests::mesh::FILTERS;
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::wait::{free_address, until};
use leno_tests::{peers, upstream};
use serde_json::{Value, json};

/// A token of the demo's issuer, valid until 2100.
const TOKEN: &str = include_str!("../../examples/gateway/token").trim_ascii_end();

/// The plugin that says which tokens are good.
const AUTH: &str = include_str!("../../examples/gateway/config/plugins/auth.yaml");

/// Fields that may differ between the two proxies, and why.
const ACCEPTED: [(&str, &str); 9] = [
    ("date", "the clock"),
    ("server", "each says its own name"),
    ("x-envoy-upstream-service-time", "a measurement"),
    ("x-request-id", "random"),
    (
        "x-envoy-expected-rq-timeout-ms",
        "a hint from Envoy to Envoys behind it; ours does not send it",
    ),
    (
        "x-envoy-internal",
        "Envoy's judgement of the client's address; its filters are not ours",
    ),
    (
        "traceparent",
        "random; its parts are compared where the caller gives them",
    ),
    ("x-ratelimit-reset", "a measurement"),
    ("retry-after", "a measurement"),
];

/// One question, and what must be true of both answers besides being equal.
struct Case {
    /// The listener that is asked: a filter's name, or `all`.
    at: &'static str,
    ask: Ask,
    status: u16,
    /// JSON pointers into [`observation`] and the text that stands there; null: nothing does.
    wants: Vec<(&'static str, Value)>,
}

fn case(at: &'static str, mut ask: Ask, status: u16, wants: &[(&'static str, Value)]) -> Case {
    // The two proxies have different ports, which must not show.
    if !ask.headers.iter().any(|(name, _)| name == "host") {
        ask = ask.with("host", "tests.example");
    }
    Case {
        at,
        ask,
        status,
        wants: wants.to_vec(),
    }
}

/// What is compared of an answer: all of it but the fields of [`ACCEPTED`].
fn observation(answer: &Answer) -> Value {
    let mut body = serde_json::from_str(&answer.body).unwrap_or_else(|_| Value::from(answer.body.clone()));
    let mut headers = answer.headers.clone();
    for (field, _) in ACCEPTED {
        for fields in [Some(&mut headers), body.get_mut("headers")]
            .into_iter()
            .flatten()
        {
            if let Some(fields) = fields.as_object_mut() {
                fields.remove(field);
            }
        }
    }
    json!({"status": answer.status, "headers": headers, "body": body})
}

fn configuration(filter: &str) -> Value {
    match filter {
        "auth" => auth(),
        "rate-limit" => json!({"rules": [{
            "name": "orders",
            "match": {"paths": [{"prefix": "/orders"}]},
            "descriptor": [{"header": "x-user"}],
            "tokens": 2,
            "interval": "3600s",
        }]}),
        "header-rewrite" => json!({
            "request": [
                {"removePrefix": "x-internal-"},
                {"set": {"name": "x-caller", "value": "%{request.headers.x-user:-nobody} %{request.method}"}},
                {"rewrite": {"name": "x-version", "regex": "v([0-9]+)", "with": "version $1"}},
                {"path": {"prefix": "/api/v1/", "with": "/"}},
                {"host": "shop.internal", "when": {"hosts": [{"exact": "shop.example"}]}},
            ],
            "response": [
                {"set": {"name": "x-filter-version", "value": "v1"}},
                {"remove": "x-powered-by"},
                {"add": {"name": "x-was", "value": "%{request.path}"}, "whenResponse": [{"name": ":status", "prefix": "5"}]},
            ],
        }),
        "telemetry" => json!({"tracing": {"sampling": 100}}),
        "routing" => json!({
            "rules": [
                {"name": "testers", "match": {"headers": [{"name": "x-beta", "exact": "1"}]}, "cluster": "canary"},
                {"name": "nowhere", "match": {"paths": [{"exact": "/nowhere"}]}, "cluster": "missing"},
            ],
            "default": "stable",
        }),
        other => panic!("no filter {other}"),
    }
}

/// The configuration of the demo, out of its document.
fn auth() -> Value {
    let jwks = AUTH
        .lines()
        .find_map(|line| line.trim().strip_prefix("jwks: "))
        .expect("the demo has a key set");
    let jwks: Value = serde_json::from_str(jwks).expect("a key set");
    json!({
        "providers": [
            {"name": "people", "jwt": {
                "issuer": "https://issuer.demo",
                "audiences": ["shop"],
                "jwks": jwks,
                "claimToHeaders": [{"claim": "sub", "header": "x-user"}],
            }},
            {"name": "machines", "apiKey": {"keys": [{"client": "load", "key": "load-key"}], "clientHeader": "x-user"}},
        ],
        "rules": [
            {"match": {"paths": [{"exact": "/healthz"}]}, "require": "none"},
            {"require": {"anyOf": ["people", "machines"]}},
        ],
    })
}

#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<Case> {
    let bearer = |token: &str| format!("Bearer {token}");
    // Another signature over the same claims.
    let forged = format!("{}AAAA", &TOKEN[..TOKEN.len() - 4]);
    let mut cases = vec![
        case("auth", Ask::get("/a"), 401, &[]),
        case(
            "auth",
            Ask::get("/a").with("authorization", &bearer(&forged)),
            401,
            &[],
        ),
        case(
            "auth",
            Ask::get("/a").with("authorization", "Bearer x.y"),
            401,
            &[],
        ),
        case("auth", Ask::get("/a").with("x-api-key", "another"), 401, &[]),
        case(
            "auth",
            Ask::get("/a?b=c").with("authorization", &bearer(TOKEN)),
            200,
            &[
                ("/body/path", json!("/a?b=c")),
                ("/body/headers/authorization", Value::Null),
            ],
        ),
        case(
            "auth",
            Ask::post("/a", "text").with("x-api-key", "load-key"),
            200,
            &[
                ("/body/headers/x-user", json!("load")),
                ("/body/headers/x-api-key", Value::Null),
                ("/body/body", json!("text")),
            ],
        ),
        case(
            "auth",
            Ask::get("/healthz").with("x-user", "admin"),
            200,
            &[("/body/headers/x-user", Value::Null)],
        ),
    ];
    let order = || Ask::get("/orders/1").with("x-user", "ann");
    cases.extend([
        case(
            "rate-limit",
            order(),
            200,
            &[("/headers/x-ratelimit-remaining", json!("1"))],
        ),
        case(
            "rate-limit",
            order(),
            200,
            &[("/headers/x-ratelimit-remaining", json!("0"))],
        ),
        case(
            "rate-limit",
            order(),
            429,
            &[("/body", json!("rate limit exceeded"))],
        ),
        case(
            "rate-limit",
            Ask::get("/orders/1").with("x-user", "bob"),
            200,
            &[("/headers/x-ratelimit-limit", json!("2, 2;w=3600"))],
        ),
        case(
            "rate-limit",
            Ask::get("/other").with("x-user", "ann"),
            200,
            &[("/headers/x-ratelimit-limit", Value::Null)],
        ),
        case(
            "header-rewrite",
            Ask::post("/api/v1/things?x=1", "text")
                .with("x-internal-secret", "1")
                .with("x-user", "ann")
                .with("x-version", "v12"),
            200,
            &[
                ("/body/path", json!("/things?x=1")),
                ("/body/body", json!("text")),
                ("/body/headers/x-internal-secret", Value::Null),
                ("/body/headers/x-caller", json!("ann POST")),
                ("/body/headers/x-version", json!("version 12")),
                ("/headers/x-filter-version", json!("v1")),
                ("/headers/x-powered-by", Value::Null),
            ],
        ),
        case(
            "header-rewrite",
            Ask::get("/").with("host", "shop.example"),
            200,
            &[("/body/headers/host", json!("shop.internal"))],
        ),
        case(
            "header-rewrite",
            Ask::get("/status/503"),
            503,
            &[("/headers/x-was", json!("/status/503"))],
        ),
        case(
            "header-rewrite",
            Ask {
                method: "HEAD",
                ..Ask::get("/")
            },
            200,
            &[("/headers/x-filter-version", json!("v1"))],
        ),
        case(
            "header-rewrite",
            Ask {
                method: "DELETE",
                ..Ask::get("/x")
            },
            200,
            &[("/body/method", json!("DELETE"))],
        ),
        case(
            "telemetry",
            Ask::get("/t").with("x-b3-sampled", "0"),
            200,
            &[("/body/headers/x-b3-sampled", Value::Null)],
        ),
        case(
            "telemetry",
            Ask::post("/status/418", vec![b'x'; 200_000]),
            418,
            &[("/body/length", json!(200_000))],
        ),
        case(
            "routing",
            Ask::get("/"),
            200,
            &[("/body/upstream", json!("stable"))],
        ),
        case(
            "routing",
            Ask::get("/").with("x-beta", "1"),
            200,
            &[("/body/upstream", json!("canary"))],
        ),
        case(
            "routing",
            Ask::get("/").with("x-leno-cluster", "canary"),
            200,
            &[
                ("/body/upstream", json!("stable")),
                ("/body/headers/x-leno-cluster", json!("stable")),
            ],
        ),
        case("routing", Ask::get("/nowhere"), 503, &[]),
        case("all", Ask::get("/"), 401, &[]),
        case(
            "all",
            Ask::post("/api/v1/big", vec![b'y'; 1_000_000])
                .with("authorization", &bearer(TOKEN))
                .with("x-beta", "1"),
            200,
            &[
                ("/body/path", json!("/big")),
                ("/body/length", json!(1_000_000)),
                ("/body/upstream", json!("canary")),
            ],
        ),
    ]);
    for _ in 0..2 {
        let order = Ask::get("/orders").with("x-api-key", "load-key");
        cases.push(case(
            "all",
            order,
            200,
            &[("/body/headers/x-caller", json!("load GET"))],
        ));
    }
    cases.push(case(
        "all",
        Ask::get("/orders").with("x-api-key", "load-key"),
        429,
        &[("/body", json!("rate limit exceeded"))],
    ));
    cases
}

/// A proxy with a listener per filter, and one with all of them in a row.
struct Subject {
    kind: Kind,
    proxy: Proxy,
    listeners: Vec<(&'static str, SocketAddr)>,
    _folder: tempfile::TempDir,
}

impl Subject {
    async fn start(kind: Kind, stable: SocketAddr, canary: SocketAddr) -> Self {
        let filter = |name: &str| wasm_filter(name, &peers::module(name), &configuration(name));
        let by_header = json!([{"match": {"prefix": "/"}, "route": {"cluster_header": "x-leno-cluster"}}]);
        let mut bootstrap = Bootstrap::default()
            .cluster("stable", stable, Speaks::Http1)
            .cluster("canary", canary, Speaks::Http2);
        let mut listeners = Vec::new();
        for name in FILTERS {
            let (address, to_stable) = (free_address(), all_to("stable"));
            let routes = if name == "routing" { &by_header } else { &to_stable };
            bootstrap = bootstrap.listener(name, address, &[filter(name)], routes);
            listeners.push((name, address));
        }
        let all: Vec<Value> = FILTERS.into_iter().map(filter).collect();
        listeners.push(("all", free_address()));
        bootstrap = bootstrap.listener("all", listeners[FILTERS.len()].1, &all, &by_header);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let admin = free_address();
        let mut proxy = Proxy::start(kind, folder.path(), &bootstrap.text(admin), admin);
        proxy.ready().await;
        Self {
            kind,
            proxy,
            listeners,
            _folder: folder,
        }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(name, _)| *name == listener);
        found.unwrap_or_else(|| panic!("no listener {listener}")).1
    }

    async fn answer(&self, case: &Case) -> Answer {
        let answer = case.ask.send(self.address(case.at)).await;
        answer.unwrap_or_else(|error| panic!("{:?} at {}: {:?}: {error:#}", self.kind, case.at, case.ask))
    }
}

async fn both() -> [Subject; 2] {
    let (stable, canary) = (upstream::serve("stable").await, upstream::serve("canary").await);
    [
        Subject::start(Kind::Leno, stable, canary).await,
        Subject::start(Kind::Envoy, stable, canary).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_have_the_same_results() {
    let [ours, envoy] = both().await;
    let mut wrong = Vec::new();
    for case in cases() {
        let asked = format!(
            "{} {} {} {:?}",
            case.at, case.ask.method, case.ask.path, case.ask.headers
        );
        let (ours, theirs) = (ours.answer(&case).await, envoy.answer(&case).await);
        let (ours, theirs) = (observation(&ours), observation(&theirs));
        if ours != theirs {
            wrong.push(format!("{asked}\n  ours  {ours}\n  envoy {theirs}"));
        }
        for (kind, seen) in [("ours", &ours), ("envoy", &theirs)] {
            if seen["status"] != case.status {
                wrong.push(format!("{asked}\n  {kind} answers {seen}, not {}", case.status));
            }
            for (pointer, want) in &case.wants {
                let found = seen.pointer(pointer).cloned().unwrap_or_default();
                if found != *want {
                    wrong.push(format!(
                        "{asked}\n  {kind} has {found} at {pointer}, not {want}: {seen}"
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_continued_and_requests_are_counted() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for subject in both().await {
        let at = subject.address("telemetry");
        let given = Ask::get("/")
            .with("traceparent", CALLER)
            .send(at)
            .await
            .expect("an answer");
        let sent = given.upstream_header("traceparent");
        assert_eq!(
            (&sent[..36], &sent[52..]),
            (&CALLER[..36], "-01"),
            "{:?}",
            subject.kind
        );
        assert_ne!(
            sent[36..52],
            CALLER[36..52],
            "{:?}: a span of its own",
            subject.kind
        );
        let begun = Ask::get("/")
            .send(at)
            .await
            .expect("an answer")
            .upstream_header("traceparent");
        assert_eq!((begun.len(), &begun[..3]), (55, "00-"), "{:?}", subject.kind);
        until("the requests are counted", || async {
            let text =
                leno_tests::client::page(subject.proxy.admin, "/stats?filter=istio_requests_total").await?;
            let series = text.lines().filter(|line| line.contains("response_code=.=200"));
            let count: u64 = series
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum();
            anyhow::ensure!(count == 2, "{:?}: {text}", subject.kind);
            Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_shared_by_requests_with_different_fates() {
    let [ours, envoy] = both().await;
    for subject in [&ours, &envoy] {
        let (client, at) = (client().expect("a client"), subject.address("auth"));
        for turn in 0..20 {
            let (key, status) = if turn % 2 == 0 {
                ("load-key", 200)
            } else {
                ("wrong", 401)
            };
            let ask = Ask::post("/", vec![b'z'; 70_000]).with("x-api-key", key);
            let answer = ask.send_with(&client, at).await.expect("an answer");
            assert_eq!(answer.status, status, "{:?}, request {turn}", subject.kind);
        }
    }
}
