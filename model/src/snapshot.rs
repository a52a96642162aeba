//! Everything one proxy is told, by resource name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::endpoint::LoadAssignment;
use crate::filter::FilterConfig;
use crate::listener::Listener;
use crate::route::RouteConfiguration;

/// One complete picture of what a proxy should run. Resources are shared, so that a new snapshot which changes
/// one of them costs one of them, and `==` on the maps finds the change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// By [`Listener::name`].
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// By [`RouteConfiguration::name`]; those that listeners ask for by name.
    pub routes: BTreeMap<String, Arc<RouteConfiguration>>,
    /// By [`Cluster::name`].
    pub clusters: BTreeMap<String, Arc<Cluster>>,
    /// By [`LoadAssignment::cluster`]; those that clusters ask for by name.
    pub endpoints: BTreeMap<String, Arc<LoadAssignment>>,
    /// Filter configurations that listeners ask for by name (ECDS), by that name.
    pub filters: BTreeMap<String, Arc<FilterConfig>>,
}
