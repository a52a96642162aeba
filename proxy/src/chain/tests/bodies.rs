//! What is kept, seen, dropped and refused of bodies and trailers. The buffer limit is 10 bytes.

use super::check;

#[test]
fn buffered_parts_are_seen_again() {
    check(
        &["a >b / >b buffer buffer read+continue", "b >b"],
        &["> ", ">data abc", ">data de", ">end"],
        &[
            "=> headers",
            "a>b 3",
            "a>b 5",
            "a>b 5 end",
            "a read : 'abcde'",
            "b>b 5 end",
            "=> 'abc' 'de' end",
        ],
    );
}

#[test]
fn watermarked_parts_are_kept_and_not_seen_again() {
    check(
        &["a >b / >b watermark watermark read+continue"],
        &["> ", ">data abc", ">data de", ">data f end"],
        &[
            "=> headers",
            "a>b 3",
            "a>b 2",
            "a>b 1 end",
            "a read : 'f'",
            "=> 'abc' 'de' 'f' end",
        ],
    );
}

#[test]
fn dropped_parts_are_gone() {
    check(
        &["a >b / >b drop continue drop"],
        &["> ", ">data abc", ">data de", ">data f", ">end"],
        &[
            "=> headers",
            "a>b 3",
            "a>b 2",
            "=> 'de'",
            "a>b 1",
            "a>b 0 end",
            "=> end",
        ],
    );
}

#[test]
fn bodies_can_be_replaced() {
    check(
        &[
            "a >b <b / >b body(new)+continue / <b buffer body<(other)+continue",
            "b >b",
        ],
        &["> ", ">data abc end", "< 200", "<data xyz", "<end"],
        &[
            "=> headers",
            "a>b 3 end",
            "b>b 3 end",
            "=> 'new' end",
            "<= headers :status=200",
            "a<b 3",
            "a<b 3 end",
            "<= 'other' end",
        ],
    );
}

#[test]
fn a_body_verdict_lets_held_headers_go() {
    check(
        &[
            "a >h >b / >h hold-headers / >b buffer get(:path)+set(x=1)+continue",
            "b >h >b",
        ],
        &["> ", ">data abc", ">data de"],
        &[
            "a>h 4",
            "a>b 3",
            "a>b 5",
            "a get :path: '/a?b=c'",
            "b>h 5",
            "b>b 5",
            "=> headers x=1 'abc' 'de'",
        ],
    );
}

#[test]
fn held_headers_of_a_filter_that_sees_no_body_wait_for_its_resume() {
    check(
        &["a >h / >h hold-headers"],
        &["> ", ">data abc", ">end", "a resume(>)"],
        &["a>h 4", "=> headers 'abc' end"],
    );
}

#[test]
fn trailers_let_a_buffered_body_go() {
    check(
        &["a >b >t / >b buffer / >t read+continue"],
        &["> ", ">data abc", ">trailers 1"],
        &[
            "=> headers",
            "a>b 3",
            "a>t 1",
            "a read : 'abc'",
            "=> 'abc' t:1 end",
        ],
    );
}

#[test]
fn held_trailers_wait() {
    check(
        &["a >t / >t hold"],
        &[
            "> ",
            ">data abc",
            ">trailers 1",
            "a settrailer(u=2)",
            "a resume(>)",
        ],
        &["=> headers", "=> 'abc'", "a>t 1", "=> t:1 u:2 end"],
    );
}

#[test]
fn a_filter_that_keeps_a_body_hears_of_its_end_even_if_trailers_are_nothing_to_it() {
    check(
        &["a >b / >b buffer read+continue"],
        &["> ", ">data abc", ">trailers 1"],
        &[
            "=> headers",
            "a>b 3",
            "a>b 3 end",
            "a read : 'abc'",
            "=> 'abc' t:1 end",
        ],
    );
}

#[test]
fn trailers_can_be_added_at_the_end_of_a_body() {
    check(
        &[
            "a >b / >b settrailer(u=1)+continue settrailer(u=2)+gettrailer(u)+continue",
            "b >b >t",
        ],
        &["> ", ">data abc", ">end"],
        &[
            "=> headers",
            "a>b 3",
            "a settrailer u=1: not available in this phase",
            "b>b 3",
            "=> 'abc'",
            "a>b 0 end",
            "a gettrailer u: '2'",
            "b>t 1",
            "=> u:2 end",
        ],
    );
}

#[test]
fn added_trailers_stay_with_a_kept_body() {
    check(
        &["a >b / >b settrailer(u=2)+buffer", "b >b >t"],
        &["> ", ">data abc end", "a resume(>)"],
        &["=> headers", "a>b 3 end", "b>b 3", "b>t 1", "=> 'abc' u:2 end"],
    );
}

#[test]
fn two_filters_keep_bodies_of_their_own() {
    check(
        &["a >b / >b watermark continue", "b >b / >b buffer buffer continue"],
        &["> ", ">data abc", ">data de", ">data f", ">end"],
        &[
            "=> headers",
            "a>b 3",
            "a>b 2",
            "b>b 5",
            "a>b 1",
            "b>b 6",
            "a>b 0 end",
            "b>b 6 end",
            "=> 'abc' 'de' 'f' end",
        ],
    );
}

#[test]
fn reading_stops_while_buffers_are_full() {
    check(
        &["a >h / >h hold"],
        &[
            "> ",
            ">wants true",
            ">data 0123456789",
            ">wants false",
            "a resume(>)",
            ">wants true",
            ">end",
            ">wants false",
        ],
        &["a>h 4", "=> headers '0123456789'", "=> end"],
    );
}

#[test]
fn a_buffer_is_read_until_it_fails() {
    check(
        &["b <h", "a >b / >b buffer buffer", "c <h"],
        &["> ", ">data 0123456789", ">wants true", ">data x"],
        &[
            "=> headers",
            "a>b 10",
            "a>b 11",
            "b<h 3",
            "=> replied",
            "<= headers :status=413 'Payload Too Large' end",
        ],
    );
}

#[test]
fn holding_and_buffering_fails_too() {
    check(
        &["a >h / >h hold-and-buffer"],
        &["> ", ">data 0123456789", ">wants true", ">data x"],
        &[
            "a>h 4",
            "=> replied",
            "<= headers :status=413 'Payload Too Large' end",
        ],
    );
}

#[test]
fn a_response_that_outgrows_its_buffer_fails_while_its_headers_are_held() {
    check(
        &["a <h / <h get<(:status)+continue", "b <h / <h hold-and-buffer"],
        &["> end", "< 200", "<data 0123456789x"],
        &[
            "=> headers end",
            "b<h 1",
            "a<h 3",
            "a get< :status: '500'",
            "<= headers :status=500 'Internal Server Error' end",
            "=> replied",
        ],
    );
}

#[test]
fn a_response_that_outgrows_its_buffer_is_reset_after_its_headers() {
    check(
        &["a <b / <b buffer"],
        &["> end", "< 200", "<data 0123456789x"],
        &[
            "=> headers end",
            "<= headers :status=200",
            "a<b 11",
            "reset response_payload_too_large",
        ],
    );
}
