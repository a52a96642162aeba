//! Which proxies an object applies to, and which objects a namespace sees.

use std::collections::BTreeMap;

/// What distinguishes proxies for translation: those with equal views run the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    /// The side of the workload.
    pub role: Role,
    /// The program.
    pub agent: Agent,
    /// The workload's namespace.
    pub namespace: String,
    /// The workload's labels.
    pub labels: BTreeMap<String, String>,
}

/// Which program a proxy is: they differ in how modules reach them, and in which they can run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Agent {
    /// Ours: fetches modules by digest, runs Proxy-Wasm and components.
    Leno,
    /// Any other, by the name that it gives itself: takes modules inline, runs Proxy-Wasm only.
    Other(String),
}

impl Agent {
    /// From `user_agent_name` of a node.
    pub fn named(name: &str) -> Self {
        match name {
            "leno" => Self::Leno,
            "" => Self::Other("a proxy without a name".to_owned()),
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The first part of Istio's node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `router`.
    Gateway,
    /// `sidecar`.
    Sidecar,
}

impl View {
    /// Reads what a proxy says of itself: an id as Istio writes it (`sidecar~IP~NAME.NAMESPACE~DOMAIN`), the name of
    /// its program, and the metadata `NAMESPACE` and `LABELS`.
    ///
    /// # Errors
    /// Says what the node should say.
    pub fn of_node(id: &str, agent: &str, metadata: &serde_json::Value) -> Result<Self, String> {
        let parts: Vec<&str> = id.split('~').collect();
        let role = match parts.first().copied() {
            Some("router") => Role::Gateway,
            Some("sidecar") => Role::Sidecar,
            _ => {
                return Err(format!(
                    "node id {id:?} does not say what the proxy is; write router~IP~NAME.NAMESPACE~DOMAIN or \
                     sidecar~IP~NAME.NAMESPACE~DOMAIN"
                ));
            }
        };
        let from_id = || {
            parts
                .get(2)
                .and_then(|name| name.rsplit_once('.'))
                .map(|(_, namespace)| namespace.to_owned())
        };
        let namespace = metadata
            .get("NAMESPACE")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
            .or_else(from_id)
            .unwrap_or_else(|| "default".to_owned());
        let labels = metadata
            .get("LABELS")
            .and_then(serde_json::Value::as_object)
            .map(|labels| {
                labels
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                    .collect()
            })
            .unwrap_or_default();
        Ok(Self {
            role,
            agent: Agent::named(agent),
            namespace,
            labels,
        })
    }
}

/// Whether an object of namespace `from` with this `exportTo` is seen in `namespace`.
pub fn is_exported(export_to: &[String], from: &str, namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|to| match to.as_str() {
            "*" => true,
            "." => from == namespace,
            name => name == namespace,
        })
}

/// Whether `host` is matched by `pattern` (`*`, `*.suffix` or a name), without regard to case.
pub fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => {
            host.strip_prefix('*').unwrap_or(&host).ends_with(suffix) && host.len() > suffix.len()
        }
        None => pattern == host,
    }
}

/// A host as written in an object of `namespace`, in full: a name without a dot is a Service of that namespace. In lower
/// case, as names of DNS have none, and without the dot that ends an absolute name.
pub fn full_host(host: &str, namespace: &str) -> String {
    let host = written(host);
    let is_whole = host.contains(['.', ':']) || host.starts_with('*') || host == "localhost";
    if is_whole {
        return host;
    }
    format!("{host}.{namespace}.svc.cluster.local")
}

/// A host or a pattern of hosts, in the one way in which we write it.
pub fn written(host: &str) -> String {
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Agent, Role, View, full_host, host_matches, is_exported};

    #[test]
    fn nodes_say_who_they_are() {
        let view = View::of_node(
            "sidecar~10.0.0.7~web-5d.shop~shop.svc.cluster.local",
            "leno",
            &json!({"LABELS": {"app": "web"}, "ISTIO_VERSION": "1.30.0"}),
        )
        .expect("a view");
        assert_eq!((view.role, view.namespace.as_str()), (Role::Sidecar, "shop"));
        assert_eq!(view.agent, Agent::Leno);
        assert_eq!(view.labels["app"], "web");
        let named = View::of_node("router~::1~g.a~x", "envoy", &json!({"NAMESPACE": "b"})).expect("a view");
        assert_eq!((named.role, named.namespace.as_str()), (Role::Gateway, "b"));
        assert_eq!(named.agent, Agent::Other("envoy".to_owned()));
        assert!(
            View::of_node("node-1", "leno", &json!({}))
                .expect_err("refused")
                .contains("router~")
        );
    }

    #[test]
    fn patterns_match_hosts() {
        for (pattern, host, want) in [
            ("*", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "b", false),
            ("*.b", "*.b", true),
            ("A.b", "a.B", true),
            ("a.b", "c.a.b", false),
        ] {
            assert_eq!(host_matches(pattern, host), want, "{pattern} {host}");
        }
    }

    #[test]
    fn hosts_are_written_in_one_way() {
        for (host, want) in [
            ("Cart", "cart.shop.svc.cluster.local"),
            ("A.example.", "a.example"),
            ("*.Example", "*.example"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(full_host(host, "shop"), want);
        }
    }

    #[test]
    fn exports_are_limited_by_namespace() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(is_exported(&[], "a", "b"));
        assert!(is_exported(&list(&["."]), "a", "a"));
        assert!(!is_exported(&list(&["."]), "a", "b"));
        assert!(is_exported(&list(&["c", "b"]), "a", "b"));
    }
}
