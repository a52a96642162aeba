//! The HTTP/1 codec driven as a connection drives it: bytes in pieces, messages out. No IO and no clock.
//!
//! What a [`Conversation`] says must not depend on how the bytes were cut: suites and fuzz targets compare on that.

pub mod again;

pub mod cases;

use bytes::{Buf, BytesMut};
use leno_proxy::http::error::Malformed;
use leno_proxy::http::h1::body::{BodyEvent, BodyReader};
use leno_proxy::http::h1::parse::{HeadReader, RequestRules};
use leno_proxy::http::headers::Headers;
use leno_proxy::http::message::Protocol;
use leno_proxy::http::settings::Limits;

/// Whose messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Of clients.
    Requests,
    /// Of servers.
    Responses {
        /// The requests are HEAD.
        to_head: bool,
    },
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Pseudo headers and fields, as the codec gives them.
    pub head: Headers,
    /// HTTP/1.0 or HTTP/1.1; always the latter for responses, of which the codec does not tell.
    pub protocol: Protocol,
    /// All pieces of its body.
    pub body: Vec<u8>,
    /// The fields after the body.
    pub trailers: Headers,
    /// Its end was seen.
    pub complete: bool,
    /// Another message may follow.
    pub keep_alive: bool,
}

/// How reading came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// After the last message, which leaves the connection open.
    Open,
    /// After a message that ends the connection; nothing behind it is read.
    Closed,
    /// Within a message: more bytes could complete it.
    Waiting,
    /// This is no message.
    Refused(Malformed),
}

/// What was read from one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// In order. Only the last one may be incomplete.
    pub messages: Vec<Message>,
    /// Why there are no more.
    pub end: End,
    /// So many bytes belong to complete messages.
    pub used: usize,
}

/// Reads messages from bytes as they come.
#[derive(Debug)]
pub struct Reader {
    role: Role,
    input: BytesMut,
    fed: usize,
    heads: HeadReader,
    body: Option<BodyReader>,
    so_far: Conversation,
}

/// How requests are read here: the defaults, with HTTP/1.0.
pub const RULES: RequestRules = RequestRules {
    limits: LIMITS,
    accept_http_10: true,
    encrypted: false,
};

const LIMITS: Limits = Limits {
    bytes: 60 << 10,
    fields: 100,
};

/// What changed messages are made of, beside their own bytes.
pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b":",
    b";",
    b",",
    b"\"",
    b"0",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b";a=b",
    b";a=\"b;c\"",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"CONNECT a:1",
    b"OPTIONS *",
    b"http://b.test",
    b"?x",
    b"%zz",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"transfer-encoding: identity\r\n",
    b"connection: close\r\n",
    b"connection: x-one, te\r\n",
    b"te: trailers\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\n",
    b"host: a\r\n",
    b"x: y\r\n z\r\n",
    b"x-one : 1\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"304",
    b"101",
];

/// What `bytes` say when they come at once and the connection ends behind them.
#[must_use]
pub fn read(role: Role, bytes: &[u8]) -> Conversation {
    read_pieces(role, [bytes])
}

/// What the pieces say when they come one after the other and the connection ends behind them.
#[must_use]
pub fn read_pieces<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Conversation {
    let mut reader = Reader::new(role);
    for piece in pieces {
        reader.feed(piece);
    }
    reader.finish()
}

impl Reader {
    /// At the start of a connection.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            input: BytesMut::new(),
            fed: 0,
            heads: HeadReader::default(),
            body: None,
            so_far: Conversation {
                messages: Vec::new(),
                end: End::Open,
                used: 0,
            },
        }
    }

    /// Reads as far as the bytes go.
    pub fn feed(&mut self, piece: &[u8]) {
        if !matches!(self.so_far.end, End::Open | End::Waiting) {
            return;
        }
        self.input.extend_from_slice(piece);
        self.fed += piece.len();
        loop {
            let step = if self.body.is_some() {
                self.frame()
            } else {
                self.head()
            };
            match step {
                Ok(true) => {}
                Ok(false) => return,
                Err(reason) => {
                    self.so_far.end = End::Refused(reason);
                    return;
                }
            }
        }
    }

    /// What was said so far, on a connection that stays open.
    #[must_use]
    pub fn so_far(&self) -> &Conversation {
        &self.so_far
    }

    /// The connection ends here.
    #[must_use]
    pub fn finish(mut self) -> Conversation {
        if self.so_far.end == End::Waiting {
            let lone = matches!(&self.input[..], b"\r" | b"\r\n");
            let ends = self.body.as_mut().is_some_and(BodyReader::ends_with_connection);
            if ends {
                self.complete();
            } else if self.role == Role::Requests && self.body.is_none() && lone {
                // A line end after a request is no beginning of another.
                self.so_far.end = End::Open;
            }
        }
        self.so_far
    }

    /// Whether a head was there.
    fn head(&mut self) -> Result<bool, Malformed> {
        let kept = self.so_far.messages.last().is_none_or(|last| last.keep_alive);
        if !kept {
            self.so_far.end = End::Closed;
            return Ok(false);
        }
        if self.input.is_empty() {
            self.so_far.end = if self.fed == self.so_far.used {
                End::Open
            } else {
                End::Waiting
            };
            return Ok(false);
        }
        let found = match self.role {
            Role::Requests => {
                let found = self.heads.request(&self.input, &RULES)?;
                found.map(|(start, length)| {
                    let protocol = start.head.protocol;
                    (
                        start.head.headers,
                        protocol,
                        start.framing,
                        start.keep_alive,
                        length,
                    )
                })
            }
            Role::Responses { to_head } => {
                let found = self.heads.response(&self.input, &LIMITS, to_head)?;
                found.map(|(start, length)| {
                    let keep_alive = start.keep_alive || start.head.is_informational();
                    (
                        start.head.headers,
                        Protocol::Http11,
                        start.framing,
                        keep_alive,
                        length,
                    )
                })
            }
        };
        let Some((head, protocol, framing, keep_alive, length)) = found else {
            self.so_far.end = End::Waiting;
            return Ok(false);
        };
        self.input.advance(length);
        self.body = Some(BodyReader::new(framing, LIMITS));
        self.so_far.messages.push(Message {
            head,
            protocol,
            body: Vec::new(),
            trailers: Headers::new(),
            complete: false,
            keep_alive,
        });
        Ok(true)
    }

    /// Whether there was something of the body.
    fn frame(&mut self) -> Result<bool, Malformed> {
        let (Some(body), Some(message)) = (&mut self.body, self.so_far.messages.last_mut()) else {
            return Ok(false);
        };
        match body.next(&mut self.input)? {
            Some(BodyEvent::Data(bytes)) => {
                assert!(!bytes.is_empty(), "an empty piece of body");
                assert!(message.trailers.is_empty(), "body after trailers");
                message.body.extend_from_slice(&bytes);
            }
            Some(BodyEvent::Trailers(trailers)) => {
                assert!(!trailers.is_empty(), "empty trailers");
                message.trailers = trailers;
            }
            Some(BodyEvent::End) => self.complete(),
            None => {
                self.so_far.end = End::Waiting;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn complete(&mut self) {
        self.body = None;
        self.so_far.used = self.fed - self.input.len();
        if let Some(message) = self.so_far.messages.last_mut() {
            message.complete = true;
            self.so_far.end = if message.keep_alive {
                End::Open
            } else {
                End::Closed
            };
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Message")
            .field("head", &self.head)
            .field("protocol", &self.protocol)
            .field("body", &self.body.escape_ascii().to_string())
            .field("trailers", &self.trailers)
            .field("complete", &self.complete)
            .field("keep_alive", &self.keep_alive)
            .finish()
    }
}
