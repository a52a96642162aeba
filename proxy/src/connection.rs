//! One downstream connection: exchanges one after the other (HTTP/1) or side by side (HTTP/2), until its end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::access_log::exchange_record::ExchangeRecord;
use crate::exchange::facts;
use crate::forwarding;
use crate::http::error::{StreamError, StreamErrorKind};
use crate::http::headers::Headers;
use crate::http::message::{Protocol, ResponseHead};
use crate::http::server::{Accepted, Exchange, Refusal, ServerConnection};
use crate::listener::arrival;
use crate::listener::live::{LiveChain, LiveListener};
use crate::reply::{Dialect, Reply};
use crate::request;
use crate::runtime::{Generation, HttpRuntime};

/// What a connection needs of its listener and worker.
#[derive(Clone)]
pub(crate) struct Place {
    /// The current one.
    pub(crate) generation: Rc<RefCell<Rc<Generation>>>,
    /// What the listener serves now; it stays when the listener is gone.
    pub(crate) listener: Rc<LiveListener>,
}

impl Place {
    fn generation(&self) -> Rc<Generation> {
        Rc::clone(&self.generation.borrow())
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, source: SocketAddr, place: Place) {
    // Fails only for a connection that is dead already, which the first read will tell.
    let _ = stream.set_nodelay(true);
    let Ok(destination) = stream.local_addr() else {
        return;
    };
    let chains = place.listener.chains();
    let Some(arrival) = arrival::choose(stream, destination, &chains).await else {
        return;
    };
    let chain = Rc::clone(&arrival.chain);
    let stats = &chains.stats;
    stats.connections.inc();
    stats.connections_active.inc();
    let http = chain.http();
    http.stats.connections.inc();
    http.stats.connections_active.inc();
    if let Some(secured) = arrival.secure(&chains).await {
        let facts = Rc::new(facts::Connection {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            source,
            destination,
            server_name: secured.server_name,
            tls: secured.session,
            listener: Arc::clone(&chain.facts),
            node: Arc::clone(&place.generation().node),
        });
        let connection = ServerConnection::agreed(secured.io, Rc::clone(&http.server), secured.codec);
        run(connection, &facts, &Rc::new(Served { place, chain })).await;
    }
    http.stats.connections_active.dec();
    stats.connections_active.dec();
    stats.connections_destroyed.inc();
}

/// A connection's worker and filter chain.
struct Served {
    place: Place,
    chain: Rc<LiveChain>,
}

async fn run(mut connection: ServerConnection, facts: &Rc<facts::Connection>, served: &Rc<Served>) {
    let mut drain = served.chain.draining();
    let mut draining = false;
    let mut running = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = told_to_drain(&mut drain), if !draining => {
                draining = true;
                connection.drain();
                continue;
            }
            Some(_) = running.join_next() => continue,
        };
        match accepted {
            Ok(Some(Accepted::Exchange(exchange))) => {
                let serving = serve_exchange(Rc::clone(served), Rc::clone(facts), exchange);
                if connection.is_multiplexed() {
                    running.spawn_local(serving);
                    continue;
                }
                let mut serving = std::pin::pin!(serving);
                tokio::select! {
                    () = &mut serving => continue,
                    () = told_to_drain(&mut drain), if !draining => {}
                }
                draining = true;
                connection.drain();
                serving.await;
            }
            Ok(Some(Accepted::Refusal(refusal))) => {
                let protocol = if connection.is_multiplexed() {
                    Protocol::Http2
                } else {
                    Protocol::Http11
                };
                refuse(refusal, protocol, facts, &served.chain.http()).await;
            }
            Ok(None) => break,
            Err(error) => {
                if matches!(error.kind, StreamErrorKind::Malformed(_)) {
                    served.chain.http().stats.protocol_error.inc();
                }
                tracing::debug!(connection = facts.id, %error, "the connection broke");
                break;
            }
        }
    }
    // Their halves know that the connection has ended.
    while running.join_next().await.is_some() {}
}

async fn serve_exchange(served: Rc<Served>, facts: Rc<facts::Connection>, exchange: Exchange) {
    let (generation, http) = (served.place.generation(), served.chain.http());
    request::serve(&generation, http, facts, exchange).await;
}

/// A request that HTTP does not allow never reaches a filter, but it is counted and logged.
async fn refuse(refusal: Refusal, protocol: Protocol, facts: &facts::Connection, http: &HttpRuntime) {
    let begun = (Instant::now(), SystemTime::now());
    let reply = Reply::refusing(refusal.reason);
    http.stats.begin();
    http.stats.refused(refusal.reason, reply.flags);
    let mut head = ResponseHead::new(reply.status);
    let mut sent = 0;
    let answered = if let Some(mut writer) = refusal.response {
        let body = reply.write(Dialect::Plain, &mut head.headers);
        forwarding::finish_response(&http.manager, &mut head.headers, &http.clock.date());
        let written = async {
            writer.head(&head, body.is_empty()).await?;
            sent = body.len() as u64;
            if body.is_empty() {
                return Ok(());
            }
            writer.data(body, true).await
        };
        let written: Result<(), StreamError> = written.await;
        if let Err(error) = written {
            tracing::debug!(%error, "the refusal of a request did not reach its sender");
        }
        true
    } else {
        false
    };
    let took = begun.0.elapsed();
    let status = answered.then_some(reply.status);
    http.stats.end(status, took);
    // What was sent is no request, so nothing of it can be told.
    let request = Headers::new();
    let mut record = ExchangeRecord::new(&request, protocol, begun.1, [facts.source, facts.destination]);
    record.response = answered.then_some(&head.headers);
    record.status = status.unwrap_or(0);
    record.details = &reply.details;
    record.flags = reply.flags;
    record.bytes_sent = sent;
    record.timing.end = Some(took);
    record.connection_id = facts.id;
    record.server_name = &facts.server_name;
    record.tls = facts.tls.as_deref();
    http.logger.log(&record);
}

async fn told_to_drain(drain: &mut watch::Receiver<bool>) {
    // Nobody is left to tell: then it never happens.
    if drain.wait_for(|drain| *drain).await.is_err() {
        std::future::pending().await
    }
}
