//! What must hold for any bytes that come from outside. Each function takes what came and panics where it does not
//! hold: the fuzz targets (`fuzz/`) call them with new bytes, the suite `corpora` with the kept ones and with small
//! changes of those.

mod bootstrap;

mod documents;

mod header_lists;

mod header_rules;

mod xds;

use crate::http1::{self, Role, again};
use crate::mutation::Mutator;

/// One thing that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of the fuzz target, and of its folder of kept inputs.
    pub name: &'static str,
    /// Checks one input.
    pub check: fn(&[u8]),
    /// What its inputs are made of.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "http1_requests",
        check: http1_requests,
        words: http1::WORDS,
    },
    Target {
        name: "http1_responses",
        check: http1_responses,
        words: http1::WORDS,
    },
    Target {
        name: "bootstrap",
        check: bootstrap::check,
        words: YAML,
    },
    Target {
        name: "xds_text",
        check: xds::text,
        words: YAML,
    },
    Target {
        name: "xds_bytes",
        check: xds::bytes,
        words: &[],
    },
    Target {
        name: "documents",
        check: documents::check,
        words: YAML,
    },
    Target {
        name: "header_rules",
        check: header_rules::check,
        words: YAML,
    },
    Target {
        name: "header_lists",
        check: header_lists::check,
        words: http1::WORDS,
    },
];

/// Runs one target on one input.
///
/// # Panics
/// There is no such target, or a property does not hold.
pub fn run(target: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|one| one.name == target);
    (found.unwrap_or_else(|| panic!("no target {target}")).check)(input);
}

/// `input` and then as many changes of it; the same ones every time.
pub fn run_changed(target: &Target, input: &[u8], changes: usize) {
    (target.check)(input);
    let mut mutator = Mutator::new(input.len() as u64, target.words);
    for _ in 0..changes {
        let mut changed = input.to_vec();
        mutator.change(&mut changed);
        (target.check)(&changed);
    }
}

fn http1_requests(input: &[u8]) {
    again::check(Role::Requests, input);
}

fn http1_responses(input: &[u8]) {
    again::check(Role::Responses { to_head: false }, input);
    again::check(Role::Responses { to_head: true }, input);
}

/// What YAML, and the values in our documents, are made of.
const YAML: &[&[u8]] = &[
    b"\n",
    b"\n  ",
    b"- ",
    b": ",
    b"{}",
    b"[]",
    b"null",
    b"\"\"",
    b"\"\\n\"",
    b"\"\\x00\"",
    b"---\n",
    b"# ",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"|\n",
    b"-1",
    b"0",
    b"65536",
    b"4294967296",
    b"18446744073709551616",
    b"1e400",
    b".nan",
    b"true",
    b"0s",
    b"-1s",
    b"1h",
    b"999999999999h",
    b"*",
    b"(",
    b"a{1000}{1000}",
    b"%REQ(x)%",
    b"%",
    b"\xc3\xa9",
    b"sha256:",
    b"name",
];
