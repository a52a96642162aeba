//! What the demo saw, as a short table.

use std::time::Duration;

use super::load::Outcome;

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
    pub(crate) fn show(&self, took: Duration) {
        println!("\nWhat was seen");
        for line in &self.lines {
            let mark = if line.held { "ok  " } else { "FAIL" };
            println!("  {mark} {:<10} {} [{}]", line.stage, line.what, line.seen);
        }
        if let Some((load, moment)) = &self.load {
            println!("\nTraffic during the swap");
            println!("  requests {}, failed {}", load.sent, load.failed);
            if let Some(moment) = moment {
                println!(
                    "  the new version answered {} ms after it was published",
                    moment.as_millis()
                );
            }
            let [before, during, after] = load.p99.map(|p99| p99.as_secs_f64() * 1e3);
            println!("  p99 before {before:.1} ms, during {during:.1} ms, after {after:.1} ms");
        }
        println!("\nThe demo took {:.1} s.", took.as_secs_f64());
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
