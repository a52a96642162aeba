//! `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.

use std::collections::BTreeSet;
use std::sync::Arc;

use leno_model::filter::{FilterConfig, FilterSource, HttpFilter};
use leno_model::http::{Codec, HttpConnectionManager, RouteSource, ServerHeader};
use leno_model::invalid::Invalid;

use crate::pb::hcm::http_connection_manager::{CodecType, RouteSpecifier, ServerHeaderTransformation};
use crate::pb::{core, hcm};
use crate::strict::Fields;
use crate::wire::{self, Within, boolean, enumeration, list, required_text, timeout, to_timeout, uint32};
use crate::{access_log, filter, route};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        supported: &[
            "codec_type",
            "stat_prefix",
            "rds",
            "route_config",
            "http_filters",
            "access_log",
            "common_http_protocol_options",
            "http_protocol_options",
            "http2_protocol_options",
            "server_name",
            "server_header_transformation",
            "max_request_headers_kb",
            "stream_idle_timeout",
            "request_timeout",
            "request_headers_timeout",
            "drain_timeout",
            "use_remote_address",
            "xff_num_trusted_hops",
            "generate_request_id",
            "preserve_external_request_id",
            "normalize_path",
            "merge_slashes",
            "via",
            "request_id_extension",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        supported: &["config_source", "route_config_name"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
        supported: &["typed_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        supported: &[],
        no_effect: &[
            ("pack_trace_reason", "there is no tracing decision to pack"),
            (
                "use_request_id_for_trace_sampling",
                "there is no tracing decision to take",
            ),
        ],
    },
    Fields {
        message: "envoy.config.core.v3.HttpProtocolOptions",
        supported: &["idle_timeout", "max_headers_count", "max_requests_per_connection"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.Http1ProtocolOptions",
        supported: &["accept_http_10", "enable_trailers"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.Http2ProtocolOptions",
        supported: &[
            "max_concurrent_streams",
            "initial_stream_window_size",
            "initial_connection_window_size",
        ],
        no_effect: &[],
    },
];

/// From the wire.
pub(crate) fn decode(manager: &hcm::HttpConnectionManager) -> Result<HttpConnectionManager, Invalid> {
    let defaults = HttpConnectionManager::default();
    let common = manager.common_http_protocol_options.unwrap_or_default();
    let http1 = manager.http_protocol_options.as_ref();
    let http2 = manager.http2_protocol_options.clone().unwrap_or_default();
    if common.max_requests_per_connection.is_some() {
        return Err(Invalid::new(
            "common_http_protocol_options.max_requests_per_connection",
            "not supported by this version on a listener",
        ));
    }
    let idle_timeout = timeout(
        "idle_timeout",
        common.idle_timeout.as_ref(),
        defaults.idle_timeout,
    )
    .within("common_http_protocol_options")?;
    let stream_idle_timeout = &manager.stream_idle_timeout;
    let headers_timeout = &manager.request_headers_timeout;
    Ok(HttpConnectionManager {
        codec: decode_codec(manager.codec_type)?,
        stat_prefix: required_text("stat_prefix", &manager.stat_prefix)?.to_owned(),
        routes: decode_routes(manager.route_specifier.as_ref())?,
        filters: decode_filters(&manager.http_filters)?,
        access_log: list("access_log", &manager.access_log, access_log::decode)?,
        idle_timeout,
        stream_idle_timeout: timeout(
            "stream_idle_timeout",
            stream_idle_timeout.as_ref(),
            defaults.stream_idle_timeout,
        )?,
        request_timeout: timeout("request_timeout", manager.request_timeout.as_ref(), None)?,
        request_headers_timeout: timeout("request_headers_timeout", headers_timeout.as_ref(), None)?,
        drain_timeout: wire::duration("drain_timeout", manager.drain_timeout.as_ref())?
            .unwrap_or(defaults.drain_timeout),
        max_request_headers_bytes: decode_headers_limit(manager, defaults.max_request_headers_bytes)?,
        max_request_headers_count: common
            .max_headers_count
            .map_or(defaults.max_request_headers_count, |count| count.value),
        max_concurrent_streams: http2
            .max_concurrent_streams
            .map_or(defaults.max_concurrent_streams, |streams| streams.value),
        initial_stream_window: window("initial_stream_window_size", http2.initial_stream_window_size)?
            .unwrap_or(defaults.initial_stream_window),
        initial_connection_window: window(
            "initial_connection_window_size",
            http2.initial_connection_window_size,
        )?
        .unwrap_or(defaults.initial_connection_window),
        accept_http_10: http1.is_some_and(|options| options.accept_http_10),
        h1_trailers: http1.is_some_and(|options| options.enable_trailers),
        server_name: match manager.server_name.as_str() {
            "" => defaults.server_name,
            name => name.to_owned(),
        },
        server_header: match enumeration(
            "server_header_transformation",
            manager.server_header_transformation,
        )? {
            ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
        },
        use_remote_address: manager.use_remote_address.is_some_and(|yes| yes.value),
        xff_trusted_hops: manager.xff_num_trusted_hops,
        generate_request_id: manager.generate_request_id.is_none_or(|yes| yes.value),
        preserve_external_request_id: manager.preserve_external_request_id,
        normalize_path: manager.normalize_path.is_some_and(|yes| yes.value),
        merge_slashes: manager.merge_slashes,
        via: manager.via.clone(),
    })
}

/// To the wire.
pub(crate) fn encode(value: &HttpConnectionManager) -> hcm::HttpConnectionManager {
    let codec = match value.codec {
        Codec::Auto => CodecType::Auto,
        Codec::Http1 => CodecType::Http1,
        Codec::Http2 => CodecType::Http2,
    };
    let server_header = match value.server_header {
        ServerHeader::Overwrite => ServerHeaderTransformation::Overwrite,
        ServerHeader::AppendIfAbsent => ServerHeaderTransformation::AppendIfAbsent,
        ServerHeader::PassThrough => ServerHeaderTransformation::PassThrough,
    };
    let routes = match &value.routes {
        RouteSource::Inline(routes) => RouteSpecifier::RouteConfig(route::encode(routes)),
        RouteSource::Discovered(name) => RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(wire::to_ads()),
            route_config_name: name.clone(),
        }),
    };
    hcm::HttpConnectionManager {
        codec_type: codec.into(),
        stat_prefix: value.stat_prefix.clone(),
        route_specifier: Some(routes),
        http_filters: value.filters.iter().map(filter::encode_entry).collect(),
        access_log: value.access_log.iter().map(access_log::encode).collect(),
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: to_timeout(value.idle_timeout),
            max_headers_count: Some(uint32(value.max_request_headers_count)),
            ..Default::default()
        }),
        http_protocol_options: (value.accept_http_10 || value.h1_trailers).then(|| {
            core::Http1ProtocolOptions {
                accept_http_10: value.accept_http_10,
                enable_trailers: value.h1_trailers,
                ..Default::default()
            }
        }),
        http2_protocol_options: Some(core::Http2ProtocolOptions {
            max_concurrent_streams: Some(uint32(value.max_concurrent_streams)),
            initial_stream_window_size: Some(uint32(value.initial_stream_window)),
            initial_connection_window_size: Some(uint32(value.initial_connection_window)),
            ..Default::default()
        }),
        server_name: value.server_name.clone(),
        server_header_transformation: server_header.into(),
        max_request_headers_kb: Some(uint32(value.max_request_headers_bytes >> 10)),
        stream_idle_timeout: to_timeout(value.stream_idle_timeout),
        request_timeout: to_timeout(value.request_timeout),
        request_headers_timeout: to_timeout(value.request_headers_timeout),
        drain_timeout: Some(wire::to_duration(value.drain_timeout)),
        use_remote_address: Some(boolean(value.use_remote_address)),
        xff_num_trusted_hops: value.xff_trusted_hops,
        generate_request_id: Some(boolean(value.generate_request_id)),
        preserve_external_request_id: value.preserve_external_request_id,
        normalize_path: Some(boolean(value.normalize_path)),
        merge_slashes: value.merge_slashes,
        via: value.via.clone(),
        ..Default::default()
    }
}

fn decode_codec(number: i32) -> Result<Codec, Invalid> {
    match enumeration("codec_type", number)? {
        CodecType::Auto => Ok(Codec::Auto),
        CodecType::Http1 => Ok(Codec::Http1),
        CodecType::Http2 => Ok(Codec::Http2),
        CodecType::Http3 => Err(Invalid::new(
            "codec_type",
            "HTTP3 is not supported by this version",
        )),
    }
}

/// RFC 9113, section 6.9.2: a window lies between 65,535 (Envoy's lower bound) and 2^31-1.
fn window(field: &str, value: Option<crate::pb::protobuf::UInt32Value>) -> Result<Option<u32>, Invalid> {
    match value.map(|value| value.value) {
        Some(size) if !(65_535..=0x7fff_ffff).contains(&size) => Err(Invalid::new(
            format!("http2_protocol_options.{field}"),
            format!("{size} is not between 65535 and 2147483647"),
        )),
        other => Ok(other),
    }
}

fn decode_headers_limit(manager: &hcm::HttpConnectionManager, default: u32) -> Result<u32, Invalid> {
    match manager.max_request_headers_kb.map(|limit| limit.value) {
        None => Ok(default),
        Some(limit @ 1..=8192) => Ok(limit << 10),
        Some(limit) => Err(Invalid::new(
            "max_request_headers_kb",
            format!("{limit} is not between 1 and 8192"),
        )),
    }
}

fn decode_routes(specifier: Option<&RouteSpecifier>) -> Result<RouteSource, Invalid> {
    match specifier {
        None => Err(Invalid::new("", "one of `route_config` and `rds` is required")),
        Some(RouteSpecifier::RouteConfig(routes)) => {
            let routes = route::decode_inline(routes).within("route_config")?;
            Ok(RouteSource::Inline(Arc::new(routes)))
        }
        Some(RouteSpecifier::Rds(rds)) => {
            wire::ads(rds.config_source.as_ref()).within("rds.config_source")?;
            let name = required_text("route_config_name", &rds.route_config_name).within("rds")?;
            Ok(RouteSource::Discovered(name.to_owned()))
        }
        Some(RouteSpecifier::ScopedRoutes(_)) => {
            Err(Invalid::new("scoped_routes", "not supported by this version"))
        }
    }
}

fn decode_filters(entries: &[hcm::HttpFilter]) -> Result<Vec<HttpFilter>, Invalid> {
    let filters = list("http_filters", entries, filter::decode_entry)?;
    let mut names = BTreeSet::new();
    for (index, filter) in filters.iter().enumerate() {
        let is_last = index + 1 == filters.len();
        let at = |reason: String| Err(Invalid::new(format!("http_filters[{index}]"), reason));
        if !names.insert(filter.name.as_str()) {
            return at(format!("a filter before it is named `{}` too", filter.name));
        }
        match (is_router(filter), is_last) {
            (true, true) | (false, false) => {}
            (true, false) => return at("the router must be the last filter".to_owned()),
            (false, true) => {
                return at("the last filter must be envoy.filters.http.router, given inline".to_owned());
            }
        }
        if is_last && filter.disabled {
            return at("the router cannot be disabled".to_owned());
        }
    }
    if filters.is_empty() {
        return Err(Invalid::new(
            "http_filters",
            "at least envoy.filters.http.router is required",
        ));
    }
    Ok(filters)
}

fn is_router(filter: &HttpFilter) -> bool {
    match &filter.source {
        FilterSource::Inline(config) => matches!(**config, FilterConfig::Router(_)),
        FilterSource::Discovered(_) => false,
    }
}
