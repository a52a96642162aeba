//! Choosing a route: one virtual host among many, one route among many.

use std::sync::Arc;

use leno_benches::bench;
use leno_model::route::{
    Forward, HeaderEdits, PathMatch, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use leno_proxy::http::headers::Headers;
use leno_proxy::router::{LocalTable, RouteTable};

fn main() {
    for (hosts, routes) in [(1, 1), (100, 10), (1, 1000), (1000, 10)] {
        let table = LocalTable::new(Arc::new(
            RouteTable::compile(&configuration(hosts, routes)).expect("it compiles"),
        ));
        let authority = format!("host-{}.example", hosts / 2);
        let path = format!("/service-{}/item?id=7", routes / 2);
        let request: Headers = [
            (":authority", authority.as_str()),
            (":path", path.as_str()),
            (":method", "GET"),
            (":scheme", "http"),
        ]
        .into_iter()
        .collect();
        bench(&format!("router/{hosts} hosts, {routes} routes each"), || {
            table.select(&request, 7).is_some()
        });
    }
}

fn configuration(hosts: usize, routes: usize) -> RouteConfiguration {
    let route = |index: usize| Route {
        name: format!("route-{index}"),
        matches: RouteMatch::path(PathMatch::Prefix(format!("/service-{index}/"))),
        action: RouteAction::Forward(Box::new(Forward::to("cluster"))),
        edits: HeaderEdits::default(),
        filter_overrides: Default::default(),
    };
    let host = |index: usize| VirtualHost {
        name: format!("host-{index}"),
        domains: vec![format!("host-{index}.example")],
        routes: (0..routes).map(route).collect(),
        edits: HeaderEdits::default(),
        retry: None,
        tells_attempts: Default::default(),
        filter_overrides: Default::default(),
    };
    RouteConfiguration {
        name: "bench".to_owned(),
        virtual_hosts: (0..hosts).map(host).collect(),
        ..RouteConfiguration::default()
    }
}
