use std::collections::BTreeMap;
use std::sync::Arc;

use leno_model::filter::{FilterConfig, Router};
use leno_model::snapshot::Snapshot;
use leno_xds::ads::message::Node;
use leno_xds::ads::published::Published;
use leno_xds::resource::Kind;

use super::proxies::{Answer, Entry, Said};
use super::{Plugin, plugins};
use crate::api::meta::{Key, Meta};
use crate::api::wasm_plugin::WasmPlugin;
use crate::artifacts::States;
use crate::artifacts::check::Checked;
use crate::artifacts::failure::{Failure, Step};
use crate::artifacts::ledger::State;
use crate::folder::Reading;
use crate::publish::Offer;
use crate::translate::plugins::resource_name;
use crate::translate::scope::View;
use crate::world::Object;

fn plugin(url: &str) -> Arc<Object<WasmPlugin>> {
    let spec = serde_json::from_value(serde_json::json!({"url": url})).expect("a spec");
    let meta = Meta {
        name: "p".into(),
        namespace: "n".into(),
        ..Meta::default()
    };
    Arc::new(Object { meta, spec })
}

/// What is said of a plugin that wants `url`, at a proxy that runs what it is offered.
fn said(url: &str, state: &State) -> Plugin {
    let wanted = plugin(url);
    let key: Key = wanted.meta.key();
    let mut reading = Reading::default();
    reading.world.wasm_plugins.insert(key.clone(), wanted);
    let name = resource_name(&key);
    let mut snapshot = Snapshot::default();
    let config = FilterConfig::Router(Router::default());
    snapshot.filters.insert(name.clone(), Arc::new(config));
    let published = Published::new(&snapshot, std::iter::empty());
    let version = published.set(Kind::Filter).entries[&name].version.clone();
    let offer = Offer {
        published: Arc::new(published),
        ..Offer::default()
    };
    let view =
        View::of_node("router~127.0.0.1~gateway.n~n.svc", "leno", &serde_json::json!({})).expect("a view");
    let entry = Entry {
        node: Node::default(),
        view: view.clone(),
        connected: 0,
        said: Said {
            filters: BTreeMap::from([(name, Answer::Accepted(version))]),
            ..Said::default()
        },
    };
    let states = States::new(BTreeMap::from([(key, state.clone())]));
    let offers = BTreeMap::from([(view, Arc::new(offer))]);
    let mut plugins = plugins(&reading, &states, &offers, &[entry]);
    assert_eq!(plugins.len(), 1);
    plugins.remove(0)
}

#[test]
fn only_what_is_wanted_is_programmed() {
    let old = plugin("oci://r/p:v1");
    let mut state = State {
        wanted: Some(Arc::clone(&old)),
        good: Some((old, Checked::default())),
        ..State::default()
    };
    let check = |url: &str, state: &State, want: [&str; 3]| {
        let plugin = said(url, state);
        let got = [&*plugin.state, &*plugin.summary, &*plugin.proxies[0].state];
        assert_eq!(got, want, "{plugin:#?}");
        plugin
    };
    check("oci://r/p:v1", &state, ["ready", "programmed 1/1", "programmed"]);
    let pending = "pending: its artifact is being fetched; the last good version serves 1/1";
    let plugin = check("oci://r/p:v2", &state, ["pending", pending, "outdated"]);
    assert_eq!(plugin.serving_url.as_deref(), Some("oci://r/p:v1"));
    let message = plugin.proxies[0].message.as_deref();
    assert_eq!(message, Some("runs the last good version, oci://r/p:v1"));
    state.wanted = Some(super::tests::plugin("oci://r/p:v2"));
    state.failure = Some(Failure::new(Step::Pull, "no v2".to_owned()));
    let failed = "failed: no v2; the last good version serves 1/1";
    let plugin = check("oci://r/p:v2", &state, ["failed", failed, "outdated"]);
    assert_eq!(plugin.failure.as_deref(), Some("no v2"));
    // What was said of v2 is not said of v3.
    let plugin = check("oci://r/p:v3", &state, ["pending", pending, "outdated"]);
    assert_eq!(plugin.failure, None);
    check("oci://r/p:v1", &state, ["ready", "programmed 1/1", "programmed"]);
    check(
        "file:///p.wasm",
        &State::default(),
        ["ready", "programmed 1/1", "programmed"],
    );
}
