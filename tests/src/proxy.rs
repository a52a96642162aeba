//! A proxy as a process: ours, or a real Envoy, started with the same file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::client::page;
use crate::peers;
use crate::process::Running;
use crate::wait::{PATIENCE, until};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `leno-proxy`.
    Leno,
    /// Envoy, as built by its project.
    Envoy,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Leno, Self::Envoy];

    /// The name of the program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leno => "leno-proxy",
            Self::Envoy => "envoy",
        }
    }
}

/// A running proxy.
pub struct Proxy {
    /// The process.
    pub process: Running,
    /// Its admin page.
    pub admin: SocketAddr,
}

impl Proxy {
    /// Starts it with a bootstrap that has its admin page at `admin`, with two workers. What guests log is in its log.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(kind: Kind, folder: &Path, bootstrap: &str, admin: SocketAddr) -> Self {
        let mut command = command(kind, folder, bootstrap);
        command.args(["--concurrency", "2", "--drain-time-s", "5"]);
        Self {
            process: Running::start_command(kind.name(), folder, command),
            admin,
        }
    }

    /// Has it check a bootstrap that it should refuse; gives what it says.
    ///
    /// # Panics
    /// It does not refuse it.
    pub async fn refusal(kind: Kind, folder: &Path, bootstrap: &str) -> String {
        let mut command = tokio::process::Command::from(command(kind, folder, bootstrap));
        let command = command.args(["--mode", "validate"]).kill_on_drop(true);
        let done = tokio::time::timeout(PATIENCE, command.output()).await;
        let done = done.unwrap_or_else(|_| panic!("{} does not end", kind.name()));
        let done = done.unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!done.status.success(), "{} accepts it: {said}", kind.name());
        said
    }

    /// Waits until it says that it serves.
    ///
    /// # Panics
    /// It ends, or does not become ready.
    pub async fn ready(&mut self) {
        let (process, admin) = (&mut self.process, self.admin);
        let mut alive = move || process.alive();
        until("the proxy is ready", || {
            if let Err(ended) = alive() {
                panic!("{ended}");
            }
            page(admin, "/ready")
        })
        .await;
    }

    /// The sum of a Prometheus metric over the series that hold all of `labels`.
    ///
    /// # Errors
    /// The admin page does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let text = page(self.admin, "/stats/prometheus").await?;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        Ok(series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

fn command(kind: Kind, folder: &Path, bootstrap: &str) -> Command {
    let file = folder.join(format!("{}.yaml", kind.name()));
    std::fs::write(&file, bootstrap).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let program = match kind {
        Kind::Leno => peers::program("leno-proxy"),
        Kind::Envoy => peers::envoy(),
    };
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("--disable-hot-restart");
    match kind {
        Kind::Leno => command.args(["-l", "info"]),
        Kind::Envoy => command.args(["-l", "warning", "--component-log-level", "wasm:info"]),
    };
    command
}
