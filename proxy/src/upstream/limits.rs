//! Circuit breakers: how much of a cluster's capacity the whole process may use at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use leno_model::cluster::Limits as Configured;

/// The limits of all clusters, by name: workers find the same one.
#[derive(Default)]
pub struct Registry {
    clusters: Mutex<HashMap<String, Weak<Limits>>>,
}

/// The limits of one cluster.
pub struct Limits {
    most: Configured,
    connections: Arc<Count>,
    pending: Arc<Count>,
    exchanges: Arc<Count>,
    retries: Arc<Count>,
}

/// Alone in its cache line, because all workers write it.
#[repr(align(128))]
#[derive(Default)]
struct Count(AtomicU32);

/// One unit of a limit; given back when dropped.
pub struct Ticket(Arc<Count>);

impl Registry {
    /// The limits of this cluster. A change of the numbers begins with fresh counts.
    #[must_use]
    pub fn of(&self, cluster: &str, most: Configured) -> Arc<Limits> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.retain(|_, limits| limits.strong_count() > 0);
        if let Some(known) = clusters.get(cluster).and_then(Weak::upgrade)
            && known.most == most
        {
            return known;
        }
        let fresh = Arc::new(Limits::new(most));
        clusters.insert(cluster.to_owned(), Arc::downgrade(&fresh));
        fresh
    }
}

impl Limits {
    fn new(most: Configured) -> Self {
        Self {
            most,
            connections: Arc::default(),
            pending: Arc::default(),
            exchanges: Arc::default(),
            retries: Arc::default(),
        }
    }

    /// One more connection.
    #[must_use]
    pub fn connection(&self) -> Option<Ticket> {
        take(&self.connections, self.most.max_connections)
    }

    /// One more connection, whatever the limit: the first of an endpoint.
    #[must_use]
    pub fn first_connection(&self) -> Ticket {
        self.connections.0.fetch_add(1, Ordering::Relaxed);
        Ticket(Arc::clone(&self.connections))
    }

    /// One more exchange that waits for a connection.
    #[must_use]
    pub fn pending(&self) -> Option<Ticket> {
        take(&self.pending, self.most.max_pending_requests)
    }

    /// One more exchange.
    #[must_use]
    pub fn exchange(&self) -> Option<Ticket> {
        take(&self.exchanges, self.most.max_requests)
    }

    /// One more retry.
    #[must_use]
    pub fn retry(&self) -> Option<Ticket> {
        take(&self.retries, self.most.max_retries)
    }

    /// Retries that run now, and how many may.
    #[must_use]
    pub fn retries(&self) -> (u32, u32) {
        (self.retries.0.load(Ordering::Relaxed), self.most.max_retries)
    }
}

fn take(count: &Arc<Count>, most: u32) -> Option<Ticket> {
    if count.0.fetch_add(1, Ordering::Relaxed) < most {
        return Some(Ticket(Arc::clone(count)));
    }
    count.0.fetch_sub(1, Ordering::Relaxed);
    None
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use leno_model::cluster::Limits as Configured;

    use super::Registry;

    #[test]
    fn workers_share_a_limit_and_give_back() {
        let most = Configured {
            max_requests: 2,
            max_connections: 0,
            ..Configured::default()
        };
        let registry = Registry::default();
        let (one, two) = (registry.of("a", most), registry.of("a", most));
        let (first, second) = (one.exchange(), two.exchange());
        assert!(first.is_some() && second.is_some() && one.exchange().is_none());
        drop(first);
        assert!(two.exchange().is_some());
        assert!(registry.of("b", most).exchange().is_some());
        assert!(one.connection().is_none());
        drop(one.first_connection());
    }
}
