//! Attributes of an exchange or of the proxy, under Envoy's names.

use std::time::Duration;

/// The value of an attribute, or nothing if there is no such attribute at this point.
///
/// The encoding is Proxy-Wasm's and carries no type, so the reader names the one that Envoy documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Property(Option<Vec<u8>>);

impl Property {
    pub(crate) fn new(value: Option<Vec<u8>>) -> Self {
        Self(value)
    }

    /// As it came.
    #[must_use]
    pub fn bytes(self) -> Option<Vec<u8>> {
        self.0
    }

    /// Text. Nothing if it is not UTF-8.
    #[must_use]
    pub fn text(self) -> Option<String> {
        String::from_utf8(self.0?).ok()
    }

    /// An integer: 8 bytes.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        Some(i64::from_le_bytes(self.0?.try_into().ok()?))
    }

    /// A double: 8 bytes.
    #[must_use]
    pub fn double(self) -> Option<f64> {
        Some(f64::from_le_bytes(self.0?.try_into().ok()?))
    }

    /// A boolean: 1 byte.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.0?.as_slice() {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// As text, for an attribute of this name (with `.` between segments): the integers and booleans among Envoy's
    /// attributes are written out, durations in milliseconds. Nothing if it is not UTF-8.
    #[must_use]
    pub fn shown(self, name: &str) -> Option<String> {
        match name {
            "source.port"
            | "destination.port"
            | "upstream.port"
            | "request.size"
            | "request.total_size"
            | "response.size"
            | "response.total_size"
            | "response.code"
            | "response.flags"
            | "response.grpc_status"
            | "connection.id"
            | "connection_id"
            | "upstream.request_attempt_count"
            | "upstream.num_endpoints"
            | "xds.listener_direction"
            | "listener_direction" => self.int().map(|value| value.to_string()),
            "connection.mtls" => self.bool().map(|value| value.to_string()),
            "request.duration" | "response.backend_latency" => {
                self.duration().map(|value| value.as_millis().to_string())
            }
            _ => self.text(),
        }
    }

    /// A duration, or a time since 1970: nanoseconds in 8 bytes. Nothing if it is negative.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        self.int()?.try_into().ok().map(Duration::from_nanos)
    }
}

/// Segments joined as hosts want them.
pub(crate) fn join(path: &[&str]) -> Vec<u8> {
    path.join("\0").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::Property;
    use std::time::Duration;

    fn property(bytes: &[u8]) -> Property {
        Property::new(Some(bytes.to_vec()))
    }

    #[test]
    fn reads_what_proxy_wasm_encodes() {
        assert_eq!(property(b"abc").text().as_deref(), Some("abc"));
        assert_eq!(property(&[0xff]).text(), None);
        assert_eq!(property(&[0xc8, 0, 0, 0, 0, 0, 0, 0]).int(), Some(200));
        assert_eq!(property(&[1]).bool(), Some(true));
        assert_eq!(property(&[2]).bool(), None);
        assert_eq!(property(&1.5f64.to_le_bytes()).double(), Some(1.5));
        assert_eq!(
            property(&1_000_000i64.to_le_bytes()).duration(),
            Some(Duration::from_millis(1))
        );
        assert_eq!(property(&(-1i64).to_le_bytes()).duration(), None);
        assert_eq!(Property::default().int(), None);
    }
}
