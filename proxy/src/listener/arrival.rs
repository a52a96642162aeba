//! From an accepted socket to a filter chain and the bytes that it reads: first bytes, choice, handshake.
//!
//! All of this happens in the connection's own task, within bounds of time, so that a client which does not speak
//! holds up nobody but itself.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leno_model::http::Codec;
use leno_model::listener::TransportProtocol;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsAcceptor};

use crate::http::io::Io;
use crate::listener::live::{Chains, LiveChain};
use crate::listener::matching::Shown;
use crate::tls::server::ServerTls;
use crate::tls::session::Session;
use crate::tls::stats::{cause, words};

/// How long a handshake may take where the configuration does not say it. Envoy has no bound then; a client on the
/// other side of the world with a lost packet or two needs less than a third of this.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The first byte of every TLS connection: a record that holds a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A connection whose chain is known.
pub(crate) struct Arrival {
    pub(crate) chain: Rc<LiveChain>,
    beginning: Beginning,
}

enum Beginning {
    /// Nothing has been read.
    Stream(TcpStream),
    /// The client's hello has been read.
    Hello(Box<StartHandshake<TcpStream>>),
}

/// A connection that can be served.
pub(crate) struct Secured {
    pub(crate) io: Io,
    /// Lower case; empty when the client asked for none.
    pub(crate) server_name: String,
    pub(crate) session: Option<Arc<Session>>,
    /// The protocol that was agreed on, if there was such an agreement.
    pub(crate) codec: Option<Codec>,
}

/// Finds the chain of a connection. `None`: there is none, or it did not show in time what it is; it is closed.
pub(crate) async fn choose(stream: TcpStream, local: SocketAddr, chains: &Chains) -> Option<Arrival> {
    let plain = Shown {
        port: local.port(),
        transport: TransportProtocol::RawBuffer,
        server_name: "",
        protocols: &[],
    };
    if !chains.matcher.inspects() {
        return chains.arrival(&plain, Beginning::Stream(stream));
    }
    let deadline = chains.inspect_timeout.map(|timeout| Instant::now() + timeout);
    let first = within(deadline, first_byte(&stream)).await;
    let hello = match first {
        Some(Ok(Some(HANDSHAKE_RECORD))) => {
            within(deadline, LazyConfigAcceptor::new(Acceptor::default(), stream)).await
        }
        Some(Ok(Some(_))) => return chains.arrival(&plain, Beginning::Stream(stream)),
        // It has gone without a word.
        Some(Ok(None) | Err(_)) => return None,
        None => None,
    };
    match hello {
        Some(Ok(hello)) => {
            let said = hello.client_hello();
            let name = said.server_name().map(str::to_ascii_lowercase);
            let protocols: Vec<&[u8]> = said.alpn().into_iter().flatten().collect();
            let shown = Shown {
                transport: TransportProtocol::Tls,
                server_name: name.as_deref().unwrap_or_default(),
                protocols: &protocols,
                ..plain
            };
            let chosen = chains.choose(&shown);
            chosen.map(|chain| Arrival {
                chain,
                beginning: Beginning::Hello(Box::new(hello)),
            })
        }
        Some(Err(error)) => {
            chains.failed(&error);
            None
        }
        None => {
            chains.stats.inspect_timeout.inc();
            None
        }
    }
}

impl Chains {
    fn arrival(&self, shown: &Shown<'_>, beginning: Beginning) -> Option<Arrival> {
        let chain = self.choose(shown)?;
        Some(Arrival { chain, beginning })
    }

    /// Where the first bytes are looked at, a chain without TLS does not take a connection with it.
    fn choose(&self, shown: &Shown<'_>) -> Option<Rc<LiveChain>> {
        let chosen = self
            .matcher
            .choose(shown)
            .and_then(|position| self.all.get(position));
        let fits = |chain: &&Rc<LiveChain>| chain.tls.is_some() || shown.transport != TransportProtocol::Tls;
        let chosen = chosen.filter(fits).cloned();
        if chosen.is_none() {
            tracing::debug!(?shown, "no filter chain takes this connection");
            self.stats.no_match.inc();
        }
        chosen
    }

    fn failed(&self, error: &io::Error) {
        self.stats.tls.failed(error);
        match cause(error) {
            Some(reason) => tracing::debug!(reason = words(reason), "a client's handshake failed"),
            None => tracing::debug!(%error, "a client has gone while shaking hands"),
        }
    }
}

impl Arrival {
    /// Shakes hands where the chain wants it. `None`: that failed, and was counted; the connection is closed.
    pub(crate) async fn secure(self, chains: &Chains) -> Option<Secured> {
        let Self { chain, beginning } = self;
        let Some(tls) = &chain.tls else {
            return match beginning {
                Beginning::Stream(stream) => Some(Secured::plain(stream)),
                // Such a connection was not chosen for this chain.
                Beginning::Hello(_) => None,
            };
        };
        let deadline = Instant::now() + chain.handshake_timeout.unwrap_or(HANDSHAKE);
        let config = Arc::clone(tls.config());
        let handshake = match beginning {
            Beginning::Stream(stream) => TlsAcceptor::from(config).accept(stream),
            Beginning::Hello(hello) => hello.into_stream(config),
        };
        // Boxed, because the state of a handshake is large and short-lived.
        match timeout_at(deadline, Box::pin(handshake)).await {
            Ok(Ok(stream)) => {
                chains.stats.tls.done(stream.get_ref().1);
                Some(Secured::encrypted(stream, tls))
            }
            Ok(Err(error)) => {
                chains.failed(&error);
                None
            }
            Err(_) => {
                chains.stats.handshake_timeout.inc();
                None
            }
        }
    }
}

impl Secured {
    fn plain(stream: TcpStream) -> Self {
        Self {
            io: Io::Tcp(stream),
            server_name: String::new(),
            session: None,
            codec: None,
        }
    }

    fn encrypted(stream: TlsStream<TcpStream>, tls: &ServerTls) -> Self {
        let state = stream.get_ref().1;
        Self {
            server_name: state.server_name().unwrap_or_default().to_ascii_lowercase(),
            session: Some(Arc::new(Session::of(state, tls.own()))),
            codec: match state.alpn_protocol() {
                Some(b"h2") => Some(Codec::Http2),
                Some(b"http/1.1" | b"http/1.0") => Some(Codec::Http1),
                Some(_) | None => None,
            },
            io: Io::Tls(Box::new(stream.into())),
        }
    }
}

/// Looked at, not taken; `None` at the end.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let read = stream.peek(&mut byte).await?;
    Ok((read > 0).then_some(byte[0]))
}

/// `None`: it took too long.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
