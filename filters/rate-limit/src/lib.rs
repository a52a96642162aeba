//! Limits requests by token buckets that all workers of a proxy share: see the README for the configuration.

mod bucket;

mod config;

mod descriptor;

mod store;

use std::time::Duration;

use leno_sdk::matching::Matcher;
use leno_sdk::{
    ConfigError, Context, Counter, Filter, Handle, HeadersVerdict, Interest, Request, Response, tagged,
};

pub use bucket::{Bucket, Limit, Taken};
pub use config::{Config, Descriptor, Rule};
use descriptor::describe;

/// The configured filter.
pub struct RateLimit {
    rules: Vec<CompiledRule>,
    status: u16,
    body: String,
    quota_headers: bool,
}

struct CompiledRule {
    name: String,
    matcher: Matcher,
    descriptor: Vec<Descriptor>,
    limit: Limit,
    slots: u32,
    shadow: bool,
    allowed: Option<Counter>,
    limited: Option<Counter>,
    shadowed: Option<Counter>,
    failed: Option<Counter>,
}

/// What an exchange tells the client about its quota.
#[derive(Default)]
pub struct Exchange {
    quota: Option<Quota>,
}

#[derive(Clone, Copy)]
struct Quota {
    limit: Limit,
    taken: Taken,
}

impl Filter for RateLimit {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest {
        request_headers: true,
        response_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        if !(400..=599).contains(&config.status) {
            return Err(ConfigError::new(
                "status",
                format!("{} is not between 400 and 599", config.status),
            ));
        }
        let mut rules = Vec::new();
        for (index, rule) in config.rules.into_iter().enumerate() {
            let rule =
                compile(index, rule, context).map_err(|error| error.within(format!("rules[{index}]")))?;
            if rules.iter().any(|other: &CompiledRule| other.name == rule.name) {
                let reason = format!("{:?} is the name of another rule", rule.name);
                return Err(ConfigError::new(format!("rules[{index}].name"), reason));
            }
            rules.push(rule);
        }
        Ok(Self {
            rules,
            status: config.status,
            body: config.body,
            quota_headers: config.quota_headers,
        })
    }

    fn interest(&self) -> Interest {
        Interest {
            request_headers: !self.rules.is_empty(),
            response_headers: !self.rules.is_empty() && self.quota_headers,
            ..Interest::NONE
        }
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        let headers = request.headers();
        for rule in &self.rules {
            if !rule.matcher.matches(&headers) {
                continue;
            }
            let Some(key) = describe(&rule.descriptor, request) else {
                continue;
            };
            let Some(quota) = rule.take(request, &key) else {
                continue;
            };
            let refused = !quota.taken.is_allowed();
            if refused && !rule.shadow {
                return self.refuse(request, &rule.name, quota);
            }
            let least = exchange
                .quota
                .is_none_or(|other| quota.taken.remaining < other.taken.remaining);
            if least && !rule.shadow {
                exchange.quota = Some(quota);
            }
        }
        HeadersVerdict::Continue
    }

    fn on_response_headers(&self, exchange: &mut Exchange, response: &Response<'_>) -> HeadersVerdict {
        if let Some(quota) = exchange.quota.take() {
            for (name, value) in quota.fields() {
                response.headers().set(name, value);
            }
        }
        HeadersVerdict::Continue
    }
}

leno_sdk::filter!(RateLimit);

fn compile(index: usize, rule: Rule, context: &Context) -> Result<CompiledRule, ConfigError> {
    let name = rule.name.unwrap_or_else(|| index.to_string());
    let limit = Limit::new(rule.tokens, rule.interval.0, rule.burst)?;
    if rule.slots == 0 {
        return Err(ConfigError::new("slots", "must be at least 1"));
    }
    descriptor::check(&rule.descriptor)?;
    let matcher = rule.matches.compile().map_err(|error| error.within("match"))?;
    let counter = |result: &str| {
        let name = tagged(
            "leno_rate_limit_requests_total",
            &[("rule", name.as_str()), ("result", result)],
        );
        // A host without metrics is no reason not to limit.
        context.counter(&name).ok()
    };
    Ok(CompiledRule {
        allowed: counter("allowed"),
        limited: counter("limited"),
        shadowed: counter("shadow_limited"),
        failed: counter("error"),
        matcher,
        descriptor: rule.descriptor,
        limit,
        slots: rule.slots,
        shadow: rule.shadow,
        name,
    })
}

impl CompiledRule {
    /// Takes a token; nothing if the state could not be read or written, which lets the request pass.
    fn take(&self, handle: &Handle, key: &[u8]) -> Option<Quota> {
        match store::take(handle.context(), &self.name, self.slots, key, &self.limit) {
            Ok(taken) => {
                let counter = match (taken.is_allowed(), self.shadow) {
                    (true, _) => &self.allowed,
                    (false, false) => &self.limited,
                    (false, true) => &self.shadowed,
                };
                if let Some(counter) = counter {
                    counter.add(1);
                }
                Some(Quota {
                    limit: self.limit,
                    taken,
                })
            }
            Err(error) => {
                if let Some(counter) = &self.failed {
                    counter.add(1);
                }
                handle.context().warn(format_args!(
                    "rule {}: the request passes uncounted: {error}",
                    self.name
                ));
                None
            }
        }
    }
}

impl RateLimit {
    fn refuse(&self, request: &Request<'_>, rule: &str, quota: Quota) -> HeadersVerdict {
        let mut reply = request
            .reply(self.status)
            .body(self.body.as_str())
            .details("rate_limited");
        // RFC 9110, 10.2.3: whole seconds, so rounded up.
        reply = reply.header("retry-after", seconds_up(quota.taken.retry_after).to_string());
        if self.quota_headers {
            for (name, value) in quota.fields() {
                reply = reply.header(name, value);
            }
        }
        request
            .context()
            .debug(format_args!("rule {rule}: the request is over the limit"));
        reply.send().into()
    }
}

impl Quota {
    /// draft-polli-ratelimit-headers-03, as Envoy writes it.
    fn fields(&self) -> [(&'static str, String); 3] {
        let Self { limit, taken } = self;
        let window = seconds_up(limit.interval());
        [
            (
                "x-ratelimit-limit",
                format!("{}, {};w={window}", limit.burst(), limit.tokens()),
            ),
            ("x-ratelimit-remaining", taken.remaining.to_string()),
            ("x-ratelimit-reset", seconds_up(taken.full_after).to_string()),
        ]
    }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
