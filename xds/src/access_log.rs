//! Access logs: to a file, to standard output, to standard error; as text or as JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use leno_model::access_log::{AccessLog, DEFAULT_FORMAT, Format, JsonValue, Line, Sink};
use leno_model::invalid::Invalid;

use crate::descriptors::{self, pack, unpack};
use crate::pb::core::substitution_format_string::Format as WireFormat;
use crate::pb::protobuf::value::Kind;
use crate::pb::{accesslog, core, file_log, protobuf, stream_log};
use crate::strict::Fields;
use crate::wire::{self, Within, required, required_text};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.accesslog.v3.AccessLog",
        supported: &["typed_config"],
        no_effect: &[("name", "the type of the configuration says which log it is")],
    },
    Fields {
        message: "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        supported: &["path", "format", "json_format", "typed_json_format", "log_format"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        supported: &["log_format"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        supported: &["log_format"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.SubstitutionFormatString",
        supported: &["text_format", "text_format_source", "json_format"],
        no_effect: &[],
    },
];

/// `AccessLog`.
pub(crate) fn decode(log: &accesslog::AccessLog) -> Result<AccessLog, Invalid> {
    let accesslog::access_log::ConfigType::TypedConfig(any) =
        required("typed_config", log.config_type.as_ref())?;
    decode_config(any).within("typed_config")
}

fn decode_config(any: &protobuf::Any) -> Result<AccessLog, Invalid> {
    if let Some(file) = unpack::<file_log::FileAccessLog>(any)? {
        return decode_file(&file);
    }
    if let Some(stdout) = unpack::<stream_log::StdoutAccessLog>(any)? {
        let format = stdout.access_log_format.map(|format| {
            let stream_log::stdout_access_log::AccessLogFormat::LogFormat(format) = format;
            format
        });
        return stream(Sink::Stdout, format.as_ref());
    }
    if let Some(stderr) = unpack::<stream_log::StderrAccessLog>(any)? {
        let format = stderr.access_log_format.map(|format| {
            let stream_log::stderr_access_log::AccessLogFormat::LogFormat(format) = format;
            format
        });
        return stream(Sink::Stderr, format.as_ref());
    }
    let name = descriptors::name_in_url(&any.type_url)?;
    Err(Invalid::new(
        "",
        format!("type `{name}` is not supported by this version as an access log"),
    ))
}

/// The other way.
pub(crate) fn encode(log: &AccessLog) -> accesslog::AccessLog {
    let format = encode_line(&log.line);
    let (name, any) = match &log.sink {
        Sink::File(path) => ("envoy.access_loggers.file", encode_file(path, format)),
        Sink::Stdout => {
            let format = stream_log::stdout_access_log::AccessLogFormat::LogFormat(format);
            let message = stream_log::StdoutAccessLog {
                access_log_format: Some(format),
            };
            ("envoy.access_loggers.stdout", pack(&message))
        }
        Sink::Stderr => {
            let format = stream_log::stderr_access_log::AccessLogFormat::LogFormat(format);
            let message = stream_log::StderrAccessLog {
                access_log_format: Some(format),
            };
            ("envoy.access_loggers.stderr", pack(&message))
        }
    };
    accesslog::AccessLog {
        name: name.to_owned(),
        filter: None,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(any)),
    }
}

fn encode_file(path: &Path, format: core::SubstitutionFormatString) -> protobuf::Any {
    pack(&file_log::FileAccessLog {
        path: path.to_string_lossy().into_owned(),
        access_log_format: Some(file_log::file_access_log::AccessLogFormat::LogFormat(format)),
    })
}

#[allow(deprecated, reason = "users still write the formats of older versions")]
fn decode_file(file: &file_log::FileAccessLog) -> Result<AccessLog, Invalid> {
    use file_log::file_access_log::AccessLogFormat;
    let line = match &file.access_log_format {
        None => default_line(),
        Some(AccessLogFormat::Format(text)) if text.is_empty() => default_line(),
        Some(AccessLogFormat::Format(text)) => format(text).map(Line::Text).within("format")?,
        Some(AccessLogFormat::JsonFormat(fields)) => object(fields).map(Line::Json).within("json_format")?,
        Some(AccessLogFormat::TypedJsonFormat(fields)) => {
            object(fields).map(Line::Json).within("typed_json_format")?
        }
        Some(AccessLogFormat::LogFormat(format)) => decode_line(format).within("log_format")?,
    };
    Ok(AccessLog {
        sink: Sink::File(PathBuf::from(required_text("path", &file.path)?)),
        line,
    })
}

fn stream(sink: Sink, format: Option<&core::SubstitutionFormatString>) -> Result<AccessLog, Invalid> {
    let line = format.map(decode_line).transpose().within("log_format")?;
    Ok(AccessLog {
        sink,
        line: line.unwrap_or_else(default_line),
    })
}

fn default_line() -> Line {
    Line::Text(Format::parse(DEFAULT_FORMAT).expect("the default format is well formed: a test reads it"))
}

#[allow(deprecated, reason = "users still write `text_format`")]
fn decode_line(value: &core::SubstitutionFormatString) -> Result<Line, Invalid> {
    match required("", value.format.as_ref())? {
        WireFormat::TextFormat(text) if text.is_empty() => Ok(default_line()),
        WireFormat::TextFormat(text) => format(text).map(Line::Text).within("text_format"),
        WireFormat::TextFormatSource(source) => {
            let bytes = wire::inline(source).within("text_format_source")?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Invalid::new("text_format_source", "is not valid UTF-8"))?;
            format(&text)
                .map(Line::Text)
                .within("text_format_source.inline_string")
        }
        WireFormat::JsonFormat(fields) => object(fields).map(Line::Json).within("json_format"),
    }
}

fn encode_line(line: &Line) -> core::SubstitutionFormatString {
    let format = match line {
        Line::Text(format) => WireFormat::TextFormatSource(wire::to_inline(format.source.as_bytes())),
        Line::Json(fields) => WireFormat::JsonFormat(encode_object(fields)),
    };
    core::SubstitutionFormatString {
        format: Some(format),
        ..Default::default()
    }
}

fn format(text: &str) -> Result<Format, Invalid> {
    Format::parse(text).map_err(|reason| Invalid::new("", reason))
}

/// Fields in the order of their names, since the wire has no order.
fn object(fields: &protobuf::Struct) -> Result<Vec<(String, JsonValue)>, Invalid> {
    let fields: BTreeMap<_, _> = fields.fields.iter().collect();
    let decoded = fields
        .into_iter()
        .map(|(name, value)| Ok((name.clone(), json_value(value).within(name)?)));
    decoded.collect()
}

fn json_value(value: &protobuf::Value) -> Result<JsonValue, Invalid> {
    Ok(match &value.kind {
        Some(Kind::StringValue(text)) => JsonValue::Format(format(text)?),
        Some(Kind::StructValue(fields)) => JsonValue::Object(object(fields)?),
        Some(Kind::ListValue(list)) => JsonValue::List(wire::list("", &list.values, json_value)?),
        Some(Kind::NumberValue(number)) if number.is_finite() => JsonValue::Number(*number),
        Some(Kind::NumberValue(_)) => return Err(Invalid::new("", "is not a number that JSON knows")),
        Some(Kind::BoolValue(value)) => JsonValue::Bool(*value),
        Some(Kind::NullValue(_)) | None => JsonValue::Null,
    })
}

fn encode_object(fields: &[(String, JsonValue)]) -> protobuf::Struct {
    let encoded = fields
        .iter()
        .map(|(name, value)| (name.clone(), encode_value(value)));
    protobuf::Struct {
        fields: encoded.collect(),
    }
}

fn encode_value(value: &JsonValue) -> protobuf::Value {
    let kind = match value {
        JsonValue::Format(format) => Kind::StringValue(format.source.clone()),
        JsonValue::Object(fields) => Kind::StructValue(encode_object(fields)),
        JsonValue::List(values) => Kind::ListValue(protobuf::ListValue {
            values: values.iter().map(encode_value).collect(),
        }),
        JsonValue::Number(number) => Kind::NumberValue(*number),
        JsonValue::Bool(value) => Kind::BoolValue(*value),
        JsonValue::Null => Kind::NullValue(0),
    };
    protobuf::Value { kind: Some(kind) }
}
