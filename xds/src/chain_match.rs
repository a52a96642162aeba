//! `envoy.config.listener.v3.FilterChainMatch`: which connections a filter chain takes.

use std::collections::BTreeMap;

use leno_model::invalid::Invalid;
use leno_model::listener::{ChainMatch, FilterChain, TransportProtocol};

use crate::pb::listener;
use crate::strict::Fields;
use crate::wire::{list, uint32};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[Fields {
    message: "envoy.config.listener.v3.FilterChainMatch",
    supported: &[
        "destination_port",
        "server_names",
        "transport_protocol",
        "application_protocols",
    ],
    no_effect: &[],
}];

/// From the wire.
pub(crate) fn decode(value: &listener::FilterChainMatch) -> Result<ChainMatch, Invalid> {
    let port = |port: u32| match u16::try_from(port) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(Invalid::new(
            "destination_port",
            format!("{port} is not between 1 and 65535"),
        )),
    };
    Ok(ChainMatch {
        destination_port: value
            .destination_port
            .map(|value| port(value.value))
            .transpose()?,
        server_names: list("server_names", &value.server_names, |name| server_name(name))?,
        transport: match value.transport_protocol.as_str() {
            "" => None,
            "raw_buffer" => Some(TransportProtocol::RawBuffer),
            "tls" => Some(TransportProtocol::Tls),
            other => {
                let reason =
                    format!("`{other}` is not supported by this version: `tls` and `raw_buffer` are");
                return Err(Invalid::new("transport_protocol", reason));
            }
        },
        application_protocols: list(
            "application_protocols",
            &value.application_protocols,
            |protocol| {
                if protocol.is_empty() {
                    return Err(Invalid::new("", "is empty"));
                }
                Ok(protocol.clone())
            },
        )?,
    })
}

/// To the wire; nothing where there is nothing to match.
pub(crate) fn encode(value: &ChainMatch) -> Option<listener::FilterChainMatch> {
    (*value != ChainMatch::default()).then(|| listener::FilterChainMatch {
        destination_port: value.destination_port.map(|port| uint32(port.into())),
        server_names: value.server_names.clone(),
        transport_protocol: match value.transport {
            None => String::new(),
            Some(TransportProtocol::RawBuffer) => "raw_buffer".to_owned(),
            Some(TransportProtocol::Tls) => "tls".to_owned(),
        },
        application_protocols: value.application_protocols.clone(),
        ..Default::default()
    })
}

/// TLS that is not ended here would reach an HTTP codec.
pub(crate) fn refuse_passing_on(matches: &ChainMatch, ends_tls: bool) -> Result<(), Invalid> {
    let asks = [
        ("server_names", !matches.server_names.is_empty()),
        ("application_protocols", !matches.application_protocols.is_empty()),
        (
            "transport_protocol",
            matches.transport == Some(TransportProtocol::Tls),
        ),
    ];
    match asks.iter().find(|(_, asked)| *asked) {
        Some((field, _)) if !ends_tls => Err(Invalid::new(
            *field,
            "only a chain with a TLS transport_socket can take such connections",
        )),
        _ if ends_tls && matches.transport == Some(TransportProtocol::RawBuffer) => Err(Invalid::new(
            "transport_protocol",
            "a chain with a TLS transport_socket takes no `raw_buffer` connections",
        )),
        _ => Ok(()),
    }
}

/// Two chains that take the same connection: Envoy refuses them, because the order of chains means nothing.
pub(crate) fn refuse_twins(chains: &[FilterChain]) -> Result<(), Invalid> {
    let mut taken = BTreeMap::new();
    for (index, chain) in chains.iter().enumerate() {
        let matches = &chain.matches;
        for name in or_any(&matches.server_names) {
            for protocol in or_any(&matches.application_protocols) {
                let key = (matches.destination_port, name, matches.transport, protocol);
                match taken.insert(key, index) {
                    Some(other) if other != index => {
                        let reason = format!("takes connections that [{other}] takes as well");
                        return Err(Invalid::new(format!("[{index}].filter_chain_match"), reason));
                    }
                    Some(_) | None => {}
                }
            }
        }
    }
    Ok(())
}

fn or_any(values: &[String]) -> Vec<Option<&str>> {
    if values.is_empty() {
        return vec![None];
    }
    values.iter().map(|value| Some(value.as_str())).collect()
}

/// In lower case, as names in TLS are compared.
fn server_name(name: &str) -> Result<String, Invalid> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if rest.is_empty() || rest.contains('*') {
        let reason = format!("`{name}` is neither a name nor `*.` and the end of one");
        return Err(Invalid::new("", reason));
    }
    Ok(name.to_ascii_lowercase())
}
