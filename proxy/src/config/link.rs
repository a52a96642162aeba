//! The stream to the control plane: opened, kept, and opened again with growing pauses when it breaks.
//!
//! Nothing here can stop traffic: while there is no stream, what was taken last serves. Neither side waits for the
//! other: what the store says is always heard, and the server is not read while the store has enough to do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use leno_model::bootstrap::{AdsSource, Bootstrap};
use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::Host;
use leno_xds::ads::message::ClientMessage;
use leno_xds::resource::Kind;
use leno_xds::transport::client::{self, Stream};
use tokio::sync::mpsc;

use crate::config::store::{Token, Update};

mod conversation;

use conversation::Conversation;

/// The server is not read while so much of what it said waits; arbitrary.
const ENOUGH: usize = 16;

/// A server that takes nothing for so long is gone; arbitrary.
const STUCK: Duration = Duration::from_secs(30);

/// From the server.
pub enum FromServer {
    /// It said something.
    Update(Update),
    /// A stream stands, or is gone.
    Connected(bool),
}

/// To the server.
pub enum ToServer {
    /// The answer to an update.
    Answer(Token, Vec<(String, String)>),
    /// Exactly these names of this kind are wanted.
    Subscribe(Kind, BTreeSet<String>),
}

/// The control plane's end, to be run.
pub struct Link {
    conversation: Conversation,
    source: AdsSource,
    cluster: Arc<Cluster>,
    /// Of the cluster's endpoints, the next to try.
    next_host: usize,
    from_store: mpsc::Receiver<ToServer>,
    to_store: mpsc::Sender<FromServer>,
    /// What the store has not heard yet.
    unheard: VecDeque<FromServer>,
}

/// The two ends of a link, and the link itself when `bootstrap` names a server.
pub fn connect(bootstrap: &Bootstrap) -> (Option<Link>, mpsc::Receiver<FromServer>, mpsc::Sender<ToServer>) {
    let (to_store, from_server) = mpsc::channel(ENOUGH);
    let (to_server, from_store) = mpsc::channel(256);
    let link = bootstrap.dynamic.ads.as_ref().and_then(|source| {
        let cluster = bootstrap
            .clusters
            .iter()
            .find(|cluster| cluster.name == source.cluster)?;
        Some(Link {
            conversation: Conversation::new(bootstrap, source.variant),
            source: source.clone(),
            cluster: Arc::clone(cluster),
            next_host: fastrand::usize(..),
            from_store,
            to_store,
            unheard: VecDeque::new(),
        })
    });
    (link, from_server, to_server)
}

impl Link {
    /// Talks until the store is gone.
    pub async fn run(mut self) {
        loop {
            let broke = match self.open().await {
                Ok(stream) => {
                    tracing::info!(
                        code = "ads_connected",
                        cluster = self.source.cluster,
                        "the control plane is there"
                    );
                    self.unheard.push_back(FromServer::Connected(true));
                    self.talk(stream).await
                }
                Err(reason) => Some(reason),
            };
            let Some(reason) = broke else {
                return;
            };
            self.unheard.push_back(FromServer::Connected(false));
            let again = self.conversation.on_disconnected(Instant::now(), fastrand::f64());
            tracing::warn!(
                code = "ads_disconnected",
                cluster = self.source.cluster,
                reason,
                "no control plane; what was taken last serves; trying again in {:?}",
                again.saturating_duration_since(Instant::now())
            );
            if !self.pause(again).await {
                return;
            }
        }
    }

    async fn open(&mut self) -> Result<Stream, String> {
        let hosts = hosts(&self.cluster);
        if hosts.is_empty() {
            return Err(format!("cluster {} has no endpoints", self.cluster.name));
        }
        let host = &hosts[self.next_host % hosts.len()];
        self.next_host = self.next_host.wrapping_add(1);
        let address = match host {
            Host::Socket(address) => address.to_string(),
            Host::Name { name, port } => format!("{name}:{port}"),
        };
        let stream = client::connect(&address, self.source.variant, self.cluster.connect_timeout).await;
        stream.map_err(|error| error.to_string())
    }

    /// Talks over one stream; says why it broke, or `None` when the store is gone.
    async fn talk(&mut self, mut stream: Stream) -> Option<String> {
        let to_store = self.to_store.clone();
        for message in self.conversation.on_connected() {
            if let Err(reason) = send(&mut stream, message).await {
                return Some(reason);
            }
        }
        loop {
            let has_room = self.unheard.len() + self.conversation.waiting() < ENOUGH;
            let message = tokio::select! {
                heard = self.from_store.recv() => self.on_store(heard?),
                permit = to_store.reserve(), if !self.unheard.is_empty() => {
                    let permit = permit.ok()?;
                    if let Some(event) = self.unheard.pop_front() {
                        permit.send(event);
                    }
                    None
                }
                received = stream.next(), if has_room => match received {
                    Ok(message) => {
                        let update = self.conversation.on_message(message);
                        self.unheard.extend(update.map(FromServer::Update));
                        None
                    }
                    Err(error) => return Some(error.to_string()),
                },
            };
            if let Some(message) = message
                && let Err(reason) = send(&mut stream, message).await
            {
                return Some(reason);
            }
        }
    }

    fn on_store(&mut self, message: ToServer) -> Option<ClientMessage> {
        match message {
            ToServer::Answer(token, refused) => {
                let (answer, next) = self.conversation.on_answer(token, refused);
                self.unheard.extend(next.map(FromServer::Update));
                answer
            }
            ToServer::Subscribe(kind, names) => self.conversation.on_subscribe(kind, names),
        }
    }

    /// Waits for the next try, and hears the store meanwhile; `false` when it is gone.
    async fn pause(&mut self, until: Instant) -> bool {
        let sleep = tokio::time::sleep_until(until.into());
        tokio::pin!(sleep);
        let to_store = self.to_store.clone();
        loop {
            tokio::select! {
                () = &mut sleep => return true,
                heard = self.from_store.recv() => match heard {
                    // There is no stream, so there is nothing to send.
                    Some(message) => drop(self.on_store(message)),
                    None => return false,
                },
                permit = to_store.reserve(), if !self.unheard.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.unheard.pop_front() {
                            permit.send(event);
                        }
                    }
                    Err(_) => return false,
                },
            }
        }
    }
}

async fn send(stream: &mut Stream, message: ClientMessage) -> Result<(), String> {
    match tokio::time::timeout(STUCK, stream.send(message)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("the control plane does not read what it is told".to_owned()),
    }
}

fn hosts(cluster: &Cluster) -> Vec<Host> {
    let endpoints = match &cluster.discovery {
        Discovery::Static(endpoints) | Discovery::StrictDns(endpoints) | Discovery::LogicalDns(endpoints) => {
            endpoints
        }
        Discovery::Eds(_) => return Vec::new(),
    };
    let localities = endpoints.localities.iter();
    localities
        .flat_map(|locality| &locality.endpoints)
        .map(|endpoint| endpoint.address.clone())
        .collect()
}
