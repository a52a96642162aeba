//! Wakes the half of an exchange that waits, within one thread and without a lock.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Remembers one wake-up; has one waiter at a time.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Signal {
    /// Wakes the waiter, or the next one.
    pub(crate) fn raise(&self) {
        self.raised.set(true);
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Resolves once per [`Self::raise`], at once if that was before. Cancel safe.
    pub(crate) async fn raised(&self) {
        poll_fn(|context| {
            if self.raised.take() {
                return Poll::Ready(());
            }
            self.waiter.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
