//! HTTP filters as a listener names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One entry of `http_filters`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFilter {
    /// Unique within its connection manager; the key of per-route overrides and of ECDS.
    pub name: String,
    /// What it is.
    pub source: FilterSource,
    /// It runs only where a route enables it.
    pub disabled: bool,
}

/// Where a filter's configuration comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterSource {
    /// In the listener.
    Inline(Arc<FilterConfig>),
    /// Over ECDS, by the filter's name.
    Discovered(DiscoveredFilter),
}

/// `envoy.config.core.v3.ExtensionConfigSource`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveredFilter {
    /// Serves until the first one arrives; without one the listener waits.
    pub default: Option<Arc<FilterConfig>>,
    /// The default serves at once, not only after the first fetch failed.
    pub apply_default_without_warming: bool,
    /// Full type URLs that are accepted.
    pub type_urls: Vec<String>,
}

/// What a filter is.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterConfig {
    /// `envoy.filters.http.router`: the end of the chain.
    Router(Router),
    /// `envoy.filters.http.wasm`.
    Wasm(Box<WasmFilter>),
}

/// `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// No `x-envoy-*` headers are written.
    pub suppress_envoy_headers: bool,
}

/// `envoy.extensions.wasm.v3.PluginConfig`: a guest and how it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct WasmFilter {
    /// For logs and statistics, as `<namespace>.<name>`.
    pub name: String,
    /// The root context within the module.
    pub root_id: String,
    /// The virtual machine; equal ones are shared by the plugins of a worker.
    pub vm: WasmVm,
    /// Handed to the guest's `configure`.
    pub configuration: Vec<u8>,
    /// What happens to exchanges when the guest fails.
    pub failure: FailurePolicy,
    /// First pause before a failed guest starts again under [`FailurePolicy::Reload`] (default 1 s).
    pub reload_backoff: Duration,
    /// Host functions and callbacks that are allowed; `None` allows all.
    pub capabilities: Option<BTreeSet<String>>,
    /// A guest may hold the headers while its body callbacks run (Proxy-Wasm's `StopIteration` to the letter).
    pub allow_on_headers_stop_iteration: bool,
}

/// `envoy.extensions.wasm.v3.VmConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct WasmVm {
    /// Name space of shared data and queues.
    pub id: String,
    /// Where the module is.
    pub code: WasmCode,
    /// Handed to the guest's VM start.
    pub configuration: Vec<u8>,
    /// The guest's environment.
    pub environment: BTreeMap<String, String>,
    /// Names of the proxy's own environment that the guest sees too.
    pub host_environment: BTreeSet<String>,
}

/// `envoy.config.core.v3.AsyncDataSource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmCode {
    /// The bytes themselves.
    Inline(InlineCode),
    /// A local file.
    File(PathBuf),
    /// To be fetched.
    Remote(RemoteCode),
}

/// The bytes of a module, which may be many. Clones share them, and are equal without a look at them.
#[derive(Clone, Default, Eq)]
pub struct InlineCode(Arc<[u8]>);

impl From<&[u8]> for InlineCode {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for InlineCode {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl AsRef<[u8]> for InlineCode {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for InlineCode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

/// Tells modules apart without showing them: versions of resources are made from what this says.
impl fmt::Debug for InlineCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        write!(
            out,
            "InlineCode({} bytes, {:016x})",
            self.0.len(),
            hasher.finish()
        )
    }
}

/// `envoy.config.core.v3.RemoteDataSource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCode {
    /// `http`, `https` or `oci`.
    pub uri: String,
    /// The cluster to ask; the address of the URI is used when this is `_` or empty.
    pub cluster: String,
    /// For the whole fetch.
    pub timeout: Duration,
    /// Of the module, 64 hexadecimal digits in lower case; empty where the source has none.
    pub sha256: String,
    /// Further tries.
    pub retries: u32,
}

/// `envoy.extensions.wasm.v3.FailurePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Exchanges fail.
    Closed,
    /// Exchanges pass without the filter.
    Open,
    /// Exchanges fail until a new guest has started.
    Reload,
}
