//! Whatever filters hold, in whatever order they let go: nothing is lost, nothing comes twice or too early.

use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};

use super::run;

/// A filter without drops, answers or failures.
fn filter(name: &'static str) -> impl Strategy<Value = String> {
    let verdicts =
        |choices: &'static [&'static str]| prop::collection::vec(prop::sample::select(choices), 0..4);
    let interest = prop::sample::subsequence(vec![">h", ">b", ">t"], 0..=3);
    let headers = verdicts(&[
        "continue",
        "hold",
        "hold-headers",
        "hold-and-buffer",
        "resume(>)+hold",
    ]);
    let body = verdicts(&["continue", "buffer", "watermark", "resume(>)+buffer"]);
    let trailers = verdicts(&["continue", "hold"]);
    (interest, headers, body, trailers).prop_map(move |(interest, headers, body, trailers)| {
        format!(
            "{name} {} / >h {} / >b {} / >t {}",
            interest.join(" "),
            headers.join(" "),
            body.join(" "),
            trailers.join(" ")
        )
    })
}

/// What happens between the parts of the request.
fn resume() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("a resume(>)")),
        Just(Some("b resume(>)")),
        Just(Some("c resume(>)"))
    ]
}

#[track_caller]
fn check(filters: &[String], parts: &[(usize, Option<&str>)], trailers: bool) {
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let mut letters = ('a'..='j').map(String::from);
    let mut body = String::new();
    let mut events = vec!["> ".to_owned()];
    for (size, resume) in parts {
        let chunk: String = letters.by_ref().take(*size).collect();
        body += &chunk;
        events.push(format!(">data {chunk}"));
        events.extend(resume.map(str::to_owned));
    }
    events.push(if trailers { ">trailers 1" } else { ">end" }.to_owned());
    // More often than three filters can hold with the verdicts that they have.
    for _ in 0..20 {
        events.extend(["a resume(>)", "b resume(>)", "c resume(>)"].map(str::to_owned));
    }
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let trace = run(&filters, &events);
    let out: Vec<&str> = trace.iter().filter_map(|line| line.strip_prefix("=> ")).collect();
    let words: Vec<&str> = out.iter().flat_map(|line| line.split(' ')).collect();
    let sent: String = words
        .iter()
        .filter_map(|word| word.strip_prefix('\'')?.strip_suffix('\''))
        .collect();
    let context = format!("{filters:?} {events:?}\n{}", trace.join("\n"));
    assert_eq!(sent, body, "{context}");
    assert_eq!(words.first(), Some(&"headers"), "{context}");
    assert_eq!(words.last(), Some(&"end"), "{context}");
    for (word, times) in [("headers", 1), ("end", 1), ("t:1", usize::from(trailers))] {
        assert_eq!(
            words.iter().filter(|other| **other == word).count(),
            times,
            "{word}: {context}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_is_lost(
        filters in (filter("a"), filter("b"), filter("c")),
        parts in prop::collection::vec((1_usize..4, resume()), 0..4),
        trailers: bool,
    ) {
        check(&[filters.0, filters.1, filters.2], &parts, trailers);
    }
}
