//! Answers of filters and of the proxy, and resets.

use super::check;

#[test]
fn an_answer_passes_its_own_filter_and_those_before() {
    check(
        &[
            "a * / <h set<(x=1)+continue",
            "b * / >h reply(403,no)+continue",
            "c *",
        ],
        &["> ", ">data ignored", "finish"],
        &[
            "a>h 4",
            "b>h 4",
            "b<h 3",
            "a<h 3",
            "b<b 2 end",
            "a<b 2 end",
            "=> replied",
            "<= headers :status=403 x=1 'no' end",
            "a.log",
            "b.log",
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
fn the_first_answer_wins() {
    check(
        &["a >h <h / >h reply(401)+reply(402)+hold / <h reply(500)+continue"],
        &["> end", "a reply(501)"],
        &[
            "a>h 4 end",
            "a<h 2 end",
            "=> replied",
            "<= headers :status=401 end",
        ],
    );
}

#[test]
fn an_answer_from_outside_ends_what_is_held() {
    check(
        &["a >h <h / >h hold", "b *"],
        &["> ", ">data abc", "a reply(429,slow)", "a resume(>)", "< 200 end"],
        &[
            "a>h 4",
            "a<h 3",
            "=> replied",
            "<= headers :status=429 'slow' end",
        ],
    );
}

#[test]
fn an_answer_to_a_response_replaces_it_for_the_filters_before() {
    check(
        &["a <h <b", "b <h <b / <h reply(502,bad)+hold", "c <h"],
        &["> end", "< 200", "<data xyz"],
        &[
            "=> headers end",
            "c<h 1",
            "b<h 1",
            "a<h 3",
            "a<b 3 end",
            "<= headers :status=502 'bad' end",
            "=> replied",
        ],
    );
}

#[test]
fn an_answer_after_the_headers_went_out_is_a_reset() {
    check(
        &["a <b / <b reply(502)+continue"],
        &["> end", "< 200", "<data xyz"],
        &[
            "=> headers end",
            "<= headers :status=200",
            "a<b 3",
            "reset because_filter",
        ],
    );
}

#[test]
fn an_answer_of_a_filter_that_the_request_has_not_reached_starts_where_it_stands() {
    check(
        &["a >h <h / >h hold", "b <h"],
        &["> end", "b reply(500)"],
        &[
            "a>h 4 end",
            "a<h 2 end",
            "=> replied",
            "<= headers :status=500 end",
        ],
    );
}

#[test]
fn an_answer_can_be_held_and_its_body_changed() {
    check(
        &[
            "a <h <b / <h hold / <b body<(new)+continue",
            "b >h / >h reply(403,old)+continue",
        ],
        &["> end", "a resume(<)"],
        &[
            "b>h 4 end",
            "a<h 3",
            "=> replied",
            "a<b 3 end",
            "<= headers :status=403 'new' end",
        ],
    );
}

#[test]
fn the_proxy_answers_through_the_filters_that_saw_the_request() {
    check(
        &["a >h <h", "b >h <h / >h hold", "c <h"],
        &["> end", "<reply 504 late"],
        &[
            "a>h 4 end",
            "b>h 4 end",
            "b<h 3",
            "a<h 3",
            "<= headers :status=504 'late' end",
            "=> replied",
        ],
    );
    check(
        &["a <h"],
        &["> end", "<reply 404"],
        &[
            "=> headers end",
            "a<h 2 end",
            "<= headers :status=404 end",
            "=> replied",
        ],
    );
}

#[test]
fn the_proxy_overrules_an_answer_that_is_held() {
    check(
        &["a <h", "b >h <h / >h reply(401)+continue / <h hold"],
        &["> end", "<reply 504"],
        &[
            "b>h 4 end",
            "b<h 2 end",
            "=> replied",
            "a<h 2 end",
            "<= headers :status=504 end",
        ],
    );
}

#[test]
fn a_reset_ends_both_halves() {
    check(
        &["a >h / >h reset+continue", "b *"],
        &["> ", ">data abc", "<reply 500", "finish"],
        &[
            "a>h 4",
            "reset wasm_close_stream",
            "a.log",
            "b.log",
            "a.finish",
            "b.finish",
            "a shuts down",
            "b shuts down",
        ],
    );
    check(
        &["a >h / >h hold"],
        &["> ", "a reset"],
        &["a>h 4", "reset wasm_close_stream"],
    );
}
