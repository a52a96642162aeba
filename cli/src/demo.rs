//! `leno demo`: the main job with everything embedded, on loopback, measured, with a report of what was seen.
//!
//! Registry and control plane run in this process; the proxy is the program `leno-proxy` beside this one; the two
//! versions of the upstream are served from here. The documents are those of `examples/gateway`.

mod client;
mod load;
mod mesh;
mod report;
mod upstream;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use load::Load;
use mesh::Mesh;
use report::Report;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::options::Demo;
use crate::output::note;

/// Requests per second while the filter is swapped. Arbitrary: enough for a p99, little enough for two cores.
const RATE: u32 = 200;

/// How long traffic runs before, and again after, the swap.
const LEAD: Duration = Duration::from_secs(3);

/// How long what still runs at the end may take to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the demo until it is done, or told to end; no process and no file of it stays.
///
/// # Errors
/// A part does not start, or, with `check`, something did not hold.
pub(crate) fn run(options: &Demo, runtime: tokio::runtime::Runtime) -> anyhow::Result<ExitCode> {
    let state = tempfile::tempdir().context("a folder for the demo's state")?;
    let ended = runtime.block_on(until_told(options, state.path()));
    // What still runs must not write into a folder that is being removed.
    runtime.shutdown_timeout(PATIENCE);
    let folder = state.path().to_owned();
    let removed = state
        .close()
        .with_context(|| format!("{} cannot be removed", folder.display()));
    let code = ended?;
    removed.map(|()| code)
}

async fn until_told(options: &Demo, state: &Path) -> anyhow::Result<ExitCode> {
    let mut told = Told::listen()?;
    let mesh = tokio::select! {
        shown = show(options, state) => shown?,
        // The mesh goes with the future that has it.
        signal = told.ended() => {
            step("end", "told to end before the demo was over");
            return Ok(ExitCode::from(128 + signal));
        }
    };
    if let Some(mesh) = mesh {
        mesh.explain(state)?;
        told.ended().await;
        mesh.stop().await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The demo itself; gives the mesh unless it is only to be checked.
async fn show(options: &Demo, state: &Path) -> anyhow::Result<Option<Mesh>> {
    let started = Instant::now();
    let mut mesh = Mesh::start(state, &options.modules).await?;
    step(
        "mesh",
        &format!(
            "gateway at {}, control plane at {}",
            mesh.gateway(),
            mesh.control_plane()
        ),
    );
    let mut report = Report::default();
    stages(&mesh, &mut report).await?;
    swap(&mut mesh, &mut report).await?;
    report.show(started.elapsed())?;
    if !options.check {
        return Ok(Some(mesh));
    }
    mesh.stop().await?;
    report.verdict()?;
    Ok(None)
}

/// The signals that end programs: Ctrl-C's, and the one of `kill` and of service managers.
struct Told {
    interrupt: Signal,
    terminate: Signal,
}

impl Told {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them and gives its number.
    async fn ended(&mut self) -> u8 {
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        u8::try_from(kind.as_raw_value()).unwrap_or_default()
    }
}

fn step(name: &str, what: &str) {
    note(format!("  {name:<8} {what}"));
}

/// What was seen, or that nothing was.
fn or_none(seen: Option<&str>) -> &str {
    seen.unwrap_or("none")
}

fn milliseconds(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

/// Sees each stage do its work.
async fn stages(mesh: &Mesh, report: &mut Report) -> anyhow::Result<()> {
    step(
        "traffic",
        "auth → rate limit → header rewrite → telemetry → routing",
    );
    let client = mesh.client();
    let bare = client.get("/").send().await?;
    report.hold(
        "auth",
        "401 without a token",
        bare.status == 401,
        &format!("status {}", bare.status),
    );

    let known = client
        .get("/api/v1/items")
        .bearer(mesh::TOKEN)
        .header("x-internal-debug", "1")
        .send()
        .await?;
    report.hold(
        "auth",
        "200 with a token",
        known.status == 200,
        &format!("status {}", known.status),
    );
    let seen = |name: &str| known.upstream_header(name);
    report.hold(
        "headers",
        "the upstream sees x-caller: alice, the path without /api/v1, and no x-internal-*",
        seen("x-caller").as_deref() == Some("alice")
            && known.upstream_path() == "/items"
            && seen("x-internal-debug").is_none(),
        &format!(
            "x-caller: {}, path {}",
            or_none(seen("x-caller").as_deref()),
            known.upstream_path()
        ),
    );
    report.hold(
        "headers",
        "the client sees x-filter-version: v1",
        known.header("x-filter-version") == Some("v1"),
        or_none(known.header("x-filter-version")),
    );
    report.hold(
        "telemetry",
        "the upstream sees a trace context",
        seen("traceparent").is_some(),
        or_none(seen("traceparent").as_deref()),
    );

    let mut limited = 0;
    for _ in 0..8 {
        let order = client.get("/orders").bearer(mesh::TOKEN).send().await?;
        limited += usize::from(order.status == 429);
    }
    report.hold(
        "limit",
        "3 of 8 orders are refused with 429",
        limited == 3,
        &format!("{limited} of 8"),
    );

    let beta = client
        .get("/")
        .bearer(mesh::TOKEN)
        .header("x-beta", "1")
        .send()
        .await?;
    report.hold(
        "routing",
        "testers reach v2",
        beta.upstream_version() == "v2",
        &beta.upstream_version(),
    );
    let mut canary = 0;
    for _ in 0..200 {
        let any = client.get("/").bearer(mesh::TOKEN).send().await?;
        canary += usize::from(any.upstream_version() == "v2");
    }
    // 20 % of 200 is 40; outside of 15..=65 a fair coin would land less than once in 10,000 runs.
    report.hold(
        "routing",
        "about 20 % of the others reach v2",
        (15..=65).contains(&canary),
        &format!("{canary} of 200"),
    );

    let counted = mesh
        .metric("istio_requests_total", "response_code=\"200\"")
        .await?;
    report.hold(
        "telemetry",
        "istio_requests_total counts them",
        counted >= 200.0,
        &format!("{counted}"),
    );
    Ok(())
}

/// Replaces a filter while traffic runs, and then offers one that is no good.
async fn swap(mesh: &mut Mesh, report: &mut Report) -> anyhow::Result<()> {
    step("load", &format!("{RATE} requests per second"));
    let load = Load::start(mesh.client(), RATE);
    tokio::time::sleep(LEAD).await;
    load.phase(1);
    let published = Instant::now();
    mesh.publish_second_version().await?;
    let moment = load.first_of_second_version(Duration::from_secs(20)).await;
    let moment = moment.map(|at| at.duration_since(published));
    step(
        "swap",
        &moment.map_or("the new version was not seen".to_owned(), |took| {
            format!("new version answers after {}", milliseconds(took))
        }),
    );
    load.phase(2);
    tokio::time::sleep(LEAD).await;
    let refused = mesh.publish_broken_version().await?;
    report.hold(
        "swap",
        "a version that is in no registry is refused with a reason",
        refused.contains("not found"),
        &refused,
    );
    let result = load.stop().await;
    let after = mesh.client().get("/").bearer(mesh::TOKEN).send().await?;
    report.hold(
        "swap",
        "after a refused version the last good one serves",
        after.status == 200 && after.header("x-filter-version") == Some("v2"),
        &format!(
            "status {}, x-filter-version: {}",
            after.status,
            or_none(after.header("x-filter-version"))
        ),
    );
    let state = mesh.withdraw_broken_version().await?;
    report.hold(
        "swap",
        "the good version is attached again",
        state.is_ok(),
        state.as_ref().err().map_or("programmed", String::as_str),
    );
    report.hold(
        "swap",
        "the new version was seen",
        moment.is_some(),
        &moment.map_or("no".to_owned(), |took| format!("after {}", milliseconds(took))),
    );
    report.hold(
        "swap",
        "no request failed",
        result.failed == 0,
        &format!("{} of {}{}", result.failed, result.sent, result.first_failure()),
    );
    report.load(result, moment);
    Ok(())
}
