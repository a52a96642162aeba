//! What each kind of proxy is offered, and one ADS stream per proxy.
//!
//! Proxies with equal views share one translation, and all proxies the encoding of equal resources. A view's offer is
//! replaced whole whenever the world or an artifact changes; each stream then sends what its proxy lacks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leno_model::snapshot::Snapshot;
use leno_xds::ads::message::{ClientMessage, Node};
use leno_xds::ads::published::Published;
use leno_xds::ads::server::{Event, Session};
use leno_xds::transport::server::Connection;
use tokio::sync::watch;

use crate::artifacts::States;
use crate::folder::Reading;
use crate::status::proxies::Proxies;
use crate::translate::plugins::Artifact;
use crate::translate::scope::View;
use crate::translate::{Artifacts, Settings, Translation, translate};

/// Offers snapshots to proxies. Clones share everything.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    inputs: Mutex<Inputs>,
    /// Every artifact that was wanted at the start was tried. Before that no proxy is told anything: to one that runs
    /// already, an offer without what is still being checked would be an order to drop it.
    is_settled: watch::Sender<bool>,
    views: Mutex<BTreeMap<View, watch::Sender<Arc<Offer>>>>,
    proxies: Proxies,
}

#[derive(Clone, Default)]
struct Inputs {
    reading: Arc<Reading>,
    states: States,
}

/// What one view is offered.
#[derive(Debug, Default)]
pub struct Offer {
    /// What it was translated from, held listeners replaced by those that serve.
    pub translation: Translation,
    /// The same, encoded.
    pub published: Arc<Published>,
    /// Every listener that is wanted could be offered, now or before. Until then there may be listeners that serve since
    /// an earlier control plane and of which this one has nothing to offer.
    pub is_established: bool,
}

fn locked<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    // Nothing that holds these locks can stop half way and leave them inconsistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Publisher {
    /// A publisher that offers nothing yet.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            settings,
            inputs: Mutex::default(),
            is_settled: watch::Sender::new(false),
            views: Mutex::default(),
            proxies: Proxies::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The proxies that are connected, and what they said.
    pub fn proxies(&self) -> &Proxies {
        &self.shared.proxies
    }

    /// The current offer of each view that has been asked for.
    pub fn offers(&self) -> Vec<(View, Arc<Offer>)> {
        locked(&self.shared.views)
            .iter()
            .map(|(view, offer)| (view.clone(), Arc::clone(&offer.borrow())))
            .collect()
    }

    /// What the offers are made from.
    pub fn inputs(&self) -> (Arc<Reading>, States) {
        let inputs = locked(&self.shared.inputs).clone();
        (inputs.reading, inputs.states)
    }

    /// Makes new offers for all views whenever one of these changes, until both end.
    pub async fn run(self, mut readings: watch::Receiver<Reading>, mut states: watch::Receiver<States>) {
        loop {
            let inputs = Inputs {
                reading: Arc::new(readings.borrow_and_update().clone()),
                states: Arc::clone(&states.borrow_and_update()),
            };
            *locked(&self.shared.inputs) = inputs.clone();
            let views: Vec<View> = locked(&self.shared.views).keys().cloned().collect();
            for view in views {
                self.renew(&view, &inputs);
            }
            if inputs.were_all_tried() {
                self.shared
                    .is_settled
                    .send_if_modified(|is_settled| !std::mem::replace(is_settled, true));
            }
            tokio::select! {
                changed = readings.changed() => if changed.is_err() { return },
                changed = states.changed() => if changed.is_err() { return },
            }
        }
    }

    fn renew(&self, view: &View, inputs: &Inputs) {
        let views = locked(&self.shared.views);
        let Some(sender) = views.get(view) else { return };
        let before = Arc::clone(&sender.borrow());
        let offer = offer(inputs, view, &self.shared.settings, &before, &others(&views));
        if offer.translation != before.translation {
            for note in offer.translation.notes.difference(&before.translation.notes) {
                tracing::warn!("{} {}: {}", note.kind, note.key, note.message);
            }
            sender.send_replace(Arc::new(offer));
        }
    }

    fn subscribe(&self, view: &View) -> watch::Receiver<Arc<Offer>> {
        let inputs = locked(&self.shared.inputs).clone();
        let mut views = locked(&self.shared.views);
        if let Some(sender) = views.get(view) {
            return sender.subscribe();
        }
        let offer = offer(
            &inputs,
            view,
            &self.shared.settings,
            &Offer::default(),
            &others(&views),
        );
        let (sender, receiver) = watch::channel(Arc::new(offer));
        views.insert(view.clone(), sender);
        receiver
    }

    /// Serves one stream until the proxy leaves.
    ///
    /// # Errors
    /// The proxy does not say what it is.
    pub async fn serve(&self, mut connection: Connection) -> Result<(), String> {
        let mut session = Session::new("leno", connection.variant);
        let mut offers: Option<watch::Receiver<Arc<Offer>>> = None;
        let mut registration = None;
        // It came with what an earlier control plane told it, and our first picture would be an order to drop a part.
        let mut keeps_all = false;
        loop {
            let next = async {
                match &mut offers {
                    Some(offers) => offers.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            let messages = tokio::select! {
                message = connection.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let has_state = has_state(&message);
                    let reaction = session.on_message(message);
                    let mut messages = reaction.messages;
                    for event in reaction.events {
                        if let Event::Connected(node) = &event {
                            let view = view_of(node)?;
                            let mut settled = self.shared.is_settled.subscribe();
                            if settled.wait_for(|is_settled| *is_settled).await.is_err() {
                                return Ok(());
                            }
                            let mut subscription = self.subscribe(&view);
                            let first = Arc::clone(&subscription.borrow_and_update());
                            keeps_all = has_state && !first.is_established;
                            if keeps_all {
                                tracing::warn!(node = node.id, "keeps what it has until no listener waits for an artifact");
                            } else {
                                messages.extend(session.publish(Arc::clone(&first.published)));
                            }
                            registration = Some(self.shared.proxies.register(node, &view));
                            offers = Some(subscription);
                        }
                        if let Some(registration) = &registration {
                            registration.note(&event);
                        }
                    }
                    messages
                }
                alive = next => {
                    let (true, Some(offers)) = (alive, &mut offers) else { return Ok(()) };
                    let offer = Arc::clone(&offers.borrow_and_update());
                    keeps_all = keeps_all && !offer.is_established;
                    if keeps_all {
                        continue;
                    }
                    session.publish(Arc::clone(&offer.published))
                }
            };
            for message in messages {
                self.shared.proxies.sent(&message);
                if !connection.send(message).await {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether a proxy says in its first message that it runs something already.
fn has_state(message: &ClientMessage) -> bool {
    match message {
        ClientMessage::Sotw(request) => !request.version.is_empty(),
        ClientMessage::Delta(request) => !request.initial_versions.is_empty(),
    }
}

fn view_of(node: &Node) -> Result<View, String> {
    let metadata = if node.metadata.is_empty() {
        "{}"
    } else {
        &node.metadata
    };
    let metadata = serde_json::from_str(metadata).map_err(|error| format!("node metadata: {error}"))?;
    View::of_node(&node.id, &node.user_agent_name, &metadata)
}

impl Inputs {
    fn were_all_tried(&self) -> bool {
        let mut plugins = self.reading.world.wasm_plugins.iter();
        plugins.all(|(key, plugin)| {
            let state = self.states.get(key);
            plugin.spec.url.starts_with("file://")
                || state.is_some_and(|state| state.good.is_some() || state.failure.is_some())
        })
    }
}

/// What is encoded already.
fn others(views: &BTreeMap<View, watch::Sender<Arc<Offer>>>) -> Vec<Arc<Published>> {
    views
        .values()
        .map(|offer| Arc::clone(&offer.borrow().published))
        .collect()
}

fn offer(
    inputs: &Inputs,
    view: &View,
    settings: &Settings,
    before: &Offer,
    others: &[Arc<Published>],
) -> Offer {
    let artifacts = artifacts(&inputs.states);
    let mut translation = translate(&inputs.reading.world, &artifacts, view, settings);
    hold(&mut translation, &before.translation.snapshot);
    let listeners = &translation.snapshot.listeners;
    let is_whole = translation.held.iter().all(|name| listeners.contains_key(name));
    let known = std::iter::once(&before.published).chain(others);
    let published = Published::new(&translation.snapshot, known.map(|published| &**published));
    Offer {
        translation,
        published: Arc::new(published),
        is_established: before.is_established || is_whole,
    }
}

/// Puts back what serves for listeners that wait, with the configurations that their chains name.
fn hold(translation: &mut Translation, before: &Snapshot) {
    let snapshot = &mut translation.snapshot;
    for name in &translation.held {
        match before.listeners.get(name) {
            Some(listener) => drop(snapshot.listeners.insert(name.clone(), Arc::clone(listener))),
            None => drop(snapshot.listeners.remove(name)),
        }
    }
    if !translation.held.is_empty() {
        for (name, filter) in &before.filters {
            snapshot
                .filters
                .entry(name.clone())
                .or_insert_with(|| Arc::clone(filter));
        }
        for (name, cluster) in &before.clusters {
            snapshot
                .clusters
                .entry(name.clone())
                .or_insert_with(|| Arc::clone(cluster));
        }
    }
}

fn artifacts(states: &States) -> Artifacts {
    states
        .iter()
        .map(|(key, state)| {
            let artifact = match (&state.good, &state.failure) {
                (Some((plugin, checked)), _) => Artifact::Ready {
                    sha256: checked.sha256.clone(),
                    proxy_wasm: checked.proxy_wasm.clone(),
                    plugin: Arc::clone(plugin),
                },
                (None, Some(failure)) => Artifact::Missing {
                    reason: failure.reason.clone(),
                },
                (None, None) => Artifact::Missing {
                    reason: "its artifact is being fetched".to_owned(),
                },
            };
            (key.clone(), artifact)
        })
        .collect()
}
