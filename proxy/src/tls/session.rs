//! What is known of a TLS connection once its handshake is over.

use std::sync::Arc;

use rustls::{CipherSuite, CommonState, ProtocolVersion};

use crate::tls::certificate::{self, Certificate};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// As `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name.
    pub cipher: &'static str,
    /// What the peer has shown.
    pub peer: Option<Arc<Certificate>>,
    /// What the peer was shown, as far as that is known.
    pub own: Option<Arc<Certificate>>,
}

impl Session {
    /// Of a connection whose handshake is over.
    pub(crate) fn of(state: &CommonState, own: Option<&Arc<Certificate>>) -> Self {
        let suite = state.negotiated_cipher_suite();
        let shown = state.peer_certificates().and_then(<[_]>::first);
        // One that was believed without being looked at may be malformed.
        let peer = shown.map(|shown| certificate::read(shown).unwrap_or_default());
        Self {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "",
            },
            cipher: suite.map_or("", |suite| cipher(suite.suite())),
            peer: peer.map(Arc::new),
            own: own.cloned(),
        }
    }
}

/// The suites that are spoken, by OpenSSL's names.
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or(""),
    }
}
