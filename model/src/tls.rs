//! TLS on either side: who we are, whom we believe, and what is spoken.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::matching::StringMatch;

/// `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`: we are the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamTls {
    /// What both sides have. At least one certificate.
    pub common: CommonTls,
    /// A client without a certificate is turned away.
    pub require_client_certificate: bool,
    /// Sessions may be resumed with tickets (default true).
    pub session_tickets: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`: we are the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// What both sides have. At most one certificate.
    pub common: CommonTls,
    /// The name that is asked for (SNI); none is sent when empty.
    pub server_name: String,
    /// Ask for the endpoint's own name, where it has one.
    pub endpoint_name: bool,
    /// The certificate must be for the name that is asked for.
    pub verify_server_name: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonTls {
    /// Who we are. The first one serves whoever asks for none of their names.
    pub certificates: Vec<TlsCertificate>,
    /// Whom we believe; `None` believes everybody.
    pub validation: Option<Validation>,
    /// What is offered in ALPN, in order of preference.
    pub protocols: Vec<String>,
    /// The oldest version that is spoken (default 1.2).
    pub oldest: TlsVersion,
    /// The newest version that is spoken (default 1.3), not before `oldest`.
    pub newest: TlsVersion,
}

impl Default for CommonTls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            validation: None,
            protocols: Vec::new(),
            oldest: TlsVersion::V1_2,
            newest: TlsVersion::V1_3,
        }
    }
}

/// A version that is spoken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// PEM: the certificate, then those that lead to a root.
    pub chain: DataSource,
    /// PEM: the key of the first.
    pub key: DataSource,
}

/// `envoy.config.core.v3.DataSource`.
#[derive(Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Read when configuration is applied.
    File(PathBuf),
    /// In the document itself.
    Inline(Arc<[u8]>),
}

impl fmt::Debug for DataSource {
    /// Keys stay out of logs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "File({})", path.display()),
            Self::Inline(bytes) => write!(out, "Inline({} bytes)", bytes.len()),
        }
    }
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// PEM: a certificate must lead to one of these. Without it none is looked at.
    pub trusted_ca: Option<DataSource>,
    /// One of its names must be one of these; any name will do when empty. Only with `trusted_ca`.
    pub names: Vec<NameMatch>,
    /// PEM: none of the certificates on the way may be on these lists, and each issuer must have one. Only with
    /// `trusted_ca`.
    pub revoked: Option<DataSource>,
    /// Only the peer's own certificate is looked up on the lists.
    pub revoked_leaf_only: bool,
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameMatch {
    /// Of which kind.
    pub kind: NameKind,
    /// What it must be. For [`NameKind::Dns`], `Exact` follows the rules of DNS names (case, wildcards).
    pub value: StringMatch,
}

/// A kind of subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `rfc822Name`.
    Email,
    /// `dNSName`.
    Dns,
    /// `uniformResourceIdentifier`.
    Uri,
    /// `iPAddress`, as text.
    Ip,
}
