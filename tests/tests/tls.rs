//! TLS with real peers: curl in front, a real Envoy beside and behind, the same files for both proxies.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use leno_tests::bootstrap::{Bootstrap, Speaks, all_to};
use leno_tests::certificates::{Authority, Identity, alternative_names, raw_uri};
use leno_tests::client::{Ask, page};
use leno_tests::proxy::{Kind, Proxy};
use leno_tests::wait::{free_address, until};
use leno_tests::{peers, upstream};
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// What curl says: the body, or its exit code.
type Said = Result<String, i32>;

/// Asks for `https://NAME:PORT/PATH`, where the name is `address`. Ends the body with the version of HTTP.
async fn curl(address: SocketAddr, name: &str, path: &str, more: &[&str]) -> Said {
    let port = address.port();
    let done = tokio::process::Command::new(peers::installed("curl"))
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--noproxy", "*", "--write-out", " over HTTP/%{http_version}"])
        .args(["--resolve", &format!("{name}:{port}:{}", address.ip())])
        .args(more)
        .arg(format!("https://{name}:{port}{path}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = done.await.expect("curl runs");
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(done.status.code().unwrap_or(-1))
}

fn server(identity: &Identity) -> Value {
    json!({"common_tls_context": {
        "tls_certificates": [identity.inline()],
        "alpn_protocols": ["h2", "http/1.1"],
    }})
}

fn trusting(authority: &Authority, names: &Value) -> Value {
    json!({
        "trusted_ca": {"inline_string": authority.certificate},
        "match_typed_subject_alt_names": names,
    })
}

fn ca_file(folder: &Path, authority: &Authority) -> String {
    let path = folder.join("ca.pem");
    std::fs::write(&path, &authority.certificate).expect("a file");
    path.display().to_string()
}

async fn start(kind: Kind, folder: &Path, bootstrap: Bootstrap) -> Proxy {
    let admin = free_address();
    let mut proxy = Proxy::start(kind, folder, &bootstrap.text(admin), admin);
    proxy.ready().await;
    proxy
}

#[tokio::test]
async fn names_and_protocols_choose_chains_as_in_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let ca = ca_file(folder.path(), &authority);
    let own = authority.name(&["a.test", "*.b.test", "x.y.b.test", "b.test", "c.test"]);
    let tls = server(&own);
    for kind in Kind::ALL {
        let address = free_address();
        let bootstrap = Bootstrap::default()
            .listener("l", address, &[], &json!([]))
            .chains(&[
                ("a", json!({"server_names": ["a.test"]}), tls.clone()),
                ("b", json!({"server_names": ["*.b.test"]}), tls.clone()),
                (
                    "h1",
                    json!({"server_names": ["c.test"], "application_protocols": ["http/1.1"]}),
                    tls.clone(),
                ),
                ("plain", json!({"transport_protocol": "raw_buffer"}), Value::Null),
            ]);
        let proxy = start(kind, folder.path(), bootstrap).await;
        for (name, more, expected) in [
            ("a.test", "--http2", Some("a over HTTP/2")),
            ("A.TEST", "--http1.1", Some("a over HTTP/1.1")),
            ("x.b.test", "--http2", Some("b over HTTP/2")),
            ("x.y.b.test", "--http2", Some("b over HTTP/2")),
            ("b.test", "--http2", None),
            ("c.test", "--http1.1", Some("h1 over HTTP/1.1")),
            // Chosen because it is offered as well; what the chain itself offers first is agreed on.
            ("c.test", "--http2", Some("h1 over HTTP/2")),
            ("d.test", "--http2", None),
        ] {
            let said = curl(address, name, "/who", &["--cacert", &ca, more]).await;
            assert_eq!(said.as_deref().ok(), expected, "{kind:?} {name} {more}: {said:?}");
        }
        let plain = Ask::get("/who").send(address).await.unwrap();
        assert_eq!((plain.status, plain.body.as_str()), (200, "plain"), "{kind:?}");
        until("two connections fit no chain", || async {
            match proxy.metric("envoy_listener_no_filter_chain_match", &[]).await {
                Ok(2.0) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn upstreams_filters_and_logs_are_told_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let ca = ca_file(folder.path(), &authority);
    let own = authority.sign(|params| {
        params.subject_alt_names = alternative_names(&["a.test", "spiffe://server"]);
    });
    let [certificate, key] = authority
        .name(&["spiffe://client/x", "client.test"])
        .files(folder.path(), "client");
    let behind = upstream::serve("behind").await;
    let format = "%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% \
                  %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_SUBJECT% \
                  %DOWNSTREAM_PEER_ISSUER% %DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_FINGERPRINT_256% \
                  %DOWNSTREAM_LOCAL_URI_SAN% %DOWNSTREAM_LOCAL_SUBJECT%";
    let mut context = server(&own);
    context["common_tls_context"]["validation_context"] = trusting(&authority, &json!([]));
    let mut logs = Vec::new();
    for kind in Kind::ALL {
        let address = free_address();
        let log = folder.path().join(format!("{kind:?}.txt"));
        let bootstrap = Bootstrap::default()
            .cluster("behind", behind, Speaks::Http1)
            .listener("l", address, &[], &all_to("behind"))
            // With its inspector: Envoy knows the name from there only.
            .chains(&[("all", json!({}), context.clone())])
            .logs(&log, format);
        let proxy = start(kind, folder.path(), bootstrap).await;
        for more in [
            &["--http2", "--cert", &certificate, "--key", &key][..],
            &[
                "--http1.1",
                "--tls-max",
                "1.2",
                "--cert",
                &certificate,
                "--key",
                &key,
            ],
            &["--http2", "-H", "x-forwarded-client-cert: By=forged"],
        ] {
            let more: Vec<&str> = [&["--cacert", &ca], more].concat();
            let said = curl(address, "a.test", "/x", &more).await.unwrap();
            let seen: Value = serde_json::from_str(said.rsplit_once(" over ").unwrap().0).unwrap();
            assert_eq!(seen["headers"]["x-forwarded-proto"], "https", "{kind:?}");
            assert_eq!(
                seen["headers"]["x-forwarded-client-cert"],
                Value::Null,
                "{kind:?}"
            );
        }
        let lines = until("three lines are logged", || async {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if text.lines().count() == 3 {
                Ok(text)
            } else {
                Err(text)
            }
        })
        .await;
        logs.push(lines);
        let dump = page(proxy.admin, "/config_dump").await.unwrap();
        assert!(
            dump.contains("CERTIFICATE") && dump.contains("[redacted]"),
            "{dump}"
        );
        assert!(!dump.contains("PRIVATE KEY"), "{kind:?}: the key is told");
        for (counter, expected) in [
            ("handshake", 3.0),
            ("no_certificate", 1.0),
            ("connection_error", 0.0),
        ] {
            let name = format!("envoy_listener_ssl_{counter}");
            assert_eq!(
                proxy.metric(&name, &[]).await.unwrap(),
                expected,
                "{kind:?} {name}"
            );
        }
    }
    assert!(logs[0].contains("a.test TLSv1.3 TLS_"), "{}", logs[0]);
    assert!(logs[0].contains("a.test TLSv1.2 ECDHE-ECDSA-"), "{}", logs[0]);
    // Which cipher is preferred is each one's own choice.
    let without_cipher = |log: &String| -> Vec<Vec<String>> {
        let fields = |line: &str| {
            let fields = line.split(' ').enumerate().filter(|(index, _)| *index != 2);
            fields.map(|(_, field)| field.to_owned()).collect()
        };
        let mut lines: Vec<_> = log.lines().map(fields).collect();
        // Workers write for themselves.
        lines.sort();
        lines
    };
    assert_eq!(without_cipher(&logs[0]), without_cipher(&logs[1]));
}

/// What clients show, and whether they are believed where `spiffe://a/b` or `x.b.test` is wanted.
fn clients(ours: &Authority, other: &Authority) -> Vec<(&'static str, Option<Identity>, bool)> {
    let signed = |authority: &Authority, from: i32, until: i32, usage: Option<ExtendedKeyUsagePurpose>| {
        authority.sign(|params| {
            params.subject_alt_names = alternative_names(&["spiffe://a/b"]);
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            params.extended_key_usages = usage.into_iter().collect();
        })
    };
    let named = |names: &[&str]| Some(ours.name(names));
    let raw = |uri: &[u8]| Some(ours.sign(|params| params.custom_extensions.push(raw_uri(uri))));
    let (server_only, client_only) = (
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    vec![
        ("right", Some(signed(ours, 2020, 2100, None)), true),
        ("none", None, false),
        (
            "of another authority",
            Some(signed(other, 2020, 2100, None)),
            false,
        ),
        ("expired", Some(signed(ours, 2019, 2020, None)), false),
        ("not yet valid", Some(signed(ours, 2099, 2100, None)), false),
        (
            "for servers only",
            Some(signed(ours, 2020, 2100, Some(server_only))),
            false,
        ),
        (
            "for clients",
            Some(signed(ours, 2020, 2100, Some(client_only))),
            true,
        ),
        ("no names", named(&[]), false),
        (
            "two URIs, the second is right",
            named(&["spiffe://x", "spiffe://a/b"]),
            true,
        ),
        (
            "two URIs, none is right",
            named(&["spiffe://x", "spiffe://y"]),
            false,
        ),
        ("a URI in another case", named(&["spiffe://A/b"]), false),
        ("a URI that goes on", named(&["spiffe://a/bc"]), false),
        ("a NUL in the URI", raw(b"spiffe://a/b\0"), false),
        ("a NUL and more", raw(b"spiffe://a/b\0.evil"), false),
        ("the URI as a DNS name", named(&["a/b"]), false),
        ("the DNS name", named(&["x.b.test"]), true),
        ("the DNS name in another case", named(&["X.B.Test"]), true),
        ("a wildcard", named(&["*.b.test"]), true),
        ("a wildcard one level up", named(&["*.test"]), false),
        ("a wildcard one level down", named(&["*.x.b.test"]), false),
    ]
}

#[tokio::test]
async fn clients_are_believed_as_by_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let ca = ca_file(folder.path(), &ours);
    let mut context = server(&ours.name(&["a.test"]));
    let names = json!([
        {"san_type": "URI", "matcher": {"exact": "spiffe://a/b"}},
        {"san_type": "DNS", "matcher": {"exact": "x.b.test"}},
    ]);
    context["require_client_certificate"] = true.into();
    context["common_tls_context"]["validation_context"] = trusting(&ours, &names);
    let clients = clients(&ours, &other);
    for kind in Kind::ALL {
        let address = free_address();
        let direct = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "in"}}}]);
        let bootstrap = Bootstrap::default()
            .listener("l", address, &[], &direct)
            .ends_tls(&context);
        let proxy = start(kind, folder.path(), bootstrap).await;
        for (index, (what, identity, believed)) in clients.iter().enumerate() {
            let files = identity
                .as_ref()
                .map(|identity| identity.files(folder.path(), &format!("client{index}")));
            for version in ["1.2", "1.3"] {
                let mut more = vec!["--cacert", &ca, "--http1.1", "--tls-max", version];
                if let Some([certificate, key]) = &files {
                    more.extend(["--cert", certificate, "--key", key]);
                }
                let said = curl(address, "a.test", "/", &more).await;
                let expected = believed.then_some("in over HTTP/1.1");
                assert_eq!(
                    said.as_deref().ok(),
                    expected,
                    "{kind:?}, TLS {version}, {what}: {said:?}"
                );
            }
        }
        let refused = clients.iter().filter(|(_, _, believed)| !believed).count();
        for (counters, expected) in [
            (&["handshake"][..], clients.len() - refused),
            (&["fail_verify_no_cert"], 1),
            (&["fail_verify_error", "fail_verify_san"], refused - 1),
        ] {
            let mut sum = 0.0;
            for counter in counters {
                sum += proxy
                    .metric(&format!("envoy_listener_ssl_{counter}"), &[])
                    .await
                    .unwrap();
            }
            assert_eq!(sum, 2.0 * expected as f64, "{kind:?} {counters:?}");
        }
    }
}

/// The cluster of each path, what it wants of its peer, and whether the two come together.
fn peers_of(ours: &Authority, other: &Authority, back: SocketAddr) -> Vec<(&'static str, Bootstrap, bool)> {
    let front = ours.name(&["spiffe://front"]);
    let uri = |uri: &str| json!([{"san_type": "URI", "matcher": {"exact": uri}}]);
    let context = |validation: Value| {
        json!({
            "sni": "b.test",
            "common_tls_context": {"tls_certificates": [front.inline()], "validation_context": validation},
        })
    };
    let good = context(trusting(ours, &uri("spiffe://back")));
    let changed = |changes: &[(&str, Value)]| {
        let mut context = good.clone();
        for (field, value) in changes {
            context[*field] = value.clone();
        }
        context
    };
    let own_name = changed(&[
        ("sni", "".into()),
        ("auto_host_sni", true.into()),
        ("auto_sni_san_validation", true.into()),
    ]);
    let mut nobody = good.clone();
    nobody["common_tls_context"]["tls_certificates"] = json!([]);
    let mut old = good.clone();
    old["common_tls_context"]["tls_params"] = json!({"tls_maximum_protocol_version": "TLSv1_2"});
    let cluster = |name: &str, speaks: Speaks, context: &Value| {
        Bootstrap::default()
            .cluster(name, back, speaks)
            .begins_tls(context)
    };
    vec![
        ("h1", cluster("h1", Speaks::Http1, &good), true),
        ("h2", cluster("h2", Speaks::Http2, &good), true),
        ("old", cluster("old", Speaks::Http2, &old), true),
        (
            "name",
            cluster(
                "name",
                Speaks::Http1,
                &context(trusting(ours, &uri("spiffe://other"))),
            ),
            false,
        ),
        (
            "authority",
            cluster("authority", Speaks::Http1, &context(trusting(other, &json!([])))),
            false,
        ),
        (
            "blind",
            cluster("blind", Speaks::Http1, &context(json!({}))),
            true,
        ),
        ("nobody", cluster("nobody", Speaks::Http1, &nobody), false),
        (
            "own",
            cluster("own", Speaks::Http2, &own_name).called("b.test"),
            true,
        ),
        (
            "not-own",
            cluster("not-own", Speaks::Http2, &own_name).called("c.test"),
            false,
        ),
        (
            "plain",
            Bootstrap::default().cluster("plain", back, Speaks::Http1),
            false,
        ),
    ]
}

#[tokio::test]
async fn proxies_speak_tls_with_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let behind = upstream::serve("behind").await;
    let mut context = server(&ours.name(&["spiffe://back", "b.test"]));
    let names = json!([{"san_type": "URI", "matcher": {"exact": "spiffe://front"}}]);
    context["require_client_certificate"] = true.into();
    context["common_tls_context"]["validation_context"] = trusting(&ours, &names);
    for (front, back) in [
        (Kind::Leno, Kind::Envoy),
        (Kind::Envoy, Kind::Leno),
        (Kind::Leno, Kind::Leno),
    ] {
        let [address, back_address] = [free_address(), free_address()];
        let back_folder = folder.path().join("back");
        std::fs::create_dir_all(&back_folder).unwrap();
        let bootstrap = Bootstrap::default()
            .cluster("behind", behind, Speaks::Http1)
            .listener("l", back_address, &[], &all_to("behind"))
            .ends_tls(&context);
        let back_proxy = start(back, &back_folder, bootstrap).await;
        let peers = peers_of(&ours, &other, back_address);
        let routes: Vec<_> = peers
            .iter()
            .map(|(name, _, _)| json!({"match": {"prefix": format!("/{name}/")}, "route": {"cluster": name}}))
            .collect();
        let clusters = peers.iter().map(|(_, cluster, _)| cluster.clone());
        let bootstrap = clusters.fold(Bootstrap::default(), Bootstrap::and);
        let bootstrap = bootstrap.listener("l", address, &[], &routes.into());
        let front_proxy = start(front, folder.path(), bootstrap).await;
        for (name, _, works) in &peers {
            for round in 0..2 {
                let answer = Ask::get(&format!("/{name}/{round}")).send(address).await.unwrap();
                let at = format!("{front:?} to {back:?}, {name}: {answer:?}");
                // 502 where what is no TLS is answered with an alert, which is no HTTP.
                let expected: &[u16] = if *works { &[200] } else { &[503, 502] };
                assert!(expected.contains(&answer.status), "{at}");
                let upstream = answer.upstream();
                assert_eq!(upstream["upstream"] == "behind", *works, "{at}");
            }
        }
        for (cluster, counter, expected) in [
            ("h2", "handshake", 1.0),
            ("name", "fail_verify_san", 2.0),
            ("not-own", "fail_verify_san", 2.0),
            ("authority", "fail_verify_error", 2.0),
            ("h1", "connection_error", 0.0),
        ] {
            let label = format!("envoy_cluster_name=\"{cluster}\"");
            let metric = format!("envoy_cluster_ssl_{counter}");
            let count = front_proxy.metric(&metric, &[&label]).await.unwrap();
            // Connections belong to workers: the second request may need one of its own.
            let fits = count == expected || (counter == "handshake" && count == expected + 1.0);
            assert!(fits, "{front:?} to {back:?}: {metric} of {cluster} is {count}");
        }
        drop(back_proxy);
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let [certificate, _] = authority.name(&["a.test"]).files(folder.path(), "one");
    let [_, key] = authority.name(&["a.test"]).files(folder.path(), "two");
    let context = json!({"common_tls_context": {"tls_certificates": [{
        "certificate_chain": {"filename": certificate},
        "private_key": {"filename": key},
    }]}});
    let admin = free_address();
    let bootstrap = Bootstrap::default()
        .listener("l", free_address(), &[], &json!([]))
        .ends_tls(&context);
    let mut proxy = Proxy::start(Kind::Leno, folder.path(), &bootstrap.text(admin), admin);
    let ended = until("the proxy has ended", || {
        std::future::ready(match proxy.process.alive() {
            Ok(()) => Err("it runs"),
            Err(ended) => Ok(ended),
        })
    })
    .await;
    let expected = format!(
        "l: transport_socket.typed_config.common_tls_context.tls_certificates[0].private_key.filename: \
         {key} is not the key of the certificate"
    );
    assert!(ended.contains(&expected), "{ended}");
}

#[tokio::test]
async fn clients_that_do_not_speak_are_closed_as_by_envoy() {
    let folder = tempfile::tempdir().unwrap();
    let tls = server(&Authority::new("ours").name(&["a.test"]));
    for kind in Kind::ALL {
        let [plain, inspected] = [free_address(), free_address()];
        let bootstrap = Bootstrap::default()
            .listener("plain", plain, &[], &json!([]))
            .ends_tls(&tls)
            .handshake_within("0.3s")
            .listener("inspected", inspected, &[], &json!([]))
            .chains(&[("a", json!({"server_names": ["a.test"]}), tls.clone())])
            .handshake_within("0.3s");
        let proxy = start(kind, folder.path(), bootstrap).await;
        for (address, counter) in [
            (plain, "downstream_cx_transport_socket_connect_timeout"),
            (inspected, "downstream_pre_cx_timeout"),
        ] {
            let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
            let read = silent.read(&mut [0]).await;
            assert_eq!(read.unwrap_or(0), 0, "{kind:?} {counter}");
            let metric = format!("envoy_listener_{counter}");
            until(&metric, || async {
                match proxy.metric(&metric, &[]).await {
                    Ok(1.0) => Ok(()),
                    other => Err(other),
                }
            })
            .await;
        }
    }
}
