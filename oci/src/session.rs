//! Requests about one repository: authentication, locations, and refusals that name the repository.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::answer::{error_words, status_error, without_query};
use crate::client::Options;
use crate::error::Error;
use crate::guard::check_host;
use crate::keychain::{Credential, Keychain};
use crate::reference::{Reference, is_loopback_host};
use crate::token::{self, Challenge};
use crate::transport::{Retry, Transport, read_body};

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

impl Transport {
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
        let mut authorization = if ours {
            self.transport.authorization(&self.token_key())
        } else {
            None
        };
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
        self.transport
            .keep_authorization(self.token_key(), authorization.clone(), expires);
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

fn same_origin(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        _ => false,
    }
}
