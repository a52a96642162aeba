//! What a cluster speaks: `HttpProtocolOptions` as an extension, or the fields of older versions.

use std::collections::HashMap;
use std::time::Duration;

use leno_model::cluster::{Cluster, UpstreamProtocol};
use leno_model::invalid::Invalid;

use crate::descriptors::{pack, unpack};
use crate::pb::upstream_http::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};
use crate::pb::{cluster, core, protobuf, upstream_http};
use crate::strict::Fields;
use crate::wire::{self, Within, required, uint32};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        supported: &[
            "common_http_protocol_options",
            "explicit_http_config",
            "use_downstream_protocol_config",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
        supported: &["http_protocol_options", "http2_protocol_options"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
        supported: &["http_protocol_options", "http2_protocol_options"],
        no_effect: &[],
    },
];

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What the two homes of protocol options say.
#[derive(Default)]
pub(crate) struct Protocol {
    pub(crate) spoken: Option<UpstreamProtocol>,
    pub(crate) common: Option<core::HttpProtocolOptions>,
    pub(crate) h1_trailers: bool,
}

/// The options as an extension, or those of older versions in the cluster itself; not both, as in Envoy.
#[allow(
    deprecated,
    reason = "users still write the protocol options of older versions"
)]
pub(crate) fn decode(value: &cluster::Cluster) -> Result<Protocol, Invalid> {
    let mut protocol = Protocol {
        spoken: match (&value.http2_protocol_options, &value.http_protocol_options) {
            (Some(options), None) => {
                refuse_http2_options(options).within("http2_protocol_options")?;
                Some(UpstreamProtocol::Http2)
            }
            (None, Some(options)) => {
                refuse_http1_options(options).within("http_protocol_options")?;
                Some(UpstreamProtocol::Http1)
            }
            (None, None) => None,
            (Some(_), Some(_)) => {
                let reason = "only one of it and `http_protocol_options` may be set";
                return Err(Invalid::new("http2_protocol_options", reason));
            }
        },
        common: value.common_http_protocol_options,
        h1_trailers: enables_trailers(value.http_protocol_options.as_ref()),
    };
    let mut names: Vec<&String> = value.typed_extension_protocol_options.keys().collect();
    names.sort();
    for name in names {
        let path = format!("typed_extension_protocol_options[\"{name}\"]");
        let options =
            match unpack::<upstream_http::HttpProtocolOptions>(&value.typed_extension_protocol_options[name])
                .within(&path)?
            {
                Some(options) if name == HTTP_OPTIONS => options,
                Some(_) | None => return Err(Invalid::new(path, "not supported by this version")),
            };
        if protocol.spoken.is_some() || protocol.common.is_some() {
            return Err(Invalid::new(
                path,
                "the cluster itself holds protocol options too: give one of them",
            ));
        }
        protocol = decode_options(options).within(&path)?;
    }
    Ok(protocol)
}

fn enables_trailers(options: Option<&core::Http1ProtocolOptions>) -> bool {
    options.is_some_and(|options| options.enable_trailers)
}

fn decode_options(options: upstream_http::HttpProtocolOptions) -> Result<Protocol, Invalid> {
    let mut h1_trailers = false;
    let spoken = match required("", options.upstream_protocol_options.as_ref())? {
        UpstreamProtocolOptions::ExplicitHttpConfig(explicit) => {
            match required("explicit_http_config", explicit.protocol_config.as_ref())? {
                ProtocolConfig::HttpProtocolOptions(options) => {
                    refuse_http1_options(options).within("explicit_http_config.http_protocol_options")?;
                    h1_trailers = options.enable_trailers;
                    UpstreamProtocol::Http1
                }
                ProtocolConfig::Http2ProtocolOptions(options) => {
                    refuse_http2_options(options).within("explicit_http_config.http2_protocol_options")?;
                    UpstreamProtocol::Http2
                }
                ProtocolConfig::Http3ProtocolOptions(_) => {
                    let path = "explicit_http_config.http3_protocol_options";
                    return Err(Invalid::new(path, "not supported by this version"));
                }
            }
        }
        UpstreamProtocolOptions::UseDownstreamProtocolConfig(downstream) => {
            let http1 = downstream
                .http_protocol_options
                .as_ref()
                .map(refuse_http1_options);
            http1
                .transpose()
                .within("use_downstream_protocol_config.http_protocol_options")?;
            let http2 = downstream
                .http2_protocol_options
                .as_ref()
                .map(refuse_http2_options);
            http2
                .transpose()
                .within("use_downstream_protocol_config.http2_protocol_options")?;
            h1_trailers = enables_trailers(downstream.http_protocol_options.as_ref());
            UpstreamProtocol::Downstream
        }
        UpstreamProtocolOptions::AutoConfig(_) => {
            return Err(Invalid::new("auto_config", "not supported by this version"));
        }
    };
    Ok(Protocol {
        spoken: Some(spoken),
        common: options.common_http_protocol_options,
        h1_trailers,
    })
}

/// What a listener honours of these is not honoured on a cluster.
fn refuse_http1_options(options: &core::Http1ProtocolOptions) -> Result<(), Invalid> {
    if options.accept_http_10 {
        return Err(Invalid::new("accept_http_10", "has no meaning on a cluster"));
    }
    Ok(())
}

/// What a listener honours of these is not honoured on a cluster.
fn refuse_http2_options(options: &core::Http2ProtocolOptions) -> Result<(), Invalid> {
    let set = [
        ("max_concurrent_streams", options.max_concurrent_streams.is_some()),
        (
            "initial_stream_window_size",
            options.initial_stream_window_size.is_some(),
        ),
        (
            "initial_connection_window_size",
            options.initial_connection_window_size.is_some(),
        ),
    ];
    match set.iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(Invalid::new(*field, "not supported by this version on a cluster")),
        None => Ok(()),
    }
}

/// To the wire.
pub(crate) fn encode(value: &Cluster) -> HashMap<String, protobuf::Any> {
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let http1 = core::Http1ProtocolOptions {
        enable_trailers: value.h1_trailers,
        ..Default::default()
    };
    let spoken = match value.protocol {
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(http1)),
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(Default::default())),
        UpstreamProtocol::Downstream => {
            UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                http_protocol_options: Some(http1),
                http2_protocol_options: Some(Default::default()),
                ..Default::default()
            })
        }
    };
    let options = pack(&upstream_http::HttpProtocolOptions {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: Some(wire::to_duration(value.idle_timeout.unwrap_or(Duration::ZERO))),
            max_requests_per_connection: value.max_requests_per_connection.map(uint32),
            ..Default::default()
        }),
        upstream_protocol_options: Some(spoken),
        ..Default::default()
    });
    HashMap::from([(HTTP_OPTIONS.to_owned(), options)])
}
