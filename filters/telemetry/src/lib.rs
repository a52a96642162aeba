//! Request metrics with Istio's names and labels, log lines, trace context: see the README for the configuration.

mod config;

mod flags;

mod labels;

mod log;

mod metrics;

mod trace;

use leno_sdk::{ConfigError, Context, Filter, HeadersVerdict, Interest, Log, Request};

pub use config::{Config, LogLine, Metric, Metrics, Propagation, Reporter, TagOverride, Tracing};
use log::Line;
use metrics::Recorder;
use trace::Tracer;

/// The configured filter.
pub struct Telemetry {
    metrics: Option<Recorder>,
    lines: Vec<Line>,
    tracer: Option<Tracer>,
}

/// What log lines decide on when the request arrives.
#[derive(Default)]
pub struct Exchange {
    /// Per line: whether this exchange is one that it is for.
    logged: Vec<bool>,
}

impl Filter for Telemetry {
    type Config = Config;
    type Exchange = Exchange;
    const INTEREST: Interest = Interest {
        request_headers: true,
        ..Interest::NONE
    };

    fn configure(config: Config, context: &Context) -> Result<Self, ConfigError> {
        let metrics = match config.metrics.disabled {
            true => None,
            false => Some(Recorder::new(config.metrics, context).map_err(|error| error.within("metrics"))?),
        };
        let lines = config.logs.into_iter().enumerate();
        let lines = lines
            .map(|(index, line)| Line::new(line).map_err(|error| error.within(format!("logs[{index}]"))));
        let tracer = config
            .tracing
            .map(|tracing| Tracer::new(tracing).map_err(|error| error.within("tracing")));
        Ok(Self {
            metrics,
            lines: lines.collect::<Result<_, _>>()?,
            tracer: tracer.transpose()?,
        })
    }

    fn interest(&self) -> Interest {
        Interest {
            request_headers: self.tracer.is_some() || !self.lines.is_empty(),
            ..Interest::NONE
        }
    }

    fn on_request_headers(&self, exchange: &mut Exchange, request: &Request<'_>) -> HeadersVerdict {
        exchange.logged = self.lines.iter().map(|line| line.is_for(request)).collect();
        if let Some(tracer) = &self.tracer {
            tracer.on_request(request);
        }
        HeadersVerdict::Continue
    }

    fn on_log(&self, exchange: &mut Exchange, log: &Log<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.record(log);
        }
        for (line, logged) in self.lines.iter().zip(&exchange.logged) {
            if *logged {
                line.write(log);
            }
        }
    }
}

leno_sdk::filter!(Telemetry);
