//! What happened to configuration, as counters with Envoy's names and as log lines with stable codes.

use std::sync::Arc;

use leno_xds::resource::Kind;

use crate::config::store::Note;
use crate::stats::Registry;

/// Counts and logs.
pub struct Notes {
    registry: Arc<Registry>,
}

impl Notes {
    /// Into this registry.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Takes one note. `prefixes` are the statistics prefixes of the connection managers that name the resource.
    pub fn take(&self, note: &Note, prefixes: &[String]) {
        match note {
            Note::Taken(kind, name) => {
                tracing::debug!(code = "config_taken", kind = kind.noun(), name, "taken");
                match kind {
                    Kind::Filter => self.filter(name, prefixes, "config_reload"),
                    Kind::RouteConfiguration => self.routes(name, prefixes, "config_reload"),
                    Kind::Cluster | Kind::Listener | Kind::LoadAssignment => {}
                }
            }
            Note::Refused(kind, name, reason) => {
                tracing::warn!(
                    code = "config_refused",
                    kind = kind.noun(),
                    name,
                    reason,
                    "refused; what it should have replaced stays"
                );
                match kind {
                    Kind::Filter => self.filter(name, prefixes, "config_fail"),
                    Kind::RouteConfiguration => self.routes(name, prefixes, "update_rejected"),
                    Kind::Listener => self.count("listener_manager.listener_create_failure"),
                    Kind::Cluster | Kind::LoadAssignment => {}
                }
            }
            Note::Removed(kind, name) => {
                tracing::info!(code = "config_removed", kind = kind.noun(), name, "removed");
                match kind {
                    Kind::Listener => self.count("listener_manager.listener_removed"),
                    Kind::Cluster => self.count("cluster_manager.cluster_removed"),
                    Kind::Filter | Kind::RouteConfiguration | Kind::LoadAssignment => {}
                }
            }
            Note::Active { kind, name, is_new } => {
                tracing::info!(code = "config_active", kind = kind.noun(), name, "serves");
                match (kind, is_new) {
                    (Kind::Listener, true) => self.count("listener_manager.listener_added"),
                    (Kind::Listener, false) => self.count("listener_manager.listener_modified"),
                    (Kind::Cluster, true) => self.count("cluster_manager.cluster_added"),
                    (Kind::Cluster, false) => self.count("cluster_manager.cluster_modified"),
                    (Kind::Filter | Kind::RouteConfiguration | Kind::LoadAssignment, _) => {}
                }
            }
            Note::TimedOut(kind, name) => {
                tracing::warn!(
                    code = "config_timeout",
                    kind = kind.noun(),
                    name,
                    "what it names did not come in time"
                );
                self.count("config.initial_fetch_timeout");
            }
        }
    }

    /// An update of a whole kind was answered.
    pub fn answered(&self, kind: Kind, is_taken: bool) {
        let prefix = match kind {
            Kind::Listener => "listener_manager.lds",
            Kind::Cluster => "cluster_manager.cds",
            Kind::Filter => "config.ecds",
            Kind::RouteConfiguration => "config.rds",
            Kind::LoadAssignment => "config.eds",
        };
        let what = if is_taken {
            "update_success"
        } else {
            "update_rejected"
        };
        self.count(&format!("{prefix}.update_attempt"));
        self.count(&format!("{prefix}.{what}"));
    }

    /// How many listeners and clusters there are.
    pub fn totals(&self, listeners: [u64; 2], clusters: [u64; 2]) {
        let [active, warming] = listeners;
        self.registry
            .set_gauge("listener_manager.total_listeners_active", active);
        self.registry
            .set_gauge("listener_manager.total_listeners_warming", warming);
        let [active, warming] = clusters;
        self.registry.set_gauge("cluster_manager.active_clusters", active);
        self.registry
            .set_gauge("cluster_manager.warming_clusters", warming);
    }

    /// Whether a control plane is connected.
    pub fn connected(&self, connected: bool) {
        self.registry
            .set_gauge("control_plane.connected_state", u64::from(connected));
    }

    fn filter(&self, name: &str, prefixes: &[String], what: &str) {
        for prefix in prefixes {
            let tags = [
                ("envoy.http_conn_manager_prefix", prefix.as_str()),
                ("envoy.extension_config_name", name),
            ];
            let metric = format!("http.{prefix}.extension_config_discovery.{name}.{what}");
            self.registry.shared_counter(&metric, &tags).inc();
        }
    }

    fn routes(&self, name: &str, prefixes: &[String], what: &str) {
        for prefix in prefixes {
            let tags = [
                ("envoy.http_conn_manager_prefix", prefix.as_str()),
                ("envoy.rds_route_config", name),
            ];
            self.registry
                .shared_counter(&format!("http.{prefix}.rds.{name}.{what}"), &tags)
                .inc();
        }
    }

    fn count(&self, name: &str) {
        self.registry.shared_counter(name, &[]).inc();
    }
}
