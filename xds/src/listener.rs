//! `envoy.config.listener.v3.Listener`.

use std::sync::Arc;

use leno_model::endpoint::Host;
use leno_model::invalid::Invalid;
use leno_model::listener::{ChainMatch, Direction, FilterChain, Listener, NetworkFilter};

use crate::descriptors::{self, pack, unpack};
use crate::pb::listener::filter::ConfigType;
use crate::pb::listener::listener_filter;
use crate::pb::{core, hcm, listener, tls_inspector};
use crate::strict::Fields;
use crate::wire::{self, Within, enumeration, list, required, uint32};
use crate::{access_log, chain_match, http, tls};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.listener.v3.Listener",
        supported: &[
            "name",
            "address",
            "filter_chains",
            "default_filter_chain",
            "listener_filters",
            "listener_filters_timeout",
            "stat_prefix",
            "traffic_direction",
            "per_connection_buffer_limit_bytes",
            "access_log",
        ],
        no_effect: &[
            (
                "enable_reuse_port",
                "every worker has a socket of its own in any case",
            ),
            ("reuse_port", "every worker has a socket of its own in any case"),
            ("metadata", "it is for people and for filters of other types"),
        ],
    },
    Fields {
        message: "envoy.config.listener.v3.FilterChain",
        supported: &[
            "name",
            "filter_chain_match",
            "filters",
            "transport_socket",
            "transport_socket_connect_timeout",
        ],
        no_effect: &[("metadata", "it is for people and for filters of other types")],
    },
    Fields {
        message: "envoy.config.listener.v3.ListenerFilter",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        supported: &[],
        no_effect: &[(
            "initial_read_buffer_size",
            "the first bytes are read into a buffer of the right size in any case",
        )],
    },
    Fields {
        message: "envoy.config.listener.v3.Filter",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
];

/// From the wire. A listener without a name is called by its address.
pub(crate) fn decode(listener: &listener::Listener) -> Result<Listener, Invalid> {
    let address = required("address", listener.address.as_ref())?;
    let address = wire::socket(address).within("address")?;
    let name = match listener.name.as_str() {
        "" => address.to_string(),
        name => name.to_owned(),
    };
    let filter_chains = list("filter_chains", &listener.filter_chains, decode_chain)?;
    chain_match::refuse_twins(&filter_chains).within("filter_chains")?;
    let default = listener.default_filter_chain.as_ref();
    let default_filter_chain = default
        .map(decode_default)
        .transpose()
        .within("default_filter_chain")?;
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        return Err(Invalid::new("filter_chains", "at least one is required"));
    }
    let direction = match enumeration("traffic_direction", listener.traffic_direction)? {
        core::TrafficDirection::Unspecified => Direction::Unspecified,
        core::TrafficDirection::Inbound => Direction::Inbound,
        core::TrafficDirection::Outbound => Direction::Outbound,
    };
    Ok(Listener {
        name,
        address,
        filter_chains,
        default_filter_chain,
        inspects_tls: !list("listener_filters", &listener.listener_filters, decode_inspector)?.is_empty(),
        inspect_timeout: wire::timeout(
            "listener_filters_timeout",
            listener.listener_filters_timeout.as_ref(),
            Some(Listener::INSPECT_TIMEOUT),
        )?,
        stat_prefix: listener.stat_prefix.clone(),
        direction,
        per_connection_buffer_limit: listener
            .per_connection_buffer_limit_bytes
            .map_or(Listener::BUFFER_LIMIT, |limit| limit.value),
        access_log: list("access_log", &listener.access_log, access_log::decode)?,
    })
}

/// To the wire.
pub(crate) fn encode(value: &Listener) -> listener::Listener {
    let direction = match value.direction {
        Direction::Unspecified => core::TrafficDirection::Unspecified,
        Direction::Inbound => core::TrafficDirection::Inbound,
        Direction::Outbound => core::TrafficDirection::Outbound,
    };
    listener::Listener {
        name: value.name.clone(),
        address: Some(wire::to_address(&Host::Socket(value.address))),
        stat_prefix: value.stat_prefix.clone(),
        filter_chains: value.filter_chains.iter().map(encode_chain).collect(),
        default_filter_chain: value.default_filter_chain.as_ref().map(encode_chain),
        listener_filters: value.inspects_tls.then(encode_inspector).into_iter().collect(),
        listener_filters_timeout: wire::to_timeout(value.inspect_timeout),
        per_connection_buffer_limit_bytes: Some(uint32(value.per_connection_buffer_limit)),
        traffic_direction: direction.into(),
        access_log: value.access_log.iter().map(access_log::encode).collect(),
        ..Default::default()
    }
}

fn decode_chain(chain: &listener::FilterChain) -> Result<FilterChain, Invalid> {
    let matches = chain_match::decode(&chain.filter_chain_match.clone().unwrap_or_default())
        .within("filter_chain_match")?;
    let tls = tls::downstream(chain.transport_socket.as_ref())?;
    chain_match::refuse_passing_on(&matches, tls.is_some()).within("filter_chain_match")?;
    let [filter] = chain.filters.as_slice() else {
        let reason = format!(
            "exactly one is supported by this version, found {}",
            chain.filters.len()
        );
        return Err(Invalid::new("filters", reason));
    };
    Ok(FilterChain {
        name: chain.name.clone(),
        matches,
        tls: tls.map(Arc::new),
        handshake_timeout: wire::timeout(
            "transport_socket_connect_timeout",
            chain.transport_socket_connect_timeout.as_ref(),
            None,
        )?,
        network: decode_filter(filter).within("filters[0]")?,
    })
}

/// It takes what is left over, so there is nothing to match.
fn decode_default(chain: &listener::FilterChain) -> Result<FilterChain, Invalid> {
    let decoded = decode_chain(chain)?;
    if decoded.matches != ChainMatch::default() {
        return Err(Invalid::new(
            "filter_chain_match",
            "has no meaning on the default chain",
        ));
    }
    Ok(decoded)
}

fn encode_chain(chain: &FilterChain) -> listener::FilterChain {
    let NetworkFilter::Http(manager) = &chain.network;
    listener::FilterChain {
        name: chain.name.clone(),
        filter_chain_match: chain_match::encode(&chain.matches),
        transport_socket: chain.tls.as_ref().map(|tls| tls::from_downstream(tls)),
        transport_socket_connect_timeout: chain.handshake_timeout.map(wire::to_duration),
        filters: vec![listener::Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack(&http::encode(manager)))),
        }],
        ..Default::default()
    }
}

/// The one listener filter that there is. What its settings are for happens here in any case.
fn decode_inspector(filter: &listener::ListenerFilter) -> Result<(), Invalid> {
    let Some(listener_filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(Invalid::new("typed_config", "is required"));
    };
    match unpack::<tls_inspector::TlsInspector>(any).within("typed_config")? {
        Some(_) => Ok(()),
        None => {
            let name = descriptors::name_in_url(&any.type_url)?;
            let reason = format!("type `{name}` is not supported by this version as a listener filter");
            Err(Invalid::new("typed_config", reason))
        }
    }
}

fn encode_inspector() -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack(
            &tls_inspector::TlsInspector::default(),
        ))),
        ..Default::default()
    }
}

fn decode_filter(filter: &listener::Filter) -> Result<NetworkFilter, Invalid> {
    let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(Invalid::new("typed_config", "is required"));
    };
    match unpack::<hcm::HttpConnectionManager>(any).within("typed_config")? {
        Some(manager) => {
            let manager = http::decode(&manager).within("typed_config")?;
            Ok(NetworkFilter::Http(Arc::new(manager)))
        }
        None => {
            let name = descriptors::name_in_url(&any.type_url)?;
            let reason = format!("type `{name}` is not supported by this version as a network filter");
            Err(Invalid::new("typed_config", reason))
        }
    }
}
