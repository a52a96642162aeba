//! What a route does, compiled.

use std::time::Duration;

use leno_model::invalid::Invalid;
use leno_model::route::{self as model, DirectResponse, RetryPolicy};

use super::domains::without_port;
use super::edits::Edits;
use super::matcher::{Path, split_path};
use super::rewrite::{HostRewrite, PathRewrite, Substitution};
use crate::http::headers::Headers;
use crate::reply::decimal;

/// A compiled [`model::RouteAction`].
#[derive(Debug)]
pub enum Action {
    /// Ask a cluster.
    Forward(Box<Forward>),
    /// Answer with another place.
    Redirect(Redirect),
    /// Answer at once.
    Direct(DirectResponse),
}

/// A compiled [`model::Forward`].
#[derive(Debug)]
pub struct Forward {
    /// From the end of the request to the end of the response.
    pub timeout: Option<Duration>,
    /// Overrides the connection manager's `stream_idle_timeout`.
    pub idle_timeout: Option<Duration>,
    pub(super) target: Target,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) path_rewrite: Option<PathRewrite>,
    pub(super) host_rewrite: Option<HostRewrite>,
}

impl Action {
    pub(super) fn compile(action: &model::RouteAction) -> Result<Self, Invalid> {
        match action {
            model::RouteAction::Forward(forward) => {
                let forward = Forward::compile(forward).map_err(|invalid| invalid.within("route"))?;
                Ok(Self::Forward(Box::new(forward)))
            }
            model::RouteAction::Redirect(redirect) => Redirect::compile(redirect)
                .map(Self::Redirect)
                .map_err(|invalid| invalid.within("redirect")),
            model::RouteAction::Direct(direct) => {
                let status = direct.status;
                if (200..600).contains(&status) {
                    Ok(Self::Direct(direct.clone()))
                } else {
                    let reason = format!("{status} is not a status from 200 to 599");
                    Err(Invalid::new("direct_response.status", reason))
                }
            }
        }
    }

    /// Every cluster that is named here.
    pub(super) fn clusters(&self) -> impl Iterator<Item = &str> {
        let (one, weighted) = match self {
            Self::Forward(forward) => match &forward.target {
                Target::Cluster(name) => (Some(name.as_str()), &[][..]),
                Target::Weighted { clusters, .. } => (None, clusters.as_slice()),
                Target::Header(_) => (None, &[][..]),
            },
            Self::Redirect(_) | Self::Direct(_) => (None, &[][..]),
        };
        one.into_iter()
            .chain(weighted.iter().map(|cluster| cluster.name.as_str()))
    }
}

impl Forward {
    fn compile(forward: &model::Forward) -> Result<Self, Invalid> {
        Ok(Self {
            timeout: forward.timeout,
            idle_timeout: forward.idle_timeout,
            target: Target::compile(&forward.target)?,
            retry: forward.retry.clone(),
            path_rewrite: forward
                .path_rewrite
                .as_ref()
                .map(PathRewrite::compile)
                .transpose()?,
            host_rewrite: forward.host_rewrite.as_ref().map(HostRewrite::compile),
        })
    }
}

/// A compiled [`model::Target`].
#[derive(Debug)]
pub(super) enum Target {
    Cluster(String),
    Weighted { clusters: Vec<Weighted>, sum: u64 },
    Header(String),
}

/// One of several clusters.
#[derive(Debug)]
pub(super) struct Weighted {
    name: String,
    /// Its own weight and those before it.
    up_to: u64,
    edits: Edits,
}

impl Target {
    fn compile(target: &model::Target) -> Result<Self, Invalid> {
        match target {
            model::Target::Cluster(name) => Ok(Self::Cluster(name.clone())),
            model::Target::Header(name) => Ok(Self::Header(name.clone())),
            model::Target::Weighted(written) => {
                let (mut clusters, mut sum) = (Vec::with_capacity(written.len()), 0);
                for (index, cluster) in written.iter().enumerate() {
                    sum += u64::from(cluster.weight);
                    let edits = Edits::compile(&cluster.edits)
                        .map_err(|invalid| invalid.within(&format!("weighted_clusters.clusters[{index}]")))?;
                    clusters.push(Weighted {
                        name: cluster.name.clone(),
                        up_to: sum,
                        edits,
                    });
                }
                if sum == 0 {
                    return Err(Invalid::new(
                        "weighted_clusters",
                        "the sum of all weights must be above zero",
                    ));
                }
                Ok(Self::Weighted { clusters, sum })
            }
        }
    }

    /// Which of weighted clusters; meaningless and harmless for the others.
    pub(super) fn choose(&self, random: u64) -> usize {
        match self {
            Self::Cluster(_) | Self::Header(_) => 0,
            Self::Weighted { clusters, sum } => {
                let point = random % sum;
                clusters.partition_point(|cluster| cluster.up_to <= point)
            }
        }
    }

    pub(super) fn cluster<'a>(&'a self, chosen: usize, request: &'a Headers) -> Option<&'a str> {
        match self {
            Self::Cluster(name) => Some(name),
            Self::Weighted { clusters, .. } => clusters.get(chosen).map(|cluster| cluster.name.as_str()),
            Self::Header(name) => request
                .get(name.as_bytes())
                .and_then(|value| std::str::from_utf8(value).ok()),
        }
    }

    pub(super) fn edits(&self, chosen: usize) -> Option<&Edits> {
        match self {
            Self::Cluster(_) | Self::Header(_) => None,
            Self::Weighted { clusters, .. } => clusters.get(chosen).map(|cluster| &cluster.edits),
        }
    }
}

/// A compiled [`model::Redirect`].
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<RedirectPath>,
    strip_query: bool,
}

#[derive(Debug)]
enum RedirectPath {
    Full(String),
    Prefix(String),
    Regex(Substitution),
}

impl Redirect {
    fn compile(redirect: &model::Redirect) -> Result<Self, Invalid> {
        if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
            let reason = format!("{} is none of 301, 302, 303, 307, 308", redirect.status);
            return Err(Invalid::new("response_code", reason));
        }
        let path = match &redirect.path {
            None => None,
            Some(model::RedirectPath::Full(path)) => Some(RedirectPath::Full(path.clone())),
            Some(model::RedirectPath::Prefix(prefix)) => Some(RedirectPath::Prefix(prefix.clone())),
            Some(model::RedirectPath::Regex {
                pattern,
                substitution,
            }) => {
                let compiled = Substitution::compile(pattern, substitution);
                Some(RedirectPath::Regex(
                    compiled.map_err(|invalid| invalid.within("regex_rewrite"))?,
                ))
            }
        };
        Ok(Self {
            status: redirect.status,
            scheme: redirect.scheme.clone(),
            host: redirect.host.clone(),
            port: redirect.port,
            path,
            strip_query: redirect.strip_query,
        })
    }

    /// `location`: everything that is not said stays as it was asked for. A port that is the default of the old
    /// scheme does not follow into a new one.
    pub(super) fn location(&self, matched: &Path, request: &Headers) -> Vec<u8> {
        let asked_scheme = request.get(b":scheme").unwrap_or(b"http");
        let scheme = self
            .scheme
            .as_ref()
            .map_or(asked_scheme, |scheme| scheme.as_bytes());
        let authority = request.get(b":authority").unwrap_or_default();
        let bare = without_port(authority);
        let asked_port = &authority[bare.len()..];
        let default_port: &[u8] = if asked_scheme.eq_ignore_ascii_case(b"https") {
            b":443"
        } else {
            b":80"
        };

        let mut location = Vec::with_capacity(64);
        location.extend_from_slice(scheme);
        location.extend_from_slice(b"://");
        location.extend_from_slice(self.host.as_ref().map_or(bare, |host| host.as_bytes()));
        if let Some(port) = self.port {
            location.push(b':');
            location.extend_from_slice(decimal(u64::from(port)).as_slice());
        } else if self.host.is_none() && !(self.scheme.is_some() && asked_port == default_port) {
            location.extend_from_slice(asked_port);
        }
        let (path, query) = split_path(request.get(b":path").unwrap_or(b"/"));
        let before = location.len();
        match &self.path {
            None => location.extend_from_slice(path),
            Some(RedirectPath::Full(new)) => location.extend_from_slice(new.as_bytes()),
            Some(RedirectPath::Prefix(prefix)) => {
                location.extend_from_slice(prefix.as_bytes());
                location.extend_from_slice(&path[matched.consumed(path).unwrap_or(0)..]);
            }
            Some(RedirectPath::Regex(substitution)) => substitution.apply(path, &mut location),
        }
        if !self.strip_query && !location[before..].contains(&b'?') {
            location.extend_from_slice(query);
        }
        location
    }
}
