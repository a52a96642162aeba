//! Lets in who can tell who they are: tokens, API keys, passwords. See the README for the configuration.

mod config;

mod credential;

mod denial;

mod jwt;

mod policy;

mod provider;

mod remote;

mod secret;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use leno_sdk::{
    CallId, CallResponse, ConfigError, Context, Direction, Filter, Handle, HeadersVerdict, Interest, Map,
    Request,
};

pub use config::{
    ApiKey, Basic, ClaimToHeader, Config, FromHeader, Jwt, Key, Provider, RemoteJwks, Require, Rule,
    Unmatched, User,
};
use denial::Denial;
use policy::{Decision, Policy};

/// Requests that wait for keys at the same time. Further ones are refused at once.
const WAITING: usize = 1_024;
/// How often keys are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The configured filter.
pub struct Auth {
    policy: Policy,
    /// Requests that wait for keys.
    parked: RefCell<Vec<(u64, Handle)>>,
    next: Cell<u64>,
}

/// The place of an exchange among those that wait.
#[derive(Default)]
pub struct Exchange {
    parked: Option<u64>,
}

impl Filter for Auth {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest {
        request_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        let policy = Policy::new(config)?;
        if policy.remotes().next().is_some() {
            policy.remotes().for_each(|remote| remote.refresh(context));
            context.set_tick_period(TICK);
        }
        Ok(Self {
            policy,
            parked: RefCell::default(),
            next: Cell::new(0),
        })
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        let headers = request.headers();
        for name in self.policy.outputs() {
            if headers.contains(name) {
                headers.remove(name);
            }
        }
        match self.policy.decide(request) {
            Decision::Wait if self.parked.borrow().len() < WAITING => {
                let place = self.next.get();
                self.next.set(place + 1);
                self.parked.borrow_mut().push((place, request.handle()));
                exchange.parked = Some(place);
                HeadersVerdict::Hold
            }
            Decision::Wait => Denial::jwt("Jwks remote fetch is failed")
                .send(request, &[])
                .into(),
            Decision::Deny(denial, others) => denial.send(request, &others).into(),
            Decision::Allow(accepted) => {
                policy::apply(request, &accepted);
                HeadersVerdict::Continue
            }
        }
    }

    fn on_end(&self, exchange: Exchange) {
        if let Some(place) = exchange.parked {
            self.parked.borrow_mut().retain(|(other, _)| *other != place);
        }
    }

    fn on_tick(&self, context: &Context) {
        self.policy.remotes().for_each(|remote| remote.refresh(context));
        // Another worker, or another instance on this one, may have fetched what is waited for.
        self.wake(context);
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse, context: &Context) {
        if self
            .policy
            .remotes()
            .any(|remote| remote.answer(call, response, context))
        {
            self.wake(context);
        }
    }
}

leno_sdk::filter!(Auth);

impl Auth {
    /// Decides about the requests that wait, as far as that is possible now.
    fn wake(&self, context: &Context) {
        let parked = std::mem::take(&mut *self.parked.borrow_mut());
        for (place, handle) in parked {
            match self.policy.decide(&handle) {
                Decision::Wait => {
                    self.parked.borrow_mut().push((place, handle));
                }
                Decision::Deny(denial, others) => {
                    denial.send(&handle, &others);
                }
                Decision::Allow(accepted) => {
                    policy::apply(&handle, &accepted);
                    handle.resume(Direction::Request);
                }
            }
        }
        let waiting = self.parked.borrow().len();
        if waiting > 0 {
            context.debug(format_args!("{waiting} requests wait for keys"));
        }
    }
}

/// The headers of a request that is held or just arriving.
fn request_headers(handle: &Handle) -> leno_sdk::Fields<'_> {
    handle.fields(Map::RequestHeaders)
}
