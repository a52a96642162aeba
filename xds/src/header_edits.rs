//! `request_headers_to_add` and its three siblings, as they stand in four messages.

use leno_model::access_log::Format;
use leno_model::field;
use leno_model::invalid::Invalid;
use leno_model::route::{AppendAction, HeaderEdit, HeaderEdits};

use crate::pb::core::{self, header_value_option::HeaderAppendAction};
use crate::strict::Fields;
use crate::wire::{Within, enumeration, list, required};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.config.core.v3.HeaderValueOption",
        supported: &["header", "append", "append_action"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.HeaderValue",
        supported: &["key", "value", "raw_value"],
        no_effect: &[],
    },
];

/// The four fields, borrowed from whichever message they stand in.
pub(crate) struct Wire<'a> {
    pub(crate) request_add: &'a [core::HeaderValueOption],
    pub(crate) request_remove: &'a [String],
    pub(crate) response_add: &'a [core::HeaderValueOption],
    pub(crate) response_remove: &'a [String],
}

/// The four fields, for whichever message they are put in.
pub(crate) struct Encoded {
    pub(crate) request_add: Vec<core::HeaderValueOption>,
    pub(crate) request_remove: Vec<String>,
    pub(crate) response_add: Vec<core::HeaderValueOption>,
    pub(crate) response_remove: Vec<String>,
}

/// From the wire.
pub(crate) fn decode(wire: &Wire<'_>) -> Result<HeaderEdits, Invalid> {
    Ok(HeaderEdits {
        request: list("request_headers_to_add", wire.request_add, decode_edit)?,
        request_remove: list("request_headers_to_remove", wire.request_remove, |name| {
            field::editable_name(name)
        })?,
        response: list("response_headers_to_add", wire.response_add, decode_edit)?,
        response_remove: list("response_headers_to_remove", wire.response_remove, |name| {
            field::editable_name(name)
        })?,
    })
}

/// To the wire.
pub(crate) fn encode(edits: &HeaderEdits) -> Encoded {
    Encoded {
        request_add: edits.request.iter().map(encode_edit).collect(),
        request_remove: edits.request_remove.clone(),
        response_add: edits.response.iter().map(encode_edit).collect(),
        response_remove: edits.response_remove.clone(),
    }
}

#[allow(deprecated, reason = "users still write `append`")]
fn decode_edit(option: &core::HeaderValueOption) -> Result<HeaderEdit, Invalid> {
    let header = required("header", option.header.as_ref())?;
    let raw = std::str::from_utf8(&header.raw_value)
        .map_err(|_| Invalid::new("header.raw_value", "is not valid UTF-8"))?;
    let source = if header.value.is_empty() {
        raw
    } else {
        &header.value
    };
    let value = Format::parse(source).map_err(|reason| Invalid::new("header.value", reason))?;
    field::value(&value).within("header.value")?;
    let append = match (option.append, enumeration("append_action", option.append_action)?) {
        (Some(append), HeaderAppendAction::AppendIfExistsOrAdd) if !append.value => {
            AppendAction::OverwriteOrAdd
        }
        (Some(_), action) if action != HeaderAppendAction::AppendIfExistsOrAdd => {
            return Err(Invalid::new(
                "append",
                "only one of `append` and `append_action` may be set",
            ));
        }
        (_, HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendOrAdd,
        (_, HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        (_, HeaderAppendAction::OverwriteIfExistsOrAdd) => AppendAction::OverwriteOrAdd,
        (_, HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    };
    Ok(HeaderEdit {
        name: field::editable_name(&header.key).within("header.key")?,
        value,
        append,
    })
}

fn encode_edit(edit: &HeaderEdit) -> core::HeaderValueOption {
    let action = match edit.append {
        AppendAction::AppendOrAdd => HeaderAppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        AppendAction::OverwriteOrAdd => HeaderAppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists => HeaderAppendAction::OverwriteIfExists,
    };
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: edit.name.clone(),
            value: edit.value.source.clone(),
            ..Default::default()
        }),
        append_action: action.into(),
        ..Default::default()
    }
}
