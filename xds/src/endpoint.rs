//! `envoy.config.endpoint.v3.ClusterLoadAssignment`.

use std::collections::BTreeMap;

use leno_model::endpoint::{Endpoint, Health, Host, LoadAssignment, Locality, LocalityEndpoints};
use leno_model::invalid::Invalid;

use crate::pb::endpoint::lb_endpoint::HostIdentifier;
use crate::pb::{core, endpoint, protobuf};
use crate::strict::Fields;
use crate::wire::{self, Within, enumeration, list, required, required_text, uint32};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment",
        supported: &["cluster_name", "endpoints"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.endpoint.v3.LocalityLbEndpoints",
        supported: &["locality", "lb_endpoints", "load_balancing_weight", "priority"],
        no_effect: &[("metadata", "it is for people and for filters of other types")],
    },
    Fields {
        message: "envoy.config.endpoint.v3.LbEndpoint",
        supported: &["endpoint", "health_status", "metadata", "load_balancing_weight"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.endpoint.v3.Endpoint",
        supported: &["address", "hostname"],
        no_effect: &[("observability_name", "statistics use the address")],
    },
    Fields {
        message: "envoy.config.core.v3.Metadata",
        supported: &["filter_metadata"],
        no_effect: &[],
    },
];

/// From the wire; addresses may still be names.
pub(crate) fn decode(assignment: &endpoint::ClusterLoadAssignment) -> Result<LoadAssignment, Invalid> {
    Ok(LoadAssignment {
        cluster: required_text("cluster_name", &assignment.cluster_name)?.to_owned(),
        localities: list("endpoints", &assignment.endpoints, decode_locality)?,
    })
}

/// From the wire, as a resource of its own: no DNS there.
pub(crate) fn decode_discovered(
    assignment: &endpoint::ClusterLoadAssignment,
) -> Result<LoadAssignment, Invalid> {
    let assignment = decode(assignment)?;
    require_addresses(&assignment)?;
    Ok(assignment)
}

/// To the wire.
pub(crate) fn encode(value: &LoadAssignment) -> endpoint::ClusterLoadAssignment {
    endpoint::ClusterLoadAssignment {
        cluster_name: value.cluster.clone(),
        endpoints: value.localities.iter().map(encode_locality).collect(),
        ..Default::default()
    }
}

/// Refuses names where nobody resolves them.
pub(crate) fn require_addresses(assignment: &LoadAssignment) -> Result<(), Invalid> {
    for (outer, locality) in assignment.localities.iter().enumerate() {
        for (inner, endpoint) in locality.endpoints.iter().enumerate() {
            if let Host::Name { name, .. } = &endpoint.address {
                let at = format!(
                    "endpoints[{outer}].lb_endpoints[{inner}].endpoint.address.socket_address.address"
                );
                let reason = format!(
                    "`{name}` is not an IP address: names need a cluster of type STRICT_DNS or LOGICAL_DNS"
                );
                return Err(Invalid::new(at, reason));
            }
        }
    }
    Ok(())
}

fn decode_locality(value: &endpoint::LocalityLbEndpoints) -> Result<LocalityEndpoints, Invalid> {
    Ok(LocalityEndpoints {
        locality: value.locality.as_ref().map(decode_place).unwrap_or_default(),
        priority: value.priority,
        weight: decode_weight(value.load_balancing_weight)?,
        endpoints: list("lb_endpoints", &value.lb_endpoints, decode_endpoint)?,
    })
}

fn encode_locality(value: &LocalityEndpoints) -> endpoint::LocalityLbEndpoints {
    endpoint::LocalityLbEndpoints {
        locality: (value.locality != Locality::default()).then(|| encode_place(&value.locality)),
        priority: value.priority,
        load_balancing_weight: value.weight.map(uint32),
        lb_endpoints: value.endpoints.iter().map(encode_endpoint).collect(),
        ..Default::default()
    }
}

/// `Locality`.
pub(crate) fn decode_place(value: &core::Locality) -> Locality {
    Locality {
        region: value.region.clone(),
        zone: value.zone.clone(),
        sub_zone: value.sub_zone.clone(),
    }
}

/// The other way.
pub(crate) fn encode_place(value: &Locality) -> core::Locality {
    core::Locality {
        region: value.region.clone(),
        zone: value.zone.clone(),
        sub_zone: value.sub_zone.clone(),
    }
}

fn decode_weight(value: Option<protobuf::UInt32Value>) -> Result<Option<u32>, Invalid> {
    match value.map(|weight| weight.value) {
        Some(0) => Err(Invalid::new("load_balancing_weight", "must be at least 1")),
        weight => Ok(weight),
    }
}

fn decode_endpoint(value: &endpoint::LbEndpoint) -> Result<Endpoint, Invalid> {
    let Some(HostIdentifier::Endpoint(inner)) = &value.host_identifier else {
        return Err(Invalid::new("endpoint", "is required"));
    };
    let address = required("address", inner.address.as_ref());
    let address = address
        .and_then(|address| wire::host(address).within("address"))
        .within("endpoint")?;
    let health = match enumeration("health_status", value.health_status)? {
        core::HealthStatus::Unknown => Health::Unknown,
        core::HealthStatus::Healthy => Health::Healthy,
        core::HealthStatus::Unhealthy | core::HealthStatus::Timeout => Health::Unhealthy,
        core::HealthStatus::Draining => Health::Draining,
        core::HealthStatus::Degraded => Health::Degraded,
    };
    Ok(Endpoint {
        address,
        hostname: inner.hostname.clone(),
        weight: decode_weight(value.load_balancing_weight)?.unwrap_or(1),
        health,
        metadata: value.metadata.as_ref().map(decode_metadata).unwrap_or_default(),
    })
}

fn encode_endpoint(value: &Endpoint) -> endpoint::LbEndpoint {
    let health = match value.health {
        Health::Unknown => core::HealthStatus::Unknown,
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
        Health::Degraded => core::HealthStatus::Degraded,
    };
    endpoint::LbEndpoint {
        health_status: health.into(),
        load_balancing_weight: (value.weight != 1).then(|| uint32(value.weight)),
        metadata: (!value.metadata.is_empty()).then(|| encode_metadata(&value.metadata)),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(wire::to_address(&value.address)),
            hostname: value.hostname.clone(),
            ..Default::default()
        })),
    }
}

/// Texts stay texts; everything else becomes its JSON.
fn decode_metadata(metadata: &core::Metadata) -> BTreeMap<String, BTreeMap<String, String>> {
    let namespaces = metadata.filter_metadata.iter().map(|(namespace, fields)| {
        let json = wire::struct_to_json(fields);
        let texts = json.as_object().into_iter().flatten().map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        });
        (namespace.clone(), texts.collect())
    });
    namespaces.collect()
}

fn encode_metadata(metadata: &BTreeMap<String, BTreeMap<String, String>>) -> core::Metadata {
    let namespaces = metadata.iter().map(|(namespace, texts)| {
        let fields = texts.iter().map(|(key, text)| {
            let kind = protobuf::value::Kind::StringValue(text.clone());
            (key.clone(), protobuf::Value { kind: Some(kind) })
        });
        let fields = protobuf::Struct {
            fields: fields.collect(),
        };
        (namespace.clone(), fields)
    });
    core::Metadata {
        filter_metadata: namespaces.collect(),
        ..Default::default()
    }
}
