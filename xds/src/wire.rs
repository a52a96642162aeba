//! What the decoders of all kinds share: durations, addresses, config sources, data sources, structs, paths.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use leno_model::endpoint::Host;
use leno_model::invalid::Invalid;

use crate::pb::core::{
    self,
    config_source::ConfigSourceSpecifier,
    data_source,
    socket_address::{PortSpecifier, Protocol},
};
use crate::pb::protobuf::{self, value::Kind};
use crate::strict::Fields;

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.core.v3.Address",
        supported: &["socket_address"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.SocketAddress",
        supported: &["protocol", "address", "port_value"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.ConfigSource",
        supported: &["ads", "self", "resource_api_version", "initial_fetch_timeout"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.AggregatedConfigSource",
        supported: &[],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.SelfConfigSource",
        supported: &["transport_api_version"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.DataSource",
        supported: &["filename", "inline_bytes", "inline_string"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.Locality",
        supported: &["region", "zone", "sub_zone"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.TransportSocket",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        supported: &[],
        no_effect: &[],
    },
];

/// Paths grow from the inside out, also through a `Result`.
pub(crate) trait Within {
    /// The error, if any, as seen from one level further out.
    fn within(self, parent: &str) -> Self;
}

impl<T> Within for Result<T, Invalid> {
    fn within(self, parent: &str) -> Self {
        self.map_err(|error| error.within(parent))
    }
}

/// Every item of a repeated field.
pub(crate) fn list<I, O>(
    field: &str,
    items: &[I],
    decode: impl Fn(&I) -> Result<O, Invalid>,
) -> Result<Vec<O>, Invalid> {
    let decoded = items
        .iter()
        .enumerate()
        .map(|(index, item)| decode(item).within(&format!("[{index}]")));
    decoded.collect::<Result<_, _>>().within(field)
}

/// A message that must be there.
pub(crate) fn required<'a, T>(field: &str, value: Option<&'a T>) -> Result<&'a T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is required"))
}

/// A text that must not be empty.
pub(crate) fn required_text<'a>(field: &str, value: &'a str) -> Result<&'a str, Invalid> {
    if value.is_empty() {
        return Err(Invalid::new(field, "is required"));
    }
    Ok(value)
}

/// A duration that is not negative; `None` when it is not set.
pub(crate) fn duration(field: &str, value: Option<&protobuf::Duration>) -> Result<Option<Duration>, Invalid> {
    let Some(value) = value else { return Ok(None) };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Invalid::new(field, "is not a duration of zero or more")),
    }
}

/// A duration that is above zero; `None` when it is not set.
pub(crate) fn positive(field: &str, value: Option<&protobuf::Duration>) -> Result<Option<Duration>, Invalid> {
    match duration(field, value)? {
        Some(Duration::ZERO) => Err(Invalid::new(field, "must be above zero")),
        other => Ok(other),
    }
}

/// A timeout: `default` when it is not set, none when it is zero.
pub(crate) fn timeout(
    field: &str,
    value: Option<&protobuf::Duration>,
    default: Option<Duration>,
) -> Result<Option<Duration>, Invalid> {
    let set = duration(field, value)?;
    Ok(set.map_or(default, |value| Some(value).filter(|value| !value.is_zero())))
}

/// The other way.
pub(crate) fn to_duration(value: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: value.subsec_nanos().cast_signed(),
    }
}

/// The other way of [`timeout`].
pub(crate) fn to_timeout(value: Option<Duration>) -> Option<protobuf::Duration> {
    Some(to_duration(value.unwrap_or(Duration::ZERO)))
}

/// A wrapper around a number.
pub(crate) fn uint32(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

/// A wrapper around a bool.
pub(crate) fn boolean(value: bool) -> protobuf::BoolValue {
    protobuf::BoolValue { value }
}

/// A number of an enumeration as its value.
pub(crate) fn enumeration<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Invalid> {
    E::try_from(number).map_err(|_| Invalid::new(field, format!("there is no value number {number}")))
}

/// An address and port that may still be a name.
pub(crate) fn host(address: &core::Address) -> Result<Host, Invalid> {
    let Some(core::address::Address::SocketAddress(socket)) = &address.address else {
        return Err(Invalid::new("socket_address", "is required"));
    };
    decode_host(socket).within("socket_address")
}

fn decode_host(socket: &core::SocketAddress) -> Result<Host, Invalid> {
    if enumeration::<Protocol>("protocol", socket.protocol)? != Protocol::Tcp {
        return Err(Invalid::new("protocol", "only TCP is supported by this version"));
    }
    let Some(PortSpecifier::PortValue(port)) = socket.port_specifier else {
        return Err(Invalid::new("port_value", "is required"));
    };
    let port = u16::try_from(port).map_err(|_| Invalid::new("port_value", "is above 65535"))?;
    let name = required_text("address", &socket.address)?;
    Ok(match name.parse::<IpAddr>() {
        Ok(ip) => Host::Socket(SocketAddr::new(ip, port)),
        Err(_) => Host::Name {
            name: name.to_owned(),
            port,
        },
    })
}

/// An address and port that is no name.
pub(crate) fn socket(address: &core::Address) -> Result<SocketAddr, Invalid> {
    match host(address)? {
        Host::Socket(address) => Ok(address),
        Host::Name { name, .. } => Err(Invalid::new(
            "socket_address.address",
            format!("`{name}` is not an IP address"),
        )),
    }
}

/// The other way.
pub(crate) fn to_address(host: &Host) -> core::Address {
    let (address, port) = match host {
        Host::Socket(socket) => (socket.ip().to_string(), socket.port()),
        Host::Name { name, port } => (name.clone(), *port),
    };
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address,
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// Checks that a resource comes over the one ADS stream of the bootstrap.
///
/// `self` is the stream that carried the resource, which is that stream too. `initial_fetch_timeout` is read from
/// the bootstrap's own sources; elsewhere the proxy waits as long as it says there.
pub(crate) fn ads(source: Option<&core::ConfigSource>) -> Result<(), Invalid> {
    let source = required("", source)?;
    // Nobody means an older version by leaving it out any more: Envoy refuses to speak one.
    let version = enumeration::<core::ApiVersion>("resource_api_version", source.resource_api_version)?;
    if ![core::ApiVersion::Auto, core::ApiVersion::V3].contains(&version) {
        return Err(Invalid::new("resource_api_version", "must be V3"));
    }
    duration("initial_fetch_timeout", source.initial_fetch_timeout.as_ref())?;
    match &source.config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        Some(_) | None => Err(Invalid::new("", "only `ads: {}` is supported by this version")),
    }
}

/// The other way.
pub(crate) fn to_ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    }
}

/// Bytes that stand in the document itself.
pub(crate) fn inline(source: &core::DataSource) -> Result<Vec<u8>, Invalid> {
    match &source.specifier {
        Some(data_source::Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(data_source::Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(data_source::Specifier::Filename(_)) => Err(Invalid::new(
            "filename",
            "not supported by this version: use `inline_string` or `inline_bytes`",
        )),
        Some(data_source::Specifier::EnvironmentVariable(_)) | None => Err(Invalid::new(
            "",
            "one of `inline_string` and `inline_bytes` is required",
        )),
    }
}

/// The other way: a text where it is one.
pub(crate) fn to_inline(bytes: &[u8]) -> core::DataSource {
    let specifier = match std::str::from_utf8(bytes) {
        Ok(text) => data_source::Specifier::InlineString(text.to_owned()),
        Err(_) => data_source::Specifier::InlineBytes(bytes.to_vec()),
    };
    core::DataSource {
        specifier: Some(specifier),
        ..Default::default()
    }
}

/// A `Struct` as JSON; whole numbers without a fraction.
pub(crate) fn struct_to_json(value: &protobuf::Struct) -> serde_json::Value {
    value
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), value_to_json(value)))
        .collect()
}

fn value_to_json(value: &protobuf::Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::NumberValue(number)) => number_to_json(*number),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::StructValue(fields)) => struct_to_json(fields),
        Some(Kind::ListValue(items)) => items.values.iter().map(value_to_json).collect(),
    }
}

/// A `Struct` as JSON text; an empty one as the empty text.
pub(crate) fn struct_to_text(value: &protobuf::Struct) -> String {
    if value.fields.is_empty() {
        return String::new();
    }
    struct_to_json(value).to_string()
}

/// The other way; a text that is no JSON object gives nothing.
pub(crate) fn text_to_struct(text: &str) -> Option<protobuf::Struct> {
    serde_json::from_str(text).ok().as_ref().and_then(json_to_struct)
}

/// A number is a double on the wire; the ones that are whole (and exact) are written without a fraction.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked just before")]
fn number_to_json(number: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return (number as i64).into();
    }
    number.into()
}

/// The other way.
pub(crate) fn json_to_struct(value: &serde_json::Value) -> Option<protobuf::Struct> {
    let fields = value.as_object()?;
    Some(protobuf::Struct {
        fields: fields
            .iter()
            .map(|(key, value)| (key.clone(), json_to_value(value)))
            .collect(),
    })
}

fn json_to_value(value: &serde_json::Value) -> protobuf::Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => Kind::ListValue(protobuf::ListValue {
            values: items.iter().map(json_to_value).collect(),
        }),
        serde_json::Value::Object(_) => Kind::StructValue(json_to_struct(value).unwrap_or_default()),
    };
    protobuf::Value { kind: Some(kind) }
}
