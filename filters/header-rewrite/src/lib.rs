//! Changes fields of requests and responses: see the README for every field of the configuration.

mod config;

mod operation;

use leno_sdk::template::Saved;
use leno_sdk::{ConfigError, Context, Filter, HeadersVerdict, Interest, Request, Response};

pub use config::{Config, Field, Operation, PathRewrite, Rewrite};
use operation::{Compiled, compile};

/// The configured filter.
pub struct HeaderRewrite {
    request: Vec<Compiled>,
    response: Vec<Compiled>,
    /// Request fields that operations on the response show.
    shown_later: Vec<String>,
    clear_route_cache: bool,
}

/// What operations on the response need of the request.
#[derive(Default)]
pub struct Exchange {
    saved: Saved,
    /// Per operation on the response: whether the request was one that it is for.
    applies: Vec<bool>,
}

impl Filter for HeaderRewrite {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest {
        request_headers: true,
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, _: &Context) -> Result<Self, ConfigError> {
        let request = compile("request", config.request)?;
        let response = compile("response", config.response)?;
        let mut shown_later: Vec<String> = response
            .iter()
            .flat_map(Compiled::request_fields)
            .map(ToOwned::to_owned)
            .collect();
        shown_later.sort();
        shown_later.dedup();
        Ok(Self {
            request,
            response,
            shown_later,
            clear_route_cache: config.clear_route_cache,
        })
    }

    fn interest(&self) -> Interest {
        let remembers = !self.shown_later.is_empty() || self.response.iter().any(Compiled::is_conditional);
        Interest {
            request_headers: !self.request.is_empty() || remembers,
            response_headers: !self.response.is_empty(),
            ..Interest::NONE
        }
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        let headers = request.headers();
        exchange
            .saved
            .keep(request, self.shown_later.iter().map(String::as_str));
        exchange.applies = self
            .response
            .iter()
            .map(|operation| operation.is_for(&headers))
            .collect();
        for operation in &self.request {
            if operation.is_for(&headers) {
                operation.apply(request, &headers, &Saved::default());
            }
        }
        if self.clear_route_cache {
            request.clear_route_cache();
        }
        HeadersVerdict::Continue
    }

    fn on_response_headers(&self, exchange: &mut Exchange, response: &Response<'_>) -> HeadersVerdict {
        let headers = response.headers();
        for (index, operation) in self.response.iter().enumerate() {
            // Without request callbacks nothing is conditional.
            let for_request = exchange
                .applies
                .get(index)
                .copied()
                .unwrap_or(!operation.is_conditional());
            if for_request && operation.is_for_response(&headers) {
                operation.apply(response, &headers, &exchange.saved);
            }
        }
        HeadersVerdict::Continue
    }
}

leno_sdk::filter!(HeaderRewrite);
