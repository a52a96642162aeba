//! Filters that routes and virtual hosts configure otherwise, or switch off.

use std::collections::BTreeMap;

use http::Version;
use leno_model::cluster::UpstreamProtocol;
use leno_model::route::FilterOverride;

use super::peers::{Client, Upstream, collect};
use super::proxy::{Setup, cluster, forward, wasm};
use super::stage::MARKER;

#[tokio::test]
async fn routes_say_how_a_filter_runs() {
    let upstream = Upstream::start("u").await;
    let marked = |mark: &str| {
        let config = wasm(&MARKER, &format!("{{\"mark\": \"{mark}\"}}"));
        BTreeMap::from([("marker".to_owned(), FilterOverride::Config(Box::new(config)))])
    };
    let mut other = forward("/hello/other", "c");
    other.filter_overrides = marked("other");
    let mut off = forward("/hello/off", "c");
    off.filter_overrides = BTreeMap::from([("marker".to_owned(), FilterOverride::Disabled)]);
    let clusters = vec![cluster("c", UpstreamProtocol::Http1, &[upstream.address])];
    for (host, usual) in [(BTreeMap::new(), "usual"), (marked("host"), "host")] {
        let setup = Setup {
            native: Some(MARKER),
            filter_overrides: host,
            ..Setup::new(
                clusters.clone(),
                vec![other.clone(), off.clone(), forward("/", "c")],
            )
        };
        let proxy = setup.start().await;
        let mut client = Client::connect(proxy.address, Version::HTTP_11).await;
        for (path, expected) in [
            ("/hello/other", Some("other")),
            ("/hello/off", None),
            ("/", Some(usual)),
        ] {
            let answer = client.get(path).await;
            let mark = answer
                .headers()
                .get("x-mark")
                .map(|value| value.to_str().unwrap());
            assert_eq!(mark, expected, "{path}, usually {usual}");
            collect(answer).await;
        }
    }
}
