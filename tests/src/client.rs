//! One exchange, as a client sees it.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;

use crate::upstream::headers;
use crate::wait::PATIENCE;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// `GET` when empty.
    pub method: &'static str,
    /// As `/orders?x=1`.
    pub path: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// None when empty.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// As an object; values of one name are joined.
    pub headers: Value,
    /// The whole body.
    pub body: String,
}

impl Ask {
    /// A GET.
    pub fn get(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// A POST.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST",
            body: body.into(),
            ..Self::get(path)
        }
    }

    /// With another field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends it on a connection of its own.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send(&self, address: SocketAddr) -> anyhow::Result<Answer> {
        self.send_with(&client()?, address).await
    }

    /// Sends it on a connection of `client`.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send_with(&self, client: &reqwest::Client, address: SocketAddr) -> anyhow::Result<Answer> {
        let method = if self.method.is_empty() {
            "GET"
        } else {
            self.method
        };
        let url = format!("http://{address}{}", self.path);
        let mut request = client.request(method.parse()?, url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !self.body.is_empty() {
            request = request.body(self.body.clone());
        }
        let asked = || format!("{method} {} at {address}", self.path);
        let response = request.send().await.with_context(asked)?;
        let (status, fields) = (response.status().as_u16(), headers(response.headers()));
        let body = response.bytes().await.with_context(asked)?;
        Ok(Answer {
            status,
            headers: fields,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

impl Answer {
    /// A field of the answer; empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].as_str().unwrap_or_default()
    }

    /// What the upstream saw; null when it was not asked.
    pub fn upstream(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A field of the request as the upstream saw it; empty when absent.
    pub fn upstream_header(&self, name: &str) -> String {
        self.upstream()["headers"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// A client that keeps connections.
///
/// # Errors
/// The system has no randomness for TLS.
pub fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()?)
}

/// The body of a GET that must succeed.
///
/// # Errors
/// It does not.
pub async fn page(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = Ask::get(path).send(address).await?;
    anyhow::ensure!(
        answer.status == 200,
        "GET {path} at {address} answers {}: {}",
        answer.status,
        answer.body
    );
    Ok(answer.body)
}
