//! The table of pages, and the small ones themselves.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::StatusCode;
use regex_automata::meta::Regex;
use serde_json::{Value, json};

use super::{Life, Order, Query, Reply, Shared, clusters, config_dump};
use crate::stats::text::Selection;
use crate::stats::{prometheus, text};

/// One page.
struct Page {
    path: &'static str,
    /// It changes something: `POST` only.
    changes: bool,
    help: &'static str,
}

const fn shows(path: &'static str, help: &'static str) -> Page {
    Page {
        path,
        changes: false,
        help,
    }
}

const fn changes_by(path: &'static str, help: &'static str) -> Page {
    Page {
        path,
        changes: true,
        help,
    }
}

/// All pages, in the order of the help page.
const PAGES: &[Page] = &[
    shows("/", "this page"),
    shows("/certs", "print certs on machine"),
    shows("/clusters", "upstream cluster status; format=json"),
    shows(
        "/config_dump",
        "dump current configs; resource=, name_regex=, include_eds",
    ),
    changes_by(
        "/drain_listeners",
        "drain listeners; inboundonly (always graceful)",
    ),
    changes_by("/healthcheck/fail", "cause the server to fail health checks"),
    changes_by("/healthcheck/ok", "cause the server to pass health checks"),
    shows("/help", "this page"),
    shows("/listeners", "print listener info; format=json"),
    changes_by(
        "/logging",
        "query or change logging levels; level=, or COMPONENT=LEVEL",
    ),
    shows("/memory", "print current allocation/heap usage"),
    changes_by("/quitquitquit", "exit the server"),
    shows(
        "/ready",
        "print server state, return 200 if LIVE, otherwise return 503",
    ),
    changes_by("/reopen_logs", "reopen access logs"),
    shows("/runtime", "print runtime values (there are none)"),
    shows("/server_info", "print server version/status information"),
    shows(
        "/stats",
        "print server stats; filter=REGEX, usedonly, format=json|prometheus",
    ),
    shows(
        "/stats/prometheus",
        "print server stats in prometheus format; filter=REGEX, usedonly",
    ),
];

/// Whether `path` changes something.
pub(super) fn changes(path: &str) -> bool {
    PAGES.iter().any(|page| page.path == path && page.changes)
}

/// The page at `path`. Methods have been checked.
pub(super) async fn answer(path: &str, query: &Query, shared: &Shared) -> Reply {
    match path {
        "/" | "/help" => help(),
        "/ready" => ready(shared),
        "/server_info" => Reply::json(&server_info(shared)),
        "/stats" => stats(query, shared),
        "/stats/prometheus" => match selection(query) {
            Ok(selection) => prometheus_page(&selection, shared),
            Err(reply) => reply,
        },
        "/config_dump" => match shared.view().await {
            Some(view) => config_dump::answer(&view, query),
            None => gone(),
        },
        "/clusters" => match shared.view().await {
            Some(view) => clusters::answer(&view, query),
            None => gone(),
        },
        "/listeners" => listeners(query, shared),
        "/logging" => logging(query, shared),
        "/drain_listeners" => {
            let order = Order::Drain {
                inbound_only: query.has("inboundonly"),
            };
            give(shared, order).await
        }
        "/quitquitquit" => give(shared, Order::Quit).await,
        "/reopen_logs" => give(shared, Order::ReopenLogs).await,
        "/healthcheck/fail" => health(shared, false),
        "/healthcheck/ok" => health(shared, true),
        "/certs" => Reply::json(&json!({"certificates": []})),
        "/memory" => memory(),
        "/runtime" => Reply::json(&json!({"layers": [], "entries": {}})),
        _ => Reply::refuse(StatusCode::NOT_FOUND, format!("invalid path. {}", help_text())),
    }
}

fn gone() -> Reply {
    Reply::refuse(StatusCode::SERVICE_UNAVAILABLE, "the proxy is ending\n")
}

fn help() -> Reply {
    Reply::text(help_text())
}

fn help_text() -> String {
    let mut out = "admin commands are:\n".to_owned();
    for page in PAGES {
        let post = if page.changes { " (POST)" } else { "" };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "  {}{post}: {}", page.path, page.help);
    }
    out
}

fn life_name(life: Life) -> &'static str {
    match life {
        Life::Initializing => "INITIALIZING",
        Life::Live => "LIVE",
        Life::Draining => "DRAINING",
    }
}

fn ready(shared: &Shared) -> Reply {
    let life = shared.visible_life();
    let body = format!("{}\n", life_name(life));
    match life {
        Life::Live => Reply::text(body),
        Life::Initializing | Life::Draining => Reply::refuse(StatusCode::SERVICE_UNAVAILABLE, body),
    }
}

fn server_info(shared: &Shared) -> Value {
    let options = &shared.options;
    let uptime = shared.started.0.elapsed().as_secs();
    let version = env!("CARGO_PKG_VERSION");
    let profile = if cfg!(debug_assertions) {
        "DEBUG"
    } else {
        "RELEASE"
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    json!({
        "version": format!("leno/{version}/{profile}"),
        "state": life_name(shared.visible_life()),
        "hot_restart_version": "disabled",
        "uptime_current_epoch": format!("{uptime}s"),
        "uptime_all_epochs": format!("{uptime}s"),
        "command_line_options": {
            "concurrency": options.workers(),
            "config_path": options.config_path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            "config_yaml": text(&options.config_yaml),
            "service_node": text(&options.service_node),
            "service_cluster": text(&options.service_cluster),
            "service_zone": text(&options.service_zone),
            "log_level": format!("{:?}", options.log_level).to_lowercase(),
            "component_log_level": text(&options.component_log_level),
            "mode": format!("{:?}", options.mode),
            "drain_time": format!("{}s", options.drain_time_s),
            "file_flush_interval": format!("{}s", options.flush_interval().as_secs_f64()),
            "disable_hot_restart": true,
        },
    })
}

fn selection(query: &Query) -> Result<Selection, Reply> {
    let filter = query.get("filter").filter(|filter| !filter.is_empty());
    let filter = filter.map(|filter| {
        let wrong = |_| Reply::refuse(StatusCode::BAD_REQUEST, format!("Invalid re2 regex: {filter}\n"));
        Regex::new(filter).map_err(wrong)
    });
    Ok(Selection {
        filter: filter.transpose()?,
        used_only: query.has("usedonly"),
    })
}

fn stats(query: &Query, shared: &Shared) -> Reply {
    let selection = match selection(query) {
        Ok(selection) => selection,
        Err(reply) => return reply,
    };
    match query.get("format").unwrap_or("text") {
        "text" | "" => Reply::text(text::lines(&samples(shared), &selection)),
        "json" => Reply::json(&text::json(&samples(shared), &selection)),
        "prometheus" => prometheus_page(&selection, shared),
        other => {
            let words = format!("format {other:?} is not one of text, json, prometheus\n");
            Reply::refuse(StatusCode::BAD_REQUEST, words)
        }
    }
}

fn prometheus_page(selection: &Selection, shared: &Shared) -> Reply {
    let page = prometheus::render(&samples(shared), selection);
    Reply::text(page).content_type("text/plain; version=0.0.4; charset=utf-8")
}

fn samples(shared: &Shared) -> Vec<crate::stats::snapshot::Sample> {
    let registry = &shared.registry;
    registry.set_gauge("server.uptime", shared.started.0.elapsed().as_secs());
    registry.set_gauge("server.live", u64::from(shared.visible_life() == Life::Live));
    registry.set_gauge("server.concurrency", shared.options.workers() as u64);
    registry.set_gauge("server.memory_physical_size", resident().unwrap_or(0));
    // Envoy's numbers: 0 live, 1 draining, 2 before and 3 during initialization.
    let state = match shared.visible_life() {
        Life::Live => 0,
        Life::Draining => 1,
        Life::Initializing => 3,
    };
    registry.set_gauge("server.state", state);
    registry.snapshot(Instant::now())
}

fn listeners(query: &Query, shared: &Shared) -> Reply {
    let bound = shared.bound();
    if query.get("format") == Some("json") {
        let status = bound.iter().map(|(name, address)| {
            let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
            json!({"name": name, "local_address": {"socket_address": socket}})
        });
        return Reply::json(&json!({"listener_statuses": status.collect::<Vec<_>>()}));
    }
    let mut out = String::new();
    for (name, address) in bound {
        let _ = writeln!(out, "{name}::{address}");
    }
    Reply::text(out)
}

fn logging(query: &Query, shared: &Shared) -> Reply {
    let Some(log) = &shared.log else {
        let text = "the log belongs to the program that this proxy runs in\n";
        return Reply::refuse(StatusCode::NOT_IMPLEMENTED, text);
    };
    for (name, value) in query.iter() {
        let result = match name {
            "level" => log.set_all(value),
            "paths" => value.split(',').try_for_each(|pair| match pair.split_once(':') {
                Some((path, level)) => log.set(path, level),
                None => Err(format!("{pair:?} is not PATH:LEVEL")),
            }),
            component => log.set(component, value),
        };
        if let Err(reason) = result {
            return Reply::refuse(StatusCode::BAD_REQUEST, format!("error: {reason}\n"));
        }
    }
    Reply::text(log.describe())
}

async fn give(shared: &Shared, order: Order) -> Reply {
    match shared.orders.send(order).await {
        Ok(()) => Reply::text("OK\n"),
        Err(_) => gone(),
    }
}

fn health(shared: &Shared, healthy: bool) -> Reply {
    shared.healthy.store(healthy, Ordering::Relaxed);
    Reply::text("OK\n")
}

/// What the system says: the allocator keeps no statistics of its own.
fn memory() -> Reply {
    let resident = resident().unwrap_or(0).to_string();
    Reply::json(&json!({
        "allocated": resident,
        "heap_size": resident,
        "total_physical_bytes": resident,
    }))
}

/// Resident bytes, from `/proc/self/status` (proc(5)).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
