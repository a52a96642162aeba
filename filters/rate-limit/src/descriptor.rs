//! What requests have in common that share a bucket.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leno_sdk::matching::field_name;
use leno_sdk::{ConfigError, Request, query_param};

use crate::config::Descriptor;

/// Refuses parts that no request can have.
pub(crate) fn check(parts: &[Descriptor]) -> Result<(), ConfigError> {
    for (index, part) in parts.iter().enumerate() {
        let path = |name: &str| format!("descriptor[{index}].{name}");
        match part {
            Descriptor::Header(name) => field_name(&path("header"), name).map(drop)?,
            Descriptor::Claim { header, .. } => field_name(&path("claim.header"), header).map(drop)?,
            Descriptor::Query(name) if name.is_empty() => {
                return Err(ConfigError::new(path("query"), "must not be empty"));
            }
            Descriptor::Cookie(name) if name.is_empty() => {
                return Err(ConfigError::new(path("cookie"), "must not be empty"));
            }
            Descriptor::Query(_)
            | Descriptor::Cookie(_)
            | Descriptor::Path
            | Descriptor::Method
            | Descriptor::Host
            | Descriptor::RemoteAddress
            | Descriptor::Generic(_) => {}
        }
    }
    Ok(())
}

/// The values of all parts, so that different values never give the same bytes; nothing if one is missing.
pub(crate) fn describe(parts: &[Descriptor], request: &Request<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for part in parts {
        let value = value(part, request)?;
        out.extend(value.len().to_le_bytes());
        out.extend(value);
    }
    Some(out)
}

fn value(part: &Descriptor, request: &Request<'_>) -> Option<Vec<u8>> {
    let headers = request.headers();
    match part {
        Descriptor::Header(name) => headers.get(name),
        Descriptor::Query(name) => query_param(&request.path(), name),
        Descriptor::Cookie(name) => headers.cookie(name),
        Descriptor::Path => {
            let mut path = request.path();
            path.truncate(path.iter().position(|byte| *byte == b'?').unwrap_or(path.len()));
            Some(path)
        }
        Descriptor::Method => Some(request.method()),
        Descriptor::Host => Some(request.authority().to_ascii_lowercase()),
        Descriptor::RemoteAddress => {
            let address = request.property(&["source", "address"]).text()?;
            // `ip:port`, with the address in brackets if it is IPv6; a pipe has no port.
            let ip = address.rsplit_once(':').map_or(address.as_str(), |(ip, _)| ip);
            Some(ip.as_bytes().to_vec())
        }
        Descriptor::Generic(value) => Some(value.clone().into_bytes()),
        Descriptor::Claim { header, name } => claim(&headers.get(header)?, name),
    }
}

fn claim(encoded: &[u8], name: &str) -> Option<Vec<u8>> {
    let trimmed = encoded.trim_ascii_end().split(|byte| *byte == b'=').next()?;
    let json: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(trimmed).ok()?).ok()?;
    let claim = name.split('.').try_fold(&json, |object, key| object.get(key))?;
    match claim {
        serde_json::Value::String(text) => Some(text.clone().into_bytes()),
        serde_json::Value::Null => None,
        other => Some(other.to_string().into_bytes()),
    }
}
