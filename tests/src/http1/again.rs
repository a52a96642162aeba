//! What must hold for whatever bytes a connection brings: cuts change nothing, a message needs no byte behind it, and
//! what was read can be written and read again.

use leno_proxy::http::error::Unsendable;
use leno_proxy::http::grammar::{check_fields, is_connection_field, is_forbidden_trailer, number};
use leno_proxy::http::h1::encode::{self, BodyWriter, ResponseContext};
use leno_proxy::http::headers::Headers;
use leno_proxy::http::message::{Protocol, RequestHead, ResponseHead};

use super::{Conversation, End, Message, Role, read, read_pieces};

/// Every property below, on these bytes.
///
/// # Panics
/// One does not hold.
pub fn check(role: Role, bytes: &[u8]) -> Conversation {
    let whole = read(role, bytes);
    cut_everywhere(role, bytes, &whole);
    needs_no_byte_behind(role, bytes, &whole);
    for message in whole.messages.iter().filter(|message| message.complete) {
        is_clean(role, message);
        comes_back(role, message);
        reaches_old_clients(role, message);
    }
    whole
}

/// So many bytes are cut at every place; longer input at as many places, evenly.
const CUTS: usize = 600;

/// Two pieces with the cut at every place, and byte by byte, say what the whole says.
fn cut_everywhere(role: Role, bytes: &[u8], whole: &Conversation) {
    let step = bytes.len() / CUTS + 1;
    for at in (1..bytes.len()).step_by(step) {
        let (first, second) = bytes.split_at(at);
        assert_eq!(
            read_pieces(role, [first, second]),
            *whole,
            "cut at {at}: {}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(
        read_pieces(role, bytes.chunks(1)),
        *whole,
        "byte by byte: {}",
        bytes.escape_ascii()
    );
}

/// Complete messages stay as they are without the bytes behind them, and are not complete without their last byte.
fn needs_no_byte_behind(role: Role, bytes: &[u8], whole: &Conversation) {
    if whole.used == 0 || whole.used == bytes.len() {
        return;
    }
    let complete = whole.messages.iter().filter(|message| message.complete);
    let alone = read(role, &bytes[..whole.used]);
    assert!(
        complete.eq(&alone.messages),
        "more was needed: {}",
        bytes.escape_ascii()
    );
    let short = read(role, &bytes[..whole.used - 1]);
    let ends_with_connection = matches!(role, Role::Responses { .. }) && short.end == End::Closed;
    assert!(
        short.used < whole.used && (short.end == End::Waiting || ends_with_connection),
        "complete without its last byte: {}",
        bytes.escape_ascii()
    );
}

/// Nothing of the connection is left in what is forwarded, and all of it can be written.
fn is_clean(role: Role, message: &Message) {
    for fields in [&message.head, &message.trailers] {
        assert_eq!(check_fields(fields), Ok(()), "{message:?}");
        for (name, value) in fields.fields() {
            assert!(!is_connection_field(name), "{message:?}");
            assert!(!name.iter().any(u8::is_ascii_uppercase), "{message:?}");
            assert!(!value.starts_with(b" ") && !value.ends_with(b" "), "{message:?}");
            assert!(
                !value.starts_with(b"\t") && !value.ends_with(b"\t"),
                "{message:?}"
            );
        }
    }
    assert!(
        message
            .trailers
            .iter()
            .all(|(name, _)| !is_forbidden_trailer(name)),
        "{message:?}"
    );
    if role == Role::Requests {
        assert!(
            !message.head.contains(b"host") && !message.head.contains(b"expect"),
            "{message:?}"
        );
        assert!(message.head.pseudo().count() == 4, "{message:?}");
    } else {
        assert!(message.head.pseudo().count() == 1, "{message:?}");
    }
}

/// Written and read again it is the same message; written once more they are the same bytes.
fn comes_back(role: Role, message: &Message) {
    let written = write(role, message, 7);
    let again = read(role, &written);
    let expected = framed(role, message);
    assert_eq!(
        again.messages.len(),
        1,
        "{message:?}\nwas written as {}",
        written.escape_ascii()
    );
    let read = &again.messages[0];
    assert_eq!(expected, framed(role, read), "{}", written.escape_ascii());
    assert_eq!(again.used, written.len(), "{}", written.escape_ascii());
    assert!(
        again.end == End::Open && read.complete,
        "{}",
        written.escape_ascii()
    );
    let pieces_of_another_size = write(role, read, 1000);
    let twice = write(role, &read_one(role, &pieces_of_another_size), 7);
    assert_eq!(
        written.escape_ascii().to_string(),
        twice.escape_ascii().to_string()
    );
}

fn read_one(role: Role, bytes: &[u8]) -> Message {
    let mut messages = read(role, bytes).messages;
    assert_eq!(messages.len(), 1, "{}", bytes.escape_ascii());
    messages.remove(0)
}

/// An HTTP/1.0 client gets the body without chunks, and its end with the connection where no length was announced.
fn reaches_old_clients(role: Role, message: &Message) {
    let Role::Responses { to_head } = role else {
        return;
    };
    let context = ResponseContext {
        protocol: Protocol::Http10,
        to_head,
        close: false,
    };
    if message
        .head
        .get(b":status")
        .is_some_and(|status| status.starts_with(b"1"))
    {
        return;
    }
    let written = write_response(message, 7, context);
    let line = b"\r\ntransfer-encoding:";
    let in_chunks = written
        .windows(line.len())
        .take_while(|part| !part.starts_with(b"\r\n\r\n"));
    assert!(
        !in_chunks.into_iter().any(|part| part == line),
        "{}",
        written.escape_ascii()
    );
    let again = read_one(role, &written);
    let (head, body, _) = framed(role, message);
    let none = Headers::new();
    assert_eq!(
        (head, body, &none),
        framed(role, &again),
        "{}",
        written.escape_ascii()
    );
    assert!(again.complete, "{}", written.escape_ascii());
}

/// Head, body and trailers, without scheme and length: how a body is framed is for each connection to say. Where there is no
/// body it is information, and stays.
fn framed(role: Role, message: &Message) -> (Headers, &[u8], &Headers) {
    let mut head = message.head.clone();
    let status = head.get(b":status").unwrap_or_default().to_vec();
    let informs = role == Role::Responses { to_head: true } || status == b"304";
    let length = head.get(b"content-length").map(<[u8]>::to_vec);
    head.remove(b"content-length");
    if let Some(length) = length.filter(|_| informs) {
        // It stands last in what we write.
        head.append(
            b"content-length",
            number(&length).unwrap_or(0).to_string().as_bytes(),
        );
    }
    if role == Role::Requests && head.remove(b"te") {
        // So does this, where it is kept at all.
        head.append(b"te", b"trailers");
    }
    // The scheme stands nowhere in what an origin is sent.
    head.remove(b":scheme");
    (head, &message.body, &message.trailers)
}

/// The message as we write it for a peer of our own version, with a body in pieces of this size.
///
/// # Panics
/// It cannot be written: what is read must be.
#[must_use]
pub fn write(role: Role, message: &Message, piece: usize) -> Vec<u8> {
    let to_head = match role {
        Role::Requests => return write_request(message, piece),
        Role::Responses { to_head } => to_head,
    };
    let context = ResponseContext {
        protocol: Protocol::Http11,
        to_head,
        close: false,
    };
    write_response(message, piece, context)
}

fn write_request(message: &Message, piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let head = RequestHead {
        headers: message.head.clone(),
        protocol: message.protocol,
    };
    let writer = sendable(encode::request(&mut out, &head, ends_with_head(message)), message);
    write_body(out, writer, message, piece)
}

fn write_response(message: &Message, piece: usize, context: ResponseContext) -> Vec<u8> {
    let mut out = Vec::new();
    let head = ResponseHead {
        headers: message.head.clone(),
    };
    if head.is_informational() {
        sendable(encode::informational(&mut out, &head), message);
        return out;
    }
    let end = ends_with_head(message);
    let writer = sendable(encode::response(&mut out, &head, end, context), message);
    write_body(out, writer, message, piece)
}

fn ends_with_head(message: &Message) -> bool {
    message.body.is_empty() && message.trailers.is_empty()
}

fn write_body(mut out: Vec<u8>, mut writer: BodyWriter, message: &Message, piece: usize) -> Vec<u8> {
    let mut left = message.body.chunks(piece).peekable();
    while let Some(data) = left.next() {
        let last = left.peek().is_none() && message.trailers.is_empty();
        let wrapped = sendable(writer.data(&mut out, data.len(), last), message);
        if wrapped.sent {
            out.extend_from_slice(data);
        }
        out.extend_from_slice(wrapped.after);
    }
    if !message.trailers.is_empty() {
        sendable(writer.trailers(&mut out, &message.trailers), message);
    }
    out
}

fn sendable<T>(written: Result<T, Unsendable>, message: &Message) -> T {
    written.unwrap_or_else(|error| panic!("{error}: {message:?}"))
}
