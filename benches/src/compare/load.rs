//! Load, by `h2load`.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use leno_tests::peers;

use super::scenario::{Load, Scenario};

/// What one measurement of one peer found.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The peer's name.
    pub peer: &'static str,
    /// CPU time of the proxy's process per request, at full load.
    pub cpu_per_request: Duration,
    /// Throughput at full load.
    pub requests_per_second: f64,
    /// Median latency at the fixed rate.
    pub p50: Duration,
    /// 99th percentile of latency at the fixed rate.
    pub p99: Duration,
    /// Resident memory afterwards.
    pub resident_kib: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:<24} {:>7.2} us/request {:>8.0} requests/s  p50 {:>5} us  p99 {:>6} us  {:>6} KiB",
            self.peer,
            self.cpu_per_request.as_secs_f64() * 1e6,
            self.requests_per_second,
            self.p50.as_micros(),
            self.p99.as_micros(),
            self.resident_kib
        )
    }
}

/// One run of the load generator.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Requests that were answered with 200: all of them.
    pub requests: u64,
    /// By the load generator's clock.
    pub requests_per_second: f64,
    /// Median latency.
    pub p50: Duration,
    /// 99th percentile of latency.
    pub p99: Duration,
}

/// Sends about `requests` requests, `rate` per second or as fast as they are answered.
///
/// # Errors
/// The load generator fails, or a request is not answered with 200.
pub fn run(scenario: &Scenario, proxy: SocketAddr, requests: u64, rate: Option<u64>) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("requests.tsv");
    let connections = scenario.load.connections();
    let requests = requests.next_multiple_of(u64::from(connections));
    let mut command = Command::new(peers::installed("h2load"));
    command
        .args([
            "-n",
            &requests.to_string(),
            "-c",
            &connections.to_string(),
            "-t",
            "1",
        ])
        .arg(format!("--log-file={}", log.display()));
    match scenario.load {
        Load::Http1 { .. } => command.arg("--h1"),
        Load::Http2 { streams, .. } => command.args(["-m", &streams.to_string()]),
    };
    if let Some(rate) = rate {
        command.arg(format!("--rps={}", rate / u64::from(connections)));
    }
    let done = command
        .arg(format!("http://{proxy}/"))
        .output()
        .context("h2load")?;
    let text = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("h2load ended with {}: {text}", done.status);
    }
    let table = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let mut latencies = Vec::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for line in table.lines() {
        let mut fields = line.split('\t');
        let mut next = || -> Option<u64> { fields.next()?.parse().ok() };
        let (Some(start), Some(status), Some(took)) = (next(), next(), next()) else {
            bail!("h2load logged {line:?}");
        };
        if status != 200 {
            bail!("a request was answered with {status}");
        }
        latencies.push(took);
        first = first.min(start);
        last = last.max(start + took);
    }
    let answered = latencies.len() as u64;
    if answered != requests {
        bail!("{answered} of {requests} requests were answered: {text}");
    }
    latencies.sort_unstable();
    let at = |share: usize| Duration::from_micros(latencies[(latencies.len() - 1) * share / 100]);
    Ok(Run {
        requests,
        requests_per_second: answered as f64 * 1e6 / (last - first) as f64,
        p50: at(50),
        p99: at(99),
    })
}
