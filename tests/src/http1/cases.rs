//! Messages as data: files of cases with a verdict and the section that asks for it.
//!
//! A case begins with `== name | verdict | section`, and its bytes follow, line by line, until the next one. Line ends
//! of the file are not part of them; `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH` and `\*N{text}` (`text` N times) are. Lines
//! that begin with `# ` are remarks. Verdicts, each behind the number of complete messages if it is not as usual:
//! `accept` (1; the connection stays open), `close` (1; it ends), `wait` (0; more bytes are needed) and
//! `refuse REASON` (0).

use std::path::{Path, PathBuf};

use super::{Conversation, End, Role};

/// A message, or several, and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// File and name.
    pub name: String,
    /// Whose messages these are.
    pub role: Role,
    /// Number of complete messages, and how it ends: `accept`, `close`, `wait` or `refuse REASON`.
    pub verdict: (usize, String),
    /// Where it is written.
    pub section: String,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// The verdict on what was read, as cases write it.
#[must_use]
pub fn verdict(read: &Conversation) -> (usize, String) {
    let complete = read.messages.iter().filter(|message| message.complete).count();
    let word = match read.end {
        End::Open => "accept".to_owned(),
        End::Closed => "close".to_owned(),
        End::Waiting => "wait".to_owned(),
        End::Refused(reason) => format!("refuse {reason:?}"),
    };
    (complete, word)
}

/// All cases: `requests`, `responses`, and `head` (responses to HEAD), one folder each.
///
/// # Panics
/// A file is not as this module says.
#[must_use]
pub fn all() -> Vec<Case> {
    let folders = [
        ("requests", Role::Requests),
        ("responses", Role::Responses { to_head: false }),
        ("head", Role::Responses { to_head: true }),
    ];
    let mut cases = Vec::new();
    for (folder, role) in folders {
        for file in files(
            &Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("data/http1")
                .join(folder),
        ) {
            let text = std::fs::read_to_string(&file).expect("a readable file of cases");
            let stem = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            cases.extend(parse(&format!("{folder}/{stem}"), role, &text));
        }
    }
    cases
}

/// The files of a folder, in order.
///
/// # Panics
/// There is none.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("a listed file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no files", folder.display());
    files
}

fn parse(file: &str, role: Role, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}.txt:{}", number + 1);
        if let Some(title) = line.strip_prefix("== ") {
            let parts: Vec<&str> = title.split(" | ").collect();
            let [name, verdict, section] = parts[..] else {
                panic!("{place}: not `== name | verdict | section`");
            };
            cases.push(Case {
                name: format!("{file}: {name}"),
                role,
                verdict: parse_verdict(&place, verdict),
                section: section.to_owned(),
                bytes: Vec::new(),
            });
        } else if !line.is_empty() && !line.starts_with("# ") {
            let case = cases
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: bytes before a case"));
            case.bytes.extend(unescape(&place, line));
        }
    }
    cases
}

fn parse_verdict(place: &str, verdict: &str) -> (usize, String) {
    let (count, word) = match verdict.split_once(' ') {
        Some((count, word)) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            (count.parse().expect("a small number"), word)
        }
        _ => (usize::from(matches!(verdict, "accept" | "close")), verdict),
    };
    let known = matches!(word, "accept" | "close" | "wait") || word.starts_with("refuse ");
    assert!(known, "{place}: {word} is no verdict");
    (count, word.to_owned())
}

fn unescape(place: &str, line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next().unwrap_or(' ');
        rest = &rest[kind.len_utf8()..];
        match kind {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.push(digits.unwrap_or_else(|| panic!("{place}: \\x wants two digits")));
                rest = &rest[2..];
            }
            '*' => {
                let parts = rest.split_once('{').and_then(|(count, more)| {
                    let (text, after) = more.split_once('}')?;
                    Some((count.parse::<usize>().ok()?, text, after))
                });
                let (count, text, after) = parts.unwrap_or_else(|| panic!("{place}: \\* wants N{{text}}"));
                out.extend_from_slice(&unescape(place, text).repeat(count));
                rest = after;
            }
            other => panic!("{place}: \\{other} is no escape"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
