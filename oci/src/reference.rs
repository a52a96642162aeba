//! Where a module is: `oci://host[:port]/repo[:tag][@sha256:…]`, `http(s)://…` or `file://…`.

use std::path::PathBuf;

use crate::digest::Digest;

/// Docker Hub's name in references.
const DOCKER_HUB: &str = "docker.io";
/// The host that serves Docker Hub's registry API.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
/// The key under which `docker login` keeps Docker Hub's credentials.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// Where a module comes from, by the scheme of its URL. No scheme means `oci://`, as in `WasmPlugin.url`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// An artifact in a registry.
    Oci(Reference),
    /// A file on a web server: the whole URL.
    Http(String),
    /// A file on this machine.
    File(PathBuf),
}

impl Source {
    /// Reads a module's URL.
    pub fn parse(url: &str) -> Result<Source, InvalidReference> {
        let invalid = |reason: &str| InvalidReference {
            text: shorten(url),
            reason: reason.to_owned(),
        };
        match url.split_once("://") {
            None => Reference::parse(url).map(Source::Oci),
            Some(("oci", rest)) => {
                Reference::parse(rest)
                    .map(Source::Oci)
                    .map_err(|error| InvalidReference {
                        text: shorten(url),
                        ..error
                    })
            }
            Some(("http" | "https", rest)) if rest.is_empty() || rest.starts_with('/') => {
                Err(invalid("the host is missing"))
            }
            Some(("http" | "https", _)) => Ok(Source::Http(url.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(Source::File(PathBuf::from(path))),
            Some(("file", _)) => Err(invalid(
                "a file URL wants an absolute path: file:///path/to/module.wasm",
            )),
            Some(_) => Err(invalid("the scheme must be one of oci, http, https, file")),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Oci(reference) => write!(f, "oci://{reference}"),
            Source::Http(url) => f.write_str(url),
            Source::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// An artifact in a registry: `host[:port]/repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference without a scheme; `docker.io` and `library/` are filled in as Docker does.
    pub fn parse(text: &str) -> Result<Reference, InvalidReference> {
        let invalid = |reason: String| InvalidReference {
            text: shorten(text),
            reason,
        };
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => (
                name,
                Some(Digest::parse(digest).map_err(|error| invalid(error.to_string()))?),
            ),
        };
        // A colon after the last slash separates the tag; one before it belongs to the port.
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[last_slash..].find(':') {
            None => (name, None),
            Some(at) if !name.contains('/') && is_port(&name[last_slash + at + 1..]) && digest.is_none() => {
                return Err(invalid(format!(
                    "it names a host or a tag, but no repository: write {name}/REPOSITORY[:TAG], or docker.io/{name}"
                )));
            }
            Some(at) => (&name[..last_slash + at], Some(&name[last_slash + at + 1..])),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => (host, rest.to_owned()),
            Some(_) => (DOCKER_HUB, name.to_owned()),
            None => (DOCKER_HUB, format!("library/{name}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DOCKER_HUB,
            other => other,
        };
        let repository = match registry == DOCKER_HUB && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository,
        };
        check_host(registry).map_err(&invalid)?;
        is_repository(&repository).map_err(&invalid)?;
        if let Some(tag) = tag {
            is_tag(tag).map_err(&invalid)?;
        }
        Ok(Reference {
            registry: registry.to_ascii_lowercase(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The registry as written: `host` or `host:port`; `docker.io` when none was.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host and port that answer the registry's API.
    pub fn api_host(&self) -> &str {
        if self.registry == DOCKER_HUB {
            DOCKER_HUB_API
        } else {
            &self.registry
        }
    }

    /// The key of this registry in Docker's configuration.
    pub fn login_key(&self) -> &str {
        if self.registry == DOCKER_HUB {
            DOCKER_HUB_LOGIN
        } else {
            &self.registry
        }
    }

    /// The repository, such as `filters/auth`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag as written; absent also when the registry's `latest` is meant.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest digest as written; it wins over the tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository and tag, pinned to `digest`.
    pub fn pinned(&self, digest: Digest) -> Reference {
        Reference {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository under another tag, not pinned.
    pub fn tagged(&self, tag: &str) -> Result<Reference, InvalidReference> {
        is_tag(tag).map_err(|reason| InvalidReference {
            text: shorten(tag),
            reason,
        })?;
        Ok(Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// True when the registry is this very machine, by address or by the name `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(host_of(self.api_host()))
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = InvalidReference;

    /// As [`Reference::parse`], with or without `oci://` in front.
    fn from_str(text: &str) -> Result<Reference, InvalidReference> {
        Reference::parse(text.strip_prefix("oci://").unwrap_or(text))
    }
}

/// Text that names no module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a module reference: {reason}")]
pub struct InvalidReference {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The host of `host[:port]`, without the brackets of an IPv6 address.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether `name` is a repository name of the distribution specification (section "Pulling manifests").
pub fn is_repository(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the repository is missing: write HOST/REPOSITORY:TAG".to_owned());
    }
    if name.len() > 255 {
        return Err("the repository is longer than 255 characters".to_owned());
    }
    match name.split('/').find(|part| !is_path_component(part)) {
        None => Ok(()),
        Some("") => Err("the repository has an empty path component".to_owned()),
        Some(part) if part.bytes().any(|b| b.is_ascii_uppercase()) => {
            Err(format!("repository names are lower case; `{part}` is not"))
        }
        Some(part) => Err(format!(
            "`{part}` is no repository name: use a-z and 0-9, separated by `.`, `_`, `__` or dashes"
        )),
    }
}

/// Whether `tag` is a tag of the distribution specification.
pub fn is_tag(tag: &str) -> Result<(), String> {
    let first = tag
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest = tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    match first && rest && tag.len() <= 128 {
        true => Ok(()),
        false => Err(format!(
            "`{}` is no tag: use up to 128 of A-Z a-z 0-9 _ . -",
            shorten(tag)
        )),
    }
}

fn is_path_component(part: &str) -> bool {
    let bytes = part.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn check_host(authority: &str) -> Result<(), String> {
    let host = host_of(authority);
    let port = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, "")) => None,
            Some((_, port)) => Some(port.strip_prefix(':').unwrap_or("")),
            None => return Err("the `]` of the IPv6 address is missing".to_owned()),
        },
        None => authority.split_once(':').map(|(_, port)| port),
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(format!("`{authority}` has no valid port"));
    }
    let name = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    // `.` and `..` begin a path; a dot at the end is DNS's for a whole name.
    let whole = !host
        .strip_suffix('.')
        .unwrap_or(host)
        .split('.')
        .any(str::is_empty);
    let name = name && whole;
    let address = authority.starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_ok();
    match (name && !authority.starts_with('[')) || address {
        true => Ok(()),
        false => Err(format!("`{authority}` is no registry host")),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn check(text: &str, expected: &str) {
        match Source::parse(text) {
            Ok(source) => assert_eq!(source.to_string(), expected, "{text}"),
            Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
        }
    }

    #[test]
    fn fills_in_what_docker_fills_in() {
        check("busybox", "oci://docker.io/library/busybox");
        check("docker.io/busybox:1", "oci://docker.io/library/busybox:1");
        check("solo/filter:v1", "oci://docker.io/solo/filter:v1");
        check("index.docker.io/solo/filter", "oci://docker.io/solo/filter");
        let hub = Reference::parse("solo/filter").unwrap();
        assert_eq!(
            (hub.api_host(), hub.login_key()),
            (DOCKER_HUB_API, DOCKER_HUB_LOGIN)
        );
        assert_eq!(hub.target(), "latest");
    }

    #[test]
    fn tells_ports_from_tags() {
        check("oci://localhost:5000/a/b", "oci://localhost:5000/a/b");
        check("oci://localhost:5000/a/b:v1.2", "oci://localhost:5000/a/b:v1.2");
        check("oci://[::1]:5000/a:v1", "oci://[::1]:5000/a:v1");
        check(
            &format!("oci://r.example/a:v1@{SHA}"),
            &format!("oci://r.example/a:v1@{SHA}"),
        );
        check("oci://r.example:0/a", "no valid port");
        check("r.example:5000", "no repository");
    }

    #[test]
    fn says_what_is_wrong() {
        check("ftp://x/y", "scheme must be one of");
        check("file://relative.wasm", "absolute path");
        check("https:///x", "host is missing");
        check("oci://r.example/UPPER", "lower case");
        check("oci://r.example/a//b", "empty path component");
        check("oci://r.example/../b", "no repository name");
        check("oci://r.example/a---b__c", "oci://r.example/a---b__c");
        check("oci://r.example/a___b", "no repository name");
        check("oci://r.example/a:-x", "is no tag");
        check("oci://r.example/a@sha512:00", "only sha256");
        check("oci://r.example/", "repository is missing");
        check("./filter.wasm", "no registry host");
        check("../filter.wasm", "no registry host");
        check("r..example/a", "no registry host");
        check("r.example./a", "oci://r.example./a");
        check("oci://user@r.example/a", "not a digest");
    }

    #[test]
    fn knows_loopback() {
        let loopback = |text: &str| Reference::parse(text).unwrap().is_loopback();
        assert!(loopback("localhost:5000/a") && loopback("127.0.0.9:1/a") && loopback("[::1]:1/a"));
        assert!(loopback("registry.localhost/a") && loopback("[::ffff:127.0.0.1]:1/a"));
        assert!(
            !loopback("r.example/a") && !loopback("10.0.0.1:5000/a") && !loopback("127.0.0.1.example.com/a")
        );
    }
}
