//! A virtual host and its routes: the first match wins.
//!
//! Routes for exact paths stand in a hash table, so that a thousand of them cost what one costs; all others are
//! tried in order. Merging both by position keeps the order that was written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use leno_model::invalid::Invalid;
use leno_model::route::{self as model, FilterOverride, RetryPolicy, TellsAttempts};

use super::OverrideId;
use super::action::Action;
use super::edits::Edits;
use super::matcher::{Matcher, Request};

/// Compiled.
#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: Arc<str>,
    pub(super) routes: Vec<Route>,
    pub(super) edits: Edits,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) tells_attempts: TellsAttempts,
    pub(super) overrides: BTreeMap<String, OverrideId>,
    /// Ascending positions of routes for exactly this path, in this case.
    exact: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    /// Ascending positions of all other routes.
    others: Vec<usize>,
}

/// Compiled.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: Arc<str>,
    pub(super) matcher: Matcher,
    pub(super) action: Action,
    pub(super) edits: Edits,
    pub(super) overrides: BTreeMap<String, OverrideId>,
}

/// Takes the filter configurations of one place, and returns their ids.
pub(super) type Overrides<'a> =
    &'a mut dyn FnMut(&BTreeMap<String, FilterOverride>) -> BTreeMap<String, OverrideId>;

impl VirtualHost {
    pub(super) fn compile(host: &model::VirtualHost, overrides: Overrides<'_>) -> Result<Self, Invalid> {
        let mut compiled = Self {
            name: host.name.as_str().into(),
            routes: Vec::with_capacity(host.routes.len()),
            edits: Edits::compile(&host.edits)?,
            retry: host.retry.clone(),
            tells_attempts: host.tells_attempts,
            overrides: overrides(&host.filter_overrides),
            exact: HashMap::default(),
            others: Vec::new(),
        };
        for (index, route) in host.routes.iter().enumerate() {
            let route = Route::compile(route, overrides)
                .map_err(|invalid| invalid.within(&format!("routes[{index}]")))?;
            match route.matcher.exact_path() {
                Some(path) => compiled.exact.entry(path.into()).or_default().push(index),
                None => compiled.others.push(index),
            }
            compiled.routes.push(route);
        }
        Ok(compiled)
    }

    /// The first route that matches.
    pub(super) fn find(&self, request: &Request<'_>, random: u64) -> Option<usize> {
        let exact = self.exact.get(request.path).map_or(&[][..], Vec::as_slice);
        let (mut exact, mut others) = (exact.iter().peekable(), self.others.iter().peekable());
        loop {
            let next = match (exact.peek(), others.peek()) {
                (Some(first), Some(second)) if first < second => exact.next(),
                (_, Some(_)) => others.next(),
                (Some(_), None) => exact.next(),
                (None, None) => return None,
            };
            let index = *next?;
            if self.routes[index].matcher.matches(request, random, index) {
                return Some(index);
            }
        }
    }

    pub(super) fn clusters(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().flat_map(|route| route.action.clusters())
    }
}

impl Route {
    fn compile(route: &model::Route, overrides: Overrides<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            name: route.name.as_str().into(),
            matcher: Matcher::compile(&route.matches).map_err(|invalid| invalid.within("match"))?,
            action: Action::compile(&route.action)?,
            edits: Edits::compile(&route.edits)?,
            overrides: overrides(&route.filter_overrides),
        })
    }
}
