//! Heads that an upstream sends before its final one (RFC 9110 §15.2: a proxy forwards them).

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Notify;

use super::Story;
use crate::http::error::{StreamError, StreamErrorKind};
use crate::http::message::ResponseHead;
use crate::http::server::ResponseWriter;

/// Those that the downstream has not got yet. Filters do not see them, as in Envoy.
#[derive(Default)]
pub(super) struct Interim {
    heads: RefCell<VecDeque<ResponseHead>>,
    more: Notify,
}

impl Interim {
    /// One has come. `100 Continue` is for us: whoever waits for it was told to go on by us.
    pub(super) fn push(&self, head: ResponseHead) {
        if head.status() != Some(100) {
            self.heads.borrow_mut().push_back(head);
            self.more.notify_one();
        }
    }

    /// Resolves when there is something to deliver. Cancel safe.
    pub(super) async fn arrived(&self) {
        self.more.notified().await;
    }

    /// Whether there is something to deliver.
    pub(super) fn is_waiting(&self) -> bool {
        !self.heads.borrow().is_empty()
    }

    fn pop(&self) -> Option<ResponseHead> {
        self.heads.borrow_mut().pop_front()
    }
}

impl Story {
    /// Writes what has come, unless there is another answer by now.
    pub(super) async fn deliver_interim(&self, writer: &mut ResponseWriter) -> Result<(), StreamError> {
        while let Some(head) = self.interim.pop() {
            if self.chain.has_replied() || self.head_written.get() {
                continue;
            }
            match writer.informational(&head).await {
                // What the downstream's version cannot carry is left out: it is only a hint.
                Ok(())
                | Err(StreamError {
                    kind: StreamErrorKind::Unsendable(_),
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
