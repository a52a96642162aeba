//! The kinds that mesh users write, as typed documents. Every field is either known here or refused by name.
//!
//! Shapes follow Istio's CRDs (`kubernetes/customresourcedefinitions.gen.yaml` of `istio.io/api`, 1.31). A field that
//! Istio has and this version does not honour is listed in [`UNSUPPORTED`], so that its refusal can say so.

pub mod meta;

pub mod wasm_plugin;

pub mod gateway;

pub mod virtual_service;

pub mod destination_rule;

pub mod service_entry;

pub mod sidecar;

pub mod secret;

/// Fields of Istio's kinds that are refused by this version, by kind. Anything else that is unknown is a mistake.
pub const UNSUPPORTED: &[(&str, &[&str])] = &[
    (
        "VirtualService",
        &[
            "tcp",
            "tls",
            "fault",
            "mirror",
            "mirrors",
            "mirrorPercentage",
            "mirror_percent",
            "mirrorPercent",
            "corsPolicy",
            "delegate",
            "statPrefix",
            "retryRemoteLocalities",
            "prefixRewrite",
            "bytes",
        ],
    ),
    (
        "DestinationRule",
        &[
            "workloadSelector",
            "portLevelSettings",
            "outlierDetection",
            "tls",
            "tunnel",
            "proxyProtocol",
            "retryBudget",
            "consistentHash",
            "localityLbSetting",
            "warmup",
            "warmupDurationSecs",
            "zoneAwareLbSetting",
            "h2UpgradePolicy",
            "useClientProtocol",
            "http2KeepAlive",
            "maxConcurrentStreams",
            "maxConnectionDuration",
            "tcpKeepalive",
        ],
    ),
    ("Gateway", &["tls", "defaultEndpoint"]),
    (
        "ServiceEntry",
        &["workloadSelector", "subjectAltNames", "network", "serviceAccount"],
    ),
    (
        "Sidecar",
        &[
            "outboundTrafficPolicy",
            "inboundConnectionPool",
            "connectionPool",
            "tls",
        ],
    ),
    ("WasmPlugin", &[]),
    ("Secret", &[]),
];
