//! A filter that does what its configuration says when it starts, and notes what it is told; and a peer for calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leno_sdk::host::{Call, CallId, ExchangeHost, HostError, MetricKind, PluginRef, QueueId};
use leno_sdk::native::NativeFactory;
use leno_sdk::plugin::{CallResponse, Exchange, Interest, Plugin, Trap};
use tokio::sync::{Notify, oneshot};

use crate::filters::host::{Answer, Caller};

pub(super) const PROBE: NativeFactory = NativeFactory { name: "probe", start };

thread_local! {
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static NEWS: Rc<Notify> = Rc::new(Notify::new());
}

pub(super) fn note(line: impl Into<String>) {
    NOTES.with_borrow_mut(|notes| notes.push(line.into()));
    NEWS.with(|news| news.notify_one());
}

/// All notes since the last time.
pub(super) fn notes() -> Vec<String> {
    NOTES.take()
}

/// Waits until these are the first notes, and forgets them.
pub(super) async fn wait_for(expected: &[&str]) {
    let news = NEWS.with(Rc::clone);
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while NOTES.with_borrow(|notes| notes.len() < expected.len()) {
            news.notified().await;
        }
    });
    let in_time = waited.await.is_ok();
    let got = notes();
    assert!(
        in_time && got[..expected.len()] == *expected,
        "expected {expected:?}, got {got:?}"
    );
}

/// Answers calls to `web` when it is told to; knows no other cluster.
#[derive(Default)]
pub(super) struct Peer(RefCell<Vec<oneshot::Sender<CallResponse>>>);

impl Peer {
    pub(super) fn answer(&self, response: CallResponse) {
        let oldest = self.0.borrow_mut().remove(0);
        oldest.send(response).expect("the call is still open");
    }

    /// Calls that are still waited for.
    pub(super) fn open(&self) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|answer| !answer.is_closed())
            .count()
    }
}

impl Caller for Peer {
    fn call(&self, call: Call) -> Result<Answer, HostError> {
        if call.cluster != "web" {
            return Err(HostError::Invalid);
        }
        let (answer, answered) = oneshot::channel();
        self.0.borrow_mut().push(answer);
        Ok(Box::pin(async move { answered.await.unwrap_or_default() }))
    }
}

struct Probe {
    host: PluginRef,
    again: Cell<bool>,
    traps: Cell<bool>,
    broken: Cell<bool>,
}

fn start(configuration: &[u8], host: PluginRef) -> Result<Rc<dyn Plugin>, String> {
    let text = String::from_utf8_lossy(configuration);
    if text == "refuse" {
        return Err("it says refuse".to_owned());
    }
    note("start");
    let probe = Probe {
        host,
        again: Cell::new(false),
        traps: Cell::new(false),
        broken: Cell::new(false),
    };
    for order in text.split(';').map(str::trim).filter(|order| !order.is_empty()) {
        match order.split_once(' ') {
            Some(("resolve", queue)) => {
                let found = probe.host.queue_resolve(b"ns", queue.as_bytes());
                found.map_err(|error| format!("queue {queue}: {error}"))?;
            }
            Some(("node", id)) => {
                let mut found = Vec::new();
                let known = probe.host.property(b"xds\0node\0id", &mut found);
                if known.is_err() || found != id.as_bytes() {
                    return Err(format!("not on {id}"));
                }
            }
            _ => probe.obey(order),
        }
    }
    Ok(Rc::new(probe))
}

impl Probe {
    fn obey(&self, order: &str) {
        let (verb, name) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "tick" => self.host.set_tick_period(Duration::from_millis(1)),
            "trap" => {
                self.traps.set(true);
                self.host.set_tick_period(Duration::from_millis(1));
            }
            "again" => self.again.set(true),
            "call" => self.call(name, &[":method", ":path", ":authority"]),
            "headless" => self.call(name, &[":method", ":path"]),
            "cancel" => self.host.cancel_call(CallId(name.parse().unwrap())),
            "queue" => {
                self.host.queue_register(name.as_bytes());
            }
            "share" => self.host.shared_set(name.as_bytes(), b"shared", None).unwrap(),
            "count" => {
                let metric = self.host.metric_define(MetricKind::Counter, name).unwrap();
                self.host.metric_add(metric, 1).unwrap();
                assert_eq!(self.host.metric_add(metric, 0), Err(HostError::Invalid));
                note(format!("{name} is {}", self.host.metric_value(metric).unwrap()));
            }
            "gauge" => match self.host.metric_define(MetricKind::Gauge, name) {
                Ok(_) => note("gauge"),
                Err(error) => note(format!("no gauge: {error}")),
            },
            other => panic!("no order: {other}"),
        }
    }

    fn call(&self, cluster: &str, names: &[&str]) {
        let headers = names
            .iter()
            .map(|name| (name.as_bytes().to_vec(), b"x".to_vec()))
            .collect();
        match self.host.call(Call {
            cluster: cluster.to_owned(),
            headers,
            ..Call::default()
        }) {
            Ok(call) => note(format!("called {}", call.0)),
            Err(error) => note(format!("no call: {error}")),
        }
    }
}

impl Plugin for Probe {
    fn interest(&self) -> Interest {
        Interest::NONE
    }
    fn exchange(&self, _: Rc<dyn ExchangeHost>) -> Result<Box<dyn Exchange>, Trap> {
        Err(Trap("a probe takes part in no exchange".to_owned()))
    }
    fn on_tick(&self) -> Result<(), Trap> {
        if self.traps.get() {
            self.broken.set(true);
            note("trap");
            return Err(Trap("told to".to_owned()));
        }
        note("tick");
        Ok(())
    }
    fn on_queue_ready(&self, queue: QueueId) -> Result<(), Trap> {
        let mut entry = Vec::new();
        self.host.queue_pop(queue, &mut entry).unwrap();
        note(format!("entry {}", entry.escape_ascii()));
        Ok(())
    }
    fn on_call_response(&self, call: CallId, response: &CallResponse) -> Result<(), Trap> {
        note(format!("answer {} {}", call.0, response.body.escape_ascii()));
        if self.again.get() {
            self.obey("call web");
        }
        Ok(())
    }
    fn on_shutdown(&self) {
        note("shutdown");
    }
    fn is_broken(&self) -> bool {
        self.broken.get()
    }
}
