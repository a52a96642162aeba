//! Where requests may go: not to the services of this machine or of the cloud below it.
//!
//! A registry names other servers (redirects, token realms, upload locations); a hostile one would have us call
//! what only we can reach.

use std::net::IpAddr;

use reqwest::Url;

use crate::answer::without_query;
use crate::error::Error;
use crate::reference::is_loopback_host;

const MAX_REDIRECTS: usize = 5;

/// Cloud metadata services live on link-local addresses; no registry does.
fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                // The same service of a large cloud, over IPv6.
                || v6.segments() == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254]
        }
    }
}

pub(crate) fn check_host(url: &Url) -> Result<(), Error> {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match address.is_ok_and(is_forbidden) {
        true => Err(Error::Protocol {
            url: without_query(url.as_str()),
            reason: format!("refused: {host} is an address at which no registry can be"),
        }),
        false => Ok(()),
    }
}

/// Follows a few redirects to places that the first address could have named.
pub(crate) fn redirect(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let first = &attempt.previous()[0];
    let local = |url: &Url| is_loopback_host(url.host_str().unwrap_or_default());
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(format!("more than {MAX_REDIRECTS} redirects"));
    }
    if first.scheme() == "https" && attempt.url().scheme() != "https" {
        return attempt.error("refused: it redirects from https to http");
    }
    if check_host(attempt.url()).is_err() || (local(attempt.url()) && !local(first)) {
        return attempt.error("refused: it redirects to an address of this machine or its host");
    }
    attempt.follow()
}

/// The system's resolver, minus the addresses that no registry has.
pub(crate) struct Resolver;

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found.filter(|address| !is_forbidden(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} has no address that a registry can have", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_refused() {
        let forbidden = |text: &str| is_forbidden(text.parse().unwrap());
        assert!(forbidden("169.254.169.254") && forbidden("fe80::1") && forbidden("fd00:ec2::254"));
        assert!(forbidden("::ffff:169.254.169.254") && forbidden("0.0.0.0") && forbidden("::"));
        assert!(!forbidden("127.0.0.1") && !forbidden("10.0.0.1") && !forbidden("fd00::1"));
        assert!(check_host(&Url::parse("http://[fe80::1]:80/x").unwrap()).is_err());
    }
}
