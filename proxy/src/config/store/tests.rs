//! What the store asks for, answers and publishes, event by event. A filter is its configuration's name here, and a
//! route table is the name of its routes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leno_model::bootstrap::Node;
use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::LoadAssignment;
use leno_model::filter::{
    DiscoveredFilter, FailurePolicy, FilterConfig, FilterSource, HttpFilter, Router, WasmCode, WasmFilter,
    WasmVm,
};
use leno_model::http::{HttpConnectionManager, RouteSource};
use leno_model::listener::{FilterChain, Listener, NetworkFilter};
use leno_model::route::{
    Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use leno_model::tls::{CommonTls, UpstreamTls};
use leno_xds::resource::{Kind, Resource};

use super::parts::{Part, PartId, Ready};
use super::{Action, Note, Now, Settings, Store, Token, Update, Versioned};
use crate::config::plan::{ChainPlan, Plan};

const WAIT: Duration = Duration::from_secs(15);

type Text = Arc<String>;

struct Bench {
    store: Store<Text, Text>,
    now: Now,
    /// Answers, subscriptions and notes as words, since they were last looked at.
    heard: Vec<String>,
    /// Preparations that are held back.
    held: Vec<(PartId, Part)>,
    hold: bool,
    /// Names that the next update takes away.
    removed: Vec<String>,
    plan: Option<Plan<Text, Text>>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::with(true);
        bench.store.loaded(bench.now);
        bench
    }

    fn with(discovers: bool) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
        };
        let settings = Settings {
            node: Arc::new(Node::default()),
            discovers_clusters: discovers,
            discovers_listeners: discovers,
            fetch_timeout: WAIT,
            no_routes: text("no routes"),
        };
        Self {
            store: Store::new(settings, now),
            now,
            heard: Vec::new(),
            held: Vec::new(),
            hold: false,
            removed: Vec::new(),
            plan: None,
        }
    }

    /// Sends an update with the number `token` and looks after what the store asks for.
    fn send(&mut self, token: u64, kind: Kind, resources: Vec<Resource>) {
        let version = format!("v{token}");
        let versioned = |resource| Versioned {
            resource,
            version: version.clone(),
        };
        let update = Update {
            token: Some(Token { kind, number: token }),
            kind,
            resources: resources.into_iter().map(versioned).collect(),
            refused: Vec::new(),
            removed: std::mem::take(&mut self.removed),
            version: version.clone(),
        };
        self.store.update(update, self.now);
        self.run();
    }

    fn run(&mut self) {
        loop {
            let actions = self.store.actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(action);
            }
        }
        if let Some(plan) = self.store.plan() {
            self.plan = Some(plan);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Prepare(id, part) if self.hold => self.held.push((id, part)),
            Action::Prepare(id, part) => self.prepare(id, &part),
            Action::Answer(token, refused) => {
                let number = token.map_or(0, |token| token.number);
                let words = refused.iter().map(|(name, reason)| format!("{name}: {reason}"));
                let words = words.collect::<Vec<_>>().join("; ");
                self.heard.push(match words.as_str() {
                    "" => format!("ack {number}"),
                    words => format!("nack {number}: {words}"),
                });
            }
            Action::Subscribe(kind, names) => {
                self.heard.push(format!("want {}: {}", kind.noun(), list(&names)))
            }
            Action::Note(Note::Active { kind, name, .. }) => {
                self.heard.push(format!("active {} {name}", kind.noun()))
            }
            Action::Note(Note::TimedOut(kind, name)) => {
                self.heard.push(format!("late {} {name}", kind.noun()))
            }
            Action::Note(Note::Removed(kind, name)) => {
                self.heard.push(format!("gone {} {name}", kind.noun()))
            }
            Action::Note(Note::Taken(..) | Note::Refused(..)) => {}
            Action::Initialized => self.heard.push("initialized".to_owned()),
        }
    }

    /// Guests whose name begins with `bad` do not start.
    fn prepare(&mut self, id: PartId, part: &Part) {
        let result = match part {
            Part::Filter(config) => match name_of(config) {
                bad if bad.starts_with("bad") => Err(format!("guest {bad} does not start")),
                good => Ok(Ready::Filter(text(good))),
            },
            Part::Routes(routes) => Ok(Ready::Routes(text(&routes.name))),
            Part::Listener(_) => Ok(Ready::Checked),
            Part::ServerTls(_) | Part::ClientTls(_) => Err("there are no files here".to_owned()),
        };
        self.store.prepared(id, result, self.now);
    }

    fn release(&mut self) {
        self.hold = false;
        for (id, part) in std::mem::take(&mut self.held) {
            self.prepare(id, &part);
        }
        self.run();
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.store.on_time(self.now);
        self.run();
    }

    #[track_caller]
    fn hears(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.heard), expected);
    }

    /// The plan as `listener: routes [filters]` and `cluster(endpoints known)`.
    fn serves(&self) -> String {
        let Some(plan) = &self.plan else {
            return "nothing".to_owned();
        };
        let listeners = plan.listeners.iter().map(|(name, plan)| {
            let ChainPlan::Http(http) = &plan.chains[0];
            let filters = http.filters.iter().filter_map(|filter| filter.prepared.as_ref());
            let filters: Vec<_> = filters.map(|filter| filter.as_str()).collect();
            format!("{name}: {} {filters:?}", http.routes)
        });
        let clusters = plan.clusters.iter().map(|(name, plan)| match plan.endpoints {
            Some(_) => format!("{name}+"),
            None => name.clone(),
        });
        listeners.chain(clusters).collect::<Vec<_>>().join(", ")
    }
}

fn text(text: &str) -> Text {
    Arc::new(text.to_owned())
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(" ")
}

fn name_of(config: &FilterConfig) -> &str {
    match config {
        FilterConfig::Wasm(wasm) => &wasm.name,
        FilterConfig::Router(_) => "router",
    }
}

fn guest(name: &str) -> Arc<FilterConfig> {
    Arc::new(FilterConfig::Wasm(Box::new(WasmFilter {
        name: name.to_owned(),
        root_id: String::new(),
        vm: WasmVm {
            id: String::new(),
            code: WasmCode::Inline(b"\0asm"[..].into()),
            configuration: Vec::new(),
            environment: Default::default(),
            host_environment: Default::default(),
        },
        configuration: Vec::new(),
        failure: FailurePolicy::Closed,
        reload_backoff: Duration::from_secs(1),
        capabilities: None,
        allow_on_headers_stop_iteration: false,
    })))
}

fn inline(name: &str) -> HttpFilter {
    HttpFilter {
        name: "f".to_owned(),
        source: FilterSource::Inline(guest(name)),
        disabled: false,
    }
}

fn discovered(default: Option<&str>, type_url: &str) -> HttpFilter {
    HttpFilter {
        name: "f".to_owned(),
        source: FilterSource::Discovered(DiscoveredFilter {
            default: default.map(guest),
            apply_default_without_warming: false,
            type_urls: vec![type_url.to_owned()],
        }),
        disabled: false,
    }
}

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

fn listener(name: &str, routes: &str, filter: HttpFilter) -> Resource {
    let router = HttpFilter {
        name: "router".to_owned(),
        source: FilterSource::Inline(Arc::new(FilterConfig::Router(Router::default()))),
        disabled: false,
    };
    let routes = match routes.strip_prefix("inline ") {
        Some(name) => RouteSource::Inline(configuration(name)),
        None => RouteSource::Discovered(routes.to_owned()),
    };
    let manager = HttpConnectionManager {
        routes,
        filters: vec![filter, router],
        ..HttpConnectionManager::default()
    };
    let address = "127.0.0.1:0".parse().unwrap();
    Resource::Listener(Arc::new(Listener::new(name, address, FilterChain::http(manager))))
}

fn configuration(name: &str) -> Arc<RouteConfiguration> {
    Arc::new(RouteConfiguration {
        name: name.to_owned(),
        ..RouteConfiguration::default()
    })
}

fn routes(name: &str) -> Resource {
    Resource::RouteConfiguration(configuration(name))
}

fn cluster(name: &str, discovery: Discovery) -> Resource {
    Resource::Cluster(Arc::new(Cluster::new(name, discovery)))
}

fn endpoints(name: &str) -> Resource {
    Resource::LoadAssignment(Arc::new(LoadAssignment {
        cluster: name.to_owned(),
        localities: Vec::new(),
    }))
}

fn filter(name: &str) -> Resource {
    Resource::Filter {
        name: "f".to_owned(),
        config: guest(name),
    }
}

#[test]
fn a_listener_waits_for_clusters_routes_and_filters() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Listener,
        vec![listener("l", "r", discovered(None, WASM))],
    );
    bench.hears(&[
        "ack 1",
        "want TypedExtensionConfig: f",
        "want RouteConfiguration: r",
    ]);
    bench.send(
        2,
        Kind::Cluster,
        vec![cluster("c", Discovery::Eds("e".to_owned()))],
    );
    bench.hears(&["ack 2", "want ClusterLoadAssignment: e"]);
    bench.send(3, Kind::RouteConfiguration, vec![routes("r")]);
    bench.send(4, Kind::Filter, vec![filter("one")]);
    bench.hears(&["ack 3", "ack 4"]);
    assert_eq!(bench.serves(), "nothing");
    bench.send(5, Kind::LoadAssignment, vec![endpoints("e")]);
    bench.hears(&["ack 5", "active Cluster c", "active Listener l", "initialized"]);
    assert_eq!(bench.serves(), r#"l: r ["one"], c+"#);
}

#[test]
fn a_bad_filter_is_refused_by_name_and_the_old_listener_serves() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    let good = listener("l", "inline r", inline("one"));
    bench.send(
        2,
        Kind::Listener,
        vec![good, listener("other", "inline r", inline("one"))],
    );
    bench.heard.clear();
    let bad = listener("l", "inline r", inline("bad"));
    bench.send(
        3,
        Kind::Listener,
        vec![bad, listener("other", "inline s", inline("two"))],
    );
    bench.hears(&["nack 3: l: guest bad does not start", "active Listener other"]);
    assert_eq!(bench.serves(), r#"l: r ["one"], other: s ["two"]"#);
    let slot = &bench.store.listeners["l"];
    assert_eq!(slot.refusal.as_ref().unwrap().reason, "guest bad does not start");
    assert_eq!(slot.active.as_ref().unwrap().0.version, "v2");
}

#[test]
fn a_bad_filter_over_ecds_changes_nothing() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    bench.send(
        2,
        Kind::Listener,
        vec![listener("l", "inline r", discovered(None, WASM))],
    );
    bench.send(3, Kind::Filter, vec![filter("one")]);
    bench.heard.clear();
    bench.plan = None;
    bench.send(4, Kind::Filter, vec![filter("bad")]);
    bench.hears(&["nack 4: f: guest bad does not start"]);
    assert_eq!(bench.serves(), "nothing", "no new plan");
    bench.send(5, Kind::Filter, vec![filter("two")]);
    bench.hears(&["ack 5"]);
    assert_eq!(bench.serves(), r#"l: r ["two"]"#);
}

#[test]
fn a_failed_filter_is_tried_again_when_it_is_pushed_again() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    bench.send(
        2,
        Kind::Listener,
        vec![listener("l", "inline r", discovered(None, WASM))],
    );
    bench.hold = true;
    bench.send(3, Kind::Filter, vec![filter("one")]);
    let (id, _) = bench.held.remove(0);
    bench
        .store
        .prepared(id, Err("registry is down".to_owned()), bench.now);
    bench.run();
    bench.send(4, Kind::Filter, vec![filter("one")]);
    bench.heard.clear();
    bench.release();
    bench.hears(&["ack 4", "active Listener l", "initialized"]);
}

#[test]
fn updates_of_one_kind_are_answered_in_order_and_others_pass() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    bench.hold = true;
    bench.send(2, Kind::Listener, vec![listener("l", "inline r", inline("slow"))]);
    bench.hold = false;
    bench.send(
        3,
        Kind::Listener,
        vec![listener("l", "inline r", inline("quick"))],
    );
    bench.send(
        4,
        Kind::Cluster,
        vec![cluster("c", Discovery::Static(Arc::default()))],
    );
    bench.hears(&["ack 1", "ack 4", "active Cluster c"]);
    bench.release();
    bench.hears(&["ack 2", "ack 3", "active Listener l", "initialized"]);
    assert_eq!(bench.serves(), r#"l: r ["quick"], c"#);
}

#[test]
fn what_is_waited_for_in_vain_does_not_hold_up_the_start() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Cluster,
        vec![cluster("c", Discovery::Eds("e".to_owned()))],
    );
    let closed = listener("closed", "inline r", discovered(None, WASM));
    let with_default = listener("open", "r", discovered(Some("default"), WASM));
    bench.send(2, Kind::Listener, vec![closed, with_default]);
    bench.heard.clear();
    assert_eq!(bench.store.deadline(), Some(bench.now.instant + WAIT));
    bench.wait(WAIT);
    bench.hears(&[
        "late Cluster c",
        "active Cluster c",
        "late Listener closed",
        "active Listener open",
        "initialized",
    ]);
    assert_eq!(bench.serves(), r#"open: no routes ["default"], c"#);
    assert_eq!(bench.store.deadline(), None);
    bench.send(3, Kind::Filter, vec![filter("late")]);
    bench.hears(&["ack 3", "active Listener closed"]);
    assert_eq!(
        bench.serves(),
        r#"closed: r ["late"], open: no routes ["late"], c"#
    );
}

#[test]
fn a_changed_listener_serves_as_before_until_its_routes_are_there() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    bench.send(2, Kind::Listener, vec![listener("l", "inline r", inline("one"))]);
    bench.heard.clear();
    bench.send(3, Kind::Listener, vec![listener("l", "new", inline("one"))]);
    bench.hears(&["ack 3", "want RouteConfiguration: new"]);
    assert_eq!(bench.serves(), r#"l: r ["one"]"#);
    bench.send(4, Kind::RouteConfiguration, vec![routes("new")]);
    bench.hears(&["ack 4", "active Listener l"]);
    assert_eq!(bench.serves(), r#"l: new ["one"]"#);
}

#[test]
fn what_does_not_change_is_the_same_in_the_next_plan() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Cluster,
        vec![cluster("c", Discovery::Static(Arc::default()))],
    );
    let both = |other: &str| {
        vec![
            listener("l", "inline r", inline("one")),
            listener("other", "inline r", inline(other)),
        ]
    };
    bench.send(2, Kind::Listener, both("two"));
    let before = bench.plan.take().unwrap();
    bench.send(3, Kind::Listener, both("three"));
    let after = bench.plan.take().unwrap();
    assert!(Arc::ptr_eq(&before.listeners["l"], &after.listeners["l"]));
    assert!(Arc::ptr_eq(&before.clusters["c"], &after.clusters["c"]));
    let prepared = |plan: &Plan<Text, Text>, name: &str| {
        let ChainPlan::Http(http) = &plan.listeners[name].chains[0];
        http.filters[0].prepared.clone().unwrap()
    };
    assert!(!Arc::ptr_eq(
        &prepared(&before, "other"),
        &prepared(&after, "other")
    ));
    bench.send(4, Kind::Listener, both("three"));
    assert!(bench.plan.is_none(), "a push without a change is no plan");
}

#[test]
fn what_is_taken_away_is_gone_and_what_is_refused_stays() {
    let mut bench = Bench::new();
    bench.send(1, Kind::Cluster, Vec::new());
    let both = vec![
        listener("a", "inline r", inline("one")),
        listener("b", "inline r", inline("one")),
    ];
    bench.send(2, Kind::Listener, both);
    bench.heard.clear();
    bench.removed = vec!["a".to_owned(), "never there".to_owned()];
    bench.send(3, Kind::Listener, vec![listener("b", "inline r", inline("bad"))]);
    bench.hears(&["gone Listener a", "nack 3: b: guest bad does not start"]);
    assert_eq!(bench.serves(), r#"b: r ["one"]"#);
}

#[test]
fn filters_of_another_type_are_refused() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Listener,
        vec![listener(
            "l",
            "inline r",
            discovered(None, "type.googleapis.com/x.Y"),
        )],
    );
    bench.heard.clear();
    bench.send(2, Kind::Filter, vec![filter("one")]);
    bench.hears(&[&format!(
        "nack 2: f: filter config has type URL {WASM} but listener l expects type.googleapis.com/x.Y"
    )]);
}

#[test]
fn resources_that_could_not_be_read_are_refused_with_the_rest_taken() {
    let mut bench = Bench::new();
    let update = Update {
        token: Some(Token {
            kind: Kind::Cluster,
            number: 1,
        }),
        kind: Kind::Cluster,
        resources: vec![Versioned {
            resource: cluster("c", Discovery::Static(Arc::default())),
            version: "v1".to_owned(),
        }],
        refused: vec![("d".to_owned(), "lb_policy: MAGLEV is not supported".to_owned())],
        removed: Vec::new(),
        version: "v1".to_owned(),
    };
    bench.store.update(update, bench.now);
    bench.run();
    bench.hears(&["ack 1", "active Cluster c"]);
    assert_eq!(
        bench.store.clusters["d"].refusal.as_ref().unwrap().reason,
        "lb_policy: MAGLEV is not supported"
    );
    assert!(
        bench.store.versions.is_empty(),
        "the set was not taken as a whole"
    );
    assert_eq!(bench.serves(), "c");
}

#[test]
fn the_bootstrap_serves_without_a_server_and_cannot_be_replaced() {
    let mut bench = Bench::with(false);
    let update = Update {
        token: None,
        kind: Kind::Listener,
        resources: vec![Versioned {
            resource: listener("l", "inline r", inline("one")),
            version: String::new(),
        }],
        refused: Vec::new(),
        removed: Vec::new(),
        version: String::new(),
    };
    bench.store.update(update, bench.now);
    bench.store.loaded(bench.now);
    bench.run();
    bench.hears(&["ack 0", "active Listener l", "initialized"]);
    bench.send(1, Kind::Listener, vec![listener("l", "inline s", inline("one"))]);
    bench.hears(&["nack 1: l: stands in the bootstrap and cannot be changed over xDS"]);
    bench.removed = vec!["l".to_owned()];
    bench.send(2, Kind::Listener, Vec::new());
    assert_eq!(bench.serves(), r#"l: r ["one"]"#);
}

/// `listener` at this address, with one inline route to `to`.
fn forwarding(name: &str, address: &str, to: &str) -> Resource {
    let Resource::Listener(plain) = listener(name, "inline r", inline("one")) else {
        unreachable!("it is a listener");
    };
    let NetworkFilter::Http(manager) = &plain.filter_chains[0].network;
    let route = Route {
        name: String::new(),
        matches: RouteMatch::path(PathMatch::Prefix("/".to_owned())),
        action: RouteAction::Forward(Box::new(Forward::to(to))),
        edits: HeaderEdits::default(),
        filter_overrides: Default::default(),
    };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        edits: HeaderEdits::default(),
        retry: None,
        tells_attempts: Default::default(),
        filter_overrides: Default::default(),
    };
    let routes = RouteConfiguration {
        name: format!("to {to}"),
        virtual_hosts: vec![host],
        ..RouteConfiguration::default()
    };
    let manager = HttpConnectionManager {
        routes: RouteSource::Inline(Arc::new(routes)),
        ..(**manager).clone()
    };
    let chain = FilterChain::http(manager);
    Resource::Listener(Arc::new(Listener {
        address: address.parse().unwrap(),
        filter_chains: vec![chain],
        ..(*plain).clone()
    }))
}

#[test]
fn a_listener_with_a_route_to_nowhere_is_refused_until_its_cluster_is_there() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Cluster,
        vec![cluster("c", Discovery::Static(Arc::default()))],
    );
    bench.send(2, Kind::Listener, vec![forwarding("l", "127.0.0.1:0", "c")]);
    bench.heard.clear();
    bench.send(3, Kind::Listener, vec![forwarding("l", "127.0.0.1:0", "d")]);
    bench.hears(&[
        "nack 3: l: filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster: \
         unknown cluster `d`: define it, or set validate_clusters to false where it will come later",
    ]);
    assert_eq!(bench.serves(), r#"l: to c ["one"], c"#);
    // A cluster that only warms is there.
    bench.send(
        4,
        Kind::Cluster,
        vec![cluster("d", Discovery::Eds("e".to_owned()))],
    );
    bench.send(5, Kind::Listener, vec![forwarding("l", "127.0.0.1:0", "d")]);
    bench.hears(&[
        "ack 4",
        "want ClusterLoadAssignment: e",
        "ack 5",
        "active Listener l",
    ]);
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let mut bench = Bench::new();
    bench.send(
        1,
        Kind::Cluster,
        vec![cluster("c", Discovery::Static(Arc::default()))],
    );
    let at = |name: &str, port: u16| forwarding(name, &format!("127.0.0.1:{port}"), "c");
    bench.send(
        2,
        Kind::Listener,
        vec![at("a", 80), at("b", 80), at("c", 81), at("d", 0), at("e", 0)],
    );
    bench.hears(&[
        "ack 1",
        "active Cluster c",
        "nack 2: b: address: 127.0.0.1:80 is taken by listener a",
        "active Listener a",
        "active Listener c",
        "active Listener d",
        "active Listener e",
        "initialized",
    ]);
    // One takes over from another that goes.
    bench.removed = vec!["a".to_owned()];
    bench.send(3, Kind::Listener, vec![at("b", 80)]);
    bench.hears(&["gone Listener a", "ack 3", "active Listener b"]);
}

#[test]
fn listeners_are_taken_after_the_clusters_before_them() {
    let mut bench = Bench::new();
    bench.hold = true;
    let plain = Cluster::new("c", Discovery::Eds("e".to_owned()));
    let encrypted = Cluster {
        tls: Some(Arc::new(UpstreamTls {
            common: CommonTls::default(),
            server_name: String::new(),
            endpoint_name: false,
            verify_server_name: false,
        })),
        ..plain
    };
    bench.send(1, Kind::Cluster, vec![Resource::Cluster(Arc::new(encrypted))]);
    bench.hold = false;
    bench.send(2, Kind::Listener, vec![listener("l", "inline r", inline("one"))]);
    bench.hears(&[]);
    bench.release();
    bench.hears(&[
        "nack 1: c: there are no files here",
        "ack 2",
        "active Listener l",
        "initialized",
    ]);
}
