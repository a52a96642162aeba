//! Whether a request is worth another try, and when. No clock and no IO: outcomes go in, decisions come out.

use std::time::Duration;

use leno_model::route::{RetryOn, RetryPolicy};

use crate::http::headers::Headers;

/// How one try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A response began.
    Response {
        /// Its status.
        status: u16,
        /// `grpc-status`, where it stands in the head.
        grpc_status: Option<u32>,
    },
    /// There was nobody to connect to, or not in time.
    Connect,
    /// The upstream said that it has not begun.
    Refused,
    /// Connection or stream ended before the response.
    Reset {
        /// Nothing of the request had been sent.
        before_request: bool,
    },
    /// The try took too long.
    TryTimeout,
    /// A circuit breaker was open, or nobody healthy was there.
    Unavailable,
}

/// What to do after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this pause.
    Again(Duration),
    /// Not worth it, or not asked for: the outcome goes to the client.
    Accept,
    /// It would be worth it, but all tries are used up.
    Exhausted,
    /// It would be worth it, but too many retries run at the same time.
    Overflow,
}

/// The retries of one exchange.
#[derive(Clone, Debug)]
pub struct Retry<'a> {
    on: RetryOn,
    status_codes: &'a [u16],
    left: u32,
    made: u32,
    base: Duration,
    longest: Duration,
}

impl<'a> Retry<'a> {
    /// The policy of the route, widened by `x-envoy-retry-on` and `x-envoy-max-retries` of the request. `None`:
    /// nothing asks for retries.
    #[must_use]
    pub fn new(policy: Option<&'a RetryPolicy>, request: &Headers) -> Option<Self> {
        let asked = [&b"x-envoy-retry-on"[..], b"x-envoy-retry-grpc-on"].map(|name| request.get(name));
        if policy.is_none() && asked == [None, None] {
            return None;
        }
        let mut retry = Self {
            on: policy.map(|policy| policy.on).unwrap_or_default(),
            status_codes: policy.map_or(&[], |policy| &policy.status_codes),
            left: policy.map_or(1, |policy| policy.retries),
            made: 0,
            base: policy.map_or(Duration::from_millis(25), |policy| policy.backoff_base),
            longest: policy.map_or(Duration::from_millis(250), |policy| policy.backoff_max),
        };
        for list in asked.into_iter().flatten() {
            for word in list.split(|&byte| byte == b',') {
                add_condition(&mut retry.on, word.trim_ascii());
            }
        }
        let most = request
            .get(b"x-envoy-max-retries")
            .and_then(|value| std::str::from_utf8(value).ok());
        if let Some(most) = most.and_then(|text| text.parse().ok()) {
            retry.left = most;
        }
        (retry.on != RetryOn::default()).then_some(retry)
    }

    /// Whether any further try is possible: then the request must be kept.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.left > 0
    }

    /// Retries made so far.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.made
    }

    /// What to do after `outcome`, while `running` retries of at most `limit` are on their way. `random` spreads
    /// the pause.
    pub fn decide(&mut self, outcome: Outcome, running: u32, limit: u32, random: u64) -> Decision {
        if !self.is_wanted(outcome) {
            return Decision::Accept;
        }
        if self.left == 0 {
            return Decision::Exhausted;
        }
        if running >= limit {
            return Decision::Overflow;
        }
        self.left -= 1;
        self.made += 1;
        Decision::Again(self.pause(random))
    }

    /// Fully jittered and exponential: below `base * (2^made - 1)`, and never above the longest
    /// ("x-envoy-max-retries" in Envoy's router documentation).
    fn pause(&self, random: u64) -> Duration {
        let factor = 2_u32.checked_pow(self.made).unwrap_or(u32::MAX) - 1;
        let ceiling = self.base.saturating_mul(factor.max(1)).min(self.longest);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % nanos.max(1))
    }

    fn is_wanted(&self, outcome: Outcome) -> bool {
        let on = &self.on;
        match outcome {
            Outcome::Response { status, grpc_status } => {
                (on.server_error && (500..600).contains(&status))
                    || (on.gateway_error && (502..=504).contains(&status))
                    || (on.retriable_4xx && status == 409)
                    || (on.retriable_status_codes && self.status_codes.contains(&status))
                    || grpc_status.is_some_and(|grpc| match grpc {
                        1 => on.grpc_cancelled,
                        4 => on.grpc_deadline_exceeded,
                        8 => on.grpc_resource_exhausted,
                        13 => on.grpc_internal,
                        14 => on.grpc_unavailable,
                        _ => false,
                    })
            }
            Outcome::Connect => {
                on.server_error
                    || on.gateway_error
                    || on.connect_failure
                    || on.reset_before_request
                    || on.reset
            }
            Outcome::Refused => {
                on.server_error
                    || on.gateway_error
                    || on.refused_stream
                    || on.reset_before_request
                    || on.reset
            }
            Outcome::Reset { before_request } => {
                on.server_error || on.gateway_error || on.reset || (on.reset_before_request && before_request)
            }
            Outcome::TryTimeout => on.server_error || on.gateway_error || on.reset,
            Outcome::Unavailable => false,
        }
    }
}

/// Unknown words are ignored: the header may come from anybody.
fn add_condition(on: &mut RetryOn, word: &[u8]) {
    let flag = match word {
        b"5xx" => &mut on.server_error,
        b"gateway-error" => &mut on.gateway_error,
        b"connect-failure" => &mut on.connect_failure,
        b"reset" => &mut on.reset,
        b"reset-before-request" => &mut on.reset_before_request,
        b"refused-stream" => &mut on.refused_stream,
        b"retriable-4xx" => &mut on.retriable_4xx,
        b"retriable-status-codes" => &mut on.retriable_status_codes,
        b"cancelled" => &mut on.grpc_cancelled,
        b"deadline-exceeded" => &mut on.grpc_deadline_exceeded,
        b"internal" => &mut on.grpc_internal,
        b"resource-exhausted" => &mut on.grpc_resource_exhausted,
        b"unavailable" => &mut on.grpc_unavailable,
        _ => return,
    };
    *flag = true;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leno_model::route::{RetryOn, RetryPolicy};

    use super::{Decision, Outcome, Retry};
    use crate::http::headers::Headers;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        fields.iter().copied().collect()
    }

    /// Whether a policy made of these words tries again after `outcome`.
    #[track_caller]
    fn check(words: &str, outcome: Outcome, again: bool) {
        let request = headers(&[("x-envoy-retry-on", words)]);
        let mut retry = Retry::new(None, &request).expect("the words are known");
        let decision = retry.decide(outcome, 0, 1, 7);
        assert_eq!(
            matches!(decision, Decision::Again(_)),
            again,
            "{words}: {outcome:?}"
        );
    }

    fn response(status: u16) -> Outcome {
        Outcome::Response {
            status,
            grpc_status: None,
        }
    }

    fn grpc(status: u32) -> Outcome {
        Outcome::Response {
            status: 200,
            grpc_status: Some(status),
        }
    }

    #[test]
    fn conditions_take_what_they_name() {
        check("5xx", response(500), true);
        check("5xx", response(404), false);
        check("5xx", Outcome::Connect, true);
        check("5xx", Outcome::Unavailable, false);
        check("gateway-error", response(500), false);
        check("gateway-error", response(503), true);
        check("connect-failure", Outcome::Connect, true);
        check(
            "connect-failure",
            Outcome::Reset {
                before_request: false,
            },
            false,
        );
        check("connect-failure", response(503), false);
        check(
            "reset",
            Outcome::Reset {
                before_request: false,
            },
            true,
        );
        check("reset", Outcome::TryTimeout, true);
        check(
            "reset-before-request",
            Outcome::Reset {
                before_request: false,
            },
            false,
        );
        check(
            "reset-before-request",
            Outcome::Reset { before_request: true },
            true,
        );
        check("refused-stream", Outcome::Refused, true);
        check("refused-stream", Outcome::Connect, false);
        check("retriable-4xx", response(409), true);
        check("retriable-4xx", response(400), false);
        check("unavailable", grpc(14), true);
        check("unavailable, internal", grpc(13), true);
        check("unavailable", grpc(4), false);
    }

    fn policy(retries: u32) -> RetryPolicy {
        RetryPolicy {
            on: RetryOn {
                retriable_status_codes: true,
                ..RetryOn::default()
            },
            retries,
            per_try_timeout: None,
            status_codes: vec![418],
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(100),
            avoid_previous_hosts: false,
        }
    }

    #[test]
    fn tries_run_out() {
        let (policy, none) = (policy(2), headers(&[]));
        let mut retry = Retry::new(Some(&policy), &none).unwrap();
        assert_eq!(retry.decide(response(200), 0, 3, 0), Decision::Accept);
        assert!(matches!(retry.decide(response(418), 0, 3, 0), Decision::Again(_)));
        assert_eq!(retry.decide(response(418), 3, 3, 0), Decision::Overflow);
        assert!(matches!(retry.decide(response(418), 2, 3, 0), Decision::Again(_)));
        assert_eq!(retry.decide(response(418), 0, 3, 0), Decision::Exhausted);
        assert_eq!(retry.made(), 2);
    }

    #[test]
    fn a_request_may_ask_for_fewer_or_more() {
        let policy = policy(2);
        let mut retry = Retry::new(Some(&policy), &headers(&[("x-envoy-max-retries", "0")])).unwrap();
        assert!(!retry.may_retry());
        assert_eq!(retry.decide(response(418), 0, 3, 0), Decision::Exhausted);
        assert!(Retry::new(None, &headers(&[("x-envoy-max-retries", "3")])).is_none());
        assert!(Retry::new(None, &headers(&[("x-envoy-retry-on", "sunshine")])).is_none());
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (policy, none) = (policy(5), headers(&[]));
        let mut retry = Retry::new(Some(&policy), &none).unwrap();
        for longest in [25, 75, 100, 100, 100] {
            let ceiling = Duration::from_millis(longest);
            let random = u64::try_from(ceiling.as_nanos()).unwrap() - 1;
            let expected = Decision::Again(ceiling - Duration::from_nanos(1));
            assert_eq!(retry.decide(response(418), 0, 9, random), expected);
        }
    }
}
