//! A proxy as a process: ours, or a real Envoy, started with the same file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::client::page;
use crate::peers;
use crate::process::Running;
use crate::wait::until;

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

    fn name(self) -> &'static str {
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
    /// Starts it with a bootstrap that has its admin page at `admin`, with two workers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(kind: Kind, folder: &Path, bootstrap: &str, admin: SocketAddr) -> Self {
        let file = folder.join(format!("{}.yaml", kind.name()));
        std::fs::write(&file, bootstrap).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let program = match kind {
            Kind::Leno => peers::program("leno-proxy"),
            Kind::Envoy => peers::envoy(),
        };
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).args([
            "--concurrency",
            "2",
            "--disable-hot-restart",
            "--drain-time-s",
            "5",
        ]);
        command.args(["-l", if kind == Kind::Leno { "info" } else { "warning" }]);
        Self {
            process: Running::start_command(kind.name(), folder, command),
            admin,
        }
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
