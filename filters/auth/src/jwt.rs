//! JSON Web Tokens (RFC 7519): finding one in a request, and accepting or refusing it.

mod keys;
mod modulus;
mod rsa;
mod token;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leno_sdk::matching::field_name;
use leno_sdk::{ConfigError, Handle};

use crate::config::{ClaimToHeader, Jwt};
use crate::credential::Places;
use crate::denial::Denial;
use crate::secret::Accepted;
pub(crate) use keys::Keys;
use token::Token;

/// Clocks may differ by this much, unless configured (as in Envoy).
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Everything about a token but its keys.
pub(crate) struct Tokens {
    places: Places,
    issuer: Option<String>,
    audiences: Vec<String>,
    forward: bool,
    payload_header: Option<String>,
    claims: Vec<ClaimToHeader>,
    skew: Duration,
    require_expiration: bool,
}

/// A token, or that there are no keys yet to tell whether it is good.
pub(crate) enum Verdict {
    Accepted(Accepted),
    Denied(Denial),
    /// The token names a key that is not among those that are known.
    UnknownKey,
}

impl Tokens {
    pub(crate) fn new(config: &Jwt) -> Result<Self, ConfigError> {
        let mut places = Places::new(
            config.from_headers.clone(),
            config.from_params.clone(),
            config.from_cookies.clone(),
        )?;
        if places.is_empty() {
            places = places.header("authorization", "Bearer ").param("access_token");
        }
        let claims = config.claim_to_headers.iter().enumerate().map(|(index, entry)| {
            let header = field_name(&format!("claimToHeaders[{index}].header"), &entry.header)?;
            if entry.claim.is_empty() {
                return Err(ConfigError::new(
                    format!("claimToHeaders[{index}].claim"),
                    "must not be empty",
                ));
            }
            Ok(ClaimToHeader {
                header,
                claim: entry.claim.clone(),
            })
        });
        let payload_header = config.output_payload_to_header.as_deref();
        Ok(Self {
            places,
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            forward: config.forward,
            payload_header: payload_header
                .map(|name| field_name("outputPayloadToHeader", name))
                .transpose()?,
            claims: claims.collect::<Result<_, _>>()?,
            skew: config.clock_skew.map_or(CLOCK_SKEW, |time| time.0),
            require_expiration: config.require_expiration,
        })
    }

    /// Headers that only this filter may set.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.payload_header
            .as_deref()
            .into_iter()
            .chain(self.claims.iter().map(|entry| entry.header.as_str()))
    }

    /// Whether there is a token at all.
    pub(crate) fn is_present(&self, handle: &Handle) -> bool {
        self.places.find(handle).is_some()
    }

    /// Judges the token of a request. The order of the checks is Envoy's, so that the same one speaks up first.
    pub(crate) fn check(&self, handle: &Handle, keys: &Keys) -> Verdict {
        let denied = |body| Verdict::Denied(Denial::jwt(body));
        let Some((text, place)) = self.places.find(handle) else {
            return Verdict::Denied(Denial::jwt("Jwt is missing").missing());
        };
        let token = match Token::parse(&text) {
            Ok(token) => token,
            Err(body) => return denied(body),
        };
        if self.issuer.is_some() && token.text("iss") != self.issuer.as_deref() {
            return denied("Jwt issuer is not configured");
        }
        if let Err(body) = token.check_times(handle.context().now(), self.skew, self.require_expiration) {
            return denied(body);
        }
        let audiences = token.audiences();
        if !self.audiences.is_empty()
            && !audiences
                .iter()
                .any(|one| self.audiences.iter().any(|ours| ours == one))
        {
            return Verdict::Denied(Denial::jwt("Audiences in Jwt are not allowed").forbidden());
        }
        match keys.verify(&token) {
            keys::Verified::Yes => {}
            keys::Verified::No => return denied("Jwt verification fails"),
            keys::Verified::UnknownKey => return Verdict::UnknownKey,
            keys::Verified::UnknownAlgorithm => return denied("Jwt header [alg] is not supported"),
        }
        let mut headers = Vec::new();
        if let Some(name) = &self.payload_header {
            headers.push((name.clone(), URL_SAFE_NO_PAD.encode(&token.payload).into_bytes()));
        }
        for ClaimToHeader { claim, header } in &self.claims {
            if let Some(value) = token.claim_text(claim) {
                headers.push((header.clone(), value.into_bytes()));
            }
        }
        Verdict::Accepted(Accepted {
            headers,
            remove: (!self.forward).then_some(place),
        })
    }
}
