//! What was seen of transcripts, what differed, and what cannot be seen over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write as _;

/// What a client or an upstream sees otherwise than the filter does, and why. Each must be needed.
const ACCEPTED: [(&str, &str, &str); 1] = [(
    "header-rewrite",
    "headers.server",
    "a proxy writes its own name after the filters",
)];

/// Of all filters on one proxy.
#[derive(Default)]
pub(crate) struct Report {
    filter: String,
    transcript: String,
    seen: usize,
    unseen: BTreeMap<&'static str, usize>,
    accepted: BTreeSet<usize>,
    wrong: Vec<String>,
}

impl Report {
    /// What follows is of this transcript.
    pub(crate) fn begin(&mut self, filter: &str, transcript: &str) {
        filter.clone_into(&mut self.filter);
        transcript.clone_into(&mut self.transcript);
    }

    /// Compares what came out with what should.
    pub(crate) fn compare<T: PartialEq + Debug>(
        &mut self,
        exchange: Option<usize>,
        what: &str,
        found: &T,
        expected: &T,
    ) {
        let accepted = |(filter, field, _): &(&str, &str, &str)| *filter == self.filter && *field == what;
        if found == expected {
            self.seen += 1;
        } else if let Some(index) = ACCEPTED.iter().position(accepted) {
            self.accepted.insert(index);
        } else {
            let place = exchange.map_or(String::new(), |index| format!("exchanges[{index}]: "));
            let Self {
                filter, transcript, ..
            } = self;
            self.wrong.push(format!(
                "{filter}/{transcript}: {place}{what} is {found:?}, not {expected:?}"
            ));
        }
    }

    /// Counts expectations that cannot be seen, by kind.
    pub(crate) fn unseen(&mut self, kind: &'static str, count: usize) {
        if count > 0 {
            *self.unseen.entry(kind).or_default() += count;
        }
    }

    /// Says what came of it, also when the test passes.
    pub(crate) fn close(self, proxy: &str) {
        let unseen: Vec<String> = self
            .unseen
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let accepted: Vec<String> = self
            .accepted
            .iter()
            .map(|index| {
                let (filter, field, why) = ACCEPTED[*index];
                format!("{filter} {field}: {why}")
            })
            .collect();
        let text = format!(
            "transcripts in {proxy}: {} expectations seen; not visible over HTTP: {}; accepted: {}\n",
            self.seen,
            unseen.join(", "),
            accepted.join(", ")
        );
        // Not by `println!`, which a test that passes keeps to itself.
        let _unwritable = std::io::stderr().write_all(text.as_bytes());
        assert!(self.wrong.is_empty(), "in {proxy}:\n{}", self.wrong.join("\n"));
        assert!(self.seen > 0, "nothing was seen");
        let stale: Vec<_> = (0..ACCEPTED.len())
            .filter(|index| !self.accepted.contains(index))
            .map(|index| ACCEPTED[index])
            .collect();
        assert!(
            stale.is_empty(),
            "{proxy} has no such difference any more: {stale:?}"
        );
    }
}
