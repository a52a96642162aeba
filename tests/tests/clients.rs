//! Real clients and servers on both sides of our proxy: curl, h2load, gRPC, nginx.

use std::net::SocketAddr;
use std::path::Path;

use leno_tests::bootstrap::{Bootstrap, Speaks, all_to};
use leno_tests::peers;
use leno_tests::process::{Running, output};
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::upstream;
use leno_tests::wait::{free_address, listening, until};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Large against every buffer on the way.
const LARGE: usize = 24 << 20;

/// The proxy with one listener for one upstream.
struct Front {
    folder: TempDir,
    address: SocketAddr,
    _proxy: Proxy,
}

impl Front {
    async fn of(upstream: SocketAddr, speaks: Speaks) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (address, admin) = (free_address(), free_address());
        let bootstrap = Bootstrap::default()
            .cluster("upstream", upstream, speaks)
            .listener("front", address, &[], &all_to("upstream"))
            .text(admin);
        let mut proxy = Proxy::start(Kind::Leno, folder.path(), &bootstrap, admin);
        proxy.ready().await;
        Self {
            folder,
            address,
            _proxy: proxy,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    async fn curl(&self, arguments: &[&str]) -> String {
        let always = ["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"];
        output(&peers::installed("curl"), always.iter().chain(arguments)).await
    }
}

/// An nginx that serves the files of a folder.
async fn nginx(folder: &Path, address: SocketAddr) -> Running {
    let at = folder.display();
    let user = if folder
        .metadata()
        .is_ok_and(|folder| std::os::unix::fs::MetadataExt::uid(&folder) == 0)
    {
        "user root;"
    } else {
        ""
    };
    let config = format!(
        "daemon off; master_process off; {user} worker_processes 1; pid {at}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{\n\
           access_log off; keepalive_requests 100000;\n\
           client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
           uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
           server {{ listen {address}; root {at}/files; gzip on; gzip_types text/plain; gzip_min_length 1; gzip_http_version 1.1; }}\n\
         }}\n"
    );
    std::fs::create_dir_all(folder.join("files")).expect("the folder can be written");
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("the folder can be written");
    let prefix = [
        Path::new("-e"),
        Path::new("stderr"),
        Path::new("-p"),
        folder,
        Path::new("-c"),
        &file,
    ];
    let running = Running::start("nginx", folder, &peers::installed("nginx"), prefix);
    listening(address).await;
    running
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next)
        .take(length / 8 + 1)
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_moves_large_bodies_in_every_pair_of_protocols() {
    let upstream = upstream::serve("echo").await;
    let body = noise(LARGE);
    let sum = hex::encode(Sha256::digest(&body));
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let front = Front::of(upstream, speaks).await;
        let (up, down) = (front.path("up"), front.path("down"));
        std::fs::write(&up, &body).expect("the folder can be written");
        let data = format!("@{up}");
        for (protocol, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
            let url = front.url("/upload");
            let answer = front
                .curl(&[protocol, "--data-binary", &data, "-H", "expect:", &url])
                .await;
            let seen: serde_json::Value =
                serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
            assert_eq!(
                (&seen["length"], &seen["sha256"]),
                (&LARGE.into(), &sum.clone().into()),
                "{speaks:?} {protocol}"
            );

            let (echo, show) = (
                front.url("/echo"),
                "%{http_version} %{http_code} %{size_download}",
            );
            let arguments = [
                protocol,
                "--data-binary",
                &data,
                "-H",
                "expect: 100-continue",
                "-o",
                &down,
                "-w",
                show,
                &echo,
            ];
            assert_eq!(
                front.curl(&arguments).await,
                format!("{version} 200 {LARGE}"),
                "{speaks:?} {protocol}"
            );
            let arrived = std::fs::read(&down).expect("what curl wrote");
            assert_eq!(
                hex::encode(Sha256::digest(&arrived)),
                sum,
                "{speaks:?} {protocol}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_uses_one_connection_for_many_requests() {
    let front = Front::of(upstream::serve("echo").await, Speaks::Http1).await;
    let url = front.url("/n/[1-50]");
    let show = "%{http_code}:%{num_connects}\n";
    let text = front
        .curl(&["--http1.1", "-o", "/dev/null", "-w", show, &url])
        .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (50, "200:1"), "{text}");
    assert!(lines[1..].iter().all(|line| *line == "200:0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_upstream_keeps_its_meaning() {
    let files = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let _nginx = nginx(files.path(), address).await;
    let large = noise(LARGE);
    std::fs::write(files.path().join("files/large"), &large).expect("the folder can be written");
    std::fs::write(files.path().join("files/text.txt"), "hello ".repeat(1000))
        .expect("the folder can be written");
    let front = Front::of(address, Speaks::Http1).await;
    let down = front.path("down");
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let show = ["-o", &down, "-w", "%{http_code} %{size_download}"];
        let (file, text, absent) = (front.url("/large"), front.url("/text.txt"), front.url("/absent"));
        let get = async |more: &[&str]| front.curl(&[&[protocol][..], &show, more].concat()).await;
        assert_eq!(get(&[&file]).await, format!("200 {LARGE}"), "{protocol}");
        assert!(
            std::fs::read(&down).expect("what curl wrote") == large,
            "{protocol}: other bytes"
        );
        assert_eq!(get(&["-r", "100-299", &file]).await, "206 200", "{protocol}");
        assert!(
            std::fs::read(&down).expect("what curl wrote") == large[100..300],
            "{protocol}: other bytes"
        );
        assert_eq!(
            get(&["-I", &file]).await.split(' ').next(),
            Some("200"),
            "{protocol}"
        );
        let head = std::fs::read_to_string(&down)
            .expect("what curl wrote")
            .to_lowercase();
        assert!(
            head.contains(&format!("content-length: {LARGE}\r\n")),
            "{protocol}: {head}"
        );
        assert_eq!(
            get(&["--compressed", &text]).await.split(' ').next(),
            Some("200"),
            "{protocol}"
        );
        assert_eq!(
            std::fs::read_to_string(&down).expect("what curl wrote"),
            "hello ".repeat(1000),
            "{protocol}"
        );
        assert_eq!(get(&[&absent]).await.split(' ').next(), Some("404"), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_sees_no_failure() {
    let files = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let _nginx = nginx(files.path(), address).await;
    std::fs::write(files.path().join("files/small"), vec![b'x'; 1000]).expect("the folder can be written");
    let front = Front::of(address, Speaks::Http1).await;
    for more in [&["-m", "20"][..], &["--h1"][..]] {
        let url = front.url("/small");
        let arguments = ["-n", "4000", "-c", "10", "-t", "1"]
            .into_iter()
            .chain(more.iter().copied())
            .chain([url.as_str()]);
        let report = output(&peers::installed("h2load"), arguments).await;
        let wants = [
            "4000 succeeded, 0 failed, 0 errored, 0 timeout",
            "status codes: 4000 2xx",
        ];
        assert!(
            wants.iter().all(|want| report.contains(want)),
            "{more:?}: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_unary_and_in_both_directions_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = peers::root().join("tests/tests/grpc_peer.py");
    let address = free_address();
    let arguments =
        [script.as_os_str(), "serve".as_ref(), address.to_string().as_ref()].map(std::ffi::OsStr::to_owned);
    let _server = Running::start("grpc-server", folder.path(), &peers::python(), arguments);
    listening(address).await;
    let front = Front::of(address, Speaks::Http2).await;
    let target = front.address.to_string();
    let report = output(
        &peers::python(),
        [script.as_os_str(), "call".as_ref(), target.as_ref()],
    )
    .await;
    assert_eq!(report, "unary ok\nstatus ok\nbidi ok 500\ndeadline ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_is_told_apart_and_comes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = free_address();
    let front = Front::of(address, Speaks::Http1).await;
    let url = front.url("/text.txt");
    let get = async || front.curl(&["-w", " %{http_code}", &url]).await;
    let refused = get().await;
    assert!(
        refused.ends_with(" 503") && refused.contains("upstream connect error"),
        "{refused}"
    );
    let _nginx = nginx(folder.path(), address).await;
    until("the upstream is used again", || async {
        let answer = get().await;
        if answer.ends_with(" 404") {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}
