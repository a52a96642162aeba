//! What all requests of one client share: connections, schemes, tokens, retries and bounded bodies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::{Response, StatusCode, Url};

use crate::answer::{status_error, without_query};
use crate::client::{DEADLINE, Options};
use crate::error::{Error, chain};
use crate::guard::{Resolver, check_host, redirect};
use crate::reference::{Reference, host_of};

/// A registry may ask for a long pause; the caller's patience is shorter.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// What all sessions of one client share.
pub(crate) struct Transport {
    pub(crate) options: Options,
    pub(crate) http: reqwest::Client,
    schemes: Mutex<HashMap<String, &'static str>>,
    tokens: Mutex<HashMap<String, Token>>,
}

/// What to send as `Authorization`, and how long it is good.
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
    pub(crate) async fn scheme(&self, reference: &Reference) -> Result<&'static str, Error> {
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

    /// The `Authorization` kept under `key`, while it is good.
    pub(crate) fn authorization(&self, key: &str) -> Option<String> {
        let tokens = lock(&self.tokens);
        let token = tokens.get(key)?;
        (token.expires > Instant::now()).then(|| token.authorization.clone())
    }

    /// Keeps an `Authorization`; those that are no good any more go.
    pub(crate) fn keep_authorization(&self, key: String, authorization: String, expires: Instant) {
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, token| token.expires > Instant::now());
        tokens.insert(
            key,
            Token {
                authorization,
                expires,
            },
        );
    }

    fn is_insecure(&self, host: &str) -> bool {
        let listed = &self.options.insecure_registries;
        listed
            .iter()
            .any(|entry| entry == "*" || entry.eq_ignore_ascii_case(host) || entry == host_of(host))
    }

    /// What a failed request means.
    pub(crate) fn failure(&self, error: &reqwest::Error, url: &str) -> Error {
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
        if !error.is_connect() {
            return self.broken(error, &url);
        }
        let (host, reason) = (host.unwrap_or(url), innermost(error));
        // How rustls begins whatever it has against a certificate.
        match chain(error).contains("invalid peer certificate") {
            true => Error::Untrusted { host, reason },
            false => Error::Unreachable { host, reason },
        }
    }

    /// What it means that an answer has begun and does not go on.
    fn broken(&self, error: &reqwest::Error, url: &str) -> Error {
        let url = without_query(url);
        match error.is_timeout() {
            true => Error::Timeout {
                url,
                after: self.options.stall_timeout,
            },
            false => Error::Broken {
                url,
                reason: innermost(error),
            },
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

    /// Waits before the next attempt, or hands `failure` back when another attempt is pointless or would be too late.
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
        let pause = jittered.max(wanted);
        let deadline = DEADLINE.try_with(|deadline| *deadline).ok();
        if deadline.is_some_and(|deadline| tokio::time::Instant::now() + pause >= deadline) {
            return Err(failure);
        }
        tracing::debug!(error = %failure, "registry request failed, trying again");
        tokio::time::sleep(pause).await;
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
        .map_err(|error| transport.broken(&error, &url))?
    {
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(too_large());
        }
        seen(&piece);
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn innermost(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
