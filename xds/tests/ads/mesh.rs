//! Small consistent snapshots: listeners that name routes and filters, routes that name clusters, clusters that
//! name endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
use leno_model::filter::{DiscoveredFilter, FilterConfig, FilterSource, HttpFilter, Router};
use leno_model::http::{HttpConnectionManager, RouteSource};
use leno_model::listener::{Direction, FilterChain, Listener};
use leno_model::route::{
    Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, Target, VirtualHost,
};
use leno_model::snapshot::Snapshot;

/// Applications by number; the value changes everything that belongs to one of them.
pub(crate) type Mesh = BTreeMap<u8, u8>;

pub(crate) fn snapshot(mesh: &Mesh) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (app, state) in mesh {
        // A changed application also moves to another cluster.
        let cluster = format!("cluster-{app}-{state}");
        let service = format!("service-{app}");
        let mut meant = Cluster::new(cluster.clone(), Discovery::Eds(service.clone()));
        meant.connect_timeout = Duration::from_secs(1 + u64::from(*state));
        snapshot.clusters.insert(cluster.clone(), Arc::new(meant));
        snapshot
            .endpoints
            .insert(service.clone(), Arc::new(endpoints(&service, *state)));
        let filter = format!("filter-{app}");
        let router = Router {
            suppress_envoy_headers: state % 2 == 0,
        };
        snapshot
            .filters
            .insert(filter.clone(), Arc::new(FilterConfig::Router(router)));
        let routes = format!("routes-{app}");
        snapshot
            .routes
            .insert(routes.clone(), Arc::new(route_configuration(&routes, &cluster)));
        let name = format!("listener-{app}");
        snapshot
            .listeners
            .insert(name.clone(), Arc::new(listener(&name, &routes, &filter, *app)));
    }
    snapshot
}

fn endpoints(service: &str, state: u8) -> LoadAssignment {
    LoadAssignment {
        cluster: service.to_owned(),
        localities: vec![LocalityEndpoints {
            endpoints: vec![Endpoint::at(Host::Socket(
                ([127, 0, 0, 1], u16::from(state) + 1).into(),
            ))],
            ..LocalityEndpoints::default()
        }],
    }
}

fn route_configuration(name: &str, cluster: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "any".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                name: String::new(),
                matches: RouteMatch::path(PathMatch::Prefix("/".to_owned())),
                action: RouteAction::Forward(Box::new(Forward::to(cluster))),
                edits: HeaderEdits::default(),
                filter_overrides: BTreeMap::new(),
            }],
            edits: HeaderEdits::default(),
            retry: None,
            tells_attempts: Default::default(),
            filter_overrides: BTreeMap::new(),
        }],
        ..RouteConfiguration::default()
    }
}

fn listener(name: &str, routes: &str, filter: &str, app: u8) -> Listener {
    let discovered = HttpFilter {
        name: filter.to_owned(),
        source: FilterSource::Discovered(DiscoveredFilter {
            default: None,
            apply_default_without_warming: false,
            type_urls: vec!["type.googleapis.com/envoy.extensions.filters.http.router.v3.Router".to_owned()],
        }),
        disabled: false,
    };
    let router = HttpFilter {
        name: "router".to_owned(),
        source: FilterSource::Inline(Arc::new(FilterConfig::Router(Router::default()))),
        disabled: false,
    };
    let chain = FilterChain::http(HttpConnectionManager {
        stat_prefix: name.to_owned(),
        routes: RouteSource::Discovered(routes.to_owned()),
        filters: vec![discovered, router],
        ..HttpConnectionManager::default()
    });
    Listener {
        direction: Direction::Outbound,
        ..Listener::new(name, ([127, 0, 0, 1], 1000 + u16::from(app)).into(), chain)
    }
}

/// The cluster that a route configuration of ours names.
pub(crate) fn cluster_of(routes: &RouteConfiguration) -> &str {
    match &routes.virtual_hosts[0].routes[0].action {
        RouteAction::Forward(forward) => match &forward.target {
            Target::Cluster(name) => name,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
