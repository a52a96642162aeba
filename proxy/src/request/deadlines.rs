//! How long an exchange may take, and without which progress. One timer serves all of it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::reply::Reason;

/// The times of one exchange.
pub(super) struct Deadlines {
    start: Instant,
    /// From the beginning to the end of the request.
    request: Option<Duration>,
    /// Without any progress.
    idle: Cell<Option<Duration>>,
    /// From the end of the request to the end of the response.
    route: Cell<Option<Duration>>,
    progress: Cell<Instant>,
    request_end: Cell<Option<Instant>>,
    changed: Notify,
}

impl Deadlines {
    pub(super) fn new(start: Instant, request: Option<Duration>, idle: Option<Duration>) -> Self {
        Self {
            start,
            request,
            idle: Cell::new(idle),
            route: Cell::new(None),
            progress: Cell::new(start),
            request_end: Cell::new(None),
            changed: Notify::new(),
        }
    }

    /// What the route says. `idle` replaces the one of the connection manager.
    pub(super) fn of_route(&self, timeout: Option<Duration>, idle: Option<Duration>) {
        self.route.set(timeout);
        if idle.is_some() {
            self.idle.set(idle.filter(|idle| !idle.is_zero()));
        }
        self.changed.notify_one();
    }

    /// Something moved.
    pub(super) fn moved(&self, now: Instant) {
        self.progress.set(now);
    }

    /// The request has come in.
    pub(super) fn request_ended(&self, now: Instant) {
        if self.request_end.get().is_none() {
            self.request_end.set(Some(now));
            self.changed.notify_one();
        }
    }

    /// When the request had come in, from its beginning.
    pub(super) fn request_end(&self) -> Option<Duration> {
        self.request_end.get().map(|end| end.duration_since(self.start))
    }

    /// The next time that matters, as things are now.
    fn next(&self) -> Option<(Instant, Reason)> {
        let nothing_moved = match self.request_end.get() {
            None => Reason::StreamIdle,
            Some(_) => Reason::ResponseIdle,
        };
        let idle = self.idle.get();
        let idle = idle.map(|idle| (self.progress.get() + idle, nothing_moved));
        let other = match self.request_end.get() {
            None => self
                .request
                .map(|time| (self.start + time, Reason::RequestTimeout)),
            Some(end) => self.route.get().map(|time| (end + time, Reason::RouteTimeout)),
        };
        match (idle, other) {
            (Some(idle), Some(other)) => Some(if idle.0 < other.0 { idle } else { other }),
            (idle, other) => idle.or(other),
        }
    }

    /// Resolves when one of them is over, and says which.
    pub(super) async fn expired(&self) -> Reason {
        loop {
            let Some((at, reason)) = self.next() else {
                self.changed.notified().await;
                continue;
            };
            if at <= Instant::now() {
                return reason;
            }
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Deadlines;
    use crate::reply::Reason;

    #[test]
    fn the_nearest_one_counts() {
        let seconds = Duration::from_secs;
        let start = Instant::now();
        let times = Deadlines::new(start, Some(seconds(20)), Some(seconds(30)));
        assert_eq!(times.next(), Some((start + seconds(20), Reason::RequestTimeout)));
        times.of_route(None, Some(seconds(5)));
        assert_eq!(times.next(), Some((start + seconds(5), Reason::StreamIdle)));
        times.of_route(Some(seconds(15)), Some(seconds(30)));
        times.request_ended(start + seconds(1));
        assert_eq!(times.next(), Some((start + seconds(16), Reason::RouteTimeout)));
        times.of_route(None, Some(seconds(5)));
        assert_eq!(times.next(), Some((start + seconds(5), Reason::ResponseIdle)));
        times.moved(start + seconds(4));
        assert_eq!(times.next(), Some((start + seconds(9), Reason::ResponseIdle)));
        times.of_route(None, Some(Duration::ZERO));
        assert_eq!(times.next(), None);
    }
}
