//! A proxy with one listener, made of model values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leno_model::cluster::{Cluster, Discovery, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment, LocalityEndpoints};
use leno_model::filter::{FailurePolicy, FilterConfig, Router, WasmCode, WasmFilter, WasmVm};
use leno_model::http::HttpConnectionManager;
use leno_model::listener::{FilterChain, Listener};
use leno_model::route::{
    FilterOverride, Forward, HeaderEdits, PathMatch, RetryOn, RetryPolicy, Route, RouteAction,
    RouteConfiguration, RouteMatch, TellsAttempts, VirtualHost,
};
use leno_proxy::access_log::sinks::Sinks;
use leno_proxy::config::plan::{ChainPlan, ClusterPlan, FilterPlan, HttpPlan, ListenerPlan, Plan};
use leno_proxy::filters::{self, Prepared};
use leno_proxy::router::RouteTable;
use leno_proxy::stats::Registry;
use leno_proxy::tls::server::ServerTls;
use leno_proxy::worker::{Parts, Workers};
use leno_sdk::native::NativeFactory;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) workers: Workers,
    pub(crate) registry: Arc<Registry>,
    pub(crate) sinks: Arc<Sinks>,
}

/// What a proxy is to run.
pub(crate) struct Setup {
    pub(crate) address: SocketAddr,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) routes: Vec<Route>,
    /// A filter that is linked into the program.
    pub(crate) native: Option<NativeFactory>,
    pub(crate) manager: HttpConnectionManager,
    pub(crate) tells_attempts: TellsAttempts,
    /// Of the virtual host.
    pub(crate) filter_overrides: BTreeMap<String, FilterOverride>,
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Setup {
    pub(crate) fn new(clusters: Vec<Cluster>, routes: Vec<Route>) -> Self {
        Self {
            address: "127.0.0.1:0".parse().unwrap(),
            clusters,
            routes,
            native: None,
            manager: HttpConnectionManager {
                stat_prefix: "main".to_owned(),
                ..Default::default()
            },
            tells_attempts: TellsAttempts::default(),
            filter_overrides: BTreeMap::new(),
            tls: None,
        }
    }

    /// With one worker, so that what a pool does is certain.
    pub(crate) async fn start(self) -> Proxy {
        let registry = Registry::new();
        let limits = leno_wasm::Limits {
            instances: 0,
            ..Default::default()
        };
        let engine = leno_wasm::Engine::new(limits).unwrap();
        let natives = self.native.into_iter().collect();
        let filters = Arc::new(filters::Shared::new(engine, Arc::clone(&registry), natives));
        let ready = Ready::new(&self, &filters);
        let sinks = Sinks::new(&registry, Duration::from_millis(10));
        let parts = Parts::new(Arc::default(), filters, Arc::clone(&sinks), Arc::clone(&registry));
        let mut workers = Workers::start(1, &parts).unwrap();
        workers.apply(self.plan(ready)).await.unwrap();
        Proxy {
            address: workers.addresses()["main"],
            workers,
            registry,
            sinks,
        }
    }
}

impl Proxy {
    pub(crate) async fn start(clusters: Vec<Cluster>, routes: Vec<Route>) -> Self {
        Setup::new(clusters, routes).start().await
    }

    pub(crate) async fn with_filter(
        clusters: Vec<Cluster>,
        routes: Vec<Route>,
        native: NativeFactory,
    ) -> Self {
        let setup = Setup {
            native: Some(native),
            ..Setup::new(clusters, routes)
        };
        setup.start().await
    }

    /// As [`Proxy::update`], with this TLS.
    pub(crate) async fn update_tls(&mut self, tls: &Arc<ServerTls>, routes: Vec<Route>) {
        let setup = Setup {
            tls: Some(Arc::clone(tls)),
            ..Setup::new(Vec::new(), routes)
        };
        self.workers.apply(setup.plan(Ready::default())).await.unwrap();
    }

    pub(crate) async fn update(&mut self, clusters: Vec<Cluster>, routes: Vec<Route>) {
        let plan = Setup::new(clusters, routes).plan(Ready::default());
        self.workers.apply(plan).await.unwrap();
    }

    /// As [`Proxy::update`], with the listener at another address; says what went wrong.
    pub(crate) async fn move_to(
        &mut self,
        address: SocketAddr,
        clusters: Vec<Cluster>,
        routes: Vec<Route>,
    ) -> Result<(), String> {
        let setup = Setup {
            address,
            ..Setup::new(clusters, routes)
        };
        let moved = self.workers.apply(setup.plan(Ready::default())).await;
        self.address = self.workers.addresses()["main"];
        moved.map_err(|refusal| refusal.to_string())
    }
}

/// The configuration of a filter that is linked into the program.
pub(crate) fn wasm(native: &NativeFactory, configuration: &str) -> FilterConfig {
    FilterConfig::Wasm(Box::new(WasmFilter {
        name: native.name.to_owned(),
        root_id: String::new(),
        vm: WasmVm {
            id: String::new(),
            code: WasmCode::Inline(native.name.as_bytes().into()),
            configuration: Vec::new(),
            environment: BTreeMap::new(),
            host_environment: BTreeSet::new(),
        },
        configuration: configuration.as_bytes().to_vec(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    }))
}

/// The filters of a plan, ready to start.
#[derive(Default)]
struct Ready {
    filter: Option<FilterPlan<Arc<Prepared>>>,
    overrides: Vec<(FilterConfig, Arc<Prepared>)>,
}

impl Ready {
    fn new(setup: &Setup, shared: &filters::Shared) -> Self {
        let prepare = |config: &FilterConfig| Arc::new(filters::prepare(config, None, shared).unwrap());
        let filter = setup.native.map(|native| {
            let config = wasm(&native, "");
            FilterPlan {
                name: native.name.to_owned(),
                disabled: false,
                prepared: Some(prepare(&config)),
                config: Arc::new(config),
            }
        });
        let overrides = setup
            .routes
            .iter()
            .flat_map(|route| route.filter_overrides.values());
        let overrides = overrides.chain(setup.filter_overrides.values());
        let overrides = overrides.filter_map(|value| match value {
            FilterOverride::Config(config) => Some(((**config).clone(), prepare(config))),
            FilterOverride::Disabled => None,
        });
        Self {
            filter,
            overrides: overrides.collect(),
        }
    }
}

impl Setup {
    fn plan(self, ready: Ready) -> Arc<leno_proxy::runtime::Plan> {
        let Self {
            address,
            clusters,
            routes,
            ..
        } = self;
        let manager = Arc::new(self.manager);
        let host = VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            edits: HeaderEdits::default(),
            retry: None,
            tells_attempts: self.tells_attempts,
            filter_overrides: self.filter_overrides,
        };
        let routes = RouteConfiguration {
            virtual_hosts: vec![host],
            ..RouteConfiguration::default()
        };
        let listener = Listener::new("main", address, FilterChain::http(Arc::clone(&manager)));
        let router = FilterPlan {
            name: "router".to_owned(),
            disabled: false,
            config: Arc::new(FilterConfig::Router(Router::default())),
            prepared: None,
        };
        let http = HttpPlan {
            manager,
            routes: Arc::new(RouteTable::compile(&routes).unwrap()),
            filters: ready.filter.into_iter().chain([router]).collect(),
            overrides: ready.overrides,
        };
        let listener = ListenerPlan {
            listener: Arc::new(listener),
            chains: vec![ChainPlan::Http(http)],
            tls: vec![self.tls],
        };
        let clusters = clusters.into_iter().map(|cluster| {
            let plan = ClusterPlan {
                cluster: Arc::new(cluster),
                tls: None,
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
