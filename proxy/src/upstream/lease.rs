//! What an exchange holds of an endpoint, and gives back at its end.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::ClusterRuntime;
use super::limits::Ticket;
use super::pool::{Connection, EndpointRuntime, Shared};
use crate::http::client::{RequestWriter, ResponseReader};
use crate::http::message::Protocol;
use crate::stats::Gauge;

/// An exchange that has begun with an endpoint.
pub struct Opened {
    /// Sends the rest of the request.
    pub writer: RequestWriter,
    /// Receives the response.
    pub reader: ResponseReader,
    /// Drop this after both halves: it takes the connection back to its pool.
    pub lease: Lease,
}

/// What an exchange holds of an endpoint.
pub struct Lease {
    endpoint: Rc<EndpointRuntime>,
    /// Of HTTP/1: goes back to the pool.
    pub(super) connection: Option<Connection>,
    most_exchanges: u32,
    pub(super) local: Option<SocketAddr>,
    protocol: Protocol,
    exchange: Option<Ticket>,
    _count: Counted,
    pub(super) shared: Option<Rc<Shared>>,
}

impl Opened {
    pub(super) fn holding(mut self, ticket: Ticket) -> Self {
        self.lease.exchange = Some(ticket);
        self
    }
}

impl Lease {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Rc<EndpointRuntime> {
        &self.endpoint
    }

    /// Our end of the connection.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// What is spoken on it.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn new(endpoint: &Rc<EndpointRuntime>, cluster: &ClusterRuntime, protocol: Protocol) -> Self {
        endpoint.one_more();
        Self {
            endpoint: Rc::clone(endpoint),
            connection: None,
            most_exchanges: cluster.cluster().max_requests_per_connection.unwrap_or(u32::MAX),
            local: None,
            protocol,
            exchange: None,
            _count: Counted::new(&cluster.stats().requests_active),
            shared: None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let endpoint = &self.endpoint;
        endpoint.one_less();
        if let Some(connection) = self.connection.take() {
            endpoint.give_back(connection, self.most_exchanges);
        }
        if let Some(shared) = &self.shared {
            shared.idle_since.set(Instant::now());
        }
    }
}

/// One more in a gauge, as long as it lives.
pub(super) struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: &Gauge) -> Self {
        let gauge = gauge.clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
