//! How an exchange ended, and assertions on it.

use std::collections::BTreeMap;

use super::message::Message;
use super::text;
use crate::host::LocalReply;

/// How an exchange ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the upstream received. Without headers: nothing.
    pub upstream: Message,
    /// What the client received. Without headers: nothing.
    pub response: Message,
    /// The answer that the filter gave.
    pub reply: Option<LocalReply>,
    /// Both messages have passed the filter to their end.
    pub complete: bool,
    /// The filter ended the exchange without an answer.
    pub reset: bool,
    /// The filter asked for another choice of the route.
    pub cleared_route: bool,
    /// Attributes that the test or the filter has set.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The guest broke.
    pub trap: Option<String>,
    /// The guest broke in another exchange that shares its memory.
    pub failed: bool,
}

impl Outcome {
    /// The status that the client received.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response.header(":status")?.parse().ok()
    }

    /// The upstream was asked, and the client received this status.
    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.trap, None, "the guest broke");
        assert_eq!(self.reply, None, "the filter answered itself");
        assert!(self.complete, "the exchange is still held: {self:?}");
        assert_eq!(self.status(), Some(status));
        self
    }

    /// The filter answered itself, with this status.
    #[track_caller]
    pub fn assert_reply(&self, status: u16) -> &Self {
        assert_eq!(self.trap, None, "the guest broke");
        assert_eq!(
            self.reply.as_ref().map(|reply| reply.status),
            Some(status),
            "{self:?}"
        );
        self
    }

    /// The client received this body.
    #[track_caller]
    pub fn assert_body(&self, body: impl AsRef<[u8]>) -> &Self {
        assert_eq!(text(&self.response.body), text(body.as_ref()));
        self
    }

    /// The reply has these details.
    #[track_caller]
    pub fn assert_details(&self, details: &str) -> &Self {
        assert_eq!(
            self.reply.as_ref().map(|reply| reply.details.as_str()),
            Some(details)
        );
        self
    }

    /// The client received this field.
    #[track_caller]
    pub fn assert_header(&self, name: &str, value: &str) -> &Self {
        assert_eq!(
            self.response.header(name).as_deref(),
            Some(value),
            "{name} of the response"
        );
        self
    }

    /// The client did not receive such a field.
    #[track_caller]
    pub fn assert_no_header(&self, name: &str) -> &Self {
        assert_eq!(self.response.header(name), None, "{name} of the response");
        self
    }

    /// The upstream received this field.
    #[track_caller]
    pub fn assert_upstream_header(&self, name: &str, value: &str) -> &Self {
        assert_eq!(
            self.upstream.header(name).as_deref(),
            Some(value),
            "{name} of the request"
        );
        self
    }

    /// The upstream did not receive such a field.
    #[track_caller]
    pub fn assert_no_upstream_header(&self, name: &str) -> &Self {
        assert_eq!(self.upstream.header(name), None, "{name} of the request");
        self
    }

    /// The upstream received this body.
    #[track_caller]
    pub fn assert_upstream_body(&self, body: impl AsRef<[u8]>) -> &Self {
        assert_eq!(text(&self.upstream.body), text(body.as_ref()));
        self
    }
}
