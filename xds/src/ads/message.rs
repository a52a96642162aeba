//! What the two ends of an ADS stream say to each other, free of wire types.

use std::collections::BTreeMap;

use bytes::Bytes;
use leno_model::endpoint::Locality;

/// From a proxy, in the variant that the stream speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// `StreamAggregatedResources`.
    Sotw(Request),
    /// `DeltaAggregatedResources`.
    Delta(DeltaRequest),
}

/// From a control plane, in the variant that the stream speaks.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// `StreamAggregatedResources`.
    Sotw(Response),
    /// `DeltaAggregatedResources`.
    Delta(DeltaResponse),
}

/// `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Who asks; at least in the first request of a stream.
    pub node: Option<Node>,
    /// Which type.
    pub type_url: String,
    /// What is asked for; empty in the first request of a type, or `*`, means everything.
    pub names: Vec<String>,
    /// The last version that was accepted; empty when there is none.
    pub version: String,
    /// The response this one answers; empty in the first request of a type.
    pub nonce: String,
    /// Set when that response is refused: a sentence for its author.
    pub error: Option<String>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Which type.
    pub type_url: String,
    /// The version of the set.
    pub version: String,
    /// To be given back in the answer.
    pub nonce: String,
    /// The resources.
    pub resources: Vec<Any>,
    /// Who serves; free text, may be empty.
    pub control_plane: String,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeltaRequest {
    /// Who asks; at least in the first request of a stream.
    pub node: Option<Node>,
    /// Which type.
    pub type_url: String,
    /// Names to add; `*` means everything.
    pub subscribe: Vec<String>,
    /// Names to drop.
    pub unsubscribe: Vec<String>,
    /// What the client holds already, name to version; only in the first request of a type.
    pub initial_versions: BTreeMap<String, String>,
    /// The response this one answers; empty when it answers none.
    pub nonce: String,
    /// Set when that response is refused: a sentence for its author.
    pub error: Option<String>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeltaResponse {
    /// Which type.
    pub type_url: String,
    /// For people who debug.
    pub system_version: String,
    /// To be given back in the answer.
    pub nonce: String,
    /// New or changed.
    pub resources: Vec<DeltaResource>,
    /// Gone, or never there.
    pub removed: Vec<String>,
    /// Who serves; free text, may be empty.
    pub control_plane: String,
}

/// `envoy.service.discovery.v3.Resource`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeltaResource {
    /// By which it was asked for.
    pub name: String,
    /// Of this one resource.
    pub version: String,
    /// The resource; empty when there is none by this name.
    pub body: Option<Any>,
}

/// An encoded message and its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the message.
    pub type_url: String,
    /// The message.
    pub value: Bytes,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Unique in the mesh.
    pub id: String,
    /// The group of proxies it belongs to.
    pub cluster: String,
    /// As JSON text of an object; empty when there is none.
    pub metadata: String,
    /// Where it runs.
    pub locality: Locality,
    /// Which program: `leno`, `envoy`, `gRPC Go`.
    pub user_agent_name: String,
    /// Which version of it.
    pub user_agent_version: String,
}

impl Node {
    /// This program, as the node that the bootstrap describes.
    pub fn of_this_program(node: &leno_model::bootstrap::Node) -> Self {
        Self {
            id: node.id.clone(),
            cluster: node.cluster.clone(),
            metadata: node.metadata.clone(),
            locality: node.locality.clone(),
            user_agent_name: "leno".to_owned(),
            user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
