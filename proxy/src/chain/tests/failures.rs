//! Guests that break, under each policy.

use super::check;

#[test]
fn closed_answers_503_and_the_broken_filter_hears_nothing_more() {
    check(
        &["a <h", "b * / >h trap", "c *"],
        &["> ", ">data abc", "finish"],
        &[
            "b>h 4",
            "a<h 2 end",
            "=> replied",
            "<= headers :status=503 end",
            "a.log",
            "c.log",
            "a.finish",
            "b.finish",
            "c.finish",
            "a shuts down",
            "b shuts down",
            "c shuts down",
        ],
    );
}

#[test]
fn open_goes_on_without_the_filter() {
    check(
        &["b:open * / >h trap", "c *"],
        &["> ", ">data abc end", "< 200 end"],
        &[
            "b>h 4",
            "c>h 4",
            "=> headers",
            "c>b 3 end",
            "=> 'abc' end",
            "c<h 1 end",
            "<= headers :status=200 end",
        ],
    );
}

#[test]
fn open_gives_the_kept_body_back() {
    check(
        &["b:open >b <b / >b buffer trap"],
        &["> ", ">data abc", ">data de", ">end", "< 200", "<data x"],
        &[
            "=> headers",
            "b>b 3",
            "b>b 5",
            "=> 'abc' 'de'",
            "=> end",
            "<= headers :status=200",
            "<= 'x'",
        ],
    );
}

#[test]
fn a_response_that_has_begun_is_reset() {
    check(
        &["a <b / <b trap"],
        &["> end", "< 200", "<data x"],
        &[
            "=> headers end",
            "<= headers :status=200",
            "a<b 1",
            "reset wasm_fail_stream",
        ],
    );
    check(
        &["a <h / <h trap"],
        &["> end", "< 200"],
        &[
            "=> headers end",
            "a<h 1",
            "<= headers :status=503 end",
            "=> replied",
        ],
    );
}

#[test]
fn held_exchanges_of_a_broken_guest_are_resolved_at_once() {
    check(
        &["a >h / >h hold"],
        &["> ", ">data abc", "a break"],
        &["a>h 4", "=> replied", "<= headers :status=503 end"],
    );
    check(
        &["a:open >h / >h hold", "b >h"],
        &["> ", ">data abc", "a break"],
        &["a>h 4", "b>h 4", "=> headers 'abc'"],
    );
    check(
        &["a:open <h / <h hold"],
        &["> end", "< 200", "<data x", "a break"],
        &["=> headers end", "a<h 1", "<= headers :status=200 'x'"],
    );
}

#[test]
fn an_answer_counts_even_if_its_filter_breaks_after_it() {
    check(
        &["a:open >h <h / >h reply(403)+trap", "b >h"],
        &["> end"],
        &["a>h 4 end", "=> replied", "<= headers :status=403 end"],
    );
}

#[test]
fn a_failure_while_an_answer_passes_replaces_it() {
    check(
        &["a <h", "b <h / <h trap", "c >h <h / >h reply(403,no)+continue"],
        &["> end"],
        &[
            "c>h 4 end",
            "c<h 3",
            "b<h 3",
            "a<h 2 end",
            "=> replied",
            "<= headers :status=503 end",
        ],
    );
}

#[test]
fn a_trap_in_the_log_changes_nothing_for_the_others() {
    check(
        &["a >h / .log trap", "b >h"],
        &["> end", "< 200 end", "finish"],
        &[
            "a>h 4 end",
            "b>h 4 end",
            "=> headers end",
            "<= headers :status=200 end",
            "a.log",
            "b.log",
            "a.finish",
            "b.finish",
            "a shuts down",
            "b shuts down",
        ],
    );
}
