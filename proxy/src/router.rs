//! Which route takes a request: a compiled route configuration, and the choice made from it.
//!
//! Everything that can be wrong is refused by [`RouteTable::compile`]; [`LocalTable::select`] cannot fail other than
//! by finding nothing. Order is Envoy's: the virtual host by its domains, then the first route that matches.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use leno_model::access_log::Format;
use leno_model::invalid::Invalid;
use leno_model::route::{DirectResponse, FilterOverride, RetryPolicy, RouteConfiguration, TellsAttempts};

use crate::http::headers::Headers;

use self::action::{Action, Forward};
use self::domains::Domains;
use self::edits::Edits;
use self::matcher::Request;
use self::rewrite::HostRewrite;
use self::virtual_host::VirtualHost;

pub mod action;

mod domains;

mod virtual_host;

mod matcher;

mod rewrite;

mod edits;

/// A route configuration, ready to choose. Shared by all workers.
#[derive(Debug)]
pub struct RouteTable {
    name: String,
    domains: Domains,
    hosts: Vec<VirtualHost>,
    edits: Edits,
    ignore_port: bool,
    overrides: Vec<Override>,
}

/// A filter configuration of a route or a virtual host.
#[derive(Debug)]
struct Override {
    filter: String,
    value: FilterOverride,
}

/// Names a filter configuration of a route or virtual host within its table: positions in
/// [`RouteTable::overrides`].
pub type OverrideId = usize;

impl RouteTable {
    /// Reads a route configuration.
    ///
    /// # Errors
    /// Regular expressions that do not compile or are too large, domains that are written wrongly or twice, header
    /// edits of fields that routing itself depends on, statuses outside of their range.
    pub fn compile(config: &RouteConfiguration) -> Result<Self, Invalid> {
        let mut table = Self {
            name: config.name.clone(),
            domains: Domains::default(),
            hosts: Vec::with_capacity(config.virtual_hosts.len()),
            edits: Edits::compile(&config.edits)?,
            ignore_port: config.ignore_port_in_host,
            overrides: Vec::new(),
        };
        for (index, host) in config.virtual_hosts.iter().enumerate() {
            let within = |invalid: Invalid| invalid.within(&format!("virtual_hosts[{index}]"));
            for (position, domain) in host.domains.iter().enumerate() {
                table
                    .domains
                    .add(domain, index)
                    .map_err(|reason| within(Invalid::new(format!("domains[{position}]"), reason)))?;
            }
            let compiled = VirtualHost::compile(host, &mut |overrides| table.overrides.add(overrides));
            table.hosts.push(compiled.map_err(within)?);
        }
        Ok(table)
    }

    /// The name that listeners ask for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All filter configurations of routes and virtual hosts, to be prepared before the table serves.
    pub fn overrides(&self) -> impl ExactSizeIterator<Item = (&str, &FilterOverride)> {
        self.overrides.iter().map(|one| (one.filter.as_str(), &one.value))
    }

    /// Every cluster that a route names, in order, with repetitions.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().flat_map(VirtualHost::clusters)
    }

    fn find(&self, headers: &Headers, random: u64) -> Option<(usize, usize)> {
        let authority = headers.get(b":authority").unwrap_or_default();
        let host = self.domains.find(authority, self.ignore_port)?;
        let route = self.hosts[host].find(&Request::new(headers), random)?;
        Some((host, route))
    }
}

trait AddOverrides {
    fn add(&mut self, overrides: &BTreeMap<String, FilterOverride>) -> BTreeMap<String, OverrideId>;
}

impl AddOverrides for Vec<Override> {
    fn add(&mut self, overrides: &BTreeMap<String, FilterOverride>) -> BTreeMap<String, OverrideId> {
        let mut ids = BTreeMap::new();
        for (filter, value) in overrides {
            ids.insert(filter.clone(), self.len());
            self.push(Override {
                filter: filter.clone(),
                value: value.clone(),
            });
        }
        ids
    }
}

/// A [`RouteTable`] on one worker: handing out routes counts references without touching other threads.
#[derive(Clone, Debug)]
pub struct LocalTable(Rc<Held>);

/// One count of references per worker in front of the shared one.
#[derive(Debug)]
struct Held {
    table: Arc<RouteTable>,
}

impl std::ops::Deref for Held {
    type Target = RouteTable;

    fn deref(&self) -> &RouteTable {
        &self.table
    }
}

impl LocalTable {
    /// For this worker.
    #[must_use]
    pub fn new(table: Arc<RouteTable>) -> Self {
        Self(Rc::new(Held { table }))
    }

    /// The shared table.
    #[must_use]
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.0.table
    }

    /// The route for a request. `random` decides among weighted clusters and fractions.
    #[must_use]
    pub fn select(&self, headers: &Headers, random: u64) -> Option<RouteRef> {
        let (host, route) = self.0.find(headers, random)?;
        let target = match &self.0.hosts[host].routes[route].action {
            Action::Forward(forward) => forward.target.choose(random),
            Action::Redirect(_) | Action::Direct(_) => 0,
        };
        Some(RouteRef {
            table: Rc::clone(&self.0),
            host,
            route,
            target,
        })
    }
}

/// A route that was chosen, with everything it says. Keeps its table alive.
#[derive(Clone, Debug)]
pub struct RouteRef {
    table: Rc<Held>,
    host: usize,
    route: usize,
    /// Which of weighted clusters.
    target: usize,
}

impl RouteRef {
    /// The route's name; may be empty.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.route().name
    }

    /// The name of its virtual host.
    #[must_use]
    pub fn virtual_host_name(&self) -> &Arc<str> {
        &self.host().name
    }

    /// The name of its route configuration.
    #[must_use]
    pub fn configuration_name(&self) -> &str {
        &self.table.name
    }

    /// What the route does.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.route().action
    }

    /// The cluster that will be asked, if the route asks one. `request` is read where a header names the cluster;
    /// `None` there: the header is missing or not text.
    #[must_use]
    pub fn cluster<'a>(&'a self, request: &'a Headers) -> Option<&'a str> {
        match self.action() {
            Action::Forward(forward) => forward.target.cluster(self.target, request),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// The retry policy: the route's, or else the virtual host's.
    #[must_use]
    pub fn retry(&self) -> Option<&RetryPolicy> {
        match self.action() {
            Action::Forward(forward) => forward.retry.as_ref().or(self.host().retry.as_ref()),
            Action::Redirect(_) | Action::Direct(_) => None,
        }
    }

    /// Who is told how often an upstream was tried.
    #[must_use]
    pub fn tells_attempts(&self) -> TellsAttempts {
        self.host().tells_attempts
    }

    /// How a filter is configured here, if other than in the listener. The id is its place in
    /// [`RouteTable::overrides`].
    #[must_use]
    pub fn filter_override(&self, filter: &str) -> Option<(OverrideId, &FilterOverride)> {
        let id = *self
            .route()
            .overrides
            .get(filter)
            .or_else(|| self.host().overrides.get(filter))?;
        Some((id, &self.table.overrides[id].value))
    }

    /// Whether no filter is configured otherwise here, so that none needs to be looked up.
    #[must_use]
    pub fn has_no_overrides(&self) -> bool {
        self.route().overrides.is_empty() && self.host().overrides.is_empty()
    }

    /// Path, host and header edits of the request, before it is sent. `format` writes the value of a format string.
    /// The host name of the endpoint is set later, by [`RouteRef::rewrite_host_to_endpoint`].
    pub fn rewrite_request(
        &self,
        request: &mut Headers,
        format: &mut dyn FnMut(&Format, &Headers, &mut Vec<u8>),
    ) {
        let Action::Forward(forward) = self.action() else {
            return;
        };
        for edits in self.edit_levels(forward) {
            edits.request.apply(request, format);
        }
        if let Some(rewrite) = &forward.path_rewrite {
            rewrite.apply(&self.route().matcher.path, request);
        }
        if let Some(rewrite) = &forward.host_rewrite {
            rewrite.apply(request);
        }
    }

    /// Whether [`RouteRef::rewrite_request`] changes anything: without retries a request is then sent as it came.
    #[must_use]
    pub fn rewrites_request(&self) -> bool {
        let Action::Forward(forward) = self.action() else {
            return false;
        };
        forward.path_rewrite.is_some()
            || forward.host_rewrite.is_some()
            || self.edit_levels(forward).any(|edits| !edits.request.is_empty())
    }

    /// `auto_host_rewrite`: the authority becomes the endpoint's name, where the route asks for it.
    pub fn rewrite_host_to_endpoint(&self, request: &mut Headers, hostname: &str) {
        if let Action::Forward(forward) = self.action()
            && forward.host_rewrite.as_ref().is_some_and(HostRewrite::is_auto)
            && !hostname.is_empty()
        {
            request.set(b":authority", hostname.as_bytes());
        }
    }

    /// Header edits of the response, also of redirects and direct responses.
    pub fn edit_response(
        &self,
        response: &mut Headers,
        format: &mut dyn FnMut(&Format, &Headers, &mut Vec<u8>),
    ) {
        let weighted = match self.action() {
            Action::Forward(forward) => forward.target.edits(self.target),
            Action::Redirect(_) | Action::Direct(_) => None,
        };
        let levels = [&self.route().edits, &self.host().edits, &self.table.edits];
        for edits in weighted.into_iter().chain(levels) {
            edits.response.apply(response, format);
        }
    }

    /// The answer of a route that answers itself: status, location and body.
    #[must_use]
    pub fn answer(&self, request: &Headers) -> Option<Answer<'_>> {
        match self.action() {
            Action::Forward(_) => None,
            Action::Redirect(redirect) => Some(Answer {
                status: redirect.status,
                location: Some(redirect.location(&self.route().matcher.path, request)),
                body: &[],
            }),
            Action::Direct(DirectResponse { status, body }) => Some(Answer {
                status: *status,
                location: None,
                body,
            }),
        }
    }

    fn host(&self) -> &VirtualHost {
        &self.table.hosts[self.host]
    }

    fn route(&self) -> &virtual_host::Route {
        &self.host().routes[self.route]
    }

    /// From the most specific to the least, as Envoy applies them by default.
    fn edit_levels<'a>(&'a self, forward: &'a Forward) -> impl Iterator<Item = &'a Edits> {
        let levels = [&self.route().edits, &self.host().edits, &self.table.edits];
        forward.target.edits(self.target).into_iter().chain(levels)
    }
}

/// What a route answers itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// Of a redirect.
    pub location: Option<Vec<u8>>,
    /// May be empty.
    pub body: &'a [u8],
}

#[cfg(test)]
mod tests;
