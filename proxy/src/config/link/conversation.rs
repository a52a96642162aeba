//! Between an ADS session and the store: one update of a kind at a time, and every answer to the response it is for.
//! Sans-IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use leno_model::bootstrap::{AdsVariant, Bootstrap};
use leno_model::invalid::Invalid;
use leno_xds::ads::client::{Refused, Session, Wanted};
use leno_xds::ads::message::{ClientMessage, Node, ServerMessage};
use leno_xds::resource::Kind;

use crate::config::store::{Token, Update, Versioned};

/// See the module.
pub(super) struct Conversation {
    session: Session,
    /// The update of each kind that has no answer yet.
    open: BTreeMap<Kind, u64>,
    /// Responses of a kind that wait for the one before them to be answered.
    waiting: VecDeque<(Kind, ServerMessage)>,
    next: u64,
}

impl Conversation {
    /// For the node and the server of `bootstrap`; asks for what it discovers.
    pub(super) fn new(bootstrap: &Bootstrap, variant: AdsVariant) -> Self {
        let mut session = Session::new(Node::of_this_program(&bootstrap.node), variant);
        // Clusters first: routes and listeners name them.
        let wanted = [
            (Kind::Cluster, bootstrap.dynamic.clusters),
            (Kind::Listener, bootstrap.dynamic.listeners),
        ];
        for (kind, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            let nothing_to_send = session.subscribe(kind, Wanted::All);
            debug_assert!(nothing_to_send.is_none(), "there is no stream yet");
        }
        Self {
            session,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
        }
    }

    /// A stream stands: what to send.
    pub(super) fn on_connected(&mut self) -> Vec<ClientMessage> {
        self.session.on_connected()
    }

    /// The stream is gone: when to try again. Answers to what came over it are not wanted any more.
    pub(super) fn on_disconnected(&mut self, now: Instant, random: f64) -> Instant {
        self.open.clear();
        self.waiting.clear();
        self.session.on_disconnected(now, random)
    }

    /// The server said something: what the store should hear now.
    pub(super) fn on_message(&mut self, message: ServerMessage) -> Option<Update> {
        let type_url = match &message {
            ServerMessage::Sotw(response) => &response.type_url,
            ServerMessage::Delta(response) => &response.type_url,
        };
        let Some(kind) = Kind::from_type_url(type_url) else {
            tracing::warn!(
                code = "ads_type",
                type_url,
                "the server sends a type that was not asked for"
            );
            return None;
        };
        if self.open.contains_key(&kind) {
            self.waiting.push_back((kind, message));
            return None;
        }
        self.read(kind, message)
    }

    /// The store has answered: what to send, and what it should hear next.
    pub(super) fn on_answer(
        &mut self,
        token: Token,
        refused: Vec<(String, String)>,
    ) -> (Option<ClientMessage>, Option<Update>) {
        if self.open.get(&token.kind) != Some(&token.number) {
            return (None, None);
        }
        self.open.remove(&token.kind);
        let refused = refused.into_iter().map(|(name, reason)| Refused {
            name,
            reason: Invalid::new("", reason),
        });
        let answer = self.session.answer(token.kind, refused.collect());
        let mut next = None;
        while next.is_none()
            && let Some(at) = self.waiting.iter().position(|(kind, _)| *kind == token.kind)
            && let Some((kind, message)) = self.waiting.remove(at)
        {
            next = self.read(kind, message);
        }
        (answer, next)
    }

    /// The store wants these names: what to send.
    pub(super) fn on_subscribe(&mut self, kind: Kind, names: BTreeSet<String>) -> Option<ClientMessage> {
        self.session.subscribe(kind, Wanted::Names(names))
    }

    /// How many responses wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn read(&mut self, kind: Kind, message: ServerMessage) -> Option<Update> {
        let update = self.session.on_message(message)?;
        self.next += 1;
        self.open.insert(kind, self.next);
        let versioned = |(resource, version)| Versioned { resource, version };
        let refused = update
            .refused
            .into_iter()
            .map(|refused| (refused.name, refused.reason.to_string()));
        Some(Update {
            token: Some(Token {
                kind,
                number: self.next,
            }),
            kind,
            resources: update.resources.into_iter().map(versioned).collect(),
            refused: refused.collect(),
            removed: update.removed,
            version: update.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use leno_model::bootstrap::{AdsVariant, Bootstrap, Dynamic};
    use leno_xds::ads::message::{ClientMessage, Response, ServerMessage};
    use leno_xds::resource::Kind;

    use super::Conversation;

    fn conversation() -> Conversation {
        let bootstrap = Bootstrap {
            dynamic: Dynamic {
                clusters: true,
                ..Dynamic::default()
            },
            ..Bootstrap::default()
        };
        Conversation::new(&bootstrap, AdsVariant::StateOfTheWorld)
    }

    fn response(nonce: &str) -> ServerMessage {
        ServerMessage::Sotw(Response {
            type_url: Kind::Cluster.type_url().to_owned(),
            version: format!("v{nonce}"),
            nonce: nonce.to_owned(),
            ..Response::default()
        })
    }

    fn said(message: Option<ClientMessage>) -> (String, Option<String>) {
        match message {
            Some(ClientMessage::Sotw(request)) => (request.nonce, request.error),
            other => panic!("an answer, not {other:?}"),
        }
    }

    #[test]
    fn a_response_waits_until_the_one_before_it_is_answered() {
        let mut conversation = conversation();
        assert_eq!(conversation.on_connected().len(), 1);
        let first = conversation.on_message(response("1")).unwrap();
        assert!(conversation.on_message(response("2")).is_none());
        assert_eq!(conversation.waiting(), 1);
        let refused = vec![("c".to_owned(), "no".to_owned())];
        let (answer, second) = conversation.on_answer(first.token.unwrap(), refused);
        let (nonce, error) = said(answer);
        assert_eq!(nonce, "1");
        assert!(error.unwrap().contains("'c': no"));
        let (answer, third) = conversation.on_answer(second.unwrap().token.unwrap(), Vec::new());
        assert_eq!(said(answer), ("2".to_owned(), None));
        assert!(third.is_none());
    }

    #[test]
    fn answers_to_a_stream_that_is_gone_are_dropped() {
        let mut conversation = conversation();
        conversation.on_connected();
        let old = conversation.on_message(response("1")).unwrap();
        conversation.on_disconnected(Instant::now(), 0.5);
        conversation.on_connected();
        let new = conversation.on_message(response("2")).unwrap();
        assert!(conversation.on_answer(old.token.unwrap(), Vec::new()).0.is_none());
        let (answer, _) = conversation.on_answer(new.token.unwrap(), Vec::new());
        assert_eq!(said(answer).0, "2");
    }

    #[test]
    fn types_that_nobody_asked_for_are_passed_over() {
        let mut conversation = conversation();
        conversation.on_connected();
        let strange = ServerMessage::Sotw(Response {
            type_url: "type.googleapis.com/strange".to_owned(),
            ..Response::default()
        });
        assert!(conversation.on_message(strange).is_none());
    }
}
