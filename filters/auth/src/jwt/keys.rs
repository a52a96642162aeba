//! Key sets (RFC 7517) and the signatures that their keys verify (RFC 7518, RFC 8037).
//!
//! A key is only ever used with the algorithms of its own kind, so a token cannot have an RSA key taken for a secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use p256::AffinePoint;
use p256::ecdsa::signature::Verifier;
use p256::elliptic_curve::point::AffineCoordinates;
use serde_json::Value;
use sha2::Sha256;

use super::rsa::{self, Hash};
use super::token::Token;

/// Keys of one issuer.
#[derive(Default)]
pub(crate) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// The only algorithm that it may be used with.
    algorithm: Option<String>,
    material: Material,
}

enum Material {
    Rsa(rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
    Secret(Vec<u8>),
}

pub(super) enum Verified {
    Yes,
    No,
    UnknownKey,
    UnknownAlgorithm,
}

impl Keys {
    /// Reads a key set. Keys that are for something else, or of a kind that is not known, are left out (RFC 7517, 5).
    ///
    /// # Errors
    /// The text is no key set, or has no key that could be used: `path: reason`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
        Self::from_json(&set)
    }

    /// Reads a key set that is part of a configuration, as an object or its text. Here, P-384 is refused, since
    /// whoever writes the set can take it out; a set that is fetched may have keys for others.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn configured(set: &Value) -> Result<Self, String> {
        let parsed: Value;
        let set = match set {
            Value::String(text) => {
                parsed = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
                &parsed
            }
            set => set,
        };
        let keys = set.get("keys").and_then(Value::as_array).into_iter().flatten();
        for (index, key) in keys.enumerate() {
            let text = |name: &str| key.get(name).and_then(Value::as_str);
            if (text("kty"), text("crv")) == (Some("EC"), Some("P-384")) {
                return Err(format!(
                    "keys[{index}] is on the curve P-384 (ES384), which is not supported: take it out, and have tokens \
                     signed with ES256"
                ));
            }
        }
        Self::from_json(set)
    }

    fn from_json(set: &Value) -> Result<Self, String> {
        let list = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("has no list `keys`")?;
        let mut keys = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            if text("use").is_some_and(|purpose| purpose != "sig") {
                continue;
            }
            if let Some(material) = material(value).map_err(|reason| format!("keys[{index}] {reason}"))? {
                let (id, algorithm) = (
                    text("kid").map(ToOwned::to_owned),
                    text("alg").map(ToOwned::to_owned),
                );
                keys.push(Key {
                    id,
                    algorithm,
                    material,
                });
            }
        }
        if keys.is_empty() {
            return Err("has no key that verifies signatures (RSA, EC P-256, OKP Ed25519, oct)".into());
        }
        Ok(Self(keys))
    }

    pub(super) fn verify(&self, token: &Token) -> Verified {
        if !ALGORITHMS.contains(&token.algorithm.as_str()) {
            return Verified::UnknownAlgorithm;
        }
        let mut usable = self.0.iter().filter(|key| key.is_for(token)).peekable();
        if usable.peek().is_none() {
            return Verified::UnknownKey;
        }
        let is_right = usable.any(|key| key.verifies(token).unwrap_or(false));
        if is_right { Verified::Yes } else { Verified::No }
    }
}

const ALGORITHMS: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA", "Ed25519", "HS256",
];

impl Key {
    fn is_for(&self, token: &Token) -> bool {
        let kinds: &[&str] = match self.material {
            Material::Rsa(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Material::P256(_) => &["ES256"],
            Material::Ed25519(_) => &["EdDSA", "Ed25519"],
            Material::Secret(_) => &["HS256"],
        };
        let same =
            |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        kinds.contains(&token.algorithm.as_str())
            && same(&self.algorithm, &token.algorithm)
            && token.key.as_ref().is_none_or(|id| same(&self.id, id))
    }

    /// Nothing if the signature does not even have the right form.
    fn verifies(&self, token: &Token) -> Option<bool> {
        let Token {
            signed, signature, ..
        } = token;
        Some(match &self.material {
            Material::Rsa(key) => match token.algorithm.as_str() {
                "RS256" => key.verify_pkcs1(Hash::Sha256, signed, signature),
                "RS384" => key.verify_pkcs1(Hash::Sha384, signed, signature),
                "RS512" => key.verify_pkcs1(Hash::Sha512, signed, signature),
                "PS256" => key.verify_pss(Hash::Sha256, signed, signature),
                "PS384" => key.verify_pss(Hash::Sha384, signed, signature),
                "PS512" => key.verify_pss(Hash::Sha512, signed, signature),
                _ => false,
            },
            Material::P256(key) => key
                .verify(signed, &p256::ecdsa::Signature::from_slice(signature).ok()?)
                .is_ok(),
            Material::Ed25519(key) => key
                .verify_strict(signed, &ed25519_dalek::Signature::from_slice(signature).ok()?)
                .is_ok(),
            Material::Secret(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
                mac.update(signed);
                mac.verify_slice(signature).is_ok()
            }
        })
    }
}

/// Nothing for a kind that is not known.
fn material(key: &Value) -> Result<Option<Material>, String> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let encoded = text(name).ok_or_else(|| format!("has no `{name}`"))?;
        let encoded = encoded.trim_end_matches('=');
        URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| format!("has a `{name}` that is not base64url"))
    };
    let coordinate = |name: &str| {
        let number = bytes(name)?;
        let mut coordinate = p256::FieldBytes::default();
        let missing = coordinate
            .len()
            .checked_sub(number.len())
            .ok_or_else(|| format!("has a `{name}` that is too long"))?;
        coordinate[missing..].copy_from_slice(&number);
        Ok::<_, String>(coordinate)
    };
    let off_curve = "is not a point of its curve";
    Ok(Some(match (text("kty"), text("crv")) {
        (Some("RSA"), _) => Material::Rsa(rsa::PublicKey::new(&bytes("n")?, &bytes("e")?)?),
        (Some("EC"), Some("P-256")) => {
            // Not by way of SEC1, which brings the code for compressed points.
            let point = AffinePoint::from_coordinates(&coordinate("x")?, &coordinate("y")?).into_option();
            let key = p256::ecdsa::VerifyingKey::from_affine(point.ok_or(off_curve)?);
            Material::P256(key.map_err(|_| off_curve)?)
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x: [u8; 32] = bytes("x")?
                .try_into()
                .map_err(|_| "has an `x` that is not 32 bytes long")?;
            let key = ed25519_dalek::VerifyingKey::from_bytes(&x);
            Material::Ed25519(key.map_err(|_| off_curve)?)
        }
        (Some("oct"), _) => {
            let secret = bytes("k")?;
            // RFC 7518, 3.2.
            if secret.len() < 32 {
                return Err("has a `k` of fewer than 32 bytes, which HS256 must not be used with".into());
            }
            Material::Secret(secret)
        }
        (None, _) => return Err("has no `kty`".into()),
        _ => return Ok(None),
    }))
}
