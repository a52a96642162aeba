//! `envoy.config.cluster.v3.Cluster`, with the `HttpProtocolOptions` that say what it speaks.

use std::sync::Arc;

use leno_model::cluster::{Balance, Cluster, Discovery, DnsFamily, Limits};
use leno_model::endpoint::{Host, LoadAssignment};
use leno_model::invalid::Invalid;

use crate::pb::cluster::circuit_breakers::Thresholds;
use crate::pb::cluster::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbConfig, LbPolicy,
    LeastRequestLbConfig,
};
use crate::pb::{cluster, core, protobuf};
use crate::strict::Fields;
use crate::wire::{self, Within, enumeration, required, required_text, uint32};
use crate::{endpoint, tls, upstream_protocol};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.cluster.v3.Cluster",
        supported: &[
            "name",
            "type",
            "eds_cluster_config",
            "connect_timeout",
            "lb_policy",
            "least_request_lb_config",
            "load_assignment",
            "circuit_breakers",
            "typed_extension_protocol_options",
            "http_protocol_options",
            "http2_protocol_options",
            "common_http_protocol_options",
            "max_requests_per_connection",
            "dns_lookup_family",
            "transport_socket",
        ],
        no_effect: &[
            ("alt_stat_name", "statistics use the name of the cluster"),
            ("metadata", "it is for people and for filters of other types"),
            (
                "ignore_health_on_host_removal",
                "an endpoint that discovery removed gets nothing new in any case",
            ),
            (
                "per_connection_buffer_limit_bytes",
                "the buffers of both sides follow the listener's limit",
            ),
        ],
    },
    Fields {
        message: "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
        supported: &["eds_config", "service_name"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
        supported: &["choice_count"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.cluster.v3.CircuitBreakers",
        supported: &["thresholds"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
        supported: &[
            "priority",
            "max_connections",
            "max_pending_requests",
            "max_requests",
            "max_retries",
        ],
        no_effect: &[(
            "track_remaining",
            "what remains can be had from the limit and the gauge beside it",
        )],
    },
];

/// From the wire.
#[allow(
    deprecated,
    reason = "users still write the protocol options of older versions"
)]
pub(crate) fn decode(value: &cluster::Cluster) -> Result<Cluster, Invalid> {
    let name = required_text("name", &value.name)?;
    let mut cluster = Cluster::new(name, decode_discovery(value)?);
    let protocol = upstream_protocol::decode(value)?;
    let common = protocol.common.unwrap_or_default();
    if common.max_headers_count.is_some() {
        let path = "common_http_protocol_options.max_headers_count";
        return Err(Invalid::new(path, "not supported by this version on a cluster"));
    }
    let per_connection = common
        .max_requests_per_connection
        .or(value.max_requests_per_connection);
    cluster.balance = decode_balance(value)?;
    cluster.connect_timeout =
        wire::positive("connect_timeout", value.connect_timeout.as_ref())?.unwrap_or(cluster.connect_timeout);
    cluster.protocol = protocol.spoken.unwrap_or(cluster.protocol);
    cluster.h1_trailers = protocol.h1_trailers;
    cluster.idle_timeout = wire::timeout("idle_timeout", common.idle_timeout.as_ref(), cluster.idle_timeout)
        .within("common_http_protocol_options")?;
    // Zero means no bound, as in Envoy.
    cluster.max_requests_per_connection = per_connection
        .map(|requests| requests.value)
        .filter(|requests| *requests > 0);
    cluster.limits = decode_limits(value.circuit_breakers.as_ref()).within("circuit_breakers")?;
    cluster.dns_family = match enumeration("dns_lookup_family", value.dns_lookup_family)? {
        DnsLookupFamily::Auto => DnsFamily::Auto,
        DnsLookupFamily::V4Only => DnsFamily::V4Only,
        DnsLookupFamily::V6Only => DnsFamily::V6Only,
        DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
        DnsLookupFamily::All => DnsFamily::All,
    };
    cluster.tls = tls::upstream(value.transport_socket.as_ref())?.map(Arc::new);
    Ok(cluster)
}

/// To the wire.
pub(crate) fn encode(value: &Cluster) -> cluster::Cluster {
    let (kind, load_assignment, eds) = match &value.discovery {
        Discovery::Static(assignment) => (DiscoveryType::Static, Some(assignment), None),
        Discovery::StrictDns(assignment) => (DiscoveryType::StrictDns, Some(assignment), None),
        Discovery::LogicalDns(assignment) => (DiscoveryType::LogicalDns, Some(assignment), None),
        Discovery::Eds(service) => (DiscoveryType::Eds, None, Some(service)),
    };
    let (policy, config) = match value.balance {
        Balance::RoundRobin => (LbPolicy::RoundRobin, None),
        Balance::Random => (LbPolicy::Random, None),
        Balance::LeastRequest { choices } => {
            let config = LeastRequestLbConfig {
                choice_count: Some(uint32(choices)),
                ..Default::default()
            };
            (
                LbPolicy::LeastRequest,
                Some(LbConfig::LeastRequestLbConfig(config)),
            )
        }
    };
    let family = match value.dns_family {
        DnsFamily::Auto => DnsLookupFamily::Auto,
        DnsFamily::V4Only => DnsLookupFamily::V4Only,
        DnsFamily::V6Only => DnsLookupFamily::V6Only,
        DnsFamily::V4Preferred => DnsLookupFamily::V4Preferred,
        DnsFamily::All => DnsLookupFamily::All,
    };
    cluster::Cluster {
        name: value.name.clone(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        eds_cluster_config: eds.map(|service| EdsClusterConfig {
            eds_config: Some(wire::to_ads()),
            service_name: if *service == value.name {
                String::new()
            } else {
                service.clone()
            },
        }),
        connect_timeout: Some(wire::to_duration(value.connect_timeout)),
        lb_policy: policy.into(),
        lb_config: config,
        load_assignment: load_assignment.map(|assignment| endpoint::encode(assignment)),
        circuit_breakers: (value.limits != Limits::default()).then(|| encode_limits(value.limits)),
        typed_extension_protocol_options: upstream_protocol::encode(value),
        dns_lookup_family: family.into(),
        transport_socket: value.tls.as_ref().map(|tls| tls::from_upstream(tls)),
        ..Default::default()
    }
}

fn decode_discovery(value: &cluster::Cluster) -> Result<Discovery, Invalid> {
    let kind = match &value.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(number)) => enumeration("type", *number)?,
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            return Err(Invalid::new("cluster_type", "not supported by this version"));
        }
    };
    if kind == DiscoveryType::Eds {
        if value.load_assignment.is_some() {
            return Err(Invalid::new(
                "load_assignment",
                "a cluster of type EDS takes none",
            ));
        }
        return decode_eds(value).within("eds_cluster_config");
    }
    if value.eds_cluster_config.is_some() {
        return Err(Invalid::new(
            "eds_cluster_config",
            "only a cluster of type EDS takes it",
        ));
    }
    if kind == DiscoveryType::Static && value.load_assignment.is_none() {
        // As in Envoy: a cluster that nobody can be asked of.
        let nobody = LoadAssignment {
            cluster: value.name.clone(),
            ..LoadAssignment::default()
        };
        return Ok(Discovery::Static(Arc::new(nobody)));
    }
    let assignment = || {
        let assignment = required("load_assignment", value.load_assignment.as_ref())?;
        endpoint::decode(assignment).within("load_assignment")
    };
    match kind {
        DiscoveryType::Static => {
            let assignment = assignment()?;
            endpoint::require_addresses(&assignment).within("load_assignment")?;
            Ok(Discovery::Static(Arc::new(assignment)))
        }
        DiscoveryType::StrictDns => Ok(Discovery::StrictDns(Arc::new(assignment()?))),
        DiscoveryType::LogicalDns => {
            let assignment = assignment()?;
            require_one_name(&assignment).within("load_assignment")?;
            Ok(Discovery::LogicalDns(Arc::new(assignment)))
        }
        DiscoveryType::OriginalDst => Err(Invalid::new(
            "type",
            "ORIGINAL_DST is not supported by this version",
        )),
        DiscoveryType::Eds => decode_eds(value).within("eds_cluster_config"),
    }
}

fn decode_eds(value: &cluster::Cluster) -> Result<Discovery, Invalid> {
    let eds = required("", value.eds_cluster_config.as_ref())?;
    wire::ads(eds.eds_config.as_ref()).within("eds_config")?;
    Ok(Discovery::Eds(match eds.service_name.as_str() {
        "" => value.name.clone(),
        service => service.to_owned(),
    }))
}

fn require_one_name(assignment: &LoadAssignment) -> Result<(), Invalid> {
    let endpoints = assignment
        .localities
        .iter()
        .flat_map(|locality| &locality.endpoints);
    let hosts: Vec<&Host> = endpoints.map(|endpoint| &endpoint.address).collect();
    if hosts.len() == 1 {
        return Ok(());
    }
    let reason = format!("LOGICAL_DNS takes exactly one endpoint, found {}", hosts.len());
    Err(Invalid::new("endpoints", reason))
}

fn decode_balance(value: &cluster::Cluster) -> Result<Balance, Invalid> {
    let policy = enumeration("lb_policy", value.lb_policy)?;
    let choices = match &value.lb_config {
        None => None,
        Some(LbConfig::LeastRequestLbConfig(config)) if policy == LbPolicy::LeastRequest => {
            config.choice_count.map(|count| count.value)
        }
        Some(_) => {
            return Err(Invalid::new(
                "lb_policy",
                "the `..._lb_config` given is not of this policy",
            ));
        }
    };
    match policy {
        LbPolicy::RoundRobin => Ok(Balance::RoundRobin),
        LbPolicy::Random => Ok(Balance::Random),
        LbPolicy::LeastRequest => match choices.unwrap_or(2) {
            choices @ 2.. => Ok(Balance::LeastRequest { choices }),
            _ => Err(Invalid::new(
                "least_request_lb_config.choice_count",
                "must be at least 2",
            )),
        },
        LbPolicy::RingHash
        | LbPolicy::Maglev
        | LbPolicy::ClusterProvided
        | LbPolicy::LoadBalancingPolicyConfig => {
            let reason = format!("{} is not supported by this version", policy.as_str_name());
            Err(Invalid::new("lb_policy", reason))
        }
    }
}

fn decode_limits(breakers: Option<&cluster::CircuitBreakers>) -> Result<Limits, Invalid> {
    let mut limits = Limits::default();
    let thresholds = breakers.map_or(&[][..], |breakers| &breakers.thresholds);
    for (index, threshold) in thresholds.iter().enumerate() {
        let path = format!("thresholds[{index}].priority");
        if enumeration::<core::RoutingPriority>(&path, threshold.priority)? != core::RoutingPriority::Default
        {
            return Err(Invalid::new(path, "only DEFAULT is supported by this version"));
        }
        let set = |value: Option<protobuf::UInt32Value>, limit: &mut u32| {
            *limit = value.map_or(*limit, |value| value.value);
        };
        set(threshold.max_connections, &mut limits.max_connections);
        set(threshold.max_pending_requests, &mut limits.max_pending_requests);
        set(threshold.max_requests, &mut limits.max_requests);
        set(threshold.max_retries, &mut limits.max_retries);
    }
    Ok(limits)
}

fn encode_limits(limits: Limits) -> cluster::CircuitBreakers {
    cluster::CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: Some(uint32(limits.max_connections)),
            max_pending_requests: Some(uint32(limits.max_pending_requests)),
            max_requests: Some(uint32(limits.max_requests)),
            max_retries: Some(uint32(limits.max_retries)),
            ..Default::default()
        }],
        ..Default::default()
    }
}
