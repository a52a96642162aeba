//! One configured filter on one worker: the plugin that runs now, and what happens when its guest fails.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use leno_model::filter::FailurePolicy;
use leno_sdk::plugin::{Plugin, Trap};

use crate::filters::Identity;
use crate::filters::backoff::Backoff;
use crate::filters::metrics::FilterStats;

/// What starts a plugin anew after its guest has failed. The error is for the log.
pub type Start = Box<dyn Fn() -> Result<Rc<dyn Plugin>, String>>;

/// See the module. Whoever still runs an exchange on it keeps it; with the last one the plugin is shut down.
pub struct FilterSlot {
    identity: Rc<Identity>,
    stats: Rc<FilterStats>,
    policy: FailurePolicy,
    /// `None`: its code has not come yet.
    plugin: RefCell<Option<Rc<dyn Plugin>>>,
    start: Start,
    backoff: RefCell<Backoff>,
}

impl FilterSlot {
    /// A filter whose plugin has started, or whose code has not come yet.
    #[must_use]
    pub fn new(
        (identity, stats): (Rc<Identity>, Rc<FilterStats>),
        (policy, pause): (FailurePolicy, Duration),
        plugin: Option<Rc<dyn Plugin>>,
        start: Start,
    ) -> Rc<Self> {
        let mut backoff = Backoff::new(pause);
        backoff.start(Instant::now(), fastrand::u64(..));
        Rc::new(Self {
            identity,
            stats,
            policy,
            plugin: RefCell::new(plugin),
            start,
            backoff: RefCell::new(backoff),
        })
    }

    /// The identity of its filter.
    pub fn identity(&self) -> &Rc<Identity> {
        &self.identity
    }

    /// What happens to exchanges when the guest fails.
    pub fn policy(&self) -> FailurePolicy {
        self.policy
    }

    /// The plugin for a new exchange; `None` while there is no good one. A guest that has failed is started anew as
    /// soon as it may, whatever the policy: that decides only about exchanges until then.
    pub fn plugin(&self) -> Option<Rc<dyn Plugin>> {
        let plugin = self.plugin.borrow().clone()?;
        if plugin.is_broken() {
            self.reload(Instant::now(), fastrand::u64(..))
        } else {
            Some(plugin)
        }
    }

    /// A callback of this filter has failed.
    pub(crate) fn failed(&self, trap: &Trap) {
        self.stats.failed(&self.identity, trap);
    }

    fn reload(&self, now: Instant, random: u64) -> Option<Rc<dyn Plugin>> {
        if !self.backoff.borrow_mut().start(now, random) {
            self.stats.reload_backoff.inc();
            return None;
        }
        self.stats.reload.inc();
        match (self.start)() {
            Ok(plugin) => {
                self.stats.reload_success.inc();
                self.plugin.replace(Some(plugin.clone()));
                Some(plugin)
            }
            Err(error) => {
                self.stats.reload_failure.inc();
                tracing::error!(target: "wasm", "wasm plugin {} does not start again: {error}", self.identity.name);
                None
            }
        }
    }
}

impl Drop for FilterSlot {
    fn drop(&mut self) {
        if let Some(plugin) = self.plugin.get_mut()
            && !plugin.is_broken()
        {
            plugin.on_shutdown();
        }
    }
}
