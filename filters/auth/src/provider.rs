//! One way to tell who somebody is.

use std::rc::Rc;

use leno_sdk::{ConfigError, Handle};

use crate::config;
use crate::denial::{Challenge, Denial};
use crate::jwt::{Keys, Tokens, Verdict};
use crate::remote::Remote;
use crate::secret::{Accepted, ApiKeys, Users};

pub(crate) struct Provider {
    pub(crate) name: String,
    kind: Kind,
}

enum Kind {
    Jwt { tokens: Tokens, keys: Source },
    ApiKey(ApiKeys),
    Basic(Users),
}

enum Source {
    Local(Rc<Keys>),
    Remote(Box<Remote>),
}

/// What a provider says of a request.
pub(crate) enum Outcome {
    Accepted(Accepted),
    Denied(Denial),
    /// Keys are being fetched.
    Wait,
}

impl Provider {
    pub(crate) fn new(config: config::Provider) -> Result<Self, ConfigError> {
        if config.name.is_empty() {
            return Err(ConfigError::new("name", "must not be empty"));
        }
        let kind = match (config.jwt, config.api_key, config.basic) {
            (Some(jwt), None, None) => new_jwt(jwt).map_err(|error| error.within("jwt"))?,
            (None, Some(keys), None) => {
                Kind::ApiKey(ApiKeys::new(keys).map_err(|error| error.within("apiKey"))?)
            }
            (None, None, Some(basic)) => {
                Kind::Basic(Users::new(basic).map_err(|error| error.within("basic"))?)
            }
            _ => return Err(ConfigError::new("", "needs exactly one of jwt, apiKey, basic")),
        };
        Ok(Self {
            name: config.name,
            kind,
        })
    }

    pub(crate) fn remote(&self) -> Option<&Remote> {
        match &self.kind {
            Kind::Jwt {
                keys: Source::Remote(remote),
                ..
            } => Some(remote),
            Kind::Jwt { .. } | Kind::ApiKey(_) | Kind::Basic(_) => None,
        }
    }

    /// Headers that only this filter may set.
    pub(crate) fn outputs(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Jwt { tokens, .. } => tokens.outputs().collect(),
            Kind::ApiKey(keys) => keys.output().into_iter().collect(),
            Kind::Basic(users) => users.output().into_iter().collect(),
        }
    }

    pub(crate) fn challenge(&self) -> Challenge {
        match &self.kind {
            Kind::Jwt { .. } => Challenge::Bearer,
            Kind::ApiKey(_) => Challenge::None,
            Kind::Basic(users) => users.challenge(),
        }
    }

    pub(crate) fn check(&self, handle: &Handle) -> Outcome {
        let plain = match &self.kind {
            Kind::Jwt { tokens, keys } => return check_jwt(tokens, keys, handle),
            Kind::ApiKey(keys) => keys.check(handle),
            Kind::Basic(users) => users.check(handle),
        };
        plain.map_or_else(Outcome::Denied, Outcome::Accepted)
    }
}

fn new_jwt(jwt: config::Jwt) -> Result<Kind, ConfigError> {
    let tokens = Tokens::new(&jwt)?;
    let keys = match (jwt.jwks, jwt.remote_jwks) {
        (Some(jwks), None) => {
            let keys = Keys::configured(&jwks).map_err(|reason| ConfigError::new("jwks", reason))?;
            Source::Local(Rc::new(keys))
        }
        (None, Some(remote)) => Source::Remote(Box::new(
            Remote::new(remote).map_err(|error| error.within("remoteJwks"))?,
        )),
        _ => return Err(ConfigError::new("", "needs exactly one of jwks, remoteJwks")),
    };
    Ok(Kind::Jwt { tokens, keys })
}

fn check_jwt(tokens: &Tokens, source: &Source, handle: &Handle) -> Outcome {
    let unknown_key = || Denial::jwt("Jwks doesn't have key to match kid or alg from Jwt");
    let (keys, remote) = match source {
        Source::Local(keys) => (Some(Rc::clone(keys)), None),
        Source::Remote(remote) => (remote.keys(handle.context()), Some(remote)),
    };
    let Some(keys) = keys else {
        // Nobody waits for keys without a token.
        if !tokens.is_present(handle) {
            return Outcome::Denied(Denial::jwt("Jwt is missing").missing());
        }
        let comes = remote.is_some_and(|remote| remote.fetch(handle.context()));
        return if comes {
            Outcome::Wait
        } else {
            Outcome::Denied(Denial::jwt("Jwks remote fetch is failed"))
        };
    };
    match tokens.check(handle, &keys) {
        Verdict::Accepted(accepted) => Outcome::Accepted(accepted),
        Verdict::Denied(denial) => Outcome::Denied(denial),
        // The issuer may have begun to use a new key.
        Verdict::UnknownKey => match remote.is_some_and(|remote| remote.fetch(handle.context())) {
            true => Outcome::Wait,
            false => Outcome::Denied(unknown_key()),
        },
    }
}
