//! Which virtual services answer for which domain, and which domains an address gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;

use leno_model::route::VirtualHost;

use super::Note;
use super::scope::host_matches;
use super::services::Services;
use crate::api::virtual_service::VirtualService;
use crate::world::Object;

/// Virtual services by domain, each once, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Hosts<'w>(BTreeMap<String, Vec<&'w Arc<Object<VirtualService>>>>);

impl<'w> Hosts<'w> {
    /// One more. `host` is in full.
    pub(super) fn add(&mut self, host: &str, service: &'w Arc<Object<VirtualService>>) {
        let services = self.0.entry(domain(host)).or_default();
        if !services.iter().any(|other| Arc::ptr_eq(other, service)) {
            services.push(service);
        }
    }

    /// Whether somebody answers for `host`.
    pub(super) fn has(&self, host: &str) -> bool {
        self.0.contains_key(&domain(host))
    }

    /// By domain.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[&'w Arc<Object<VirtualService>>])> {
        self.0
            .iter()
            .map(|(domain, services)| (domain.as_str(), services.as_slice()))
    }
}

/// The host patterns of a gateway, each with the namespace that virtual services must be of, if any.
pub(super) type Patterns = BTreeSet<(Option<String>, String)>;

/// The domains under which a gateway takes `host` of a virtual service of `namespace`: the narrower of host and
/// pattern, as in Istio. None where the gateway does not take it.
pub(super) fn on_gateway(patterns: &Patterns, namespace: &str, host: &str) -> Vec<String> {
    let seen = || {
        patterns
            .iter()
            .filter(|(of, _)| of.as_ref().is_none_or(|of| of == namespace))
            .map(|(_, pattern)| pattern)
    };
    if seen().any(|pattern| host_matches(pattern, host)) {
        return vec![host.to_owned()];
    }
    let narrower: BTreeSet<&String> = seen().filter(|pattern| host_matches(host, pattern)).collect();
    narrower.into_iter().cloned().collect()
}

/// Adds the addresses of services to the domains of their virtual hosts. Domains are unique within a configuration:
/// an address that several hosts have goes to the first, and a note says so where it is of another object.
pub(super) fn add_addresses(
    virtual_hosts: &mut [VirtualHost],
    services: &Services,
    notes: &mut BTreeSet<Note>,
) {
    let mut taken: BTreeMap<String, Option<&Arc<_>>> = virtual_hosts
        .iter()
        .flat_map(|host| &host.domains)
        .map(|domain| (domain.clone(), None))
        .collect();
    for host in virtual_hosts {
        let Some(service) = services.get(&host.domains[0]) else {
            continue;
        };
        for address in &service.entry.spec.addresses {
            let domain = domain(address);
            match taken.get(&domain) {
                None => {
                    taken.insert(domain.clone(), Some(&service.entry));
                    host.domains.push(domain);
                }
                Some(Some(entry)) if Arc::ptr_eq(entry, &service.entry) => {}
                Some(_) => {
                    notes.insert(Note {
                        kind: "ServiceEntry",
                        key: service.entry.meta.key(),
                        message: format!(
                            "spec.addresses: {address} is taken by another host; it does not lead to {}",
                            service.host
                        ),
                    });
                }
            }
        }
    }
}

/// A host as it stands in an authority.
fn domain(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}
