//! A web server with fixed answers, for modules that are fetched by URL.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Clone, Debug)]
pub enum File {
    /// These bytes.
    Bytes(Vec<u8>),
    /// An announcement of so many bytes; they never come.
    Announced(u64),
}

/// Serves `files` by path on a free loopback port until the runtime ends; everything else is 404.
///
/// # Panics
/// No port is free.
pub async fn serve(files: BTreeMap<&'static str, File>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let files = files.clone();
            // A client that goes away has seen enough.
            tokio::spawn(async move { drop(answer(stream, &files).await) });
        }
    });
    address
}

async fn answer(mut stream: TcpStream, files: &BTreeMap<&'static str, File>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&request);
    let path = line.split(' ').nth(1).unwrap_or_default();
    let head = |status: &str, length: u64| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/wasm\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )
    };
    match files.get(path) {
        Some(File::Bytes(bytes)) => {
            stream
                .write_all(head("200 OK", bytes.len() as u64).as_bytes())
                .await?;
            stream.write_all(bytes).await
        }
        Some(File::Announced(length)) => {
            stream.write_all(head("200 OK", *length).as_bytes()).await?;
            // Until the client gives up.
            stream.read_to_end(&mut request).await.map(drop)
        }
        None => stream.write_all(head("404 Not Found", 0).as_bytes()).await,
    }
}
