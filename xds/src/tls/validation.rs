//! `CertificateValidationContext`: whom a TLS context believes.

use leno_model::invalid::Invalid;
use leno_model::matching::Pattern;
use leno_model::tls::{NameKind, NameMatch, Validation};

use super::{decode_source, encode_source};
use crate::matching;
use crate::pb::core;
use crate::pb::tls;
use crate::pb::tls::subject_alt_name_matcher::SanType;
use crate::wire::{Within, enumeration, list, required};

/// From the wire.
pub(super) fn decode(context: &tls::CertificateValidationContext) -> Result<Validation, Invalid> {
    let source =
        |field: &str, source: Option<&core::DataSource>| source.map(decode_source).transpose().within(field);
    let validation = Validation {
        trusted_ca: source("trusted_ca", context.trusted_ca.as_ref())?,
        names: list(
            "match_typed_subject_alt_names",
            &context.match_typed_subject_alt_names,
            decode_name,
        )?,
        revoked: source("crl", context.crl.as_ref())?,
        revoked_leaf_only: context.only_verify_leaf_cert_crl,
    };
    if validation.trusted_ca.is_some() {
        return Ok(validation);
    }
    let without = [
        ("match_typed_subject_alt_names", !validation.names.is_empty()),
        ("crl", validation.revoked.is_some()),
    ];
    match without.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Invalid::new(
            *field,
            "without trusted_ca anybody can make such a certificate",
        )),
        None => Ok(validation),
    }
}

/// To the wire.
pub(super) fn encode(value: &Validation) -> tls::CertificateValidationContext {
    tls::CertificateValidationContext {
        trusted_ca: value.trusted_ca.as_ref().map(encode_source),
        match_typed_subject_alt_names: value.names.iter().map(encode_name).collect(),
        crl: value.revoked.as_ref().map(encode_source),
        only_verify_leaf_cert_crl: value.revoked_leaf_only,
        ..Default::default()
    }
}

fn decode_name(matcher: &tls::SubjectAltNameMatcher) -> Result<NameMatch, Invalid> {
    let kind = match enumeration("san_type", matcher.san_type)? {
        SanType::Email => NameKind::Email,
        SanType::Dns => NameKind::Dns,
        SanType::Uri => NameKind::Uri,
        SanType::IpAddress => NameKind::Ip,
        SanType::Unspecified => return Err(Invalid::new("san_type", "is required")),
        SanType::OtherName => {
            return Err(Invalid::new(
                "san_type",
                "OTHER_NAME is not supported by this version",
            ));
        }
    };
    let value = matching::string(required("matcher", matcher.matcher.as_ref())?).within("matcher")?;
    if value.pattern == Pattern::Exact(String::new()) {
        return Err(Invalid::new("matcher.exact", "no certificate has an empty name"));
    }
    Ok(NameMatch { kind, value })
}

fn encode_name(value: &NameMatch) -> tls::SubjectAltNameMatcher {
    let kind = match value.kind {
        NameKind::Email => SanType::Email,
        NameKind::Dns => SanType::Dns,
        NameKind::Uri => SanType::Uri,
        NameKind::Ip => SanType::IpAddress,
    };
    tls::SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(matching::to_string(&value.value)),
        ..Default::default()
    }
}
