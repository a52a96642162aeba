//! Lines of the proxy's log.

use leno_sdk::matching::Matcher;
use leno_sdk::template::{Saved, Template};
use leno_sdk::{ConfigError, Log, LogLevel, Request};

use crate::config::LogLine;

pub(crate) struct Line {
    template: Template,
    sampling: f64,
    matcher: Matcher,
    min_status: u16,
}

/// Refuses what is not a percentage.
pub(crate) fn percentage(path: &str, value: f64) -> Result<f64, ConfigError> {
    if (0.0..=100.0).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::new(
        path,
        format!("{value} is not between 0 and 100"),
    ))
}

/// Whether a random number falls into a percentage.
pub(crate) fn is_sampled(random: u64, percentage: f64) -> bool {
    // A millionth is fine enough, and exact in both types.
    ((random % 1_000_000) as f64) < percentage * 10_000.0
}

impl Line {
    pub(crate) fn new(line: LogLine) -> Result<Self, ConfigError> {
        Ok(Self {
            template: Template::parse(&line.template)
                .map_err(|reason| ConfigError::new("template", reason))?,
            sampling: percentage("sampling", line.sampling)?,
            matcher: line.matches.compile().map_err(|error| error.within("match"))?,
            min_status: line.min_status,
        })
    }

    /// Whether the request is one that it is for, and is drawn.
    pub(crate) fn is_for(&self, request: &Request<'_>) -> bool {
        self.matcher.matches(&request.headers()) && is_sampled(request.random(), self.sampling)
    }

    pub(crate) fn write(&self, log: &Log<'_>) {
        let status: Option<u16> = log
            .response_headers()
            .text(":status")
            .and_then(|status| status.parse().ok());
        if status.is_none_or(|status| status >= self.min_status) {
            let line = self.template.render(log, &Saved::default());
            log.context().log(LogLevel::Info, String::from_utf8_lossy(&line));
        }
    }
}
