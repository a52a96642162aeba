//! The connected proxies, and what each has said of what it was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use leno_xds::ads::message::{Node, ServerMessage};
use leno_xds::ads::server::Event;
use leno_xds::resource::Kind;

use crate::translate::scope::View;

/// The connected proxies. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    proxies: BTreeMap<u64, Entry>,
    counts: BTreeMap<Kind, Counts>,
}

/// Since the start, over all proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Responses that were sent.
    pub(super) pushed: u64,
    /// Responses that proxies took.
    pub(super) accepted: u64,
    /// Responses that proxies refused, at least in part.
    pub(super) refused: u64,
}

/// A proxy.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Who it says it is.
    pub(super) node: Node,
    /// What it is to us.
    pub(super) view: View,
    /// Seconds since 1970.
    pub(super) connected: u64,
    /// What it said, by kind.
    pub(super) said: Said,
}

/// What a proxy said last.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Of each kind; versions are those of the set.
    pub(super) kinds: BTreeMap<Kind, Answer>,
    /// Of each filter configuration; versions are those of the one resource.
    pub(super) filters: BTreeMap<String, Answer>,
}

/// To what it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It runs this version.
    Accepted(String),
    /// It does not, for this reason.
    Refused(String),
}

/// A connected proxy, for as long as it lives.
#[derive(Debug)]
pub struct Registration {
    known: Arc<Mutex<Known>>,
    id: u64,
}

impl Proxies {
    /// Adds a proxy until the registration is dropped.
    pub fn register(&self, node: &Node, view: &View) -> Registration {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.last += 1;
        let id = known.last;
        let connected = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        tracing::info!(node = node.id, agent = node.user_agent_name, "proxy connected");
        known.proxies.insert(
            id,
            Entry {
                node: node.clone(),
                view: view.clone(),
                connected,
                said: Said::default(),
            },
        );
        Registration {
            known: Arc::clone(&self.known),
            id,
        }
    }

    /// Counts a response.
    pub fn sent(&self, message: &ServerMessage) {
        let type_url = match message {
            ServerMessage::Sotw(response) => &response.type_url,
            ServerMessage::Delta(response) => &response.type_url,
        };
        if let Some(kind) = Kind::from_type_url(type_url) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.counts.entry(kind).or_default().pushed += 1;
        }
    }

    /// What was sent and answered, by kind.
    pub(super) fn counts(&self) -> BTreeMap<Kind, Counts> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.counts.clone()
    }

    /// All of them, in the order in which they came.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.proxies.values().cloned().collect()
    }
}

impl Registration {
    /// Remembers what the proxy said.
    pub fn note(&self, event: &Event) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Accepted { kind, .. } => known.counts.entry(*kind).or_default().accepted += 1,
            Event::Refused { kind, .. } => known.counts.entry(*kind).or_default().refused += 1,
            Event::Connected(_) | Event::Claimed { .. } | Event::UnknownType(_) => {}
        }
        let Some(entry) = known.proxies.get_mut(&self.id) else {
            return;
        };
        let node = &entry.node.id;
        match event {
            Event::Refused { kind, reason, .. } => {
                let kind = kind.noun();
                tracing::error!(node, kind, reason, "refused by the proxy; it keeps what it has");
            }
            Event::UnknownType(type_url) => {
                tracing::warn!(node, type_url, "asks for a type that is not served");
            }
            Event::Connected(_) | Event::Claimed { .. } | Event::Accepted { .. } => {}
        }
        entry.said.note(event);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.proxies.remove(&self.id) {
            tracing::info!(node = entry.node.id, "proxy disconnected");
        }
    }
}

impl Said {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Connected(_) | Event::UnknownType(_) => {}
            Event::Claimed { kind, versions } => {
                for (name, version) in versions {
                    self.of_resource(*kind, name, Some(Answer::Accepted(version.clone())));
                }
            }
            Event::Accepted {
                kind,
                version,
                versions,
            } => {
                for (name, version) in versions {
                    self.of_resource(*kind, name, version.clone().map(Answer::Accepted));
                }
                self.kinds.insert(*kind, Answer::Accepted(version.clone()));
            }
            Event::Refused {
                kind,
                versions,
                reason,
                ..
            } => {
                // A refusal speaks of the resources that it names, the others were taken; or of all, if it names none.
                let names_some = versions.keys().any(|name| reason.contains(name.as_str()));
                for (name, version) in versions {
                    let answer = if names_some && !reason.contains(name.as_str()) {
                        version.clone().map(Answer::Accepted)
                    } else {
                        Some(Answer::Refused(reason.clone()))
                    };
                    self.of_resource(*kind, name, answer);
                }
                self.kinds.insert(*kind, Answer::Refused(reason.clone()));
            }
        }
    }

    /// Of what was removed there is nothing to say.
    fn of_resource(&mut self, kind: Kind, name: &str, answer: Option<Answer>) {
        if kind != Kind::Filter {
            return;
        }
        match answer {
            Some(answer) => drop(self.filters.insert(name.to_owned(), answer)),
            None => drop(self.filters.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use leno_xds::ads::message::{Node, Response, ServerMessage};
    use leno_xds::ads::server::Event;
    use leno_xds::resource::Kind;

    use super::{Answer, Counts, Proxies, Said};
    use crate::translate::scope::View;

    fn versions(of: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        let of = of.iter();
        of.map(|(name, version)| ((*name).to_owned(), version.map(str::to_owned)))
            .collect()
    }

    fn refused(of: &[(&str, Option<&str>)], reason: &str) -> Event {
        Event::Refused {
            kind: Kind::Filter,
            version: "set".to_owned(),
            versions: versions(of),
            reason: reason.to_owned(),
        }
    }

    fn check(said: &Said, want: &[(&str, Answer)]) {
        let want = want.iter();
        let want: BTreeMap<_, _> = want
            .map(|(name, answer)| ((*name).to_owned(), answer.clone()))
            .collect();
        assert_eq!(said.filters, want);
    }

    fn runs(version: &str) -> Answer {
        Answer::Accepted(version.to_owned())
    }

    #[test]
    fn what_a_proxy_runs_is_known_by_version() {
        let mut said = Said::default();
        said.note(&Event::Claimed {
            kind: Kind::Filter,
            versions: [
                ("auth".to_owned(), "1".to_owned()),
                ("old".to_owned(), "1".to_owned()),
            ]
            .into(),
        });
        check(&said, &[("auth", runs("1")), ("old", runs("1"))]);
        said.note(&Event::Accepted {
            kind: Kind::Filter,
            version: "set".to_owned(),
            versions: versions(&[("auth", Some("2")), ("old", None)]),
        });
        check(&said, &[("auth", runs("2"))]);
        assert_eq!(said.kinds[&Kind::Filter], runs("set"));
    }

    #[test]
    fn a_refusal_speaks_of_what_it_names_or_of_all() {
        let both = [("auth", Some("2")), ("routing", Some("2"))];
        let mut said = Said::default();
        said.note(&refused(&both, "auth does not start"));
        let no = |reason: &str| Answer::Refused(reason.to_owned());
        check(
            &said,
            &[("auth", no("auth does not start")), ("routing", runs("2"))],
        );
        said.note(&refused(&both, "no"));
        check(&said, &[("auth", no("no")), ("routing", no("no"))]);
        assert_eq!(said.kinds[&Kind::Filter], no("no"));
    }

    #[test]
    fn what_is_sent_and_answered_is_counted_beyond_the_stream() {
        let proxies = Proxies::default();
        let view = View::of_node("router~127.0.0.1~gateway.n~n.svc", "leno", &serde_json::json!({}));
        let registration = proxies.register(&Node::default(), &view.expect("a view"));
        for type_url in [Kind::Filter.type_url(), Kind::Filter.type_url(), "unknown"] {
            proxies.sent(&ServerMessage::Sotw(Response {
                type_url: type_url.to_owned(),
                ..Response::default()
            }));
        }
        registration.note(&refused(&[], "no"));
        registration.note(&Event::Accepted {
            kind: Kind::Filter,
            version: "set".to_owned(),
            versions: BTreeMap::new(),
        });
        drop(registration);
        let counts = Counts {
            pushed: 2,
            accepted: 1,
            refused: 1,
        };
        assert_eq!(proxies.counts(), BTreeMap::from([(Kind::Filter, counts)]));
    }
}
