//! One downstream connection: exchanges one after the other (HTTP/1) or side by side (HTTP/2), until its end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::exchange::facts;
use crate::http::io::Io;
use crate::http::message::ResponseHead;
use crate::http::server::{Accepted, Exchange, Refusal, ServerConnection};
use crate::reply::{Dialect, Reply};
use crate::request;
use crate::runtime::{Generation, HttpRuntime};

/// What a connection needs of its listener and worker.
#[derive(Clone)]
pub(crate) struct Place {
    /// The current one.
    pub(crate) generation: Rc<RefCell<Rc<Generation>>>,
    /// What the listener serves now; it stays when the listener is gone.
    pub(crate) http: Rc<RefCell<Rc<HttpRuntime>>>,
    pub(crate) listener: Arc<facts::ListenerFacts>,
    /// Becomes true when the connection should end as soon as it can.
    pub(crate) drain: watch::Receiver<bool>,
}

impl Place {
    fn http(&self) -> Rc<HttpRuntime> {
        Rc::clone(&self.http.borrow())
    }

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
    let http = place.http();
    http.stats.connections.inc();
    http.stats.connections_active.inc();
    let facts = Rc::new(facts::Connection {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        source,
        destination,
        server_name: String::new(),
        listener: Arc::clone(&place.listener),
        node: Arc::clone(&place.generation().node),
    });
    run(
        ServerConnection::new(Io::Tcp(stream), Rc::clone(&http.server)),
        &facts,
        &place,
    )
    .await;
    http.stats.connections_active.dec();
}

async fn run(mut connection: ServerConnection, facts: &Rc<facts::Connection>, place: &Place) {
    let mut drain = place.drain.clone();
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
                let serving = serve_exchange(place.clone(), Rc::clone(facts), exchange);
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
            Ok(Some(Accepted::Refusal(refusal))) => refuse(refusal).await,
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(connection = facts.id, %error, "the connection broke");
                break;
            }
        }
    }
    // Their halves know that the connection has ended.
    while running.join_next().await.is_some() {}
}

async fn serve_exchange(place: Place, facts: Rc<facts::Connection>, exchange: Exchange) {
    let (generation, http) = (place.generation(), place.http());
    request::serve(&generation, http, facts, exchange).await;
}

/// A request that HTTP does not allow never reaches a filter.
async fn refuse(refusal: Refusal) {
    let Some(mut writer) = refusal.response else {
        return;
    };
    let reply = Reply::text(refusal.reason.status(), "");
    let mut head = ResponseHead::new(reply.status);
    reply.write(Dialect::Plain, &mut head.headers);
    if let Err(error) = writer.head(&head, true).await {
        tracing::debug!(%error, "the refusal of a request did not reach its sender");
    }
}

async fn told_to_drain(drain: &mut watch::Receiver<bool>) {
    // Nobody is left to tell: then it never happens.
    if drain.wait_for(|drain| *drain).await.is_err() {
        std::future::pending().await
    }
}
