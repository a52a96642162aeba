//! A client of the demo's gateway, and what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A client of the gateway. Clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: reqwest::Client,
    gateway: SocketAddr,
}

/// A request that is being written.
pub(crate) struct Asking(reqwest::RequestBuilder);

/// An answer of the gateway.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    body: serde_json::Value,
}

impl Client {
    /// A client of the gateway at this address.
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self {
            inner: reqwest::Client::new(),
            gateway,
        }
    }

    /// A GET of `path`.
    pub(crate) fn get(&self, path: &str) -> Asking {
        let url = format!("http://{}{path}", self.gateway);
        Asking(self.inner.get(url).timeout(Duration::from_secs(10)))
    }
}

impl Asking {
    /// With a header.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// With a token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn send(self) -> anyhow::Result<Answer> {
        let response = self.0.send().await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let body = response.bytes().await?;
        Ok(Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}

impl Answer {
    /// A response header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A header as the upstream saw it.
    pub(crate) fn upstream_header(&self, name: &str) -> Option<String> {
        self.body["headers"][name].as_str().map(str::to_owned)
    }

    /// The path as the upstream saw it.
    pub(crate) fn upstream_path(&self) -> String {
        self.body["path"].as_str().unwrap_or_default().to_owned()
    }

    /// Which upstream answered.
    pub(crate) fn upstream_version(&self) -> String {
        self.body["version"].as_str().unwrap_or_default().to_owned()
    }
}
