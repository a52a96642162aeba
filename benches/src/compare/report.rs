//! The table of a comparison.

use comfy_table::Table;
use comfy_table::presets;

use super::load::Sample;
use super::measure::median;
use super::peer::Peer;

/// What was measured of one peer.
pub struct Row {
    /// Of whom.
    pub peer: Peer,
    /// Resident memory before the first request.
    pub idle_kib: u64,
    /// One per round.
    pub samples: Vec<Sample>,
}

impl Row {
    fn middle(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of).collect())
    }
}

/// A Markdown table. Ratios are those of single rounds against `base` in the same round: the median, and from the least
/// to the greatest.
pub fn table(rows: &[Row], base: Peer) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "proxy",
        "CPU us/request",
        "share",
        "least to most",
        "requests/s",
        "p50 us",
        "p99 us",
        "MiB idle",
        "MiB after",
    ]);
    let against = rows.iter().find(|row| row.peer == base);
    for row in rows {
        let ratios: Vec<f64> = against
            .into_iter()
            .flat_map(|base| row.samples.iter().zip(&base.samples))
            .map(|(own, base)| own.cpu_per_request.as_secs_f64() / base.cpu_per_request.as_secs_f64())
            .collect();
        let (share, range) = if ratios.is_empty() {
            ("-".to_owned(), "-".to_owned())
        } else {
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            (
                format!("{:.2}", median(ratios)),
                format!("{least:.2} to {most:.2}"),
            )
        };
        table.add_row([
            row.peer.name().to_owned(),
            format!("{:.1}", row.middle(|s| s.cpu_per_request.as_secs_f64() * 1e6)),
            share,
            range,
            format!("{:.0}", row.middle(|s| s.requests_per_second)),
            format!("{:.0}", row.middle(|s| s.p50.as_secs_f64() * 1e6)),
            format!("{:.0}", row.middle(|s| s.p99.as_secs_f64() * 1e6)),
            format!("{:.1}", row.idle_kib as f64 / 1024.0),
            format!("{:.1}", row.middle(|s| s.resident_kib as f64) / 1024.0),
        ]);
    }
    table
}
