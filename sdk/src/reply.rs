//! Answering instead of the upstream.

use crate::exchange::Handle;
#[cfg(target_family = "wasm")]
use crate::host::ExchangeHost as _;
use crate::host::LocalReply;
use crate::plugin::{BodyVerdict, HeadersVerdict, TrailersVerdict};

/// An answer that is being put together. Nothing happens before [`send`](Self::send).
#[must_use = "a reply is sent with `send`"]
pub struct Reply<'a> {
    handle: &'a Handle,
    reply: LocalReply,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(handle: &'a Handle, status: u16) -> Self {
        Self {
            handle,
            reply: LocalReply {
                status,
                ..LocalReply::default()
            },
        }
    }

    /// One more field, after those given so far.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.reply
            .headers
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The body; `text/plain` unless a field says otherwise.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.reply.body = body.into();
        self
    }

    /// What a gRPC client is told; taken from the status otherwise.
    pub fn grpc_status(mut self, status: u32) -> Self {
        self.reply.grpc_status = Some(status);
        self
    }

    /// Why, for the access log: one word, `_` for blanks.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.reply.details = details.into();
        self
    }

    /// Sends it. The first reply of an exchange wins. The callback should return what this returns.
    pub fn send(self) -> Replied {
        self.handle.host().reply(self.reply);
        Replied(())
    }
}

/// The exchange has its answer: `.into()` makes the verdict to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replied(());

impl From<Replied> for HeadersVerdict {
    fn from(_: Replied) -> Self {
        Self::Hold
    }
}

impl From<Replied> for BodyVerdict {
    fn from(_: Replied) -> Self {
        Self::Buffer
    }
}

impl From<Replied> for TrailersVerdict {
    fn from(_: Replied) -> Self {
        Self::Hold
    }
}
