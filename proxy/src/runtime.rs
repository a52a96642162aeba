//! What one worker runs: an immutable generation, made from a plan by rebuilding only what changed.
//!
//! An exchange holds the [`HttpRuntime`] and the clusters it began with until its end; an update changes what the
//! next exchange sees, also on connections that are open.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leno_model::access_log::Format;
use leno_model::bootstrap::Node;
use leno_model::filter::FilterConfig;
use leno_model::http::HttpConnectionManager;
use leno_model::invalid::Invalid;
use leno_model::listener::ChainMatch;
use leno_model::route::FilterOverride;

use crate::access_log::AccessLogger;
use crate::access_log::exchange_record::ExchangeRecord;
use crate::access_log::sinks::Sinks;
use crate::access_log::template::Template;
use crate::config::plan::{self, ChainPlan};
use crate::exchange::facts::ListenerFacts;
use crate::filters::Prepared;
use crate::filters::slot::FilterSlot;
use crate::filters::slots::Slots;
use crate::http::settings::ServerSettings;
use crate::listener::matching::Matcher;
use crate::listener::stats::ListenerStats;
use crate::router::{LocalTable, RouteRef};
use crate::tls::server::ServerTls;
use crate::upstream::{ClusterRuntime, Clusters, Common};

use self::http_stats::HttpStats;

pub mod http_stats;

/// What a worker is told to run.
pub type Plan = plan::Plan<Arc<Prepared>>;

/// One of its listeners.
pub type ListenerPlan = plan::ListenerPlan<Arc<Prepared>>;

type HttpPlan = plan::HttpPlan<Arc<Prepared>>;

/// Everything that the next exchange of a worker uses.
pub struct Generation {
    /// The plan it was made from.
    pub number: u64,
    /// Who this proxy is.
    pub node: Arc<Node>,
    /// By name.
    pub clusters: Rc<HashMap<Arc<str>, Rc<ClusterRuntime>>>,
    /// By name.
    pub listeners: BTreeMap<String, ListenerRuntime>,
}

/// A listener on a worker.
#[derive(Clone)]
pub struct ListenerRuntime {
    /// What it was made from.
    plan: Arc<ListenerPlan>,
    /// Chooses among the chains.
    pub matcher: Rc<Matcher>,
    /// As [`Listener::chains`](leno_model::listener::Listener::chains) has them.
    pub chains: Vec<ChainRuntime>,
    /// How long a connection may take to show what it is.
    pub inspect_timeout: Option<Duration>,
    /// Counts for operators.
    pub stats: Rc<ListenerStats>,
}

/// A filter chain of a listener on a worker.
#[derive(Clone)]
pub struct ChainRuntime {
    /// Whom it takes.
    pub matches: ChainMatch,
    /// `None`: plain TCP.
    pub tls: Option<Arc<ServerTls>>,
    /// How long a handshake may take, if it was said.
    pub handshake_timeout: Option<Duration>,
    /// What its connections serve.
    pub http: Rc<HttpRuntime>,
    /// For filters.
    pub facts: Arc<ListenerFacts>,
}

/// A connection manager on a worker.
pub struct HttpRuntime {
    /// As it was configured.
    pub manager: Arc<HttpConnectionManager>,
    /// The router was told to write no `x-envoy-*` headers.
    pub suppress_envoy_headers: bool,
    /// Bytes that a filter, or a peer that is slower than the other, may make us hold.
    pub buffer_limit: usize,
    /// For connections.
    pub server: Rc<ServerSettings>,
    /// Where requests go.
    pub routes: LocalTable,
    /// One line per exchange.
    pub logger: AccessLogger,
    /// Format strings of header edits.
    pub templates: Templates,
    /// Counts for operators.
    pub stats: HttpStats,
    /// The text of the current second.
    pub clock: Rc<Clock>,
    filters: Vec<Filter>,
    /// The filters that run where no route says otherwise.
    usual: Rc<[Rc<FilterSlot>]>,
    /// By the ids of the route table.
    overrides: Vec<Option<Rc<FilterSlot>>>,
}

struct Filter {
    name: String,
    disabled: bool,
    slot: Rc<FilterSlot>,
}

/// What generations of a worker are made with, and what survives them.
pub struct Maker {
    common: Common,
    sinks: Arc<Sinks>,
    clusters: Rc<Clusters>,
    slots: Slots,
    clock: Rc<Clock>,
}

impl Maker {
    /// For one worker, on its `LocalSet`. `clusters` will be kept up to date, for calls of filters.
    #[must_use]
    pub fn new(common: Common, sinks: Arc<Sinks>, clusters: Rc<Clusters>, slots: Slots) -> Self {
        Self {
            common,
            sinks,
            clusters,
            slots,
            clock: Rc::default(),
        }
    }

    /// The generation for `plan`. What is the same as in `old` stays: pools, plugins, counters.
    ///
    /// # Errors
    /// A filter does not start on this worker, or a log cannot be opened; `old` keeps serving.
    pub async fn make(&self, plan: &Plan, old: Option<&Generation>) -> Result<Generation, Invalid> {
        let mut clusters = HashMap::new();
        let mut fresh = Vec::new();
        for (name, cluster) in &plan.clusters {
            let known = old.and_then(|old| old.clusters.get(name.as_str()));
            let runtime = match known.filter(|known| known.is_made_from(cluster)) {
                Some(known) => Rc::clone(known),
                None => {
                    let runtime = ClusterRuntime::start(cluster, &self.common, fastrand::u64(..));
                    fresh.push(Rc::clone(&runtime));
                    runtime
                }
            };
            clusters.insert(runtime.name().clone(), runtime);
        }
        let resolved = async {
            for cluster in fresh {
                cluster.resolved().await;
            }
        };
        // Requests for a name that does not answer get a 503 rather than no listener. Envoy waits likewise.
        let _ = tokio::time::timeout(Duration::from_secs(5), resolved).await;
        let clusters = Rc::new(clusters);
        // A plugin may make a call as it starts, to a cluster that is as new as itself.
        let former = self.clusters.now();
        self.clusters.replace(Rc::clone(&clusters));
        let listeners = self
            .listeners(plan, old)
            .inspect_err(|_| self.clusters.replace(former))?;
        // What serves is not changed before this point, so that a failure leaves everything as it was.
        for (name, cluster) in &plan.clusters {
            if let Some(runtime) = clusters.get(name.as_str()) {
                runtime.update(cluster);
            }
        }
        Ok(Generation {
            number: plan.number,
            node: Arc::clone(&plan.node),
            clusters,
            listeners,
        })
    }

    fn listeners(
        &self,
        plan: &Plan,
        old: Option<&Generation>,
    ) -> Result<BTreeMap<String, ListenerRuntime>, Invalid> {
        let mut listeners = BTreeMap::new();
        for (name, listener) in &plan.listeners {
            let known = old.and_then(|old| old.listeners.get(name));
            let runtime = match known.filter(|known| Arc::ptr_eq(&known.plan, listener)) {
                Some(known) => known.clone(),
                None => self.listener(listener).map_err(|refusal| refusal.within(name))?,
            };
            listeners.insert(name.clone(), runtime);
        }
        Ok(listeners)
    }

    fn listener(&self, plan: &Arc<ListenerPlan>) -> Result<ListenerRuntime, Invalid> {
        let listener = &plan.listener;
        let limit = usize::try_from(listener.per_connection_buffer_limit).unwrap_or(usize::MAX);
        let chains = listener.chains().zip(&plan.chains).zip(&plan.tls);
        let chains = chains.map(|((chain, ChainPlan::Http(http)), tls)| {
            Ok(ChainRuntime {
                matches: chain.matches.clone(),
                tls: tls.clone(),
                handshake_timeout: chain.handshake_timeout,
                http: Rc::new(self.http(http, tls.is_some(), limit)?),
                facts: Arc::new(ListenerFacts {
                    name: listener.name.clone(),
                    direction: listener.direction,
                    filter_chain: chain.name.clone(),
                }),
            })
        });
        Ok(ListenerRuntime {
            plan: Arc::clone(plan),
            matcher: Rc::new(Matcher::new(listener)),
            chains: chains.collect::<Result<_, Invalid>>()?,
            inspect_timeout: listener.inspect_timeout,
            stats: Rc::new(ListenerStats::new(&self.common.registry, listener)),
        })
    }

    fn http(&self, plan: &HttpPlan, encrypted: bool, buffer_limit: usize) -> Result<HttpRuntime, Invalid> {
        let (mut filters, mut suppress_envoy_headers) = (Vec::new(), false);
        for filter in &plan.filters {
            if let FilterConfig::Router(router) = &*filter.config {
                suppress_envoy_headers = router.suppress_envoy_headers;
            }
            if let Some(prepared) = &filter.prepared {
                let slot = self
                    .slots
                    .start(prepared)
                    .map_err(|refusal| refusal.within(&filter.name))?;
                filters.push(Filter {
                    name: filter.name.clone(),
                    disabled: filter.disabled,
                    slot,
                });
            }
        }
        let mut overrides = Vec::new();
        for (name, value) in plan.routes.overrides() {
            let prepared = match value {
                FilterOverride::Disabled => None,
                FilterOverride::Config(config) => {
                    let found = plan.overrides.iter().find(|(known, _)| known == &**config);
                    found.map(|(_, prepared)| prepared)
                }
            };
            let slot = prepared.map(|prepared| self.slots.start(prepared)).transpose();
            overrides.push(slot.map_err(|refusal| refusal.within(name))?);
        }
        let usual = filters
            .iter()
            .filter(|filter| !filter.disabled)
            .map(|filter| Rc::clone(&filter.slot));
        Ok(HttpRuntime {
            suppress_envoy_headers,
            buffer_limit,
            server: Rc::new(ServerSettings {
                encrypted,
                ..ServerSettings::new(&plan.manager)
            }),
            routes: LocalTable::new(Arc::clone(&plan.routes)),
            logger: AccessLogger::new(&plan.manager.access_log, &self.sinks)?,
            templates: Templates::default(),
            stats: HttpStats::new(&self.common.registry, &plan.manager.stat_prefix),
            clock: Rc::clone(&self.clock),
            usual: usual.collect(),
            manager: Arc::clone(&plan.manager),
            filters,
            overrides,
        })
    }
}

impl HttpRuntime {
    /// The filters for an exchange on this route, in order.
    #[must_use]
    pub fn filters_for(&self, route: Option<&RouteRef>) -> Rc<[Rc<FilterSlot>]> {
        let Some(route) = route.filter(|route| !route.has_no_overrides()) else {
            return Rc::clone(&self.usual);
        };
        let slot = |filter: &Filter| match route.filter_override(&filter.name) {
            None => (!filter.disabled).then(|| Rc::clone(&filter.slot)),
            Some((id, _)) => self.overrides.get(id).cloned().flatten(),
        };
        self.filters.iter().filter_map(slot).collect()
    }
}

/// Format strings of header edits, read once.
#[derive(Default)]
pub struct Templates(RefCell<HashMap<String, Option<Rc<Template>>>>);

impl Templates {
    /// Appends the text of `format`. One that cannot be answered was refused with its configuration.
    pub fn write(&self, format: &Format, record: &ExchangeRecord<'_>, out: &mut Vec<u8>) {
        let known = self.0.borrow().get(&format.source).cloned();
        let template = known.unwrap_or_else(|| {
            let template = Template::new(format).ok().map(Rc::new);
            self.0
                .borrow_mut()
                .insert(format.source.clone(), template.clone());
            template
        });
        if let Some(template) = template {
            template.write(record, "", out);
        }
    }
}

/// The value of `date` (RFC 9110 §5.6.7), made once per second.
#[derive(Default)]
pub struct Clock(Cell<Option<(Instant, [u8; 29])>>);

impl Clock {
    /// As of now, or less than a second ago.
    #[must_use]
    pub fn date(&self) -> [u8; 29] {
        let now = Instant::now();
        if let Some((made, text)) = self.0.get()
            && now.duration_since(made) < Duration::from_millis(500)
        {
            return text;
        }
        let text = http_date(SystemTime::now());
        self.0.set(Some((now, text)));
        text
    }
}

/// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(time: SystemTime) -> [u8; 29] {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Days since 1 March of year 0 of the proleptic Gregorian calendar, whose years begin in March.
    let days_since = days + 719_468;
    let (era, of_era) = (days_since / 146_097, days_since % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let names = b"MarAprMayJunJulAugSepOctNovDecJanFeb";
    let weekdays = b"ThuFriSatSunMonTueWed";
    let name = |table: &[u8], index: u64| {
        let start = usize::try_from(index).unwrap_or(0) * 3;
        String::from_utf8_lossy(&table[start..start + 3]).into_owned()
    };
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(weekdays, days % 7),
        name(names, month),
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    let mut bytes = [b' '; 29];
    for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::http_date;

    #[test]
    fn dates_are_those_of_http() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ] {
            let date = http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(std::str::from_utf8(&date).unwrap(), expected);
        }
    }
}
