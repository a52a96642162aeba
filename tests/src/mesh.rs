//! A control plane as a process, with a folder of documents that a suite writes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::client::page;
use crate::process::Running;
use crate::status::{Plugin, Status};
use crate::wait::{free_address, until};
use crate::{peers, registry};

/// The stage filters, in the order of their chain.
pub const FILTERS: [&str; 5] = ["auth", "rate-limit", "header-rewrite", "telemetry", "routing"];

/// A running control plane.
pub struct ControlPlane {
    /// The process.
    pub process: Running,
    /// Its ADS.
    pub xds: SocketAddr,
    /// Registry, artifacts and status.
    pub http: SocketAddr,
    folder: PathBuf,
    home: PathBuf,
}

impl ControlPlane {
    /// Starts one on an empty folder below `folder`.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(folder: &Path) -> Self {
        let (xds, http) = (free_address(), free_address());
        let documents = folder.join("documents");
        std::fs::create_dir_all(&documents).expect("the folder can be written");
        Self {
            process: start(folder, xds, http).await,
            xds,
            http,
            folder: documents,
            home: folder.to_owned(),
        }
    }

    /// Starts it again, as it was, after it was killed.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_again(&mut self) {
        self.process = start(&self.home, self.xds, self.http).await;
    }

    /// Writes a document, in one step.
    ///
    /// # Panics
    /// The folder cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        // Files whose name begins with a dot are not read.
        let draft = self.folder.join(format!(".{name}"));
        std::fs::write(&draft, text).expect("the folder can be written");
        std::fs::rename(&draft, self.folder.join(name)).expect("the folder can be written");
    }

    /// Removes a document.
    ///
    /// # Panics
    /// It is not there.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.join(name)).expect("the document is there");
    }

    /// What became of the documents.
    ///
    /// # Errors
    /// The control plane does not say.
    pub async fn status(&self) -> anyhow::Result<Status> {
        Ok(serde_json::from_str(&page(self.http, "/status").await?)?)
    }

    /// What became of a plugin.
    ///
    /// # Errors
    /// The control plane does not say.
    pub async fn plugin(&self, name: &str) -> anyhow::Result<Plugin> {
        let status = self.status().await?;
        let found = status.plugins.iter().find(|plugin| plugin.name == name).cloned();
        found.ok_or_else(|| anyhow::anyhow!("there is no plugin {name}: {status:#?}"))
    }

    /// Waits until every one of `plugins` is programmed in the one proxy that there is.
    ///
    /// # Panics
    /// They are not.
    pub async fn programmed(&self, plugins: &[&str]) {
        until(&format!("{plugins:?} are programmed"), || async {
            let status = self.status().await?;
            for name in plugins {
                let is_good = |plugin: &&Plugin| plugin.name == *name && plugin.summary == "programmed 1/1";
                anyhow::ensure!(
                    status.plugins.iter().any(|plugin| is_good(&plugin)),
                    "{name} in {status:#?}"
                );
            }
            Ok(())
        })
        .await;
    }

    /// Pushes the module of a stage filter to the embedded registry as `filters/FILTER:v1`.
    ///
    /// # Panics
    /// The registry does not take it.
    pub async fn push(&self, filter: &str) {
        let repository = format!("filters/{filter}");
        let pushed = registry::push(self.http, &repository, "v1", peers::module_bytes(filter), None).await;
        pushed.unwrap_or_else(|error| panic!("push of {filter}: {error:#}"));
    }
}

async fn start(home: &Path, xds: SocketAddr, http: SocketAddr) -> Running {
    let arguments = [
        "--folder".to_owned(),
        home.join("documents").display().to_string(),
        "--state".to_owned(),
        home.join("state").display().to_string(),
        "--xds".to_owned(),
        xds.to_string(),
        "--http".to_owned(),
        http.to_string(),
        "--poll".to_owned(),
        "1".to_owned(),
    ];
    let program = peers::program("leno-control-plane");
    let mut process = Running::start("leno-control-plane", home, &program, arguments);
    until("the control plane is ready", || {
        if let Err(ended) = process.alive() {
            panic!("{ended}");
        }
        page(http, "/ready")
    })
    .await;
    process
}

/// The text with every `from` replaced by its `to`.
pub fn replace(text: &str, replacements: &[(&str, SocketAddr)]) -> String {
    let one = |text: String, (from, to): &(&str, SocketAddr)| text.replace(from, &to.port().to_string());
    replacements.iter().fold(text.to_owned(), one)
}
