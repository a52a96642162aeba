//! Printing: tables for people, JSON and YAML for programs. All that goes to stdout or stderr goes through here.

use std::io::Write as _;
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::failure;
use crate::options::{Format, Version};

/// Whoever read stdout has seen enough, as in `leno ... | head`: no reason for words, and none to go on.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
pub(crate) struct Closed;

/// Writes lines to stdout.
///
/// # Errors
/// [`Closed`], or what the system says, as that the disk is full.
pub(crate) fn say(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{}", text.as_ref());
    check_written(written.and_then(|()| stdout.flush()))
}

/// What became of writing to stdout, as an error of ours.
///
/// # Errors
/// As [`say`].
pub(crate) fn check_written(written: std::io::Result<()>) -> anyhow::Result<()> {
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Closed.into(),
        _ => failure(
            format!("cannot write to stdout: {error}"),
            "make room where stdout goes, or send it elsewhere",
        ),
    })
}

/// Writes lines to stderr. That nobody reads them is no reason to stop.
pub(crate) fn note(text: impl AsRef<str>) {
    let _unread = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Prints `value` as JSON or YAML, or the table that `table` makes of it.
pub(crate) fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table(value),
        Format::Json => serde_json::to_string_pretty(value)?,
        Format::Yaml => serde_saphyr::to_string(value)?,
    };
    say(text.trim_end())
}

/// Rows under headings.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = plain();
    table.set_header(headings);
    table.add_rows(rows);
    trimmed(&table)
}

/// Names and values, without those that are empty.
pub(crate) fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = plain();
    table.add_rows(
        fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| [name.to_owned(), value]),
    );
    trimmed(&table)
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The `version` command.
pub(crate) fn version(command: &Version) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Versions {
        leno: &'static str,
    }
    print(
        command.output.output,
        &Versions {
            leno: env!("CARGO_PKG_VERSION"),
        },
        |versions| format!("leno {}", versions.leno),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Cells are not wrapped: digests and paths must stay whole to be copied.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [size(0), size(1023), size(1536), size(3 << 20)],
            ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]
        );
    }
}
