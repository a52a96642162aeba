//! Certificates made by a library, and by hand where no library makes them.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

use super::{Certificate, read};

fn made(change: impl FnOnce(&mut CertificateParams)) -> Result<Certificate, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    change(&mut params);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    read(certificate.der())
}

/// A `subjectAltName` of these names, each a tag and its content.
fn names(names: &[(u8, &[u8])]) -> CustomExtension {
    let mut list = Vec::new();
    for (tag, content) in names {
        list.extend([*tag, u8::try_from(content.len()).unwrap()]);
        list.extend_from_slice(content);
    }
    let mut value = vec![0x30, u8::try_from(list.len()).unwrap()];
    value.extend(list);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], value)
}

#[test]
fn parts_are_written_as_envoy_does() {
    let certificate = made(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "A, B + C");
        name.push(DnType::CommonName, " me#");
        name.push(DnType::CustomDnType(vec![2, 999, 1]), "x");
        params.serial_number = Some(SerialNumber::from(vec![0x00, 0xab, 0x01]));
        params.subject_alt_names = vec![
            SanType::URI("spiffe://a/b".try_into().unwrap()),
            SanType::DnsName("a.test".try_into().unwrap()),
            SanType::URI("spiffe://c".try_into().unwrap()),
            SanType::Rfc822Name("me@a.test".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::IpAddress("::1".parse().unwrap()),
        ];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    })
    .unwrap();
    assert_eq!(certificate.subject, "2.999.1=x,CN=\\ me#,O=A\\, B \\+ C,C=DE");
    assert_eq!(certificate.issuer, certificate.subject);
    assert_eq!(certificate.serial, "ab01");
    assert_eq!(certificate.sha256.len(), 64);
    assert_eq!(certificate.uris, ["spiffe://a/b", "spiffe://c"]);
    assert_eq!(certificate.dns_names, ["a.test"]);
    assert_eq!(certificate.emails, ["me@a.test"]);
    let addresses: Vec<_> = certificate.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1", "::1"]);
    assert_eq!(certificate.validity, (1_577_836_800, 4_102_444_800));
}

#[test]
fn names_that_two_readers_may_read_differently_are_none() {
    let extension = names(&[
        (0x86, b"spiffe://a/b\0.evil"),
        (0x82, b"a.test\0"),
        (0x82, "\u{e4}.test".as_bytes()),
        (0x81, b"\xff@a"),
        (0x87, b"123"),
        (0x82, b"b.test"),
    ]);
    let certificate = made(|params| params.custom_extensions.push(extension)).unwrap();
    assert_eq!(certificate.uris, [""; 0]);
    assert_eq!(certificate.dns_names, ["b.test"]);
    assert_eq!(certificate.emails, [""; 0]);
    assert!(certificate.addresses.is_empty());
}

#[test]
fn two_lists_of_names_and_damage_are_refused() {
    let twice = made(|params| {
        params.custom_extensions.push(names(&[(0x82, b"a.test")]));
        params.custom_extensions.push(names(&[(0x82, b"b.test")]));
    });
    assert_eq!(twice, Err("it is not well-formed DER".to_owned()));
    let whole = CertificateParams::default()
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    for length in 0..whole.der().len() {
        assert!(read(&whole.der()[..length]).is_err(), "{length}");
    }
    assert!(read(&[whole.der().as_ref(), &[0]].concat()).is_err());
}
