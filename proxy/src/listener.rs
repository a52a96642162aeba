//! Sockets that accept connections: bound once for all workers, accepted from by each; and what comes between an
//! accepted socket and its exchanges.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

pub mod matching;

pub mod stats;

pub(crate) mod live;

pub(crate) mod arrival;

/// Connections that the kernel keeps until a worker takes them. It lowers this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The longest pause after running out of descriptors or memory.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One socket per worker for the same address; the kernel spreads connections over them. Port 0 becomes the same
/// free port for all.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let first = bind_one(address)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_one(address)?);
    }
    Ok(sockets)
}

/// Whether [`bind`] would succeed now. Nothing listens meanwhile, so that no connection is lost.
///
/// # Errors
/// The address cannot be bound.
pub fn check(address: SocketAddr) -> io::Result<()> {
    bound_socket(address).map(drop)
}

fn bind_one(address: SocketAddr) -> io::Result<StdListener> {
    let socket = bound_socket(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The next connection. Running out of descriptors or memory is waited out, with growing pauses: connections that
/// wait in the kernel are not lost. Cancel safe.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = Duration::from_millis(5);
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// The peer was gone before we came (accept(2), "Error handling").
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// What the kernel has accepted already, for a listener that is about to go.
pub(crate) async fn accept_waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    tokio::select! {
        biased;
        accepted = listener.accept() => accepted.ok(),
        () = std::future::ready(()) => None,
    }
}
