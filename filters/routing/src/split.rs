//! One cluster out of several, by percentage; the same for the same client where that is wanted.

use std::time::Duration;

use leno_sdk::matching::field_name;
use leno_sdk::{ConfigError, Map, Request};

use crate::config::{Share, Sticky, StickyCookie};

/// Points of the scale that shares are measured on. A hundredth of a percent each.
const SCALE: u64 = 10_000;

/// A split that has been checked.
pub(crate) struct Split {
    /// Where the share of each cluster ends on the scale.
    shares: Vec<(u64, String)>,
    /// Keeps splits of different rules apart, so that one client is not in the small share of all of them.
    salt: u64,
    sticky: Sticky,
}

/// What a split says for one request.
pub(crate) struct Choice<'a> {
    pub(crate) index: usize,
    pub(crate) cluster: &'a str,
    /// To be set by the response.
    pub(crate) cookie: Option<String>,
}

impl Split {
    pub(crate) fn new(
        rule: &str,
        cluster: Option<String>,
        split: Vec<Share>,
        sticky: Option<Sticky>,
    ) -> Result<Self, ConfigError> {
        let split = match (cluster, split.is_empty()) {
            (Some(cluster), true) => {
                if sticky.is_some() {
                    return Err(ConfigError::new("sticky", "has no meaning without split"));
                }
                if cluster.is_empty() {
                    return Err(ConfigError::new("cluster", "must not be empty"));
                }
                vec![Share { cluster, weight: 100 }]
            }
            (None, false) => split,
            (None, true) => return Err(ConfigError::new("", "needs cluster or split")),
            (Some(_), false) => return Err(ConfigError::new("", "takes only one of cluster and split")),
        };
        let sum: u64 = split.iter().map(|share| u64::from(share.weight)).sum();
        if sum != 100 {
            return Err(ConfigError::new(
                "split",
                format!("the weights make {sum}, not 100"),
            ));
        }
        let mut end = 0;
        let mut shares: Vec<(u64, String)> = Vec::new();
        for (index, share) in split.into_iter().enumerate() {
            if share.cluster.is_empty() {
                return Err(ConfigError::new(
                    format!("split[{index}].cluster"),
                    "must not be empty",
                ));
            }
            if shares.iter().any(|(_, cluster)| *cluster == share.cluster) {
                let reason = format!("{:?} has a share already", share.cluster);
                return Err(ConfigError::new(format!("split[{index}].cluster"), reason));
            }
            end += u64::from(share.weight) * (SCALE / 100);
            shares.push((end, share.cluster));
        }
        let sticky = check(sticky).map_err(|error| error.within("sticky"))?;
        Ok(Self {
            shares,
            salt: hash(0, rule.as_bytes()),
            sticky,
        })
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|(_, cluster)| cluster.as_str())
    }

    pub(crate) fn sets_cookies(&self) -> bool {
        self.sticky.cookie.is_some()
    }

    pub(crate) fn choose(&self, request: &Request<'_>) -> Choice<'_> {
        let (point, cookie) = self.point(request);
        // Shares end at the end of the scale, so there always is one.
        let index = self
            .shares
            .iter()
            .position(|(end, _)| point < *end)
            .unwrap_or_default();
        Choice {
            index,
            cluster: &self.shares[index].1,
            cookie,
        }
    }

    /// A point of the scale, and the cookie that will lead there again.
    fn point(&self, request: &Request<'_>) -> (u64, Option<String>) {
        if self.shares.len() == 1 {
            return (0, None);
        }
        let at = |key: &[u8]| hash(self.salt, key) % SCALE;
        let headers = request.fields(Map::RequestHeaders);
        if let Some(key) = self.sticky.header.as_ref().and_then(|name| headers.get(name)) {
            return (at(&key), None);
        }
        if let Some(cookie) = &self.sticky.cookie {
            return match headers.cookie(&cookie.name) {
                Some(key) => (at(&key), None),
                None => {
                    let key = format!("{:016x}", request.random());
                    (at(key.as_bytes()), Some(set_cookie(cookie, &key)))
                }
            };
        }
        if self.sticky.source_address
            && let Some(address) = request.property(&["source", "address"]).text()
        {
            let ip = address.rsplit_once(':').map_or(address.as_str(), |(ip, _)| ip);
            return (at(ip.as_bytes()), None);
        }
        (request.random() % SCALE, None)
    }
}

fn check(sticky: Option<Sticky>) -> Result<Sticky, ConfigError> {
    let Some(mut sticky) = sticky else {
        return Ok(Sticky::default());
    };
    if sticky.header.is_none() && sticky.cookie.is_none() && !sticky.source_address {
        return Err(ConfigError::new("", "needs header, cookie or sourceAddress"));
    }
    if let Some(name) = &sticky.header {
        sticky.header = Some(field_name("header", name)?);
    }
    if let Some(cookie) = &sticky.cookie {
        field_name("cookie.name", &cookie.name)?;
        if !cookie.path.starts_with('/') || cookie.path.contains([';', ' ', '\r', '\n']) {
            return Err(ConfigError::new(
                "cookie.path",
                format!("{:?} is not a path", cookie.path),
            ));
        }
        if sticky.source_address {
            let reason = "is never used beside cookie, which every request has or is given";
            return Err(ConfigError::new("sourceAddress", reason));
        }
    }
    Ok(sticky)
}

fn set_cookie(cookie: &StickyCookie, value: &str) -> String {
    let StickyCookie {
        name,
        ttl,
        path,
        secure,
    } = cookie;
    let max_age = ttl.map(|ttl| ttl.0).filter(|ttl| *ttl > Duration::ZERO);
    let max_age = max_age
        .map(|ttl| format!("; Max-Age={}", ttl.as_secs().max(1)))
        .unwrap_or_default();
    let secure = if *secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}{max_age}; HttpOnly; SameSite=Lax{secure}")
}

/// FNV-1a, then mixed. Fixed for good: another hash would move clients to other clusters.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    let all = bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let all = (all ^ (all >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let all = (all ^ (all >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    all ^ (all >> 33)
}

#[cfg(test)]
mod tests {
    use super::{SCALE, hash};

    #[test]
    fn the_hash_stays_as_it_is_and_spreads() {
        assert_eq!(hash(0, b"canary"), hash(0, b"canary"));
        let low = (0..10_000u32)
            .filter(|user| hash(7, &user.to_le_bytes()) % SCALE < SCALE / 10)
            .count();
        assert!(
            (900..1_100).contains(&low),
            "{low} of 10000 in a share of a tenth"
        );
    }
}
