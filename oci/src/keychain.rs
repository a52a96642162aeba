//! Credentials by registry: pull secrets first, then Docker's configuration with its helpers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use docker_credential::{CredentialRetrievalError, DockerCredential};

use crate::digest::Digest;
use crate::error::Error;
use crate::reference::Reference;

/// Where to look for credentials. The first match wins: secrets in their order, then Docker's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keychain {
    /// Pull secrets.
    pub secrets: Vec<PullSecret>,
    /// Docker's configuration.
    pub docker_config: DockerConfig,
}

/// Which of Docker's configuration files counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DockerConfig {
    /// None: what is not in a secret is asked for anonymously.
    #[default]
    Ignored,
    /// `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, when it exists.
    Default,
    /// This file, which must exist.
    File(PathBuf),
}

impl Keychain {
    /// No credentials at all.
    pub fn anonymous() -> Keychain {
        Keychain::default()
    }

    /// What `docker login` left on this machine.
    pub fn docker() -> Keychain {
        Keychain {
            docker_config: DockerConfig::Default,
            ..Keychain::default()
        }
    }

    /// Pull secrets and nothing else, as when a `WasmPlugin` names one.
    pub fn secrets(secrets: Vec<PullSecret>) -> Keychain {
        Keychain {
            secrets,
            docker_config: DockerConfig::Ignored,
        }
    }

    /// Whether there is a credential for `reference`'s registry. May run a credential helper.
    pub fn has_credential(&self, reference: &Reference) -> Result<bool, Error> {
        Ok(self.credential(reference)?.is_some())
    }

    /// The credential for `reference`'s registry. May run a credential helper: call it where blocking is fine.
    pub(crate) fn credential(&self, reference: &Reference) -> Result<Option<Credential>, Error> {
        if let Some(found) = self
            .secrets
            .iter()
            .find_map(|secret| secret.credential(reference))
        {
            return Ok(Some(found));
        }
        let path = match &self.docker_config {
            DockerConfig::Ignored => return Ok(None),
            DockerConfig::File(path) => path.clone(),
            DockerConfig::Default => match default_docker_config() {
                Some(path) if path.exists() => path,
                _ => return Ok(None),
            },
        };
        let text = std::fs::read(&path).map_err(|source| Error::File {
            path: path.display().to_string(),
            source,
        })?;
        for key in login_keys(reference) {
            match docker_credential::get_credential_from_reader(text.as_slice(), &key) {
                Ok(DockerCredential::UsernamePassword(user, password)) if user == "<token>" => {
                    return Ok(Some(Credential::IdentityToken(password)));
                }
                Ok(DockerCredential::UsernamePassword(user, password)) => {
                    return Ok(Some(Credential::Password { user, password }));
                }
                Ok(DockerCredential::IdentityToken(token)) => {
                    return Ok(Some(Credential::IdentityToken(token)));
                }
                Err(CredentialRetrievalError::NoCredentialConfigured) => {}
                // A helper answers so for a server that it does not know; that is no failure.
                Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                    if stdout.contains("credentials not found") => {}
                Err(error) => {
                    return Err(unusable(&path, &text, &key, &error));
                }
            }
        }
        Ok(None)
    }
}

/// The content of a `kubernetes.io/dockerconfigjson` Secret. Only its `auths` count: a secret comes from a
/// tenant, and must not be able to name a helper program to run.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret {
    auths: BTreeMap<String, Credential>,
}

#[derive(serde::Deserialize)]
struct SecretDocument {
    auths: BTreeMap<String, SecretEntry>,
}

#[derive(serde::Deserialize)]
struct SecretEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl PullSecret {
    /// Reads the JSON of a `.dockerconfigjson` key.
    pub fn parse(json: &[u8]) -> Result<PullSecret, Error> {
        let document: SecretDocument = serde_json::from_slice(json).map_err(|error| {
            // The position is told, the content is not: it is a secret.
            Error::Credentials(format!(
                "the pull secret is not a Docker configuration with `auths` (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let mut auths = BTreeMap::new();
        for (server, entry) in document.auths {
            let unreadable = || {
                Error::Credentials(format!(
                    "the pull secret's entry for `{server}` has no usable credential"
                ))
            };
            let credential = match entry {
                SecretEntry {
                    identitytoken: Some(token),
                    ..
                } if !token.is_empty() => Credential::IdentityToken(token),
                SecretEntry { auth: Some(auth), .. } if !auth.is_empty() => {
                    decode_auth(&auth).ok_or_else(unreadable)?
                }
                SecretEntry {
                    username: Some(user),
                    password: Some(password),
                    ..
                } => Credential::Password { user, password },
                _ => return Err(unreadable()),
            };
            auths.insert(server_key(&server), credential);
        }
        Ok(PullSecret { auths })
    }

    fn credential(&self, reference: &Reference) -> Option<Credential> {
        // The longest key wins: `host/team` may be listed beside `host`.
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let covers =
            |key: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
        self.auths
            .iter()
            .filter(|(key, _)| covers(key))
            .max_by_key(|(key, _)| key.len())
            .map(|(_, found)| found.clone())
    }
}

impl std::fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.auths.keys()).finish()
    }
}

/// One account.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Password { user: String, password: String },
    IdentityToken(String),
}

impl Credential {
    /// A name for this credential that does not tell it; equal only for equal credentials.
    pub(crate) fn fingerprint(credential: Option<&Credential>) -> String {
        match credential {
            None => "anonymous".to_owned(),
            Some(Credential::Password { user, password }) => {
                Digest::of(format!("password\0{user}\0{password}").as_bytes()).hex()
            }
            Some(Credential::IdentityToken(token)) => Digest::of(format!("token\0{token}").as_bytes()).hex(),
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

fn default_docker_config() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    Some(
        std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(home)?
            .join("config.json"),
    )
}

/// Why Docker's configuration gives no credential, with the helper that it names.
fn unusable(path: &Path, text: &[u8], key: &str, error: &CredentialRetrievalError) -> Error {
    let reason = match error {
        CredentialRetrievalError::HelperCommunicationError => "it cannot be started".to_owned(),
        CredentialRetrievalError::MalformedHelperResponse => "its answer cannot be read".to_owned(),
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. } => {
            let words = [stderr, stdout]
                .into_iter()
                .find(|words| !words.trim().is_empty());
            let line = words.and_then(|words| words.trim().lines().next());
            format!("it failed: {:.200}", line.unwrap_or("without a word"))
        }
        _ => return Error::Credentials(format!("{}, {key}: {error}", path.display())),
    };
    Error::Helper {
        helper: format!("docker-credential-{}", helper(text, key)),
        path: path.display().to_string(),
        server: key.to_owned(),
        reason,
    }
}

/// The helper that a configuration names for a server: its own one before the one for all.
fn helper(text: &[u8], key: &str) -> String {
    let document: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let own = document["credHelpers"].as_object().and_then(|helpers| {
        let found = helpers
            .iter()
            .find(|(server, _)| server_key(server) == server_key(key));
        found.and_then(|(_, helper)| helper.as_str())
    });
    own.or(document["credsStore"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// The keys under which tools keep one registry's credentials.
fn login_keys(reference: &Reference) -> Vec<String> {
    let registry = reference.registry();
    match reference.login_key() == registry {
        true => vec![
            registry.to_owned(),
            format!("https://{registry}"),
            format!("http://{registry}"),
        ],
        false => vec![reference.login_key().to_owned(), registry.to_owned()],
    }
}

/// `https://index.docker.io/v1/` and `host/` in a secret mean `docker.io` and `host`.
fn server_key(server: &str) -> String {
    let bare = server
        .strip_prefix("https://")
        .or(server.strip_prefix("http://"))
        .unwrap_or(server);
    let bare = bare
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn decode_auth(auth: &str) -> Option<Credential> {
    let any_padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, any_padding);
    let text = String::from_utf8(engine.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credential::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    #[test]
    fn a_secret_answers_for_its_registries_only() {
        let secret = PullSecret::parse(
            br#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOmE="},
                "r.example": {"auth": "dXNlcjpwYTpzcw=="},
                "r.example/team": {"username": "team", "password": "t"},
                "id.example": {"identitytoken": "tok"}}}"#,
        )
        .unwrap();
        let find = |text: &str| secret.credential(&Reference::parse(text).unwrap());
        assert_eq!(find("solo/filter"), password("hub", "a"));
        assert_eq!(find("r.example/a"), password("user", "pa:ss"));
        assert_eq!(find("r.example/team/a"), password("team", "t"));
        assert_eq!(find("r.example/teammate/a"), password("user", "pa:ss"));
        assert_eq!(
            find("id.example/a"),
            Some(Credential::IdentityToken("tok".into()))
        );
        assert_eq!(find("other.example/a"), None);
        assert!(!format!("{secret:?} {:?}", find("r.example/a")).contains("pa:ss"));
    }

    #[test]
    fn a_bad_secret_is_named_without_its_content() {
        for json in [
            r#"{"auths": {"r": {"auth": "!!hidden"}}}"#,
            r#"{"hidden": 1}"#,
            "hidden",
        ] {
            let error = PullSecret::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("pull secret") && !error.contains("hidden"),
                "{error}"
            );
        }
    }

    #[test]
    fn reads_docker_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(
            &path,
            r#"{"auths": {"127.0.0.1:5000": {"auth": "dXNlcjpwYTpzcw=="}}}"#,
        )
        .unwrap();
        let keychain = Keychain {
            docker_config: DockerConfig::File(path),
            ..Keychain::default()
        };
        let find = |text: &str| keychain.credential(&Reference::parse(text).unwrap()).unwrap();
        assert_eq!(find("127.0.0.1:5000/a"), password("user", "pa:ss"));
        assert_eq!(find("127.0.0.1:5001/a"), None);
    }

    #[test]
    fn a_missing_helper_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for config in [
            r#"{"credHelpers": {"r.example": "leno-no-such"}, "credsStore": "other"}"#,
            r#"{"credsStore": "leno-no-such"}"#,
        ] {
            std::fs::write(&path, config).unwrap();
            let keychain = Keychain {
                docker_config: DockerConfig::File(path.clone()),
                ..Keychain::default()
            };
            let error = keychain
                .credential(&Reference::parse("r.example/a").unwrap())
                .unwrap_err();
            assert!(
                error.to_string().contains("docker-credential-leno-no-such"),
                "{error}"
            );
            let hint = error.hint().unwrap();
            assert!(hint.contains("install docker-credential-leno-no-such"), "{hint}");
        }
    }

    #[test]
    fn a_named_configuration_must_exist() {
        let keychain = Keychain {
            docker_config: DockerConfig::File("/nowhere/config.json".into()),
            ..Keychain::default()
        };
        let error = keychain
            .credential(&Reference::parse("r.example/a").unwrap())
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.json"), "{error}");
    }
}
