//! The configuration as it is written.

use leno_sdk::Time;
use leno_sdk::matching::Match;
use serde::Deserialize;

/// What to limit, and what clients hear of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Config {
    /// Every rule that is for a request takes a token; the first that has none refuses it.
    pub rules: Vec<Rule>,
    /// Of refusals.
    pub status: u16,
    /// Of refusals.
    pub body: String,
    /// Whether responses carry `x-ratelimit-*`.
    pub quota_headers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            status: 429,
            body: "rate limit exceeded".into(),
            quota_headers: true,
        }
    }
}

/// One limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// For metrics, and for the state that workers share; the index unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Which requests.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What requests have in common that share a bucket. Nothing: all of them.
    #[serde(default)]
    pub descriptor: Vec<Descriptor>,
    /// So many requests per interval.
    pub tokens: u64,
    /// How long it takes to refill `tokens`.
    pub interval: Time,
    /// So many at once; `tokens` unless given.
    #[serde(default)]
    pub burst: Option<u64>,
    /// Count, but let pass.
    #[serde(default)]
    pub shadow: bool,
    /// So many buckets are kept.
    #[serde(default = "slots")]
    pub slots: u32,
}

fn slots() -> u32 {
    16_384
}

/// A part of what names a bucket. A request that has no such part is not limited by the rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Descriptor {
    /// The value of a request header.
    Header(String),
    /// The value of a query parameter.
    Query(String),
    /// The value of a cookie.
    Cookie(String),
    /// The path without the query.
    Path,
    /// The method.
    Method,
    /// The host, in lower case.
    Host,
    /// The address of the client without the port.
    RemoteAddress,
    /// A constant.
    Generic(String),
    /// A claim of a JSON object that an earlier filter put, in base64url, into a header.
    Claim {
        /// The header.
        header: String,
        /// The claim; `.` goes into objects.
        name: String,
    },
}
