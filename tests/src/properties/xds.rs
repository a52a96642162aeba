//! Resources of every kind, from bytes and from text: refused with a reason, or a value that is the same after another
//! trip over bytes and over YAML.

use leno_proxy::router::RouteTable;
use leno_xds::codec;
use leno_xds::resource::{Kind, Resource};

pub(super) fn bytes(input: &[u8]) {
    for kind in Kind::ALL {
        match codec::decode(kind, kind.type_url(), input) {
            Ok(resource) => {
                comes_back(&resource);
                assert_eq!(codec::name(kind, input).unwrap_or_default(), resource.name());
            }
            Err(refusal) => assert!(!refusal.reason.is_empty(), "{refusal:?}"),
        }
    }
}

pub(super) fn text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for kind in Kind::ALL {
        match codec::from_yaml(kind, text) {
            Ok(resource) => comes_back(&resource),
            Err(refusal) => assert!(!refusal.reason.is_empty(), "{refusal:?}"),
        }
    }
}

/// Over bytes and over YAML. (The bytes may differ: maps of protobuf have no order.)
pub(super) fn comes_back(resource: &Resource) {
    let (type_url, bytes) = codec::encode(resource);
    let again = codec::decode(resource.kind(), type_url, &bytes);
    let again = again.unwrap_or_else(|refusal| panic!("{refusal}: {resource:?}"));
    assert_eq!(*resource, again);
    assert_eq!(
        codec::name(resource.kind(), &bytes).unwrap_or_default(),
        resource.name()
    );
    let yaml = codec::to_yaml(resource).unwrap_or_else(|refusal| panic!("{refusal}: {resource:?}"));
    let again = codec::from_yaml(resource.kind(), &yaml);
    let again = again.unwrap_or_else(|refusal| panic!("{refusal}:\n{yaml}"));
    assert_eq!(*resource, again, "\n{yaml}");
    if let Resource::RouteConfiguration(config) = resource {
        // Refused or taken; what matters is that it ends.
        RouteTable::compile(config).map_or_else(
            |refusal| assert!(!refusal.reason.is_empty(), "{refusal:?}"),
            |table| assert_eq!(table.name(), config.name),
        );
    }
}
