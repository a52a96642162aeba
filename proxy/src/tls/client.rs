//! TLS towards upstreams.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use leno_model::invalid::Invalid;
use leno_model::tls::UpstreamTls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webpki::KeyUsage;

use crate::http::message::Protocol;
use crate::tls::certificate;
use crate::tls::names;
use crate::tls::server::{certificates, protocols, trust, versions};
use crate::tls::trust::{Trust, wrong_name};

/// Sessions that are kept for resumption, for all endpoints of a cluster.
const SESSIONS: usize = 1024;

/// A context that is ready for connections.
#[derive(Debug)]
pub struct ClientTls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    endpoint_name: bool,
}

impl PartialEq for ClientTls {
    /// Made from the same files at the same time.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl ClientTls {
    /// Reads the files of `context` and checks that they fit.
    ///
    /// # Errors
    /// The first of them that does not, by its path below the context.
    pub fn load(context: &UpstreamTls) -> Result<Self, Invalid> {
        let name = match context.server_name.as_str() {
            "" => None,
            name => Some(dns_name(name).ok_or_else(|| {
                Invalid::new("sni", format!("`{name}` is not a DNS name that can be asked for"))
            })?),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = certificates(&context.common, &provider)?.0;
        let verifier = Arc::new(Verifier {
            trust: trust(&context.common)?,
            by_name: context.verify_server_name,
            algorithms: provider.signature_verification_algorithms,
        });
        if verifier.trust.is_none() {
            tracing::warn!(
                code = "tls_no_trusted_ca",
                sni = context.server_name,
                "no upstream certificate is looked at, because there is no validation_context.trusted_ca"
            );
        }
        let own = own.into_iter().next().map(|(own, _)| own);
        let config =
            |protocol: &str| config(context, &provider, Arc::clone(&verifier), own.clone(), protocol);
        Ok(Self {
            http1: config("http/1.1")?,
            http2: config("h2")?,
            name,
            endpoint_name: context.endpoint_name,
        })
    }

    /// Shakes hands over `stream`. `hostname` is the endpoint's own; may be empty.
    ///
    /// # Errors
    /// The peer is not believed, or the connection broke.
    pub async fn connect(
        &self,
        stream: TcpStream,
        hostname: &str,
        protocol: Protocol,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = match protocol {
            Protocol::Http2 => &self.http2,
            Protocol::Http10 | Protocol::Http11 => &self.http1,
        };
        let name = self.server_name(hostname, stream.peer_addr()?.ip());
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }

    /// What is asked for. An address is the name under which sessions are kept; it is not sent.
    fn server_name(&self, hostname: &str, address: IpAddr) -> ServerName<'static> {
        let own = self.endpoint_name.then(|| dns_name(hostname)).flatten();
        let name = own.or_else(|| self.name.clone());
        name.unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }
}

fn dns_name(name: &str) -> Option<ServerName<'static>> {
    let name = ServerName::try_from(name.to_owned()).ok()?;
    matches!(name, ServerName::DnsName(_)).then_some(name)
}

/// One configuration for each protocol, because ALPN is part of it.
fn config(
    context: &UpstreamTls,
    provider: &Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    own: Option<Arc<CertifiedKey>>,
    protocol: &str,
) -> Result<Arc<ClientConfig>, Invalid> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions(&context.common));
    let builder = builder.map_err(|error| Invalid::new("", error.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocols(&context.common) {
        none if none.is_empty() => vec![protocol.as_bytes().to_vec()],
        given => given,
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// Of server certificates.
#[derive(Debug)]
struct Verifier {
    /// `None`: any certificate will do.
    trust: Option<Trust>,
    /// It must be for the name that was asked for, instead of for those of the configuration.
    by_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.check_path(leaf, others, KeyUsage::server_auth(), now, &self.algorithms)?;
            if self.by_name {
                check_name(leaf, name)?;
            } else {
                trust.check_names(leaf)?;
            }
        }
        Ok(ServerCertVerified::assertion())
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

/// Where no name was asked for, no certificate can be for it.
fn check_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let ServerName::DnsName(name) = name else {
        return Err(wrong_name());
    };
    let wanted = name.as_ref().to_ascii_lowercase();
    let leaf = certificate::read(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let mut names = leaf.dns_names.iter();
    match names.any(|name| names::is_for(name, &wanted)) {
        true => Ok(()),
        false => Err(wrong_name()),
    }
}
