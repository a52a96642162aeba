//! Order, headers and resuming.

use super::check;

#[test]
fn requests_pass_in_order_and_responses_backwards() {
    check(
        &["a *", "b *"],
        &["> ", ">data abc", ">end", "< 200", "<data xyz end", "finish"],
        &[
            "a>h 4",
            "b>h 4",
            "=> headers",
            "a>b 3",
            "b>b 3",
            "=> 'abc'",
            "a>b 0 end",
            "b>b 0 end",
            "=> end",
            "b<h 1",
            "a<h 1",
            "<= headers :status=200",
            "b<b 3 end",
            "a<b 3 end",
            "<= 'xyz' end",
            "a.log",
            "b.log",
            "a.finish",
            "b.finish",
            "a shuts down",
            "b shuts down",
        ],
    );
}

#[test]
fn no_filter_means_nothing_in_between() {
    check(
        &[],
        &["> ", ">data abc", ">trailers 1", "< 200", "<data xyz", "<end"],
        &[
            "=> headers",
            "=> 'abc'",
            "=> t:1 end",
            "<= headers :status=200",
            "<= 'xyz'",
            "<= end",
        ],
    );
}

#[test]
fn callbacks_without_interest_are_not_made() {
    check(
        &["a >h", "b <b", "c"],
        &["> ", ">data abc end", "< 200", "<data xyz end", "finish"],
        &[
            "a>h 4",
            "=> headers",
            "=> 'abc' end",
            "<= headers :status=200",
            "b<b 3 end",
            "<= 'xyz' end",
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
fn a_held_half_goes_on_at_the_next_filter() {
    check(
        &["a * / >h hold", "b >h"],
        &["> end", "a resume(>)", "< 204 end"],
        &[
            "a>h 4 end",
            "b>h 4 end",
            "=> headers end",
            "a<h 1 end",
            "<= headers :status=204 end",
        ],
    );
}

#[test]
fn a_body_that_came_while_everything_was_held_is_shown_afterwards() {
    check(
        &["a >b >h / >h hold", "b >h >b"],
        &["> ", ">data abc", ">data de", "a resume(>)", ">end"],
        &[
            "a>h 4",
            "b>h 4",
            "a>b 5",
            "b>b 5",
            "=> headers 'abc' 'de'",
            "a>b 0 end",
            "b>b 0 end",
            "=> end",
        ],
    );
}

#[test]
fn an_empty_body_that_ended_meanwhile_makes_the_headers_the_end() {
    check(
        &["a >h >b / >h hold", "b >h"],
        &["> ", ">end", "a resume(>)"],
        &["a>h 4", "b>h 4 end", "=> headers end"],
    );
}

#[test]
fn trailers_wait_behind_the_body() {
    check(
        &["a >h >b >t / >h hold", "b >t"],
        &["> ", ">data abc", ">trailers 1", "a resume(>)"],
        &["a>h 4", "a>b 3", "a>t 1", "b>t 1", "=> headers 'abc' t:1 end"],
    );
}

#[test]
fn held_headers_can_be_changed_until_they_go() {
    check(
        &["a >h / >h hold", "b >h / >h get(x)+continue"],
        &["> end", "a set(x=1)", "a resume(>)", "a set(x=2)"],
        &[
            "a>h 4 end",
            "b>h 5 end",
            "b get x: '1'",
            "=> headers x=1 end",
            "a set x=2: not available in this phase",
        ],
    );
}

#[test]
fn a_resume_that_nothing_waits_for_does_nothing() {
    check(
        &["a * / >h resume(>)+continue"],
        &[
            "> ",
            "a resume(>)",
            "a resume(<)",
            ">end",
            "< 200",
            "a resume(<)",
            "<end",
        ],
        &[
            "a>h 4",
            "=> headers",
            "a>b 0 end",
            "=> end",
            "a<h 1",
            "<= headers :status=200",
            "a<b 0 end",
            "<= end",
        ],
    );
}

#[test]
fn a_resume_within_the_callback_counts_against_its_verdict() {
    check(
        &["a >h >b / >h resume(>)+hold / >b resume(>)+buffer"],
        &["> ", ">data abc", ">data de"],
        &["a>h 4", "=> headers", "a>b 3", "=> 'abc'", "a>b 2", "=> 'de'"],
    );
}

#[test]
fn the_response_goes_on_while_the_request_waits() {
    check(
        &["a * / >b watermark"],
        &["> ", ">data abc", "< 200", "<data xyz", "a resume(>)", "<end"],
        &[
            "a>h 4",
            "=> headers",
            "a>b 3",
            "a<h 1",
            "<= headers :status=200",
            "a<b 3",
            "<= 'xyz'",
            "=> 'abc'",
            "a<b 0 end",
            "<= end",
        ],
    );
}

#[test]
fn either_half_can_be_let_go_from_the_other() {
    check(
        &["a >h <h / >h hold / <h resume(>)+hold"],
        &["> end", "< 200 end", "a resume(<)"],
        &[
            "a>h 4 end",
            "a<h 1 end",
            "=> headers end",
            "<= headers :status=200 end",
        ],
    );
}

#[test]
fn maps_can_be_used_in_their_own_phase_only() {
    check(
        &["a * / >h get(x)+get<(x)+continue / >b get(:path)+continue / <h get(:path)+get<(:status)+continue"],
        &["> ", ">data abc end", "< 200 end", "finish"],
        &[
            "a>h 4",
            "a get x: not found",
            "a get< x: not available in this phase",
            "=> headers",
            "a>b 3 end",
            "a get :path: not available in this phase",
            "=> 'abc' end",
            "a<h 1 end",
            "a get :path: not available in this phase",
            "a get< :status: '200'",
            "<= headers :status=200 end",
            "a.log",
            "a.finish",
            "a shuts down",
        ],
    );
}

#[test]
fn everything_can_be_read_and_nothing_changed_in_the_log() {
    check(
        &[
            "a >h / .log get(host)+get<(:status)+gettrailer<(t)+gettrailer(t)+set(x=1)+reply(500)+read+continue",
        ],
        &["> end", "< 200", "<trailers 9", "finish"],
        &[
            "a>h 4 end",
            "=> headers end",
            "<= headers :status=200",
            "<= t:9 end",
            "a.log",
            "a get host: 'web'",
            "a get< :status: '200'",
            "a gettrailer< t: '9'",
            "a gettrailer t: not available in this phase",
            "a set x=1: not available in this phase",
            "a read : not available in this phase",
            "a.finish",
            "a shuts down",
        ],
    );
}
