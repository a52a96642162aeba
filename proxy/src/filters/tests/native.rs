//! A filter written with the SDK, in a chain: it asks somebody else before it lets a request go on.

use std::cell::RefCell;
use std::collections::HashMap;

use leno_sdk::host::{Call, CallId, Direction, Map};
use leno_sdk::native::NativeFactory;
use leno_sdk::plugin::{CallResponse, HeadersVerdict, Interest};
use leno_sdk::{ConfigError, Context, Filter, Handle, NoConfig, Request};

use super::exchanges::{answered, begin};
use super::{config, on_worker, prepared};
use crate::chain::Step;

pub(super) const ASK: NativeFactory = NativeFactory::of::<Ask>("ask");

/// Holds each request until `web` has answered: with `yes` it goes on, with anything else it is refused.
struct Ask {
    waiting: RefCell<HashMap<CallId, Handle>>,
}

impl Filter for Ask {
    type Config = NoConfig;
    type Exchange = ();
    const INTEREST: Interest = Interest {
        request_headers: true,
        ..Interest::NONE
    };

    fn configure(_: NoConfig, _: &Context) -> Result<Self, ConfigError> {
        Ok(Self {
            waiting: RefCell::default(),
        })
    }

    fn on_request_headers(&self, (): &mut (), request: &Request<'_>) -> HeadersVerdict {
        let field = |name: &str| (name.as_bytes().to_vec(), b"x".to_vec());
        let headers = [":method", ":path", ":authority"].map(field).to_vec();
        let call = Call {
            cluster: "web".to_owned(),
            headers,
            ..Call::default()
        };
        let call = request.context().call(call).expect("the peer is known");
        self.waiting.borrow_mut().insert(call, request.handle());
        HeadersVerdict::Hold
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse, _: &Context) {
        let exchange = self
            .waiting
            .borrow_mut()
            .remove(&call)
            .expect("a call of this filter");
        if response.body == b"yes" {
            exchange.fields(Map::RequestHeaders).set("x-answer", "yes");
            exchange.resume(Direction::Request);
        } else {
            exchange.reply(403).body("no").send();
        }
    }
}

#[test]
fn an_answer_to_a_call_decides_about_a_held_request() {
    on_worker(async |shared, _, slots, peer| {
        let mut config = config("{}");
        config.vm.code = leno_model::filter::WasmCode::Inline(b"ask"[..].into());
        let slot = slots.start(&prepared(config, shared)).unwrap();
        for (answer, expected) in [("yes", None), ("no", Some(b"403".to_vec()))] {
            let (state, chain, step) = begin(&slot, "x");
            assert!(matches!(step, Step::Hold));
            peer.answer(CallResponse {
                body: answer.into(),
                ..CallResponse::default()
            });
            state.woken(Direction::Request).await;
            let step = chain.resumed(Direction::Request);
            assert_eq!(answered(&chain, step), expected, "{answer}");
            let marked = state.headers(Direction::Request).get(b"x-answer").is_some();
            assert_eq!(marked, expected.is_none());
        }
    });
}

#[test]
fn an_exchange_that_is_gone_can_still_be_answered_about() {
    on_worker(async |shared, registry, slots, peer| {
        let mut config = config("{}");
        config.vm.code = leno_model::filter::WasmCode::Inline(b"ask"[..].into());
        let slot = slots.start(&prepared(config, shared)).unwrap();
        let (_, chain, _) = begin(&slot, "x");
        chain.log();
        chain.finish();
        peer.answer(CallResponse {
            body: b"no".into(),
            ..CallResponse::default()
        });
        while peer.open() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(super::counted(registry, "failures"), 0);
        assert!(!slot.plugin().unwrap().is_broken());
    });
}
