//! A configured filter on one worker.

use std::rc::Rc;
use std::time::Duration;

use super::live::Live;
use super::mesh::{Mesh, WorkerHost};
use super::message::{TestRequest, TestResponse};
use super::outcome::Outcome;
use crate::host::{Call, CallId};
use crate::plugin::{CallResponse, Plugin};

/// A configured filter on one worker.
pub struct Running {
    mesh: Mesh,
    host: Rc<WorkerHost>,
    plugin: Rc<dyn Plugin>,
}

impl Running {
    pub(super) fn new(mesh: Mesh, host: Rc<WorkerHost>, plugin: Rc<dyn Plugin>) -> Self {
        Self { mesh, host, plugin }
    }

    /// Takes a request through to its end: an exchange that is held for good ends as if the client had left.
    #[must_use]
    pub fn run(&self, request: TestRequest) -> Outcome {
        self.begin(request).finish()
    }

    /// Takes a request as far as it goes by itself.
    #[must_use]
    pub fn begin(&self, request: TestRequest) -> Live {
        Live::new(&self.mesh, &self.plugin, request)
    }

    /// Calls of the filter that have no answer yet, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<(CallId, Call)> {
        self.host
            .calls
            .borrow()
            .iter()
            .map(|(id, call)| (*id, call.clone()))
            .collect()
    }

    /// Answers the oldest open call.
    ///
    /// # Panics
    /// If there is no open call, or the guest breaks.
    #[track_caller]
    pub fn answer(&self, response: TestResponse) -> Call {
        let (id, call) = self
            .calls()
            .into_iter()
            .next()
            .expect("a call of the filter is open");
        self.answer_call(id, response.into());
        call
    }

    /// Answers a call; an empty response stands for one that broke off.
    ///
    /// # Panics
    /// If the call is not open, or the guest breaks.
    #[track_caller]
    pub fn answer_call(&self, call: CallId, response: CallResponse) {
        assert!(
            self.host.calls.borrow_mut().remove(&call).is_some(),
            "{call:?} is not open"
        );
        self.plugin
            .on_call_response(call, &response)
            .expect("the guest is sound");
    }

    /// Moves the clock, and fires the ticks that fall into that time.
    ///
    /// # Panics
    /// If the guest breaks.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        let end = self.mesh.now() + by;
        while !self.host.period.get().is_zero() && self.host.next_tick.get() <= end {
            let tick = self.host.next_tick.get();
            self.mesh.set_now(tick.max(self.mesh.now()));
            self.host.next_tick.set(tick + self.host.period.get());
            self.plugin.on_tick().expect("the guest is sound");
        }
        self.mesh.set_now(end);
    }

    /// Tells the filter of new entries in the queues that it registered.
    ///
    /// # Panics
    /// If the guest breaks.
    #[track_caller]
    pub fn notify_queues(&self) {
        for queue in self.mesh.0.ready_queues(self.host.index) {
            self.plugin.on_queue_ready(queue).expect("the guest is sound");
        }
    }

    /// What runs.
    #[must_use]
    pub fn plugin(&self) -> &Rc<dyn Plugin> {
        &self.plugin
    }

    /// Where it runs.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }
}
