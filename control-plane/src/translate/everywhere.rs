//! All routes that one virtual service can become: what a check looks at before anything of it is served.

use std::collections::{BTreeMap, BTreeSet};

use leno_model::route::Route;

use super::routes::{Builder, Site, matches};
use super::scope::{Agent, Role, View};
use super::services::Services;
use crate::api::virtual_service::VirtualService;
use crate::world::Object;

/// Every route that a virtual service can become, wherever it applies, each with the path of what it comes from.
pub fn routes(service: &Object<VirtualService>) -> Vec<(String, Route)> {
    let view = View {
        role: Role::Gateway,
        agent: Agent::Leno,
        namespace: service.meta.namespace.clone(),
        labels: BTreeMap::new(),
    };
    let mut builder = Builder {
        site: Site {
            view: &view,
            port: 80,
            gateways: &[],
        },
        services: &Services::new(),
        notes: &mut BTreeSet::new(),
    };
    let mut routes = Vec::new();
    for (position, http) in service.spec.http.iter().enumerate() {
        let path = format!("spec.http[{position}]");
        for (index, matched) in matches(http).iter().enumerate() {
            let route = builder.route(service, http, matched, &path);
            let path = match http.matches.is_empty() {
                true => path.clone(),
                false => format!("{path}.match[{index}]"),
            };
            routes.push((path, route));
        }
    }
    routes
}
