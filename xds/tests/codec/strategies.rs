//! Model values of every shape that the model allows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leno_model::access_log::{AccessLog, Format, JsonValue, Line, Sink};
use leno_model::cluster::{Balance, Cluster, Discovery, DnsFamily, Limits, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Health, Host, LoadAssignment, Locality, LocalityEndpoints};
use leno_model::filter::{
    DiscoveredFilter, FailurePolicy, FilterConfig, FilterSource, HttpFilter, RemoteCode, Router, WasmCode,
    WasmFilter, WasmVm,
};
use leno_model::http::{Codec, HttpConnectionManager, RouteSource, ServerHeader};
use leno_model::listener::{ChainMatch, Direction, FilterChain, Listener, NetworkFilter, TransportProtocol};
use leno_model::matching::{Fraction, HeaderMatch, HeaderValueMatch, Pattern, QueryMatch, StringMatch};
use leno_model::route::{
    AppendAction, DirectResponse, FilterOverride, Forward, HeaderEdit, HeaderEdits, HostRewrite, PathMatch,
    PathRewrite, Redirect, RedirectPath, RetryOn, RetryPolicy, Route, RouteAction, RouteConfiguration,
    RouteMatch, Target, TellsAttempts, VirtualHost, WeightedCluster,
};
use leno_model::tls::{
    CommonTls, DataSource, DownstreamTls, NameKind, NameMatch, TlsCertificate, TlsVersion, UpstreamTls,
    Validation,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.-]{0,8}"
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn time() -> impl Strategy<Value = Duration> {
    (0..100_000u64, 1..1_000_000_000u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn regex() -> impl Strategy<Value = String> {
    select(vec!["a+b", "^/x/(.*)$", "[0-9]{1,3}", "(?i)yes|no", r"\d\w"]).prop_map(str::to_owned)
}

fn format() -> impl Strategy<Value = Format> {
    let sources = vec![
        "",
        "plain",
        "100%%",
        "%PROTOCOL% x",
        "[%START_TIME%] %REQ(:METHOD)%\n",
        "%RESP(a):3%",
    ];
    select(sources).prop_map(|source| Format::parse(source).expect("well formed"))
}

fn access_log() -> impl Strategy<Value = AccessLog> {
    let sink = prop_oneof![
        "/[a-z]{1,8}".prop_map(|path| Sink::File(path.into())),
        Just(Sink::Stdout),
        Just(Sink::Stderr),
    ];
    let text = format().prop_filter("an empty format is the default", |format| {
        !format.source.is_empty()
    });
    let leaf = prop_oneof![
        format().prop_map(JsonValue::Format),
        (-1e9..1e9).prop_map(JsonValue::Number),
        any::<bool>().prop_map(JsonValue::Bool),
        Just(JsonValue::Null),
    ];
    let list = vec(leaf.clone(), 0..3).prop_map(JsonValue::List);
    let json = btree_map(name(), prop_oneof![leaf, list], 0..3);
    let nested = (json, name()).prop_map(|(fields, outer)| {
        let fields: Vec<_> = fields.into_iter().collect();
        Line::Json(vec![(outer, JsonValue::Object(fields))])
    });
    let line = prop_oneof![text.prop_map(Line::Text), nested];
    (sink, line).prop_map(|(sink, line)| AccessLog { sink, line })
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    let plain = prop_oneof![
        text().prop_map(Pattern::Exact),
        name().prop_map(Pattern::Prefix),
        name().prop_map(Pattern::Suffix),
        name().prop_map(Pattern::Contains),
    ];
    prop_oneof![
        (plain, any::<bool>()).prop_map(|(pattern, ignore_case)| StringMatch { pattern, ignore_case }),
        regex().prop_map(|regex| StringMatch {
            pattern: Pattern::Regex(regex),
            ignore_case: false
        }),
    ]
}

fn header_match() -> impl Strategy<Value = HeaderMatch> {
    let value = prop_oneof![
        any::<bool>().prop_map(HeaderValueMatch::Present),
        string_match().prop_map(HeaderValueMatch::String),
        any::<(i64, i64)>().prop_map(|(start, end)| HeaderValueMatch::Range { start, end }),
    ];
    (name(), value, any::<bool>(), any::<bool>()).prop_map(|(name, value, invert, treat_missing_as_empty)| {
        HeaderMatch {
            name,
            value,
            invert,
            treat_missing_as_empty,
        }
    })
}

fn query_match() -> impl Strategy<Value = QueryMatch> {
    (name(), option::of(string_match())).prop_map(|(name, value)| QueryMatch { name, value })
}

fn fraction() -> impl Strategy<Value = Fraction> {
    (any::<u32>(), select(vec![100, 10_000, 1_000_000])).prop_map(|(numerator, denominator)| Fraction {
        numerator,
        denominator,
    })
}

fn edit() -> impl Strategy<Value = HeaderEdit> {
    let append = select(vec![
        AppendAction::AppendOrAdd,
        AppendAction::AddIfAbsent,
        AppendAction::OverwriteOrAdd,
        AppendAction::OverwriteIfExists,
    ]);
    let value = format().prop_filter("a field has no line end", |format| !format.source.contains('\n'));
    (name(), value, append).prop_map(|(name, value, append)| HeaderEdit { name, value, append })
}

fn edits() -> impl Strategy<Value = HeaderEdits> {
    let (add, remove) = (|| vec(edit(), 0..2), || vec(name(), 0..2));
    (add(), remove(), add(), remove()).prop_map(|(request, request_remove, response, response_remove)| {
        HeaderEdits {
            request,
            request_remove,
            response,
            response_remove,
        }
    })
}

fn retry_on() -> impl Strategy<Value = RetryOn> {
    any::<[bool; 13]>().prop_map(|on| RetryOn {
        server_error: on[0],
        gateway_error: on[1],
        connect_failure: on[2],
        reset: on[3],
        reset_before_request: on[4],
        refused_stream: on[5],
        retriable_4xx: on[6],
        retriable_status_codes: on[7],
        grpc_cancelled: on[8],
        grpc_deadline_exceeded: on[9],
        grpc_internal: on[10],
        grpc_resource_exhausted: on[11],
        grpc_unavailable: on[12],
    })
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let backoff = (time(), time());
    (
        retry_on(),
        any::<u32>(),
        option::of(time()),
        vec(100..600u16, 0..3),
        backoff,
        any::<bool>(),
    )
        .prop_map(
            |(on, retries, per_try_timeout, status_codes, (base, more), avoid_previous_hosts)| RetryPolicy {
                on,
                retries,
                per_try_timeout,
                status_codes,
                backoff_base: base,
                backoff_max: base + more,
                avoid_previous_hosts,
            },
        )
}

fn forward() -> impl Strategy<Value = Forward> {
    let weighted = (name(), 1..1000u32, edits()).prop_map(|(name, weight, edits)| WeightedCluster {
        name,
        weight,
        edits,
    });
    let target = prop_oneof![
        name().prop_map(Target::Cluster),
        vec(weighted, 1..3).prop_map(Target::Weighted),
        name().prop_map(Target::Header),
    ];
    let path = prop_oneof![
        "/[a-z]{0,4}".prop_map(PathRewrite::Prefix),
        (regex(), text()).prop_map(|(pattern, substitution)| PathRewrite::Regex {
            pattern,
            substitution
        }),
    ];
    let host = prop_oneof![
        name().prop_map(HostRewrite::Literal),
        Just(HostRewrite::Auto),
        name().prop_map(HostRewrite::Header),
    ];
    let times = (option::of(time()), option::of(time()));
    (
        target,
        times,
        option::of(retry()),
        option::of(path),
        option::of(host),
    )
        .prop_map(
            |(target, (timeout, idle_timeout), retry, path_rewrite, host_rewrite)| Forward {
                target,
                timeout,
                idle_timeout,
                retry,
                path_rewrite,
                host_rewrite,
            },
        )
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let path = prop_oneof![
        "/[a-z]{0,4}".prop_map(RedirectPath::Full),
        "/[a-z]{0,4}".prop_map(RedirectPath::Prefix),
        (regex(), text()).prop_map(|(pattern, substitution)| RedirectPath::Regex {
            pattern,
            substitution
        }),
    ];
    let status = select(vec![301u16, 302, 303, 307, 308]);
    let port = option::of(1..=u16::MAX);
    (
        status,
        option::of(name()),
        option::of(name()),
        port,
        option::of(path),
        any::<bool>(),
    )
        .prop_map(|(status, scheme, host, port, path, strip_query)| Redirect {
            status,
            scheme,
            host,
            port,
            path,
            strip_query,
        })
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let path = prop_oneof![
        "/[a-z]{0,4}".prop_map(PathMatch::Prefix),
        "/[a-z]{1,4}".prop_map(PathMatch::SeparatedPrefix),
        "/[a-z/]{0,4}".prop_map(PathMatch::Exact),
        regex().prop_map(PathMatch::Regex),
    ];
    let flags = any::<(bool, bool)>();
    (
        path,
        flags,
        vec(header_match(), 0..3),
        vec(query_match(), 0..2),
        option::of(fraction()),
    )
        .prop_map(
            |(path, (case_sensitive, grpc), headers, query, fraction)| RouteMatch {
                path,
                case_sensitive,
                headers,
                query,
                grpc,
                fraction,
            },
        )
}

fn overrides() -> impl Strategy<Value = BTreeMap<String, FilterOverride>> {
    let value = prop_oneof![
        Just(FilterOverride::Disabled),
        filter_config().prop_map(|config| FilterOverride::Config(Box::new(config))),
    ];
    btree_map(name(), value, 0..2)
}

fn route() -> impl Strategy<Value = Route> {
    let direct =
        (200..600u16, vec(any::<u8>(), 0..8)).prop_map(|(status, body)| DirectResponse { status, body });
    let action = prop_oneof![
        forward().prop_map(|forward| RouteAction::Forward(Box::new(forward))),
        redirect().prop_map(RouteAction::Redirect),
        direct.prop_map(RouteAction::Direct),
    ];
    (name(), route_match(), action, edits(), overrides()).prop_map(
        |(name, matches, action, edits, filter_overrides)| Route {
            name,
            matches,
            action,
            edits,
            filter_overrides,
        },
    )
}

pub(crate) fn route_configuration() -> impl Strategy<Value = RouteConfiguration> {
    let host = (
        name(),
        vec(route(), 0..3),
        edits(),
        (option::of(retry()), any::<bool>(), any::<bool>()),
        overrides(),
    );
    let bools = (any::<bool>(), option::of(any::<bool>()));
    (name(), vec(host, 0..3), edits(), bools).prop_map(|(name, hosts, edits, bools)| {
        let (ignore_port_in_host, validate_clusters) = bools;
        let hosts = hosts.into_iter().enumerate();
        RouteConfiguration {
            name,
            virtual_hosts: hosts
                .map(
                    |(index, (name, routes, edits, (retry, request, response), filter_overrides))| {
                        VirtualHost {
                            name,
                            domains: vec![format!("host{index}.test"), format!("*.host{index}.test")],
                            routes,
                            edits,
                            retry,
                            tells_attempts: TellsAttempts { request, response },
                            filter_overrides,
                        }
                    },
                )
                .collect(),
            edits,
            ignore_port_in_host,
            validate_clusters,
        }
    })
}

fn wasm_code() -> impl Strategy<Value = WasmCode> {
    let remote = (
        select(vec!["oci://a/b:1", "https://c/d.wasm"]),
        name(),
        time(),
        any::<bool>(),
        any::<u32>(),
    );
    let remote = remote.prop_map(|(uri, cluster, timeout, pinned, retries)| RemoteCode {
        uri: uri.to_owned(),
        cluster: if pinned { String::new() } else { cluster },
        timeout,
        sha256: if pinned {
            "0123456789abcdef".repeat(4)
        } else {
            String::new()
        },
        retries,
    });
    prop_oneof![
        vec(any::<u8>(), 0..8).prop_map(|bytes| WasmCode::Inline(bytes.into())),
        "/[a-z]{1,8}".prop_map(|path| WasmCode::File(path.into())),
        remote.prop_map(WasmCode::Remote),
    ]
}

fn wasm_filter() -> impl Strategy<Value = WasmFilter> {
    let vm = (
        name(),
        wasm_code(),
        vec(any::<u8>(), 0..8),
        btree_map("[A-Z]{1,3}", text(), 0..2),
        btree_set("[a-z]{1,3}", 0..2),
    );
    let vm = vm.prop_map(
        |(id, code, configuration, environment, host_environment)| WasmVm {
            id,
            code,
            configuration,
            environment,
            host_environment,
        },
    );
    let failure = select(vec![
        FailurePolicy::Closed,
        FailurePolicy::Open,
        FailurePolicy::Reload,
    ]);
    let names = (text(), text());
    let configuration = prop_oneof![text().prop_map(String::into_bytes), vec(any::<u8>(), 0..8)];
    let capabilities = option::of(btree_set(name(), 1..3));
    (
        names,
        vm,
        configuration,
        failure,
        time(),
        capabilities,
        any::<bool>(),
    )
        .prop_map(
            |((name, root_id), vm, configuration, failure, reload_backoff, capabilities, stop)| WasmFilter {
                name,
                root_id,
                vm,
                configuration,
                failure,
                reload_backoff,
                capabilities,
                allow_on_headers_stop_iteration: stop,
            },
        )
}

pub(crate) fn filter_config() -> impl Strategy<Value = FilterConfig> {
    prop_oneof![
        any::<bool>().prop_map(|suppress_envoy_headers| FilterConfig::Router(Router {
            suppress_envoy_headers
        })),
        wasm_filter().prop_map(|filter| FilterConfig::Wasm(Box::new(filter))),
    ]
}

fn filters() -> impl Strategy<Value = Vec<HttpFilter>> {
    let inline =
        wasm_filter().prop_map(|filter| FilterSource::Inline(Arc::new(FilterConfig::Wasm(Box::new(filter)))));
    let discovered = (option::of(wasm_filter()), any::<bool>(), vec(name(), 1..3)).prop_map(
        |(default, early, type_urls)| {
            FilterSource::Discovered(DiscoveredFilter {
                apply_default_without_warming: early && default.is_some(),
                default: default.map(|filter| Arc::new(FilterConfig::Wasm(Box::new(filter)))),
                type_urls,
            })
        },
    );
    vec((prop_oneof![inline, discovered], any::<bool>()), 0..3).prop_map(|entries| {
        let named = entries
            .into_iter()
            .enumerate()
            .map(|(index, (source, disabled))| HttpFilter {
                name: format!("filter{index}"),
                source,
                disabled,
            });
        let router = HttpFilter {
            name: "router".to_owned(),
            source: FilterSource::Inline(Arc::new(FilterConfig::Router(Router::default()))),
            disabled: false,
        };
        named.chain([router]).collect()
    })
}

fn manager() -> impl Strategy<Value = HttpConnectionManager> {
    let routes = prop_oneof![
        route_configuration().prop_map(|routes| RouteSource::Inline(Arc::new(routes))),
        name().prop_map(RouteSource::Discovered),
    ];
    let times = (
        option::of(time()),
        option::of(time()),
        option::of(time()),
        option::of(time()),
        time(),
    );
    let sizes = (
        1..=8192u32,
        any::<u32>(),
        any::<u32>(),
        65_535..=0x7fff_ffffu32,
        65_535..=0x7fff_ffffu32,
    );
    let codec = select(vec![Codec::Auto, Codec::Http1, Codec::Http2]);
    let server = select(vec![
        ServerHeader::Overwrite,
        ServerHeader::AppendIfAbsent,
        ServerHeader::PassThrough,
    ]);
    let texts = (name(), name(), text());
    let flags = any::<[bool; 6]>();
    let modes = (codec, server, any::<u32>());
    (
        routes,
        filters(),
        vec(access_log(), 0..2),
        times,
        sizes,
        modes,
        texts,
        flags,
    )
        .prop_map(
            |(routes, filters, access_log, times, sizes, modes, texts, flags)| HttpConnectionManager {
                codec: modes.0,
                stat_prefix: texts.0,
                routes,
                filters,
                access_log,
                idle_timeout: times.0,
                stream_idle_timeout: times.1,
                request_timeout: times.2,
                request_headers_timeout: times.3,
                drain_timeout: times.4,
                max_request_headers_bytes: sizes.0 << 10,
                max_request_headers_count: sizes.1,
                max_concurrent_streams: sizes.2,
                initial_stream_window: sizes.3,
                initial_connection_window: sizes.4,
                accept_http_10: flags[0],
                h1_trailers: flags[0] != flags[1],
                server_name: texts.1,
                server_header: modes.1,
                use_remote_address: flags[1],
                xff_trusted_hops: modes.2,
                generate_request_id: flags[2],
                preserve_external_request_id: flags[3],
                normalize_path: flags[4],
                merge_slashes: flags[5],
                via: texts.2,
            },
        )
}

fn source() -> impl Strategy<Value = DataSource> {
    prop_oneof![
        "/[a-z]{1,8}".prop_map(|path| DataSource::File(path.into())),
        text().prop_map(|text| DataSource::Inline(text.into_bytes().into())),
        vec(any::<u8>(), 0..8).prop_map(|bytes| DataSource::Inline(bytes.into())),
    ]
}

fn validation() -> impl Strategy<Value = Validation> {
    let kind = select(vec![NameKind::Email, NameKind::Dns, NameKind::Uri, NameKind::Ip]);
    let value = string_match().prop_filter("no name is empty", |value| {
        value.pattern != Pattern::Exact(String::new())
    });
    let name = (kind, value).prop_map(|(kind, value)| NameMatch { kind, value });
    let trust = (source(), vec(name, 0..3), option::of(source()), any::<bool>());
    let trust = trust.prop_map(|(ca, names, revoked, revoked_leaf_only)| Validation {
        trusted_ca: Some(ca),
        names,
        revoked,
        revoked_leaf_only,
    });
    prop_oneof![Just(Validation::default()), trust]
}

/// With this many certificates.
fn common_tls(certificates: std::ops::Range<usize>) -> impl Strategy<Value = CommonTls> {
    let certificate = (source(), source()).prop_map(|(chain, key)| TlsCertificate { chain, key });
    let versions = select(vec![
        (TlsVersion::V1_2, TlsVersion::V1_2),
        (TlsVersion::V1_2, TlsVersion::V1_3),
        (TlsVersion::V1_3, TlsVersion::V1_3),
    ]);
    let protocols = vec("[a-z0-9/.]{1,8}", 0..3);
    (
        vec(certificate, certificates),
        option::of(validation()),
        protocols,
        versions,
    )
        .prop_map(
            |(certificates, validation, protocols, (oldest, newest))| CommonTls {
                certificates,
                validation,
                protocols,
                oldest,
                newest,
            },
        )
}

fn downstream_tls() -> impl Strategy<Value = Arc<DownstreamTls>> {
    let flags = any::<[bool; 2]>();
    (common_tls(1..3), flags).prop_map(|(common, [require_client_certificate, session_tickets])| {
        Arc::new(DownstreamTls {
            common,
            require_client_certificate,
            session_tickets,
        })
    })
}

fn upstream_tls() -> impl Strategy<Value = Arc<UpstreamTls>> {
    let flags = any::<[bool; 2]>();
    (common_tls(0..2), text(), flags).prop_map(|(common, server_name, [endpoint_name, verify])| {
        let validation = common.validation.as_ref();
        let trusts = validation.is_some_and(|validation| validation.trusted_ca.is_some());
        Arc::new(UpstreamTls {
            common,
            server_name,
            endpoint_name,
            verify_server_name: verify && trusts,
        })
    })
}

/// Of a chain without TLS: what else could be matched is not there.
fn plain_match() -> impl Strategy<Value = ChainMatch> {
    let transport = option::of(Just(TransportProtocol::RawBuffer));
    (option::of(1..=u16::MAX), transport).prop_map(|(destination_port, transport)| ChainMatch {
        destination_port,
        transport,
        ..ChainMatch::default()
    })
}

fn tls_match() -> impl Strategy<Value = ChainMatch> {
    let name = prop_oneof!["[a-z]{1,4}", "\\*\\.[a-z]{1,4}"];
    let transport = option::of(Just(TransportProtocol::Tls));
    let protocols = vec("[a-z0-9/.]{1,8}", 0..2);
    (option::of(1..=u16::MAX), vec(name, 0..3), transport, protocols).prop_map(
        |(destination_port, server_names, transport, application_protocols)| ChainMatch {
            destination_port,
            server_names,
            transport,
            application_protocols,
        },
    )
}

fn chain() -> impl Strategy<Value = FilterChain> {
    let socket = prop_oneof![
        plain_match().prop_map(|matches| (matches, None)),
        (tls_match(), downstream_tls()).prop_map(|(matches, tls)| (matches, Some(tls))),
    ];
    (text(), socket, option::of(time()), manager()).prop_map(
        |(name, (matches, tls), handshake_timeout, manager)| FilterChain {
            name,
            matches,
            tls,
            handshake_timeout,
            network: NetworkFilter::Http(Arc::new(manager)),
        },
    )
}

pub(crate) fn listener() -> impl Strategy<Value = Listener> {
    let direction = select(vec![
        Direction::Unspecified,
        Direction::Inbound,
        Direction::Outbound,
    ]);
    // Chains of one listener differ in their ports here, so that no two take the same connection.
    let more = option::of(chain()).prop_map(|chain| {
        chain.map(|chain| FilterChain {
            matches: ChainMatch::default(),
            ..chain
        })
    });
    let inspection = (any::<bool>(), option::of(time()));
    (
        (name(), text()),
        socket(),
        (chain(), more),
        direction,
        (any::<u32>(), inspection),
        vec(access_log(), 0..2),
    )
        .prop_map(
            |((name, stat_prefix), address, (chain, more), direction, (limit, inspection), access_log)| {
                let (inspects_tls, inspect_timeout) = inspection;
                // What takes everything is another chain in half of the cases, and the default one in the others.
                let twin = chain.matches == ChainMatch::default() || more.is_none() || inspects_tls;
                let (other, default) = if twin { (None, more) } else { (more, None) };
                Listener {
                    name,
                    address,
                    filter_chains: [Some(chain), other].into_iter().flatten().collect(),
                    default_filter_chain: default,
                    inspects_tls,
                    inspect_timeout,
                    stat_prefix,
                    direction,
                    per_connection_buffer_limit: limit,
                    access_log,
                }
            },
        )
}

fn endpoint(address: impl Strategy<Value = Host>) -> impl Strategy<Value = Endpoint> {
    let health = select(vec![
        Health::Unknown,
        Health::Healthy,
        Health::Unhealthy,
        Health::Draining,
        Health::Degraded,
    ]);
    let metadata = btree_map(name(), btree_map(name(), text(), 0..2), 0..2);
    (address, text(), 1..=u32::MAX, health, metadata).prop_map(
        |(address, hostname, weight, health, metadata)| Endpoint {
            address,
            hostname,
            weight,
            health,
            metadata,
        },
    )
}

fn locality(address: impl Strategy<Value = Host>) -> impl Strategy<Value = LocalityEndpoints> {
    let place = (text(), text(), text()).prop_map(|(region, zone, sub_zone)| Locality {
        region,
        zone,
        sub_zone,
    });
    let endpoints = vec(endpoint(address), 0..3);
    (place, 0..4u32, option::of(1..=u32::MAX), endpoints).prop_map(
        |(locality, priority, weight, endpoints)| LocalityEndpoints {
            locality,
            priority,
            weight,
            endpoints,
        },
    )
}

pub(crate) fn load_assignment() -> impl Strategy<Value = LoadAssignment> {
    (name(), vec(locality(socket().prop_map(Host::Socket)), 0..3))
        .prop_map(|(cluster, localities)| LoadAssignment { cluster, localities })
}

fn named_assignment() -> impl Strategy<Value = LoadAssignment> {
    let host = (name(), any::<u16>()).prop_map(|(name, port)| Host::Name {
        name: format!("{name}.test"),
        port,
    });
    (name(), vec(locality(host), 0..3))
        .prop_map(|(cluster, localities)| LoadAssignment { cluster, localities })
}

pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let discovery = prop_oneof![
        load_assignment().prop_map(|assignment| Discovery::Static(Arc::new(assignment))),
        named_assignment().prop_map(|assignment| Discovery::StrictDns(Arc::new(assignment))),
        Just(Discovery::LogicalDns(Arc::new(LoadAssignment {
            cluster: "logical".into(),
            localities: vec![LocalityEndpoints {
                endpoints: vec![Endpoint::at(Host::Name {
                    name: "a.test".into(),
                    port: 1
                })],
                ..LocalityEndpoints::default()
            }],
        }))),
        name().prop_map(Discovery::Eds),
    ];
    let balance = prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::Random),
        (2..10u32).prop_map(|choices| Balance::LeastRequest { choices }),
    ];
    let protocol = select(vec![
        UpstreamProtocol::Http1,
        UpstreamProtocol::Http2,
        UpstreamProtocol::Downstream,
    ]);
    let family = select(vec![
        DnsFamily::Auto,
        DnsFamily::V4Only,
        DnsFamily::V6Only,
        DnsFamily::V4Preferred,
        DnsFamily::All,
    ]);
    let limits = any::<[u32; 4]>().prop_map(|limits| Limits {
        max_connections: limits[0],
        max_pending_requests: limits[1],
        max_requests: limits[2],
        max_retries: limits[3],
    });
    let limits = prop_oneof![Just(Limits::default()), limits];
    let times = (time(), option::of(time()), option::of(1..=u32::MAX));
    let tls = option::of(upstream_tls());
    (name(), discovery, balance, times, protocol, limits, family, tls).prop_map(
        |(name, discovery, balance, times, protocol, limits, dns_family, tls)| Cluster {
            tls,
            balance,
            connect_timeout: times.0,
            protocol,
            idle_timeout: times.1,
            max_requests_per_connection: times.2,
            limits,
            h1_trailers: protocol == UpstreamProtocol::Http1,
            dns_family,
            ..Cluster::new(name, discovery)
        },
    )
}
