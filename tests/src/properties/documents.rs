//! The control plane's documents: refused with a line, or objects that translate into what a proxy takes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use leno_control_plane::folder::document::{read_document, split};
use leno_control_plane::translate::scope::{Agent, Role, View};
use leno_control_plane::translate::{Settings, translate};
use leno_control_plane::world::World;
use leno_proxy::router::RouteTable;
use leno_xds::resource::Resource;

use super::xds::comes_back;

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut world = World::default();
    let mut namespaces = vec!["default".to_owned()];
    for (first_line, document) in split(text) {
        let before = document.as_ptr().addr() - text.as_ptr().addr();
        // Behind a marker without a line end stands a document of nothing.
        let line = text[..before].matches('\n').count() + 1;
        assert!(
            document.is_empty() || line == first_line,
            "where {document:?} begins"
        );
        match read_document(document) {
            Ok(None) => {}
            Ok(Some(object)) => {
                namespaces.push(object.id().1.namespace);
                object.insert_into(&mut world);
            }
            Err(refused) => {
                assert!(!refused.message.is_empty());
                // What is missing at the end of a document is missing behind its last line.
                let lines = document.lines().count() + 1;
                assert!(
                    (1..=lines).contains(&refused.line),
                    "line {} of {lines}: {document}",
                    refused.line
                );
            }
        }
    }
    if world == World::default() {
        return;
    }
    namespaces.dedup();
    for namespace in namespaces {
        for role in [Role::Gateway, Role::Sidecar] {
            translates(&world, role, &namespace);
        }
    }
}

fn translates(world: &World, role: Role, namespace: &str) {
    let settings = Settings {
        root_namespace: "istio-system".to_owned(),
        artifacts: SocketAddr::from((Ipv4Addr::LOCALHOST, 15011)),
        access_log: Some("/dev/stdout".into()),
    };
    // Of a proxy that as much as possible applies to.
    let selectors = world.gateways.values().map(|gateway| &gateway.spec.selector);
    let labels = selectors
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()));
    let view = View {
        role,
        agent: Agent::Leno,
        namespace: namespace.to_owned(),
        labels: labels.chain([("app".to_owned(), "shop".to_owned())]).collect(),
    };
    let translation = translate(world, &BTreeMap::new(), &view, &settings);
    assert_eq!(
        translation,
        translate(world, &BTreeMap::new(), &view, &settings),
        "not a function"
    );
    let snapshot = translation.snapshot;
    for listener in snapshot.listeners.into_values() {
        comes_back(&Resource::Listener(listener));
    }
    for cluster in snapshot.clusters.into_values() {
        comes_back(&Resource::Cluster(cluster));
    }
    for endpoints in snapshot.endpoints.into_values() {
        comes_back(&Resource::LoadAssignment(endpoints));
    }
    for routes in snapshot.routes.into_values() {
        if let Err(refusal) = RouteTable::compile(&routes) {
            panic!("no proxy takes this: {refusal}: {routes:?}");
        }
        comes_back(&Resource::RouteConfiguration(routes));
    }
}
