//! The ADS service of a control plane: every stream of every proxy is handed to one function.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use leno_model::bootstrap::AdsVariant;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status, Streaming};

use crate::ads::message::{ClientMessage, ServerMessage};
use crate::pb::discovery;
use crate::transport::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, LARGEST_MESSAGE, QUEUE, convert};

/// One stream of one proxy. The stream ends when this is dropped.
pub struct Connection {
    /// Which variant the proxy chose.
    pub variant: AdsVariant,
    /// Where it comes from, where that is known.
    pub peer: Option<SocketAddr>,
    requests: Requests,
    responses: mpsc::Sender<ServerMessage>,
}

enum Requests {
    Sotw(Streaming<discovery::DiscoveryRequest>),
    Delta(Streaming<discovery::DeltaDiscoveryRequest>),
}

impl Connection {
    /// The next message of the proxy; `None` when the stream is over, for whatever reason. Cancel-safe.
    pub async fn next(&mut self) -> Option<ClientMessage> {
        let message = match &mut self.requests {
            Requests::Sotw(stream) => {
                let message = stream.message().await;
                message.map(|request| request.map(convert::request_from_wire).map(ClientMessage::Sotw))
            }
            Requests::Delta(stream) => {
                let message = stream.message().await;
                message.map(|request| {
                    request
                        .map(convert::delta_request_from_wire)
                        .map(ClientMessage::Delta)
                })
            }
        };
        message.unwrap_or_else(|status| {
            tracing::debug!(peer = ?self.peer, %status, "a proxy's stream broke");
            None
        })
    }

    /// Sends a message; waits while the proxy reads slowly. `false` when the stream is over. A message of the
    /// other variant is not sent.
    pub async fn send(&mut self, message: ServerMessage) -> bool {
        self.responses.send(message).await.is_ok()
    }
}

/// Serves ADS on `listener` until `stop` is ready; then it waits until every [`Connection`] was dropped.
///
/// `accept` is called once per stream, on the server's task: it hands the connection on and returns.
///
/// # Errors
/// In the words of the transport, when the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    accept: impl Fn(Connection) + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), std::io::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_routes(routes(accept))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(std::io::Error::other)
}

/// The service alone, for a server that offers other services on the same port.
pub fn routes(accept: impl Fn(Connection) + Send + Sync + 'static) -> Routes {
    let service = Service {
        accept: Arc::new(accept),
    };
    let service = AggregatedDiscoveryServiceServer::new(service);
    Routes::new(service.max_decoding_message_size(LARGEST_MESSAGE))
}

struct Service {
    accept: Arc<dyn Fn(Connection) + Send + Sync>,
}

type Replies<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Replies<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Replies<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let peer = request.remote_addr();
        let replies = self.open(
            AdsVariant::StateOfTheWorld,
            peer,
            Requests::Sotw(request.into_inner()),
        );
        let replies = replies.filter_map(|message| match message {
            ServerMessage::Sotw(response) => Some(Ok(convert::response_to_wire(response))),
            ServerMessage::Delta(_) => None,
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let peer = request.remote_addr();
        let replies = self.open(AdsVariant::Delta, peer, Requests::Delta(request.into_inner()));
        let replies = replies.filter_map(|message| match message {
            ServerMessage::Delta(response) => Some(Ok(convert::delta_response_to_wire(response))),
            ServerMessage::Sotw(_) => None,
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

impl Service {
    fn open(
        &self,
        variant: AdsVariant,
        peer: Option<SocketAddr>,
        requests: Requests,
    ) -> ReceiverStream<ServerMessage> {
        let (responses, replies) = mpsc::channel(QUEUE);
        (self.accept)(Connection {
            variant,
            peer,
            requests,
            responses,
        });
        ReceiverStream::new(replies)
    }
}
