//! The kinds of resource that travel over xDS, and one resource of any kind.

use std::sync::Arc;

use leno_model::cluster::Cluster;
use leno_model::endpoint::LoadAssignment;
use leno_model::filter::FilterConfig;
use leno_model::listener::Listener;
use leno_model::route::RouteConfiguration;

/// What every type URL begins with.
pub const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// A kind of resource.
///
/// The order is the one in which a server sends changes, so that nothing names what is not there yet
/// (make before break): clusters, their endpoints, filter configurations, listeners, their routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    LoadAssignment,
    /// ECDS: HTTP filter configurations by filter name.
    Filter,
    /// LDS.
    Listener,
    /// RDS.
    RouteConfiguration,
}

impl Kind {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::LoadAssignment,
        Self::Filter,
        Self::Listener,
        Self::RouteConfiguration,
    ];

    /// The type URL of the resource, as in `DiscoveryRequest.type_url`.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::LoadAssignment => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Filter => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind that `type_url` names, if it is one of ours.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// The full name of the protobuf message.
    pub fn message_name(self) -> &'static str {
        &self.type_url()[TYPE_URL_PREFIX.len()..]
    }

    /// The word for one resource of this kind, as messages to operators use it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::LoadAssignment => "ClusterLoadAssignment",
            Self::Filter => "TypedExtensionConfig",
            Self::Listener => "Listener",
            Self::RouteConfiguration => "RouteConfiguration",
        }
    }

    /// Listeners and clusters: a state-of-the-world answer names all there are, and what it leaves out is gone.
    pub const fn is_complete_in_sotw(self) -> bool {
        match self {
            Self::Cluster | Self::Listener => true,
            Self::LoadAssignment | Self::Filter | Self::RouteConfiguration => false,
        }
    }
}

/// One resource. Clones share it.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// CDS.
    Cluster(Arc<Cluster>),
    /// EDS.
    LoadAssignment(Arc<LoadAssignment>),
    /// ECDS.
    Filter {
        /// The filter's name in the connection manager.
        name: String,
        /// What it is there.
        config: Arc<FilterConfig>,
    },
    /// LDS.
    Listener(Arc<Listener>),
    /// RDS.
    RouteConfiguration(Arc<RouteConfiguration>),
}

impl Resource {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::LoadAssignment(_) => Kind::LoadAssignment,
            Self::Filter { .. } => Kind::Filter,
            Self::Listener(_) => Kind::Listener,
            Self::RouteConfiguration(_) => Kind::RouteConfiguration,
        }
    }

    /// The name by which it is asked for.
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => &cluster.name,
            Self::LoadAssignment(assignment) => &assignment.cluster,
            Self::Filter { name, .. } => name,
            Self::Listener(listener) => &listener.name,
            Self::RouteConfiguration(routes) => &routes.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn type_urls_name_one_kind_each() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_type_url(kind.type_url()), Some(kind));
            assert!(kind.message_name().ends_with(kind.noun()));
        }
        assert_eq!(Kind::from_type_url("envoy.config.cluster.v3.Cluster"), None);
    }
}
