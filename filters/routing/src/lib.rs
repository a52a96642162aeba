//! Chooses the cluster of a request by rules: see the README for the configuration.
//!
//! The choice is written to a request header. A route that takes its cluster from that header follows it.

mod config;

mod split;

use leno_sdk::matching::{FieldMatcher, Matcher, field_name};
use leno_sdk::{
    ConfigError, Context, Counter, Filter, Handle, HeadersVerdict, Interest, Request, Response, tagged,
};

pub use config::{Config, Rule, Share, Sticky, StickyCookie};
use split::{Choice, Split};

/// The configured filter.
pub struct Routing {
    header: String,
    rules: Vec<CompiledRule>,
    default: Option<String>,
}

struct CompiledRule {
    matcher: Matcher,
    cookies: Vec<FieldMatcher>,
    split: Split,
    /// One per cluster of the split.
    chosen: Vec<Option<Counter>>,
}

/// The cookie that the response will set.
#[derive(Default)]
pub struct Exchange {
    cookie: Option<String>,
}

impl Filter for Routing {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest {
        request_headers: true,
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        let header = field_name("header", &config.header)?;
        if header.starts_with(':') || header == "host" {
            return Err(ConfigError::new(
                "header",
                format!("{header:?} is not a plain field"),
            ));
        }
        if config.default.as_deref() == Some("") {
            return Err(ConfigError::new("default", "must not be empty"));
        }
        let rules = config.rules.into_iter().enumerate().map(|(index, rule)| {
            compile(index, rule, context).map_err(|error| error.within(format!("rules[{index}]")))
        });
        Ok(Self {
            header,
            rules: rules.collect::<Result<_, _>>()?,
            default: config.default,
        })
    }

    fn interest(&self) -> Interest {
        let sets_cookies = self.rules.iter().any(|rule| rule.split.sets_cookies());
        Interest {
            response_headers: sets_cookies,
            ..Self::INTEREST
        }
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        let headers = request.headers();
        let rule = self.rules.iter().find(|rule| rule.is_for(request));
        let choice = rule.map(|rule| {
            let choice = rule.split.choose(request);
            if let Some(counter) = rule.chosen.get(choice.index).and_then(Option::as_ref) {
                counter.add(1);
            }
            choice
        });
        let cluster = match choice {
            Some(Choice { cluster, cookie, .. }) => {
                exchange.cookie = cookie;
                Some(cluster)
            }
            None => self.default.as_deref(),
        };
        match cluster {
            Some(cluster) => headers.set(&self.header, cluster),
            // A client does not choose.
            None if headers.contains(&self.header) => headers.remove(&self.header),
            None => return HeadersVerdict::Continue,
        }
        request.clear_route_cache();
        HeadersVerdict::Continue
    }

    fn on_response_headers(&self, exchange: &mut Exchange, response: &Response<'_>) -> HeadersVerdict {
        if let Some(cookie) = exchange.cookie.take() {
            response.headers().append("set-cookie", cookie);
        }
        HeadersVerdict::Continue
    }
}

leno_sdk::filter!(Routing);

fn compile(index: usize, rule: Rule, context: &Context) -> Result<CompiledRule, ConfigError> {
    let name = rule.name.unwrap_or_else(|| index.to_string());
    let matcher = rule.matches.compile().map_err(|error| error.within("match"))?;
    let cookies = rule.cookies.into_iter().enumerate().map(|(index, cookie)| {
        cookie
            .compile()
            .map_err(|error| error.within(format!("cookies[{index}]")))
    });
    let cookies = cookies.collect::<Result<_, _>>()?;
    let split = Split::new(&name, rule.cluster, rule.split, rule.sticky)?;
    let chosen = split.clusters().map(|cluster| {
        let tags = [("rule", name.as_str()), ("cluster", cluster)];
        // A host without metrics is no reason not to route.
        context
            .counter(&tagged("leno_routing_requests_total", &tags))
            .ok()
    });
    Ok(CompiledRule {
        chosen: chosen.collect(),
        matcher,
        cookies,
        split,
    })
}

impl CompiledRule {
    fn is_for(&self, handle: &Handle) -> bool {
        let headers = handle.fields(leno_sdk::Map::RequestHeaders);
        self.matcher.matches(&headers)
            && self
                .cookies
                .iter()
                .all(|cookie| cookie.matches(headers.cookie(cookie.name()).as_deref()))
    }
}
