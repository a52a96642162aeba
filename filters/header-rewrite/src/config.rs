//! The configuration as it is written.

use leno_sdk::matching::{FieldMatch, Match};
use serde::Deserialize;

/// What to change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Config {
    /// Operations on request headers, in order.
    pub request: Vec<Operation>,
    /// Operations on response headers, in order.
    pub response: Vec<Operation>,
    /// Have the route chosen again from the changed request.
    pub clear_route_cache: bool,
}

/// One change: exactly one of its fields other than the conditions is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Operation {
    /// One more field of this name.
    pub add: Option<Field>,
    /// The value after the first one that is there, with a comma between.
    pub append: Option<Field>,
    /// The only field of this name.
    pub set: Option<Field>,
    /// A field of this name if there is none.
    pub set_if_absent: Option<Field>,
    /// No field of this name.
    pub remove: Option<String>,
    /// No field whose name begins so.
    pub remove_prefix: Option<String>,
    /// Another value by regular expression.
    pub rewrite: Option<Rewrite>,
    /// Another path; requests only.
    pub path: Option<PathRewrite>,
    /// Another `:authority`, a template; requests only.
    pub host: Option<String>,
    /// Only for these requests.
    pub when: Option<Match>,
    /// Only for responses with such fields; responses only.
    pub when_response: Vec<FieldMatch>,
}

/// A field and its new value, a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Another value by regular expression.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The name of the field; each of its values is rewritten.
    pub name: String,
    /// What is replaced, each time it occurs.
    pub regex: String,
    /// What replaces it; `$1` or `${name}` stand for groups.
    pub with: String,
}

/// Another path; the query stays unless the template has its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathRewrite {
    /// Replaces this prefix by `with`.
    pub prefix: Option<String>,
    /// Replaces each match by `with`.
    pub regex: Option<String>,
    /// What replaces the prefix or the match.
    pub with: Option<String>,
    /// Replaces the whole path.
    pub template: Option<String>,
}
