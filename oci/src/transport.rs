//! Requests to one registry: scheme, authentication, retries, redirects and bounded bodies.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::client::Options;
use crate::error::{Error, chain, is_transient_status};
use crate::keychain::{Credential, Keychain};
use crate::reference::{Reference, host_of, is_loopback_host};
use crate::token::{self, Challenge};

/// Error documents are short; more than this is not worth reading.
const MAX_ERROR_BODY: u64 = 16 * 1024;
/// A registry may ask for a long pause; the caller's patience is shorter.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 5;

/// What all sessions of one client share.
pub(crate) struct Transport {
    pub(crate) options: Options,
    http: reqwest::Client,
    schemes: Mutex<HashMap<String, &'static str>>,
    tokens: Mutex<HashMap<String, Token>>,
}

struct Token {
    authorization: String,
    expires: Instant,
}

impl Transport {
    pub(crate) fn new(options: Options) -> Result<Transport, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("leno/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.stall_timeout)
            .dns_resolver(std::sync::Arc::new(Resolver))
            .redirect(reqwest::redirect::Policy::custom(redirect));
        if let Some(path) = &options.ca_file {
            let unusable = |reason: String| Error::Options(format!("CA file {}: {reason}", path.display()));
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(chain(&error)))?;
            if certificates.is_empty() {
                return Err(unusable("it holds no PEM certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| Error::Options(chain(&error)))?;
        Ok(Transport {
            options,
            http,
            schemes: Mutex::default(),
            tokens: Mutex::default(),
        })
    }

    /// A session with `reference`'s registry; looks up credentials and, where plain HTTP is allowed, the scheme.
    pub(crate) async fn session<'a>(
        &'a self,
        reference: &'a Reference,
        keychain: &Keychain,
        action: Action,
    ) -> Result<Session<'a>, Error> {
        let credential = {
            let (reference, keychain) = (reference.clone(), keychain.clone());
            let found = tokio::task::spawn_blocking(move || keychain.credential(&reference)).await;
            found.map_err(|error| Error::Credentials(error.to_string()))??
        };
        let scheme = self.scheme(reference).await?;
        let base = format!(
            "{scheme}://{}/v2/{}",
            reference.api_host(),
            reference.repository()
        );
        Ok(Session {
            transport: self,
            reference,
            credential,
            action,
            base,
            scheme,
        })
    }

    /// A plain GET of a URL that is no registry's, with the same retries.
    pub(crate) async fn get(&self, url: &str) -> Result<Response, Error> {
        let url = Url::parse(url).map_err(|error| Error::Protocol {
            url: url.to_owned(),
            reason: format!("not a URL: {error}"),
        })?;
        check_host(&url)?;
        let mut retry = Retry::new(&self.options);
        loop {
            let failure = match self.http.get(url.clone()).send().await {
                Err(error) => self.failure(&error, url.as_str()),
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                    return Err(Error::NotFound {
                        what: url.to_string(),
                        reason: "404".to_owned(),
                    });
                }
                Ok(response) => status_error(response).await,
            };
            retry.pause(failure).await?;
        }
    }

    /// Loopback and insecure registries may speak either; asking once, without credentials, settles it.
    async fn scheme(&self, reference: &Reference) -> Result<&'static str, Error> {
        let host = reference.api_host();
        if !reference.is_loopback() && !self.is_insecure(host) {
            return Ok("https");
        }
        if let Some(scheme) = lock(&self.schemes).get(host) {
            return Ok(scheme);
        }
        let url = format!("http://{host}/v2/");
        let mut retry = Retry::new(&self.options);
        let scheme = loop {
            match self.http.get(&url).send().await {
                // A TLS server answers plain HTTP with 400, if at all.
                Ok(response) if response.status() == StatusCode::BAD_REQUEST => break "https",
                Ok(_) => break "http",
                Err(error) if error.is_connect() || error.is_timeout() => {
                    retry.pause(self.failure(&error, &url)).await?;
                }
                Err(_) => break "https",
            }
        };
        lock(&self.schemes).insert(host.to_owned(), scheme);
        Ok(scheme)
    }

    fn is_insecure(&self, host: &str) -> bool {
        let listed = &self.options.insecure_registries;
        listed
            .iter()
            .any(|entry| entry == "*" || entry.eq_ignore_ascii_case(host) || entry == host_of(host))
    }

    fn failure(&self, error: &reqwest::Error, url: &str) -> Error {
        let url = without_query(url);
        if error.is_timeout() && !error.is_connect() {
            return Error::Timeout {
                url,
                after: self.options.stall_timeout,
            };
        }
        if error.is_redirect() {
            return Error::Protocol {
                url,
                reason: innermost(error),
            };
        }
        let host = Url::parse(&url).ok().and_then(|url| {
            let host = url.host_str()?.to_owned();
            Some(
                url.port_or_known_default()
                    .map_or(host.clone(), |port| format!("{host}:{port}")),
            )
        });
        Error::Unreachable {
            host: host.unwrap_or(url),
            reason: innermost(error),
        }
    }
}

/// What a session is for; it decides the scope of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
}

/// Requests about one repository with one credential.
pub(crate) struct Session<'a> {
    transport: &'a Transport,
    pub(crate) reference: &'a Reference,
    credential: Option<Credential>,
    action: Action,
    base: String,
    scheme: &'static str,
}

impl Session<'_> {
    /// The URL of something in this repository.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry::new(&self.transport.options)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.transport.options
    }

    /// Sends one request, with retries and authentication, and returns any answer that is not an error.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let mut retry = self.retry();
        loop {
            match self.attempt(&method, url, &prepare).await {
                Err(failure) => retry.pause(failure).await?,
                answer => return answer,
            }
        }
    }

    /// One request, sent a second time when the registry asks who we are.
    pub(crate) async fn attempt(
        &self,
        method: &Method,
        url: &str,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        // Upload locations may point to another host, which must not see our credentials.
        let ours = same_origin(url, &self.base);
        let mut authorization = if ours { self.cached_authorization() } else { None };
        let mut authenticated = false;
        loop {
            let mut request = prepare(self.transport.http.request(method.clone(), url));
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value);
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.transport.failure(&error, url))?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && !authenticated && ours {
                authorization = Some(self.authenticate(response).await?);
                authenticated = true;
                continue;
            }
            return Err(self.refusal(response, url, authorization.is_some()).await);
        }
    }

    /// Where an upload goes on; relative to `base` when the registry says so.
    pub(crate) fn location(&self, headers: &HeaderMap, base: &str) -> Result<Url, Error> {
        let protocol = |reason: &str| Error::Protocol {
            url: without_query(base),
            reason: reason.to_owned(),
        };
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| protocol("the answer has no Location"))?;
        let base = Url::parse(base).map_err(|_| protocol("not a URL"))?;
        let url = base
            .join(location)
            .map_err(|_| protocol("the Location is not a URL"))?;
        check_host(&url)?;
        if self.scheme == "https" && url.scheme() != "https" {
            return Err(protocol("the Location leads from https to http"));
        }
        Ok(url)
    }

    /// An answer's body of at most `limit` bytes; the transfer stops at the first excess byte.
    pub(crate) async fn body(&self, response: Response, limit: u64, what: &str) -> Result<Bytes, Error> {
        read_body(self.transport, response, limit, what, &mut |_| {}).await
    }

    /// As [`Session::body`], telling the size of each piece.
    pub(crate) async fn body_with(
        &self,
        response: Response,
        limit: u64,
        what: &str,
        seen: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Bytes, Error> {
        read_body(self.transport, response, limit, what, seen).await
    }

    fn token_key(&self) -> String {
        let credential = Credential::fingerprint(self.credential.as_ref());
        format!("{} {:?} {credential}", self.base, self.action)
    }

    fn cached_authorization(&self) -> Option<String> {
        let tokens = lock(&self.transport.tokens);
        let token = tokens.get(&self.token_key())?;
        (token.expires > Instant::now()).then(|| token.authorization.clone())
    }

    /// Answers the registry's challenge; the result is kept for the calls to come.
    async fn authenticate(&self, response: Response) -> Result<String, Error> {
        let challenges = token::challenges(response.headers().get_all(WWW_AUTHENTICATE));
        let denied = |reason: String| Error::Denied {
            registry: self.reference.registry().to_owned(),
            reason,
            with_credentials: self.credential.is_some(),
        };
        let lifetime;
        let authorization;
        match token::strongest(challenges) {
            None => {
                let words = error_words(response).await;
                return Err(denied(format!(
                    "401 without a usable WWW-Authenticate challenge: {words}"
                )));
            }
            Some(Challenge::Basic) => match &self.credential {
                Some(Credential::Password { user, password }) => {
                    authorization = token::basic(user, password);
                    lifetime = Duration::from_secs(24 * 3600);
                }
                Some(Credential::IdentityToken(_)) => {
                    return Err(denied(
                        "it wants a user and a password, we have an identity token".to_owned(),
                    ));
                }
                None => {
                    return Err(denied(
                        "it wants a user and a password, we have none for it".to_owned(),
                    ));
                }
            },
            Some(Challenge::Bearer {
                realm,
                service,
                scope,
            }) => {
                let realm = self.checked_realm(&realm)?;
                let scope = self.scope(scope);
                let request = token::request(
                    &self.transport.http,
                    realm.clone(),
                    service.as_deref(),
                    &scope,
                    self.credential.as_ref(),
                );
                let answer = request
                    .send()
                    .await
                    .map_err(|error| self.transport.failure(&error, realm.as_str()))?;
                if !answer.status().is_success() {
                    return Err(self
                        .refusal(answer, realm.as_str(), self.credential.is_some())
                        .await);
                }
                let body = self.body(answer, 1024 * 1024, "the token").await?;
                (authorization, lifetime) = token::parse(&body).map_err(|reason| Error::Protocol {
                    url: without_query(realm.as_str()),
                    reason,
                })?;
            }
        }
        // Renewed a little early, so that a token does not expire on its way.
        let expires = Instant::now() + lifetime.mul_f32(0.9);
        let token = Token {
            authorization: authorization.clone(),
            expires,
        };
        let mut tokens = lock(&self.transport.tokens);
        tokens.retain(|_, token| token.expires > Instant::now());
        tokens.insert(self.token_key(), token);
        Ok(authorization)
    }

    /// The registry names a server that gets our password: it must be as safe as the registry itself, and a
    /// remote registry must not make us call services of this machine.
    fn checked_realm(&self, realm: &str) -> Result<Url, Error> {
        let refused = |reason: &str| Error::Protocol {
            url: format!("token realm {realm:.200}"),
            reason: reason.to_owned(),
        };
        let url = Url::parse(realm).map_err(|_| refused("not a URL"))?;
        check_host(&url)?;
        let host = url.host_str().unwrap_or_default();
        match url.scheme() {
            "https" => {}
            "http" if self.scheme == "http" => {}
            _ => return Err(refused("refused: not https")),
        }
        if is_loopback_host(host) && !self.reference.is_loopback() {
            return Err(refused(
                "refused: it points to this machine, the registry does not",
            ));
        }
        Ok(url)
    }

    fn scope(&self, offered: Option<String>) -> String {
        let repository = self.reference.repository();
        match (self.action, offered) {
            (Action::Push, _) => format!("repository:{repository}:pull,push"),
            (Action::Pull, Some(scope)) => scope,
            (Action::Pull, None) => format!("repository:{repository}:pull"),
        }
    }

    async fn refusal(&self, response: Response, url: &str, with_credentials: bool) -> Error {
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                registry: self.reference.registry().to_owned(),
                with_credentials: with_credentials && self.credential.is_some(),
                reason: error_words(response).await,
            },
            StatusCode::NOT_FOUND => Error::NotFound {
                what: match url.strip_prefix(self.base.as_str()) {
                    Some(_) => self.reference.to_string(),
                    None => without_query(url),
                },
                reason: error_words(response).await,
            },
            _ => status_error(response).await,
        }
    }
}

/// The pauses between attempts.
pub(crate) struct Retry {
    left: u32,
    pause: Duration,
}

impl Retry {
    pub(crate) fn new(options: &Options) -> Retry {
        Retry {
            left: options.retries,
            pause: options.backoff,
        }
    }

    /// Waits before the next attempt, or hands `failure` back when another attempt is pointless.
    pub(crate) async fn pause(&mut self, failure: Error) -> Result<(), Error> {
        if self.left == 0 || !failure.is_transient() {
            return Err(failure);
        }
        self.left -= 1;
        let jittered = self.pause.mul_f32(0.5 + fastrand::f32());
        let wanted = match &failure {
            Error::Status {
                retry_after: Some(wanted),
                ..
            } => (*wanted).min(MAX_RETRY_AFTER),
            _ => Duration::ZERO,
        };
        self.pause *= 2;
        tracing::debug!(error = %failure, "registry request failed, trying again");
        tokio::time::sleep(jittered.max(wanted)).await;
        Ok(())
    }
}

pub(crate) async fn read_body(
    transport: &Transport,
    mut response: Response,
    limit: u64,
    what: &str,
    seen: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge {
        what: what.to_owned(),
        limit,
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let url = response.url().to_string();
    // The announcement is a claim: reserve little, grow with what really comes.
    let mut body = BytesMut::with_capacity(announced.min(1024 * 1024) as usize);
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| transport.failure(&error, &url))?
    {
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(too_large());
        }
        seen(&piece);
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Cloud metadata services live on link-local addresses; no registry does.
fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                // The same service of a large cloud, over IPv6.
                || v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254]
        }
    }
}

fn check_host(url: &Url) -> Result<(), Error> {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match address.is_ok_and(is_forbidden) {
        true => Err(Error::Protocol {
            url: without_query(url.as_str()),
            reason: format!("refused: {host} is an address at which no registry can be"),
        }),
        false => Ok(()),
    }
}

fn redirect(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let first = &attempt.previous()[0];
    let local = |url: &Url| is_loopback_host(url.host_str().unwrap_or_default());
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
    }
    if first.scheme() == "https" && attempt.url().scheme() != "https" {
        return attempt.error("refused: it redirects from https to http");
    }
    if check_host(attempt.url()).is_err() || (local(attempt.url()) && !local(first)) {
        return attempt.error("refused: it redirects to an address of this machine or its host");
    }
    attempt.follow()
}

/// The system's resolver, minus the addresses that no registry has.
struct Resolver;

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|address| !is_forbidden(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address that a registry can have", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

async fn status_error(response: Response) -> Error {
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Error::Status {
        url: without_query(response.url().as_str()),
        status: response.status().as_u16(),
        retry_after: retry_after
            .filter(|_| is_transient_status(response.status().as_u16()))
            .map(Duration::from_secs),
        reason: error_words(response).await,
    }
}

/// The registry's own words: codes and messages of its error document, else the beginning of its text.
async fn error_words(mut response: Response) -> String {
    #[derive(serde::Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() as u64 > MAX_ERROR_BODY {
            break;
        }
    }
    let words = match serde_json::from_slice::<Document>(&body) {
        Ok(document) if !document.errors.is_empty() => {
            let entries = document.errors.iter().map(|entry| match entry.message.as_str() {
                "" => entry.code.clone(),
                message => format!("{} ({message})", entry.code),
            });
            entries.collect::<Vec<_>>().join(", ")
        }
        _ => String::from_utf8_lossy(&body).into_owned(),
    };
    let words: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect();
    match words.trim() {
        "" => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        words => words.to_owned(),
    }
}

/// Queries carry upload state and signatures; they do not belong in messages.
pub(crate) fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or(url).to_owned()
}

fn innermost(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

fn same_origin(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_refused() {
        let forbidden = |text: &str| is_forbidden(text.parse().unwrap());
        assert!(forbidden("169.254.169.254") && forbidden("fe80::1") && forbidden("fd00:ec2::254"));
        assert!(forbidden("::ffff:169.254.169.254") && forbidden("0.0.0.0") && forbidden("::"));
        assert!(!forbidden("127.0.0.1") && !forbidden("10.0.0.1") && !forbidden("fd00::1"));
        assert!(check_host(&Url::parse("http://[fe80::1]:80/x").unwrap()).is_err());
    }
}
