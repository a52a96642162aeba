//! What a route does: forward, redirect, answer at once.

use leno_model::invalid::Invalid;
use leno_model::route::{
    DirectResponse, Forward, HostRewrite, PathRewrite, Redirect, RedirectPath, Target, WeightedCluster,
};

use crate::pb::route;
use crate::pb::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use crate::pb::route::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use crate::pb::route::weighted_cluster::ClusterWeight;
use crate::strict::Fields;
use crate::wire::{self, Within, boolean, enumeration, list, required_text, uint32};
use crate::{header_edits, matching, retry};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.route.v3.RouteAction",
        supported: &[
            "cluster",
            "cluster_header",
            "weighted_clusters",
            "prefix_rewrite",
            "regex_rewrite",
            "host_rewrite_literal",
            "auto_host_rewrite",
            "host_rewrite_header",
            "timeout",
            "idle_timeout",
            "retry_policy",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.WeightedCluster",
        supported: &["clusters", "total_weight"],
        no_effect: &[(
            "runtime_key_prefix",
            "there is no runtime layer, and without a layer the weights count",
        )],
    },
    Fields {
        message: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        supported: &[
            "name",
            "weight",
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.RedirectAction",
        supported: &[
            "https_redirect",
            "scheme_redirect",
            "host_redirect",
            "port_redirect",
            "path_redirect",
            "prefix_rewrite",
            "regex_rewrite",
            "response_code",
            "strip_query",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.DirectResponseAction",
        supported: &["status", "body"],
        no_effect: &[],
    },
];

/// `RouteAction`.
pub(crate) fn decode_forward(action: &route::RouteAction) -> Result<Forward, Invalid> {
    let target = decode_target(action.cluster_specifier.as_ref())?;
    let defaults = Forward::to("");
    let path_rewrite = match (action.prefix_rewrite.as_str(), &action.regex_rewrite) {
        ("", None) => None,
        (prefix, None) => Some(PathRewrite::Prefix(prefix.to_owned())),
        ("", Some(rewrite)) => {
            let (pattern, substitution) = matching::substitution(rewrite).within("regex_rewrite")?;
            Some(PathRewrite::Regex {
                pattern,
                substitution,
            })
        }
        (_, Some(_)) => {
            return Err(Invalid::new(
                "regex_rewrite",
                "only one of it and `prefix_rewrite` may be set",
            ));
        }
    };
    Ok(Forward {
        target,
        timeout: wire::timeout("timeout", action.timeout.as_ref(), defaults.timeout)?,
        idle_timeout: wire::positive("idle_timeout", action.idle_timeout.as_ref())?,
        retry: action
            .retry_policy
            .as_ref()
            .map(retry::decode)
            .transpose()
            .within("retry_policy")?,
        path_rewrite,
        host_rewrite: decode_host_rewrite(action.host_rewrite_specifier.as_ref())?,
    })
}

/// The other way.
pub(crate) fn encode_forward(value: &Forward) -> route::RouteAction {
    let target = match &value.target {
        Target::Cluster(name) => ClusterSpecifier::Cluster(name.clone()),
        Target::Header(name) => ClusterSpecifier::ClusterHeader(name.clone()),
        Target::Weighted(clusters) => ClusterSpecifier::WeightedClusters(route::WeightedCluster {
            clusters: clusters.iter().map(encode_weighted).collect(),
            ..Default::default()
        }),
    };
    let host_rewrite = value.host_rewrite.as_ref().map(|rewrite| match rewrite {
        HostRewrite::Literal(host) => HostRewriteSpecifier::HostRewriteLiteral(host.clone()),
        HostRewrite::Auto => HostRewriteSpecifier::AutoHostRewrite(boolean(true)),
        HostRewrite::Header(name) => HostRewriteSpecifier::HostRewriteHeader(name.clone()),
    });
    let (prefix_rewrite, regex_rewrite) = match &value.path_rewrite {
        None => (String::new(), None),
        Some(PathRewrite::Prefix(prefix)) => (prefix.clone(), None),
        Some(PathRewrite::Regex {
            pattern,
            substitution,
        }) => (
            String::new(),
            Some(matching::to_substitution(pattern, substitution)),
        ),
    };
    route::RouteAction {
        cluster_specifier: Some(target),
        timeout: wire::to_timeout(value.timeout),
        idle_timeout: value.idle_timeout.map(wire::to_duration),
        retry_policy: value.retry.as_ref().map(retry::encode),
        prefix_rewrite,
        regex_rewrite,
        host_rewrite_specifier: host_rewrite,
        ..Default::default()
    }
}

fn decode_target(specifier: Option<&ClusterSpecifier>) -> Result<Target, Invalid> {
    match specifier {
        None => Err(Invalid::new(
            "",
            "one of `cluster`, `weighted_clusters` and `cluster_header` is required",
        )),
        Some(ClusterSpecifier::Cluster(name)) => {
            Ok(Target::Cluster(required_text("cluster", name)?.to_owned()))
        }
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            let name = required_text("cluster_header", name)?;
            Ok(Target::Header(name.to_ascii_lowercase()))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => decode_weighted_clusters(weighted)
            .map(Target::Weighted)
            .within("weighted_clusters"),
        Some(ClusterSpecifier::ClusterSpecifierPlugin(_)) => Err(Invalid::new(
            "cluster_specifier_plugin",
            "not supported by this version",
        )),
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(_)) => Err(Invalid::new(
            "inline_cluster_specifier_plugin",
            "not supported by this version",
        )),
    }
}

#[allow(deprecated, reason = "users still write `total_weight`")]
fn decode_weighted_clusters(weighted: &route::WeightedCluster) -> Result<Vec<WeightedCluster>, Invalid> {
    let clusters = list("clusters", &weighted.clusters, decode_weighted)?;
    let sum: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if sum == 0 || sum > u64::from(u32::MAX) {
        return Err(Invalid::new(
            "clusters",
            format!("the sum of weights is {sum}: it must be 1 to 4294967295"),
        ));
    }
    if let Some(total) = weighted.total_weight.map(|total| u64::from(total.value))
        && total != sum
    {
        tracing::warn!(
            code = "total_weight",
            total,
            sum,
            "the weights' own sum counts, as in Envoy"
        );
    }
    Ok(clusters)
}

fn decode_weighted(cluster: &ClusterWeight) -> Result<WeightedCluster, Invalid> {
    Ok(WeightedCluster {
        name: required_text("name", &cluster.name)?.to_owned(),
        weight: cluster.weight.map_or(0, |weight| weight.value),
        edits: header_edits::decode(&header_edits::Wire {
            request_add: &cluster.request_headers_to_add,
            request_remove: &cluster.request_headers_to_remove,
            response_add: &cluster.response_headers_to_add,
            response_remove: &cluster.response_headers_to_remove,
        })?,
    })
}

fn encode_weighted(value: &WeightedCluster) -> ClusterWeight {
    let edits = header_edits::encode(&value.edits);
    ClusterWeight {
        name: value.name.clone(),
        weight: Some(uint32(value.weight)),
        request_headers_to_add: edits.request_add,
        request_headers_to_remove: edits.request_remove,
        response_headers_to_add: edits.response_add,
        response_headers_to_remove: edits.response_remove,
        ..Default::default()
    }
}

fn decode_host_rewrite(specifier: Option<&HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Invalid> {
    Ok(match specifier {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(HostRewrite::Literal(
            required_text("host_rewrite_literal", host)?.to_owned(),
        )),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => auto.value.then_some(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            let name = required_text("host_rewrite_header", name)?;
            Some(HostRewrite::Header(name.to_ascii_lowercase()))
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(_)) => {
            return Err(Invalid::new(
                "host_rewrite_path_regex",
                "not supported by this version",
            ));
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            return Err(Invalid::new("host_rewrite", "not supported by this version"));
        }
    })
}

/// `RedirectAction`.
pub(crate) fn decode_redirect(action: &route::RedirectAction) -> Result<Redirect, Invalid> {
    let status = match enumeration("response_code", action.response_code)? {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match &action.scheme_rewrite_specifier {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
            Some(required_text("scheme_redirect", scheme)?.to_ascii_lowercase())
        }
    };
    let path = match &action.path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => Some(RedirectPath::Full(path.clone())),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => Some(RedirectPath::Prefix(prefix.clone())),
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            let (pattern, substitution) = matching::substitution(rewrite).within("regex_rewrite")?;
            Some(RedirectPath::Regex {
                pattern,
                substitution,
            })
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(Invalid::new("path_rewrite", "not supported by this version"));
        }
    };
    let port =
        u16::try_from(action.port_redirect).map_err(|_| Invalid::new("port_redirect", "is above 65535"))?;
    Ok(Redirect {
        status,
        scheme,
        host: Some(action.host_redirect.clone()).filter(|host| !host.is_empty()),
        port: Some(port).filter(|port| *port != 0),
        path,
        strip_query: action.strip_query,
    })
}

/// The other way.
pub(crate) fn encode_redirect(value: &Redirect) -> route::RedirectAction {
    let code = match value.status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let path = value.path.as_ref().map(|path| match path {
        RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
        RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.clone()),
        RedirectPath::Regex {
            pattern,
            substitution,
        } => PathRewriteSpecifier::RegexRewrite(matching::to_substitution(pattern, substitution)),
    });
    route::RedirectAction {
        response_code: code.into(),
        scheme_rewrite_specifier: value.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        host_redirect: value.host.clone().unwrap_or_default(),
        port_redirect: value.port.map_or(0, u32::from),
        path_rewrite_specifier: path,
        strip_query: value.strip_query,
    }
}

/// `DirectResponseAction`.
pub(crate) fn decode_direct(action: &route::DirectResponseAction) -> Result<DirectResponse, Invalid> {
    let status = match u16::try_from(action.status) {
        Ok(status @ 200..=599) => status,
        _ => {
            let reason = format!("{} is not between 200 and 599", action.status);
            return Err(Invalid::new("status", reason));
        }
    };
    let body = action
        .body
        .as_ref()
        .map(wire::inline)
        .transpose()
        .within("body")?;
    Ok(DirectResponse {
        status,
        body: body.unwrap_or_default(),
    })
}

/// The other way.
pub(crate) fn encode_direct(value: &DirectResponse) -> route::DirectResponseAction {
    route::DirectResponseAction {
        status: value.status.into(),
        body: (!value.body.is_empty()).then(|| wire::to_inline(&value.body)),
        ..Default::default()
    }
}
