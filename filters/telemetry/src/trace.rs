//! Trace context: read in every format, continued or begun, sent on in the formats that are configured.
//!
//! W3C Trace Context (level 1), 3.2; B3 propagation (openzipkin/b3-propagation).

use leno_sdk::{ConfigError, Fields, Request};

use crate::config::{Propagation, Tracing};
use crate::log::{is_sampled, percentage};

pub(crate) struct Tracer {
    sampling: f64,
    propagate: Vec<Propagation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    /// 32 lower-case hexadecimal digits.
    id: String,
    /// Of the caller.
    parent: Option<String>,
    sampled: Option<bool>,
}

impl Tracer {
    pub(crate) fn new(tracing: Tracing) -> Result<Self, ConfigError> {
        if tracing.propagate.is_empty() {
            return Err(ConfigError::new(
                "propagate",
                "needs at least one of w3c, b3, b3Multi",
            ));
        }
        Ok(Self {
            sampling: percentage("sampling", tracing.sampling)?,
            propagate: tracing.propagate,
        })
    }

    pub(crate) fn on_request(&self, request: &Request<'_>) {
        let headers = request.headers();
        let trace = read(&headers).unwrap_or_else(|| {
            // Vendor data of a trace that cannot be continued means nothing (Trace Context, 3.3.1.1).
            headers.remove("tracestate");
            let id = format!("{:016x}{:016x}", request.random(), request.random() | 1);
            Trace {
                id,
                parent: None,
                sampled: None,
            }
        });
        let span = format!("{:016x}", request.random() | 1);
        let sampled = trace
            .sampled
            .unwrap_or_else(|| is_sampled(request.random(), self.sampling));
        request.set_property("trace_id", &trace.id);
        request.set_property("span_id", &span);
        self.write(&headers, &trace, &span, sampled);
    }

    fn write(&self, headers: &Fields<'_>, trace: &Trace, span: &str, sampled: bool) {
        let id = &trace.id;
        let flag = u8::from(sampled);
        // What is not sent on must not contradict what is.
        for (format, names) in [
            (Propagation::W3c, ["traceparent"].as_slice()),
            (Propagation::B3, &["b3"]),
            (Propagation::B3Multi, &MULTI),
        ] {
            if !self.propagate.contains(&format) {
                names
                    .iter()
                    .filter(|name| headers.contains(name))
                    .for_each(|name| headers.remove(name));
            }
        }
        for format in &self.propagate {
            match format {
                Propagation::W3c => headers.set("traceparent", format!("00-{id}-{span}-{flag:02x}")),
                Propagation::B3 => {
                    let parent = trace
                        .parent
                        .as_ref()
                        .map(|parent| format!("-{parent}"))
                        .unwrap_or_default();
                    headers.set("b3", format!("{id}-{span}-{flag}{parent}"));
                }
                Propagation::B3Multi => {
                    headers.set("x-b3-traceid", id);
                    headers.set("x-b3-spanid", span);
                    headers.set("x-b3-sampled", flag.to_string());
                    match &trace.parent {
                        Some(parent) => headers.set("x-b3-parentspanid", parent),
                        None => headers.remove("x-b3-parentspanid"),
                    }
                    headers.remove("x-b3-flags");
                }
            }
        }
    }
}

const MULTI: [&str; 5] = [
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

fn read(headers: &Fields<'_>) -> Option<Trace> {
    let w3c = || w3c(&headers.text("traceparent")?);
    let b3 = || b3(&headers.text("b3")?);
    let multi = || {
        let flags = headers.text("x-b3-flags");
        let sampled = headers.text("x-b3-sampled");
        Some(Trace {
            id: b3_id(&headers.text("x-b3-traceid")?)?,
            parent: headers.text("x-b3-spanid").filter(|span| is_id(span, 16)),
            sampled: if flags.as_deref() == Some("1") {
                Some(true)
            } else {
                sampled.and_then(|flag| b3_flag(&flag))
            },
        })
    };
    w3c().or_else(b3).or_else(multi)
}

fn w3c(text: &str) -> Option<Trace> {
    let mut parts = text.trim().split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may have more parts; this one must not.
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !known || !is_id(id, 32) || !is_id(parent, 16) || !is_hex(flags, 2) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some(Trace {
        id: id.to_owned(),
        parent: Some(parent.to_owned()),
        sampled: Some(sampled),
    })
}

fn b3(text: &str) -> Option<Trace> {
    let mut parts = text.trim().split('-');
    let id = b3_id(parts.next()?)?;
    let parent = parts.next().filter(|span| is_id(span, 16))?.to_owned();
    let sampled = parts.next().and_then(b3_flag);
    Some(Trace {
        id,
        parent: Some(parent),
        sampled,
    })
}

/// 128 bits, or 64 that are filled up.
fn b3_id(id: &str) -> Option<String> {
    match id.len() {
        32 if is_id(id, 32) => Some(id.to_owned()),
        16 if is_id(id, 16) => Some(format!("{:0>32}", id)),
        _ => None,
    }
}

fn b3_flag(flag: &str) -> Option<bool> {
    match flag {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// All zeros are no id.
fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::{Trace, b3, w3c};

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn reads_traceparent_as_the_recommendation_says() {
        let check = |text: String, sampled: Option<bool>| {
            let trace = sampled.map(|sampled| Trace {
                id: ID.into(),
                parent: Some(SPAN.into()),
                sampled: Some(sampled),
            });
            assert_eq!(w3c(&text), trace, "{text}");
        };
        check(format!("00-{ID}-{SPAN}-01"), Some(true));
        check(format!("00-{ID}-{SPAN}-00"), Some(false));
        check(format!("cc-{ID}-{SPAN}-01-more"), Some(true));
        check(format!("00-{ID}-{SPAN}-01-more"), None);
        check(format!("ff-{ID}-{SPAN}-01"), None);
        check(format!("00-{ID}-{SPAN}"), None);
        check(format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(format!("00-{ID}-{}-01", "0".repeat(16)), None);
        check(format!("00-{}-{SPAN}-01", ID.to_uppercase()), None);
        check(format!("00-{ID}0-{SPAN}-01"), None);
    }

    #[test]
    fn reads_b3_in_both_lengths() {
        let long = b3(&format!("{ID}-{SPAN}-1-05e3ac9a4f6e3b90")).unwrap();
        assert_eq!((long.id.as_str(), long.sampled), (ID, Some(true)));
        let short = b3(&format!("{SPAN}-{SPAN}")).unwrap();
        assert_eq!(
            (short.id, short.sampled),
            (format!("0000000000000000{SPAN}"), None)
        );
        assert_eq!(b3("0"), None);
        assert_eq!(b3(ID), None);
    }
}
