//! A token taken apart, and what it says.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// More is no token that anybody means seriously.
const LONGEST: usize = 16 * 1024;

/// A token in the compact form (RFC 7515, 7.1). Nothing in it is to be believed before the signature is verified.
pub(super) struct Token {
    pub(super) algorithm: String,
    pub(super) key: Option<String>,
    /// What is signed.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) payload: Vec<u8>,
    claims: Map<String, Value>,
}

impl Token {
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let shape = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
        let parts: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(shape);
        };
        if text.len() > LONGEST {
            return Err("Jwt is too long");
        }
        let signed = text[..header.len() + 1 + payload.len()].to_vec();
        let bad_header = "Jwt header is an invalid Base64url encoded or not a JSON";
        let header = object(header).ok_or(bad_header)?.1;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .ok_or("Jwt header [alg] field is missing")?;
        let key = match header.get("kid") {
            None => None,
            Some(Value::String(key)) => Some(key.clone()),
            Some(_) => return Err("Jwt header [kid] field is not a string"),
        };
        if header.contains_key("crit") {
            // RFC 7515, 4.1.11: what is critical and not understood must be refused; nothing is understood here.
            return Err("Jwt header [crit] is not supported");
        }
        let bad_payload = "Jwt payload is an invalid Base64 or not a JSON";
        let (payload, claims) = object(payload).ok_or(bad_payload)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "Jwt signature is an invalid Base64")?;
        Ok(Self {
            algorithm: algorithm.to_owned(),
            key,
            signed,
            signature,
            payload,
            claims,
        })
    }

    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// RFC 7519, 4.1.3: one, or a list.
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// RFC 7519, 4.1.4 to 4.1.6.
    pub(super) fn check_times(
        &self,
        now: Duration,
        skew: Duration,
        require_expiration: bool,
    ) -> Result<(), &'static str> {
        let time = |claim: &str| match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or("Jwt payload has a time that is not a number"),
        };
        let (now, skew) = (now.as_secs_f64(), skew.as_secs_f64());
        let (expires, begins, issued) = (time("exp")?, time("nbf")?, time("iat")?);
        if expires.is_none() && require_expiration {
            return Err("Jwt never expires");
        }
        if begins.is_some_and(|begins| begins > now + skew)
            || issued.is_some_and(|issued| issued > now + skew)
        {
            return Err("Jwt not yet valid");
        }
        if expires.is_some_and(|expires| expires + skew <= now) {
            return Err("Jwt is expired");
        }
        Ok(())
    }

    /// A claim as a header can carry it: texts, numbers and booleans; other values as JSON.
    pub(super) fn claim_text(&self, path: &str) -> Option<String> {
        // A claim may have dots in its own name, as in a URL.
        let inside = || {
            let mut keys = path.split('.');
            let first = self.claims.get(keys.next()?)?;
            keys.try_fold(first, |object, key| object.get(key))
        };
        let value = self.claims.get(path).or_else(inside)?;
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let is_clean = !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        is_clean.then_some(text)
    }
}

fn object(encoded: &[u8]) -> Option<(Vec<u8>, Map<String, Value>)> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    // Read as any value first: a module has a reader for that anyway, and one for objects alone is 20 KB more.
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(object) => Some((bytes, object)),
        _ => None,
    }
}
