//! `content-length` through filters that see, hold and change bodies.

use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use leno_model::cluster::UpstreamProtocol;

use super::peers::{Client, Upstream};
use super::proxy::{Proxy, cluster, forward};
use super::stage::MEDDLER;

/// Status, `content-length` and body of the answer to a `POST` of `hello`; `Err`: it was cut off.
async fn meddled(proxy: &Proxy, version: Version, how: &str) -> Result<(u16, String, String), ()> {
    let mut client = Client::connect(proxy.address, version).await;
    let request = Request::post("http://test/lengths").header("x-meddle", how);
    let request = request.body(Full::new("hello".into()).boxed()).unwrap();
    let response = client.try_send(request).await.map_err(drop)?;
    let length = response.headers().get("content-length");
    let length = length.map_or("none", |value| value.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(drop)?.to_bytes();
    Ok((status, length, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn lengths_are_kept_corrected_or_the_exchange_fails() {
    let upstream = Upstream::start("u").await;
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let clusters = vec![cluster("c", protocol, &[upstream.address])];
        let proxy = Proxy::with_filter(clusters, vec![forward("/", "c")], MEDDLER).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for (how, expected) in [
                // Nothing is changed: what was announced stays.
                ("", Ok((200, "12", "5 hello none"))),
                ("request-hold", Ok((200, "13", "6 hello! none"))),
                ("request-unframe", Ok((200, "14", "none ello none"))),
                (
                    "request-belie",
                    Ok((500, "41", "content-length is 5, the body has 4 bytes")),
                ),
                ("response-hold", Ok((200, "13", "5 hello none!"))),
                ("response-unframe", Ok((200, "none", " hello none"))),
                ("response-belie", Err(())),
            ] {
                let got = meddled(&proxy, version, how).await;
                let expected =
                    expected.map(|(status, length, body)| (status, length.to_owned(), body.to_owned()));
                assert_eq!(got, expected, "{version:?} to {protocol:?}, {how}");
            }
        }
    }
}
