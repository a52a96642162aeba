//! The configuration as it is written.

use leno_sdk::Time;
use leno_sdk::matching::{FieldMatch, Match};
use serde::Deserialize;

/// Which cluster for which request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Config {
    /// Where the choice is written.
    pub header: String,
    /// The first that is for a request decides.
    pub rules: Vec<Rule>,
    /// For requests that no rule is for; nothing: the route's own cluster.
    pub default: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: "x-leno-cluster".into(),
            rules: Vec::new(),
            default: None,
        }
    }
}

/// One rule: either a cluster, or a split over several.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// For metrics and for the hash of sticky splits; the index unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// Which requests.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Only requests with such cookies.
    #[serde(default)]
    pub cookies: Vec<FieldMatch>,
    /// All of them to this one.
    #[serde(default)]
    pub cluster: Option<String>,
    /// So many percent of them to each.
    #[serde(default)]
    pub split: Vec<Share>,
    /// What keeps a client with one cluster.
    #[serde(default)]
    pub sticky: Option<Sticky>,
}

/// A share of a split.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Where to.
    pub cluster: String,
    /// Percent; all of a split make 100.
    pub weight: u32,
}

/// What tells clients apart: the first of these that a request has, in this order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Sticky {
    /// A request header.
    pub header: Option<String>,
    /// A cookie, which is given to clients that have none.
    pub cookie: Option<StickyCookie>,
    /// The address of the client.
    pub source_address: bool,
}

/// A cookie.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// How long it lives; with the browser unless given.
    #[serde(default)]
    pub ttl: Option<Time>,
    /// Where it is sent to.
    #[serde(default = "root")]
    pub path: String,
    /// Only over TLS.
    #[serde(default)]
    pub secure: bool,
}

fn root() -> String {
    "/".into()
}
