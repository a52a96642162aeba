//! A proxy with one listener, made of model values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leno_model::cluster::{Cluster, Discovery, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
use leno_model::filter::{FailurePolicy, FilterConfig, Router, WasmCode, WasmFilter, WasmVm};
use leno_model::http::HttpConnectionManager;
use leno_model::listener::{Direction, FilterChain, Listener, NetworkFilter};
use leno_model::route::{
    Forward, HeaderEdits, PathMatch, RetryOn, RetryPolicy, Route, RouteAction, RouteConfiguration,
    RouteMatch, VirtualHost,
};
use leno_proxy::access_log::sinks::Sinks;
use leno_proxy::config::plan::{ChainPlan, ClusterPlan, FilterPlan, HttpPlan, ListenerPlan, Plan};
use leno_proxy::filters::{self, Prepared};
use leno_proxy::router::RouteTable;
use leno_proxy::stats::Registry;
use leno_proxy::worker::{Parts, Workers};
use leno_sdk::native::NativeFactory;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) workers: Workers,
}

impl Proxy {
    /// With one worker, so that what a pool does is certain.
    pub(crate) async fn start(clusters: Vec<Cluster>, routes: Vec<Route>) -> Self {
        Self::with_filter(clusters, routes, None).await
    }

    /// As [`Proxy::start`], with a filter that is linked into the program.
    pub(crate) async fn with_filter(
        clusters: Vec<Cluster>,
        routes: Vec<Route>,
        native: Option<NativeFactory>,
    ) -> Self {
        let registry = Registry::new();
        let limits = leno_wasm::Limits {
            instances: 0,
            ..Default::default()
        };
        let engine = leno_wasm::Engine::new(limits).unwrap();
        let natives = native.into_iter().collect();
        let filters = Arc::new(filters::Shared::new(engine, Arc::clone(&registry), natives));
        let filter = native.map(|native| filter(&native, &filters));
        let sinks = Sinks::new(&registry, Duration::from_secs(1));
        let parts = Parts::new(Arc::default(), filters, sinks, registry);
        let mut workers = Workers::start(1, &parts).unwrap();
        workers.apply(plan(clusters, routes, filter)).await.unwrap();
        Self {
            address: workers.addresses()["main"],
            workers,
        }
    }

    pub(crate) async fn update(&mut self, clusters: Vec<Cluster>, routes: Vec<Route>) {
        self.workers.apply(plan(clusters, routes, None)).await.unwrap();
    }

    /// As [`Proxy::update`], with the listener at another address; says what went wrong.
    pub(crate) async fn move_to(
        &mut self,
        address: SocketAddr,
        clusters: Vec<Cluster>,
        routes: Vec<Route>,
    ) -> Result<(), String> {
        let plan = plan_at(address, clusters, routes, None);
        let moved = self.workers.apply(plan).await;
        self.address = self.workers.addresses()["main"];
        moved.map_err(|refusal| refusal.to_string())
    }
}

/// The filter, ready to start.
fn filter(native: &NativeFactory, shared: &filters::Shared) -> FilterPlan<Arc<Prepared>> {
    let config = FilterConfig::Wasm(Box::new(WasmFilter {
        name: native.name.to_owned(),
        root_id: String::new(),
        vm: WasmVm {
            id: String::new(),
            code: WasmCode::Inline(native.name.as_bytes().into()),
            configuration: Vec::new(),
            environment: BTreeMap::new(),
            host_environment: BTreeSet::new(),
        },
        configuration: Vec::new(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    }));
    let prepared = filters::prepare(&config, None, shared).unwrap();
    FilterPlan {
        name: native.name.to_owned(),
        disabled: false,
        config: Arc::new(config),
        prepared: Some(Arc::new(prepared)),
    }
}

fn plan(
    clusters: Vec<Cluster>,
    routes: Vec<Route>,
    filter: Option<FilterPlan<Arc<Prepared>>>,
) -> Arc<leno_proxy::runtime::Plan> {
    plan_at("127.0.0.1:0".parse().unwrap(), clusters, routes, filter)
}

fn plan_at(
    address: SocketAddr,
    clusters: Vec<Cluster>,
    routes: Vec<Route>,
    filter: Option<FilterPlan<Arc<Prepared>>>,
) -> Arc<leno_proxy::runtime::Plan> {
    let manager = Arc::new(HttpConnectionManager {
        stat_prefix: "main".to_owned(),
        ..Default::default()
    });
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes,
        edits: HeaderEdits::default(),
        retry: None,
        filter_overrides: BTreeMap::new(),
    };
    let routes = RouteConfiguration {
        virtual_hosts: vec![host],
        ..RouteConfiguration::default()
    };
    let listener = Listener {
        name: "main".to_owned(),
        address,
        filter_chains: vec![FilterChain {
            name: String::new(),
            network: NetworkFilter::Http(Arc::clone(&manager)),
        }],
        stat_prefix: String::new(),
        direction: Direction::Unspecified,
        per_connection_buffer_limit: 1 << 20,
        access_log: Vec::new(),
    };
    let router = FilterPlan {
        name: "router".to_owned(),
        disabled: false,
        config: Arc::new(FilterConfig::Router(Router::default())),
        prepared: None,
    };
    let http = HttpPlan {
        manager,
        routes: Arc::new(RouteTable::compile(&routes).unwrap()),
        filters: filter.into_iter().chain([router]).collect(),
        overrides: Vec::new(),
    };
    let listener = ListenerPlan {
        listener: Arc::new(listener),
        chains: vec![ChainPlan::Http(http)],
    };
    let clusters = clusters.into_iter().map(|cluster| {
        let plan = ClusterPlan {
            cluster: Arc::new(cluster),
            endpoints: None,
        };
        (plan.cluster.name.clone(), Arc::new(plan))
    });
    Arc::new(Plan {
        number: 1,
        node: Arc::default(),
        listeners: [("main".to_owned(), Arc::new(listener))].into(),
        clusters: clusters.collect(),
    })
}

pub(crate) fn cluster(name: &str, protocol: UpstreamProtocol, addresses: &[SocketAddr]) -> Cluster {
    let endpoints = addresses
        .iter()
        .map(|&address| Endpoint::at(Host::Socket(address)))
        .collect();
    let locality = LocalityEndpoints {
        endpoints,
        ..LocalityEndpoints::default()
    };
    let given = LoadAssignment {
        cluster: name.to_owned(),
        localities: vec![locality],
    };
    Cluster {
        protocol,
        ..Cluster::new(name, Discovery::Static(Arc::new(given)))
    }
}

pub(crate) fn forward(prefix: &str, cluster: &str) -> Route {
    Route {
        name: String::new(),
        matches: RouteMatch::path(PathMatch::Prefix(prefix.to_owned())),
        action: RouteAction::Forward(Box::new(Forward::to(cluster))),
        edits: HeaderEdits::default(),
        filter_overrides: BTreeMap::new(),
    }
}

pub(crate) fn retrying(prefix: &str, cluster: &str, on: RetryOn, retries: u32) -> Route {
    let mut route = forward(prefix, cluster);
    if let RouteAction::Forward(forward) = &mut route.action {
        forward.retry = Some(RetryPolicy {
            on,
            retries,
            per_try_timeout: None,
            status_codes: Vec::new(),
            backoff_base: Duration::from_millis(1),
            backoff_max: Duration::from_millis(10),
            avoid_previous_hosts: true,
        });
    }
    route
}

/// Where nobody listens.
pub(crate) fn refused_address() -> SocketAddr {
    // Bound and not listening: connections are refused, and nobody else gets the port while it lives.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
