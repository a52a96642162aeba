//! What is refused when a context is loaded, and which clients are believed: handshakes in memory, without sockets.

use std::io::Read as _;
use std::sync::Arc;

use leno_model::matching::{Pattern, StringMatch};
use leno_model::tls::{
    CommonTls, DataSource, DownstreamTls, NameKind, NameMatch, TlsCertificate, Validation,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::ServerTls;
use crate::tls::session::Session;
use crate::tls::stats::words;

/// Somebody who signs.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        Self::valid(2020, 2100)
    }

    fn valid(from: i32, until: i32) -> Self {
        let mut params = CertificateParams::default();
        let name = format!("authority {:x}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        Self { certificate, issuer }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(7));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key }
    }

    fn source(&self) -> DataSource {
        inline(&self.certificate.pem())
    }

    fn revocations(&self, revoked: &[u64], until: i32) -> DataSource {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        inline(&params.signed_by(&self.issuer).unwrap().pem().unwrap())
    }
}

fn inline(text: &str) -> DataSource {
    DataSource::Inline(text.as_bytes().into())
}

fn pair(identity: &Identity) -> TlsCertificate {
    TlsCertificate {
        chain: inline(&identity.certificate.pem()),
        key: inline(&identity.key.serialize_pem()),
    }
}

fn context(
    certificates: Vec<TlsCertificate>,
    validation: Option<Validation>,
    required: bool,
) -> DownstreamTls {
    DownstreamTls {
        common: CommonTls {
            certificates,
            validation,
            protocols: vec!["h2".to_owned()],
            ..CommonTls::default()
        },
        require_client_certificate: required,
        session_tickets: true,
    }
}

fn trusting(authority: &Authority, uri: Option<&str>) -> Validation {
    let name = |uri: &str| NameMatch {
        kind: NameKind::Uri,
        value: StringMatch {
            pattern: Pattern::Exact(uri.to_owned()),
            ignore_case: false,
        },
    };
    Validation {
        trusted_ca: Some(authority.source()),
        names: uri.into_iter().map(name).collect(),
        ..Validation::default()
    }
}

/// A client that believes `authority` and shows `identity`.
fn client(authority: &Authority, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
            let chain = vec![identity.certificate.der().clone()];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// Both sides to the end of the handshake; what the server says against it.
fn shake(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), String> {
    let mut server = ServerConnection::new(Arc::clone(server.config())).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| words(&error))?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| words(&error))?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    // Tickets arrive with what follows the handshake.
    assert!(client.reader().read(&mut [0; 1]).is_err());
    Ok((server, client))
}

fn uri(params: &mut CertificateParams, uri: &str) {
    params
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
}

#[test]
fn clients_are_believed_as_configured() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = ours.sign(|params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    let tls = ServerTls::load(&context(
        vec![pair(&server)],
        Some(trusting(&ours, Some("spiffe://a/b"))),
        true,
    ))
    .unwrap();
    let check = |identity: Option<&Identity>, expected: &str| {
        let got = shake(&tls, &client(&ours, identity), "a.test").map(drop);
        match got {
            Ok(()) => assert_eq!("", expected),
            Err(reason) => assert!(
                !expected.is_empty() && reason.contains(expected),
                "{reason} / {expected}"
            ),
        }
    };
    let good = ours.sign(|params| uri(params, "spiffe://a/b"));
    check(Some(&good), "");
    check(None, "peer sent no certificates");
    check(
        Some(&other.sign(|params| uri(params, "spiffe://a/b"))),
        "UnknownIssuer",
    );
    check(Some(&ours.sign(|_| {})), "none of its subject alternative names");
    check(
        Some(&ours.sign(|params| uri(params, "spiffe://A/b"))),
        "none of its subject",
    );
    check(
        Some(&ours.sign(|params| {
            uri(params, "spiffe://x");
            uri(params, "spiffe://a/b");
        })),
        "",
    );
    check(
        Some(&ours.sign(|params| {
            uri(params, "spiffe://a/b");
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        })),
        "Expired",
    );
    check(
        Some(&ours.sign(|params| {
            uri(params, "spiffe://a/b");
            params.not_before = rcgen::date_time_ymd(2099, 1, 1);
        })),
        "NotValidYet",
    );
    check(
        Some(&ours.sign(|params| {
            uri(params, "spiffe://a/b");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })),
        "InvalidPurpose",
    );
    check(
        Some(&ours.sign(|params| {
            uri(params, "spiffe://a/b");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })),
        "",
    );
    // `spiffe://a/b`, a NUL, and more.
    let mut names = vec![0x30, 18, 0x86, 16];
    names.extend(b"spiffe://a/b\0\0\0\0");
    check(
        Some(&ours.sign(|params| {
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
        })),
        "none of its subject",
    );
}

#[test]
fn a_certificate_that_is_not_required_is_still_verified() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = ours.sign(|params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    let optional =
        ServerTls::load(&context(vec![pair(&server)], Some(trusting(&ours, None)), false)).unwrap();
    let none = shake(&optional, &client(&ours, None), "a.test").unwrap().0;
    assert_eq!(none.peer_certificates(), None);
    let bad = shake(&optional, &client(&ours, Some(&other.sign(|_| {}))), "a.test").map(drop);
    assert!(bad.unwrap_err().contains("UnknownIssuer"));
    let good = ours.sign(|params| uri(params, "spiffe://a/b"));
    let server_side = shake(&optional, &client(&ours, Some(&good)), "a.test").unwrap().0;
    let session = Session::of(&server_side, optional.own());
    assert_eq!(
        (session.version, session.peer.unwrap().uris.as_slice()),
        ("TLSv1.3", &["spiffe://a/b".to_owned()][..])
    );
    assert_eq!(session.own.unwrap().dns_names, ["a.test"]);
    // Required, without anybody to believe: any will do, but there must be one.
    let any = ServerTls::load(&context(vec![pair(&server)], None, true)).unwrap();
    assert!(shake(&any, &client(&ours, Some(&other.sign(|_| {}))), "a.test").is_ok());
    assert!(shake(&any, &client(&ours, None), "a.test").is_err());
}

#[test]
fn revoked_certificates_and_old_lists_are_refused() {
    let ours = Authority::new();
    let server = ours.sign(|params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    let verdict = |revoked: DataSource| {
        let validation = Validation {
            revoked: Some(revoked),
            ..trusting(&ours, None)
        };
        let tls = ServerTls::load(&context(vec![pair(&server)], Some(validation), true)).unwrap();
        shake(&tls, &client(&ours, Some(&ours.sign(|_| {}))), "a.test").map(drop)
    };
    assert_eq!(verdict(ours.revocations(&[8], 2100)), Ok(()));
    assert!(
        verdict(ours.revocations(&[7], 2100))
            .unwrap_err()
            .contains("Revoked")
    );
    assert!(verdict(ours.revocations(&[], 2022)).is_err());
    assert!(verdict(Authority::new().revocations(&[], 2100)).is_err());
}

#[test]
fn names_choose_certificates() {
    let ours = Authority::new();
    let named = |name: &str| {
        let name = SanType::DnsName(name.try_into().unwrap());
        ours.sign(|params| params.subject_alt_names = vec![name])
    };
    let all = [named("a.test"), named("*.b.test"), named("c.test")];
    let tls = ServerTls::load(&context(all.iter().map(pair).collect(), None, false)).unwrap();
    let shown = |name: &str| {
        let config = client(&ours, None);
        let connection = shake(&tls, &config, name).map(|(_, client)| client);
        connection.map(|client| client.peer_certificates().unwrap()[0].clone())
    };
    for (name, index) in [("a.test", 0), ("x.b.test", 1), ("c.test", 2)] {
        assert_eq!(shown(name).as_ref(), Ok(all[index].certificate.der()), "{name}");
    }
    // The first one, which is not for this name.
    assert!(shown("d.test").unwrap_err().contains("not valid for name"));
}

#[test]
fn sessions_are_resumed_until_the_context_changes() {
    let ours = Authority::new();
    let server = ours.sign(|params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    let context = context(vec![pair(&server)], Some(trusting(&ours, None)), true);
    let (tls, again) = (
        ServerTls::load(&context).unwrap(),
        ServerTls::load(&context).unwrap(),
    );
    let good = ours.sign(|_| {});
    let client = client(&ours, Some(&good));
    let kind = |tls: &ServerTls| shake(tls, &client, "a.test").unwrap().0.handshake_kind();
    let full = kind(&tls);
    assert!(full.is_some() && full != Some(HandshakeKind::Resumed));
    assert_eq!(kind(&tls), Some(HandshakeKind::Resumed));
    assert_ne!(kind(&again), Some(HandshakeKind::Resumed), "its keys are new");
    let without = DownstreamTls {
        session_tickets: false,
        ..context
    };
    let without = ServerTls::load(&without).unwrap();
    kind(&without);
    assert_ne!(kind(&without), Some(HandshakeKind::Resumed));
}

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    let ours = Authority::new();
    let (one, two) = (ours.sign(|_| {}), ours.sign(|_| {}));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        DataSource::File(path)
    };
    let chain = file("chain.pem", &one.certificate.pem());
    let key = file("key.pem", &one.key.serialize_pem());
    let load = |chain: &DataSource, key: &DataSource, ca: Option<DataSource>| {
        let certificate = TlsCertificate {
            chain: chain.clone(),
            key: key.clone(),
        };
        let validation = ca.map(|ca| Validation {
            trusted_ca: Some(ca),
            ..Validation::default()
        });
        ServerTls::load(&context(vec![certificate], validation, false)).map(drop)
    };
    let check = |result: Result<(), leno_model::invalid::Invalid>, path: &str, file: &str, words: &str| {
        let refusal = result.unwrap_err();
        assert_eq!(
            refusal.path,
            format!("common_tls_context.{path}.filename"),
            "{refusal}"
        );
        let expected = format!("{}{words}", folder.path().join(file).display());
        assert!(refusal.reason.starts_with(&expected), "{refusal} / {expected}");
    };
    assert_eq!(load(&chain, &key, None), Ok(()));
    let absent = DataSource::File(folder.path().join("absent"));
    let at_chain = "tls_certificates[0].certificate_chain";
    let at_key = "tls_certificates[0].private_key";
    let at_ca = "validation_context.trusted_ca";
    check(load(&absent, &key, None), at_chain, "absent", " cannot be read: ");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let no_file = DataSource::File(folder.path().join("folder"));
    check(
        load(&no_file, &key, None),
        at_chain,
        "folder",
        " cannot be read: it is no regular file",
    );
    check(
        load(&key, &key, None),
        at_chain,
        "key.pem",
        " holds no certificate in PEM",
    );
    check(
        load(&chain, &chain, None),
        at_key,
        "chain.pem",
        " holds no private key in PEM",
    );
    let other = file("other.pem", &two.key.serialize_pem());
    check(
        load(&chain, &other, None),
        at_key,
        "other.pem",
        " is not the key of the certificate",
    );
    let broken = file("broken.pem", &one.certificate.pem().replace("\nMII", "\n=II"));
    check(load(&broken, &key, None), at_chain, "broken.pem", " ");
    let empty = file("empty.pem", "");
    check(
        load(&chain, &key, Some(empty)),
        at_ca,
        "empty.pem",
        " holds no certificate in PEM",
    );
    let expired = file("expired.pem", &Authority::valid(2019, 2020).certificate.pem());
    check(
        load(&chain, &key, Some(expired)),
        at_ca,
        "expired.pem",
        " holds only certificates that are not valid now",
    );
}

#[test]
fn a_root_that_has_expired_is_not_believed_beside_others() {
    let (old, new) = (Authority::valid(2019, 2020), Authority::new());
    let server = new.sign(|params| {
        params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    });
    let bundle = format!("{}{}", old.certificate.pem(), new.certificate.pem());
    let validation = Validation {
        trusted_ca: Some(inline(&bundle)),
        ..Validation::default()
    };
    let tls = ServerTls::load(&context(vec![pair(&server)], Some(validation), true)).unwrap();
    assert!(shake(&tls, &client(&new, Some(&new.sign(|_| {}))), "a.test").is_ok());
    assert!(shake(&tls, &client(&new, Some(&old.sign(|_| {}))), "a.test").is_err());
}
