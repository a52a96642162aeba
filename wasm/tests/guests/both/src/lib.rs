//! Uses most of what a filter may ask, and behaves the same whichever way it is built.

use std::cell::RefCell;
use std::time::Duration;

use leno_sdk::host::{Call, CallId};
use leno_sdk::plugin::{BodyVerdict, CallResponse};
use leno_sdk::{
    Body, ConfigError, Context, Counter, Filter, Handle, HeadersVerdict, Interest, Log, Request, Response,
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: String,
}

struct Both {
    greeting: String,
    seen: Counter,
    context: Context,
    waiting: RefCell<Vec<(CallId, Handle)>>,
}

impl Filter for Both {
    type Config = Config;
    type Exchange = u32;
    const INTEREST: Interest = Interest {
        request_headers: true,
        request_body: true,
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        if config.greeting.is_empty() {
            return Err(ConfigError::new("greeting", "must not be empty"));
        }
        context.set_tick_period(Duration::from_secs(1));
        let seen = context.counter("seen").map_err(|error| ConfigError::new("", error.to_string()))?;
        Ok(Self { greeting: config.greeting, seen, context: context.clone(), waiting: RefCell::default() })
    }

    fn on_request_headers(&self, callbacks: &mut u32, request: &Request<'_>) -> HeadersVerdict {
        *callbacks += 1;
        self.seen.add(1);
        let _ = self.context.shared_set("last", request.path());
        request.headers().set("x-greeting", &self.greeting);
        match request.path().as_slice() {
            b"/no" => request.reply(403).header("x-why", "because").body("no").send().into(),
            b"/ask" => {
                let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
                let call = Call {
                    cluster: "oracle".into(),
                    headers: vec![field(":method", "GET"), field(":path", "/"), field(":authority", "oracle")],
                    timeout: Duration::from_secs(1),
                    ..Call::default()
                };
                if let Ok(call) = self.context.call(call) {
                    self.waiting.borrow_mut().push((call, request.handle()));
                }
                HeadersVerdict::Hold
            }
            b"/panic" => panic!("on purpose"),
            _ => HeadersVerdict::Continue,
        }
    }

    fn on_request_body(&self, callbacks: &mut u32, body: &Body<'_>) -> BodyVerdict {
        *callbacks += 1;
        if !body.end() {
            return BodyVerdict::Buffer;
        }
        body.replace(body.bytes().to_ascii_uppercase());
        BodyVerdict::Continue
    }

    fn on_response_headers(&self, callbacks: &mut u32, response: &Response<'_>) -> HeadersVerdict {
        *callbacks += 1;
        response.headers().append("x-callbacks", callbacks.to_string());
        HeadersVerdict::Continue
    }

    fn on_log(&self, callbacks: &mut u32, log: &Log<'_>) {
        let path = log.request_headers().get(":path").unwrap_or_default();
        self.context.info(format!("{} after {callbacks}", String::from_utf8_lossy(&path)));
    }

    fn on_tick(&self, context: &Context) {
        context.info("tick");
    }

    fn on_call_response(&self, call: CallId, response: &CallResponse, _: &Context) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(index) = waiting.iter().position(|(open, _)| *open == call) {
            let (_, handle) = waiting.remove(index);
            handle.fields(leno_sdk::host::Map::RequestHeaders).set("x-oracle", &response.body);
            handle.resume(leno_sdk::host::Direction::Request);
        }
    }
}

leno_sdk::filter!(Both);
