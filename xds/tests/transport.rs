//! ADS over real sockets: a control plane and a proxy that speak through gRPC.

use std::sync::Arc;
use std::time::Duration;

use leno_model::bootstrap::AdsVariant;
use leno_model::cluster::{Cluster, Discovery};
use leno_model::endpoint::{LoadAssignment, Locality};
use leno_model::snapshot::Snapshot;
use leno_xds::ads::client::{Session as Client, Update, Wanted};
use leno_xds::ads::message::Node;
use leno_xds::ads::published::Published;
use leno_xds::ads::server::{Event, Session as Server};
use leno_xds::resource::Kind;
use leno_xds::transport::client::{Error, Stream, connect};
use leno_xds::transport::server::{Connection, serve};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Far above what any step takes; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("it took too long")
}

struct ControlPlane {
    address: String,
    connections: mpsc::Receiver<Connection>,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<Result<(), std::io::Error>>,
}

async fn control_plane() -> ControlPlane {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let (accepted, connections) = mpsc::channel(4);
    let (stop, stopped) = oneshot::channel();
    let accept = move |connection| accepted.try_send(connection).expect("room for a stream");
    let server = tokio::spawn(serve(listener, accept, async {
        stopped.await.ok();
    }));
    ControlPlane {
        address,
        connections,
        stop,
        server,
    }
}

fn snapshot(cluster: &str) -> Arc<Published> {
    let mut snapshot = Snapshot::default();
    let assignment = LoadAssignment {
        cluster: cluster.to_owned(),
        ..LoadAssignment::default()
    };
    let cluster = Cluster::new(cluster, Discovery::Static(Arc::new(assignment)));
    snapshot.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    Arc::new(Published::new(&snapshot, None))
}

fn node() -> Node {
    Node {
        id: "proxy-1".to_owned(),
        cluster: "shop".to_owned(),
        metadata: r#"{"LABELS":{"app":"a"},"REPLICAS":3}"#.to_owned(),
        locality: Locality {
            region: "eu".to_owned(),
            ..Locality::default()
        },
        user_agent_name: "leno".to_owned(),
        user_agent_version: "1.2.3".to_owned(),
    }
}

/// Reads one update and answers it.
async fn take(client: &mut Client, stream: &mut Stream) -> Update {
    let update = client
        .on_message(in_time(stream.next()).await.expect("a message"))
        .expect("asked for");
    if let Some(answer) = client.answer(update.kind, Vec::new()) {
        stream.send(answer).await.expect("open");
    }
    update
}

async fn conversation(variant: AdsVariant) {
    let mut control_plane = control_plane().await;
    let mut client = Client::new(node(), variant);
    client.subscribe(Kind::Cluster, Wanted::All);
    let mut stream = in_time(connect(&control_plane.address, variant, DEADLINE))
        .await
        .expect("connected");
    for message in client.on_connected() {
        stream.send(message).await.expect("open");
    }
    let proxy = tokio::spawn(async move {
        let first = take(&mut client, &mut stream).await;
        let second = take(&mut client, &mut stream).await;
        let third = take(&mut client, &mut stream).await;
        ([first, second, third], in_time(stream.next()).await)
    });
    let mut connection = in_time(control_plane.connections.recv()).await.expect("a stream");
    assert_eq!(connection.variant, variant);
    assert!(connection.peer.is_some_and(|peer| peer.ip().is_loopback()));
    let mut server = Server::new("test", variant);
    server.publish(snapshot("first"));
    let mut accepted = 0;
    while accepted < 3 {
        let message = in_time(connection.next()).await.expect("a message");
        let reaction = server.on_message(message);
        let mut replies = reaction.messages;
        for event in reaction.events {
            match event {
                Event::Connected(who) => assert_eq!(who, node()),
                Event::Accepted {
                    kind: Kind::Cluster, ..
                } => {
                    accepted += 1;
                    if accepted == 1 {
                        replies.extend(server.publish(snapshot("second")));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        for reply in replies {
            assert!(connection.send(reply).await);
        }
    }
    drop(connection);
    let (updates, end) = in_time(proxy).await.expect("the proxy did not panic");
    let has = |update: &Update, name: &str| {
        update
            .resources
            .iter()
            .any(|(resource, _)| resource.name() == name)
    };
    assert!(has(&updates[0], "first"));
    assert!(
        has(&updates[1], "second") && updates[1].removed.is_empty(),
        "made before broken: {:?}",
        updates[1]
    );
    assert_eq!(updates[2].removed, ["first"]);
    assert!(matches!(end, Err(Error::Closed | Error::Ended { .. })), "{end:?}");
    control_plane.stop.send(()).expect("it runs");
    in_time(control_plane.server)
        .await
        .expect("no panic")
        .expect("it stopped in good order");
}

#[tokio::test]
async fn the_state_of_the_world_goes_over_grpc() {
    conversation(AdsVariant::StateOfTheWorld).await;
}

#[tokio::test]
async fn delta_goes_over_grpc() {
    conversation(AdsVariant::Delta).await;
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = match in_time(connect(&address, AdsVariant::Delta, DEADLINE)).await {
        Ok(_) => panic!("nobody listens"),
        Err(error) => error.to_string(),
    };
    assert!(
        error.starts_with(&format!("cannot connect to the control plane at {address}: ")),
        "{error}"
    );
    assert!(error.contains("refused"), "{error}");
}
