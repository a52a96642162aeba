//! A piece of a message that has passed all filters.

use crate::exchange::buffer::Buffer;

/// What may go on to the other side now, in this order: headers, data, trailers.
#[derive(Debug, Default)]
pub struct Flow {
    /// The headers, as [`ExchangeState::headers`](crate::exchange::ExchangeState::headers) has them.
    pub headers: bool,
    /// A part of the body.
    pub data: Buffer,
    /// The trailers, as [`ExchangeState::trailers`](crate::exchange::ExchangeState::trailers) has them.
    pub trailers: bool,
    /// The message ends with this.
    pub end: bool,
}

impl Flow {
    /// Whether nothing may go on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.headers && self.data.is_empty() && !self.trailers && !self.end
    }

    /// The message consists of headers only.
    #[must_use]
    pub fn ends_with_headers(&self) -> bool {
        self.headers && self.end && self.data.is_empty() && !self.trailers
    }

    /// The last chunk ends the message; if there is no chunk, an empty one does.
    #[must_use]
    pub fn ends_with_data(&self) -> bool {
        self.end && !self.trailers && !self.ends_with_headers()
    }
}
