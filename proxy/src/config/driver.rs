//! Does what the [store](crate::config::store) asks for, until the process ends.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use leno_model::bootstrap::Bootstrap;
use leno_model::filter::FilterConfig;
use leno_xds::resource::{Kind, Resource};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::config::link::{FromServer, ToServer};
use crate::config::notes::Notes;
use crate::config::plan::Plan;
use crate::config::prepare::{Origin, Preparer};
use crate::config::store::parts::{Part, PartId, Ready};
use crate::config::store::{Action, Now, Settings, Store, Update, Versioned};
use crate::config::view::View;
use crate::filters::Prepared;
use crate::router::RouteTable;

struct PreparedPart {
    id: PartId,
    part: Part,
    result: Result<Ready<Arc<Prepared>, Arc<RouteTable>>, String>,
}

/// Where configuration meets the rest of the process.
pub struct Ends {
    /// What the server says; never anything without a server.
    pub from_server: mpsc::Receiver<FromServer>,
    /// What the server is told.
    pub to_server: mpsc::Sender<ToServer>,
    /// Requests for a copy.
    pub views: mpsc::Receiver<oneshot::Sender<View>>,
    /// The newest plan.
    pub plans: watch::Sender<Option<Arc<Plan>>>,
    /// Turns `true` when everything that was waited for at start is there.
    pub initialized: watch::Sender<bool>,
}

/// See the module.
pub struct Config {
    store: Store<Arc<Prepared>, Arc<RouteTable>>,
    bootstrap: (Arc<Bootstrap>, SystemTime),
    preparer: Preparer,
    preparing: JoinSet<PreparedPart>,
    notes: Notes,
    ends: Ends,
    /// Answers about the bootstrap that are still missing, and the first refusal.
    bootstrap_answers: (usize, Option<String>),
    /// Whose configuration is being prepared now.
    origin: Origin,
}

impl Config {
    /// Begins with `bootstrap`.
    pub fn new(bootstrap: Arc<Bootstrap>, preparer: Preparer, notes: Notes, ends: Ends) -> Self {
        let no_routes = leno_model::route::RouteConfiguration::default();
        let settings = Settings {
            node: Arc::new(bootstrap.node.clone()),
            discovers_clusters: bootstrap.dynamic.ads.is_some() && bootstrap.dynamic.clusters,
            discovers_listeners: bootstrap.dynamic.ads.is_some() && bootstrap.dynamic.listeners,
            fetch_timeout: fetch_timeout(&bootstrap),
            no_routes: Arc::new(RouteTable::compile(&no_routes).expect("no routes are valid routes")),
        };
        Self {
            store: Store::new(settings, now()),
            bootstrap: (bootstrap, SystemTime::now()),
            preparer,
            preparing: JoinSet::new(),
            notes,
            ends,
            bootstrap_answers: (0, None),
            origin: Origin::Bootstrap,
        }
    }

    /// Takes the bootstrap's own resources, and waits until they are prepared.
    ///
    /// # Errors
    /// The first of them that cannot serve.
    pub async fn load_bootstrap(&mut self) -> Result<(), String> {
        let bootstrap = Arc::clone(&self.bootstrap.0);
        let clusters = bootstrap
            .clusters
            .iter()
            .cloned()
            .map(Resource::Cluster)
            .collect();
        let listeners = bootstrap
            .listeners
            .iter()
            .cloned()
            .map(Resource::Listener)
            .collect();
        for (kind, resources) in [(Kind::Cluster, clusters), (Kind::Listener, listeners)] {
            self.bootstrap_answers.0 += 1;
            self.store.update(of_bootstrap(kind, resources), now());
        }
        self.store.loaded(now());
        self.act().await;
        while self.bootstrap_answers.0 > 0 {
            let Some(done) = self.preparing.join_next().await else {
                return Err("the bootstrap's resources are never ready".to_owned());
            };
            self.done(done).await;
        }
        self.origin = Origin::Server;
        self.bootstrap_answers.1.take().map_or(Ok(()), Err)
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            let deadline = self.store.deadline();
            tokio::select! {
                Some(event) = self.ends.from_server.recv() => self.on_server(event),
                Some(done) = self.preparing.join_next() => self.done(done).await,
                Some(asked) = self.ends.views.recv() => {
                    // The one who asked may have gone.
                    let _ = asked.send(View::of(&self.store, self.bootstrap.clone()));
                }
                () = until(deadline) => self.store.on_time(now()),
                else => return,
            }
            self.act().await;
        }
    }

    fn on_server(&mut self, event: FromServer) {
        match event {
            FromServer::Update(update) => self.store.update(update, now()),
            FromServer::Connected(connected) => self.notes.connected(connected),
        }
    }

    async fn done(&mut self, done: Result<PreparedPart, tokio::task::JoinError>) {
        match done {
            Ok(PreparedPart { id, part, result }) => {
                if let (Part::Filter(config), Ok(Ready::Filter(prepared))) = (&part, &result)
                    && prepared.is_absent()
                {
                    self.fetch_later(id, Arc::clone(config));
                }
                self.store.prepared(id, result, now());
            }
            // Panics while preparing are caught where the work is done; only an abort at the end comes here.
            Err(error) => tracing::error!(code = "config_prepare", %error, "a part was not prepared"),
        }
        self.act().await;
    }

    /// The filter takes the place of the one that has no code when its module has come.
    fn fetch_later(&mut self, id: PartId, config: Arc<FilterConfig>) {
        if !self.preparer.fetches() {
            return;
        }
        let prepared = self.preparer.fetch_later(Arc::clone(&config));
        self.preparing.spawn(async move {
            let result = Ok(Ready::Filter(prepared.await));
            let part = Part::Filter(config);
            PreparedPart { id, part, result }
        });
    }

    async fn act(&mut self) {
        for action in self.store.actions() {
            match action {
                Action::Prepare(id, part) => {
                    let result = self.preparer.prepare(part.clone(), self.origin);
                    self.preparing.spawn(async move {
                        let result = result.await;
                        PreparedPart { id, part, result }
                    });
                }
                Action::Answer(None, refused) => {
                    self.bootstrap_answers.0 = self.bootstrap_answers.0.saturating_sub(1);
                    let mut refused = refused
                        .into_iter()
                        .map(|(name, reason)| format!("{name}: {reason}"));
                    let first = &mut self.bootstrap_answers.1;
                    *first = first.take().or(refused.next());
                }
                Action::Answer(Some(token), refused) => {
                    self.notes.answered(token.kind, refused.is_empty());
                    self.tell(ToServer::Answer(token, refused)).await;
                }
                Action::Subscribe(kind, names) => self.tell(ToServer::Subscribe(kind, names)).await,
                Action::Note(note) => {
                    let (kind, name) = note.subject();
                    let prefixes = self.store.stat_prefixes(kind, name);
                    self.notes.take(&note, &prefixes);
                }
                Action::Initialized => {
                    self.ends.initialized.send_replace(true);
                }
            }
        }
        if let Some(plan) = self.store.plan() {
            self.ends.plans.send_replace(Some(Arc::new(plan)));
        }
        let [listeners, clusters] = self.store.totals();
        self.notes.totals(listeners, clusters);
    }

    /// Without a server nobody listens, and nothing is lost.
    async fn tell(&self, message: ToServer) {
        let _ = self.ends.to_server.send(message).await;
    }
}

fn fetch_timeout(bootstrap: &Bootstrap) -> std::time::Duration {
    const DEFAULT: std::time::Duration = std::time::Duration::from_secs(15);
    let timeout = bootstrap
        .dynamic
        .ads
        .as_ref()
        .map(|ads| ads.initial_fetch_timeout);
    // Zero waits for ever (Envoy's `initial_fetch_timeout`); a year is as good.
    match timeout {
        None => DEFAULT,
        Some(timeout) if timeout.is_zero() => std::time::Duration::from_secs(365 * 86_400),
        Some(timeout) => timeout,
    }
}

fn of_bootstrap(kind: Kind, resources: Vec<Resource>) -> Update {
    let versioned = |resource| Versioned {
        resource,
        version: String::new(),
    };
    Update {
        token: None,
        kind,
        resources: resources.into_iter().map(versioned).collect(),
        refused: Vec::new(),
        removed: Vec::new(),
        version: String::new(),
    }
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: SystemTime::now(),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
