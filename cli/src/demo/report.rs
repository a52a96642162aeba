//! What the demo saw, as a short table.

use std::time::Duration;

use super::load::Outcome;
use crate::output::say;

/// Collects what held and what did not.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    load: Option<(Outcome, Option<Duration>)>,
}

struct Line {
    stage: &'static str,
    what: &'static str,
    held: bool,
    seen: String,
}

impl Report {
    /// Something that must hold, and what was seen.
    pub(crate) fn hold(&mut self, stage: &'static str, what: &'static str, held: bool, seen: &str) {
        self.lines.push(Line {
            stage,
            what,
            held,
            seen: seen.to_owned(),
        });
    }

    /// The load, and how long after publishing the new version answered.
    pub(crate) fn load(&mut self, outcome: Outcome, moment: Option<Duration>) {
        self.load = Some((outcome, moment));
    }

    /// Prints all of it.
    ///
    /// # Errors
    /// It cannot be printed.
    pub(crate) fn show(&self, took: Duration) -> anyhow::Result<()> {
        let mut lines = vec!["\nWhat was seen".to_owned()];
        lines.extend(self.lines.iter().map(|line| {
            let mark = if line.held { "ok  " } else { "FAIL" };
            format!("  {mark} {:<10} {} [{}]", line.stage, line.what, line.seen)
        }));
        if let Some((load, moment)) = &self.load {
            lines.push("\nTraffic during the swap".to_owned());
            lines.push(format!("  requests {}, failed {}", load.sent, load.failed));
            if let Some(moment) = moment {
                lines.push(format!(
                    "  the new version answered {} ms after it was published",
                    moment.as_millis()
                ));
            }
            let [before, during, after] = load.p99.map(|p99| p99.as_secs_f64() * 1e3);
            lines.push(format!(
                "  p99 before {before:.1} ms, during {during:.1} ms, after {after:.1} ms"
            ));
        }
        lines.push(format!("\nThe demo took {:.1} s.", took.as_secs_f64()));
        say(lines.join("\n"))
    }

    /// Whether everything held.
    ///
    /// # Errors
    /// Names what did not.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let failed: Vec<&str> = self
            .lines
            .iter()
            .filter(|line| !line.held)
            .map(|line| line.what)
            .collect();
        anyhow::ensure!(failed.is_empty(), "did not hold: {}", failed.join("; "));
        Ok(())
    }
}
