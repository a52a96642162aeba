//! What a filter sees of an exchange: [`Handle`], and one view on top of it per callback.

use std::ops::Deref;

use crate::context::{Context, mix};
use crate::fields::Fields;
#[cfg(target_family = "wasm")]
use crate::host::ExchangeHost as _;
use crate::host::{Direction, ExchangeRef, Map};
use crate::property::{Property, join};
use crate::reply::Reply;

/// One exchange. Cloning it is cheap; a clone may be kept to act on the exchange from another callback, for example
/// when an answer that it waits for arrives. After the end of the exchange it does nothing.
#[derive(Clone)]
pub struct Handle {
    host: ExchangeRef,
    context: Context,
}

impl Handle {
    pub(crate) fn new(host: ExchangeRef, context: Context) -> Self {
        Self { host, context }
    }

    /// Unique within the proxy's life (in other people's Proxy-Wasm hosts: within the life of the VM).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.host.id()
    }

    /// What does not depend on the exchange.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// One of the maps.
    #[must_use]
    pub fn fields(&self, map: Map) -> Fields<'_> {
        Fields::new(self, map)
    }

    /// An attribute, by the segments of its name: `["request", "headers", "x-id"]`.
    #[must_use]
    pub fn property(&self, path: &[&str]) -> Property {
        let mut value = Vec::new();
        Property::new(self.host.property(&join(path), &mut value).ok().map(|()| value))
    }

    /// Stores a value that later filters of this exchange can read as an attribute.
    pub fn set_property(&self, name: &str, value: impl AsRef<[u8]>) {
        self.host.set_property(name.as_bytes(), value.as_ref());
    }

    /// Begins an answer instead of the upstream's.
    pub fn reply(&self, status: u16) -> Reply<'_> {
        Reply::new(self, status)
    }

    /// Lets a half go on that this filter holds.
    pub fn resume(&self, direction: Direction) {
        self.host.resume(direction);
    }

    /// Ends the exchange without an answer.
    pub fn reset(&self) {
        self.host.reset();
    }

    /// Has the route chosen again from the headers as they are when this filter lets them go.
    pub fn clear_route_cache(&self) {
        self.host.clear_route_cache();
    }

    /// 64 bits that another exchange will hardly see. Good for ids and percentages, not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        mix(self.context.random() ^ mix(self.host.id()))
    }

    /// The object below, for what this view does not offer.
    #[must_use]
    pub fn host(&self) -> &ExchangeRef {
        &self.host
    }
}

macro_rules! view {
    ($view:ident) => {
        impl Deref for $view<'_> {
            type Target = Handle;

            fn deref(&self) -> &Handle {
                self.handle
            }
        }

        impl $view<'_> {
            /// The exchange, to keep.
            #[must_use]
            pub fn handle(&self) -> Handle {
                self.handle.clone()
            }
        }
    };
}

/// A request, in the callbacks for its headers and trailers.
pub struct Request<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) end: bool,
}
view!(Request);

impl Request<'_> {
    /// Its fields; `:method`, `:path`, `:authority` and `:scheme` first.
    #[must_use]
    pub fn headers(&self) -> Fields<'_> {
        self.handle.fields(Map::RequestHeaders)
    }

    /// Its trailers.
    #[must_use]
    pub fn trailers(&self) -> Fields<'_> {
        self.handle.fields(Map::RequestTrailers)
    }

    /// `:method`.
    #[must_use]
    pub fn method(&self) -> Vec<u8> {
        self.headers().get(":method").unwrap_or_default()
    }

    /// `:path`, with the query.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        self.headers().get(":path").unwrap_or_default()
    }

    /// `:authority`.
    #[must_use]
    pub fn authority(&self) -> Vec<u8> {
        self.headers().get(":authority").unwrap_or_default()
    }

    /// Nothing follows.
    #[must_use]
    pub fn end(&self) -> bool {
        self.end
    }
}

/// A response, in the callbacks for its headers and trailers.
pub struct Response<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) end: bool,
}
view!(Response);

impl Response<'_> {
    /// Its fields; `:status` first.
    #[must_use]
    pub fn headers(&self) -> Fields<'_> {
        self.handle.fields(Map::ResponseHeaders)
    }

    /// Its trailers.
    #[must_use]
    pub fn trailers(&self) -> Fields<'_> {
        self.handle.fields(Map::ResponseTrailers)
    }

    /// `:status`; nothing if it is not a number.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.headers().text(":status")?.parse().ok()
    }

    /// Nothing follows.
    #[must_use]
    pub fn end(&self) -> bool {
        self.end
    }
}

/// A part of a body, or all of it that is held.
pub struct Body<'a> {
    pub(crate) handle: &'a Handle,
    pub(crate) direction: Direction,
    pub(crate) size: usize,
    pub(crate) end: bool,
}
view!(Body);

impl Body<'_> {
    /// Bytes visible in this callback, as it began.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size
    }

    /// Nothing is visible. The last callback of a body often is like that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Nothing follows, no trailers either.
    #[must_use]
    pub fn end(&self) -> bool {
        self.end
    }

    /// Which body.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// All that is visible.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.read(0, usize::MAX)
    }

    /// At most `len` bytes from `start`.
    #[must_use]
    pub fn read(&self, start: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.handle.host.body_read(self.direction, start, len, &mut bytes);
        bytes
    }

    /// Replaces all that is visible. A body of another length must not belie its headers: hold them
    /// ([`HeadersVerdict::HoldHeaders`](crate::HeadersVerdict::HoldHeaders)) until the body is complete, and the proxy
    /// corrects `content-length`; or remove `content-length` from them. Otherwise the exchange fails.
    pub fn replace(&self, bytes: impl AsRef<[u8]>) {
        self.splice(0, usize::MAX, bytes);
    }

    /// Replaces `len` bytes from `start`.
    pub fn splice(&self, start: usize, len: usize, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self
            .handle
            .host
            .body_splice(self.direction, start, len, bytes.as_ref())
        {
            self.handle.context.warn(format_args!(
                "{:?} body: cannot change it: {error}",
                self.direction
            ));
        }
    }

    /// The headers of the same message, as long as they are held.
    #[must_use]
    pub fn headers(&self) -> Fields<'_> {
        self.handle.fields(match self.direction {
            Direction::Request => Map::RequestHeaders,
            Direction::Response => Map::ResponseHeaders,
        })
    }
}

/// An exchange that is over.
pub struct Log<'a> {
    pub(crate) handle: &'a Handle,
}
view!(Log);

impl Log<'_> {
    /// As they were last seen.
    #[must_use]
    pub fn request_headers(&self) -> Fields<'_> {
        self.handle.fields(Map::RequestHeaders)
    }

    /// Empty if there was no response.
    #[must_use]
    pub fn response_headers(&self) -> Fields<'_> {
        self.handle.fields(Map::ResponseHeaders)
    }

    /// Empty if there were none.
    #[must_use]
    pub fn response_trailers(&self) -> Fields<'_> {
        self.handle.fields(Map::ResponseTrailers)
    }
}
