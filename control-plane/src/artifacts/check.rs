//! One artifact: fetch, verify, read, compile, and start once with the plugin's configuration.

use leno_model::filter::InlineCode;
use leno_oci::digest::Digest;
use leno_oci::error::Error;
use leno_oci::fetch::{Origin, PullPolicy, Request};
use leno_oci::keychain::{Keychain, PullSecret};
use leno_oci::reference::Source;
use leno_wasm::{Abi, PluginOptions, VmOptions};

use super::Tools;
use super::ledger::{Job, PullSecretOf};

/// An artifact that may serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of the module, in hexadecimal digits.
    pub sha256: String,
    /// Of the manifest that was asked for, where the source has one: `sha256:...`.
    pub manifest: Option<String>,
    /// Of the module, in bytes.
    pub size: usize,
    /// As `proxy-wasm 0.2.1` or `component`.
    pub abi: String,
    /// The module, unless it is a component: only Leno's own proxies can run those, and they fetch by digest.
    pub proxy_wasm: Option<InlineCode>,
}

/// Does all of it.
///
/// # Errors
/// What went wrong, at which step, and what to do.
pub async fn check(tools: &Tools, job: &Job) -> Result<Checked, String> {
    let spec = &job.plugin.spec;
    let request = request(job)?;
    let fetched = tools
        .fetcher
        .fetch(&request)
        .await
        .map_err(|error| describe(&error))?;
    if let Origin::Stale(error) = &fetched.origin {
        tracing::warn!(plugin = %job.key, url = spec.url, %error, "the registry cannot be asked; what was pulled before serves");
    }
    let module = fetched.module;
    // The proxies fetch it from the store by digest, whatever way it came: it has to be there.
    let (store, kept) = (tools.fetcher.store().clone(), module.clone());
    tokio::task::spawn_blocking(move || match store.get(&kept.digest) {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => store.put(&kept.bytes).map(drop),
    })
    .await
    .map_err(|error| format!("keeping the module: {error}"))?
    .map_err(|error| format!("the artifact store cannot keep the module: {error}"))?;
    let engine = tools.engine.clone();
    let vm = VmOptions {
        vm_id: job.key.namespace.clone(),
        ..VmOptions::default()
    };
    let options = PluginOptions {
        name: format!("{}.{}", job.key.namespace, job.key.name),
        root_id: spec.plugin_name.clone(),
        configuration: spec
            .plugin_config
            .as_ref()
            .map(|config| serde_json::Value::Object(config.clone()).to_string().into_bytes())
            .unwrap_or_default(),
        allow_on_headers_stop_iteration: false,
    };
    let (bytes, sha256, compiled) = (module.bytes.clone(), module.digest.hex(), tools.compiled.clone());
    let abi = tokio::task::spawn_blocking(move || {
        let compile = || {
            engine
                .compile(&bytes)
                .map_err(|error| format!("the module is refused: {error}"))
        };
        let module = compiled.get(&sha256, compile)?;
        leno_wasm::trial(&engine, &module, &vm, &options)
            .map_err(|error| format!("the filter does not start: {error}"))?;
        Ok::<Abi, String>(module.abi())
    })
    .await
    .map_err(|error| format!("checking the module: {error}"))??;
    Ok(Checked {
        sha256: module.digest.hex(),
        manifest: module
            .artifact
            .as_ref()
            .map(|artifact| artifact.resolved.to_string()),
        size: module.bytes.len(),
        proxy_wasm: match abi {
            Abi::Component => None,
            Abi::ProxyWasm(_) => Some(module.bytes.as_ref().into()),
        },
        abi: abi.to_string(),
    })
}

fn request(job: &Job) -> Result<Request, String> {
    let spec = &job.plugin.spec;
    let url = if spec.url.contains("://") {
        spec.url.clone()
    } else {
        format!("oci://{}", spec.url)
    };
    let source = Source::parse(&url).map_err(|error| format!("spec.url: {error}"))?;
    let mut request = Request::new(source);
    if !spec.sha256.is_empty() {
        let digest = Digest::parse(&format!("sha256:{}", spec.sha256))
            .map_err(|error| format!("spec.sha256: {error}"))?;
        request.sha256 = Some(digest);
    }
    request.policy = if job.ask {
        PullPolicy::Always
    } else {
        PullPolicy::IfNotPresent
    };
    request.keychain = match &job.pull_secret {
        PullSecretOf::None => Keychain::docker(),
        PullSecretOf::Content(secret) => {
            let secret = PullSecret::parse(secret.0.as_bytes())
                .map_err(|error| format!("spec.imagePullSecret: {error}"))?;
            Keychain::secrets(vec![secret])
        }
        PullSecretOf::Missing => {
            return Err(format!(
                "spec.imagePullSecret: there is no Secret {}/{}; add it, or remove the field",
                job.key.namespace, spec.image_pull_secret
            ));
        }
    };
    Ok(request)
}

fn describe(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}
