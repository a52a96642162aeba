//! Scripted exchanges as data: one script, run against every build of a filter, with one expected result.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;

use super::message::{TestRequest, TestResponse, request, response};
use super::outcome::Outcome;
use super::running::Running;
use super::{Mesh, text};
use crate::host::PluginHost;
use crate::plugin::Plugin;

/// A configuration and what should happen under it, in order. Reads from YAML or JSON.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Transcript {
    /// What it shows.
    pub name: String,
    /// The filter's configuration.
    pub configuration: serde_json::Value,
    /// The filter refuses the configuration with a message that holds this; nothing else happens then.
    pub refused: Option<String>,
    /// Attributes that do not depend on an exchange, with `.` between segments.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// Answers to the calls that the filter makes before the first exchange.
    pub calls: Vec<Answer>,
    /// One exchange after the other.
    pub exchanges: Vec<Script>,
    /// Metrics at the end, by name: the value, or how many values a histogram has counted.
    pub metrics: BTreeMap<String, u64>,
    /// Every one of these is part of a line of the log.
    pub logs: Vec<String>,
}

/// One exchange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Script {
    /// So many milliseconds pass before it.
    pub after_ms: u64,
    /// `GET` unless given.
    pub method: String,
    /// `/` unless given.
    pub path: String,
    /// Request headers; a list of values makes several fields.
    pub headers: BTreeMap<String, Values>,
    /// Request body.
    pub body: Option<String>,
    /// Attributes of the exchange, with `.` between segments.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// Answers to the calls that the filter makes while it holds the request, in order.
    pub calls: Vec<Answer>,
    /// What the upstream answers.
    pub upstream: Answer,
    /// What should come out.
    pub expect: Expected,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            after_ms: 0,
            method: "GET".into(),
            path: "/".into(),
            headers: BTreeMap::new(),
            body: None,
            properties: BTreeMap::new(),
            calls: Vec::new(),
            upstream: Answer::default(),
            expect: Expected::default(),
        }
    }
}

/// One value or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One field.
    One(String),
    /// Fields of the same name.
    Many(Vec<String>),
}

impl Values {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// A response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Answer {
    /// For a call: the cluster that must be asked.
    pub cluster: Option<String>,
    /// 200 unless given.
    pub status: u16,
    /// Fields.
    pub headers: BTreeMap<String, Values>,
    /// Empty unless given.
    pub body: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            cluster: None,
            status: 200,
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }
}

/// What should come out. What is not given is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Expected {
    /// The status that the client receives.
    pub status: Option<u16>,
    /// Whether the filter answered itself.
    pub replied: Option<bool>,
    /// The details of that answer.
    pub details: Option<String>,
    /// Response fields by name; null: no such field.
    pub headers: BTreeMap<String, Option<String>>,
    /// The body that the client receives.
    pub body: Option<String>,
    /// Fields that the upstream receives; null: no such field.
    pub upstream_headers: BTreeMap<String, Option<String>>,
    /// The body that the upstream receives.
    pub upstream_body: Option<String>,
    /// Whether the filter asked for another choice of the route.
    pub cleared_route: Option<bool>,
}

impl Transcript {
    /// Runs the script on a fresh mesh with one worker.
    ///
    /// # Errors
    /// Every difference, one line each.
    pub fn run(
        &self,
        start: impl FnOnce(&[u8], Rc<dyn PluginHost>) -> Result<Rc<dyn Plugin>, String>,
    ) -> Result<(), Vec<String>> {
        let mesh = Mesh::new();
        for (path, value) in &self.properties {
            mesh.set_property(&path.split('.').collect::<Vec<_>>(), encode(value));
        }
        let configuration = if self.configuration.is_null() {
            String::new()
        } else {
            self.configuration.to_string()
        };
        let started = mesh.worker().start(|host| start(configuration.as_bytes(), host));
        let running = match (started, &self.refused) {
            (Ok(_), Some(_)) => return Err(vec!["configuration: not refused".into()]),
            (Ok(running), None) => running,
            (Err(error), Some(part)) if error.contains(part.as_str()) => return Ok(()),
            (Err(error), _) => return Err(vec![format!("configuration: {error}")]),
        };
        let mut differences = Vec::new();
        answer_calls(&running, &self.calls, &mut differences);
        for (index, script) in self.exchanges.iter().enumerate() {
            running.advance(Duration::from_millis(script.after_ms));
            let mut live = running.begin(script.request());
            live.is_held();
            answer_calls(&running, &script.calls, &mut differences);
            let found = script.expect.differences(&live.finish());
            differences.extend(
                found
                    .into_iter()
                    .map(|found| format!("exchanges[{index}]: {found}")),
            );
        }
        for (name, value) in &self.metrics {
            compare(
                &format!("metric {name}"),
                &mesh.metric(name),
                &Some(*value),
                &mut differences,
            );
        }
        let logs = mesh.logs();
        for part in self
            .logs
            .iter()
            .filter(|part| !logs.iter().any(|(_, line)| line.contains(part.as_str())))
        {
            differences.push(format!("logs: no line holds {part:?}: {logs:?}"));
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differences)
        }
    }
}

impl Script {
    fn request(&self) -> TestRequest {
        let mut made = request(&self.method, &self.path).answered(self.upstream.response());
        for (name, value) in flatten(&self.headers) {
            made = made.header(name, value);
        }
        for (path, value) in &self.properties {
            made = made.raw_property(path.replace('.', "\0").into_bytes(), encode(value));
        }
        match &self.body {
            Some(body) => made.chunk(body),
            None => made,
        }
    }
}

impl Answer {
    fn response(&self) -> TestResponse {
        let made = flatten(&self.headers).fold(response(self.status), |made, (name, value)| {
            made.header(name, value)
        });
        if self.body.is_empty() {
            made
        } else {
            made.chunk(&self.body)
        }
    }
}

impl Expected {
    fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(trap) = &outcome.trap {
            found.push(format!("the guest broke: {trap}"));
        }
        let details = outcome.reply.as_ref().map(|reply| reply.details.clone());
        if self.status.is_some() {
            compare("status", &outcome.status(), &self.status, &mut found);
        }
        if let Some(replied) = self.replied {
            compare("replied", &outcome.reply.is_some(), &replied, &mut found);
        }
        if self.details.is_some() {
            compare("details", &details, &self.details, &mut found);
        }
        if let Some(cleared) = self.cleared_route {
            compare("clearedRoute", &outcome.cleared_route, &cleared, &mut found);
        }
        if let Some(body) = &self.body {
            compare("body", &text(&outcome.response.body), body, &mut found);
        }
        if let Some(body) = &self.upstream_body {
            compare("upstreamBody", &text(&outcome.upstream.body), body, &mut found);
        }
        for (name, value) in &self.headers {
            compare(
                &format!("headers.{name}"),
                &outcome.response.header(name),
                value,
                &mut found,
            );
        }
        for (name, value) in &self.upstream_headers {
            compare(
                &format!("upstreamHeaders.{name}"),
                &outcome.upstream.header(name),
                value,
                &mut found,
            );
        }
        found
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
    differences: &mut Vec<String>,
) {
    if found != expected {
        differences.push(format!("{what} is {found:?}, not {expected:?}"));
    }
}

fn answer_calls(running: &Running, answers: &[Answer], differences: &mut Vec<String>) {
    for (index, answer) in answers.iter().enumerate() {
        let Some((id, call)) = running.calls().into_iter().next() else {
            differences.push(format!("calls[{index}]: the filter made no call"));
            return;
        };
        if let Some(cluster) = &answer.cluster {
            compare(
                &format!("calls[{index}].cluster"),
                &call.cluster,
                cluster,
                differences,
            );
        }
        running.answer_call(id, answer.response().into());
    }
}

fn flatten<'a>(fields: &'a BTreeMap<String, Values>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let one = |(name, values): (&'a String, &'a Values)| {
        let values = values.all().iter();
        values.map(move |value| (name.as_str(), value.as_str()))
    };
    fields.iter().flat_map(one)
}

/// An attribute as Proxy-Wasm encodes it.
fn encode(value: &serde_json::Value) -> Vec<u8> {
    match value {
        serde_json::Value::Bool(value) => vec![u8::from(*value)],
        serde_json::Value::String(value) => value.clone().into_bytes(),
        serde_json::Value::Number(value) => match value.as_i64() {
            Some(value) => value.to_le_bytes().to_vec(),
            None => value.as_f64().unwrap_or_default().to_le_bytes().to_vec(),
        },
        other => other.to_string().into_bytes(),
    }
}
