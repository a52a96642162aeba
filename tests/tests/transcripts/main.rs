//! Every transcript of every stage filter, on every build of it: the Proxy-Wasm module and the component in our Wasm
//! host, and the module in our proxy and in a real Envoy, over HTTP. The native builds follow theirs in
//! `filters/*/tests/transcripts.rs`.

mod report;

mod scripted;

mod wire;

use leno_sdk::testing::{Transcript, transcripts};
use leno_tests::mesh::FILTERS;
use leno_tests::peers;
use leno_tests::proxy::Kind;
use leno_wasm::{Engine, Limits, PluginOptions, VmOptions, Worker};

use report::Report;

#[test]
fn modules_follow_the_transcripts() {
    in_our_host(peers::module_bytes);
}

#[test]
fn components_follow_the_transcripts() {
    in_our_host(|filter| {
        let path = peers::component(filter);
        let module = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let encoder = wit_component::ComponentEncoder::default().module(&module);
        let component = encoder.and_then(|mut encoder| encoder.encode());
        component.unwrap_or_else(|error| panic!("{filter} is no component: {error:#}"))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_envoy_shows_what_the_transcripts_say() {
    over_http(Kind::Envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_shows_what_the_transcripts_say() {
    over_http(Kind::Leno).await;
}

#[test]
fn no_stage_filter_is_left_out() {
    let folder = peers::root().join("filters");
    let entries = std::fs::read_dir(&folder).expect("the folder of the stage filters");
    let mut found: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a filter")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    let mut known = FILTERS;
    known.sort_unstable();
    assert_eq!(found, known);
}

/// The transcripts of a filter, by file name.
fn of(filter: &str) -> Vec<(String, Transcript)> {
    let folder = peers::root().join("filters").join(filter).join("transcripts");
    let found = transcripts(&folder).unwrap_or_else(|error| panic!("{error}"));
    assert!(!found.is_empty(), "{} is empty", folder.display());
    let stem = |path: &std::path::Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    found
        .into_iter()
        .map(|(path, transcript)| (stem(&path), transcript))
        .collect()
}

fn in_our_host(build: impl Fn(&str) -> Vec<u8>) {
    let engine = Engine::new(Limits::default()).expect("an engine");
    let mut wrong = Vec::new();
    for filter in FILTERS {
        let module = engine
            .compile(&build(filter))
            .unwrap_or_else(|error| panic!("{filter}: {error}"));
        for (name, transcript) in of(filter) {
            let worker = Worker::new(engine.clone());
            let result = transcript.run(|configuration, host| {
                let options = PluginOptions {
                    name: filter.to_owned(),
                    configuration: configuration.to_vec(),
                    ..PluginOptions::default()
                };
                worker
                    .plugin(&module, &VmOptions::default(), &options, host)
                    .map_err(|error| error.to_string())
            });
            let found = result.err().unwrap_or_default();
            wrong.extend(found.into_iter().map(|found| format!("{filter}/{name}: {found}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn over_http(kind: Kind) {
    let mut report = Report::default();
    for filter in FILTERS {
        wire::play(kind, filter, &of(filter), &mut report).await;
    }
    report.close(kind.name());
}
