//! Configured filters: prepared once for the process, run by every worker.

pub mod backoff;
pub mod slot;

/// Who a filter is, for logs, statistics and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `<namespace>.<name>` of the plugin.
    pub name: String,
    /// The root context within its module.
    pub root_id: String,
    /// The name space of its shared data.
    pub vm_id: String,
}
