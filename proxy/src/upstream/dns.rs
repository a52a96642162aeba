//! Names of endpoints, looked up on the main runtime, once for all workers, and again every few seconds.
//!
//! A lookup that fails changes nothing: the last good addresses serve.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Weak;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leno_model::cluster::DnsFamily;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ClusterRuntime;

/// Between two lookups (Envoy's default `dns_refresh_rate`).
const REFRESH: Duration = Duration::from_secs(5);

/// Looks names up for all clusters of the process.
pub struct Resolver {
    runtime: Handle,
    names: Mutex<HashMap<String, watch::Receiver<Answer>>>,
}

/// A name that is being looked up. While one of them lives, the lookups go on.
#[derive(Clone)]
pub struct Resolving(watch::Receiver<Answer>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// There was a lookup, good or bad.
    asked: bool,
    /// Sorted, so that the order in which a server answers means nothing.
    addresses: Vec<IpAddr>,
}

impl Resolver {
    /// Lookups run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            names: Mutex::default(),
        })
    }

    /// The addresses of `name`, from now on.
    #[must_use]
    pub fn watch(self: &Arc<Self>, name: &str) -> Resolving {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Resolving(known.clone());
        }
        let (sender, receiver) = watch::channel(Answer::default());
        names.insert(name.to_owned(), receiver.clone());
        self.runtime
            .spawn(Arc::clone(self).refresh(name.to_owned(), sender));
        Resolving(receiver)
    }

    async fn refresh(self: Arc<Self>, name: String, sender: watch::Sender<Answer>) {
        loop {
            let looked_up = tokio::net::lookup_host((name.as_str(), 0)).await;
            sender.send_if_modified(|answer| {
                let before = answer.clone();
                answer.asked = true;
                match looked_up {
                    Ok(found) => {
                        answer.addresses = found.map(|address| address.ip()).collect();
                        answer.addresses.sort_unstable();
                        answer.addresses.dedup();
                    }
                    Err(error) => tracing::warn!(name, %error, "the name of an endpoint cannot be looked up"),
                }
                *answer != before
            });
            tokio::time::sleep(REFRESH).await;
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            // The one in the map is not a reader.
            if sender.receiver_count() <= 1 {
                names.remove(&name);
                return;
            }
        }
    }
}

impl Resolving {
    /// As of now, those of `family`.
    #[must_use]
    pub fn addresses(&self, family: DnsFamily) -> Vec<IpAddr> {
        of_family(&self.0.borrow().addresses, family)
    }

    /// Resolves when there was a lookup.
    pub async fn first(mut self) {
        // Fails only if the lookups have ended, which nobody needs to wait for.
        let _ = self.0.wait_for(|answer| answer.asked).await;
    }
}

/// Keeps a cluster up to date with one of its names.
pub(super) async fn follow(cluster: Weak<ClusterRuntime>, mut resolving: Resolving) {
    while resolving.0.changed().await.is_ok() {
        match cluster.upgrade() {
            Some(cluster) => cluster.rebuild(),
            None => return,
        }
    }
}

fn of_family(addresses: &[IpAddr], family: DnsFamily) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    match family {
        DnsFamily::V4Only => v4,
        DnsFamily::V6Only => v6,
        DnsFamily::V4Preferred => {
            if v4.is_empty() {
                v6
            } else {
                v4
            }
        }
        DnsFamily::Auto => {
            if v6.is_empty() {
                v4
            } else {
                v6
            }
        }
        DnsFamily::All => addresses.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use leno_model::cluster::DnsFamily;

    use super::of_family;

    #[test]
    fn families_are_chosen_as_envoy_does() {
        let check = |known: &str, expected: [&str; 5]| {
            let read = |text: &str| -> Vec<IpAddr> {
                text.split_whitespace()
                    .map(|address| address.parse().unwrap())
                    .collect()
            };
            let families = [
                DnsFamily::V4Only,
                DnsFamily::V6Only,
                DnsFamily::V4Preferred,
                DnsFamily::Auto,
                DnsFamily::All,
            ];
            for (family, expected) in families.into_iter().zip(expected) {
                assert_eq!(
                    of_family(&read(known), family),
                    read(expected),
                    "{known}: {family:?}"
                );
            }
        };
        check("1.1.1.1 ::1", ["1.1.1.1", "::1", "1.1.1.1", "::1", "1.1.1.1 ::1"]);
        check("1.1.1.1", ["1.1.1.1", "", "1.1.1.1", "1.1.1.1", "1.1.1.1"]);
        check("::1", ["", "::1", "::1", "::1", "::1"]);
    }
}
