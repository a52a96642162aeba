//! One endpoint on one worker: its connections, and how an exchange gets one of them.
//!
//! HTTP/1 connections wait on a stack, so that the warmest is used next and the cold ones age out. HTTP/2
//! connections are shared up to the number of streams that the peer allows.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use leno_model::endpoint::Locality;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Notify};

use super::lease::{Counted, Lease, Opened};
use super::limits::Ticket;
use super::{ClusterRuntime, OpenError};
use crate::http::client::{H1Client, H2Client};
use crate::http::io::Io;
use crate::http::message::{Protocol, RequestHead};
use crate::tls::stats::{cause, words};

/// An endpoint with its pools.
pub struct EndpointRuntime {
    address: SocketAddr,
    hostname: String,
    locality: Arc<Locality>,
    /// Exchanges that run now.
    active: Cell<u32>,
    /// Connections of HTTP/1, idle or not.
    h1_connections: Cell<u32>,
    idle: RefCell<Vec<Idle>>,
    /// An HTTP/1 connection has become free, or one more may be made.
    freed: Notify,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Whoever makes an HTTP/2 connection; others wait for it instead of making their own.
    connecting: Mutex<()>,
    /// The endpoint is gone from its cluster: nothing goes back to the pools.
    retired: Cell<bool>,
}

/// An HTTP/1 connection.
pub(super) struct Connection {
    client: H1Client,
    local: Option<SocketAddr>,
    exchanges: u32,
    _ticket: Ticket,
    _count: Counted,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// An HTTP/2 connection.
pub(super) struct Shared {
    client: H2Client,
    local: Option<SocketAddr>,
    exchanges: Cell<u32>,
    pub(super) idle_since: Cell<Instant>,
    _ticket: Ticket,
    _count: Counted,
}

impl EndpointRuntime {
    pub(super) fn new(address: SocketAddr, hostname: &str, locality: Arc<Locality>) -> Self {
        Self {
            address,
            hostname: hostname.to_owned(),
            locality,
            active: Cell::new(0),
            h1_connections: Cell::new(0),
            idle: RefCell::default(),
            freed: Notify::new(),
            shared: RefCell::default(),
            connecting: Mutex::new(()),
            retired: Cell::new(false),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name; may be empty.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Where it stands.
    #[must_use]
    pub fn locality(&self) -> &Arc<Locality> {
        &self.locality
    }

    /// Exchanges that run now.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    pub(super) fn one_more(&self) {
        self.active.set(self.active.get() + 1);
    }

    pub(super) fn one_less(&self) {
        self.active.set(self.active.get().saturating_sub(1));
    }

    /// Back on the stack, if another exchange may use it.
    pub(super) fn give_back(&self, connection: Connection, most_exchanges: u32) {
        let again = connection.client.is_reusable() && connection.exchanges < most_exchanges;
        if again && !self.retired.get() {
            self.idle.borrow_mut().push(Idle {
                connection,
                since: Instant::now(),
            });
        } else {
            drop(connection);
            self.h1_connections
                .set(self.h1_connections.get().saturating_sub(1));
        }
        self.freed.notify_one();
    }

    /// Lets its idle connections go, and all others when their exchanges are over.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.drop_idle(|_| false);
        self.shared.borrow_mut().clear();
    }

    /// Lets connections go that are closed, or idle for too long.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Option<Duration>) {
        let fresh = |since: Instant| idle_timeout.is_none_or(|timeout| now.duration_since(since) < timeout);
        self.drop_idle(|idle| idle.connection.client.is_reusable() && fresh(idle.since));
        self.shared.borrow_mut().retain(|shared| {
            !shared.client.is_closed()
                && (shared.client.active_streams() > 0 || fresh(shared.idle_since.get()))
        });
    }

    fn drop_idle(&self, keep: impl FnMut(&mut Idle) -> bool) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain_mut(keep);
        let gone = u32::try_from(before - idle.len()).unwrap_or(u32::MAX);
        self.h1_connections
            .set(self.h1_connections.get().saturating_sub(gone));
    }

    pub(super) async fn open_h1(
        self: &Rc<Self>,
        cluster: &ClusterRuntime,
        head: &RequestHead,
        end: bool,
    ) -> Result<Opened, OpenError> {
        let mut lease = Lease::new(self, cluster, Protocol::Http11);
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.wait_for_h1(cluster).await?,
        };
        connection.exchanges += 1;
        lease.local = connection.local;
        let opened = connection.client.open(head, end);
        lease.connection = Some(connection);
        let (writer, reader) = opened.map_err(OpenError::Stream)?;
        Ok(Opened {
            writer,
            reader,
            lease,
        })
    }

    /// The warmest idle connection that is still good.
    fn take_idle(&self) -> Option<Connection> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.connection.client.is_reusable() {
                return Some(idle.connection);
            }
            self.h1_connections
                .set(self.h1_connections.get().saturating_sub(1));
        }
    }

    /// Makes a connection, or waits for a free one where no more may be made.
    async fn wait_for_h1(&self, cluster: &ClusterRuntime) -> Result<Connection, OpenError> {
        let _pending = cluster.limits().pending().ok_or_else(|| {
            cluster.stats().overflow.inc();
            OpenError::Overflow
        })?;
        loop {
            let ticket = match cluster.limits().connection() {
                Some(ticket) => ticket,
                // A cluster with more endpoints than connections can still ask each of them.
                None if self.h1_connections.get() == 0 => cluster.limits().first_connection(),
                None => {
                    self.freed.notified().await;
                    match self.take_idle() {
                        Some(connection) => return Ok(connection),
                        None => continue,
                    }
                }
            };
            let slot = ConnectionSlot::take(self);
            let (io, local) = self.connect(cluster, Protocol::Http11).await?;
            slot.keep();
            let client = H1Client::new(io, cluster.settings());
            return Ok(Connection {
                client,
                local,
                exchanges: 0,
                _ticket: ticket,
                _count: Counted::new(&cluster.stats().connections_active),
            });
        }
    }

    pub(super) async fn open_h2(
        self: &Rc<Self>,
        cluster: &ClusterRuntime,
        head: &RequestHead,
        end: bool,
    ) -> Result<Opened, OpenError> {
        let mut lease = Lease::new(self, cluster, Protocol::Http2);
        let shared = match self.find_shared(cluster) {
            Some(shared) => shared,
            None => {
                let _pending = cluster.limits().pending().ok_or_else(|| {
                    cluster.stats().overflow.inc();
                    OpenError::Overflow
                })?;
                let _turn = self.connecting.lock().await;
                match self.find_shared(cluster) {
                    Some(shared) => shared,
                    None => self.connect_h2(cluster).await?,
                }
            }
        };
        shared.exchanges.set(shared.exchanges.get() + 1);
        lease.local = shared.local;
        lease.shared = Some(Rc::clone(&shared));
        let (writer, reader) = shared.client.open(head, end).await.map_err(OpenError::Stream)?;
        Ok(Opened {
            writer,
            reader,
            lease,
        })
    }

    /// A connection that takes another stream now.
    fn find_shared(&self, cluster: &ClusterRuntime) -> Option<Rc<Shared>> {
        let most = cluster.cluster().max_requests_per_connection.unwrap_or(u32::MAX);
        let mut all = self.shared.borrow_mut();
        all.retain(|shared| !shared.client.is_closed() && shared.exchanges.get() < most);
        all.iter()
            .find(|shared| shared.client.active_streams() < shared.client.max_streams())
            .cloned()
    }

    async fn connect_h2(&self, cluster: &ClusterRuntime) -> Result<Rc<Shared>, OpenError> {
        let any = self
            .shared
            .borrow()
            .iter()
            .min_by_key(|shared| shared.client.active_streams())
            .cloned();
        let ticket = match (cluster.limits().connection(), any) {
            (Some(ticket), _) => ticket,
            // No further connection: the stream waits for its turn on one that is there.
            (None, Some(shared)) => return Ok(shared),
            (None, None) => cluster.limits().first_connection(),
        };
        let (io, local) = self.connect(cluster, Protocol::Http2).await?;
        let client = H2Client::connect(io, cluster.settings());
        let client = tokio::time::timeout(cluster.cluster().connect_timeout, client).await;
        let client = client
            .map_err(|_| OpenError::ConnectTimeout)?
            .map_err(OpenError::Stream)?;
        let shared = Rc::new(Shared {
            client,
            local,
            exchanges: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            _ticket: ticket,
            _count: Counted::new(&cluster.stats().connections_active),
        });
        if !self.retired.get() {
            self.shared.borrow_mut().push(Rc::clone(&shared));
        }
        Ok(shared)
    }

    /// TCP, and TLS where the cluster wants it, within the cluster's time for both.
    async fn connect(
        &self,
        cluster: &ClusterRuntime,
        protocol: Protocol,
    ) -> Result<(Io, Option<SocketAddr>), OpenError> {
        let stats = cluster.stats();
        stats.connections.inc();
        let connecting = async {
            let stream = TcpStream::connect(self.address).await;
            let stream = stream.map_err(|error| OpenError::Connect(system_text(&error)))?;
            // Fails only for a connection that is dead already, which the first write will tell.
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let Some(tls) = cluster.tls() else {
                return Ok((Io::Tcp(stream), local));
            };
            // Boxed, because the state of a handshake is large and short-lived.
            let handshake = Box::pin(tls.connect(stream, &self.hostname, protocol));
            match handshake.await {
                Ok(stream) => {
                    stats.tls.done(stream.get_ref().1);
                    Ok((Io::Tls(Box::new(stream.into())), local))
                }
                Err(error) => {
                    stats.tls.failed(&error);
                    let text = match cause(&error) {
                        Some(reason) => format!("TLS_error: {}", words(reason)),
                        None => system_text(&error),
                    };
                    Err(OpenError::Connect(text))
                }
            }
        };
        match tokio::time::timeout(cluster.cluster().connect_timeout, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => {
                stats.connect_fail.inc();
                Err(error)
            }
            Err(_) => {
                stats.connect_fail.inc();
                stats.connect_timeout.inc();
                Err(OpenError::ConnectTimeout)
            }
        }
    }
}

/// One of the HTTP/1 connections of an endpoint, while it is being made.
struct ConnectionSlot<'a> {
    endpoint: &'a EndpointRuntime,
    kept: Cell<bool>,
}

impl<'a> ConnectionSlot<'a> {
    fn take(endpoint: &'a EndpointRuntime) -> Self {
        endpoint.h1_connections.set(endpoint.h1_connections.get() + 1);
        Self {
            endpoint,
            kept: Cell::new(false),
        }
    }

    fn keep(self) {
        self.kept.set(true);
    }
}

impl Drop for ConnectionSlot<'_> {
    fn drop(&mut self) {
        if !self.kept.get() {
            let connections = &self.endpoint.h1_connections;
            connections.set(connections.get().saturating_sub(1));
            self.endpoint.freed.notify_one();
        }
    }
}

/// What the system says, without its number.
fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
