//! hyper as the other reader of the same bytes: its server for requests, its client for responses. No runtime, no
//! clock: a connection in memory is polled until nothing moves, so that "it waits for more" is seen, not guessed.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use leno_proxy::http::message::Protocol;

/// A message as hyper gives it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Of requests.
    pub(crate) line: Option<(Method, http::Uri)>,
    /// Of responses.
    pub(crate) status: Option<u16>,
    pub(crate) protocol: Protocol,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    pub(crate) complete: bool,
}

/// How hyper came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Without complaint, or still listening.
    Quiet,
    /// More bytes could complete the message.
    Waiting,
    /// This is no message.
    Refused(String),
}

/// What hyper reads.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) messages: Vec<Seen>,
    pub(crate) end: End,
    /// Client only: another request could be sent.
    pub(crate) reusable: bool,
}

/// hyper's server reads these bytes, in reads of at most `piece`, and then the end of the connection.
pub(crate) fn requests(bytes: &[u8], piece: usize) -> Reading {
    let seen: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let trouble: Rc<RefCell<Option<End>>> = Rc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (seen, trouble) = (Rc::clone(&seen), Rc::clone(&trouble));
        async move {
            let (head, body) = request.into_parts();
            let index = seen.borrow().len();
            seen.borrow_mut().push(Seen {
                line: Some((head.method, head.uri)),
                status: None,
                protocol: protocol(head.version),
                fields: head.headers,
                body: Vec::new(),
                trailers: HeaderMap::new(),
                complete: false,
            });
            let ended = collect(body, |change| change(&mut seen.borrow_mut()[index])).await;
            if let Err(end) = ended {
                *trouble.borrow_mut() = Some(end);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let pipe = Pipe::new(bytes, piece, false).that_speaks_first();
    let connection = builder.serve_connection(pipe, service);
    let mut connection = pin!(connection);
    let mut result = None;
    settle(|cx| {
        if result.is_none()
            && let Poll::Ready(ended) = connection.as_mut().poll(cx)
        {
            result = Some(ended);
        }
    });
    let end = trouble.borrow_mut().take().unwrap_or_else(|| match result {
        Some(Ok(())) => End::Quiet,
        Some(Err(error)) => trouble_of(&error),
        None => End::Waiting,
    });
    let messages = std::mem::take(&mut *seen.borrow_mut());
    Reading {
        messages,
        end,
        reusable: false,
    }
}

/// hyper's client sends a request and reads these bytes as its response, then the end of the connection unless it
/// `stays_open`.
pub(crate) fn response(bytes: &[u8], piece: usize, to_head: bool, stays_open: bool) -> Reading {
    let seen: Rc<RefCell<Vec<Seen>>> = Rc::default();
    let informational: Arc<std::sync::Mutex<Vec<(u16, HeaderMap)>>> = Arc::default();
    let trouble: Rc<RefCell<Option<End>>> = Rc::default();
    let ready: Rc<RefCell<bool>> = Rc::default();
    let handshake = hyper::client::conn::http1::handshake(Pipe::new(bytes, piece, stays_open));
    let (mut sender, connection) = match pin!(handshake).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(both)) => both,
        other => panic!("a handshake without bytes: {}", other.is_ready()),
    };
    let exchange = async {
        let mut request = Request::new(Empty::<Bytes>::new());
        if to_head {
            *request.method_mut() = Method::HEAD;
        }
        request
            .headers_mut()
            .insert("host", http::HeaderValue::from_static("a.test"));
        let heads = Arc::clone(&informational);
        hyper::ext::on_informational(&mut request, move |head| {
            let mut heads = heads.lock().expect("one thread");
            heads.push((head.status().as_u16(), head.headers().clone()));
        });
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                *trouble.borrow_mut() = Some(trouble_of(&error));
                return;
            }
        };
        let (head, body) = response.into_parts();
        seen.borrow_mut().push(Seen {
            line: None,
            status: Some(head.status.as_u16()),
            protocol: Protocol::Http11,
            fields: head.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
            complete: false,
        });
        let ended = collect(body, |change| change(&mut seen.borrow_mut()[0])).await;
        if let Err(end) = ended {
            *trouble.borrow_mut() = Some(end);
            return;
        }
        *ready.borrow_mut() = poll_fn(|cx| sender.poll_ready(cx)).await.is_ok();
        // Held, so that the connection does not end because nobody wants it.
        std::future::pending::<()>().await;
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let (mut over, mut ended) = (false, false);
    settle(|cx| {
        over = over || exchange.as_mut().poll(cx).is_ready();
        ended = ended || connection.as_mut().poll(cx).is_ready();
    });
    let done = seen.borrow().first().is_some_and(|first| first.complete);
    let end = match trouble.borrow_mut().take() {
        Some(end) => end,
        None if done => End::Quiet,
        None => End::Waiting,
    };
    let reusable = done && !ended && *ready.borrow();
    let mut messages: Vec<Seen> = informational
        .lock()
        .expect("one thread")
        .drain(..)
        .map(interim)
        .collect();
    messages.append(&mut seen.borrow_mut());
    Reading {
        messages,
        end,
        reusable,
    }
}

fn interim((status, fields): (u16, HeaderMap)) -> Seen {
    Seen {
        line: None,
        status: Some(status),
        protocol: Protocol::Http11,
        fields,
        body: Vec::new(),
        trailers: HeaderMap::new(),
        complete: true,
    }
}

async fn collect(mut body: Incoming, mut change: impl FnMut(&mut dyn FnMut(&mut Seen))) -> Result<(), End> {
    while let Some(frame) = body.frame().await {
        let mut frame = Some(frame.map_err(|error| trouble_of(&error))?);
        change(
            &mut |seen| match frame.take().map(hyper::body::Frame::into_data) {
                Some(Ok(data)) => seen.body.extend_from_slice(&data),
                Some(Err(other)) => seen.trailers = other.into_trailers().unwrap_or_default(),
                None => {}
            },
        );
    }
    change(&mut |seen| seen.complete = true);
    Ok(())
}

/// Whether hyper wants more bytes or none of these.
fn trouble_of(error: &hyper::Error) -> End {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        let ended = one
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
        let incomplete = one
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_incomplete_message);
        if ended || incomplete {
            return End::Waiting;
        }
        cause = one.source();
    }
    End::Refused(format!("{error:?}"))
}

fn protocol(version: Version) -> Protocol {
    if version == Version::HTTP_10 {
        Protocol::Http10
    } else {
        Protocol::Http11
    }
}

/// Polls until nobody has woken anybody.
fn settle(mut poll: impl FnMut(&mut Context<'_>)) {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut polls = 0;
    while flag.0.swap(false, Ordering::Relaxed) {
        poll(&mut Context::from_waker(&waker));
        polls += 1;
        assert!(polls < 1_000_000, "hyper does not come to rest");
    }
}

/// One end of a connection. What is written to it is dropped; the first write brings the answer, all that is read.
struct Pipe {
    input: Vec<u8>,
    at: usize,
    piece: usize,
    stays_open: bool,
    speaks: bool,
    reader: Option<Waker>,
}

impl Pipe {
    fn new(input: &[u8], piece: usize, stays_open: bool) -> Self {
        Self {
            input: input.to_vec(),
            at: 0,
            piece,
            stays_open,
            speaks: false,
            reader: None,
        }
    }

    fn that_speaks_first(mut self) -> Self {
        self.speaks = true;
        self
    }
}

impl Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.input.len() - self.at;
        if !self.speaks || (left == 0 && self.stays_open) {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = left.min(self.piece).min(into.remaining());
        into.put_slice(&self.input[self.at..][..length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.speaks = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
