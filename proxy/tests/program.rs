//! The program as a user starts it: command line, admin page, signals.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::Digest as _;

const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_leno-proxy"))
}

/// A listener on any port that sends everything to `upstream`, or answers `hello` at `/hello`.
fn bootstrap(upstream: SocketAddr, log: &Path) -> String {
    format!(
        r#"
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: /hello}}
                direct_response: {{status: 200, body: {{inline_string: hello}}}}
              - match: {{prefix: /}}
                route: {{cluster: upstream}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {log}
              log_format: {{text_format_source: {{inline_string: "%REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT%\n"}}}}
  clusters:
  - name: upstream
    type: STATIC
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}
"#,
        ip = upstream.ip(),
        port = upstream.port(),
        log = log.display(),
    )
}

/// A running program, killed at the end of the test whatever happens.
struct Running {
    child: Child,
    admin: SocketAddr,
}

impl Running {
    fn start(folder: &Path, config: &str) -> Self {
        let (file, address) = (folder.join("bootstrap.yaml"), folder.join("admin"));
        std::fs::write(&file, config).expect("the setup of the test");
        let mut command = program();
        command
            .arg("-c")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&address);
        command.args(["--concurrency", "2", "--drain-time-s", "15", "-l", "warning"]);
        let child = command.spawn().expect("the setup of the test");
        let admin = wait(|| std::fs::read_to_string(&address).ok()?.parse().ok());
        let running = Self { child, admin };
        wait(|| (running.get(admin, "/ready").0 == 200).then_some(()));
        running
    }

    fn get(&self, address: SocketAddr, path: &str) -> (u16, String) {
        ask(address, "GET", path)
    }

    /// The address of the listener.
    fn listener(&self) -> SocketAddr {
        let page = self.get(self.admin, "/listeners").1;
        page.trim()
            .strip_prefix("in::")
            .expect("the setup of the test")
            .parse()
            .expect("the setup of the test")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.expect("the setup of the test").success());
    }

    fn ends(&mut self) -> ExitStatus {
        wait(|| self.child.try_wait().expect("the setup of the test"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let Ok(mut socket) = TcpStream::connect(address) else {
        return (0, String::new());
    };
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("the setup of the test");
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    )
    .expect("the setup of the test");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the setup of the test");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, body.to_owned())
}

/// Asks again and again until there is an answer.
#[track_caller]
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

#[test]
fn it_serves_logs_and_shows_what_it_does() {
    let folder = tempfile::tempdir().expect("the setup of the test");
    let log = folder.path().join("access.log");
    let mut running = Running::start(
        folder.path(),
        &bootstrap("127.0.0.1:9".parse().expect("the setup of the test"), &log),
    );
    assert_eq!(
        running.get(running.listener(), "/hello"),
        (200, "hello".to_owned())
    );
    wait(|| (std::fs::read_to_string(&log).ok()? == "/hello 200 5\n").then_some(()));
    let stats = running.get(running.admin, "/stats?filter=downstream_rq_2xx").1;
    assert!(stats.contains("http.ingress.downstream_rq_2xx: 1\n"), "{stats}");
    let dump = running.get(running.admin, "/config_dump").1;
    assert!(
        dump.contains("\"static_listeners\"") && dump.contains("\"stat_prefix\": \"ingress\""),
        "{dump}"
    );

    std::fs::rename(&log, folder.path().join("old.log")).expect("the setup of the test");
    running.signal("USR1");
    wait(|| log.exists().then_some(()));
    running.get(running.listener(), "/hello");
    wait(|| (std::fs::read_to_string(&log).ok()? == "/hello 200 5\n").then_some(()));

    assert_eq!(ask(running.admin, "POST", "/quitquitquit").0, 200);
    assert!(running.ends().success());
}

#[test]
fn told_to_end_it_finishes_what_it_has_begun() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("the setup of the test");
    let folder = tempfile::tempdir().expect("the setup of the test");
    let log = folder.path().join("access.log");
    let mut running = Running::start(
        folder.path(),
        &bootstrap(upstream.local_addr().expect("the setup of the test"), &log),
    );
    let listener = running.listener();
    let client = std::thread::spawn(move || ask(listener, "GET", "/slow"));
    let (socket, _) = upstream.accept().expect("the setup of the test");
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("the setup of the test");
    }
    running.signal("TERM");
    wait(|| (running.get(running.admin, "/ready").1 == "DRAINING\n").then_some(()));
    wait(|| TcpStream::connect(listener).is_err().then_some(()));
    reader
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        .expect("the setup of the test");
    assert_eq!(
        client.join().expect("the setup of the test"),
        (200, "done".to_owned())
    );
    assert!(running.ends().success());
    assert_eq!(
        std::fs::read_to_string(&log).expect("the setup of the test"),
        "/slow 200 4\n"
    );
}

#[test]
fn validate_says_ok_or_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().expect("the setup of the test");
    let log = folder.path().join("access.log");
    let good = bootstrap("127.0.0.1:9".parse().expect("the setup of the test"), &log);
    let check = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("the setup of the test");
        let mut command = program();
        command
            .args(["--mode", "validate", "-l", "off", "-c"])
            .arg(&file)
            .stdin(Stdio::null());
        let output = command.output().expect("the setup of the test");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the setup of the test");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
            file.display().to_string(),
        )
    };
    let (code, out, errors, file) = check("good.yaml", &good);
    assert_eq!(
        (code, out),
        (Some(0), format!("configuration '{file}' OK\n")),
        "{errors}"
    );
    for (name, text, expected) in [
        (
            "field.yaml",
            good.replace("stat_prefix:", "stat_prefixes:"),
            "stat_prefixes",
        ),
        ("log.yaml", good.replace("%REQ(:PATH)%", "%NOPE%"), "%NOPE%"),
        (
            "file.yaml",
            good.replace(&*log.to_string_lossy(), "/nonexistent/a.log"),
            "/nonexistent/a.log",
        ),
        ("nothing.yaml", "- 1".to_owned(), ""),
    ] {
        let (code, out, errors, file) = check(name, &text);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{name}");
        assert!(errors.contains(&file) && errors.contains(expected), "{errors}");
    }
}

#[test]
fn options_that_do_not_exist_are_refused() {
    let output = program()
        .args(["--config-pth", "x"])
        .output()
        .expect("the setup of the test");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--config-path"));
}

#[test]
fn a_module_that_cannot_be_had_keeps_nothing_but_its_filter() {
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
          (func (export "proxy_on_context_create") (param i32 i32))
          (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
          (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1)))"#,
    )
    .expect("the setup of the test");
    let store = TcpListener::bind("127.0.0.1:0").expect("the setup of the test");
    let address = store.local_addr().expect("the setup of the test");
    drop(store);
    let folder = tempfile::tempdir().expect("the setup of the test");
    let digest: String = sha2::Sha256::digest(&module)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let filter = format!(
        r#"          http_filters:
          - name: guest
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: guest
                vm_config:
                  code:
                    remote:
                      sha256: {digest}
                      http_uri: {{uri: "http://store/m.wasm", cluster: upstream, timeout: 5s}}
                      retry_policy: {{num_retries: 0}}
"#
    );
    let config = bootstrap(address, &folder.path().join("access.log"));
    let config = config.replace("          http_filters:\n", &filter);

    let file = folder.path().join("validate.yaml");
    std::fs::write(&file, &config).expect("the setup of the test");
    let mut command = program();
    command.args(["--mode", "validate", "-l", "off", "-c"]).arg(&file);
    assert!(command.status().expect("the setup of the test").success());

    let running = Running::start(folder.path(), &config);
    assert_eq!(running.get(running.listener(), "/hello").0, 503, "fails closed");
    let stats = |filter: &str| running.get(running.admin, &format!("/stats?filter={filter}")).1;
    assert_eq!(stats("code_missing"), "wasm.guest.code_missing: 1\n");

    let store = TcpListener::bind(address).expect("the setup of the test");
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = store.accept() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", module.len());
            // A client that does not wait for its answer is of no interest.
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(&[head.as_bytes(), &module].concat());
        }
    });
    wait(|| (running.get(running.listener(), "/hello") == (200, "hello".to_owned())).then_some(()));
    assert_eq!(stats("code_missing"), "wasm.guest.code_missing: 0\n");
    assert_eq!(
        stats("remote_load_fetch_successes"),
        "wasm.remote_load_fetch_successes: 1\n"
    );
}
