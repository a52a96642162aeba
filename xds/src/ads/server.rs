//! The control plane's end of one ADS stream: who is there, what it watches, what it holds, what it refused.
//!
//! One response per kind is on its way at a time: a slow proxy gets the newest picture when it is ready, not every
//! picture on the way there. Kinds go out in the order of [`Kind::ALL`]; what was removed from clusters, endpoints
//! and filters goes out last, when everything else was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leno_model::bootstrap::AdsVariant;
use leno_model::cluster::Discovery;
use leno_model::endpoint::LoadAssignment;

use crate::ads::message::{
    ClientMessage, DeltaRequest, DeltaResponse, Node, Request, Response, ServerMessage,
};
use crate::ads::published::{Entry, Published};
use crate::ads::watch::{Change, Held, Phase, Sent, Watch};
use crate::resource::{Kind, Resource};

/// What the control plane should know, for its status and its logs.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The proxy said who it is.
    Connected(Node),
    /// The proxy came with these.
    Claimed {
        /// Of which kind.
        kind: Kind,
        /// By name.
        versions: BTreeMap<String, String>,
    },
    /// A response was taken.
    Accepted {
        /// Of which kind.
        kind: Kind,
        /// The version of the set that it belonged to.
        version: String,
        /// What stood in it, by name; `None` was removed.
        versions: BTreeMap<String, Option<String>>,
    },
    /// A response was refused, at least in part.
    Refused {
        /// Of which kind.
        kind: Kind,
        /// The version of the set that it belonged to.
        version: String,
        /// What stood in it, by name; `None` was removed.
        versions: BTreeMap<String, Option<String>>,
        /// In the words of the proxy.
        reason: String,
    },
    /// It asked for a type that we do not serve; it gets no answer.
    UnknownType(String),
}

/// What a message leads to.
#[derive(Debug, Default, PartialEq)]
pub struct Reaction {
    /// To be sent, in this order.
    pub messages: Vec<ServerMessage>,
    /// To be noted.
    pub events: Vec<Event>,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    control_plane: String,
    variant: AdsVariant,
    node: Option<Node>,
    published: Option<Arc<Published>>,
    watches: BTreeMap<Kind, Watch>,
    last_nonce: u64,
}

impl Session {
    /// A stream on which nothing was said yet. `control_plane` is told to the proxy, for people who debug.
    pub fn new(control_plane: impl Into<String>, variant: AdsVariant) -> Self {
        Self {
            control_plane: control_plane.into(),
            variant,
            node: None,
            published: None,
            watches: BTreeMap::new(),
            last_nonce: 0,
        }
    }

    /// Who is there, once it said so.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Which kinds the proxy has asked for.
    pub fn watched(&self) -> impl Iterator<Item = Kind> + '_ {
        self.watches.keys().copied()
    }

    /// Nothing that was sent still waits for its answer.
    pub fn is_settled(&self) -> bool {
        self.watches.values().all(|watch| watch.sent.is_none())
    }

    /// Reads a message of the proxy. A message of the other variant is left alone.
    pub fn on_message(&mut self, message: ClientMessage) -> Reaction {
        let mut reaction = Reaction::default();
        let (node, type_url) = match &message {
            ClientMessage::Sotw(request) => (&request.node, &request.type_url),
            ClientMessage::Delta(request) => (&request.node, &request.type_url),
        };
        if self.node.is_none()
            && let Some(node) = node
        {
            self.node = Some(node.clone());
            reaction.events.push(Event::Connected(node.clone()));
        }
        let Some(kind) = Kind::from_type_url(type_url) else {
            reaction.events.push(Event::UnknownType(type_url.clone()));
            return reaction;
        };
        let event = match message {
            ClientMessage::Sotw(request) => self.on_request(kind, &request),
            ClientMessage::Delta(request) => self.on_delta_request(kind, request),
        };
        reaction.events.extend(event);
        reaction.messages = self.sync();
        reaction
    }

    /// Offers `published` from now on; what is to be sent at once comes back.
    pub fn publish(&mut self, published: Arc<Published>) -> Vec<ServerMessage> {
        self.published = Some(published);
        self.sync()
    }

    fn on_request(&mut self, kind: Kind, request: &Request) -> Option<Event> {
        let names: BTreeSet<String> = request.names.iter().cloned().collect();
        let is_first = !self.watches.contains_key(&kind);
        let watch = self.watches.entry(kind).or_default();
        if !is_first && request.nonce != watch.nonce {
            return None;
        }
        let event = answered(kind, watch, &request.nonce, request.error.as_ref());
        watch.all = names.contains("*") || (names.is_empty() && kind.is_complete_in_sotw());
        let added: Vec<String> = names.difference(&watch.names).cloned().collect();
        for name in added.iter().chain(watch.names.difference(&names)) {
            watch.held.remove(name);
        }
        watch.names = names;
        if is_first {
            let current = self
                .published
                .as_ref()
                .map(|published| &published.set(kind).version);
            let holds_current = !request.version.is_empty() && current == Some(&request.version);
            if let Some(published) = &self.published
                && watch.all
                && holds_current
            {
                let held = published.set(kind).entries.iter();
                watch.held = held
                    .map(|(name, entry)| (name.clone(), Held::Sent(entry.clone())))
                    .collect();
            }
            watch.owes_response = watch.all && !holds_current;
        }
        event
    }

    fn on_delta_request(&mut self, kind: Kind, request: DeltaRequest) -> Option<Event> {
        let is_first = !self.watches.contains_key(&kind);
        let watch = self.watches.entry(kind).or_default();
        let mut event = answered(kind, watch, &request.nonce, request.error.as_ref());
        if is_first {
            let versions = request.initial_versions;
            let claimed = versions.clone().into_iter();
            watch.held = claimed
                .map(|(name, version)| (name, Held::Claimed(version)))
                .collect();
            event = (!versions.is_empty()).then_some(Event::Claimed { kind, versions });
            watch.all = request.subscribe.is_empty() && kind.is_complete_in_sotw();
            watch.owes_response = true;
        }
        for name in request.subscribe {
            if name == "*" {
                watch.all = true;
                continue;
            }
            // Asking again for a name means: send it again. Only a first request says what it has already.
            if !is_first {
                watch.held.remove(&name);
            }
            watch.missing.insert(name.clone());
            watch.names.insert(name);
        }
        for name in &request.unsubscribe {
            if name == "*" {
                watch.all = false;
            }
            watch.names.remove(name);
            watch.missing.remove(name);
        }
        if !watch.all {
            watch.held.retain(|name, _| watch.names.contains(name));
        }
        event
    }

    /// Sends what may be sent now, in order.
    fn sync(&mut self) -> Vec<ServerMessage> {
        let Some(published) = self.published.clone() else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        for kind in Kind::ALL {
            if !self.send(kind, &published, Phase::Make, &mut messages).is_blocked {
                continue;
            }
            // Envoy does not answer clusters before they have endpoints: those must not wait for that answer.
            if kind == Kind::Cluster {
                self.send(Kind::LoadAssignment, &published, Phase::Make, &mut messages);
            }
            return messages;
        }
        for kind in [Kind::Cluster, Kind::LoadAssignment, Kind::Filter] {
            if self.is_settled() {
                self.send(kind, &published, Phase::Break, &mut messages);
            }
        }
        messages
    }

    fn send(
        &mut self,
        kind: Kind,
        published: &Published,
        phase: Phase,
        messages: &mut Vec<ServerMessage>,
    ) -> Outcome {
        let Some(watch) = self.watches.get_mut(&kind) else {
            return Outcome { is_blocked: false };
        };
        let set = published.set(kind);
        let mut change = watch.change(kind, set, phase);
        if self.variant == AdsVariant::StateOfTheWorld && kind == Kind::LoadAssignment {
            // There is no other way to say that a cluster has no endpoints, and a proxy waits until it is said.
            change.entries.extend(
                watch
                    .absent(set)
                    .map(|name| (name.clone(), without_endpoints(name))),
            );
        }
        let is_silent = match self.variant {
            // There is no way to say in the state of the world that a named resource is gone.
            AdsVariant::StateOfTheWorld if !kind.is_complete_in_sotw() => change.entries.is_empty(),
            AdsVariant::StateOfTheWorld | AdsVariant::Delta => change.is_empty(),
        };
        if is_silent && !watch.owes_response {
            return Outcome { is_blocked: false };
        }
        if watch.sent.is_some() {
            return Outcome { is_blocked: true };
        }
        self.last_nonce += 1;
        let sent = Sent {
            nonce: self.last_nonce.to_string(),
            version: set.version.clone(),
            versions: change.versions(),
        };
        let head = (&self.control_plane, &sent);
        messages.push(match self.variant {
            AdsVariant::StateOfTheWorld if kind.is_complete_in_sotw() => sotw(
                kind,
                head,
                watch
                    .complete(kind, set, phase)
                    .into_iter()
                    .map(|(_, entry)| entry.body.clone()),
            ),
            AdsVariant::StateOfTheWorld => sotw(
                kind,
                head,
                change.entries.iter().map(|(_, entry)| entry.body.clone()),
            ),
            AdsVariant::Delta => delta(kind, head, &change),
        });
        watch.note(&change, sent);
        if kind == Kind::Cluster {
            self.send_endpoints_again(&change);
        }
        Outcome { is_blocked: false }
    }

    /// Envoy makes a changed cluster anew and then waits for its endpoints, which it forgot, although it holds
    /// them under the same name and version.
    fn send_endpoints_again(&mut self, clusters: &Change) {
        let Some(endpoints) = self.watches.get_mut(&Kind::LoadAssignment) else {
            return;
        };
        for (_, entry) in &clusters.entries {
            if let Resource::Cluster(cluster) = &entry.resource
                && let Discovery::Eds(service) = &cluster.discovery
            {
                endpoints.held.remove(service);
            }
        }
    }
}

fn without_endpoints(name: &str) -> Arc<Entry> {
    Entry::new(Resource::LoadAssignment(Arc::new(LoadAssignment {
        cluster: name.to_owned(),
        localities: Vec::new(),
    })))
}

struct Outcome {
    /// There is something to send, but an answer must come first; later kinds wait too.
    is_blocked: bool,
}

fn answered(kind: Kind, watch: &mut Watch, nonce: &str, error: Option<&String>) -> Option<Event> {
    let sent = watch
        .sent
        .take_if(|sent| !nonce.is_empty() && sent.nonce == nonce)?;
    Some(match error {
        None => Event::Accepted {
            kind,
            version: sent.version,
            versions: sent.versions,
        },
        Some(reason) => Event::Refused {
            kind,
            version: sent.version,
            versions: sent.versions,
            reason: reason.clone(),
        },
    })
}

fn sotw(
    kind: Kind,
    (control_plane, sent): (&String, &Sent),
    resources: impl Iterator<Item = crate::ads::message::Any>,
) -> ServerMessage {
    ServerMessage::Sotw(Response {
        type_url: kind.type_url().to_owned(),
        version: sent.version.clone(),
        nonce: sent.nonce.clone(),
        resources: resources.collect(),
        control_plane: control_plane.clone(),
    })
}

fn delta(kind: Kind, (control_plane, sent): (&String, &Sent), change: &Change) -> ServerMessage {
    ServerMessage::Delta(DeltaResponse {
        type_url: kind.type_url().to_owned(),
        system_version: sent.version.clone(),
        nonce: sent.nonce.clone(),
        resources: change.resources(),
        removed: change.removed.clone(),
        control_plane: control_plane.clone(),
    })
}
