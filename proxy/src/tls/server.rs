//! TLS towards clients.

use std::sync::Arc;

use leno_model::invalid::Invalid;
use leno_model::tls::{CommonTls, DownstreamTls, TlsVersion};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use webpki::KeyUsage;

use crate::tls::certificate::{self, Certificate};
use crate::tls::load;
use crate::tls::names;
use crate::tls::trust::Trust;

/// A context that is ready for connections.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// The certificate that every client is shown; `None` where there are several.
    own: Option<Arc<Certificate>>,
}

impl ServerTls {
    /// Reads the files of `context` and checks that they fit.
    ///
    /// # Errors
    /// The first of them that does not, by its path below the context.
    pub fn load(context: &DownstreamTls) -> Result<Self, Invalid> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let common = &context.common;
        let certificates = certificates(common, &provider)?;
        let own = match certificates.0.as_slice() {
            [(_, only)] => Some(Arc::clone(only)),
            _ => None,
        };
        let trust = trust(common)?;
        let verifier: Arc<dyn ClientCertVerifier> = if trust.is_some() || context.require_client_certificate {
            if trust.is_none() {
                tracing::warn!(
                    code = "tls_no_trusted_ca",
                    "clients must show a certificate, but without validation_context.trusted_ca any will do"
                );
            }
            Arc::new(Verifier {
                hints: trust.as_ref().map(Trust::hints).unwrap_or_default(),
                trust,
                required: context.require_client_certificate,
                algorithms: provider.signature_verification_algorithms,
            })
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let broken = |error: Error| Invalid::new("", error.to_string());
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions(common));
        let config = config.map_err(broken)?.with_client_cert_verifier(verifier);
        let mut config = config.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = protocols(common);
        // Tickets only: what a client may come back with costs no memory here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if context.session_tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(broken)?;
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            config: Arc::new(config),
            own,
        })
    }

    /// For the handshake.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What every client is shown, as far as that is known.
    pub(crate) fn own(&self) -> Option<&Arc<Certificate>> {
        self.own.as_ref()
    }
}

/// The roots of a context, if it looks at certificates.
pub(super) fn trust(common: &CommonTls) -> Result<Option<Trust>, Invalid> {
    let Some(validation) = &common.validation else {
        return Ok(None);
    };
    Trust::load(validation).map_err(|refusal| refusal.within("common_tls_context.validation_context"))
}

/// The versions of a context.
pub(super) fn versions(common: &CommonTls) -> &'static [&'static SupportedProtocolVersion] {
    const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEW: &[&SupportedProtocolVersion] = &[&TLS13];
    match (common.oldest, common.newest) {
        (TlsVersion::V1_2, TlsVersion::V1_2) => OLD,
        (TlsVersion::V1_2, TlsVersion::V1_3) => BOTH,
        (TlsVersion::V1_3, _) => NEW,
    }
}

/// What a context offers in ALPN.
pub(super) fn protocols(common: &CommonTls) -> Vec<Vec<u8>> {
    let protocols = common.protocols.iter();
    protocols.map(|protocol| protocol.clone().into_bytes()).collect()
}

/// The certificates of a context, each with its key.
pub(super) fn certificates(common: &CommonTls, provider: &CryptoProvider) -> Result<Certificates, Invalid> {
    let loaded = common.certificates.iter().enumerate().map(|(index, pair)| {
        let place =
            |refusal: Invalid| refusal.within(&format!("common_tls_context.tls_certificates[{index}]"));
        let in_chain = |refusal: Invalid| place(refusal.within("certificate_chain"));
        let in_key = |refusal: Invalid| place(refusal.within("private_key"));
        let chain = load::certificates(&pair.chain).map_err(in_chain)?;
        let leaf = certificate::read(&chain[0]).map_err(|error| {
            let reason = format!("holds a certificate that cannot be read: {error}");
            in_chain(load::refusal(&pair.chain, &reason))
        })?;
        let key = load::key(&pair.key).map_err(in_key)?;
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let reason = match error {
                Error::InconsistentKeys(_) => "is not the key of the certificate".to_owned(),
                error => format!("holds a key that is not supported: {error}"),
            };
            in_key(load::refusal(&pair.key, &reason))
        })?;
        Ok((Arc::new(pair), Arc::new(leaf)))
    });
    loaded.collect::<Result<_, _>>().map(Certificates)
}

/// Chosen by the name that is asked for, then by what the client can verify.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Vec<(Arc<CertifiedKey>, Arc<Certificate>)>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        let usable = self
            .0
            .iter()
            .filter(|(key, _)| key.key.choose_scheme(schemes).is_some());
        let named = |certificate: &Certificate| {
            let mut names = certificate.dns_names.iter();
            wanted
                .as_ref()
                .is_some_and(|wanted| names.any(|name| names::is_for(name, wanted)))
        };
        let mut first = None;
        for (key, certificate) in usable {
            if named(certificate) {
                return Some(Arc::clone(key));
            }
            first = first.or(Some(key));
        }
        first.cloned()
    }
}

/// Of client certificates.
#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate will do.
    trust: Option<Trust>,
    required: bool,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.check_path(leaf, others, KeyUsage::client_auth(), now, &self.algorithms)?;
            trust.check_names(leaf)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
