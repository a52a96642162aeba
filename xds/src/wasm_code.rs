//! Where the code of a Wasm module is: `AsyncDataSource` and what stands in it.

use std::path::PathBuf;

use leno_model::filter::{RemoteCode, WasmCode};
use leno_model::invalid::Invalid;

use crate::pb::core::{self, async_data_source::Specifier, data_source, http_uri::HttpUpstreamType};
use crate::strict::Fields;
use crate::wire::{self, Within, required, required_text, uint32};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.core.v3.AsyncDataSource",
        supported: &["local", "remote"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.RemoteDataSource",
        supported: &["http_uri", "sha256", "retry_policy"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.HttpUri",
        supported: &["uri", "cluster", "timeout"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.RetryPolicy",
        supported: &["num_retries"],
        no_effect: &[(
            "retry_back_off",
            "fetches of modules share one back-off with jitter",
        )],
    },
];

/// Istio writes this where it knows no digest, because Envoy wants the field set.
const NO_DIGEST: &str = "nil";

/// We write this where no cluster is meant, because Envoy wants the field set.
const NO_CLUSTER: &str = "_";

/// `AsyncDataSource`.
pub(crate) fn decode(source: &core::AsyncDataSource) -> Result<WasmCode, Invalid> {
    match required("", source.specifier.as_ref())? {
        Specifier::Local(local) => decode_local(local).within("local"),
        Specifier::Remote(remote) => decode_remote(remote).map(WasmCode::Remote).within("remote"),
    }
}

/// The other way.
pub(crate) fn encode(code: &WasmCode) -> core::AsyncDataSource {
    let local = |specifier| {
        Specifier::Local(core::DataSource {
            specifier: Some(specifier),
            ..Default::default()
        })
    };
    let specifier = match code {
        WasmCode::Inline(bytes) => local(data_source::Specifier::InlineBytes(bytes.as_ref().to_vec())),
        WasmCode::File(path) => local(data_source::Specifier::Filename(
            path.to_string_lossy().into_owned(),
        )),
        WasmCode::Remote(remote) => Specifier::Remote(encode_remote(remote)),
    };
    core::AsyncDataSource {
        specifier: Some(specifier),
    }
}

fn decode_local(source: &core::DataSource) -> Result<WasmCode, Invalid> {
    match &source.specifier {
        Some(data_source::Specifier::Filename(path)) => {
            Ok(WasmCode::File(PathBuf::from(required_text("filename", path)?)))
        }
        _ => wire::inline(source).map(|bytes| WasmCode::Inline(bytes.into())),
    }
}

fn decode_remote(remote: &core::RemoteDataSource) -> Result<RemoteCode, Invalid> {
    let http_uri = required("http_uri", remote.http_uri.as_ref())?;
    let uri = required_text("uri", &http_uri.uri).within("http_uri")?;
    let known = ["http://", "https://", "oci://"];
    if !known.iter().any(|scheme| uri.starts_with(scheme)) {
        let reason = format!("`{uri}` does not begin with one of {}", known.join(", "));
        return Err(Invalid::new("http_uri.uri", reason));
    }
    let cluster = match &http_uri.http_upstream_type {
        Some(HttpUpstreamType::Cluster(cluster)) if cluster != NO_CLUSTER => cluster.clone(),
        Some(HttpUpstreamType::Cluster(_)) | None => String::new(),
    };
    let timeout = wire::positive("timeout", http_uri.timeout.as_ref()).within("http_uri")?;
    let retries = remote.retry_policy.as_ref().and_then(|policy| policy.num_retries);
    Ok(RemoteCode {
        uri: uri.to_owned(),
        cluster,
        timeout: timeout.ok_or_else(|| Invalid::new("http_uri.timeout", "is required"))?,
        sha256: decode_digest(&remote.sha256)?,
        retries: retries.map_or(1, |retries| retries.value),
    })
}

fn decode_digest(text: &str) -> Result<String, Invalid> {
    if text == NO_DIGEST {
        return Ok(String::new());
    }
    if text.is_empty() {
        let reason = "is required: 64 hexadecimal digits, or `nil` to take whatever the server has";
        return Err(Invalid::new("sha256", reason));
    }
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Invalid::new("sha256", "is not 64 hexadecimal digits"))
}

fn encode_remote(remote: &RemoteCode) -> core::RemoteDataSource {
    let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise } else { text }.to_owned();
    core::RemoteDataSource {
        http_uri: Some(core::HttpUri {
            uri: remote.uri.clone(),
            timeout: Some(wire::to_duration(remote.timeout)),
            http_upstream_type: Some(HttpUpstreamType::Cluster(or(&remote.cluster, NO_CLUSTER))),
        }),
        sha256: or(&remote.sha256, NO_DIGEST),
        retry_policy: Some(core::RetryPolicy {
            num_retries: Some(uint32(remote.retries)),
            ..Default::default()
        }),
    }
}
