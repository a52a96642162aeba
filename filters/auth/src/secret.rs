//! Shared secrets: API keys, and passwords. They are kept as hashes and compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use leno_sdk::matching::field_name;
use leno_sdk::{ConfigError, Handle};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::config::{ApiKey, Basic};
use crate::credential::{Place, Places};
use crate::denial::{Challenge, Denial};

/// What a credential was good for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted {
    /// To be set in the request.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// To be taken out of the request.
    pub(crate) remove: Option<Place>,
}

/// Keys of clients.
pub(crate) struct ApiKeys {
    places: Places,
    clients: Vec<(String, [u8; 32])>,
    forward: bool,
    header: Option<String>,
}

impl ApiKeys {
    pub(crate) fn new(config: ApiKey) -> Result<Self, ConfigError> {
        let mut places = Places::new(config.from_headers, config.from_params, config.from_cookies)?;
        if places.is_empty() {
            places = places.header("x-api-key", "");
        }
        if config.keys.is_empty() {
            return Err(ConfigError::new("keys", "must not be empty"));
        }
        let mut clients: Vec<(String, [u8; 32])> = Vec::new();
        for (index, key) in config.keys.into_iter().enumerate() {
            let path = format!("keys[{index}]");
            let hash = secret(
                &path,
                key.key.as_deref().map(|key| ("key", key)),
                key.sha256.as_deref(),
            )?;
            if clients.iter().any(|(_, other)| *other == hash) {
                return Err(ConfigError::new(path, "is the key of another client"));
            }
            clients.push((key.client, hash));
        }
        let header = config
            .client_header
            .map(|name| field_name("clientHeader", &name))
            .transpose()?;
        Ok(Self {
            places,
            clients,
            forward: config.forward,
            header,
        })
    }

    pub(crate) fn output(&self) -> Option<&str> {
        self.header.as_deref()
    }

    pub(crate) fn check(&self, handle: &Handle) -> Result<Accepted, Denial> {
        let denied = Denial {
            status: 401,
            body: "Client authentication failed.",
            challenge: Challenge::None,
            is_missing: false,
            kind: "api_key_denied",
        };
        let Some((key, place)) = self.places.find(handle) else {
            return Err(denied.missing());
        };
        let hash: [u8; 32] = Sha256::digest(&key).into();
        let index = find(&hash, self.clients.iter().map(|(_, hash)| hash)).ok_or(denied)?;
        let (client, _) = &self.clients[index];
        Ok(Accepted {
            headers: self
                .header
                .iter()
                .map(|name| (name.clone(), client.clone().into_bytes()))
                .collect(),
            remove: (!self.forward).then_some(place),
        })
    }
}

/// Names and passwords.
pub(crate) struct Users {
    places: Places,
    realm: String,
    users: Vec<(String, Password)>,
    forward: bool,
    header: Option<String>,
}

enum Password {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Users {
    pub(crate) fn new(config: Basic) -> Result<Self, ConfigError> {
        if config.realm.contains(['"', '\\', '\r', '\n']) {
            return Err(ConfigError::new(
                "realm",
                "must not hold quotes, backslashes or line ends",
            ));
        }
        if config.users.is_empty() {
            return Err(ConfigError::new("users", "must not be empty"));
        }
        let mut users: Vec<(String, Password)> = Vec::new();
        for (index, user) in config.users.into_iter().enumerate() {
            let path = format!("users[{index}]");
            if user.name.is_empty() || user.name.contains(':') {
                let reason = format!("{:?} is not a user name: it is empty or holds a colon", user.name);
                return Err(ConfigError::new(format!("{path}.name"), reason));
            }
            if users.iter().any(|(other, _)| *other == user.name) {
                let reason = format!("{:?} is the name of another user", user.name);
                return Err(ConfigError::new(format!("{path}.name"), reason));
            }
            let password = match (user.htpasswd, user.password, user.sha256) {
                (Some(hash), None, None) => Password::Sha1(htpasswd(&format!("{path}.htpasswd"), &hash)?),
                (None, password, sha256) => {
                    let plain = password.as_deref().map(|password| ("password", password));
                    Password::Sha256(secret(&path, plain, sha256.as_deref())?)
                }
                _ => {
                    return Err(ConfigError::new(
                        path,
                        "takes only one of htpasswd, password, sha256",
                    ));
                }
            };
            users.push((user.name, password));
        }
        let header = config
            .user_header
            .map(|name| field_name("userHeader", &name))
            .transpose()?;
        let places = Places::default().header("authorization", "Basic ");
        Ok(Self {
            places,
            realm: config.realm,
            users,
            forward: config.forward,
            header,
        })
    }

    pub(crate) fn output(&self) -> Option<&str> {
        self.header.as_deref()
    }

    pub(crate) fn challenge(&self) -> Challenge {
        Challenge::Basic(self.realm.clone())
    }

    pub(crate) fn check(&self, handle: &Handle) -> Result<Accepted, Denial> {
        let denied = |body| Denial {
            status: 401,
            body,
            challenge: self.challenge(),
            is_missing: false,
            kind: "basic_auth_denied",
        };
        let Some((encoded, place)) = self.places.find(handle) else {
            let body = "User authentication failed. Missing username and password.";
            return Err(denied(body).missing());
        };
        let wrong = || denied("User authentication failed. Invalid username/password combination.");
        let decoded = STANDARD.decode(&encoded).map_err(|_| wrong())?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let (name, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let (user, expected) = self
            .users
            .iter()
            .find(|(user, _)| user.as_bytes() == name)
            .ok_or_else(wrong)?;
        let is_right = match expected {
            Password::Sha1(hash) => sha1::Sha1::digest(password).as_slice().ct_eq(hash),
            Password::Sha256(hash) => Sha256::digest(password).as_slice().ct_eq(hash),
        };
        if !bool::from(is_right) {
            return Err(wrong());
        }
        Ok(Accepted {
            headers: self
                .header
                .iter()
                .map(|name| (name.clone(), user.clone().into_bytes()))
                .collect(),
            remove: (!self.forward).then_some(place),
        })
    }
}

/// Which hash is the same. Looks at all of them, so that the time tells nothing.
fn find<'a>(hash: &[u8; 32], all: impl Iterator<Item = &'a [u8; 32]>) -> Option<usize> {
    let mut found = u32::MAX;
    for (index, other) in (0..u32::MAX).zip(all) {
        found.conditional_assign(&index, hash.ct_eq(other));
    }
    (found != u32::MAX).then_some(found as usize)
}

/// The hash of a secret that is given itself, or as its hash.
fn secret(path: &str, plain: Option<(&str, &str)>, sha256: Option<&str>) -> Result<[u8; 32], ConfigError> {
    match (plain, sha256) {
        (Some((name, "")), None) => Err(ConfigError::new(format!("{path}.{name}"), "must not be empty")),
        (Some((_, plain)), None) => Ok(Sha256::digest(plain).into()),
        (None, Some(digits)) => hex(digits)
            .ok_or_else(|| ConfigError::new(format!("{path}.sha256"), "is not 64 hexadecimal digits")),
        (Some((name, _)), Some(_)) => Err(ConfigError::new(
            path,
            format!("takes only one of {name} and sha256"),
        )),
        (None, None) => Err(ConfigError::new(path, "needs the secret or its sha256")),
    }
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(out)
}

fn htpasswd(path: &str, hash: &str) -> Result<[u8; 20], ConfigError> {
    let Some(encoded) = hash.strip_prefix("{SHA}") else {
        let reason = "only {SHA} hashes (htpasswd -s) are read; bcrypt and MD5 take too long for every request: \
                      use sha256 with a long random password instead";
        return Err(ConfigError::new(path, reason));
    };
    let decoded = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    decoded.ok_or_else(|| ConfigError::new(path, "{SHA} is not followed by the base64 of 20 bytes"))
}
