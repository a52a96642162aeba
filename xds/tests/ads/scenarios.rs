//! What must hold between the two ends.

use std::sync::Arc;

use leno_model::bootstrap::AdsVariant;
use leno_xds::ads::client::{Refused, Session as Client, Wanted};
use leno_xds::ads::message::{
    Any, ClientMessage, DeltaRequest, DeltaResponse, Node, Request, Response, ServerMessage,
};
use leno_xds::ads::published::Published;
use leno_xds::ads::server::{Event, Session as Server};
use leno_xds::codec;
use leno_xds::resource::Kind;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};

use crate::mesh::{Mesh, snapshot};
use crate::wire::Wire;

const BOTH: [AdsVariant; 2] = [AdsVariant::StateOfTheWorld, AdsVariant::Delta];

fn settled(variant: AdsVariant, mesh: &Mesh) -> Wire {
    let mut wire = Wire::new(variant);
    wire.publish(&snapshot(mesh));
    wire.settle(Wire::assert_no_dangling_route);
    wire.assert_runs(&snapshot(mesh));
    wire.received.clear();
    wire.events.clear();
    wire
}

#[test]
fn a_proxy_gets_everything_and_says_who_it_is() {
    for variant in BOTH {
        let mut wire = Wire::new(variant);
        wire.publish(&snapshot(&Mesh::from([(1, 0), (2, 0)])));
        wire.settle(Wire::assert_no_dangling_route);
        wire.assert_runs(&snapshot(&Mesh::from([(1, 0), (2, 0)])));
        assert_eq!(wire.server.node().map(|node| node.id.as_str()), Some("proxy-1"));
        let accepted = wire
            .events
            .iter()
            .filter(|event| matches!(event, Event::Accepted { .. }));
        assert!(accepted.count() >= 5, "{:?}", wire.events);
        let refused = wire
            .events
            .iter()
            .find(|event| matches!(event, Event::Refused { .. }));
        assert_eq!(refused, None);
    }
}

#[test]
fn an_empty_world_is_answered_so_that_nobody_waits() {
    for variant in BOTH {
        let mut wire = Wire::new(variant);
        wire.publish(&snapshot(&Mesh::new()));
        wire.settle(|_| {});
        let accepted = wire
            .events
            .iter()
            .filter(|event| matches!(event, Event::Accepted { .. }));
        assert_eq!(accepted.count(), 2, "{:?}", wire.events);
    }
}

#[test]
fn only_what_changed_is_sent_in_delta() {
    let mut wire = settled(AdsVariant::Delta, &Mesh::from([(1, 0), (2, 0)]));
    wire.publish(&snapshot(&Mesh::from([(1, 0), (2, 1)])));
    wire.settle(Wire::assert_no_dangling_route);
    wire.assert_runs(&snapshot(&Mesh::from([(1, 0), (2, 1)])));
    assert_eq!(
        wire.received,
        ["cluster-2-1", "service-2", "filter-2", "routes-2"]
    );
}

#[test]
fn an_equal_snapshot_sends_nothing() {
    for variant in BOTH {
        let mesh = Mesh::from([(1, 0)]);
        let mut wire = settled(variant, &mesh);
        wire.publish(&snapshot(&mesh));
        wire.settle(|_| {});
        assert!(wire.received.is_empty(), "{:?}", wire.received);
    }
}

#[test]
fn an_equal_world_is_not_sent_again_after_a_reconnect() {
    let mesh = Mesh::from([(1, 0), (2, 0)]);
    let mut wire = settled(AdsVariant::Delta, &mesh);
    wire.disconnect();
    wire.reconnect();
    wire.settle(|_| {});
    wire.assert_runs(&snapshot(&mesh));
    assert!(wire.received.is_empty(), "{:?}", wire.received);
    let mut wire = settled(AdsVariant::StateOfTheWorld, &mesh);
    wire.disconnect();
    wire.reconnect();
    wire.settle(|_| {});
    wire.assert_runs(&snapshot(&mesh));
    assert!(
        !wire.received.iter().any(|name| name.starts_with("listener")),
        "{:?}",
        wire.received
    );
}

#[test]
fn what_changed_while_the_stream_was_down_arrives_after_it() {
    for variant in BOTH {
        let mut wire = settled(variant, &Mesh::from([(1, 0), (2, 0), (3, 0)]));
        wire.disconnect();
        let after = snapshot(&Mesh::from([(1, 1), (3, 0), (4, 0)]));
        wire.publish_unseen(&after);
        wire.reconnect();
        wire.settle(|_| {});
        wire.assert_runs(&after);
    }
}

#[test]
fn a_resource_that_cannot_be_applied_is_refused_by_name_and_the_old_one_stays() {
    for variant in BOTH {
        let mut wire = settled(variant, &Mesh::from([(1, 0), (2, 0)]));
        wire.refuses.insert("routes-2".to_owned());
        wire.publish(&snapshot(&Mesh::from([(1, 1), (2, 1)])));
        wire.settle(|_| {});
        let refused: Vec<_> = wire
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Refused { kind, reason, .. } => Some((*kind, reason.as_str())),
                _ => None,
            })
            .collect();
        let words = "RouteConfiguration 'routes-2': field: the proxy cannot";
        assert_eq!(refused, [(Kind::RouteConfiguration, words)]);
        let runs = |name: &str| wire.runs[&(Kind::RouteConfiguration, name.to_owned())].clone();
        let before = Published::new(&snapshot(&Mesh::from([(2, 0)])), None);
        assert_eq!(
            runs("routes-2"),
            before.set(Kind::RouteConfiguration).entries["routes-2"].resource
        );
        let after = Published::new(&snapshot(&Mesh::from([(1, 1)])), None);
        assert_eq!(
            runs("routes-1"),
            after.set(Kind::RouteConfiguration).entries["routes-1"].resource
        );
        wire.refuses.clear();
        wire.publish(&snapshot(&Mesh::from([(1, 1), (2, 2)])));
        wire.settle(|_| {});
        wire.assert_runs(&snapshot(&Mesh::from([(1, 1), (2, 2)])));
    }
}

/// A cluster named `name` that no version of the API allows, beside a good one.
fn good_and_bad() -> (Any, Any) {
    let text = "{name: good, load_assignment: {cluster_name: good}}";
    let (type_url, value) = codec::encode(&codec::from_yaml(Kind::Cluster, text).expect("valid"));
    let any = |value: Vec<u8>| Any {
        type_url: type_url.to_owned(),
        value: value.into(),
    };
    // Field 1 (name) `bad`, field 13 (http_protocol_options) with unknown field 4095 inside.
    let bad = b"\x0a\x03bad\x6a\x04\xf8\xff\x01\x01".to_vec();
    (any(value.to_vec()), any(bad))
}

#[test]
fn good_resources_beside_a_bad_one_are_applied_and_the_nack_names_the_field() {
    let (good, bad) = good_and_bad();
    let mut client = Client::new(Node::default(), AdsVariant::StateOfTheWorld);
    client.subscribe(Kind::Cluster, Wanted::All);
    client.on_connected();
    let response = |nonce: &str, resources: &[&Any]| {
        ServerMessage::Sotw(Response {
            type_url: Kind::Cluster.type_url().to_owned(),
            version: format!("v{nonce}"),
            nonce: nonce.to_owned(),
            resources: resources.iter().copied().cloned().collect(),
            ..Response::default()
        })
    };
    let update = client.on_message(response("1", &[&good, &bad])).unwrap();
    assert_eq!(update.resources.len(), 1);
    assert_eq!(update.refused[0].name, "bad");
    // Told again by the one who applies, it is still said once.
    let again = update.refused;
    let Some(ClientMessage::Sotw(nack)) = client.answer(Kind::Cluster, again) else {
        panic!("an answer")
    };
    assert_eq!((nack.version.as_str(), nack.nonce.as_str()), ("", "1"));
    let error = nack.error.unwrap();
    assert!(
        error.starts_with("Cluster 'bad': http_protocol_options: field number 4095"),
        "{error}"
    );
    assert_eq!(error.matches("'bad'").count(), 1, "{error}");
    assert_eq!(
        client.answer(Kind::Cluster, Vec::new()),
        None,
        "one answer per response"
    );
    // The good one is held: it is gone when a later response leaves it out; the bad one was never there.
    let update = client.on_message(response("2", &[])).unwrap();
    assert_eq!(update.removed, ["good"]);
    let Some(ClientMessage::Sotw(ack)) = client.answer(Kind::Cluster, Vec::new()) else {
        panic!("an answer")
    };
    assert_eq!((ack.version.as_str(), ack.error), ("v2", None));
}

#[test]
fn names_that_disagree_or_stand_twice_are_refused() {
    let (good, _) = good_and_bad();
    let mut client = Client::new(Node::default(), AdsVariant::Delta);
    client.subscribe(Kind::Cluster, Wanted::All);
    client.on_connected();
    let resource = |name: &str| leno_xds::ads::message::DeltaResource {
        name: name.to_owned(),
        version: "1".to_owned(),
        body: Some(good.clone()),
    };
    let update = client.on_message(ServerMessage::Delta(DeltaResponse {
        type_url: Kind::Cluster.type_url().to_owned(),
        resources: vec![resource("other"), resource("good"), resource("good")],
        ..DeltaResponse::default()
    }));
    let reasons: Vec<String> = update
        .unwrap()
        .refused
        .iter()
        .map(|refused| refused.reason.to_string())
        .collect();
    assert_eq!(
        reasons,
        [
            "name: is `good`, but it was sent as `other`",
            "name: `good` stands twice in one response"
        ]
    );
}

#[test]
fn types_that_nobody_asked_for_get_no_answer() {
    let mut client = Client::new(Node::default(), AdsVariant::Delta);
    client.on_connected();
    for type_url in [
        "type.googleapis.com/envoy.service.runtime.v3.Runtime",
        Kind::Cluster.type_url(),
    ] {
        let response = DeltaResponse {
            type_url: type_url.to_owned(),
            ..DeltaResponse::default()
        };
        assert_eq!(client.on_message(ServerMessage::Delta(response)), None);
    }
    let refused = Refused {
        name: String::new(),
        reason: leno_model::invalid::Invalid::new("", ""),
    };
    assert_eq!(client.answer(Kind::Cluster, vec![refused]), None);
    let mut server = Server::new("test", AdsVariant::Delta);
    let reaction = server.on_message(ClientMessage::Delta(DeltaRequest {
        type_url: "a".to_owned(),
        ..DeltaRequest::default()
    }));
    assert_eq!(reaction.events, [Event::UnknownType("a".to_owned())]);
    assert!(reaction.messages.is_empty());
}

#[test]
fn a_stale_request_changes_nothing() {
    let mut server = Server::new("test", AdsVariant::StateOfTheWorld);
    server.publish(Arc::new(Published::new(&snapshot(&Mesh::from([(1, 0)])), None)));
    let request = |nonce: &str, names: &[&str]| {
        ClientMessage::Sotw(Request {
            type_url: Kind::RouteConfiguration.type_url().to_owned(),
            nonce: nonce.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Request::default()
        })
    };
    assert_eq!(server.on_message(request("", &["routes-1"])).messages.len(), 1);
    let stale = server.on_message(request("99", &["routes-1", "other"]));
    assert_eq!((stale.messages.len(), stale.events.len()), (0, 0));
    assert!(!server.is_settled());
    let answer = server.on_message(request("1", &["routes-1"]));
    assert!(
        matches!(answer.events.as_slice(), [Event::Accepted { .. }]),
        "{answer:?}"
    );
}

#[test]
fn delta_tells_what_is_not_there_and_sends_again_what_is_asked_for_again() {
    let mut server = Server::new("test", AdsVariant::Delta);
    server.publish(Arc::new(Published::new(&snapshot(&Mesh::from([(1, 0)])), None)));
    let ask = |server: &mut Server, nonce: &str, names: &[&str]| -> Vec<DeltaResponse> {
        let request = DeltaRequest {
            type_url: Kind::RouteConfiguration.type_url().to_owned(),
            nonce: nonce.to_owned(),
            subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaRequest::default()
        };
        let messages = server
            .on_message(ClientMessage::Delta(request))
            .messages
            .into_iter();
        messages
            .map(|message| match message {
                ServerMessage::Delta(response) => response,
                ServerMessage::Sotw(response) => panic!("{response:?}"),
            })
            .collect()
    };
    let first = ask(&mut server, "", &["routes-1", "nowhere"]);
    assert_eq!(first[0].resources[0].name, "routes-1");
    assert_eq!(first[0].removed, ["nowhere"]);
    assert!(ask(&mut server, &first[0].nonce, &[]).is_empty());
    let again = ask(&mut server, "", &["routes-1"]);
    assert_eq!(again[0].resources[0].name, "routes-1");
}

#[test]
fn endpoints_do_not_wait_for_the_answer_of_the_clusters_that_wait_for_them() {
    for variant in BOTH {
        let mut wire = Wire::new(variant);
        wire.warms = true;
        wire.publish(&snapshot(&Mesh::from([(1, 0), (2, 0)])));
        // The proxy has heard of both clusters, and of the endpoints of neither, when the world changes.
        wire.step();
        wire.step();
        wire.publish(&snapshot(&Mesh::from([(1, 1), (3, 0)])));
        wire.settle(Wire::assert_no_dangling_route);
        wire.assert_runs(&snapshot(&Mesh::from([(1, 1), (3, 0)])));
    }
}

#[test]
fn versions_depend_on_content_only_and_bytes_are_shared() {
    let mesh = Mesh::from([(1, 0), (2, 0)]);
    let (one, other) = (
        Published::new(&snapshot(&mesh), None),
        Published::new(&snapshot(&mesh), None),
    );
    for kind in Kind::ALL {
        assert_eq!(one.set(kind).version, other.set(kind).version);
    }
    let changed = Published::new(&snapshot(&Mesh::from([(1, 0), (2, 1)])), Some(&one));
    let entry =
        |published: &Published, name: &str| published.set(Kind::RouteConfiguration).entries[name].clone();
    assert!(Arc::ptr_eq(
        &entry(&one, "routes-1"),
        &entry(&changed, "routes-1")
    ));
    assert_ne!(
        entry(&one, "routes-2").version,
        entry(&changed, "routes-2").version
    );
    assert_ne!(one.set(Kind::Cluster).version, changed.set(Kind::Cluster).version);
    assert_eq!(one.set(Kind::Filter).entries.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, u8),
    Remove(u8),
    Reconnect,
    /// Publishes without waiting for the proxy.
    Hurry(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, any::<u8>()).prop_map(|(app, state)| Step::Change(app, state)),
        2 => (0..4u8).prop_map(Step::Remove),
        1 => proptest::strategy::Just(Step::Reconnect),
        2 => (0..4u8, any::<u8>()).prop_map(|(app, state)| Step::Hurry(app, state)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_proxy_always_ends_at_what_was_published_and_no_route_dangles(
        is_delta in any::<bool>(),
        warms in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let variant = if is_delta { AdsVariant::Delta } else { AdsVariant::StateOfTheWorld };
        let mut mesh = Mesh::new();
        let mut wire = Wire::new(variant);
        wire.warms = warms;
        for step in steps {
            match step {
                Step::Change(app, state) | Step::Hurry(app, state) => {
                    mesh.insert(app, state);
                }
                Step::Remove(app) => {
                    mesh.remove(&app);
                }
                Step::Reconnect => {
                    wire.settle(Wire::assert_no_dangling_route);
                    wire.disconnect();
                    wire.reconnect();
                }
            }
            wire.publish(&snapshot(&mesh));
            if !matches!(step, Step::Hurry(..)) {
                wire.settle(Wire::assert_no_dangling_route);
                wire.assert_runs(&snapshot(&mesh));
            }
        }
        wire.settle(Wire::assert_no_dangling_route);
        wire.assert_runs(&snapshot(&mesh));
    }
}
