//! The registry client: its options, and the connections and tokens that its calls share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::transport::Transport;

/// How a client behaves. The default suits a control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Registries (`host` or `host:port`, or `*`) that may be spoken to without TLS. Loopback ones always may.
    pub insecure_registries: Vec<String>,
    /// PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The largest module, before and after decompression.
    pub max_module_size: u64,
    /// Limit for establishing a connection.
    pub connect_timeout: Duration,
    /// Limit for silence on a connection.
    pub stall_timeout: Duration,
    /// Limit for a whole call, retries included.
    pub deadline: Duration,
    /// How many times a request that met a connection error, 408, 429 or 5xx is sent again.
    pub retries: u32,
    /// Pause before the first retry; doubled for each further one, with jitter.
    pub backoff: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            insecure_registries: Vec::new(),
            ca_file: None,
            max_module_size: 256 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(15),
            deadline: Duration::from_secs(300),
            retries: 4,
            backoff: Duration::from_millis(250),
        }
    }
}

/// Is told how many bytes of how many are done. Called often, from async threads: it must not block.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

tokio::task_local! {
    /// When the call that is running will be given up.
    pub(crate) static DEADLINE: tokio::time::Instant;
}

/// A registry client. Clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
}

impl Client {
    /// A client with these options; fails when the CA file cannot be used.
    pub fn new(options: Options) -> Result<Client, Error> {
        Ok(Client {
            transport: Arc::new(Transport::new(options)?),
        })
    }

    /// The options that this client was made with.
    pub fn options(&self) -> &Options {
        &self.transport.options
    }

    /// Runs one call under the client's deadline.
    pub(crate) async fn in_time<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = self.options().deadline;
        let timed_out = |_| Error::Timeout {
            url: what.to_owned(),
            after,
        };
        let call = tokio::time::timeout(after, call);
        let deadline = tokio::time::Instant::now() + after;
        DEADLINE.scope(deadline, call).await.map_err(timed_out)?
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", self.options())
            .finish_non_exhaustive()
    }
}
