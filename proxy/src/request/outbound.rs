//! The request on its way from the filters to an upstream: what has left the chain and is not sent yet, and what is
//! kept in case it must be sent again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::chain::Flow;
use crate::http::client::RequestWriter;
use crate::http::error::StreamError;
use crate::http::headers::Headers;

/// A body up to this size is kept for another try (linkerd's bound; Envoy's is the connection's buffer limit).
const KEPT: usize = 64 << 10;

/// See the module. One side pushes, at most one [pump](Outbound::pump) at a time takes.
#[derive(Default)]
pub(super) struct Outbound {
    pieces: RefCell<VecDeque<Piece>>,
    /// Pieces taken by the pump that runs, counted from the first one that is still there.
    taken: Cell<usize>,
    /// Bytes that no pump has taken yet.
    waiting: Cell<usize>,
    /// Bytes in `pieces`.
    held: Cell<usize>,
    /// Taken pieces stay, for another try.
    keep: Cell<bool>,
    /// A piece was taken and not kept: there is no other try.
    lost: Cell<bool>,
    begun: Cell<bool>,
    ends_with_headers: Cell<bool>,
    more: Notify,
    room: Notify,
    begin: Notify,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes, End),
    Trailers(Headers),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Last,
    MoreFollows,
}

impl Outbound {
    /// What has left the chain. `trailers` are those of the exchange, if the flow has them.
    pub(super) fn push(&self, mut flow: Flow, trailers: Option<Headers>) {
        let (ends_with_headers, ends_with_data) = (flow.ends_with_headers(), flow.ends_with_data());
        let mut pieces = self.pieces.borrow_mut();
        let mut last = End::MoreFollows;
        while let Some(data) = flow.data.pop() {
            self.waiting.set(self.waiting.get() + data.len());
            self.held.set(self.held.get() + data.len());
            if ends_with_data && flow.data.is_empty() {
                last = End::Last;
            }
            pieces.push_back(Piece::Data(data, last));
        }
        if ends_with_data && last == End::MoreFollows {
            pieces.push_back(Piece::Data(Bytes::new(), End::Last));
        }
        pieces.extend(trailers.map(Piece::Trailers));
        drop(pieces);
        if self.held.get() > KEPT {
            self.keep.set(false);
        }
        if flow.headers {
            self.ends_with_headers.set(ends_with_headers);
            self.begun.set(true);
            self.begin.notify_one();
        }
        self.more.notify_one();
    }

    /// Resolves when the headers have left the chain; whether nothing follows them.
    pub(super) async fn begun(&self) -> bool {
        while !self.begun.get() {
            self.begin.notified().await;
        }
        self.ends_with_headers.get()
    }

    /// Whether less than `limit` bytes wait.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.waiting.get() < limit
    }

    /// Resolves when something was taken.
    pub(super) async fn taken(&self) {
        self.room.notified().await;
    }

    /// From now on what is sent is kept, as long as it is small.
    pub(super) fn keep(&self) {
        self.keep.set(self.held.get() <= KEPT);
    }

    /// There will be no other try.
    pub(super) fn forget(&self) {
        self.keep.set(false);
    }

    /// Whether all of it can be sent once more.
    pub(super) fn is_complete(&self) -> bool {
        !self.lost.get()
    }

    /// Sends everything from the beginning, until the end of the request.
    pub(super) async fn pump(&self, mut writer: RequestWriter) -> Result<(), StreamError> {
        self.rewind();
        loop {
            match self.take() {
                Some(Piece::Data(data, end)) => writer.data(data, end == End::Last).await?,
                Some(Piece::Trailers(trailers)) => {
                    writer.trailers(&trailers).await?;
                    return Ok(());
                }
                None => {
                    writer.flush().await?;
                    self.more.notified().await;
                    continue;
                }
            }
            if self.is_sent() {
                return Ok(());
            }
        }
    }

    /// The end has been taken.
    fn is_sent(&self) -> bool {
        let pieces = self.pieces.borrow();
        match self.taken.get().checked_sub(1).and_then(|last| pieces.get(last)) {
            Some(Piece::Data(_, end)) => *end == End::Last,
            Some(Piece::Trailers(_)) => true,
            None => false,
        }
    }

    fn rewind(&self) {
        self.taken.set(0);
        let bytes = self.pieces.borrow().iter().map(Piece::len).sum();
        self.waiting.set(bytes);
    }

    fn take(&self) -> Option<Piece> {
        let mut pieces = self.pieces.borrow_mut();
        if !self.keep.get() {
            // The last piece taken stays, so that the end can be told.
            while self.taken.get() > 1 {
                let gone = pieces.pop_front()?;
                self.held.set(self.held.get() - gone.len());
                self.taken.set(self.taken.get() - 1);
                self.lost.set(true);
            }
        }
        let piece = pieces.get(self.taken.get()).cloned()?;
        self.taken.set(self.taken.get() + 1);
        self.waiting.set(self.waiting.get() - piece.len());
        self.room.notify_one();
        Some(piece)
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Data(data, _) => data.len(),
            Self::Trailers(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{End, Outbound, Piece};
    use crate::chain::Flow;

    fn push(outbound: &Outbound, data: Vec<u8>, end: bool) {
        let mut flow = Flow {
            end,
            ..Flow::default()
        };
        flow.data.push(Bytes::from(data));
        outbound.push(flow, None);
    }

    fn taken(outbound: &Outbound) -> Vec<usize> {
        std::iter::from_fn(|| outbound.take())
            .map(|piece| piece.len())
            .collect()
    }

    #[test]
    fn small_bodies_can_be_sent_again() {
        let outbound = Outbound::default();
        outbound.keep();
        push(&outbound, vec![1; 10], false);
        assert_eq!(taken(&outbound), [10]);
        push(&outbound, vec![1; 5], true);
        assert_eq!(taken(&outbound), [5]);
        assert!(outbound.is_sent() && outbound.is_complete());
        outbound.rewind();
        assert!(!outbound.has_room(15) && outbound.has_room(16));
        assert_eq!(taken(&outbound), [10, 5]);
    }

    #[test]
    fn large_bodies_are_let_go() {
        let outbound = Outbound::default();
        outbound.keep();
        push(&outbound, vec![1; 60 << 10], false);
        push(&outbound, vec![1; 60 << 10], false);
        assert!(outbound.is_complete());
        assert_eq!(taken(&outbound).len(), 2);
        assert!(!outbound.is_complete() && !outbound.is_sent());
        assert_eq!(outbound.held.get(), 60 << 10);
    }

    #[test]
    fn an_end_without_data_is_sent() {
        let outbound = Outbound::default();
        outbound.push(
            Flow {
                headers: true,
                ..Flow::default()
            },
            None,
        );
        outbound.push(
            Flow {
                end: true,
                ..Flow::default()
            },
            None,
        );
        assert!(matches!(outbound.take(), Some(Piece::Data(data, End::Last)) if data.is_empty()));
        assert!(outbound.is_sent());
    }
}
