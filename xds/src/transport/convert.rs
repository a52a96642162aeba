//! Our messages to and from wire types.

use leno_model::endpoint::Locality;

use crate::ads::message::{Any, DeltaRequest, DeltaResource, DeltaResponse, Node, Request, Response};
use crate::pb::core::{self, node::UserAgentVersionType};
use crate::pb::{discovery, protobuf, rpc};
use crate::resource::TYPE_URL_PREFIX;
use crate::{descriptors, endpoint, wire};

/// gRPC's `INVALID_ARGUMENT`: what a refused configuration is.
const INVALID_ARGUMENT: i32 = 3;

pub(crate) fn request_to_wire(request: Request) -> discovery::DiscoveryRequest {
    discovery::DiscoveryRequest {
        version_info: request.version,
        node: request.node.as_ref().map(node_to_wire),
        resource_names: request.names,
        type_url: request.type_url,
        response_nonce: request.nonce,
        error_detail: request.error.map(error_to_wire),
        ..Default::default()
    }
}

pub(crate) fn request_from_wire(request: discovery::DiscoveryRequest) -> Request {
    Request {
        node: request.node.as_ref().map(node_from_wire),
        type_url: request.type_url,
        names: request.resource_names,
        version: request.version_info,
        nonce: request.response_nonce,
        error: request.error_detail.map(|status| status.message),
    }
}

pub(crate) fn response_to_wire(response: Response) -> discovery::DiscoveryResponse {
    discovery::DiscoveryResponse {
        version_info: response.version,
        resources: response.resources.into_iter().map(any_to_wire).collect(),
        type_url: response.type_url,
        nonce: response.nonce,
        control_plane: control_plane_to_wire(response.control_plane),
        ..Default::default()
    }
}

pub(crate) fn response_from_wire(response: discovery::DiscoveryResponse) -> Response {
    Response {
        type_url: response.type_url,
        version: response.version_info,
        nonce: response.nonce,
        resources: response
            .resources
            .into_iter()
            .map(|any| any_from_wire(unwrap(any)))
            .collect(),
        control_plane: response
            .control_plane
            .map(|control_plane| control_plane.identifier)
            .unwrap_or_default(),
    }
}

pub(crate) fn delta_request_to_wire(request: DeltaRequest) -> discovery::DeltaDiscoveryRequest {
    discovery::DeltaDiscoveryRequest {
        node: request.node.as_ref().map(node_to_wire),
        type_url: request.type_url,
        resource_names_subscribe: request.subscribe,
        resource_names_unsubscribe: request.unsubscribe,
        initial_resource_versions: request.initial_versions.into_iter().collect(),
        response_nonce: request.nonce,
        error_detail: request.error.map(error_to_wire),
        ..Default::default()
    }
}

pub(crate) fn delta_request_from_wire(request: discovery::DeltaDiscoveryRequest) -> DeltaRequest {
    DeltaRequest {
        node: request.node.as_ref().map(node_from_wire),
        type_url: request.type_url,
        subscribe: request.resource_names_subscribe,
        unsubscribe: request.resource_names_unsubscribe,
        initial_versions: request.initial_resource_versions.into_iter().collect(),
        nonce: request.response_nonce,
        error: request.error_detail.map(|status| status.message),
    }
}

pub(crate) fn delta_response_to_wire(response: DeltaResponse) -> discovery::DeltaDiscoveryResponse {
    let resources = response
        .resources
        .into_iter()
        .map(|resource| discovery::Resource {
            name: resource.name,
            version: resource.version,
            resource: resource.body.map(any_to_wire),
            ..Default::default()
        });
    discovery::DeltaDiscoveryResponse {
        system_version_info: response.system_version,
        resources: resources.collect(),
        type_url: response.type_url,
        removed_resources: response.removed,
        nonce: response.nonce,
        control_plane: control_plane_to_wire(response.control_plane),
        ..Default::default()
    }
}

pub(crate) fn delta_response_from_wire(response: discovery::DeltaDiscoveryResponse) -> DeltaResponse {
    let resources = response.resources.into_iter().map(|resource| DeltaResource {
        name: resource.name,
        version: resource.version,
        body: resource.resource.map(any_from_wire),
    });
    DeltaResponse {
        type_url: response.type_url,
        system_version: response.system_version_info,
        nonce: response.nonce,
        resources: resources.collect(),
        removed: response.removed_resources,
        control_plane: response
            .control_plane
            .map(|control_plane| control_plane.identifier)
            .unwrap_or_default(),
    }
}

/// In the state of the world a server may put each resource in a `Resource`, for a time to live or a name.
fn unwrap(any: protobuf::Any) -> protobuf::Any {
    if any.type_url.strip_prefix(TYPE_URL_PREFIX) != Some("envoy.service.discovery.v3.Resource") {
        return any;
    }
    match descriptors::read::<discovery::Resource>(&any.value) {
        Ok(discovery::Resource {
            resource: Some(inner),
            ..
        }) => inner,
        // It is refused by its type when it is read.
        Ok(_) | Err(_) => any,
    }
}

fn any_to_wire(any: Any) -> protobuf::Any {
    protobuf::Any {
        type_url: any.type_url,
        value: any.value.into(),
    }
}

fn any_from_wire(any: protobuf::Any) -> Any {
    Any {
        type_url: any.type_url,
        value: any.value.into(),
    }
}

fn error_to_wire(message: String) -> rpc::Status {
    rpc::Status {
        code: INVALID_ARGUMENT,
        message,
        ..Default::default()
    }
}

fn control_plane_to_wire(identifier: String) -> Option<core::ControlPlane> {
    (!identifier.is_empty()).then_some(core::ControlPlane { identifier })
}

fn node_from_wire(node: &core::Node) -> Node {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => match build.version {
            Some(version) => format!(
                "{}.{}.{}",
                version.major_number, version.minor_number, version.patch
            ),
            None => String::new(),
        },
        None => String::new(),
    };
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
        user_agent_name: node.user_agent_name.clone(),
        user_agent_version: version,
    }
}

fn node_to_wire(node: &Node) -> core::Node {
    core::Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: wire::text_to_struct(&node.metadata),
        locality: (node.locality != Locality::default()).then(|| endpoint::encode_place(&node.locality)),
        user_agent_name: node.user_agent_name.clone(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(
            node.user_agent_version.clone(),
        )),
        ..Default::default()
    }
}
