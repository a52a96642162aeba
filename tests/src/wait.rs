//! Waiting for what happens, with a deadline.

use std::fmt::Debug;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// How long a suite waits for what must happen. Arbitrary: machines under load are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const STEP: Duration = Duration::from_millis(20);

/// Looks again and again until there is something. `look` gives what it saw instead as its error.
///
/// # Panics
/// There is nothing after [`PATIENCE`].
pub async fn until<T, E: Debug, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                Instant::now() < deadline,
                "{what}: not within {PATIENCE:?}; last seen: {seen:#?}"
            ),
        }
        tokio::time::sleep(STEP).await;
    }
}

/// A loopback address that nobody listened on a moment ago.
///
/// # Panics
/// No port is free.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}

/// Waits until somebody accepts connections there.
///
/// # Panics
/// Nobody does.
pub async fn listening(address: SocketAddr) {
    until(&format!("{address} accepts connections"), || {
        tokio::net::TcpStream::connect(address)
    })
    .await;
}
