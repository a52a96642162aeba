//! A filter that does a little of everything: answers, marks, and rewrites bodies to another length.

use std::collections::BTreeMap;

use leno_sdk::native::NativeFactory;
use leno_sdk::{
    Body, BodyVerdict, ConfigError, Context, Fields, Filter, HeadersVerdict, Interest, NoConfig, Request,
    Response,
};

pub(crate) const STAGE: NativeFactory = NativeFactory::of::<Stage>("stage");

struct Stage;

impl Filter for Stage {
    type Config = NoConfig;
    type Exchange = ();
    const INTEREST: Interest = Interest {
        request_headers: true,
        request_body: true,
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(_config: NoConfig, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request_headers(&self, _exchange: &mut (), request: &Request<'_>) -> HeadersVerdict {
        if request.path() == b"/denied" {
            return request.reply(401).body("no token").send().into();
        }
        if request.end() {
            HeadersVerdict::Continue
        } else {
            // The body gets another length.
            HeadersVerdict::HoldHeaders
        }
    }

    fn on_request_body(&self, _exchange: &mut (), body: &Body<'_>) -> BodyVerdict {
        if !body.end() {
            return BodyVerdict::Buffer;
        }
        let mut text = body.bytes().to_ascii_uppercase();
        text.extend_from_slice(b", REWRITTEN");
        body.replace(text);
        BodyVerdict::Continue
    }

    fn on_response_headers(&self, _exchange: &mut (), response: &Response<'_>) -> HeadersVerdict {
        response.headers().set("x-stage", "seen");
        HeadersVerdict::Continue
    }
}

pub(crate) const MARKER: NativeFactory = NativeFactory::of::<Marker>("marker");

/// Writes `mark` of its configuration to responses.
struct Marker(String);

impl Filter for Marker {
    type Config = BTreeMap<String, String>;
    type Exchange = ();
    const INTEREST: Interest = Interest {
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Self::Config, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self(
            config.get("mark").cloned().unwrap_or_else(|| "usual".to_owned()),
        ))
    }

    fn on_response_headers(&self, _exchange: &mut (), response: &Response<'_>) -> HeadersVerdict {
        response.headers().set("x-mark", &self.0);
        HeadersVerdict::Continue
    }
}

pub(crate) const MEDDLER: NativeFactory = NativeFactory::of::<Meddler>("meddler");

/// Sees everything, and does to bodies what `x-meddle` of the request says.
struct Meddler;

/// Which message, and how.
#[derive(Default)]
struct Meddling(String);

impl Meddling {
    fn headers(&self, direction: &str, fields: &Fields<'_>, end: bool) -> HeadersVerdict {
        match self.0.strip_prefix(direction) {
            Some("-hold") if !end => return HeadersVerdict::HoldHeaders,
            Some("-unframe") => fields.remove("content-length"),
            Some("-reroute") => fields.set(":path", "/alt"),
            Some("-unroute") => fields.remove(":path"),
            Some(_) | None => {}
        }
        HeadersVerdict::Continue
    }

    fn body(&self, direction: &str, body: &Body<'_>) -> BodyVerdict {
        match self.0.strip_prefix(direction) {
            Some("-hold") if !body.end() => return BodyVerdict::Buffer,
            Some("-hold") => body.replace([&body.bytes()[..], b"!"].concat()),
            // Shorter, after the head has gone.
            Some(_) => body.splice(0, 1, ""),
            None => {}
        }
        BodyVerdict::Continue
    }
}

impl Filter for Meddler {
    type Config = NoConfig;
    type Exchange = Meddling;
    const INTEREST: Interest = Interest::ALL;

    fn configure(_config: NoConfig, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request_headers(&self, exchange: &mut Meddling, request: &Request<'_>) -> HeadersVerdict {
        exchange.0 = request.headers().text("x-meddle").unwrap_or_default();
        exchange.headers("request", &request.headers(), request.end())
    }

    fn on_request_body(&self, exchange: &mut Meddling, body: &Body<'_>) -> BodyVerdict {
        exchange.body("request", body)
    }

    fn on_response_headers(&self, exchange: &mut Meddling, response: &Response<'_>) -> HeadersVerdict {
        exchange.headers("response", &response.headers(), response.end())
    }

    fn on_response_body(&self, exchange: &mut Meddling, body: &Body<'_>) -> BodyVerdict {
        exchange.body("response", body)
    }
}
