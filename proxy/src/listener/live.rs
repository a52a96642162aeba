//! A listener on one worker as its connections see it: its chains now, and each chain for as long as a connection
//! came in through it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leno_model::listener::ChainMatch;
use tokio::sync::watch;

use crate::exchange::facts::ListenerFacts;
use crate::listener::matching::Matcher;
use crate::listener::stats::ListenerStats;
use crate::runtime::{ChainRuntime, HttpRuntime, ListenerRuntime};
use crate::tls::server::ServerTls;

/// See the module.
pub(crate) struct LiveListener {
    chains: RefCell<Rc<Chains>>,
}

/// The chains of one generation.
pub(crate) struct Chains {
    pub(crate) matcher: Rc<Matcher>,
    pub(crate) inspect_timeout: Option<Duration>,
    pub(crate) stats: Rc<ListenerStats>,
    /// In the order of the listener.
    pub(crate) all: Vec<Rc<LiveChain>>,
}

/// A chain. It survives updates that change neither whom it takes nor its TLS.
pub(crate) struct LiveChain {
    matches: ChainMatch,
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) facts: Arc<ListenerFacts>,
    http: RefCell<Rc<HttpRuntime>>,
    drain: watch::Sender<bool>,
}

impl LiveListener {
    pub(crate) fn new(runtime: &ListenerRuntime) -> Self {
        Self {
            chains: RefCell::new(Rc::new(Chains::new(runtime, &[]))),
        }
    }

    /// For connections that come in now.
    pub(crate) fn chains(&self) -> Rc<Chains> {
        Rc::clone(&self.chains.borrow())
    }

    /// From now on this. Connections of chains that are gone or believe others than before should end: what they
    /// were checked against does not hold any more.
    pub(crate) fn update(&self, runtime: &ListenerRuntime) {
        let old = self.chains();
        let new = Chains::new(runtime, &old.all);
        for chain in &old.all {
            if !new.all.iter().any(|kept| Rc::ptr_eq(kept, chain)) {
                chain.drain.send_replace(true);
            }
        }
        *self.chains.borrow_mut() = Rc::new(new);
    }

    /// All connections should end.
    pub(crate) fn drain(&self) {
        for chain in &self.chains().all {
            chain.drain.send_replace(true);
        }
    }
}

impl Chains {
    fn new(runtime: &ListenerRuntime, old: &[Rc<LiveChain>]) -> Self {
        let chain = |chain: &ChainRuntime| match old.iter().find(|known| known.is(chain)) {
            Some(known) => {
                *known.http.borrow_mut() = Rc::clone(&chain.http);
                Rc::clone(known)
            }
            None => Rc::new(LiveChain::new(chain)),
        };
        Self {
            matcher: Rc::clone(&runtime.matcher),
            inspect_timeout: runtime.inspect_timeout,
            stats: Rc::clone(&runtime.stats),
            all: runtime.chains.iter().map(chain).collect(),
        }
    }
}

impl LiveChain {
    fn new(chain: &ChainRuntime) -> Self {
        Self {
            matches: chain.matches.clone(),
            tls: chain.tls.clone(),
            handshake_timeout: chain.handshake_timeout,
            facts: Arc::clone(&chain.facts),
            http: RefCell::new(Rc::clone(&chain.http)),
            drain: watch::Sender::new(false),
        }
    }

    /// Whether connections of this chain may stay when it becomes `chain`.
    fn is(&self, chain: &ChainRuntime) -> bool {
        let same_tls = match (&self.tls, &chain.tls) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls
            && self.matches == chain.matches
            && self.handshake_timeout == chain.handshake_timeout
            && self.facts == chain.facts
    }

    /// What its connections serve now.
    pub(crate) fn http(&self) -> Rc<HttpRuntime> {
        Rc::clone(&self.http.borrow())
    }

    /// Becomes true when connections should end as soon as they can.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }
}
