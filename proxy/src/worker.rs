//! Worker threads: each with its own event loop, listeners, pools and plugins. The main side speaks to them through
//! [`Workers`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use leno_model::bootstrap::Node;
use leno_model::invalid::Invalid;
use leno_sdk::host::{Call, HostError};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::access_log::sinks::Sinks;
use crate::connection::{self, Place};
use crate::filters;
use crate::filters::host::{Answer, Caller};
use crate::filters::slots::Slots;
use crate::listener;
use crate::listener::live::LiveListener;
use crate::runtime::{Generation, ListenerPlan, Maker, Plan};
use crate::stats::Registry;
use crate::upstream::dns::Resolver;
use crate::upstream::{self, Clusters, Common};

/// What all workers are made with.
#[derive(Clone)]
pub struct Parts {
    /// Who this proxy is.
    pub node: Arc<Node>,
    /// For filters.
    pub filters: Arc<filters::Shared>,
    /// For access logs.
    pub sinks: Arc<Sinks>,
    /// For upstreams.
    pub upstream: Common,
}

impl Parts {
    /// With these. Must be called on the main runtime, where names are looked up.
    #[must_use]
    pub fn new(
        node: Arc<Node>,
        filters: Arc<filters::Shared>,
        sinks: Arc<Sinks>,
        registry: Arc<Registry>,
    ) -> Self {
        let upstream = Common {
            resolver: Resolver::new(Handle::current()),
            limits: Arc::default(),
            registry,
        };
        Self {
            node,
            filters,
            sinks,
            upstream,
        }
    }

    /// On a worker's own thread.
    fn maker(self) -> Maker {
        let clusters = Rc::new(Clusters::default());
        let caller = Rc::new(Calls(Rc::clone(&clusters)));
        let slots = Slots::new(self.filters, caller, self.node);
        Maker::new(self.upstream, self.sinks, clusters, slots)
    }
}

/// Calls of filters go to the clusters as they are when the call begins.
struct Calls(Rc<Clusters>);

impl Caller for Calls {
    fn call(&self, call: Call) -> Result<Answer, HostError> {
        let cluster = self.0.find(&call.cluster).ok_or(HostError::Invalid)?;
        Ok(Box::pin(upstream::call::call(cluster, call)))
    }
}

/// All workers, seen from the main side.
pub struct Workers {
    workers: Vec<Worker>,
    bound: BTreeMap<String, Bound>,
}

/// A listener that accepts.
#[derive(Clone)]
struct Bound {
    asked: SocketAddr,
    given: SocketAddr,
    plan: Arc<ListenerPlan>,
}

/// By listener, for one worker.
type Sockets = BTreeMap<String, StdListener>;

struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    /// Run this plan; sockets for listeners that are new.
    Apply(Arc<Plan>, Sockets, oneshot::Sender<Result<(), Invalid>>),
    /// Accept nothing more, ask connections to end; answer when all have.
    Drain(oneshot::Sender<()>),
}

impl Workers {
    /// Starts `count` threads, which wait for their first plan.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(count: usize, parts: &Parts) -> io::Result<Self> {
        let mut workers = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            let (commands, inbox) = mpsc::unbounded_channel();
            let parts = parts.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let thread = thread.spawn(move || {
                let local = LocalSet::new();
                let main = async move { run(parts.maker(), inbox).await };
                runtime.block_on(local.run_until(main));
            })?;
            workers.push(Worker {
                commands,
                thread: Some(thread),
            });
        }
        Ok(Self {
            workers,
            bound: BTreeMap::new(),
        })
    }

    /// Has all workers run `plan`, and waits until they do. A listener whose address cannot be bound stays as it
    /// was, or closed; the next plan tries again.
    ///
    /// # Errors
    /// Such a listener, while all else runs; or a worker cannot run the plan: what ran before still runs there.
    pub async fn apply(&mut self, plan: Arc<Plan>) -> Result<(), Invalid> {
        let mut bound = BTreeMap::new();
        let mut sockets: Vec<Sockets> = Vec::new();
        sockets.resize_with(self.workers.len(), Sockets::new);
        let mut result = Ok(());
        for (name, listener) in &plan.listeners {
            match self.bind(name, listener, &mut sockets) {
                Ok(made) => drop(bound.insert(name.clone(), made)),
                Err(refusal) => {
                    let known = self.bound.get(name).map(|known| (name.clone(), known.clone()));
                    bound.extend(known);
                    result = result.and(Err(refusal.within(name)));
                }
            }
        }
        let plan = match result {
            Ok(()) => plan,
            Err(_) => Arc::new(Plan {
                number: plan.number,
                node: Arc::clone(&plan.node),
                listeners: bound
                    .iter()
                    .map(|(name, bound)| (name.clone(), Arc::clone(&bound.plan)))
                    .collect(),
                clusters: plan.clusters.clone(),
            }),
        };
        let mut answers = Vec::new();
        for (worker, sockets) in self.workers.iter().zip(sockets) {
            let (answer, answered) = oneshot::channel();
            // A worker that has ended answers by dropping its side.
            let _ = worker
                .commands
                .send(Command::Apply(Arc::clone(&plan), sockets, answer));
            answers.push(answered);
        }
        let mut applied = Ok(());
        for answered in answers {
            let answer = answered
                .await
                .unwrap_or_else(|_| Err(Invalid::new("", "a worker thread has ended")));
            applied = applied.and(answer);
        }
        if applied.is_ok() {
            self.bound = bound;
        }
        applied.and(result)
    }

    /// The sockets of a listener, unless it has them already.
    fn bind(
        &self,
        name: &str,
        listener: &Arc<ListenerPlan>,
        sockets: &mut [Sockets],
    ) -> Result<Bound, Invalid> {
        let asked = listener.listener.address;
        let bound = |given| Bound {
            asked,
            given,
            plan: Arc::clone(listener),
        };
        if let Some(known) = self.bound.get(name).filter(|known| known.asked == asked) {
            return Ok(bound(known.given));
        }
        let made = listener::bind(asked, self.workers.len()).and_then(|made| {
            let given = made[0].local_addr()?;
            Ok((made, given))
        });
        let refusal =
            |error: io::Error| Invalid::new("address", format!("cannot listen on {asked}: {error}"));
        let (made, given) = made.map_err(refusal)?;
        for (worker, socket) in sockets.iter_mut().zip(made) {
            worker.insert(name.to_owned(), socket);
        }
        Ok(bound(given))
    }

    /// Where listeners are bound, by name.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.bound
            .iter()
            .map(|(name, bound)| (name.clone(), bound.given))
            .collect()
    }

    /// Stops accepting, asks every connection to end, and waits until all have. The caller limits the time.
    pub async fn drain(&self) {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (answer, answered) = oneshot::channel();
            let _ = worker.commands.send(Command::Drain(answer));
            answers.push(answered);
        }
        for answered in answers {
            // A worker that has ended has no connections.
            let _ = answered.await;
        }
    }

    /// Ends all threads. Connections that are still open are cut.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let threads: Vec<_> = self
            .workers
            .iter_mut()
            .filter_map(|worker| worker.thread.take())
            .collect();
        // Their inboxes close, which ends them.
        self.workers.clear();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread has panicked");
            }
        }
    }
}

/// A listener that accepts on this worker.
struct Accepting {
    live: Rc<LiveListener>,
    /// Dropped or set: no further connections.
    stop: watch::Sender<bool>,
}

impl Accepting {
    /// No further connections, and those that are open should end.
    fn drain(&self) {
        self.stop.send_replace(true);
        self.live.drain();
    }
}

async fn run(maker: Maker, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut generation: Option<Rc<RefCell<Rc<Generation>>>> = None;
    let mut listeners: BTreeMap<String, Accepting> = BTreeMap::new();
    let mut accepting = JoinSet::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Apply(plan, sockets, answer) => {
                let old = generation
                    .as_ref()
                    .map(|generation| Rc::clone(&generation.borrow()));
                let made = maker.make(&plan, old.as_deref()).await;
                let result = made.map(|made| {
                    let made = Rc::new(made);
                    let current = generation.get_or_insert_with(|| Rc::new(RefCell::new(Rc::clone(&made))));
                    *current.borrow_mut() = Rc::clone(&made);
                    switch(&made, current, sockets, &mut listeners, &mut accepting);
                });
                // Nobody waits any more: then nobody needs the answer.
                let _ = answer.send(result);
            }
            Command::Drain(answer) => {
                listeners.values().for_each(Accepting::drain);
                listeners.clear();
                let all = std::mem::take(&mut accepting);
                // Plans may still come while connections end.
                tokio::task::spawn_local(async move {
                    all.join_all().await;
                    let _ = answer.send(());
                });
            }
        }
    }
}

/// Puts a generation to work: listeners that stay serve it, others begin or end.
fn switch(
    made: &Rc<Generation>,
    current: &Rc<RefCell<Rc<Generation>>>,
    mut sockets: Sockets,
    listeners: &mut BTreeMap<String, Accepting>,
    accepting: &mut JoinSet<()>,
) {
    listeners.retain(|name, listener| {
        let stays = made.listeners.contains_key(name) && !sockets.contains_key(name);
        if !stays {
            listener.drain();
        }
        stays
    });
    for (name, runtime) in &made.listeners {
        if let Some(known) = listeners.get(name) {
            known.live.update(runtime);
            continue;
        }
        let Some(socket) = sockets.remove(name) else {
            continue;
        };
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(listener = %name, %error, "this worker cannot accept");
                continue;
            }
        };
        let (stop, stopped) = watch::channel(false);
        let live = Rc::new(LiveListener::new(runtime));
        let place = Place {
            generation: Rc::clone(current),
            listener: Rc::clone(&live),
        };
        accepting.spawn_local(accept_all(listener, place, stopped));
        listeners.insert(name.clone(), Accepting { live, stop });
    }
}

/// Accepts until told to drain, and ends with the last connection.
async fn accept_all(listener: TcpListener, place: Place, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            (stream, peer) = listener::accept(&listener) => {
                connections.spawn_local(connection::serve(stream, peer, place.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    while let Some((stream, peer)) = listener::accept_waiting(&listener).await {
        connections.spawn_local(connection::serve(stream, peer, place.clone()));
    }
    drop(listener);
    connections.join_all().await;
}
