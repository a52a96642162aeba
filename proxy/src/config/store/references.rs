//! Clusters that routes name and that are not there.

use leno_model::http::RouteSource;
use leno_model::invalid::Invalid;
use leno_model::listener::{Listener, NetworkFilter};
use leno_model::route::{RouteAction, RouteConfiguration, Target};
use leno_xds::resource::Resource;

/// Refuses routes to clusters that are not `known`, where the configuration wants that: by itself
/// (`validate_clusters`), or because it stands in a listener.
pub(super) fn check(resource: &Resource, known: &dyn Fn(&str) -> bool) -> Result<(), Invalid> {
    match resource {
        Resource::Listener(listener) => of_listener(listener, known),
        Resource::RouteConfiguration(routes) if routes.validate_clusters == Some(true) => {
            of_routes(routes, known)
        }
        Resource::RouteConfiguration(_)
        | Resource::Cluster(_)
        | Resource::LoadAssignment(_)
        | Resource::Filter { .. } => Ok(()),
    }
}

fn of_listener(listener: &Listener, known: &dyn Fn(&str) -> bool) -> Result<(), Invalid> {
    for (index, chain) in listener.chains().enumerate() {
        let NetworkFilter::Http(manager) = &chain.network;
        match &manager.routes {
            RouteSource::Inline(routes) if routes.validate_clusters != Some(false) => {
                // The model holds exactly one network filter per chain.
                let chain = match listener.filter_chains.len() > index {
                    true => format!("filter_chains[{index}]"),
                    false => "default_filter_chain".to_owned(),
                };
                let place = format!("{chain}.filters[0].typed_config.route_config");
                of_routes(routes, known).map_err(|refusal| refusal.within(&place))?;
            }
            RouteSource::Inline(_) | RouteSource::Discovered(_) => {}
        }
    }
    Ok(())
}

fn of_routes(routes: &RouteConfiguration, known: &dyn Fn(&str) -> bool) -> Result<(), Invalid> {
    for (host_index, host) in routes.virtual_hosts.iter().enumerate() {
        for (index, route) in host.routes.iter().enumerate() {
            let RouteAction::Forward(forward) = &route.action else {
                continue;
            };
            of_target(&forward.target, known).map_err(|refusal| {
                refusal.within(&format!("virtual_hosts[{host_index}].routes[{index}].route"))
            })?;
        }
    }
    Ok(())
}

/// A header names its cluster only when a request is there.
fn of_target(target: &Target, known: &dyn Fn(&str) -> bool) -> Result<(), Invalid> {
    match target {
        Target::Cluster(name) if !known(name) => Err(unknown("cluster", name)),
        Target::Weighted(clusters) => match clusters.iter().position(|cluster| !known(&cluster.name)) {
            Some(index) => {
                let path = format!("weighted_clusters.clusters[{index}].name");
                Err(unknown(&path, &clusters[index].name))
            }
            None => Ok(()),
        },
        Target::Cluster(_) | Target::Header(_) => Ok(()),
    }
}

fn unknown(path: &str, name: &str) -> Invalid {
    Invalid::new(
        path,
        format!(
            "unknown cluster `{name}`: define it, or set validate_clusters to false where it will come later"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leno_model::route::{
        Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, Target,
        VirtualHost, WeightedCluster,
    };
    use leno_xds::resource::Resource;

    use super::check;

    fn routes(target: Target, validate_clusters: Option<bool>) -> Resource {
        let action = RouteAction::Forward(Box::new(Forward {
            target,
            ..Forward::to("")
        }));
        let route = Route {
            name: String::new(),
            matches: RouteMatch::path(PathMatch::Prefix("/".to_owned())),
            action,
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
        Resource::RouteConfiguration(Arc::new(RouteConfiguration {
            virtual_hosts: vec![host],
            validate_clusters,
            ..RouteConfiguration::default()
        }))
    }

    fn weighted(names: &[&str]) -> Target {
        let cluster = |name: &&str| WeightedCluster {
            name: (*name).to_owned(),
            weight: 1,
            edits: HeaderEdits::default(),
        };
        Target::Weighted(names.iter().map(cluster).collect())
    }

    #[test]
    fn every_way_to_name_a_cluster_is_checked() {
        let known = |name: &str| name == "a";
        let refusal = |target| check(&routes(target, Some(true)), &known).map_err(|refusal| refusal.path);
        let path = |rest: &str| Err(format!("virtual_hosts[0].routes[0].route.{rest}"));
        assert_eq!(refusal(Target::Cluster("a".to_owned())), Ok(()));
        assert_eq!(refusal(Target::Cluster("b".to_owned())), path("cluster"));
        assert_eq!(refusal(weighted(&["a", "a"])), Ok(()));
        assert_eq!(
            refusal(weighted(&["a", "b"])),
            path("weighted_clusters.clusters[1].name")
        );
        assert_eq!(refusal(Target::Header("x-cluster".to_owned())), Ok(()));
    }

    #[test]
    fn discovered_routes_are_checked_only_where_they_ask_for_it() {
        let target = || Target::Cluster("b".to_owned());
        for (validate, refused) in [(None, false), (Some(false), false), (Some(true), true)] {
            assert_eq!(
                check(&routes(target(), validate), &|_| false).is_err(),
                refused,
                "{validate:?}"
            );
        }
    }
}
