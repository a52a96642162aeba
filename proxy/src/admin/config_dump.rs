//! `/config_dump`: `envoy.admin.v3.ConfigDump` as JSON.

use std::time::SystemTime;

use hyper::StatusCode;
use leno_xds::resource::{Kind, Resource};
use leno_xds::{bootstrap, codec};
use regex_automata::meta::Regex;
use serde_json::{Map, Value, json};

use super::{Query, Reply};
use crate::access_log::moment;
use crate::config::store::known::Refusal;
use crate::config::view::{Entry, State, View};

const TYPE: &str = "type.googleapis.com/envoy.admin.v3.";

/// Longer values of `inline_bytes` are not shown: nobody reads a module in a dump.
const LONGEST_INLINE: usize = 4 << 10;

/// What Envoy shows instead of bytes that it does not show: `[redacted]` in base64.
const REDACTED: &str = "W3JlZGFjdGVkXQ==";

/// The page.
pub(super) fn answer(view: &View, query: &Query) -> Reply {
    if query.has("mask") {
        return Reply::refuse(
            StatusCode::BAD_REQUEST,
            "mask is not supported, use resource and name_regex\n",
        );
    }
    let names = match query
        .get("name_regex")
        .filter(|regex| !regex.is_empty())
        .map(Regex::new)
    {
        None => None,
        Some(Ok(names)) => Some(names),
        Some(Err(_)) => return Reply::refuse(StatusCode::BAD_REQUEST, "Error while parsing name_regex\n"),
    };
    let entries = |kind: Kind| {
        let names = names.clone();
        let named = move |entry: &&Entry| names.as_ref().is_none_or(|names| names.is_match(&entry.name));
        view.of_kind(kind).filter(named)
    };
    let resource = query.get("resource").unwrap_or_default();
    let mut configs = vec![
        boot(view),
        clusters(view, entries(Kind::Cluster)),
        filters(entries(Kind::Filter)),
    ];
    if query.has("include_eds") || resource.ends_with("endpoint_configs") {
        configs.push(endpoints(entries(Kind::LoadAssignment)));
    }
    configs.push(listeners(view, entries(Kind::Listener)));
    configs.push(routes(entries(Kind::RouteConfiguration), entries(Kind::Listener)));
    if resource.is_empty() {
        return Reply::json(&json!({"configs": configs}));
    }
    let found = configs
        .iter_mut()
        .find_map(|config| config.get_mut(resource).map(Value::take));
    match found {
        Some(Value::Array(list)) => Reply::json(&json!({"configs": list})),
        Some(one) => Reply::json(&json!({"configs": [one]})),
        None => Reply::refuse(
            StatusCode::NOT_FOUND,
            format!("{resource} not found in config dump\n"),
        ),
    }
}

/// As protobuf writes timestamps in JSON.
pub(super) fn timestamp(at: SystemTime) -> String {
    let pattern = leno_model::access_log::time_pattern::DEFAULT;
    let mut out = Vec::new();
    match leno_model::access_log::time_pattern::parse(pattern) {
        Ok(pattern) => moment::write(&pattern, at, &mut out),
        Err(reason) => out.extend_from_slice(reason.as_bytes()),
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn boot(view: &View) -> Value {
    let mut value = bootstrap::to_json(&view.bootstrap).unwrap_or_else(|error| error.to_string().into());
    redact(&mut value);
    json!({
        "@type": format!("{TYPE}BootstrapConfigDump"),
        "bootstrap": value,
        "last_updated": timestamp(view.bootstrap_at),
    })
}

fn clusters<'a>(view: &View, entries: impl Iterator<Item = &'a Entry>) -> Value {
    let (mut fixed, mut active, mut warming) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let refusal = entry.refusal.as_ref();
        match (&entry.active, entry.is_static) {
            (Some(state), true) => fixed.push(dump("cluster", state, None)),
            (Some(state), false) => active.push(dump("cluster", state, refusal)),
            (None, _) if entry.warming.is_none() => {
                active.extend(refusal.map(|refusal| json!({"error_state": error(refusal)})));
            }
            (None, _) => {}
        }
        warming.extend(
            entry
                .warming
                .as_ref()
                .map(|state| dump("cluster", state, refusal)),
        );
    }
    json!({
        "@type": format!("{TYPE}ClustersConfigDump"),
        "version_info": view.version(Kind::Cluster),
        "static_clusters": fixed,
        "dynamic_active_clusters": active,
        "dynamic_warming_clusters": warming,
    })
}

fn listeners<'a>(view: &View, entries: impl Iterator<Item = &'a Entry>) -> Value {
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for entry in entries {
        if let (Some(state), true) = (&entry.active, entry.is_static) {
            fixed.push(dump("listener", state, None));
            continue;
        }
        let mut one = Map::new();
        one.insert("name".to_owned(), entry.name.clone().into());
        let states = [("active_state", &entry.active), ("warming_state", &entry.warming)];
        for (key, state) in states {
            one.extend(
                state
                    .as_ref()
                    .map(|state| (key.to_owned(), dump("listener", state, None))),
            );
        }
        one.extend(
            entry
                .refusal
                .as_ref()
                .map(|refusal| ("error_state".to_owned(), error(refusal))),
        );
        dynamic.push(Value::Object(one));
    }
    json!({
        "@type": format!("{TYPE}ListenersConfigDump"),
        "version_info": view.version(Kind::Listener),
        "static_listeners": fixed,
        "dynamic_listeners": dynamic,
    })
}

fn routes<'a>(entries: impl Iterator<Item = &'a Entry>, listeners: impl Iterator<Item = &'a Entry>) -> Value {
    let fixed = listeners
        .filter_map(|entry| entry.active.as_ref())
        .flat_map(inline_routes);
    json!({
        "@type": format!("{TYPE}RoutesConfigDump"),
        "static_route_configs": fixed.collect::<Vec<_>>(),
        "dynamic_route_configs": discovered("route_config", entries),
    })
}

/// Routes that stand in listeners.
fn inline_routes(state: &State) -> Vec<Value> {
    use leno_model::http::RouteSource;
    use leno_model::listener::NetworkFilter;
    let Resource::Listener(listener) = &state.resource else {
        return Vec::new();
    };
    let managers = listener.chains().map(|chain| {
        let NetworkFilter::Http(manager) = &chain.network;
        manager
    });
    let routes = managers.filter_map(|manager| match &manager.routes {
        RouteSource::Inline(routes) => Some(Resource::RouteConfiguration(routes.clone())),
        RouteSource::Discovered(_) => None,
    });
    let at = timestamp(state.at);
    routes
        .map(|routes| json!({"route_config": resource(&routes), "last_updated": at}))
        .collect()
}

fn endpoints<'a>(entries: impl Iterator<Item = &'a Entry>) -> Value {
    json!({
        "@type": format!("{TYPE}EndpointsConfigDump"),
        "dynamic_endpoint_configs": discovered("endpoint_config", entries),
    })
}

fn filters<'a>(entries: impl Iterator<Item = &'a Entry>) -> Value {
    json!({
        "@type": format!("{TYPE}EcdsConfigDump"),
        "ecds_filters": discovered("ecds_filter", entries),
    })
}

fn discovered<'a>(key: &str, entries: impl Iterator<Item = &'a Entry>) -> Vec<Value> {
    let each = entries.filter_map(|entry| match (&entry.active, &entry.refusal) {
        (Some(state), refusal) => Some(dump(key, state, refusal.as_ref())),
        (None, Some(refusal)) => Some(json!({"name": entry.name, "error_state": error(refusal)})),
        (None, None) => None,
    });
    each.collect()
}

fn dump(key: &str, state: &State, refusal: Option<&Refusal>) -> Value {
    let mut one = Map::new();
    if !state.version.is_empty() {
        one.insert("version_info".to_owned(), state.version.clone().into());
    }
    one.insert(key.to_owned(), resource(&state.resource));
    one.insert("last_updated".to_owned(), timestamp(state.at).into());
    one.extend(refusal.map(|refusal| ("error_state".to_owned(), error(refusal))));
    Value::Object(one)
}

fn error(refusal: &Refusal) -> Value {
    json!({
        "last_update_attempt": timestamp(refusal.at),
        "details": refusal.reason,
        "version_info": refusal.version,
    })
}

fn resource(resource: &Resource) -> Value {
    let mut value = codec::to_json(resource).unwrap_or_else(|error| error.to_string().into());
    redact(&mut value);
    value
}

/// As Envoy does with everything that its API calls sensitive.
fn redact_key(source: &mut Map<String, Value>) {
    for (name, field) in source {
        match name.as_str() {
            "filename" => {}
            // Base64, as the bytes themselves would be.
            "inline_bytes" => *field = "W3JlZGFjdGVkXQ==".into(),
            _ => *field = "[redacted]".into(),
        }
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Object(source) if name == "private_key" => redact_key(source),
                    Value::String(text) if name == "inline_bytes" && text.len() > LONGEST_INLINE => {
                        REDACTED.clone_into(text);
                    }
                    other => redact(other),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
