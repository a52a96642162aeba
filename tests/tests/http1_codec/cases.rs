//! Every case has its verdict, in one piece and in any pieces, and what was read can be written and read again.

use leno_tests::http1::again;
use leno_tests::http1::cases::{all, verdict};

#[test]
fn every_case_has_its_verdict() {
    let wrong: Vec<String> = all()
        .iter()
        .filter_map(|case| {
            let found = verdict(&leno_tests::http1::read(case.role, &case.bytes));
            (found != case.verdict).then(|| {
                format!(
                    "{}: {:?} instead of {:?} ({})",
                    case.name, found, case.verdict, case.section
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cuts_change_nothing_and_what_was_read_comes_back() {
    for case in all() {
        again::check(case.role, &case.bytes);
    }
}

/// A pipeline says what its requests say one by one, wherever it is cut.
#[test]
fn every_pair_of_requests_makes_a_pipeline() {
    let cases = all();
    let one: Vec<_> = cases
        .iter()
        .filter(|case| case.name.starts_with("requests/") && case.verdict == (1, "accept".to_owned()))
        .filter(|case| case.bytes.len() < 300)
        .collect();
    assert!(one.len() > 30, "{} cases", one.len());
    for (first, second) in one.iter().zip(one.iter().skip(1).chain(&one[..1])) {
        // The line end before a request is forgiven once.
        let second_bytes = second.bytes.strip_prefix(b"\r\n").unwrap_or(&second.bytes);
        let pipeline = [&first.bytes[..], second_bytes].concat();
        let read = again::check(first.role, &pipeline);
        assert_eq!(
            verdict(&read),
            (2, "accept".to_owned()),
            "{} then {}",
            first.name,
            second.name
        );
        let alone = [&first.bytes[..], second_bytes]
            .map(|bytes| leno_tests::http1::read(first.role, bytes).messages.remove(0));
        assert_eq!(read.messages, alone, "{} then {}", first.name, second.name);
    }
}
