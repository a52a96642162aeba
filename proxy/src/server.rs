//! The process: starts the parts, says when it is ready, and ends without losing what it has begun.
//!
//! [`run`] is the program `leno-proxy`; [`Server::start`] is the same proxy inside another program, such as a test or
//! `leno run`. Both live on a tokio runtime of their caller; workers have threads of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use leno_sdk::native::NativeFactory;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access_log::sinks::Sinks;
use crate::admin::{self, Life, Order, Shared};
use crate::config::boot;
use crate::config::driver::Config;
use crate::config::plan::Plan;
use crate::config::prepare::Addresses;
use crate::logging;
use crate::options::{Mode, Options};
use crate::stats::Registry;
use crate::worker;

mod parts;

mod publish;

mod signals;

use publish::Publisher;

/// A proxy inside this process.
pub struct Server;

/// A running proxy. Dropping it ends the proxy at once.
pub struct Handle {
    shared: Arc<Shared>,
    admin: Option<SocketAddr>,
    life: Arc<watch::Sender<Life>>,
    orders: mpsc::Receiver<Order>,
    publisher: Arc<Publisher>,
    sinks: Arc<Sinks>,
    /// Cancelled at the end: everything that runs in the background stops.
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs the program until it is told to end.
pub fn run(options: Options, natives: Vec<NativeFactory>) -> ExitCode {
    let log = match logging::start(&options) {
        Ok(log) => log,
        Err(reason) => return fail(&reason),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("main")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(async {
        match options.mode {
            Mode::Validate | Mode::InitOnly => validate(&options, natives).await,
            Mode::Serve => serve(options, natives, log).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Reads and prepares everything that the configuration holds, without serving.
///
/// # Errors
/// What is wrong, and where.
pub async fn check(options: &Options, natives: Vec<NativeFactory>) -> Result<(), String> {
    let bootstrap = Arc::new(boot::load(options)?);
    let registry = Registry::new();
    let sinks = Sinks::new(&registry, options.flush_interval());
    let (mut config, _kept) = parts::make(bootstrap, natives, &registry, &sinks, Addresses::Ignored)?;
    config
        .load_bootstrap()
        .await
        .map_err(|reason| format!("{}: {reason}", boot::source(options)))
}

impl Server {
    /// Starts a proxy. It serves the bootstrap's own listeners when this returns; what comes from a control plane
    /// follows ([`Handle::ready`]).
    ///
    /// # Errors
    /// What is wrong with the configuration, or what the system refuses.
    pub async fn start(
        options: Options,
        natives: Vec<NativeFactory>,
        log: Option<logging::Control>,
    ) -> Result<Handle, String> {
        for (option, why) in options.notes() {
            tracing::info!(
                code = "option_without_effect",
                option,
                why,
                "this option changes nothing"
            );
        }
        let bootstrap = Arc::new(boot::load(&options)?);
        let registry = Registry::new();
        let sinks = Sinks::new(&registry, options.flush_interval());
        let (mut config, mut loose) = parts::make(
            Arc::clone(&bootstrap),
            natives,
            &registry,
            &sinks,
            Addresses::Checked,
        )?;
        config
            .load_bootstrap()
            .await
            .map_err(|reason| format!("{}: {reason}", boot::source(&options)))?;

        let stop = CancellationToken::new();
        let life = Arc::new(watch::channel(Life::Initializing).0);
        let (give_orders, orders) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            options: Arc::new(options),
            started: (Instant::now(), SystemTime::now()),
            registry: Arc::clone(&registry),
            life: life.subscribe(),
            healthy: AtomicBool::new(true),
            views: loose.ask_views,
            listeners: Mutex::default(),
            log,
            orders: give_orders,
        });
        let node = Arc::new(bootstrap.node.clone());
        let workers = worker::Parts::new(node, loose.filters, Arc::clone(&sinks), registry);
        let publisher = Arc::new(Publisher::start(Arc::clone(&shared), &workers)?);
        let first = loose.plans.borrow_and_update().clone();
        if let Some(plan) = first {
            publisher
                .publish(plan)
                .await
                .map_err(|refusal| refusal.to_string())?;
        }
        let mut handle = Handle {
            admin: None,
            life,
            orders,
            publisher,
            sinks,
            stop,
            tasks: Vec::new(),
            shared,
        };
        handle.start_admin(bootstrap.admin).await?;
        handle.start_background(config, loose.plans, loose.initialized);
        if let Some(link) = loose.link {
            handle.spawn(link.run());
        }
        Ok(handle)
    }
}

impl Handle {
    /// The address of the admin page, when there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The addresses that are bound, by listener.
    pub fn listener_addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.shared.bound()
    }

    /// The address of one listener.
    pub fn listener_address(&self, name: &str) -> Option<SocketAddr> {
        self.shared.bound().get(name).copied()
    }

    /// All metrics.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// Resolves when the proxy serves all that it was told at start, or has waited for it long enough.
    pub async fn ready(&self) {
        let mut life = self.life.subscribe();
        // The sender lives in `self`.
        let _ = life.wait_for(|life| *life != Life::Initializing).await;
    }

    /// Obeys the admin page until that asks to end. Nothing is lost when this is dropped and called again.
    pub async fn asked_to_end(&mut self) {
        while let Some(order) = self.orders.recv().await {
            match order {
                Order::Quit => return,
                Order::ReopenLogs => self.reopen_logs(),
                Order::Drain { inbound_only } => {
                    let publisher = Arc::clone(&self.publisher);
                    self.spawn(async move { publisher.close_listeners(inbound_only).await });
                }
            }
        }
    }

    /// Opens access log files again.
    pub fn reopen_logs(&self) {
        self.sinks.reopen();
    }

    /// Ends: stops accepting, lets exchanges finish for the drain time of the options, and writes the last lines.
    pub async fn shutdown(mut self) {
        let limit = self.shared.options.drain_time();
        self.life.send_replace(Life::Draining);
        let started = Instant::now();
        match tokio::time::timeout(limit, self.publisher.drain()).await {
            Ok(()) => tracing::info!(
                code = "drained",
                "all exchanges have ended after {:?}",
                started.elapsed()
            ),
            Err(_) => tracing::warn!(code = "drain_timeout", "exchanges are cut off after {limit:?}"),
        }
        self.end().await;
    }

    /// Ends now: exchanges under way are cut off.
    pub async fn abort(mut self) {
        self.life.send_replace(Life::Draining);
        self.end().await;
    }

    async fn end(&mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A panic was reported by the panic hook.
            let _ = task.await;
        }
        self.publisher.stop().await;
        let sinks = Arc::clone(&self.sinks);
        // Waits for files; a panic was reported by the panic hook.
        let _ = tokio::task::spawn_blocking(move || sinks.flush()).await;
    }

    async fn start_admin(&mut self, address: Option<SocketAddr>) -> Result<(), String> {
        let Some(address) = address else {
            return Ok(());
        };
        let refused = |error| format!("admin.address: cannot listen on {address}: {error}");
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        if let Some(path) = &self.shared.options.admin_address_path {
            let written = tokio::fs::write(path, bound.to_string()).await;
            written.map_err(|error| format!("--admin-address-path {}: {error}", path.display()))?;
        }
        tracing::info!(code = "admin", address = %bound, "the admin page is there");
        self.admin = Some(bound);
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        // The page stays until the very end: it shows the drain.
        self.tasks.push(tokio::spawn(async move {
            admin::serve(listener, shared, stop.cancelled()).await
        }));
        Ok(())
    }

    fn start_background(
        &mut self,
        config: Config,
        mut plans: watch::Receiver<Option<Arc<Plan>>>,
        mut initialized: watch::Receiver<bool>,
    ) {
        self.spawn(config.run());
        let (publisher, life) = (Arc::clone(&self.publisher), Arc::clone(&self.life));
        self.spawn(async move {
            loop {
                let is_initialized = *initialized.borrow_and_update();
                let plan = plans.borrow_and_update().clone();
                if let Some(plan) = plan.filter(|plan| plan.number > publisher.published()) {
                    // A plan that fails on a worker has been reported; what served goes on.
                    let _ = publisher.publish(plan).await;
                }
                if is_initialized {
                    life.send_if_modified(|life| {
                        let begins = *life == Life::Initializing;
                        if begins {
                            tracing::info!(code = "live", "all configuration is there: ready");
                            *life = Life::Live;
                        }
                        begins
                    });
                }
                let next = async {
                    tokio::select! {
                        changed = plans.changed() => changed.is_ok(),
                        changed = initialized.changed() => changed.is_ok(),
                    }
                };
                if !next.await {
                    return;
                }
            }
        });
    }

    /// Runs `task` until the end.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        }));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn validate(options: &Options, natives: Vec<NativeFactory>) -> ExitCode {
    match check(options, natives).await {
        Ok(()) => {
            println!("configuration '{}' OK", boot::source(options));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(&reason),
    }
}

async fn serve(options: Options, natives: Vec<NativeFactory>, log: logging::Control) -> ExitCode {
    let mut signals = match signals::Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen to signals: {error}")),
    };
    let mut server = match Server::start(options, natives, Some(log)).await {
        Ok(server) => server,
        Err(reason) => return fail(&reason),
    };
    loop {
        tokio::select! {
            () = server.asked_to_end() => {
                server.abort().await;
                return ExitCode::SUCCESS;
            }
            signal = signals.next() => match signal {
                signals::Signal::Reopen => server.reopen_logs(),
                signals::Signal::Quick => {
                    server.abort().await;
                    return ExitCode::SUCCESS;
                }
                signals::Signal::Graceful => {
                    tracing::info!(code = "drain", "no new connections; exchanges may finish");
                    tokio::select! {
                        () = server.shutdown() => {}
                        () = signals.again() => tracing::warn!(code = "drain_cut", "told to end a second time"),
                    }
                    return ExitCode::SUCCESS;
                }
            },
        }
    }
}

fn fail(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}
