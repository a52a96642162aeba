//! `envoy.config.bootstrap.v3.Bootstrap`: what a proxy reads from its file and from its command line.

use std::sync::Arc;
use std::time::Duration;

use leno_model::bootstrap::{AdsSource, AdsVariant, Bootstrap, Dynamic, Node};
use leno_model::cluster::Cluster;
use leno_model::endpoint::{Host, Locality};
use leno_model::invalid::Invalid;
use leno_model::listener::Listener;
use prost::Message;
use prost_reflect::DynamicMessage;

use crate::document::Document;
use crate::pb::bootstrap::{self, bootstrap::DynamicResources, bootstrap::StaticResources};
use crate::pb::core::grpc_service;
use crate::pb::core::{self, api_config_source::ApiType, config_source::ConfigSourceSpecifier};
use crate::strict::{self, Fields};
use crate::wire::{self, Within, enumeration, list, required_text};
use crate::{cluster, descriptors, endpoint, listener};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        supported: &["node", "static_resources", "dynamic_resources", "admin"],
        no_effect: &[
            (
                "stats_flush_interval",
                "statistics are counted when they are asked for; there is no flush",
            ),
            ("enable_dispatcher_stats", "there are no dispatchers to measure"),
        ],
    },
    Fields {
        message: "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
        supported: &["listeners", "clusters"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
        supported: &["lds_config", "cds_config", "ads_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.bootstrap.v3.Admin",
        supported: &["address", "access_log", "access_log_path"],
        no_effect: &[("profile_path", "the proxy writes no profiles")],
    },
    Fields {
        message: "envoy.config.core.v3.Node",
        supported: &["id", "cluster", "metadata", "locality"],
        no_effect: &[
            (
                "user_agent_name",
                "the proxy says what it is, whatever the file says",
            ),
            (
                "user_agent_version",
                "the proxy says what it is, whatever the file says",
            ),
        ],
    },
    Fields {
        message: "envoy.config.core.v3.ApiConfigSource",
        supported: &["api_type", "transport_api_version", "grpc_services"],
        no_effect: &[(
            "set_node_on_first_message_only",
            "the node is sent in the first message only, always",
        )],
    },
    Fields {
        message: "envoy.config.core.v3.GrpcService",
        supported: &["envoy_grpc"],
        no_effect: &[("timeout", "a stream has no end to wait for, in Envoy too")],
    },
    Fields {
        message: "envoy.config.core.v3.GrpcService.EnvoyGrpc",
        supported: &["cluster_name"],
        no_effect: &[],
    },
];

/// Envoy's default wait for a first answer.
const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// A bootstrap before it is checked, so that the file and the command line can be laid over each other.
#[derive(Debug)]
pub struct Draft {
    message: DynamicMessage,
    documents: Vec<Document>,
}

impl Draft {
    /// Reads YAML.
    ///
    /// # Errors
    /// Text that is not YAML, an unknown field or a value of the wrong type, with path and line.
    pub fn from_yaml(text: &str) -> Result<Self, Invalid> {
        Self::read(Document::from_yaml(text)?)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Text that is not JSON, an unknown field or a value of the wrong type, with its path.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        Self::read(Document::from_json(text)?)
    }

    fn read(document: Document) -> Result<Self, Invalid> {
        Ok(Self {
            message: document.to_message(descriptors::of::<bootstrap::Bootstrap>())?,
            documents: vec![document],
        })
    }

    /// Lays `other` over this one as protobuf merges: set fields replace, messages merge, lists are joined.
    ///
    /// # Errors
    /// None for drafts that were read; the signature keeps the reason of the codec.
    pub fn merge(&mut self, other: Self) -> Result<(), Invalid> {
        self.message
            .merge(other.message.encode_to_vec().as_slice())
            .map_err(|error| Invalid::new("", error.to_string()))?;
        self.documents.extend(other.documents);
        Ok(())
    }

    /// The bootstrap, when all of it is valid and supported.
    ///
    /// # Errors
    /// The first field that is wrong or not supported, with its line when one document gave it.
    pub fn finish(self) -> Result<Bootstrap, Invalid> {
        let checked = strict::check(&self.message)
            .and_then(|()| descriptors::read(&self.message.encode_to_vec()))
            .and_then(|message| decode(&message));
        checked.map_err(|error| match self.documents.as_slice() {
            [document] => document.locate(error),
            _ => error,
        })
    }
}

/// A bootstrap from YAML.
///
/// # Errors
/// As [`Draft::from_yaml`] and [`Draft::finish`].
pub fn from_yaml(text: &str) -> Result<Bootstrap, Invalid> {
    Draft::from_yaml(text)?.finish()
}

/// A bootstrap from JSON.
///
/// # Errors
/// As [`Draft::from_json`] and [`Draft::finish`].
pub fn from_json(text: &str) -> Result<Bootstrap, Invalid> {
    Draft::from_json(text)?.finish()
}

/// A bootstrap as JSON in Envoy's words, for dumps and for starting another proxy.
///
/// # Errors
/// None for values that the model can hold; the signature keeps the reason of the codec.
pub fn to_json(value: &Bootstrap) -> Result<serde_json::Value, Invalid> {
    let bytes = encode(value).encode_to_vec();
    let message = descriptors::decode(descriptors::of::<bootstrap::Bootstrap>(), &bytes)?;
    descriptors::to_json(&message)
}

fn decode(value: &bootstrap::Bootstrap) -> Result<Bootstrap, Invalid> {
    let resources = value.static_resources.clone().unwrap_or_default();
    let listeners: Vec<Arc<Listener>> = list("listeners", &resources.listeners, |item| {
        listener::decode(item).map(Arc::new)
    })
    .within("static_resources")?;
    let clusters: Vec<Arc<Cluster>> = list("clusters", &resources.clusters, |item| {
        cluster::decode(item).map(Arc::new)
    })
    .within("static_resources")?;
    unique("listeners", listeners.iter().map(|item| item.name.as_str()))?;
    unique("clusters", clusters.iter().map(|item| item.name.as_str()))?;
    let dynamic = match &value.dynamic_resources {
        Some(dynamic) => decode_dynamic(dynamic).within("dynamic_resources")?,
        None => Dynamic::default(),
    };
    if let Some(ads) = &dynamic.ads
        && !clusters.iter().any(|cluster| cluster.name == ads.cluster)
    {
        let path = "dynamic_resources.ads_config.grpc_services[0].envoy_grpc.cluster_name";
        let reason = format!("there is no static cluster `{}`", ads.cluster);
        return Err(Invalid::new(path, reason));
    }
    if let Some(ads) = &dynamic.ads
        && let Some(index) = clusters.iter().position(|cluster| cluster.name == ads.cluster)
        && clusters[index].tls.is_some()
    {
        let path = format!("static_resources.clusters[{index}].transport_socket");
        let reason = "TLS to the server of ads_config is not supported by this version";
        return Err(Invalid::new(path, reason));
    }
    Ok(Bootstrap {
        node: value.node.as_ref().map(decode_node).unwrap_or_default(),
        listeners,
        clusters,
        dynamic,
        admin: value
            .admin
            .as_ref()
            .map(decode_admin)
            .transpose()
            .within("admin")?
            .flatten(),
    })
}

fn unique<'a>(field: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            let path = format!("static_resources.{field}[{index}].name");
            return Err(Invalid::new(path, format!("`{name}` stands twice")));
        }
    }
    Ok(())
}

fn encode(value: &Bootstrap) -> bootstrap::Bootstrap {
    bootstrap::Bootstrap {
        node: Some(encode_node(&value.node)),
        static_resources: Some(StaticResources {
            listeners: value
                .listeners
                .iter()
                .map(|item| listener::encode(item))
                .collect(),
            clusters: value.clusters.iter().map(|item| cluster::encode(item)).collect(),
            ..Default::default()
        }),
        dynamic_resources: value
            .dynamic
            .ads
            .as_ref()
            .map(|ads| encode_dynamic(&value.dynamic, ads)),
        admin: value.admin.map(|address| bootstrap::Admin {
            address: Some(wire::to_address(&Host::Socket(address))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn decode_node(node: &core::Node) -> Node {
    Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: node
            .metadata
            .as_ref()
            .map(wire::struct_to_text)
            .unwrap_or_default(),
        locality: node
            .locality
            .as_ref()
            .map(endpoint::decode_place)
            .unwrap_or_default(),
    }
}

fn encode_node(node: &Node) -> core::Node {
    core::Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: wire::text_to_struct(&node.metadata),
        locality: (node.locality != Locality::default()).then(|| endpoint::encode_place(&node.locality)),
        ..Default::default()
    }
}

fn decode_dynamic(value: &DynamicResources) -> Result<Dynamic, Invalid> {
    let sources = [
        ("lds_config", &value.lds_config),
        ("cds_config", &value.cds_config),
    ];
    let mut wait = None;
    for (field, source) in sources {
        if let Some(source) = source {
            wire::ads(Some(source)).within(field)?;
            let set = wire::duration("initial_fetch_timeout", source.initial_fetch_timeout.as_ref())?;
            wait = wait.max(set);
        }
    }
    let ads = match &value.ads_config {
        Some(config) => Some(AdsSource {
            initial_fetch_timeout: wait.unwrap_or(DEFAULT_FETCH_TIMEOUT),
            ..decode_ads(config).within("ads_config")?
        }),
        None => None,
    };
    let uses_ads = value.lds_config.is_some() || value.cds_config.is_some();
    if uses_ads && ads.is_none() {
        return Err(Invalid::new("ads_config", "is required by `ads: {}`"));
    }
    Ok(Dynamic {
        ads,
        listeners: value.lds_config.is_some(),
        clusters: value.cds_config.is_some(),
    })
}

fn decode_ads(config: &core::ApiConfigSource) -> Result<AdsSource, Invalid> {
    let variant = match enumeration("api_type", config.api_type)? {
        ApiType::Grpc => AdsVariant::StateOfTheWorld,
        ApiType::DeltaGrpc => AdsVariant::Delta,
        other => {
            let reason = format!("{} is not one of GRPC and DELTA_GRPC", other.as_str_name());
            return Err(Invalid::new("api_type", reason));
        }
    };
    if enumeration::<core::ApiVersion>("transport_api_version", config.transport_api_version)?
        != core::ApiVersion::V3
    {
        return Err(Invalid::new("transport_api_version", "must be V3"));
    }
    let [service] = config.grpc_services.as_slice() else {
        let reason = format!(
            "exactly one is supported by this version, found {}",
            config.grpc_services.len()
        );
        return Err(Invalid::new("grpc_services", reason));
    };
    let Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc)) = &service.target_specifier else {
        return Err(Invalid::new("grpc_services[0].envoy_grpc", "is required"));
    };
    let cluster = required_text("grpc_services[0].envoy_grpc.cluster_name", &grpc.cluster_name)?;
    Ok(AdsSource {
        cluster: cluster.to_owned(),
        variant,
        initial_fetch_timeout: DEFAULT_FETCH_TIMEOUT,
    })
}

fn encode_dynamic(value: &Dynamic, ads: &AdsSource) -> DynamicResources {
    let source = || core::ConfigSource {
        initial_fetch_timeout: Some(wire::to_duration(ads.initial_fetch_timeout)),
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    };
    let api_type = match ads.variant {
        AdsVariant::StateOfTheWorld => ApiType::Grpc,
        AdsVariant::Delta => ApiType::DeltaGrpc,
    };
    let service = core::GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
            grpc_service::EnvoyGrpc {
                cluster_name: ads.cluster.clone(),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    DynamicResources {
        lds_config: value.listeners.then(source),
        cds_config: value.clusters.then(source),
        ads_config: Some(core::ApiConfigSource {
            api_type: api_type.into(),
            transport_api_version: core::ApiVersion::V3.into(),
            grpc_services: vec![service],
            set_node_on_first_message_only: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The admin page keeps no log, so only logs that go nowhere are taken.
#[allow(deprecated, reason = "users still write `access_log_path: /dev/null`")]
fn decode_admin(admin: &bootstrap::Admin) -> Result<Option<std::net::SocketAddr>, Invalid> {
    if !["", "/dev/null"].contains(&admin.access_log_path.as_str()) {
        return Err(Invalid::new(
            "access_log_path",
            "only `/dev/null` is supported by this version",
        ));
    }
    list(
        "access_log",
        &admin.access_log,
        |log| match crate::access_log::decode(log)?.sink {
            leno_model::access_log::Sink::File(path) if path.as_os_str() == "/dev/null" => Ok(()),
            _ => Err(Invalid::new(
                "typed_config",
                "only the file `/dev/null` is supported by this version",
            )),
        },
    )?;
    admin
        .address
        .as_ref()
        .map(wire::socket)
        .transpose()
        .within("address")
}
