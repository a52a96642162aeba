//! What a change of TLS does to connections that are open.

use std::sync::Arc;

use leno_model::route::{DirectResponse, Route, RouteAction};
use leno_model::tls::{CommonTls, DataSource, DownstreamTls, TlsCertificate};
use leno_proxy::tls::server::ServerTls;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::{Setup, forward};

/// A route that answers by itself.
fn answering(text: &str) -> Vec<Route> {
    let mut route = forward("/", "nobody");
    route.action = RouteAction::Direct(DirectResponse {
        status: 200,
        body: text.as_bytes().to_vec(),
    });
    vec![route]
}

async fn connect(address: std::net::SocketAddr, root: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("a.test").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// The answer to one more request on this connection.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") && !answer.ends_with(b"two") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "it has ended");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn connections_outlive_updates_but_no_change_of_trust() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let inline = |text: String| DataSource::Inline(text.into_bytes().into());
    let context = DownstreamTls {
        common: CommonTls {
            certificates: vec![TlsCertificate {
                chain: inline(cert.pem()),
                key: inline(signing_key.serialize_pem()),
            }],
            ..CommonTls::default()
        },
        require_client_certificate: false,
        session_tickets: true,
    };
    let tls = Arc::new(ServerTls::load(&context).unwrap());
    let setup = Setup {
        tls: Some(Arc::clone(&tls)),
        ..Setup::new(Vec::new(), answering("one"))
    };
    let mut proxy = setup.start().await;
    let mut stream = connect(proxy.address, &cert.pem()).await;
    assert!(ask(&mut stream).await.ends_with("one"));
    proxy.update_tls(&tls, answering("two")).await;
    assert!(
        ask(&mut stream).await.ends_with("two"),
        "the same TLS: the same connection"
    );
    let other = Arc::new(ServerTls::load(&context).unwrap());
    proxy.update_tls(&other, answering("two")).await;
    let read = stream.read(&mut [0]).await;
    assert_eq!(read.unwrap_or(0), 0, "it has ended");
    let mut stream = connect(proxy.address, &cert.pem()).await;
    assert!(ask(&mut stream).await.ends_with("two"));
}
