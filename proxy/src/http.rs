//! HTTP on connections: one small interface over HTTP/1 and HTTP/2, for both sides of the proxy.
//!
//! Downstream, a [`ServerConnection`](server::ServerConnection) yields exchanges: a head, a
//! [`RequestBody`](server::RequestBody) to read and a [`ResponseWriter`](server::ResponseWriter) to write. Upstream,
//! an [`H1Client`](client::H1Client) or [`H2Client`](client::H2Client) opens exchanges: a
//! [`RequestWriter`](client::RequestWriter) and a [`ResponseReader`](client::ResponseReader). The four halves are
//! the same for both versions, and all are used from one task per exchange.
//!
//! - What comes in has passed the message grammar ([`grammar`]); what goes out is checked before its first byte.
//! - Framing is ours: connection-specific fields never pass, `content-length` and `transfer-encoding` are computed.
//!   Who changes the length of a body removes `content-length`; a body that does not fit it is refused.
//! - Bytes move when somebody waits: reading stops when `frame` is not awaited (HTTP/2 windows open only then), and
//!   `data` waits for room. A head may stay behind for the first piece of its body, to leave in one write with it.
//! - `frame`, `head` of a reader, `gone` and `accept` are cancel safe. A cancelled `data` may have sent a part:
//!   nothing but the end of the exchange can follow it.
//! - An exchange that is dropped before its end is visibly incomplete for the peer.
//! - CONNECT and protocol upgrades are refused; `upgrade: h2c` is ignored.

pub mod client;
pub mod error;
pub mod grammar;
pub mod h1;
mod h2;
pub mod headers;
pub mod io;
pub mod message;
pub mod server;
pub mod settings;
#[cfg(test)]
mod tests;
