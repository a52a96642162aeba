//! A filter that does a little of everything: answers, marks, and rewrites bodies to another length.

use leno_sdk::native::NativeFactory;
use leno_sdk::{
    Body, BodyVerdict, ConfigError, Context, Filter, HeadersVerdict, Interest, NoConfig, Request, Response,
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
        HeadersVerdict::Continue
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
