//! Header edits of routes, virtual hosts and route configurations.

use leno_model::access_log::{Format, Part};
use leno_model::invalid::Invalid;
use leno_model::route::{AppendAction, HeaderEdit, HeaderEdits};

use crate::http::headers::Headers;

/// Compiled [`HeaderEdits`].
#[derive(Debug)]
pub(super) struct Edits {
    pub(super) request: Changes,
    pub(super) response: Changes,
}

impl Edits {
    pub(super) fn compile(edits: &HeaderEdits) -> Result<Self, Invalid> {
        Ok(Self {
            request: Changes::compile(&edits.request, &edits.request_remove, "request")?,
            response: Changes::compile(&edits.response, &edits.response_remove, "response")?,
        })
    }
}

/// The changes to one direction.
#[derive(Debug)]
pub(super) struct Changes {
    remove: Vec<String>,
    add: Vec<HeaderEdit>,
}

impl Changes {
    fn compile(add: &[HeaderEdit], remove: &[String], side: &str) -> Result<Self, Invalid> {
        let refusal = |name: &str| {
            (name.is_empty() || name.starts_with(':') || name == "host")
                .then(|| format!("`{name}` may not be changed here; use the rewrites of the route"))
        };
        for (index, name) in remove.iter().enumerate() {
            if let Some(reason) = refusal(name) {
                return Err(Invalid::new(format!("{side}_headers_to_remove[{index}]"), reason));
            }
        }
        for (index, edit) in add.iter().enumerate() {
            if let Some(reason) = refusal(&edit.name) {
                return Err(Invalid::new(
                    format!("{side}_headers_to_add[{index}].header.key"),
                    reason,
                ));
            }
        }
        Ok(Self {
            remove: remove.to_vec(),
            add: add.to_vec(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// Removes first, then adds. A value that turns out empty adds nothing.
    pub(super) fn apply(
        &self,
        headers: &mut Headers,
        format: &mut dyn FnMut(&Format, &Headers, &mut Vec<u8>),
    ) {
        for name in &self.remove {
            headers.remove(name.as_bytes());
        }
        let mut value = Vec::new();
        for edit in &self.add {
            let name = edit.name.as_bytes();
            let wanted = match edit.append {
                AppendAction::AppendOrAdd | AppendAction::OverwriteOrAdd => true,
                AppendAction::AddIfAbsent => headers.get(name).is_none(),
                AppendAction::OverwriteIfExists => headers.get(name).is_some(),
            };
            if !wanted {
                continue;
            }
            value.clear();
            match edit.value.parts.as_slice() {
                [Part::Text(text)] => value.extend_from_slice(text.as_bytes()),
                _ => format(&edit.value, headers, &mut value),
            }
            if value.is_empty() {
                continue;
            }
            match edit.append {
                AppendAction::AppendOrAdd | AppendAction::AddIfAbsent => headers.append(name, &value),
                AppendAction::OverwriteOrAdd | AppendAction::OverwriteIfExists => headers.set(name, &value),
            }
        }
    }
}
