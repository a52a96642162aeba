//! `WWW-Authenticate` challenges (RFC 9110 section 11.6.1) and the token protocol of the distribution project.

use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};

use crate::keychain::Credential;

/// What a registry wants before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// All challenges that we can answer, in the order of the headers.
pub(crate) fn challenges<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Vec<Challenge> {
    values
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_challenges)
        .collect()
}

/// A token says less about us than a password does.
pub(crate) fn strongest(challenges: Vec<Challenge>) -> Option<Challenge> {
    let bearer = challenges
        .iter()
        .find(|challenge| matches!(challenge, Challenge::Bearer { .. }))
        .cloned();
    bearer.or_else(|| challenges.into_iter().next())
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    )
}

/// The request for a token: GET with a password or anonymously, POST with an identity token (OAuth 2).
pub(crate) fn request(
    http: &Client,
    mut realm: Url,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> RequestBuilder {
    if let Some(Credential::IdentityToken(token)) = credential {
        // The URL type is used here for its form encoding only.
        let mut form = realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "leno")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", scope)
            .append_pair("refresh_token", token);
        return http
            .post(realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
    }
    {
        let mut query = realm.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", scope);
    }
    match credential {
        Some(Credential::Password { user, password }) => {
            http.get(realm).header(AUTHORIZATION, basic(user, password))
        }
        _ => http.get(realm),
    }
}

/// The `Authorization` value and its lifetime from a token server's answer.
pub(crate) fn parse(body: &[u8]) -> Result<(String, Duration), String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "the token server's answer is not a token document".to_owned())?;
    let token = [answer.token, answer.access_token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty());
    let token = token.ok_or("the token server's answer has no token")?;
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token holds characters that no token has".to_owned());
    }
    // Without `expires_in` a token lives 60 s (distribution project, token specification).
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(60).clamp(1, 24 * 3600));
    Ok((format!("Bearer {token}"), lifetime))
}

fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut scheme = String::new();
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=')
            && !word.is_empty()
        {
            let (value, remaining) = parse_value(value.trim_start());
            parameters.push((word.to_ascii_lowercase(), value));
            rest = remaining;
        } else {
            if !word.is_empty() {
                found.extend(finish(&scheme, std::mem::take(&mut parameters)));
                scheme = word.to_ascii_lowercase();
            }
            rest = after.strip_prefix('=').unwrap_or(after);
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    found.extend(finish(&scheme, parameters));
    found
}

/// A token or a quoted string, and what follows it.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

fn finish(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let find = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let realm = find("realm").filter(|realm| !realm.is_empty())?;
            Some(Challenge::Bearer {
                realm,
                service: find("service"),
                scope: find("scope"),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn reads_challenges() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse_challenges(hub),
            [bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            )]
        );
        assert_eq!(
            parse_challenges(r#"Basic realm="Registry Realm""#),
            [Challenge::Basic]
        );
        let both = r#"Basic realm="a \" b", Bearer realm=https://t, service = "s""#;
        assert_eq!(
            parse_challenges(both),
            [Challenge::Basic, bearer("https://t", Some("s"), None)]
        );
        assert_eq!(
            strongest(parse_challenges(both)),
            Some(bearer("https://t", Some("s"), None))
        );
    }

    #[test]
    fn ends_on_any_input() {
        for header in [
            "",
            "=",
            ",,,",
            "Bearer",
            "Bearer =",
            "Bearer realm=",
            "Digest a=b",
            "Bearer realm=\"x",
            "= = =",
        ] {
            let found = parse_challenges(header);
            assert!(found.is_empty() || header.contains("\"x"), "{header}: {found:?}");
        }
    }

    #[test]
    fn reads_tokens() {
        assert_eq!(
            parse(br#"{"token":"t"}"#),
            Ok(("Bearer t".into(), Duration::from_secs(60)))
        );
        assert_eq!(
            parse(br#"{"access_token":"a","expires_in":300}"#),
            Ok(("Bearer a".into(), Duration::from_secs(300)))
        );
        assert!(parse(br#"{"token":"a\nb"}"#).is_err());
        assert!(parse(br#"{}"#).is_err());
        assert!(parse(b"<html>").is_err());
    }
}
