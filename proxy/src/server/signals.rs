//! What the system tells the process.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM: finish, then end.
    Graceful,
    /// SIGINT: end.
    Quick,
    /// SIGUSR1: open log files again.
    Reopen,
}

/// All signals that mean something here. SIGHUP and SIGUSR2 are ignored, as in Envoy.
pub(super) struct Signals {
    terminate: Stream,
    interrupt: Stream,
    user: Stream,
    ignored: [Stream; 2],
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
            ignored: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        let [hangup, user] = &mut self.ignored;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Signal::Graceful,
                _ = self.interrupt.recv() => return Signal::Quick,
                _ = self.user.recv() => return Signal::Reopen,
                _ = hangup.recv() => {}
                _ = user.recv() => {}
            }
        }
    }

    /// The next one that ends the process.
    pub(super) async fn again(&mut self) {
        while self.next().await == Signal::Reopen {}
    }
}
