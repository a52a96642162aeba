//! Constant load on the gateway, in phases, with the latency of each phase.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinHandle;

use super::client::Client;

/// Load that runs until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

struct Shared {
    phase: AtomicUsize,
    stop: AtomicBool,
    seen: Mutex<Seen>,
    second_version: tokio::sync::watch::Sender<Option<Instant>>,
}

struct Seen {
    sent: u64,
    failed: u64,
    failures: Vec<String>,
    /// Microseconds, by phase.
    latencies: [Histogram<u64>; 3],
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests sent.
    pub(crate) sent: u64,
    /// Of those, any that were not answered with 200.
    pub(crate) failed: u64,
    /// What the first of them got.
    pub(crate) failures: Vec<String>,
    /// 99th percentile before, during and after the swap.
    pub(crate) p99: [Duration; 3],
}

impl Outcome {
    /// The first failure, as the tail of a sentence.
    pub(crate) fn first_failure(&self) -> String {
        self.failures
            .first()
            .map(|what| format!(" ({what})"))
            .unwrap_or_default()
    }
}

impl Load {
    /// `rate` requests per second, each sent when it is due whatever became of those before.
    pub(crate) fn start(client: Client, rate: u32) -> Self {
        // Three digits, up to a minute: constants that the histogram takes.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds are in order");
        let shared = Arc::new(Shared {
            phase: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            seen: Mutex::new(Seen {
                sent: 0,
                failed: 0,
                failures: Vec::new(),
                latencies: [histogram(), histogram(), histogram()],
            }),
            second_version: tokio::sync::watch::Sender::new(None),
        });
        let running = tokio::spawn(drive(client, rate, Arc::clone(&shared)));
        Self { shared, running }
    }

    /// What is sent from now on belongs to this phase.
    pub(crate) fn phase(&self, phase: usize) {
        self.shared.phase.store(phase, Ordering::Relaxed);
    }

    /// When an answer first came from the second version.
    pub(crate) async fn first_of_second_version(&self, within: Duration) -> Option<Instant> {
        let mut seen = self.shared.second_version.subscribe();
        let seen = tokio::time::timeout(within, seen.wait_for(Option::is_some)).await;
        seen.ok().and_then(|seen| seen.ok().and_then(|at| *at))
    }

    /// Ends it and waits for the last answers.
    pub(crate) async fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ended = self.running.await;
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let p99 = [0, 1, 2].map(|phase| Duration::from_micros(seen.latencies[phase].value_at_quantile(0.99)));
        Outcome {
            sent: seen.sent,
            failed: seen.failed,
            failures: seen.failures.clone(),
            p99,
        }
    }
}

async fn drive(client: Client, rate: u32, shared: Arc<Shared>) {
    let mut due = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut open = tokio::task::JoinSet::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let at = due.tick().await;
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        // Latency counts from when the request was due, so that a stall is not hidden by what it held up.
        open.spawn(one(client, shared, at.into_std()));
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

async fn one(client: Client, shared: Arc<Shared>, due: Instant) {
    let phase = shared.phase.load(Ordering::Relaxed);
    let answer = client
        .get("/")
        .header("x-api-key", super::mesh::LOAD_KEY)
        .send()
        .await;
    let took = due.elapsed();
    let failure = match &answer {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(format!("status {}", answer.status)),
        Err(error) => Some(format!("{error:#}")),
    };
    let is_second = answer.is_ok_and(|answer| answer.header("x-filter-version") == Some("v2"));
    if is_second && shared.second_version.borrow().is_none() {
        shared.second_version.send_replace(Some(Instant::now()));
    }
    let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.sent += 1;
    seen.latencies[phase].saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    if let Some(failure) = failure {
        seen.failed += 1;
        if seen.failures.len() < 5 {
            seen.failures.push(failure);
        }
    }
}
