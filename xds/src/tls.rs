//! `envoy.extensions.transport_sockets.tls.v3`: the TLS contexts of listeners and clusters.

use leno_model::invalid::Invalid;
use leno_model::tls::{CommonTls, DataSource, DownstreamTls, TlsCertificate, TlsVersion, UpstreamTls};
use prost::{Message, Name};

use crate::descriptors::{self, pack, unpack};
use crate::pb::core::transport_socket::ConfigType;
use crate::pb::core::{self, data_source::Specifier};
use crate::pb::tls;
use crate::pb::tls::common_tls_context::ValidationContextType;
use crate::pb::tls::downstream_tls_context::SessionTicketKeysType;
use crate::pb::tls::tls_parameters::TlsProtocol;
use crate::strict::Fields;
use crate::wire::{Within, boolean, enumeration, list, required, required_text};

mod validation;

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        supported: &[
            "common_tls_context",
            "require_client_certificate",
            "disable_stateless_session_resumption",
        ],
        no_effect: &[(
            "disable_stateful_session_resumption",
            "sessions are resumed with tickets only",
        )],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        supported: &[
            "common_tls_context",
            "sni",
            "auto_host_sni",
            "auto_sni_san_validation",
        ],
        no_effect: &[(
            "enforce_rsa_key_usage",
            "Envoy ignores it too: it is always enforced",
        )],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
        supported: &[
            "tls_params",
            "tls_certificates",
            "alpn_protocols",
            "validation_context",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
        supported: &["tls_minimum_protocol_version", "tls_maximum_protocol_version"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        supported: &["certificate_chain", "private_key"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
        supported: &[
            "trusted_ca",
            "match_typed_subject_alt_names",
            "crl",
            "only_verify_leaf_cert_crl",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
        supported: &["san_type", "matcher"],
        no_effect: &[],
    },
];

/// Its name in every document.
const SOCKET: &str = "envoy.transport_sockets.tls";

/// RFC 7301 §3.1: the length of a name is one byte, and there are no empty ones.
const LONGEST_PROTOCOL: usize = 255;

/// The TLS of a filter chain; `None` for plain TCP.
pub(crate) fn downstream(socket: Option<&core::TransportSocket>) -> Result<Option<DownstreamTls>, Invalid> {
    let context: Option<tls::DownstreamTlsContext> = find(socket)?;
    let decoded = context.map(|context| decode_downstream(&context));
    decoded.transpose().within("transport_socket.typed_config")
}

/// The other way.
pub(crate) fn from_downstream(value: &DownstreamTls) -> core::TransportSocket {
    let disabled = SessionTicketKeysType::DisableStatelessSessionResumption(true);
    socket(&tls::DownstreamTlsContext {
        common_tls_context: Some(encode_common(&value.common)),
        require_client_certificate: Some(boolean(value.require_client_certificate)),
        session_ticket_keys_type: (!value.session_tickets).then_some(disabled),
        ..Default::default()
    })
}

/// The TLS of a cluster; `None` for plain TCP.
pub(crate) fn upstream(socket: Option<&core::TransportSocket>) -> Result<Option<UpstreamTls>, Invalid> {
    let context: Option<tls::UpstreamTlsContext> = find(socket)?;
    let decoded = context.map(|context| decode_upstream(&context));
    decoded.transpose().within("transport_socket.typed_config")
}

/// The other way.
pub(crate) fn from_upstream(value: &UpstreamTls) -> core::TransportSocket {
    socket(&tls::UpstreamTlsContext {
        common_tls_context: Some(encode_common(&value.common)),
        sni: value.server_name.clone(),
        auto_host_sni: value.endpoint_name,
        auto_sni_san_validation: value.verify_server_name,
        ..Default::default()
    })
}

fn socket<T: Message + Name>(context: &T) -> core::TransportSocket {
    core::TransportSocket {
        name: SOCKET.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(context))),
    }
}

/// The context of this type; `None` for plain TCP. Everything else is refused.
fn find<T: Message + Name + Default>(socket: Option<&core::TransportSocket>) -> Result<Option<T>, Invalid> {
    let Some(socket) = socket else { return Ok(None) };
    let Some(ConfigType::TypedConfig(config)) = &socket.config_type else {
        return match socket.name.as_str() {
            "envoy.transport_sockets.raw_buffer" => Ok(None),
            SOCKET => Err(Invalid::new("transport_socket.typed_config", "is required")),
            name => Err(Invalid::new(
                "transport_socket.name",
                format!("`{name}` is not supported by this version"),
            )),
        };
    };
    let place = "transport_socket.typed_config";
    let name = descriptors::name_in_url(&config.type_url).within(place)?;
    if name.ends_with(".RawBuffer") {
        return Ok(None);
    }
    match unpack::<T>(config).within(place)? {
        Some(context) => Ok(Some(context)),
        None => Err(Invalid::new(
            place,
            format!("`{name}` is not supported here: `{}` is", T::full_name()),
        )),
    }
}

fn decode_downstream(context: &tls::DownstreamTlsContext) -> Result<DownstreamTls, Invalid> {
    let common = required("common_tls_context", context.common_tls_context.as_ref())?;
    let common = decode_common(common).within("common_tls_context")?;
    if common.certificates.is_empty() {
        let reason = "a server needs at least one";
        return Err(Invalid::new("common_tls_context.tls_certificates", reason));
    }
    let session_tickets = match &context.session_ticket_keys_type {
        None => true,
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(disabled)) => !disabled,
        Some(
            SessionTicketKeysType::SessionTicketKeys(_)
            | SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(_),
        ) => {
            return Err(Invalid::new(
                "session_ticket_keys",
                "not supported by this version",
            ));
        }
    };
    Ok(DownstreamTls {
        common,
        require_client_certificate: context.require_client_certificate.is_some_and(|yes| yes.value),
        session_tickets,
    })
}

fn decode_upstream(context: &tls::UpstreamTlsContext) -> Result<UpstreamTls, Invalid> {
    let common = context.common_tls_context.clone().unwrap_or_default();
    let common = decode_common(&common).within("common_tls_context")?;
    if common.certificates.len() > 1 {
        let reason = format!("a client shows at most one, found {}", common.certificates.len());
        return Err(Invalid::new("common_tls_context.tls_certificates", reason));
    }
    let trusts = common
        .validation
        .as_ref()
        .is_some_and(|validation| validation.trusted_ca.is_some());
    if context.auto_sni_san_validation && !trusts {
        let reason = "without common_tls_context.validation_context.trusted_ca nothing is validated";
        return Err(Invalid::new("auto_sni_san_validation", reason));
    }
    Ok(UpstreamTls {
        common,
        server_name: context.sni.clone(),
        endpoint_name: context.auto_host_sni,
        verify_server_name: context.auto_sni_san_validation,
    })
}

fn decode_common(context: &tls::CommonTlsContext) -> Result<CommonTls, Invalid> {
    let params = context.tls_params.clone().unwrap_or_default();
    let (oldest, newest) = decode_versions(&params).within("tls_params")?;
    let validation = match &context.validation_context_type {
        None => None,
        Some(ValidationContextType::ValidationContext(validation)) => {
            Some(validation::decode(validation).within("validation_context")?)
        }
        // The tables refuse the other kinds before, with their own path.
        Some(_) => {
            return Err(Invalid::new(
                "",
                "only `validation_context` is supported by this version",
            ));
        }
    };
    Ok(CommonTls {
        certificates: list("tls_certificates", &context.tls_certificates, decode_certificate)?,
        validation,
        protocols: list(
            "alpn_protocols",
            &context.alpn_protocols,
            |protocol| match protocol.len() {
                1..=LONGEST_PROTOCOL => Ok(protocol.clone()),
                length => Err(Invalid::new(
                    "",
                    format!("has {length} bytes, not 1 to {LONGEST_PROTOCOL}"),
                )),
            },
        )?,
        oldest,
        newest,
    })
}

fn encode_common(value: &CommonTls) -> tls::CommonTlsContext {
    let validation = value.validation.as_ref().map(validation::encode);
    tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: version_number(value.oldest),
            tls_maximum_protocol_version: version_number(value.newest),
            ..Default::default()
        }),
        tls_certificates: value.certificates.iter().map(encode_certificate).collect(),
        alpn_protocols: value.protocols.clone(),
        validation_context_type: validation.map(ValidationContextType::ValidationContext),
        ..Default::default()
    }
}

fn decode_versions(params: &tls::TlsParameters) -> Result<(TlsVersion, TlsVersion), Invalid> {
    let version = |field: &str, number: i32, default: TlsVersion| match enumeration(field, number)? {
        TlsProtocol::TlsAuto => Ok(default),
        TlsProtocol::TlSv12 => Ok(TlsVersion::V1_2),
        TlsProtocol::TlSv13 => Ok(TlsVersion::V1_3),
        old @ (TlsProtocol::TlSv10 | TlsProtocol::TlSv11) => {
            let reason = format!("{} is not spoken: TLSv1_2 and TLSv1_3 are", old.as_str_name());
            Err(Invalid::new(field, reason))
        }
    };
    let newest = version(
        "tls_maximum_protocol_version",
        params.tls_maximum_protocol_version,
        TlsVersion::V1_3,
    )?;
    let oldest = version(
        "tls_minimum_protocol_version",
        params.tls_minimum_protocol_version,
        TlsVersion::V1_2,
    )?;
    if oldest > newest {
        let reason = "is above tls_maximum_protocol_version";
        return Err(Invalid::new("tls_minimum_protocol_version", reason));
    }
    Ok((oldest, newest))
}

fn version_number(version: TlsVersion) -> i32 {
    let version = match version {
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    };
    version.into()
}

fn decode_certificate(certificate: &tls::TlsCertificate) -> Result<TlsCertificate, Invalid> {
    let source = |field: &str, source: Option<&core::DataSource>| {
        decode_source(required(field, source)?).within(field)
    };
    Ok(TlsCertificate {
        chain: source("certificate_chain", certificate.certificate_chain.as_ref())?,
        key: source("private_key", certificate.private_key.as_ref())?,
    })
}

fn encode_certificate(value: &TlsCertificate) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: Some(encode_source(&value.chain)),
        private_key: Some(encode_source(&value.key)),
        ..Default::default()
    }
}

fn decode_source(source: &core::DataSource) -> Result<DataSource, Invalid> {
    match &source.specifier {
        Some(Specifier::Filename(path)) => Ok(DataSource::File(required_text("filename", path)?.into())),
        Some(Specifier::InlineBytes(bytes)) => Ok(DataSource::Inline(bytes.as_slice().into())),
        Some(Specifier::InlineString(text)) => Ok(DataSource::Inline(text.as_bytes().into())),
        Some(Specifier::EnvironmentVariable(_)) | None => Err(Invalid::new(
            "",
            "one of `filename`, `inline_string` and `inline_bytes` is required",
        )),
    }
}

/// A text where it is one.
fn encode_source(value: &DataSource) -> core::DataSource {
    let specifier = match value {
        // Paths come from documents, so they are texts.
        DataSource::File(path) => Specifier::Filename(path.to_string_lossy().into_owned()),
        DataSource::Inline(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Specifier::InlineString(text.to_owned()),
            Err(_) => Specifier::InlineBytes(bytes.to_vec()),
        },
    };
    core::DataSource {
        specifier: Some(specifier),
        ..Default::default()
    }
}
