//! Closes pooled connections that nobody uses, or that the peer has closed.

use std::rc::Weak;
use std::time::{Duration, Instant};

use super::ClusterRuntime;

/// Looks often enough that no connection outlives its time by more than a quarter, and at least every few seconds,
/// so that connections closed by their peer do not keep descriptors.
pub(super) async fn run(cluster: Weak<ClusterRuntime>, idle_timeout: Option<Duration>) {
    let quarter = idle_timeout.map_or(Duration::MAX, |timeout| timeout / 4);
    let pause = quarter.clamp(Duration::from_millis(10), Duration::from_secs(5));
    loop {
        tokio::time::sleep(pause).await;
        let Some(cluster) = cluster.upgrade() else { return };
        let now = Instant::now();
        for endpoint in cluster.endpoints() {
            endpoint.sweep(now, idle_timeout);
        }
    }
}
