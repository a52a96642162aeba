//! `envoy.config.listener.v3.Listener`.

use std::sync::Arc;

use leno_model::endpoint::Host;
use leno_model::invalid::Invalid;
use leno_model::listener::{Direction, FilterChain, Listener, NetworkFilter};

use crate::descriptors::{self, pack, unpack};
use crate::pb::listener::filter::ConfigType;
use crate::pb::{core, hcm, listener};
use crate::strict::Fields;
use crate::wire::{self, Within, enumeration, list, required, uint32};
use crate::{access_log, http};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.listener.v3.Listener",
        supported: &[
            "name",
            "address",
            "filter_chains",
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
        supported: &["name", "filters", "transport_socket"],
        no_effect: &[("metadata", "it is for people and for filters of other types")],
    },
    Fields {
        message: "envoy.config.listener.v3.Filter",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
];

/// Envoy's default soft limit.
const DEFAULT_BUFFER_LIMIT: u32 = 1 << 20;

/// From the wire. A listener without a name is called by its address.
pub(crate) fn decode(listener: &listener::Listener) -> Result<Listener, Invalid> {
    let address = required("address", listener.address.as_ref())?;
    let address = wire::socket(address).within("address")?;
    let name = match listener.name.as_str() {
        "" => address.to_string(),
        name => name.to_owned(),
    };
    let filter_chains = list("filter_chains", &listener.filter_chains, decode_chain)?;
    if filter_chains.len() != 1 {
        let reason = format!(
            "exactly one is supported by this version, found {}",
            filter_chains.len()
        );
        return Err(Invalid::new("filter_chains", reason));
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
        stat_prefix: listener.stat_prefix.clone(),
        direction,
        per_connection_buffer_limit: listener
            .per_connection_buffer_limit_bytes
            .map_or(DEFAULT_BUFFER_LIMIT, |limit| limit.value),
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
        per_connection_buffer_limit_bytes: Some(uint32(value.per_connection_buffer_limit)),
        traffic_direction: direction.into(),
        access_log: value.access_log.iter().map(access_log::encode).collect(),
        ..Default::default()
    }
}

fn decode_chain(chain: &listener::FilterChain) -> Result<FilterChain, Invalid> {
    wire::plain_socket(chain.transport_socket.as_ref())?;
    let [filter] = chain.filters.as_slice() else {
        let reason = format!(
            "exactly one is supported by this version, found {}",
            chain.filters.len()
        );
        return Err(Invalid::new("filters", reason));
    };
    Ok(FilterChain {
        name: chain.name.clone(),
        network: decode_filter(filter).within("filters[0]")?,
    })
}

fn encode_chain(chain: &FilterChain) -> listener::FilterChain {
    let NetworkFilter::Http(manager) = &chain.network;
    listener::FilterChain {
        name: chain.name.clone(),
        filters: vec![listener::Filter {
            name: "envoy.filters.network.http_connection_manager".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack(&http::encode(manager)))),
        }],
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
