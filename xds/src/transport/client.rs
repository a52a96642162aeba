//! One ADS stream of a proxy.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use leno_model::bootstrap::AdsVariant;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::ads::message::{ClientMessage, ServerMessage};
use crate::pb::discovery;
use crate::transport::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, LARGEST_MESSAGE, QUEUE, convert};

/// Why there is no stream, or no stream any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error("cannot connect to the control plane at {address}: {reason}")]
    Connect {
        /// As it was given.
        address: String,
        /// From the transport.
        reason: String,
    },
    /// The server ended the stream with a status, or the connection broke.
    #[error("the stream of the control plane ended: {code}: {message}")]
    Ended {
        /// The name of the gRPC status.
        code: String,
        /// In the words of the server or the transport.
        message: String,
    },
    /// The server ended the stream in good order.
    #[error("the control plane closed the stream")]
    Closed,
}

/// A stream that stands, or is about to: a server may wait for the first request before it says anything.
pub struct Stream {
    variant: AdsVariant,
    up: mpsc::Sender<ClientMessage>,
    down: Down,
}

type Opening<T> = Pin<Box<dyn Future<Output = Result<Streaming<T>, Status>> + Send>>;

enum Down {
    SotwOpening(Opening<discovery::DiscoveryResponse>),
    Sotw(Streaming<discovery::DiscoveryResponse>),
    DeltaOpening(Opening<discovery::DeltaDiscoveryResponse>),
    Delta(Streaming<discovery::DeltaDiscoveryResponse>),
}

/// Connects to `address` (`host:port`) within `timeout` and opens a stream of this variant.
///
/// # Errors
/// [`Error::Connect`].
pub async fn connect(address: &str, variant: AdsVariant, timeout: Duration) -> Result<Stream, Error> {
    let refused = |reason: String| Error::Connect {
        address: address.to_owned(),
        reason,
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| refused(chain(&error)))?
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect().await.map_err(|error| refused(chain(&error)))?;
    Ok(Stream::open(channel, variant))
}

impl Stream {
    fn open(channel: Channel, variant: AdsVariant) -> Self {
        let (up, requests) = mpsc::channel(QUEUE);
        let requests = ReceiverStream::new(requests);
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        let down = match variant {
            AdsVariant::StateOfTheWorld => {
                let requests = requests.filter_map(|message| match message {
                    ClientMessage::Sotw(request) => Some(convert::request_to_wire(request)),
                    ClientMessage::Delta(_) => None,
                });
                Down::SotwOpening(Box::pin(async move {
                    client
                        .stream_aggregated_resources(requests)
                        .await
                        .map(tonic::Response::into_inner)
                }))
            }
            AdsVariant::Delta => {
                let requests = requests.filter_map(|message| match message {
                    ClientMessage::Delta(request) => Some(convert::delta_request_to_wire(request)),
                    ClientMessage::Sotw(_) => None,
                });
                Down::DeltaOpening(Box::pin(async move {
                    client
                        .delta_aggregated_resources(requests)
                        .await
                        .map(tonic::Response::into_inner)
                }))
            }
        };
        Self { variant, up, down }
    }

    /// Which variant the stream speaks; messages of the other one are not sent.
    pub fn variant(&self) -> AdsVariant {
        self.variant
    }

    /// A handle that sends, so that sending need not wait for [`Stream::next`].
    pub fn sender(&self) -> mpsc::Sender<ClientMessage> {
        self.up.clone()
    }

    /// Queues a message; waits while too many are queued. Nothing moves unless somebody awaits [`Stream::next`].
    ///
    /// # Errors
    /// [`Error::Closed`]; `next` says more.
    pub async fn send(&mut self, message: ClientMessage) -> Result<(), Error> {
        self.up.send(message).await.map_err(|_| Error::Closed)
    }

    /// The next message of the server. Cancel-safe.
    ///
    /// # Errors
    /// Why the stream is over. After an error it stays over.
    pub async fn next(&mut self) -> Result<ServerMessage, Error> {
        loop {
            match &mut self.down {
                Down::SotwOpening(opening) => {
                    let opened = opening.await.map_err(ended)?;
                    self.down = Down::Sotw(opened);
                }
                Down::DeltaOpening(opening) => {
                    let opened = opening.await.map_err(ended)?;
                    self.down = Down::Delta(opened);
                }
                Down::Sotw(stream) => {
                    let response = stream.message().await.map_err(ended)?.ok_or(Error::Closed)?;
                    return Ok(ServerMessage::Sotw(convert::response_from_wire(response)));
                }
                Down::Delta(stream) => {
                    let response = stream.message().await.map_err(ended)?.ok_or(Error::Closed)?;
                    return Ok(ServerMessage::Delta(convert::delta_response_from_wire(response)));
                }
            }
        }
    }
}

fn ended(status: Status) -> Error {
    let source = std::error::Error::source(&status).map(chain);
    Error::Ended {
        code: format!("{:?}", status.code()),
        message: match source {
            Some(source) => format!("{}: {source}", status.message()),
            None => status.message().to_owned(),
        },
    }
}

/// An error with all its causes: the outermost one of a transport says no more than "transport error".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
