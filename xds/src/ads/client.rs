//! The proxy's end of ADS: what it asked for, what it holds, and the answer that every response must get.
//!
//! Valid resources of a response are applied even when others in it are refused, as Envoy does; the answer is
//! then a NACK that names each refused resource and the field.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use leno_model::bootstrap::AdsVariant;
use leno_model::invalid::Invalid;

use crate::ads::backoff::Backoff;
use crate::ads::message::{
    Any, ClientMessage, DeltaRequest, DeltaResponse, Node, Request, Response, ServerMessage,
};
use crate::codec;
use crate::resource::{Kind, Resource};

/// Bytes of a NACK's text, so that one broken push does not come back as megabytes.
const LONGEST_REASON: usize = 8 << 10;

/// What is asked for of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything there is.
    All,
    /// These.
    Names(BTreeSet<String>),
}

/// A resource that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name; empty when not even that could be read.
    pub name: String,
    /// What is wrong with it, and where.
    pub reason: Invalid,
}

/// What one response means.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Of which kind. [`Session::answer`] wants it back.
    pub kind: Kind,
    /// The version that the server gave the response; may be empty in delta.
    pub version: String,
    /// Valid resources, new or changed or the same again, each with its version (the response's in the state of
    /// the world).
    pub resources: Vec<(Resource, String)>,
    /// Names that are gone.
    pub removed: Vec<String>,
    /// What was not valid: what is held under these names stays.
    pub refused: Vec<Refused>,
}

/// One proxy's ADS conversation, over all its streams.
#[derive(Debug)]
pub struct Session {
    node: Node,
    variant: AdsVariant,
    watches: BTreeMap<Kind, Watch>,
    is_connected: bool,
    node_was_sent: bool,
    backoff: Backoff,
}

#[derive(Debug)]
struct Watch {
    wanted: Wanted,
    /// Accepted resources and their versions, over reconnects.
    held: BTreeMap<String, String>,
    /// Last version of a response that was accepted as a whole.
    version: String,
    /// Of the latest response on this stream.
    nonce: String,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    version: String,
    /// What becomes held when it is not refused.
    resources: Vec<(String, String)>,
    removed: Vec<String>,
    refused: Vec<Refused>,
}

impl Session {
    /// A session that asks for nothing yet.
    pub fn new(node: Node, variant: AdsVariant) -> Self {
        Self {
            node,
            variant,
            watches: BTreeMap::new(),
            is_connected: false,
            node_was_sent: false,
            backoff: Backoff::default(),
        }
    }

    /// Which method of the service this session speaks.
    pub fn variant(&self) -> AdsVariant {
        self.variant
    }

    /// Asks for `wanted` from now on; the message, if any, is to be sent at once.
    pub fn subscribe(&mut self, kind: Kind, wanted: Wanted) -> Option<ClientMessage> {
        let Some(watch) = self.watches.get_mut(&kind) else {
            if wanted == Wanted::Names(BTreeSet::new()) {
                return None;
            }
            self.watches.insert(kind, Watch::new(wanted));
            return self.is_connected.then(|| self.first_request(kind));
        };
        if watch.wanted == wanted {
            return None;
        }
        let before = std::mem::replace(&mut watch.wanted, wanted);
        if let Wanted::Names(names) = &watch.wanted {
            watch.held.retain(|name, _| names.contains(name));
        }
        if !self.is_connected {
            return None;
        }
        match self.variant {
            AdsVariant::Delta => Some(delta_change(kind, &before, &watch.wanted)),
            // The answer will carry the new names: asking now would look like an answer.
            AdsVariant::StateOfTheWorld if watch.pending.is_some() => None,
            AdsVariant::StateOfTheWorld => Some(watch.request(kind, None)),
        }
    }

    /// A stream stands: what is to be sent on it first.
    pub fn on_connected(&mut self) -> Vec<ClientMessage> {
        self.is_connected = true;
        self.node_was_sent = false;
        let kinds: Vec<Kind> = self.watches.keys().copied().collect();
        kinds.into_iter().map(|kind| self.first_request(kind)).collect()
    }

    /// The stream is gone: when to try again. `random` lies in `0.0..1.0`.
    pub fn on_disconnected(&mut self, now: Instant, random: f64) -> Instant {
        self.is_connected = false;
        for watch in self.watches.values_mut() {
            watch.pending = None;
            watch.nonce.clear();
        }
        now + self.backoff.next(random)
    }

    /// Reads a response. Every `Some` is to be answered with [`Session::answer`] once it was applied; `None` is a
    /// response of a type that was not asked for, or of the other variant, and gets no answer.
    pub fn on_message(&mut self, message: ServerMessage) -> Option<Update> {
        let (type_url, nonce) = match &message {
            ServerMessage::Sotw(response) => (&response.type_url, &response.nonce),
            ServerMessage::Delta(response) => (&response.type_url, &response.nonce),
        };
        let kind = Kind::from_type_url(type_url)?;
        let watch = self.watches.get_mut(&kind)?;
        self.backoff.reset();
        watch.nonce.clone_from(nonce);
        let mut update = match message {
            ServerMessage::Sotw(response) => read_sotw(kind, response, &watch.held),
            ServerMessage::Delta(response) => read_delta(kind, response),
        };
        // A server may send more than was asked for; what was not is none of ours.
        if let Wanted::Names(names) = &watch.wanted {
            update
                .resources
                .retain(|(resource, _)| names.contains(resource.name()));
            update
                .refused
                .retain(|refused| refused.name.is_empty() || names.contains(&refused.name));
        }
        let named = update.resources.iter();
        watch.pending = Some(Pending {
            version: update.version.clone(),
            resources: named
                .map(|(resource, version)| (resource.name().to_owned(), version.clone()))
                .collect(),
            removed: update.removed.clone(),
            refused: update.refused.clone(),
        });
        Some(update)
    }

    /// The answer to the latest response of `kind`: ACK when neither reading nor applying it refused anything.
    ///
    /// `refused` is what applying refused; what [`Update::refused`] said may be in it again. `None` when nothing waits for an
    /// answer, as after the stream broke.
    pub fn answer(&mut self, kind: Kind, refused: Vec<Refused>) -> Option<ClientMessage> {
        let watch = self.watches.get_mut(&kind)?;
        let pending = watch.pending.take()?;
        let mut all = pending.refused;
        let read = all.len();
        for refused in refused {
            let is_known = all[..read].iter().any(|known| {
                known.name == refused.name && known.reason.to_string() == refused.reason.to_string()
            });
            if !is_known {
                all.push(refused);
            }
        }
        for name in &pending.removed {
            watch.held.remove(name);
        }
        for (name, version) in pending.resources {
            if !all.iter().any(|refused| refused.name == name) {
                watch.held.insert(name, version);
            }
        }
        if all.is_empty() {
            watch.version = pending.version;
        }
        let error = (!all.is_empty()).then(|| reason(kind, &all));
        Some(match self.variant {
            AdsVariant::StateOfTheWorld => watch.request(kind, error),
            AdsVariant::Delta => ClientMessage::Delta(DeltaRequest {
                type_url: kind.type_url().to_owned(),
                nonce: watch.nonce.clone(),
                error,
                ..DeltaRequest::default()
            }),
        })
    }

    fn first_request(&mut self, kind: Kind) -> ClientMessage {
        let node = (!self.node_was_sent).then(|| self.node.clone());
        self.node_was_sent = true;
        let Some(watch) = self.watches.get(&kind) else {
            unreachable!("only asked for kinds that are watched");
        };
        match self.variant {
            AdsVariant::StateOfTheWorld => match watch.request(kind, None) {
                ClientMessage::Sotw(request) => ClientMessage::Sotw(Request { node, ..request }),
                other @ ClientMessage::Delta(_) => other,
            },
            AdsVariant::Delta => ClientMessage::Delta(DeltaRequest {
                node,
                type_url: kind.type_url().to_owned(),
                // An empty first list means everything to every server; `*` only to newer ones.
                subscribe: watch.names(),
                initial_versions: watch.held.clone(),
                ..DeltaRequest::default()
            }),
        }
    }
}

impl Watch {
    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            held: BTreeMap::new(),
            version: String::new(),
            nonce: String::new(),
            pending: None,
        }
    }

    fn names(&self) -> Vec<String> {
        match &self.wanted {
            Wanted::All => Vec::new(),
            Wanted::Names(names) => names.iter().cloned().collect(),
        }
    }

    fn request(&self, kind: Kind, error: Option<String>) -> ClientMessage {
        ClientMessage::Sotw(Request {
            node: None,
            type_url: kind.type_url().to_owned(),
            names: self.names(),
            version: self.version.clone(),
            nonce: self.nonce.clone(),
            error,
        })
    }
}

fn delta_change(kind: Kind, before: &Wanted, after: &Wanted) -> ClientMessage {
    let words = |wanted: &Wanted| match wanted {
        Wanted::All => BTreeSet::from(["*".to_owned()]),
        Wanted::Names(names) => names.clone(),
    };
    let (before, after) = (words(before), words(after));
    ClientMessage::Delta(DeltaRequest {
        type_url: kind.type_url().to_owned(),
        subscribe: after.difference(&before).cloned().collect(),
        unsubscribe: before.difference(&after).cloned().collect(),
        ..DeltaRequest::default()
    })
}

fn read_sotw(kind: Kind, response: Response, held: &BTreeMap<String, String>) -> Update {
    let mut update = Update::empty(kind, response.version.clone());
    let mut seen = BTreeSet::new();
    for any in &response.resources {
        update.read(any, None, response.version.clone(), &mut seen);
    }
    // A resource whose name cannot be read may be any of those that seem to be gone: then nothing is.
    let all_have_names = update.refused.iter().all(|refused| !refused.name.is_empty());
    if kind.is_complete_in_sotw() && all_have_names {
        update.removed = held
            .keys()
            .filter(|name| !seen.contains(*name))
            .cloned()
            .collect();
    }
    update
}

fn read_delta(kind: Kind, response: DeltaResponse) -> Update {
    let mut update = Update::empty(kind, response.system_version);
    let mut seen = BTreeSet::new();
    update.removed = response.removed;
    for resource in response.resources {
        match &resource.body {
            Some(any) => update.read(any, Some(&resource.name), resource.version, &mut seen),
            None => update.removed.push(resource.name),
        }
    }
    update
}

impl Update {
    fn empty(kind: Kind, version: String) -> Self {
        Self {
            kind,
            version,
            resources: Vec::new(),
            removed: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes one resource, or refuses it. `expected` is the name that stands beside it, where one does.
    fn read(&mut self, any: &Any, expected: Option<&str>, version: String, seen: &mut BTreeSet<String>) {
        let decoded = codec::decode(self.kind, &any.type_url, &any.value);
        let own_name = match &decoded {
            Ok(resource) => Some(resource.name().to_owned()),
            Err(_) => codec::name(self.kind, &any.value),
        };
        let name = expected
            .map(str::to_owned)
            .or(own_name.clone())
            .unwrap_or_default();
        let is_new = seen.insert(name.clone());
        let checked = decoded.and_then(|resource| match own_name {
            Some(own) if own != name => Err(Invalid::new(
                "name",
                format!("is `{own}`, but it was sent as `{name}`"),
            )),
            _ if !is_new => Err(Invalid::new(
                "name",
                format!("`{name}` stands twice in one response"),
            )),
            _ => Ok(resource),
        });
        match checked {
            Ok(resource) => self.resources.push((resource, version)),
            Err(reason) => self.refused.push(Refused { name, reason }),
        }
    }
}

/// `Listener 'a': filter_chains[0]: not supported; Listener 'b': ...`
fn reason(kind: Kind, refused: &[Refused]) -> String {
    let each = refused.iter().map(|refused| match refused.name.as_str() {
        "" => format!("{} without a name: {}", kind.noun(), refused.reason),
        name => format!("{} '{name}': {}", kind.noun(), refused.reason),
    });
    let mut text = each.collect::<Vec<_>>().join("; ");
    if text.len() > LONGEST_REASON {
        text.truncate(text.floor_char_boundary(LONGEST_REASON));
        text.push_str("...");
    }
    text
}
