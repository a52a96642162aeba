//! Access logs: one line per exchange, in Envoy's formats, written by a thread of its own.
//!
//! A worker makes an [`AccessLogger`] per connection manager when configuration is applied, and calls
//! [`AccessLogger::log`] with a borrowed [`ExchangeRecord`]. The same format strings edit headers: see
//! [`template::Template`].

pub mod exchange_record;

pub mod template;

pub mod operator;

pub mod value;

pub mod moment;

pub mod sinks;

use std::cell::RefCell;

use leno_model::access_log::{AccessLog, Line, Sink};
use leno_model::invalid::Invalid;

use exchange_record::ExchangeRecord;
use sinks::{Lane, Sinks};
use template::{JsonLine, Template};

/// The access logs of one connection manager on one worker.
pub struct AccessLogger {
    outputs: Vec<Output>,
    scratch: RefCell<Vec<u8>>,
}

struct Output {
    lane: Lane,
    format: Compiled,
}

enum Compiled {
    Text(Template),
    Json(JsonLine),
}

impl AccessLogger {
    /// Opens what `logs` name. Also the check that configuration must pass before it serves.
    ///
    /// # Errors
    /// A sink that cannot be opened or a format that cannot be answered, with its position in the list.
    pub fn new(logs: &[AccessLog], sinks: &Sinks) -> Result<Self, Invalid> {
        let outputs = logs.iter().enumerate().map(|(at, log)| {
            output(log, sinks).map_err(|refusal| refusal.within(&format!("access_log[{at}]")))
        });
        Ok(Self {
            outputs: outputs.collect::<Result<_, _>>()?,
            scratch: RefCell::default(),
        })
    }

    /// Nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Writes one line per log. Never waits; lines that find no room are dropped and counted.
    pub fn log(&self, record: &ExchangeRecord<'_>) {
        for output in &self.outputs {
            output.lane.append(|out| match &output.format {
                Compiled::Text(template) => template.write(record, "-", out),
                Compiled::Json(line) => line.write(record, &mut self.scratch.borrow_mut(), out),
            });
        }
    }
}

fn output(log: &AccessLog, sinks: &Sinks) -> Result<Output, Invalid> {
    let format = match &log.line {
        Line::Text(format) => Template::new(format).map(Compiled::Text),
        Line::Json(object) => JsonLine::new(object).map(Compiled::Json),
    };
    let format = format.map_err(|reason| Invalid::new("log_format", reason))?;
    let lane = sinks.lane(&log.sink).map_err(|error| {
        let name = match &log.sink {
            Sink::File(path) => path.display().to_string(),
            Sink::Stdout => "stdout".to_owned(),
            Sink::Stderr => "stderr".to_owned(),
        };
        Invalid::new("path", format!("cannot open {name} for appending: {error}"))
    })?;
    Ok(Output { lane, format })
}
