//! `leno proxy-config`: parts of `/config_dump` and `/clusters` as tables.

use std::process::ExitCode;

use serde_json::Value;

use super::{at, fetch, list, text};
use crate::options::{ConfigPart, Format, ProxyConfig};
use crate::output::{note, print, table};

pub(crate) async fn run(command: ProxyConfig) -> anyhow::Result<ExitCode> {
    let format = command.output.output;
    let document = match command.part {
        ConfigPart::Endpoints => fetch(&command.admin, "/clusters?format=json").await?,
        _ => fetch(&command.admin, "/config_dump").await?,
    };
    let (document, rows): (Value, fn(&Value) -> String) = match command.part {
        ConfigPart::Listeners => (section(&document, "ListenersConfigDump"), listeners),
        ConfigPart::Routes => (section(&document, "RoutesConfigDump"), routes),
        ConfigPart::Clusters => (section(&document, "ClustersConfigDump"), clusters),
        ConfigPart::Endpoints => (document, endpoints),
        ConfigPart::Filters => (filters_of(&document), filters),
        ConfigPart::Bootstrap => (section(&document, "BootstrapConfigDump"), yaml),
        ConfigPart::All => (document, yaml),
    };
    print(format, &document, rows)?;
    if document.is_null() && format == Format::Table {
        note("the proxy has none");
    }
    Ok(ExitCode::SUCCESS)
}

/// Sections are told apart by the last part of their type; there is at most one of each.
fn section(dump: &Value, kind: &str) -> Value {
    let is_it = |section: &&Value| last_part(&text(at(section, "@type"))) == kind;
    let found = list(at(dump, "configs")).find(is_it);
    found.cloned().unwrap_or(Value::Null)
}

/// `RoutesConfigDump` of `type.googleapis.com/envoy.admin.v3.RoutesConfigDump`; Envoy also has a `Scoped…` one.
fn last_part(url: &str) -> &str {
    url.rsplit(['.', '/']).next().unwrap_or(url)
}

/// The resources of a section, with where they came from: `static`, or the version of the update.
fn resources<'a>(section: &'a Value, plural: &str, key: &'a str) -> Vec<(&'a Value, String)> {
    let group = |name: String| list(section.get(&name).unwrap_or(&Value::Null));
    let stationary = group(format!("static_{plural}")).map(|entry| (at(entry, key), "static".to_owned()));
    let moving = group(format!("dynamic_{plural}")).chain(group(format!("dynamic_active_{plural}")));
    let moving = moving.map(|entry| {
        // A listener's are one level deeper, beside those that warm up.
        let state = entry.get("active_state").unwrap_or(entry);
        (at(state, key), text(at(state, "version_info")))
    });
    stationary
        .chain(moving)
        .filter(|(resource, _)| !resource.is_null())
        .collect()
}

fn listeners(section: &Value) -> String {
    let rows = resources(section, "listeners", "listener")
        .into_iter()
        .map(|(listener, origin)| {
            let chains = list(at(listener, "filter_chains")).count()
                + usize::from(!at(listener, "default_filter_chain").is_null());
            let address = at(listener, "address.socket_address");
            [
                text(at(listener, "name")),
                text(at(address, "address")),
                text(at(address, "port_value")),
                chains.to_string(),
                origin,
            ]
        });
    table(["NAME", "ADDRESS", "PORT", "CHAINS", "VERSION"], rows)
}

fn routes(section: &Value) -> String {
    let rows = resources(section, "route_configs", "route_config")
        .into_iter()
        .flat_map(|(route, origin)| {
            list(at(route, "virtual_hosts"))
                .map(|host| {
                    let domains: Vec<String> = list(at(host, "domains")).map(text).collect();
                    [
                        text(at(route, "name")),
                        text(at(host, "name")),
                        domains.join(", "),
                        list(at(host, "routes")).count().to_string(),
                        origin.clone(),
                    ]
                })
                .collect::<Vec<_>>()
        });
    table(["ROUTES", "VIRTUAL HOST", "DOMAINS", "RULES", "VERSION"], rows)
}

fn clusters(section: &Value) -> String {
    let rows = resources(section, "clusters", "cluster")
        .into_iter()
        .map(|(cluster, origin)| {
            let or = |value: String, default: &str| {
                if value.is_empty() {
                    default.to_owned()
                } else {
                    value
                }
            };
            [
                text(at(cluster, "name")),
                or(text(at(cluster, "type")), "STATIC"),
                or(text(at(cluster, "lb_policy")), "ROUND_ROBIN"),
                origin,
            ]
        });
    table(["NAME", "TYPE", "BALANCING", "VERSION"], rows)
}

fn endpoints(document: &Value) -> String {
    let rows = list(at(document, "cluster_statuses")).flat_map(|cluster| {
        list(at(cluster, "host_statuses"))
            .map(|host| {
                let address = at(host, "address.socket_address");
                let failures = ["failed_active_health_check", "failed_outlier_check"];
                let failed = failures
                    .iter()
                    .find(|name| at(host, &format!("health_status.{name}")) == &Value::Bool(true));
                let health = match failed {
                    Some(name) => (*name).to_owned(),
                    None => text(at(host, "health_status.eds_health_status")),
                };
                [
                    text(at(cluster, "name")),
                    format!(
                        "{}:{}",
                        text(at(address, "address")),
                        text(at(address, "port_value"))
                    ),
                    if health.is_empty() {
                        "HEALTHY".to_owned()
                    } else {
                        health
                    },
                    text(at(host, "weight")),
                ]
            })
            .collect::<Vec<_>>()
    });
    table(["CLUSTER", "ENDPOINT", "HEALTH", "WEIGHT"], rows)
}

/// Filters as they stand in the chains of listeners, and those that come on their own (ECDS).
fn filters_of(dump: &Value) -> Value {
    let listeners = section(dump, "ListenersConfigDump");
    let discovered = section(dump, "EcdsConfigDump");
    let discovered: Vec<&Value> = list(at(&discovered, "ecds_filters")).collect();
    let mut found = Vec::new();
    for (listener, origin) in resources(&listeners, "listeners", "listener") {
        let default = listener.get("default_filter_chain");
        for chain in list(at(listener, "filter_chains")).chain(default) {
            for network in list(at(chain, "filters")) {
                for filter in list(at(network, "typed_config.http_filters")) {
                    let name = text(at(filter, "name"));
                    let dynamic = !at(filter, "config_discovery").is_null();
                    let known = discovered
                        .iter()
                        .find(|entry| dynamic && text(at(entry, "ecds_filter.name")) == name);
                    // Until it comes, only what it may be is known.
                    let kind = match known {
                        Some(entry) => at(entry, "ecds_filter.typed_config.@type"),
                        None if dynamic => at(filter, "config_discovery.type_urls")
                            .get(0)
                            .unwrap_or(&Value::Null),
                        None => at(filter, "typed_config.@type"),
                    };
                    found.push(serde_json::json!({
                        "listener": text(at(listener, "name")),
                        "filter": name,
                        "source": if dynamic { "discovered" } else { "listener" },
                        "type": text(kind).rsplit('/').next(),
                        "version": match (known, dynamic) {
                            (Some(entry), _) => text(at(entry, "version_info")),
                            (None, true) => "not there yet".to_owned(),
                            (None, false) => origin.clone(),
                        },
                    }));
                }
            }
        }
    }
    Value::Array(found)
}

fn filters(found: &Value) -> String {
    let rows = list(found)
        .map(|filter| ["listener", "filter", "source", "type", "version"].map(|key| text(at(filter, key))));
    table(["LISTENER", "FILTER", "FROM", "TYPE", "VERSION"], rows)
}

fn yaml(document: &Value) -> String {
    serde_saphyr::to_string(document).unwrap_or_else(|_| document.to_string())
}
