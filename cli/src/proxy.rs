//! Commands about running proxies, over their admin ports; Envoy's answers are understood as well as ours.

pub(crate) mod config;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::failure::failure;

/// GETs a JSON document from an admin port.
async fn fetch(admin: &str, path: &str) -> anyhow::Result<Value> {
    let base = match admin.contains("://") {
        true => admin.to_owned(),
        false => format!("http://{admin}"),
    };
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()?;
    let unreachable = |error: reqwest::Error| {
        failure(
            format!("no proxy answers at {base}: {}", error.without_url()),
            "--admin with the address of the proxy's admin port, and check that it runs",
        )
    };
    let response = client.get(&url).send().await.map_err(unreachable)?;
    let status = response.status();
    let text = response.text().await.with_context(|| url.clone())?;
    if !status.is_success() {
        anyhow::bail!(
            "{url} answered {status}: {}",
            text.chars().take(200).collect::<String>().trim()
        );
    }
    serde_json::from_str(&text).map_err(|error| {
        failure(
            format!("{url} did not answer with JSON ({error})"),
            "--admin with a proxy's admin port",
        )
    })
}

/// The value at a path of keys; null when any is missing.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
