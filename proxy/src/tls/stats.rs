//! What the handshakes of a listener or cluster count on one worker, under Envoy's names.

use std::io;

use rustls::{CommonState, Error, HandshakeKind};

use crate::stats::{Counter, Registry};
use crate::tls::trust::WrongName;

/// `listener.<address>.ssl.*` or `cluster.<name>.ssl.*`.
pub struct TlsStats {
    handshake: Counter,
    session_reused: Counter,
    no_certificate: Counter,
    connection_error: Counter,
    fail_verify_no_cert: Counter,
    fail_verify_error: Counter,
    fail_verify_san: Counter,
}

impl TlsStats {
    /// Below `prefix`, as `listener.0.0.0.0_80`.
    pub(crate) fn new(registry: &Registry, prefix: &str, tags: &[(&str, &str)]) -> Self {
        let counter = |name: &str| registry.counter(&format!("{prefix}.ssl.{name}"), tags);
        Self {
            handshake: counter("handshake"),
            session_reused: counter("session_reused"),
            no_certificate: counter("no_certificate"),
            connection_error: counter("connection_error"),
            fail_verify_no_cert: counter("fail_verify_no_cert"),
            fail_verify_error: counter("fail_verify_error"),
            fail_verify_san: counter("fail_verify_san"),
        }
    }

    /// A handshake is over.
    pub(crate) fn done(&self, state: &CommonState) {
        self.handshake.inc();
        if state.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.session_reused.inc();
        }
        if state.peer_certificates().is_none() {
            self.no_certificate.inc();
        }
    }

    /// A handshake failed. As in Envoy, a peer that is not believed is no connection error, and neither is one
    /// that goes away.
    pub(crate) fn failed(&self, error: &io::Error) {
        match cause(error) {
            Some(Error::NoCertificatesPresented) => self.fail_verify_no_cert.inc(),
            Some(Error::InvalidCertificate(certificate)) if is_about_names(certificate) => {
                self.fail_verify_san.inc();
            }
            Some(Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_)) => {
                self.fail_verify_error.inc();
            }
            Some(_) => self.connection_error.inc(),
            None => {}
        }
    }
}

/// Why TLS itself failed; `None`: the connection broke.
pub(crate) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// What is wrong, in words.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            format!("invalid peer certificate: {}", other.0)
        }
        error => error.to_string(),
    }
}

fn is_about_names(error: &rustls::CertificateError) -> bool {
    match error {
        rustls::CertificateError::Other(other) => other.0.is::<WrongName>(),
        _ => false,
    }
}
