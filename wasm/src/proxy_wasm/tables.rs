//! Ids as the guest sees them. They are the VM's, while the host's are a plugin's: plugins that share a VM must not
//! meet each other's. The low two bits carry the kind, as in Envoy.

use std::collections::HashMap;
use std::rc::Rc;

use leno_sdk::host::{CallId, MetricId, MetricKind};

use super::state::Root;
use super::status::{BAD_ARGUMENT, NOT_FOUND, Status};

/// Open HTTP calls.
pub(super) struct Calls {
    next: u32,
    open: HashMap<(u32, CallId), u32, foldhash::fast::RandomState>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            next: 4,
            open: HashMap::default(),
        }
    }
}

impl Calls {
    /// Notes a call that the host has started and names it for the guest.
    pub(super) fn open(&mut self, root: u32, call: CallId) -> u32 {
        let token = self.next;
        self.next = self.next.checked_add(4).unwrap_or(4);
        self.open.insert((root, call), token);
        token
    }

    /// The guest's name of a call that has ended.
    pub(super) fn close(&mut self, root: u32, call: CallId) -> Option<u32> {
        self.open.remove(&(root, call))
    }

    /// Forgets the calls of a plugin that is gone, and says which they were.
    pub(super) fn close_all(&mut self, root: u32) -> Vec<CallId> {
        self.open
            .extract_if(|(owner, _), _| *owner == root)
            .map(|((_, call), _)| call)
            .collect()
    }
}

/// Defined metrics.
#[derive(Default)]
pub(super) struct Metrics {
    /// By kind, in the order of definition.
    kinds: [Vec<Metric>; 3],
}

#[derive(Clone)]
pub(super) struct Metric {
    pub(super) root: Rc<Root>,
    /// `None`: the host refused it; it takes values and keeps none, because guests do not survive a refusal.
    pub(super) id: Option<MetricId>,
}

impl Metrics {
    pub(super) fn define(&mut self, kind: MetricKind, metric: Metric) -> u32 {
        let bits = kind_bits(kind);
        let list = &mut self.kinds[bits as usize];
        let known = |entry: &Metric| entry.id == metric.id && entry.root.id == metric.root.id;
        let index = match list.iter().position(known) {
            Some(index) => index,
            None => {
                list.push(metric);
                list.len() - 1
            }
        };
        (u32::try_from(index).unwrap_or(u32::MAX >> 2) + 1) << 2 | bits
    }

    pub(super) fn find(&self, id: u32) -> Result<&Metric, Status> {
        let list = self.kinds.get((id & 3) as usize).ok_or(BAD_ARGUMENT)?;
        (id >> 2)
            .checked_sub(1)
            .and_then(|index| list.get(index as usize))
            .ok_or(NOT_FOUND)
    }
}

fn kind_bits(kind: MetricKind) -> u32 {
    match kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Histogram => 2,
    }
}
