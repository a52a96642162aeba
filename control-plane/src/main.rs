//! The program `leno-control-plane`: reads its command line, starts the library, waits for a signal.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use leno_control_plane::server::{Options, Server};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns a folder of YAML into running proxies.
#[derive(Parser)]
#[command(name = "leno-control-plane", version)]
struct Arguments {
    /// The folder of documents.
    #[arg(short = 'f', long, env = "LENO_FOLDER")]
    folder: PathBuf,
    /// Where artifacts and the embedded registry are kept.
    #[arg(long, default_value = "leno-state", env = "LENO_STATE")]
    state: PathBuf,
    /// Where proxies ask for their configuration (ADS).
    #[arg(long, default_value = "127.0.0.1:15010")]
    xds: SocketAddr,
    /// Where artifacts, the embedded registry and the status are served.
    #[arg(long, default_value = "127.0.0.1:15014")]
    http: SocketAddr,
    /// The address that proxies reach --http at, when it is another.
    #[arg(long)]
    advertise: Option<SocketAddr>,
    /// Serve no registry.
    #[arg(long)]
    no_registry: bool,
    /// Plugins of this namespace apply to every namespace.
    #[arg(long, default_value = "istio-system")]
    root_namespace: String,
    /// Where proxies write access logs, as /dev/stdout; none when absent.
    #[arg(long)]
    access_log: Option<PathBuf>,
    /// How often the tags of plugins that pull always are looked at, in seconds.
    #[arg(long, default_value_t = 10)]
    poll: u64,
    /// A registry (host:port) that is spoken to without TLS; may be repeated. Loopback ones always may.
    #[arg(long)]
    insecure_registry: Vec<String>,
    /// PEM certificates of registries to trust besides the system's.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a list as tracing's EnvFilter reads it.
    #[arg(short, long, default_value = "info", env = "LENO_LOG")]
    log_level: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = match EnvFilter::try_new(&arguments.log_level) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("leno-control-plane: --log-level {}: {error}", arguments.log_level);
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leno-control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut options = Options::new(arguments.folder, arguments.state);
    options.xds = arguments.xds;
    options.http = arguments.http;
    options.advertise = arguments.advertise;
    options.registry = !arguments.no_registry;
    options.root_namespace = arguments.root_namespace;
    options.access_log = arguments.access_log;
    options.poll = Duration::from_secs(arguments.poll.max(1));
    options.client.insecure_registries = arguments.insecure_registry;
    options.client.ca_file = arguments.ca_file;
    let server = Server::start(options).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    server.stop().await
}
