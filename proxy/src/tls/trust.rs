//! Whether a peer is believed: its certificate leads to a root of ours, is not revoked, and has a name we look for.

use std::sync::Arc;
use std::time::SystemTime;

use leno_model::invalid::Invalid;
use leno_model::tls::Validation;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, DistinguishedName, Error, OtherError};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, VerifiedPath,
};

use crate::tls::names::Names;
use crate::tls::{certificate, load};

/// Roots, revocation lists and names.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// Of each anchor, in seconds since 1970.
    validity: Vec<(i64, i64)>,
    lists: Vec<CertRevocationList<'static>>,
    leaf_only: bool,
    names: Names,
}

/// Why nothing is wrong with a certificate but its names.
#[derive(Debug)]
pub(super) struct WrongName;

impl std::fmt::Display for WrongName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("none of its subject alternative names is one that is wanted")
    }
}

impl std::error::Error for WrongName {}

impl Trust {
    /// `None`: nothing is looked at.
    pub(super) fn load(validation: &Validation) -> Result<Option<Self>, Invalid> {
        let Some(source) = &validation.trusted_ca else {
            return Ok(None);
        };
        let mut trust = Self {
            anchors: Vec::new(),
            validity: Vec::new(),
            lists: Vec::new(),
            leaf_only: validation.revoked_leaf_only,
            names: Names::new(&validation.names)?,
        };
        let roots = load::certificates(source).map_err(|refusal| refusal.within("trusted_ca"))?;
        for (index, root) in roots.iter().enumerate() {
            trust.add(root).map_err(|reason| {
                let reason = format!("holds certificate number {} that {reason}", index + 1);
                load::refusal(source, &reason).within("trusted_ca")
            })?;
        }
        let now = seconds(SystemTime::now());
        if !trust
            .validity
            .iter()
            .any(|(from, until)| (*from..=*until).contains(&now))
        {
            let refusal = load::refusal(source, "holds only certificates that are not valid now");
            return Err(refusal.within("trusted_ca"));
        }
        // The file of the roots may hold lists too, as in Envoy.
        let sources = [(Some(source), "trusted_ca"), (validation.revoked.as_ref(), "crl")];
        for (source, field) in sources {
            let Some(source) = source else { continue };
            let before = trust.lists.len();
            trust.add_lists(source).map_err(|refusal| refusal.within(field))?;
            if field == "crl" && trust.lists.len() == before {
                return Err(load::refusal(source, "holds no revocation list in PEM").within(field));
            }
        }
        Ok(Some(trust))
    }

    fn add(&mut self, root: &CertificateDer<'_>) -> Result<(), String> {
        let anchor = webpki::anchor_from_trusted_cert(root);
        let anchor = anchor.map_err(|error| format!("cannot be a root: {error}"))?;
        let read = certificate::read(root).map_err(|error| format!("cannot be read: {error}"))?;
        self.anchors.push(anchor.to_owned());
        self.validity.push(read.validity);
        Ok(())
    }

    fn add_lists(&mut self, source: &leno_model::tls::DataSource) -> Result<(), Invalid> {
        for list in load::lists(source)? {
            let list = OwnedCertRevocationList::from_der(&list).map_err(|error| {
                load::refusal(
                    source,
                    &format!("holds a revocation list that cannot be read: {error}"),
                )
            })?;
            self.lists.push(list.into());
        }
        Ok(())
    }

    /// What a client is told about whose certificates we take.
    pub(super) fn hints(&self) -> Vec<DistinguishedName> {
        let subjects = self.anchors.iter().map(|anchor| &anchor.subject);
        subjects
            .map(|subject| DistinguishedName::in_sequence(subject))
            .collect()
    }

    /// The certificate leads to a root, for this usage.
    pub(super) fn check_path(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let depth = match self.leaf_only {
                true => RevocationCheckDepth::EndEntity,
                false => RevocationCheckDepth::Chain,
            };
            let options = options.with_depth(depth);
            options.with_expiration_policy(ExpirationPolicy::Enforce).build()
        });
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // Roots are checked for names and keys only, so this is where one that has expired is not believed any more.
        let anchor_is_valid = |path: &VerifiedPath<'_>| {
            let mut anchors = self.anchors.iter().zip(&self.validity);
            let valid = |(from, until): &(i64, i64)| (*from..=*until).contains(&at);
            match anchors.any(|(anchor, validity)| anchor == path.anchor() && valid(validity)) {
                true => Ok(()),
                false => Err(webpki::Error::UnknownIssuer),
            }
        };
        let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
        leaf.verify_for_usage(
            algorithms.all,
            &self.anchors,
            others,
            now,
            usage,
            revocation,
            Some(&anchor_is_valid),
        )
        .map(drop)
        .map_err(refused)
    }

    /// One of the names is one that is wanted.
    pub(super) fn check_names(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if self.names.is_empty() {
            return Ok(());
        }
        let leaf = certificate::read(leaf).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        match self.names.accept(&leaf) {
            true => Ok(()),
            false => Err(wrong_name()),
        }
    }
}

/// The refusal of a certificate for its names only.
pub(super) fn wrong_name() -> Error {
    CertificateError::Other(OtherError(Arc::new(WrongName))).into()
}

/// Each with the alert that it is (RFC 8446 §6.2).
fn refused(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::InvalidCertValidity => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        webpki::Error::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => {
            CertificateError::BadEncoding
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
    .into()
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
