//! `leno-bench`: peers side by side under load; see [`leno_benches::compare`].

use std::process::ExitCode;

use clap::Parser;
use leno_benches::compare::peer::Peer;
use leno_benches::compare::{Effort, compare, report, scenario};

/// CPU time per request of Leno and its peers, as ratios within one alternating run.
#[derive(Parser)]
#[command(name = "leno-bench")]
struct Options {
    /// Scenarios to run: http1, http2, http1-wasm5. All unless named.
    scenarios: Vec<String>,
    /// Proxies to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Peer::Envoy, Peer::EnvoyWithoutFilters, Peer::Leno, Peer::Nginx, Peer::Haproxy])]
    peers: Vec<Peer>,
    /// How often every proxy is measured.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Requests of one measurement.
    #[arg(long, default_value_t = 60_000)]
    requests: u64,
    /// Requests per second where latency is measured.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leno-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let named: Vec<_> = options
        .scenarios
        .iter()
        .map(|name| {
            let found = scenario::ALL.iter().find(|scenario| scenario.name == name);
            found.ok_or_else(|| {
                anyhow::anyhow!("{name} is not a scenario; there are http1, http2 and http1-wasm5")
            })
        })
        .collect::<Result<_, _>>()?;
    let scenarios = if named.is_empty() {
        scenario::ALL.iter().collect()
    } else {
        named
    };
    let effort = Effort {
        rounds: options.rounds,
        requests: options.requests,
        rate: options.rate,
    };
    for scenario in scenarios {
        let peers: Vec<Peer> = options
            .peers
            .iter()
            .copied()
            .filter(|peer| *peer != Peer::EnvoyWithoutFilters || scenario.filters > 0)
            .collect();
        let base = if scenario.filters > 0 {
            Peer::EnvoyWithoutFilters
        } else {
            Peer::Envoy
        };
        let rows = compare(scenario, &peers, effort).await?;
        println!(
            "\n{} (share: of {})\n{}",
            scenario.name,
            base.name(),
            report::table(&rows, base)
        );
    }
    Ok(())
}
