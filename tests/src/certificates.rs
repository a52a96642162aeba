//! Certificate authorities of a suite, and what they sign.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};

/// Somebody who signs.
pub struct Authority {
    /// PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// One of this name.
    ///
    /// # Panics
    /// The system has no randomness.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate as `change` wants it.
    ///
    /// # Panics
    /// There can be no such certificate.
    pub fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate with these names: URIs where they have a scheme, else DNS names.
    pub fn name(&self, names: &[&str]) -> Identity {
        self.sign(|params| params.subject_alt_names = alternative_names(names))
    }
}

/// For [`Authority::sign`]: URIs where they have a scheme, else DNS names.
///
/// # Panics
/// They are not ASCII.
pub fn alternative_names(names: &[&str]) -> Vec<SanType> {
    let name = |name: &&str| match (name.contains("://"), (*name).try_into().expect("ASCII")) {
        (true, name) => SanType::URI(name),
        (false, name) => SanType::DnsName(name),
    };
    names.iter().map(name).collect()
}

/// For [`Authority::sign`]: one URI of any bytes, which no library writes.
///
/// # Panics
/// It is longer than 100 bytes.
pub fn raw_uri(uri: &[u8]) -> CustomExtension {
    let length = u8::try_from(uri.len()).ok().filter(|length| *length < 100);
    let length = length.expect("a short name");
    let mut value = vec![0x30, length + 2, 0x86, length];
    value.extend_from_slice(uri);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], value)
}

impl Identity {
    /// As `TlsCertificate`.
    pub fn inline(&self) -> Value {
        json!({
            "certificate_chain": {"inline_string": self.certificate},
            "private_key": {"inline_string": self.key},
        })
    }

    /// Written to `NAME.pem` and `NAME.key` in `folder`; both paths.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn files(&self, folder: &Path, name: &str) -> [String; 2] {
        let write = |ending: &str, text: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            path.display().to_string()
        };
        [write("pem", &self.certificate), write("key", &self.key)]
    }
}
