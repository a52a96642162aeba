//! Operations, checked and ready to run.

use leno_sdk::matching::{FieldMatcher, Matcher, field_name, regex};
use leno_sdk::template::{Saved, Template};
use leno_sdk::{ConfigError, Edit, Fields, Handle};
use regex_lite::Regex;

use crate::config::{Field, Operation, PathRewrite, Rewrite};

/// An operation that has been checked.
pub(crate) struct Compiled {
    action: Action,
    when: Option<Matcher>,
    when_response: Vec<FieldMatcher>,
}

enum Action {
    Add(String, Template),
    Append(String, Template),
    Set(String, Template),
    SetIfAbsent(String, Template),
    Remove(String),
    RemovePrefix(String),
    Rewrite {
        name: String,
        regex: Regex,
        with: String,
    },
    PathPrefix {
        prefix: String,
        with: String,
    },
    PathRegex {
        regex: Regex,
        with: String,
    },
    Path(Template),
    Host(Template),
}

/// Checks all operations of one direction.
pub(crate) fn compile(direction: &str, operations: Vec<Operation>) -> Result<Vec<Compiled>, ConfigError> {
    let each = operations.into_iter().enumerate();
    each.map(|(index, operation)| {
        one(direction == "request", operation).map_err(|error| error.within(format!("{direction}[{index}]")))
    })
    .collect()
}

fn one(is_request: bool, operation: Operation) -> Result<Compiled, ConfigError> {
    let mut actions = Vec::new();
    type Make = fn(String, Template) -> Action;
    let fields: [(&str, Option<Field>, Make); 4] = [
        ("add", operation.add, Action::Add),
        ("append", operation.append, Action::Append),
        ("set", operation.set, Action::Set),
        ("setIfAbsent", operation.set_if_absent, Action::SetIfAbsent),
    ];
    for (key, field, action) in fields {
        if let Some(field) = field {
            let name = writable(&format!("{key}.name"), &field.name)?;
            actions.push(action(name, template(&format!("{key}.value"), &field.value)?));
        }
    }
    if let Some(name) = operation.remove {
        actions.push(Action::Remove(writable("remove", &name)?));
    }
    if let Some(prefix) = operation.remove_prefix {
        actions.push(Action::RemovePrefix(writable("removePrefix", &prefix)?));
    }
    if let Some(Rewrite {
        name,
        regex: pattern,
        with,
    }) = operation.rewrite
    {
        let name = writable("rewrite.name", &name)?;
        actions.push(Action::Rewrite {
            name,
            regex: regex("rewrite.regex", &pattern)?,
            with,
        });
    }
    if let Some(path) = operation.path {
        requests_only(is_request, "path")?;
        actions.push(path_action(path).map_err(|error| error.within("path"))?);
    }
    if let Some(host) = operation.host {
        requests_only(is_request, "host")?;
        actions.push(Action::Host(template("host", &host)?));
    }
    if is_request && !operation.when_response.is_empty() {
        return Err(ConfigError::new(
            "whenResponse",
            "is for operations under response only",
        ));
    }
    let when = operation
        .when
        .map(|when| when.compile().map_err(|error| error.within("when")))
        .transpose()?;
    let when_response = operation
        .when_response
        .into_iter()
        .enumerate()
        .map(|(index, field)| {
            field
                .compile()
                .map_err(|error| error.within(format!("whenResponse[{index}]")))
        });
    let when_response = when_response.collect::<Result<_, _>>()?;
    let (Some(action), None) = (actions.pop(), actions.pop()) else {
        let reason =
            "needs exactly one of add, append, set, setIfAbsent, remove, removePrefix, rewrite, path, host";
        return Err(ConfigError::new("", reason));
    };
    Ok(Compiled {
        action,
        when,
        when_response,
    })
}

fn requests_only(is_request: bool, key: &str) -> Result<(), ConfigError> {
    if is_request {
        Ok(())
    } else {
        Err(ConfigError::new(key, "is for operations under request only"))
    }
}

/// A field that filters may change.
fn writable(path: &str, name: &str) -> Result<String, ConfigError> {
    let name = field_name(path, name)?;
    if name.starts_with(':') || name == "host" {
        return Err(ConfigError::new(
            path,
            format!("{name:?} cannot be changed so: use path or host"),
        ));
    }
    if ["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
        return Err(ConfigError::new(
            path,
            format!("{name:?} frames the message: the proxy writes it"),
        ));
    }
    Ok(name)
}

fn template(path: &str, text: &str) -> Result<Template, ConfigError> {
    Template::parse(text).map_err(|reason| ConfigError::new(path, reason))
}

fn path_action(path: PathRewrite) -> Result<Action, ConfigError> {
    match (path.prefix, path.regex, path.with, path.template) {
        (Some(prefix), None, Some(with), None) => Ok(Action::PathPrefix { prefix, with }),
        (None, Some(pattern), Some(with), None) => Ok(Action::PathRegex {
            regex: regex("regex", &pattern)?,
            with,
        }),
        (None, None, None, Some(text)) => Ok(Action::Path(template("template", &text)?)),
        _ => Err(ConfigError::new(
            "",
            "needs prefix and with, or regex and with, or template alone",
        )),
    }
}

impl Compiled {
    /// Whether it depends on the request.
    pub(crate) fn is_conditional(&self) -> bool {
        self.when.is_some()
    }

    pub(crate) fn is_for(&self, headers: &Fields<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.matches(headers))
    }

    pub(crate) fn is_for_response(&self, headers: &Fields<'_>) -> bool {
        self.when_response
            .iter()
            .all(|field| field.matches(headers.get(field.name()).as_deref()))
    }

    /// The request fields that its template shows.
    pub(crate) fn request_fields(&self) -> impl Iterator<Item = &str> {
        let template = match &self.action {
            Action::Add(_, template)
            | Action::Append(_, template)
            | Action::Set(_, template)
            | Action::SetIfAbsent(_, template)
            | Action::Path(template)
            | Action::Host(template) => Some(template),
            Action::Remove(_)
            | Action::RemovePrefix(_)
            | Action::Rewrite { .. }
            | Action::PathPrefix { .. }
            | Action::PathRegex { .. } => None,
        };
        template.into_iter().flat_map(Template::request_fields)
    }

    pub(crate) fn apply(&self, handle: &Handle, headers: &Fields<'_>, saved: &Saved) {
        let value = |template: &Template| clean(template.render(handle, saved));
        match &self.action {
            Action::Add(name, template) => headers.append(name, value(template)),
            Action::Append(name, template) => match headers.get(name) {
                Some(first) if !first.is_empty() => {
                    headers.set(name, [first, value(template)].join(b", ".as_slice()));
                }
                _ => headers.set(name, value(template)),
            },
            Action::Set(name, template) => headers.set(name, value(template)),
            Action::SetIfAbsent(name, template) => {
                if !headers.contains(name) {
                    headers.append(name, value(template));
                }
            }
            Action::Remove(name) => headers.remove(name),
            Action::RemovePrefix(prefix) => remove_prefix(headers, prefix.as_bytes()),
            Action::Rewrite { name, regex, with } => rewrite(headers, name.as_bytes(), regex, with),
            Action::PathPrefix { prefix, with } => change_path(handle, headers, |path| {
                Some(format!("{with}{}", path.strip_prefix(prefix.as_str())?))
            }),
            Action::PathRegex { regex, with } => change_path(handle, headers, |path| {
                regex
                    .is_match(path)
                    .then(|| regex.replace_all(path, with.as_str()).into_owned())
            }),
            Action::Path(template) => {
                let new = value(template);
                change_path(handle, headers, |_| String::from_utf8(new).ok());
            }
            Action::Host(template) => {
                let host = value(template);
                if host.is_empty() || host.contains(&b' ') || host.contains(&b'/') {
                    handle.context().warn(format_args!(
                        "host: {:?} is not a host; the request keeps its own",
                        String::from_utf8_lossy(&host)
                    ));
                } else {
                    headers.set(":authority", host);
                }
            }
        }
    }
}

/// A field value cannot hold these (RFC 9110, 5.5).
fn clean(mut value: Vec<u8>) -> Vec<u8> {
    value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    value
}

fn remove_prefix(headers: &Fields<'_>, prefix: &[u8]) {
    let mut names = Vec::new();
    headers.each(|name, _| {
        if name.starts_with(prefix) {
            names.push(name.to_vec());
        }
    });
    for name in names {
        headers.remove(name);
    }
}

/// Rewrites every value of a field in its place.
fn rewrite(headers: &Fields<'_>, name: &[u8], regex: &Regex, with: &str) {
    let mut all = headers.to_vec();
    let mut changed = false;
    for (_, value) in all.iter_mut().filter(|(field, _)| field == name) {
        // A value that is not text cannot match.
        let Ok(text) = std::str::from_utf8(value) else {
            continue;
        };
        if regex.is_match(text) {
            *value = clean(regex.replace_all(text, with).into_owned().into_bytes());
            changed = true;
        }
    }
    if changed {
        let pairs: Vec<_> = all
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .collect();
        // The map is there, since it has just been read.
        let _ = headers.try_edit(Edit::Replace(&pairs));
    }
}

/// `change` sees the path without the query, and returns what should be there instead.
fn change_path(handle: &Handle, headers: &Fields<'_>, change: impl FnOnce(&str) -> Option<String>) {
    let Some(whole) = headers.text(":path") else {
        return;
    };
    let (path, query) = whole.split_at(whole.find('?').unwrap_or(whole.len()));
    let Some(mut new) = change(path) else { return };
    if !new.starts_with('/') || new.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        handle.context().warn(format_args!(
            "path: {new:?} is not a path; the request keeps {whole:?}"
        ));
        return;
    }
    if !new.contains('?') {
        new.push_str(query);
    }
    if new != whole {
        headers.set(":path", new);
    }
}
