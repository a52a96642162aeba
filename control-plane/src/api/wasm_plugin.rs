//! `extensions.istio.io/v1alpha1 WasmPlugin`, with every field of Istio's.

use serde::Deserialize;

use super::meta::Selector;

/// `WasmPlugin.spec`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WasmPlugin {
    /// `oci://`, `http://`, `https://` or `file://`; no scheme means `oci://`.
    pub url: String,
    /// OCI: of the manifest or of the module. Others: of the file. 64 hexadecimal digits in lower case.
    #[serde(default)]
    pub sha256: String,
    /// When a tag is asked for again.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// A `kubernetes.io/dockerconfigjson` Secret of the plugin's namespace.
    #[serde(default)]
    pub image_pull_secret: String,
    /// A PEM public key; refused by this version when set.
    #[serde(default)]
    pub verification_key: String,
    /// Handed to the filter as JSON.
    #[serde(default)]
    pub plugin_config: Option<serde_json::Map<String, serde_json::Value>>,
    /// The root context within the module.
    #[serde(default)]
    pub plugin_name: String,
    /// Place among Istio's own filters.
    #[serde(default)]
    pub phase: Phase,
    /// Higher runs first within a phase; absent is lowest.
    #[serde(default)]
    pub priority: Option<i32>,
    /// Labels of the workloads it applies to.
    #[serde(default)]
    pub selector: Option<Selector>,
    /// Instead of a selector. Deprecated by Istio for `targetRefs`.
    #[serde(default)]
    pub target_ref: Option<TargetRef>,
    /// Instead of a selector.
    #[serde(default)]
    pub target_refs: Vec<TargetRef>,
    /// Which listeners; absent means all.
    #[serde(default, rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// What happens to exchanges when the guest fails.
    #[serde(default)]
    pub fail_strategy: FailStrategy,
    /// The guest's virtual machine.
    #[serde(default)]
    pub vm_config: Option<VmConfig>,
    /// HTTP or network filter.
    #[serde(default, rename = "type")]
    pub plugin_type: PluginType,
}

/// `PullPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PullPolicy {
    /// `Always` for a URL that ends in `:latest`, else `IfNotPresent`.
    #[default]
    #[serde(rename = "UNSPECIFIED_POLICY")]
    Unspecified,
    /// A tag is resolved once.
    IfNotPresent,
    /// A tag is looked at again and again.
    Always,
}

/// `PluginPhase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Phase {
    /// Before Istio's authentication filters.
    #[serde(rename = "AUTHN")]
    Authn,
    /// Before Istio's authorization filters.
    #[serde(rename = "AUTHZ")]
    Authz,
    /// Before Istio's stats filters.
    #[serde(rename = "STATS")]
    Stats,
    /// At the end, before the router.
    #[default]
    #[serde(rename = "UNSPECIFIED_PHASE")]
    Unspecified,
}

/// `PolicyTargetReference`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// API group of the target.
    #[serde(default)]
    pub group: String,
    /// Kind of the target.
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Must be the plugin's own when said.
    #[serde(default)]
    pub namespace: String,
}

/// `WasmPlugin.TrafficSelector`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSelector {
    /// Which side.
    #[serde(default)]
    pub mode: WorkloadMode,
    /// Which ports; empty means all.
    #[serde(default)]
    pub ports: Vec<PortSelector>,
}

/// `WorkloadMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum WorkloadMode {
    /// As [`WorkloadMode::ClientAndServer`].
    #[default]
    #[serde(rename = "UNDEFINED")]
    Undefined,
    /// Outbound listeners, and gateways.
    #[serde(rename = "CLIENT")]
    Client,
    /// Inbound listeners.
    #[serde(rename = "SERVER")]
    Server,
    /// Both.
    #[serde(rename = "CLIENT_AND_SERVER")]
    ClientAndServer,
}

/// `PortSelector`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSelector {
    /// 1 to 65535.
    pub number: u16,
}

/// `FailStrategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum FailStrategy {
    /// Exchanges fail.
    #[default]
    #[serde(rename = "FAIL_CLOSE")]
    Close,
    /// Exchanges pass without the filter.
    #[serde(rename = "FAIL_OPEN")]
    Open,
    /// Exchanges fail until a new guest has started.
    #[serde(rename = "FAIL_RELOAD")]
    Reload,
}

/// `VmConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// The guest's environment.
    #[serde(default)]
    pub env: Vec<EnvVar>,
}

/// `EnvVar`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// At most 256 characters.
    pub name: String,
    /// Only with `INLINE`.
    #[serde(default)]
    pub value: String,
    /// Where the value comes from.
    #[serde(default)]
    pub value_from: EnvSource,
}

/// `EnvValueSource`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum EnvSource {
    /// The document.
    #[default]
    #[serde(rename = "INLINE")]
    Inline,
    /// The proxy's own environment.
    #[serde(rename = "HOST")]
    Host,
}

/// `PluginType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum PluginType {
    /// HTTP.
    #[default]
    #[serde(rename = "UNSPECIFIED_PLUGIN_TYPE")]
    Unspecified,
    /// HTTP.
    #[serde(rename = "HTTP")]
    Http,
    /// Bytes of a connection; refused by this version.
    #[serde(rename = "NETWORK")]
    Network,
}
