//! Why a request is refused, in the words that Envoy's filters use.

use leno_sdk::{Handle, Map, Replied};

/// Why a credential is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    /// The scheme that the client should use, or has used wrongly.
    pub(crate) challenge: Challenge,
    /// There was no credential, rather than a bad one.
    pub(crate) is_missing: bool,
    /// Prefix of the details.
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    None,
    Bearer,
    Basic(String),
}

impl Denial {
    pub(crate) fn jwt(body: &'static str) -> Self {
        let kind = "jwt_authn_access_denied";
        Self {
            status: 401,
            body,
            challenge: Challenge::Bearer,
            is_missing: false,
            kind,
        }
    }

    pub(crate) fn missing(self) -> Self {
        Self {
            is_missing: true,
            ..self
        }
    }

    pub(crate) fn forbidden(self) -> Self {
        Self {
            status: 403,
            challenge: Challenge::None,
            ..self
        }
    }

    pub(crate) fn no_rule() -> Self {
        let body = "no rule allows this request";
        Self {
            status: 403,
            body,
            challenge: Challenge::None,
            is_missing: false,
            kind: "auth_denied",
        }
    }

    /// Answers. `others` are further schemes that the client could have used.
    pub(crate) fn send(&self, handle: &Handle, others: &[Challenge]) -> Replied {
        let details = format!("{}{{{}}}", self.kind, self.body.replace(' ', "_"));
        let mut reply = handle.reply(self.status).body(self.body).details(details);
        if self.status == 401 {
            let mut all = vec![self.challenge.clone()];
            all.extend(others.iter().filter(|other| **other != self.challenge).cloned());
            for challenge in all {
                if let Some(value) = challenge.value(handle, self.is_missing) {
                    reply = reply.header("www-authenticate", value);
                }
            }
        }
        reply.send()
    }
}

impl Challenge {
    /// RFC 9110, 11.6.1; RFC 6750, 3; RFC 7617, 2.
    fn value(&self, handle: &Handle, is_missing: bool) -> Option<String> {
        match self {
            Self::None => None,
            Self::Basic(realm) => Some(format!("Basic realm=\"{realm}\"")),
            Self::Bearer => {
                let headers = handle.fields(Map::RequestHeaders);
                let field = |name: &str| headers.text(name).unwrap_or_default();
                let scheme = headers
                    .text("x-forwarded-proto")
                    .or_else(|| headers.text(":scheme"));
                let scheme = scheme
                    .filter(|scheme| !scheme.is_empty())
                    .unwrap_or_else(|| "http".to_owned());
                let path = field(":path");
                let path = path.split(['?', '#']).next().unwrap_or_default();
                let realm = format!("{scheme}://{}{path}", field(":authority")).replace(['"', '\\'], "");
                let error = if is_missing {
                    ""
                } else {
                    ", error=\"invalid_token\""
                };
                Some(format!("Bearer realm=\"{realm}\"{error}"))
            }
        }
    }
}
