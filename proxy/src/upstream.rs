//! Clusters on one worker: endpoints, their connection pools, limits, and how an exchange with one of them begins.
//!
//! A [`ClusterRuntime`] survives every update that does not change its cluster; its endpoints survive every update
//! that keeps their address. Nothing here is shared with other workers but the [limits](limits::Limits).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use leno_model::cluster::{Cluster, Discovery, UpstreamProtocol};
use leno_model::endpoint::{Endpoint, Host, LoadAssignment};

use crate::balancer::{Balancer, Candidate};
use crate::config::plan::ClusterPlan;
use crate::http::error::StreamError;
use crate::http::message::{Protocol, RequestHead};
use crate::http::settings::ClientSettings;
use crate::tls::client::ClientTls;

use self::dns::{Resolver, Resolving};
use self::lease::Opened;
use self::limits::{Limits, Ticket};
use self::pool::EndpointRuntime;
use self::stats::ClusterStats;

pub mod call;

pub mod pool;

pub mod lease;

pub mod limits;

pub mod dns;

pub mod stats;

mod sweep;

/// A cluster on one worker.
pub struct ClusterRuntime {
    name: Arc<str>,
    cluster: Arc<Cluster>,
    given: RefCell<Option<Arc<LoadAssignment>>>,
    names: Vec<(Host, Resolving)>,
    members: RefCell<Members>,
    limits: Arc<Limits>,
    settings: ClientSettings,
    tls: Option<Arc<ClientTls>>,
    stats: ClusterStats,
    tasks: RefCell<Vec<tokio::task::AbortHandle>>,
    seed: Cell<u64>,
}

struct Members {
    endpoints: Vec<Rc<EndpointRuntime>>,
    balancer: Balancer,
}

/// What clusters of all workers have in common.
#[derive(Clone)]
pub struct Common {
    /// Looks names up.
    pub resolver: Arc<Resolver>,
    /// Counts connections and exchanges of the whole process.
    pub limits: Arc<limits::Registry>,
    /// Counts for operators.
    pub registry: Arc<crate::stats::Registry>,
}

/// Why an exchange with an upstream could not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// A limit of the cluster is reached.
    Overflow,
    /// The connection was refused; the text is the system's.
    Connect(String),
    /// There was no connection in time.
    ConnectTimeout,
    /// The connection broke at once, or what was to be sent is not allowed.
    Stream(StreamError),
}

impl ClusterRuntime {
    /// A cluster with its endpoints, as far as they are known. Must run on a `LocalSet`.
    #[must_use]
    pub fn start(plan: &ClusterPlan, common: &Common, seed: u64) -> Rc<Self> {
        let cluster = Arc::clone(&plan.cluster);
        let names = match &cluster.discovery {
            Discovery::Static(_) | Discovery::Eds(_) => Vec::new(),
            Discovery::StrictDns(given) | Discovery::LogicalDns(given) => names_of(given, &common.resolver),
        };
        let runtime = Rc::new(Self {
            name: cluster.name.as_str().into(),
            given: RefCell::new(assignment(plan)),
            names,
            members: RefCell::new(Members {
                endpoints: Vec::new(),
                balancer: Balancer::new(cluster.balance, &[], 0),
            }),
            limits: common.limits.of(&cluster.name, cluster.limits),
            settings: ClientSettings {
                h1_trailers: cluster.h1_trailers,
                ..ClientSettings::default()
            },
            tls: plan.tls.clone(),
            stats: ClusterStats::new(&common.registry, &cluster.name),
            tasks: RefCell::default(),
            seed: Cell::new(seed),
            cluster,
        });
        runtime.rebuild();
        let watches = runtime.names.iter().map(|(_, resolving)| resolving.clone());
        let watches = watches.map(|resolving| dns::follow(Rc::downgrade(&runtime), resolving));
        let mut tasks: Vec<_> = watches
            .map(|task| tokio::task::spawn_local(task).abort_handle())
            .collect();
        let sweep = sweep::run(Rc::downgrade(&runtime), runtime.cluster.idle_timeout);
        tasks.push(tokio::task::spawn_local(sweep).abort_handle());
        *runtime.tasks.borrow_mut() = tasks;
        runtime
    }

    /// Whether `plan` differs in its endpoints only.
    #[must_use]
    pub fn is_made_from(&self, plan: &ClusterPlan) -> bool {
        self.cluster == plan.cluster && self.tls == plan.tls
    }

    /// Takes over other endpoints. All else must be as [`is_made_from`](Self::is_made_from) says.
    pub fn update(&self, plan: &ClusterPlan) {
        let given = assignment(plan);
        if *self.given.borrow() != given {
            *self.given.borrow_mut() = given;
            self.rebuild();
        }
    }

    /// Resolves once every name has been looked up at least once, with whatever result, and its addresses are in use.
    pub async fn resolved(&self) {
        for (_, resolving) in &self.names {
            resolving.clone().first().await;
        }
        // The task that follows the names may not have had its turn yet.
        if !self.names.is_empty() {
            self.rebuild();
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As it was configured.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> &ClusterStats {
        &self.stats
    }

    /// Its limits, shared by all workers.
    #[must_use]
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// The endpoints in use.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Rc<EndpointRuntime>> {
        self.members.borrow().endpoints.clone()
    }

    /// An endpoint for the next exchange; those in `tried` only if there is hardly anybody else.
    #[must_use]
    pub fn choose(&self, random: u64, tried: &[SocketAddr]) -> Option<Rc<EndpointRuntime>> {
        let mut members = self.members.borrow_mut();
        let Members { endpoints, balancer } = &mut *members;
        let load = |position: usize| endpoints.get(position).map_or(0, |endpoint| endpoint.active());
        let chosen = if tried.is_empty() {
            balancer.choose(random, load)
        } else {
            let avoid = |position: usize| {
                endpoints
                    .get(position)
                    .is_some_and(|one| tried.contains(&one.address()))
            };
            balancer.choose_other(random, load, avoid)
        };
        chosen.and_then(|position| endpoints.get(position)).cloned()
    }

    /// Begins an exchange with `endpoint`. Dropping the future gives everything back.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        &self,
        endpoint: &Rc<EndpointRuntime>,
        head: &RequestHead,
        end: bool,
    ) -> Result<Opened, OpenError> {
        let ticket = self.limits.exchange().ok_or_else(|| {
            self.stats.overflow.inc();
            OpenError::Overflow
        })?;
        let http2 = match self.cluster.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Downstream => head.protocol == Protocol::Http2,
        };
        let opened = if http2 {
            endpoint.open_h2(self, head, end).await
        } else {
            endpoint.open_h1(self, head, end).await
        };
        opened.map(|opened| opened.holding(ticket))
    }

    /// A retry, unless too many run.
    #[must_use]
    pub fn retry(&self) -> Option<Ticket> {
        self.limits.retry()
    }

    pub(crate) fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.tls.as_ref()
    }

    pub(crate) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Makes endpoints and balancer again from what is known now. Endpoints keep their pools.
    pub(crate) fn rebuild(&self) {
        let given = self.given.borrow();
        let Some(given) = given.as_ref() else { return };
        let (mut found, mut candidates) = (Vec::new(), Vec::new());
        let mut old: HashMap<(SocketAddr, String), Rc<EndpointRuntime>> = HashMap::new();
        for endpoint in &self.members.borrow().endpoints {
            old.insert(
                (endpoint.address(), endpoint.hostname().to_owned()),
                Rc::clone(endpoint),
            );
        }
        for (locality_index, locality) in given.localities.iter().enumerate() {
            let place = Arc::new(locality.locality.clone());
            for endpoint in &locality.endpoints {
                for address in self.addresses(endpoint) {
                    let known = old.remove(&(address, endpoint_name(endpoint).to_owned()));
                    let known = known.filter(|known| **known.locality() == *place);
                    found.push(known.unwrap_or_else(|| {
                        Rc::new(EndpointRuntime::new(
                            address,
                            endpoint_name(endpoint),
                            Arc::clone(&place),
                        ))
                    }));
                    candidates.push(Candidate {
                        priority: locality.priority,
                        locality: locality_index,
                        locality_weight: locality.weight,
                        weight: endpoint.weight,
                        health: endpoint.health,
                    });
                }
            }
        }
        for gone in old.values() {
            gone.retire();
        }
        let seed = self
            .seed
            .get()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(1);
        self.seed.set(seed);
        self.stats.members.set(found.len() as u64);
        *self.members.borrow_mut() = Members {
            balancer: Balancer::new(self.cluster.balance, &candidates, seed),
            endpoints: found,
        };
    }

    /// Where an endpoint is, as far as it is known.
    fn addresses(&self, endpoint: &Endpoint) -> Vec<SocketAddr> {
        let port = match &endpoint.address {
            Host::Socket(address) => return vec![*address],
            Host::Name { port, .. } => *port,
        };
        let resolving = self.names.iter().find(|(host, _)| *host == endpoint.address);
        let mut known = resolving
            .map(|(_, resolving)| resolving.addresses(self.cluster.dns_family))
            .unwrap_or_default();
        if matches!(self.cluster.discovery, Discovery::LogicalDns(_)) {
            known.truncate(1);
        }
        known
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect()
    }
}

impl Drop for ClusterRuntime {
    fn drop(&mut self) {
        for task in self.tasks.borrow().iter() {
            task.abort();
        }
    }
}

fn assignment(plan: &ClusterPlan) -> Option<Arc<LoadAssignment>> {
    match &plan.cluster.discovery {
        Discovery::Static(given) | Discovery::StrictDns(given) | Discovery::LogicalDns(given) => {
            Some(Arc::clone(given))
        }
        Discovery::Eds(_) => plan.endpoints.clone(),
    }
}

fn names_of(given: &LoadAssignment, resolver: &Arc<Resolver>) -> Vec<(Host, Resolving)> {
    let endpoints = given.localities.iter().flat_map(|locality| &locality.endpoints);
    let name = |endpoint: &Endpoint| match &endpoint.address {
        Host::Socket(_) => None,
        host @ Host::Name { name, .. } => Some((host.clone(), resolver.watch(name))),
    };
    endpoints.filter_map(name).collect()
}

/// The name that `host_rewrite: auto` writes: what was said, or the DNS name.
fn endpoint_name(endpoint: &Endpoint) -> &str {
    match &endpoint.address {
        Host::Name { name, .. } if endpoint.hostname.is_empty() => name,
        Host::Name { .. } | Host::Socket(_) => &endpoint.hostname,
    }
}

/// The clusters of a worker as they are now, for whoever outlives a generation.
#[derive(Default)]
pub struct Clusters(RefCell<Rc<HashMap<Arc<str>, Rc<ClusterRuntime>>>>);

impl Clusters {
    /// The cluster of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Rc<ClusterRuntime>> {
        self.0.borrow().get(name).cloned()
    }

    /// All of them, unchanging.
    #[must_use]
    pub fn now(&self) -> Rc<HashMap<Arc<str>, Rc<ClusterRuntime>>> {
        Rc::clone(&self.0.borrow())
    }

    /// From now on these.
    pub fn replace(&self, clusters: Rc<HashMap<Arc<str>, Rc<ClusterRuntime>>>) {
        *self.0.borrow_mut() = clusters;
    }
}
