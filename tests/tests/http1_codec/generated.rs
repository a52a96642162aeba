//! Well-formed messages of every shape, made from parts: what they say is known before anybody reads them. The codec
//! and hyper must both say it, in one piece and in any pieces.

use leno_proxy::http::headers::Headers;
use leno_proxy::http::message::Protocol;
use leno_tests::http1::{self, End, Message, Role, again};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::hyper_peer;
use crate::oracle::{agree, rounds};

/// Bytes, and what they say.
type Made = (Vec<u8>, Message);

#[derive(Clone, Debug)]
struct Field {
    name: String,
    before: &'static str,
    value: Vec<u8>,
    behind: &'static str,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunks(Vec<(Vec<u8>, &'static str)>, Vec<Field>),
    UntilClose(Vec<u8>),
}

fn field() -> impl Strategy<Value = Field> {
    let name = "[xX]-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,9}";
    // Visible bytes at both ends, anything that a value may hold between them.
    let visible = prop_oneof![4 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8];
    let inside = prop_oneof![4 => 0x21..=0x7e_u8, 1 => Just(b' '), 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    let value = option::of((visible.clone(), option::of((vec(inside, 0..12), visible)))).prop_map(|value| {
        let mut bytes = Vec::new();
        if let Some((first, more)) = value {
            bytes.push(first);
            if let Some((inside, last)) = more {
                bytes.extend(inside);
                bytes.push(last);
            }
        }
        bytes
    });
    let blanks = || select(vec!["", " ", "\t", " \t "]);
    (name, blanks(), value, blanks()).prop_map(|(name, before, value, behind)| Field {
        name,
        before,
        value,
        behind,
    })
}

fn chunks() -> impl Strategy<Value = Body> {
    let extension = select(vec!["", "", ";a", ";a=b", " ; a = \"b c\"", ";a;b=c"]);
    let chunk = (vec(any::<u8>(), 1..40), extension);
    (vec(chunk, 0..5), vec(field(), 0..3)).prop_map(|(chunks, trailers)| Body::Chunks(chunks, trailers))
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..60).prop_map(Body::Length),
        chunks()
    ]
}

impl Body {
    fn framing(&self) -> Option<(&'static str, String)> {
        match self {
            Self::None | Self::UntilClose(_) => None,
            Self::Length(bytes) => Some(("Content-Length", bytes.len().to_string())),
            Self::Chunks(..) => Some(("Transfer-Encoding", "Chunked".to_owned())),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> (Vec<u8>, Headers) {
        let mut trailers = Headers::new();
        let body = match self {
            Self::None => Vec::new(),
            Self::Length(bytes) | Self::UntilClose(bytes) => {
                out.extend_from_slice(bytes);
                bytes.clone()
            }
            Self::Chunks(chunks, fields) => {
                for (data, extension) in chunks {
                    out.extend(format!("{:X}{extension}\r\n", data.len()).bytes());
                    out.extend_from_slice(data);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"00\r\n");
                for field in fields {
                    field.write(out);
                    trailers.append(field.name.as_bytes(), &field.value);
                }
                out.extend_from_slice(b"\r\n");
                chunks.iter().flat_map(|(data, _)| data.clone()).collect()
            }
        };
        (body, trailers)
    }
}

impl Field {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(format!("{}:{}", self.name, self.before).bytes());
        out.extend_from_slice(&self.value);
        out.extend(format!("{}\r\n", self.behind).bytes());
    }
}

/// Fields, framing, connection and body behind a first line, and what they say.
fn rest(
    mut bytes: Vec<u8>,
    mut head: Headers,
    fields: &[Field],
    connection: Option<&str>,
    body: &Body,
) -> Made {
    let leaves = connection == Some("X-Gone");
    for field in fields {
        field.write(&mut bytes);
        if !(leaves && field.name.eq_ignore_ascii_case("x-gone")) {
            head.append(field.name.as_bytes(), &field.value);
        }
    }
    if let Some(option) = connection {
        bytes.extend(format!("Connection: {option}\r\n").bytes());
    }
    if let Some((name, value)) = body.framing() {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
        if name == "Content-Length" {
            head.append(name.as_bytes(), value.as_bytes());
        }
    }
    bytes.extend_from_slice(b"\r\n");
    let (body, trailers) = body.write(&mut bytes);
    let message = Message {
        head,
        protocol: Protocol::Http11,
        body,
        trailers,
        complete: true,
        keep_alive: connection != Some("close"),
    };
    (bytes, message)
}

fn connection() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![6 => Just(None), 1 => Just(Some("close")), 1 => Just(Some("X-Gone")), 1 => Just(Some("keep-alive"))]
}

fn request() -> impl Strategy<Value = Made> {
    let method = select(vec![
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "M-SEARCH", "x",
    ]);
    let path = "/[a-zA-Z0-9/._~!$&'()*+,;=:@%-]{0,12}([?][a-z0-9=&/?%+]{0,8})?";
    let form = select(vec!["", "http://b.test:80", "HTTPS://[::1]"]);
    let fields = vec(field(), 0..6);
    (method, form, path, fields, connection(), body()).prop_map(
        |(method, form, path, fields, connection, body)| {
            let mut bytes = format!("{method} {form}{path} HTTP/1.1\r\n").into_bytes();
            bytes.extend_from_slice(b"Host: a.test\r\n");
            let (scheme, authority) = match form {
                "" => ("http", "a.test"),
                form => form.split_once("://").unwrap(),
            };
            let mut head = Headers::new();
            head.append(b":authority", authority.as_bytes());
            head.append(b":path", path.as_bytes());
            head.append(b":method", method.as_bytes());
            head.append(b":scheme", scheme.to_ascii_lowercase().as_bytes());
            rest(bytes, head, &fields, connection, &body)
        },
    )
}

fn response() -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
    let interim = option::of((select(vec![100_u16, 102, 103]), vec(field(), 0..3)));
    let status = select(vec![200_u16, 201, 206, 301, 404, 418, 500, 503, 599]);
    let reason = select(vec!["", " ", " OK", " Not\tat all \u{e9}"]);
    let body = prop_oneof![4 => body(), 1 => vec(any::<u8>(), 0..60).prop_map(Body::UntilClose)];
    let last = (status, reason, vec(field(), 0..6), connection(), body);
    (interim, last).prop_map(|(interim, (status, reason, fields, connection, body))| {
        let (mut bytes, mut messages) = (Vec::new(), Vec::new());
        let head = |status: u16| Headers::from_iter([(":status", status.to_string().as_str())]);
        if let Some((status, fields)) = interim {
            let line = format!("HTTP/1.1 {status} Wait\r\n").into_bytes();
            let (first, message) = rest(line, head(status), &fields, None, &Body::None);
            bytes.extend(first);
            messages.push(message);
        }
        // No framing at all is a body of nothing until the connection ends.
        let body = if matches!(body, Body::None) {
            Body::UntilClose(Vec::new())
        } else {
            body
        };
        let line = format!("HTTP/1.1 {status}{reason}\r\n").into_bytes();
        let (last, mut message) = rest(line, head(status), &fields, connection, &body);
        message.keep_alive &= !matches!(body, Body::UntilClose(_));
        bytes.extend(last);
        messages.push(message);
        (bytes, messages)
    })
}

/// The same cases in every run; `LENO_TEST_ROUNDS` makes more of them.
#[track_caller]
fn each<S: Strategy>(strategy: &S, cases: usize, mut test: impl FnMut(S::Value)) {
    let config = Config {
        cases: u32::try_from(rounds(cases)).unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let test = std::cell::RefCell::new(&mut test);
    let outcome = runner.run(strategy, |value| {
        (test.borrow_mut())(value);
        Ok::<(), TestCaseError>(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn requests_say_what_they_were_made_of() {
    each(&vec(request(), 1..4), 400, |made| {
        let bytes = made
            .iter()
            .flat_map(|(bytes, _)| bytes.clone())
            .collect::<Vec<u8>>();
        let mut expected: Vec<Message> = Vec::new();
        for (_, message) in made {
            if expected.last().is_none_or(|last| last.keep_alive) {
                expected.push(message);
            }
        }
        let read = http1::read(Role::Requests, &bytes);
        assert_eq!(read.messages, expected);
        assert_eq!(
            read.end,
            if expected.last().unwrap().keep_alive {
                End::Open
            } else {
                End::Closed
            }
        );
        agree(Role::Requests, &bytes, "well-formed requests");
    });
}

#[test]
fn responses_say_what_they_were_made_of() {
    each(&response(), 600, |(bytes, expected)| {
        let role = Role::Responses { to_head: false };
        let read = http1::read(role, &bytes);
        assert_eq!(read.messages, expected);
        agree(role, &bytes, "a well-formed response");
    });
}

#[test]
fn cuts_change_nothing() {
    each(&vec(request(), 1..4), 40, |made| {
        let bytes: Vec<u8> = made.into_iter().flat_map(|(bytes, _)| bytes).collect();
        again::check(Role::Requests, &bytes);
    });
    each(&response(), 60, |(bytes, _)| {
        again::check(Role::Responses { to_head: false }, &bytes);
    });
}

/// What we write is what hyper reads.
#[test]
fn hyper_reads_what_was_written() {
    each(&request(), 400, |(_, message)| {
        let written = again::write(Role::Requests, &message, 16);
        agree(Role::Requests, &written, "a request that was written");
        let read = hyper_peer::requests(&written, usize::MAX);
        assert_eq!(
            (read.messages.len(), read.end),
            (1, hyper_peer::End::Quiet),
            "{}",
            written.escape_ascii()
        );
        assert_eq!(read.messages[0].body, message.body);
    });
    each(&response(), 400, |(_, messages)| {
        let role = Role::Responses { to_head: false };
        let written: Vec<u8> = messages
            .iter()
            .flat_map(|message| again::write(role, message, 16))
            .collect();
        agree(role, &written, "a response that was written");
        let read = hyper_peer::response(&written, usize::MAX, false, true);
        assert_eq!(
            (read.messages.len(), read.end),
            (messages.len(), hyper_peer::End::Quiet)
        );
        assert!(read.reusable, "{}", written.escape_ascii());
        assert_eq!(read.messages.last().unwrap().body, messages.last().unwrap().body);
    });
}
