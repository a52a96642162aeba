//! The wire types under short names, so that the files which decode say `route::Route` and not a path of seven.

pub(crate) use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
pub(crate) use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
pub(crate) use envoy_types::pb::envoy::config::cluster::v3 as cluster;
pub(crate) use envoy_types::pb::envoy::config::core::v3 as core;
pub(crate) use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
pub(crate) use envoy_types::pb::envoy::config::listener::v3 as listener;
pub(crate) use envoy_types::pb::envoy::config::route::v3 as route;
pub(crate) use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file_log;
pub(crate) use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream_log;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::router::v3 as router;
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::wasm::v3 as wasm_filter;
pub(crate) use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
pub(crate) use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
pub(crate) use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3 as previous_hosts;
pub(crate) use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
pub(crate) use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;
pub(crate) use envoy_types::pb::envoy::extensions::wasm::v3 as wasm;
pub(crate) use envoy_types::pb::envoy::service::discovery::v3 as discovery;
pub(crate) use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
pub(crate) use envoy_types::pb::envoy::r#type::v3 as types;
pub(crate) use envoy_types::pb::google::protobuf;
pub(crate) use envoy_types::pb::google::rpc;
