//! ADS over gRPC: the stream of a proxy, and the service of a control plane, in messages of ours.

pub mod client;

pub mod server;

mod convert;

use std::time::Duration;

/// A connection on which nothing moves is asked for a sign of life after this long; both ends ask.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long that sign may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// One message may be this large. Arbitrary: a full set of listeners of a large mesh is some tens of megabytes.
const LARGEST_MESSAGE: usize = 128 << 20;

/// Messages that may wait for the other side; then the sender waits.
const QUEUE: usize = 64;
