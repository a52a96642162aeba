//! Leno and its peers, asked the same, one after another and again: CPU time per request of the proxy's process.
//!
//! Every round runs each peer once, in turns of alternating direction, so that what else the machine does falls on all
//! of them. CPU time is the sum of `/proc/PID/task/*/schedstat` (nanoseconds; it does not depend on what runs beside),
//! taken before and after a fixed number of requests. Each proxy has one worker; load is `h2load`'s, the upstream is an
//! nginx with a body of 1 KiB.

pub mod load;
pub mod measure;
pub mod peer;
pub mod report;
pub mod scenario;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use load::Sample;
use peer::{Peer, Started};
use report::Row;
use scenario::Scenario;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often every peer is measured.
    pub rounds: usize,
    /// Requests of one measurement.
    pub requests: u64,
    /// Requests per second where latency is measured.
    pub rate: u64,
}

/// Measures every peer that can run `scenario`; the rows are in the order of `peers`.
///
/// # Errors
/// A peer is not installed, does not start, or fails a request.
pub async fn compare(scenario: &Scenario, peers: &[Peer], effort: Effort) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let upstream = peer::upstream(folder.path()).await?;
    let mut running = Vec::new();
    for peer in peers.iter().filter(|peer| scenario.runs_on(**peer)) {
        running.push(start(*peer, scenario, upstream.address, folder.path()).await?);
    }
    for (row, started) in &mut running {
        // Connections, code caches and pools.
        load::run(scenario, started.address, effort.requests / 10, None).with_context(|| row.peer.name())?;
    }
    for round in 0..effort.rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let (row, started) = &mut running[index];
            let sample = measured(scenario, started, effort).with_context(|| row.peer.name())?;
            eprintln!("{:<22} round {:<2} {sample}", scenario.name, round + 1);
            row.samples.push(sample);
        }
    }
    Ok(running.into_iter().map(|(row, _)| row).collect())
}

async fn start(
    peer: Peer,
    scenario: &Scenario,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<(Row, Started)> {
    let started = peer::start(peer, scenario, upstream, folder)
        .await
        .with_context(|| peer.name())?;
    let row = Row {
        peer,
        idle_kib: started.process.resident_kib(),
        samples: Vec::new(),
    };
    Ok((row, started))
}

/// One measurement: throughput and CPU without a limit, latency at a fixed rate.
fn measured(scenario: &Scenario, started: &Started, effort: Effort) -> anyhow::Result<Sample> {
    let before = measure::cpu(started.process.id())?;
    let full = load::run(scenario, started.address, effort.requests, None)?;
    let after = measure::cpu(started.process.id())?;
    let paced = load::run(scenario, started.address, effort.requests, Some(effort.rate))?;
    Ok(Sample {
        peer: started.name,
        cpu_per_request: (after - before) / u32::try_from(full.requests)?,
        requests_per_second: full.requests_per_second,
        p50: paced.p50,
        p99: paced.p99,
        resident_kib: started.process.resident_kib(),
    })
}
