//! `leno demo`: the main job with everything embedded, on loopback, measured, with a report of what was seen.
//!
//! Registry and control plane run in this process; the proxy is the program `leno-proxy` beside this one; the two
//! versions of the upstream are served from here. The documents are those of `examples/gateway`.

mod load;
mod mesh;
mod report;
mod upstream;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use load::Load;
use mesh::Mesh;
use report::Report;

use crate::options::Demo;

/// Requests per second while the filter is swapped. Arbitrary: enough for a p99, little enough for two cores.
const RATE: u32 = 200;

/// How long traffic runs before, and again after, the swap.
const LEAD: Duration = Duration::from_secs(3);

/// Runs the demo.
///
/// # Errors
/// A part does not start, or, with `check`, something did not hold.
pub(crate) async fn run(options: Demo) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let state = tempfile::tempdir().context("a folder for the demo's state")?;
    let mut mesh = Mesh::start(state.path(), &options.modules).await?;
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
    report.show(started.elapsed());
    if options.check {
        mesh.stop().await?;
        report.verdict()?;
        return Ok(ExitCode::SUCCESS);
    }
    mesh.explain(state.path());
    tokio::signal::ctrl_c().await?;
    mesh.stop().await?;
    Ok(ExitCode::SUCCESS)
}

fn step(name: &str, what: &str) {
    eprintln!("  {name:<8} {what}");
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
        &format!("x-caller {:?}, path {}", seen("x-caller"), known.upstream_path()),
    );
    report.hold(
        "headers",
        "the client sees x-filter-version: v1",
        known.header("x-filter-version") == Some("v1"),
        &format!("{:?}", known.header("x-filter-version")),
    );
    report.hold(
        "telemetry",
        "the upstream sees a trace context",
        seen("traceparent").is_some(),
        &format!("{:?}", seen("traceparent")),
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
            format!("new version answers after {took:?}")
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
            "status {}, x-filter-version {:?}",
            after.status,
            after.header("x-filter-version")
        ),
    );
    report.hold(
        "swap",
        "the new version was seen",
        moment.is_some(),
        &moment.map_or("no".to_owned(), |took| format!("after {took:.0?}")),
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
