//! Messages: what a client and an upstream send, and what the other side receives.

use super::{Pairs, text};
use crate::plugin::CallResponse;
use crate::property::join;

/// A message as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Pseudo headers first.
    pub headers: Pairs,
    /// All of it.
    pub body: Vec<u8>,
    /// Empty if there were none.
    pub trailers: Pairs,
}

impl Message {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .find(|(field, _)| field == name.as_bytes())
            .map(|(_, value)| text(value))
    }
}

/// A request that a client is going to send, and the answer that the upstream has for it.
#[derive(Clone, Debug)]
pub struct TestRequest {
    pub(super) headers: Pairs,
    pub(super) body: Vec<Vec<u8>>,
    pub(super) trailers: Pairs,
    pub(super) response: TestResponse,
    pub(super) properties: Pairs,
}

/// A `GET`.
#[must_use]
pub fn get(path: &str) -> TestRequest {
    request("GET", path)
}

/// A `DELETE`.
#[must_use]
pub fn delete(path: &str) -> TestRequest {
    request("DELETE", path)
}

/// A `POST` with a body.
#[must_use]
pub fn post(path: &str, body: impl AsRef<[u8]>) -> TestRequest {
    request("POST", path).chunk(body)
}

/// A request to `example.test` without a body.
#[must_use]
pub fn request(method: &str, path: &str) -> TestRequest {
    let pairs = [
        (":authority", "example.test"),
        (":path", path),
        (":method", method),
        (":scheme", "http"),
    ];
    TestRequest {
        headers: pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        body: Vec::new(),
        trailers: Vec::new(),
        response: response(200),
        properties: Vec::new(),
    }
}

impl TestRequest {
    /// One more field, or another value for a pseudo header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        match self
            .headers
            .iter_mut()
            .find(|(field, _)| name.starts_with(':') && field == name.as_bytes())
        {
            Some(field) => field.1 = value,
            None => self.headers.push((name.to_ascii_lowercase().into_bytes(), value)),
        }
        self
    }

    /// One more part of the body.
    #[must_use]
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body.push(bytes.as_ref().to_vec());
        self
    }

    /// One more trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .push((name.to_ascii_lowercase().into_bytes(), value.as_ref().to_vec()));
        self
    }

    /// What the upstream answers; 200 without a body otherwise.
    #[must_use]
    pub fn answered(mut self, response: TestResponse) -> Self {
        self.response = response;
        self
    }

    /// An attribute that is a text, such as `["source", "address"]`. What follows from the messages is there anyway.
    #[must_use]
    pub fn property(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.raw_property(join(path), value.as_ref().to_vec())
    }

    /// An attribute that is an integer, a time or a duration in nanoseconds.
    #[must_use]
    pub fn int_property(self, path: &[&str], value: i64) -> Self {
        self.raw_property(join(path), value.to_le_bytes().to_vec())
    }

    /// An attribute that is a boolean.
    #[must_use]
    pub fn bool_property(self, path: &[&str], value: bool) -> Self {
        self.raw_property(join(path), vec![u8::from(value)])
    }

    pub(super) fn raw_property(mut self, path: Vec<u8>, value: Vec<u8>) -> Self {
        self.properties.push((path, value));
        self
    }
}

/// What an upstream answers, or a call gets.
#[derive(Clone, Debug, Default)]
pub struct TestResponse {
    pub(super) headers: Pairs,
    pub(super) body: Vec<Vec<u8>>,
    pub(super) trailers: Pairs,
}

/// A response without a body.
#[must_use]
pub fn response(status: u16) -> TestResponse {
    TestResponse {
        headers: vec![(b":status".to_vec(), status.to_string().into_bytes())],
        ..TestResponse::default()
    }
}

impl TestResponse {
    /// One more field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_ascii_lowercase().into_bytes(), value.as_ref().to_vec()));
        self
    }

    /// One more part of the body.
    #[must_use]
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body.push(bytes.as_ref().to_vec());
        self
    }

    /// One more trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .push((name.to_ascii_lowercase().into_bytes(), value.as_ref().to_vec()));
        self
    }
}

impl From<TestResponse> for CallResponse {
    fn from(response: TestResponse) -> Self {
        Self {
            headers: response.headers,
            body: response.body.concat(),
            trailers: response.trailers,
        }
    }
}
