//! Commands about modules in registries.

pub(crate) mod inspect;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod verify;

use std::path::Path;
use std::process::ExitCode;

use leno_oci::client::{Client, Options};
use leno_oci::keychain::{DockerConfig, Keychain};
use leno_oci::reference::{Reference, Source};
use serde::Serialize;

use crate::failure::failure;
use crate::options::{Login, RegistryOptions, Tags};
use crate::output::{print, say, table};

impl RegistryOptions {
    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(Options {
            ca_file: self.ca_file.clone(),
            insecure_registries: self.insecure_registry.clone(),
            deadline: self.timeout,
            // Somebody is waiting, who can try again.
            retries: 2,
            ..Options::default()
        })?)
    }

    fn keychain(&self) -> Keychain {
        keychain(self.docker_config.as_ref())
    }
}

/// A file that is there, whatever else its name could mean; else a reference, unless it can only be a path.
fn source(argument: &str) -> anyhow::Result<Source> {
    let path = Path::new(argument);
    if path.is_file() {
        return Ok(Source::File(std::path::absolute(path)?));
    }
    match (is_path(argument), path.exists()) {
        (true, true) => Err(failure(
            format!("{argument} is not a file"),
            "name a module, such as one in that folder",
        )),
        (true, false) => Err(failure(
            format!("no such file: {argument}"),
            format!("check the path; a repository of that name is written oci://HOST/{argument}"),
        )),
        (false, _) => Ok(Source::parse(argument).map_err(leno_oci::error::Error::from)?),
    }
}

/// Whether somebody who writes this means a file.
fn is_path(argument: &str) -> bool {
    let begins = ["/", "./", "../"];
    !argument.contains("://")
        && (begins.iter().any(|begin| argument.starts_with(begin))
            || [".", ".."].contains(&argument)
            || argument.ends_with(".wasm"))
}

fn keychain(docker_config: Option<&std::path::PathBuf>) -> Keychain {
    match docker_config {
        Some(path) => Keychain {
            docker_config: DockerConfig::File(path.clone()),
            ..Keychain::default()
        },
        None => Keychain::docker(),
    }
}

/// The `tags` command.
pub(crate) async fn tags(command: Tags) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Listed {
        repository: String,
        tags: Vec<String>,
    }
    let reference: Reference = command.repository.parse().map_err(leno_oci::error::Error::from)?;
    let tags = command
        .registry
        .client()?
        .tags(&reference, &command.registry.keychain())
        .await?;
    let repository = format!("{}/{}", reference.registry(), reference.repository());
    print(command.output.output, &Listed { repository, tags }, |listed| {
        table(["TAG"], listed.tags.iter().map(|tag| [tag.clone()]))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The `login` command: credentials are Docker's to keep, so that there is one place for them.
pub(crate) fn login(command: &Login) -> anyhow::Result<ExitCode> {
    let reference =
        Reference::parse(&format!("{}/any", command.registry)).map_err(leno_oci::error::Error::from)?;
    let registry = reference.registry();
    match keychain(command.docker_config.as_ref()).has_credential(&reference)? {
        true => {
            say(format!(
                "{registry}: Docker's configuration has credentials, leno uses them"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        false => Err(failure(
            format!(
                "{registry}: there are no credentials for it; leno takes them from Docker's configuration"
            ),
            format!(
                "run `docker login {registry}` (or `podman login --compat-auth-file ~/.docker/config.json {registry}`)"
            ),
        )),
    }
}
