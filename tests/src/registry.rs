//! Debian's `docker-registry` as a process, and pushing to registries.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use leno_oci::client::{Client, Options};
use leno_oci::keychain::Keychain;
use leno_oci::push::PushOptions;
use leno_oci::reference::Reference;

use crate::peers;
use crate::process::Running;
use crate::wait::{free_address, listening};

/// A running `docker-registry`.
pub struct DockerRegistry {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process.
    pub process: Running,
}

impl DockerRegistry {
    /// Starts one that keeps its blobs in `folder`; with `htpasswd`, only who is named there may use it.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(folder: &Path, htpasswd: Option<&str>) -> Self {
        let address = free_address();
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            folder.join("blobs").display()
        );
        if let Some(users) = htpasswd {
            let file = folder.join("htpasswd");
            std::fs::write(&file, users).expect("the folder can be written");
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: tests, path: {}}}}}\n",
                file.display()
            ));
        }
        let file = folder.join("registry.yaml");
        std::fs::write(&file, config).expect("the folder can be written");
        let mut command = Command::new(peers::installed("docker-registry"));
        command
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none");
        let process = Running::start_command("docker-registry", folder, command);
        listening(address).await;
        Self { address, process }
    }
}

/// Pushes a module as `REGISTRY/REPOSITORY:TAG`.
///
/// # Errors
/// The registry does not take it.
pub async fn push(
    registry: SocketAddr,
    repository: &str,
    tag: &str,
    module: Vec<u8>,
    keychain: Option<Keychain>,
) -> anyhow::Result<()> {
    let reference = Reference::parse(&format!("{registry}/{repository}:{tag}"))?;
    let mut options = PushOptions::default();
    if let Some(keychain) = keychain {
        options.keychain = keychain;
    }
    Client::new(Options::default())?
        .push(&reference, Bytes::from(module), &options)
        .await?;
    Ok(())
}

/// The same module with a custom section more (core specification §5.5.3): another digest, the same behaviour.
pub fn another_version(module: &[u8], text: &str) -> Vec<u8> {
    let name = b"leno.tests";
    let mut bytes = module.to_vec();
    bytes.push(0);
    let length = u8::try_from(1 + name.len() + text.len())
        .ok()
        .filter(|length| *length < 128);
    bytes.push(length.unwrap_or_else(|| panic!("{text:?} is too long")));
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
