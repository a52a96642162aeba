//! Filters that do what a line of text says, and write down what they are told.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use leno_model::filter::FailurePolicy;
use leno_sdk::host::{CallId, Direction, Edit, ExchangeHost, LocalReply, Map, QueueId};
use leno_sdk::plugin::{
    BodyVerdict, CallResponse, Exchange, HeadersVerdict, Interest, Plugin, TrailersVerdict, Trap,
};

use crate::filters::Identity;
use crate::filters::metrics::FilterStats;
use crate::filters::slot::FilterSlot;
use crate::stats::Registry;

/// What has happened, in order.
#[derive(Clone, Default)]
pub(super) struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub(super) fn add(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    /// Only the first time.
    pub(super) fn once(&self, line: &str) {
        if !self.0.borrow().iter().any(|other| other == line) {
            self.add(line);
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// All filters of a test.
pub(super) struct World(Vec<(Rc<Scripted>, Rc<FilterSlot>)>);

impl World {
    pub(super) fn new(filters: &[&str], trace: Trace) -> Self {
        let filters = filters
            .iter()
            .map(|filter| Scripted::parse(filter, trace.clone()));
        Self(
            filters
                .map(|(plugin, policy)| (plugin.clone(), slot(plugin, policy)))
                .collect(),
        )
    }

    pub(super) fn slots(&self) -> Vec<Rc<FilterSlot>> {
        self.0.iter().map(|(_, slot)| slot.clone()).collect()
    }

    /// Does something on behalf of a filter, outside of its callbacks.
    pub(super) fn act(&self, name: &str, action: &str) {
        let (plugin, _) = self
            .0
            .iter()
            .find(|(plugin, _)| plugin.name == name)
            .expect("a filter of this name");
        let host = plugin.host.borrow().clone().expect("it has begun");
        act(plugin, host.as_ref(), action);
    }
}

fn slot(plugin: Rc<Scripted>, policy: FailurePolicy) -> Rc<FilterSlot> {
    let identity = Identity {
        name: plugin.name.clone(),
        root_id: "root".into(),
        vm_id: "vm".into(),
    };
    let again = plugin.clone();
    let start = Box::new(move || {
        again.trace.add(format!("{} starts again", again.name));
        again.broken.set(false);
        Ok(again.clone() as Rc<dyn Plugin>)
    });
    let stats = FilterStats::new(Registry::new(), &plugin.name);
    FilterSlot::new(
        (Rc::new(identity), Rc::new(stats)),
        (policy, Duration::ZERO),
        Some(plugin),
        start,
    )
}

struct Scripted {
    name: String,
    interest: Interest,
    script: RefCell<HashMap<String, VecDeque<String>>>,
    trace: Trace,
    broken: Cell<bool>,
    host: RefCell<Option<Rc<dyn ExchangeHost>>>,
}

impl Scripted {
    fn parse(text: &str, trace: Trace) -> (Rc<Self>, FailurePolicy) {
        let mut parts = text.split('/').map(str::trim);
        let head: Vec<&str> = parts.next().expect("a name").split_whitespace().collect();
        let (name, policy) = head[0].split_once(':').unwrap_or((head[0], "closed"));
        let policy = match policy {
            "closed" => FailurePolicy::Closed,
            "open" => FailurePolicy::Open,
            "reload" => FailurePolicy::Reload,
            other => panic!("no policy: {other}"),
        };
        let wants = |callback: &str| head[1..].contains(&"*") || head[1..].contains(&callback);
        let interest = Interest {
            request_headers: wants(">h"),
            request_body: wants(">b"),
            request_trailers: wants(">t"),
            response_headers: wants("<h"),
            response_body: wants("<b"),
            response_trailers: wants("<t"),
        };
        let script = parts.map(|part| {
            let mut words = part.split_whitespace().map(str::to_owned);
            (words.next().expect("a callback"), words.collect())
        });
        let plugin = Self {
            name: name.to_owned(),
            interest,
            script: RefCell::new(script.collect()),
            trace,
            broken: Cell::new(false),
            host: RefCell::new(None),
        };
        (Rc::new(plugin), policy)
    }
}

impl Plugin for Scripted {
    fn interest(&self) -> Interest {
        self.interest
    }
    fn exchange(&self, host: Rc<dyn ExchangeHost>) -> Result<Box<dyn Exchange>, Trap> {
        self.host.replace(Some(host.clone()));
        let part = Part {
            name: self.name.clone(),
            trace: self.trace.clone(),
            script: self.script.take(),
            host,
        };
        Ok(Box::new(part))
    }
    fn on_tick(&self) -> Result<(), Trap> {
        Ok(())
    }
    fn on_queue_ready(&self, _: QueueId) -> Result<(), Trap> {
        Ok(())
    }
    fn on_call_response(&self, _: CallId, _: &CallResponse) -> Result<(), Trap> {
        Ok(())
    }
    fn on_shutdown(&self) {
        self.trace.add(format!("{} shuts down", self.name));
        self.host.take();
    }
    fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

struct Part {
    name: String,
    trace: Trace,
    script: HashMap<String, VecDeque<String>>,
    host: Rc<dyn ExchangeHost>,
}

impl Part {
    /// Writes the callback down, does what the script says, and returns the verdict's word.
    fn play(&mut self, callback: &str, told: &str) -> Result<String, Trap> {
        self.trace.add(format!("{}{callback}{told}", self.name));
        let Some(line) = self.script.get_mut(callback).and_then(VecDeque::pop_front) else {
            return Ok("continue".to_owned());
        };
        let mut words: Vec<&str> = line.split('+').collect();
        let verdict = words.pop().expect("a verdict").to_owned();
        for action in words {
            act_on(&self.name, &self.trace, self.host.as_ref(), action);
        }
        if verdict == "trap" {
            Err(Trap("scripted".to_owned()))
        } else {
            Ok(verdict)
        }
    }

    fn headers(&mut self, callback: &str, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        Ok(
            match self.play(callback, &format!(" {fields}{}", last(end)))?.as_str() {
                "continue" => HeadersVerdict::Continue,
                "hold-headers" => HeadersVerdict::HoldHeaders,
                "hold" => HeadersVerdict::Hold,
                "hold-and-buffer" => HeadersVerdict::HoldAndBuffer,
                other => panic!("no verdict: {other}"),
            },
        )
    }

    fn body(&mut self, callback: &str, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        Ok(
            match self.play(callback, &format!(" {size}{}", last(end)))?.as_str() {
                "continue" => BodyVerdict::Continue,
                "buffer" => BodyVerdict::Buffer,
                "watermark" => BodyVerdict::Watermark,
                "drop" => BodyVerdict::Drop,
                other => panic!("no verdict: {other}"),
            },
        )
    }

    fn trailers(&mut self, callback: &str, fields: usize) -> Result<TrailersVerdict, Trap> {
        Ok(match self.play(callback, &format!(" {fields}"))?.as_str() {
            "continue" => TrailersVerdict::Continue,
            "hold" => TrailersVerdict::Hold,
            other => panic!("no verdict: {other}"),
        })
    }
}

fn last(end: bool) -> &'static str {
    if end { " end" } else { "" }
}

impl Exchange for Part {
    fn on_request_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.headers(">h", fields, end)
    }
    fn on_request_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        self.body(">b", size, end)
    }
    fn on_request_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        self.trailers(">t", fields)
    }
    fn on_response_headers(&mut self, fields: usize, end: bool) -> Result<HeadersVerdict, Trap> {
        self.headers("<h", fields, end)
    }
    fn on_response_body(&mut self, size: usize, end: bool) -> Result<BodyVerdict, Trap> {
        self.body("<b", size, end)
    }
    fn on_response_trailers(&mut self, fields: usize) -> Result<TrailersVerdict, Trap> {
        self.trailers("<t", fields)
    }
    fn on_log(&mut self) -> Result<(), Trap> {
        self.play(".log", "").map(|_| ())
    }
    fn finish(self: Box<Self>) {
        self.trace.add(format!("{}.finish", self.name));
    }
}

fn act(plugin: &Scripted, host: &dyn ExchangeHost, action: &str) {
    if action == "break" {
        plugin.broken.set(true);
        host.fail();
        return;
    }
    act_on(&plugin.name, &plugin.trace, host, action);
}

fn act_on(name: &str, trace: &Trace, host: &dyn ExchangeHost, action: &str) {
    let (verb, argument) = action
        .strip_suffix(')')
        .and_then(|action| action.split_once('('))
        .unwrap_or((action, ""));
    let (map, direction) = match verb.chars().last() {
        Some('<') => (Map::ResponseHeaders, Direction::Response),
        _ => (Map::RequestHeaders, Direction::Request),
    };
    let tail = match direction {
        Direction::Request => Map::RequestTrailers,
        Direction::Response => Map::ResponseTrailers,
    };
    let (left, right) = argument.split_once('=').unwrap_or((argument, ""));
    let mut value = Vec::new();
    let said = match verb.trim_end_matches(['<', '>']) {
        "set" => outcome(host.edit(map, Edit::Set(left.as_bytes(), right.as_bytes()))),
        "settrailer" => outcome(host.edit(tail, Edit::Append(left.as_bytes(), right.as_bytes()))),
        "get" => match host.header(map, argument.as_bytes(), &mut value) {
            Ok(()) => Some(format!("'{}'", value.escape_ascii())),
            Err(error) => Some(error.to_string()),
        },
        "gettrailer" => match host.header(tail, argument.as_bytes(), &mut value) {
            Ok(()) => Some(format!("'{}'", value.escape_ascii())),
            Err(error) => Some(error.to_string()),
        },
        "read" => match host.body_read(direction, 0, usize::MAX, &mut value) {
            Ok(()) => Some(format!("'{}'", value.escape_ascii())),
            Err(error) => Some(error.to_string()),
        },
        "body" => outcome(host.body_splice(direction, 0, usize::MAX, argument.as_bytes())),
        "reply" => {
            let (status, body) = argument.split_once(',').unwrap_or((argument, ""));
            host.reply(LocalReply {
                status: status.parse().unwrap(),
                body: body.into(),
                details: "because filter".to_owned(),
                ..LocalReply::default()
            });
            None
        }
        "resume" => {
            host.resume(if argument == "<" {
                Direction::Response
            } else {
                Direction::Request
            });
            None
        }
        "reset" => {
            host.reset();
            None
        }
        "route" => {
            host.clear_route_cache();
            None
        }
        "fail" => {
            host.fail();
            None
        }
        other => panic!("no action: {other}"),
    };
    if let Some(said) = said {
        trace.add(format!("{name} {verb} {argument}: {said}"));
    }
}

/// Only refusals are worth a line.
fn outcome(result: Result<(), leno_sdk::host::HostError>) -> Option<String> {
    result.err().map(|error| error.to_string())
}
