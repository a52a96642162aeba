//! One artifact: fetch, verify, read, compile, and start once with the plugin's configuration.

use leno_model::filter::InlineCode;
use leno_oci::digest::Digest;
use leno_oci::fetch::{Origin, PullPolicy, Request};
use leno_oci::keychain::{Keychain, PullSecret};
use leno_oci::pull::Module;
use leno_oci::reference::Source;
use leno_wasm::{Abi, PluginOptions, VmOptions};

use super::Tools;
use super::failure::{Failure, Step};
use super::ledger::{Job, PullSecretOf};
use crate::api::wasm_plugin::{EnvSource, WasmPlugin};

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
    /// What could not be found out here, and why.
    pub note: Option<String>,
}

/// Does all of it.
///
/// # Errors
/// What went wrong, at which step, and what to do.
pub async fn check(tools: &Tools, job: &Job) -> Result<Checked, Failure> {
    let spec = &job.plugin.spec;
    let request = request(job)?;
    let fetched = tools.fetcher.fetch(&request).await?;
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
    .map_err(|error| Failure::new(Step::Pull, format!("keeping the module: {error}")))?
    .map_err(|error| {
        let reason = format!("the artifact store cannot keep the module: {error}");
        Failure::new(Step::Pull, reason)
    })?;
    let (abi, note) = start(tools, job, &module).await?;
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
        note,
    })
}

/// Compiles the module and starts it once, with all of its environment that is known here.
async fn start(tools: &Tools, job: &Job, module: &Module) -> Result<(Abi, Option<String>), Failure> {
    let spec = &job.plugin.spec;
    let engine = tools.engine.clone();
    let vm = VmOptions {
        vm_id: job.key.namespace.clone(),
        environment: environment(spec, EnvSource::Inline).collect(),
        ..VmOptions::default()
    };
    let unknown: Vec<String> = environment(spec, EnvSource::Host).map(|(name, _)| name).collect();
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
    let started = tokio::task::spawn_blocking(move || {
        let compile = || {
            engine
                .compile(&bytes)
                .map_err(|error| Failure::new(Step::Compile, format!("the module is refused: {error}")))
        };
        let module = compiled.get(&sha256, compile)?;
        let note = match leno_wasm::trial(&engine, &module, &vm, &options) {
            Ok(()) => None,
            // Those are the proxy's: only there it is seen whether it starts.
            Err(error) if !unknown.is_empty() => Some(format!(
                "spec.vmConfig.env: the filter does not start without {}, which only the proxy has (valueFrom: HOST), \
                 and is given to proxies untried: {error}",
                unknown.join(", ")
            )),
            Err(error) => {
                let reason = format!("the filter does not start: {error}");
                return Err(Failure::new(Step::Configure, reason));
            }
        };
        Ok((module.abi(), note))
    });
    started.await.unwrap_or_else(|error| {
        Err(Failure::new(
            Step::Compile,
            format!("checking the module: {error}"),
        ))
    })
}

/// The guest's variables from one place, with their values where they are in the document.
fn environment(spec: &WasmPlugin, from: EnvSource) -> impl Iterator<Item = (String, String)> {
    let all = spec.vm_config.iter().flat_map(|vm| &vm.env);
    all.filter(move |variable| variable.value_from == from)
        .map(|variable| (variable.name.clone(), variable.value.clone()))
}

fn request(job: &Job) -> Result<Request, Failure> {
    let pull = |reason: String| Failure::new(Step::Pull, reason);
    let spec = &job.plugin.spec;
    let url = if spec.url.contains("://") {
        spec.url.clone()
    } else {
        format!("oci://{}", spec.url)
    };
    let source = Source::parse(&url).map_err(|error| pull(format!("spec.url: {error}")))?;
    let mut request = Request::new(source);
    if !spec.sha256.is_empty() {
        let digest = Digest::parse(&format!("sha256:{}", spec.sha256))
            .map_err(|error| pull(format!("spec.sha256: {error}")))?;
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
                .map_err(|error| pull(format!("spec.imagePullSecret: {error}")))?;
            Keychain::secrets(vec![secret])
        }
        PullSecretOf::Missing => {
            return Err(pull(format!(
                "spec.imagePullSecret: there is no Secret {}/{}; add it, or remove the field",
                job.key.namespace, spec.image_pull_secret
            )));
        }
    };
    Ok(request)
}

#[cfg(test)]
mod tests;
