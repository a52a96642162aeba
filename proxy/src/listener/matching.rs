//! Which filter chain takes a connection: Envoy's rules ("`FilterChainMatch`" in its documentation), compiled.
//!
//! Criterion by criterion, the most specific value wins, and a choice is never taken back: a connection for a port that
//! some chain names goes to one of those chains or to none but the default one.

use std::collections::HashMap;

use leno_model::listener::{ChainMatch, Listener, TransportProtocol};

/// Chooses among the chains of one listener, by their positions in [`Listener::chains`].
#[derive(Debug, Default)]
pub struct Matcher {
    ports: HashMap<Option<u16>, Names>,
    default: Option<usize>,
    inspects: bool,
}

/// What a connection shows before anything of it is read but its first bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The port that it came to.
    pub port: u16,
    /// What it is.
    pub transport: TransportProtocol,
    /// The name it asks for, lower case; empty when it asks for none.
    pub server_name: &'a str,
    /// What it offers in ALPN.
    pub protocols: &'a [&'a [u8]],
}

#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, Transports>,
    /// By what follows the `*`, with its dot.
    endings: HashMap<String, Transports>,
    any: Transports,
}

#[derive(Debug, Default)]
struct Transports {
    by_name: HashMap<TransportProtocol, Protocols>,
    any: Protocols,
}

#[derive(Debug, Default)]
struct Protocols {
    by_name: HashMap<Vec<u8>, usize>,
    any: Option<usize>,
}

impl Matcher {
    /// For the chains of `listener`.
    #[must_use]
    pub fn new(listener: &Listener) -> Self {
        let default = listener.default_filter_chain.is_some();
        let mut matcher = Self {
            default: default.then_some(listener.filter_chains.len()),
            inspects: listener.inspects_tls,
            ports: HashMap::new(),
        };
        for (position, chain) in listener.filter_chains.iter().enumerate() {
            matcher.add(&chain.matches, position);
        }
        matcher
    }

    /// Whether the first bytes of a connection must be seen to choose.
    #[must_use]
    pub fn inspects(&self) -> bool {
        self.inspects
    }

    /// The chain for a connection.
    #[must_use]
    pub fn choose(&self, shown: &Shown<'_>) -> Option<usize> {
        let port = self
            .ports
            .get(&Some(shown.port))
            .or_else(|| self.ports.get(&None));
        port.and_then(|names| names.choose(shown)).or(self.default)
    }

    fn add(&mut self, matches: &ChainMatch, position: usize) {
        self.inspects |= !matches.server_names.is_empty()
            || !matches.application_protocols.is_empty()
            || matches.transport.is_some();
        let names = self.ports.entry(matches.destination_port).or_default();
        if matches.server_names.is_empty() {
            names.any.add(matches, position);
        }
        for name in &matches.server_names {
            let transports = match name.strip_prefix('*') {
                Some(ending) => names.endings.entry(ending.to_owned()).or_default(),
                None => names.exact.entry(name.clone()).or_default(),
            };
            transports.add(matches, position);
        }
    }
}

impl Names {
    fn choose(&self, shown: &Shown<'_>) -> Option<usize> {
        let exact = self.exact.get(shown.server_name);
        let found = exact
            .or_else(|| self.ending(shown.server_name))
            .unwrap_or(&self.any);
        found.choose(shown)
    }

    /// The longest one first; a `*` stands for one label or more.
    fn ending(&self, name: &str) -> Option<&Transports> {
        if self.endings.is_empty() {
            return None;
        }
        let dots = name.match_indices('.').map(|(at, _)| at);
        dots.filter(|at| *at > 0)
            .find_map(|at| self.endings.get(&name[at..]))
    }
}

impl Transports {
    fn add(&mut self, matches: &ChainMatch, position: usize) {
        let protocols = match matches.transport {
            Some(transport) => self.by_name.entry(transport).or_default(),
            None => &mut self.any,
        };
        if matches.application_protocols.is_empty() {
            protocols.any = Some(position);
        }
        for name in &matches.application_protocols {
            protocols.by_name.insert(name.clone().into_bytes(), position);
        }
    }

    fn choose(&self, shown: &Shown<'_>) -> Option<usize> {
        let protocols = self.by_name.get(&shown.transport).unwrap_or(&self.any);
        let mut offered = shown.protocols.iter();
        offered
            .find_map(|name| protocols.by_name.get(*name).copied())
            .or(protocols.any)
    }
}

#[cfg(test)]
mod tests {
    use leno_model::http::HttpConnectionManager;
    use leno_model::listener::{ChainMatch, FilterChain, Listener, TransportProtocol};

    use super::{Matcher, Shown};

    fn chain(
        port: Option<u16>,
        names: &[&str],
        transport: Option<TransportProtocol>,
        alpn: &[&str],
    ) -> FilterChain {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        FilterChain {
            matches: ChainMatch {
                destination_port: port,
                server_names: texts(names),
                transport,
                application_protocols: texts(alpn),
            },
            ..FilterChain::http(HttpConnectionManager::default())
        }
    }

    fn listener(chains: Vec<FilterChain>, default: bool) -> Matcher {
        let any = FilterChain::http(HttpConnectionManager::default());
        Matcher::new(&Listener {
            filter_chains: chains,
            default_filter_chain: default.then(|| any.clone()),
            ..Listener::new("l", "127.0.0.1:80".parse().unwrap(), any)
        })
    }

    const TLS: Option<TransportProtocol> = Some(TransportProtocol::Tls);

    #[track_caller]
    fn check(matcher: &Matcher, port: u16, name: &str, alpn: &[&[u8]], expected: Option<usize>) {
        let shown = Shown {
            port,
            transport: TransportProtocol::Tls,
            server_name: name,
            protocols: alpn,
        };
        assert_eq!(matcher.choose(&shown), expected, "{port} {name} {alpn:?}");
    }

    #[test]
    fn the_most_specific_name_wins() {
        let chains = vec![
            chain(None, &["*.example.com"], None, &[]),
            chain(None, &["a.example.com", "*.b.example.com"], None, &[]),
            chain(None, &[], None, &[]),
        ];
        let matcher = listener(chains, false);
        assert!(matcher.inspects());
        for (name, expected) in [
            ("a.example.com", 1),
            ("x.example.com", 0),
            ("x.y.example.com", 0),
            ("x.b.example.com", 1),
            ("b.example.com", 0),
            ("example.com", 2),
            (".example.com", 2),
            ("other", 2),
            ("", 2),
        ] {
            check(&matcher, 80, name, &[], Some(expected));
        }
    }

    #[test]
    fn a_choice_is_not_taken_back() {
        let chains = vec![
            chain(Some(443), &["a.test"], None, &[]),
            chain(None, &["b.test"], TLS, &["h2"]),
            chain(None, &[], None, &["http/1.1"]),
        ];
        let with_default = listener(chains.clone(), true);
        let without = listener(chains, false);
        for (matcher, default) in [(&with_default, Some(3)), (&without, None)] {
            check(matcher, 443, "a.test", &[], Some(0));
            // The port decides first: what other chains say of this name does not matter.
            check(matcher, 443, "b.test", &[b"h2"], default);
            check(matcher, 80, "b.test", &[b"x", b"h2"], Some(1));
            check(matcher, 80, "b.test", &[b"http/1.1"], default);
            check(matcher, 80, "c.test", &[b"h2", b"http/1.1"], Some(2));
            check(matcher, 80, "", &[], default);
        }
    }

    #[test]
    fn plain_and_encrypted_are_told_apart() {
        let raw = Some(TransportProtocol::RawBuffer);
        let matcher = listener(
            vec![chain(None, &[], raw, &[]), chain(None, &[], TLS, &[])],
            false,
        );
        assert!(matcher.inspects());
        check(&matcher, 80, "", &[], Some(1));
        let plain = Shown {
            port: 80,
            transport: TransportProtocol::RawBuffer,
            server_name: "",
            protocols: &[],
        };
        assert_eq!(matcher.choose(&plain), Some(0));
        assert!(!listener(vec![chain(Some(80), &[], None, &[])], true).inspects());
    }
}
