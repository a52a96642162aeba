//! The configuration as it is written.

use leno_sdk::Time;
use leno_sdk::matching::Match;
use serde::Deserialize;

/// Who may do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Config {
    /// Ways to tell who somebody is.
    pub providers: Vec<Provider>,
    /// The first that is for a request decides.
    pub rules: Vec<Rule>,
    /// For requests that no rule is for.
    pub unmatched: Unmatched,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            rules: Vec::new(),
            unmatched: Unmatched::Deny,
        }
    }
}

/// What becomes of requests that no rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unmatched {
    /// They are refused.
    Deny,
    /// They pass.
    Allow,
}

/// One way to tell who somebody is: exactly one kind is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provider {
    /// What rules call it.
    pub name: String,
    /// A signed token.
    #[serde(default)]
    pub jwt: Option<Jwt>,
    /// A shared secret.
    #[serde(default)]
    pub api_key: Option<ApiKey>,
    /// A name and a password.
    #[serde(default)]
    pub basic: Option<Basic>,
}

/// A JSON Web Token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Jwt {
    /// Who must have issued it; anybody whose key is known, unless given.
    pub issuer: Option<String>,
    /// It must be meant for one of these; for anybody, unless given.
    pub audiences: Vec<String>,
    /// The keys, as a JSON Web Key Set: an object, or its text.
    pub jwks: Option<serde_json::Value>,
    /// Where the keys are.
    pub remote_jwks: Option<RemoteJwks>,
    /// Where the token is; `authorization: Bearer` and the parameter `access_token`, unless a place is given.
    pub from_headers: Vec<FromHeader>,
    /// Query parameters that hold it.
    pub from_params: Vec<String>,
    /// Cookies that hold it.
    pub from_cookies: Vec<String>,
    /// The token stays in the request.
    pub forward: bool,
    /// The payload goes here, in base64url.
    pub output_payload_to_header: Option<String>,
    /// Claims go here.
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// How far the issuer's clock may be off.
    pub clock_skew: Option<Time>,
    /// A token that never expires is refused.
    pub require_expiration: bool,
}

/// Keys that are fetched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RemoteJwks {
    /// The cluster that is asked.
    pub cluster: String,
    /// `:authority` of the request.
    pub host: String,
    /// `:path` of the request.
    pub path: String,
    /// How long keys are used before they are fetched again.
    #[serde(default = "five_minutes")]
    pub cache_duration: Time,
    /// How long an answer may take.
    #[serde(default = "five_seconds")]
    pub timeout: Time,
}

fn five_minutes() -> Time {
    Time(std::time::Duration::from_secs(300))
}

fn five_seconds() -> Time {
    Time(std::time::Duration::from_secs(5))
}

/// A header that holds a credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromHeader {
    /// Its name.
    pub name: String,
    /// What stands before the credential.
    #[serde(default)]
    pub prefix: String,
}

/// A claim and the header it goes to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimToHeader {
    /// `.` goes into objects.
    pub claim: String,
    /// The header.
    pub header: String,
}

/// Shared secrets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct ApiKey {
    /// Who has which.
    pub keys: Vec<Key>,
    /// Headers that hold one; `x-api-key`, unless a place is given.
    pub from_headers: Vec<FromHeader>,
    /// Query parameters that hold one.
    pub from_params: Vec<String>,
    /// Cookies that hold one.
    pub from_cookies: Vec<String>,
    /// The key stays in the request.
    pub forward: bool,
    /// The client goes here.
    pub client_header: Option<String>,
}

/// A client's secret: exactly one of `key` and `sha256` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whose it is.
    pub client: String,
    /// The secret.
    #[serde(default)]
    pub key: Option<String>,
    /// Its SHA-256, in hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Names and passwords (RFC 7617).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Basic {
    /// What clients are told to log in to.
    #[serde(default = "restricted")]
    pub realm: String,
    /// Who may log in.
    pub users: Vec<User>,
    /// The credential stays in the request.
    #[serde(default)]
    pub forward: bool,
    /// The name goes here.
    #[serde(default)]
    pub user_header: Option<String>,
}

fn restricted() -> String {
    "restricted".into()
}

/// A user: exactly one of `htpasswd`, `password` and `sha256` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// As `htpasswd -s` writes it: `{SHA}` and base64.
    #[serde(default)]
    pub htpasswd: Option<String>,
    /// The password.
    #[serde(default)]
    pub password: Option<String>,
    /// Its SHA-256, in hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// What some requests need.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What they need.
    pub require: Require,
}

/// What a request needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Require {
    /// Nothing.
    None,
    /// What one of these providers accepts.
    AnyOf(Vec<String>),
    /// What all of these providers accept.
    AllOf(Vec<String>),
    /// Nothing, or what one of these providers accepts.
    AllowMissing(Vec<String>),
}
