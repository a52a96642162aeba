//! What a certificate says of its holder (RFC 5280), as Envoy writes it.

use std::fmt::Write as _;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::tls::der::{self, INTEGER, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET};

/// The parts of a certificate that somebody may ask for.
///
/// A name that is not ASCII or has a NUL byte in it is none: whoever issued it and whoever reads it may see different
/// names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// RFC 2253.
    pub subject: String,
    /// RFC 2253.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// Of the whole certificate, hexadecimal.
    pub sha256: String,
    /// Alternative names.
    pub uris: Vec<String>,
    /// Alternative names.
    pub dns_names: Vec<String>,
    /// Alternative names.
    pub emails: Vec<String>,
    /// Alternative names.
    pub addresses: Vec<IpAddr>,
    /// Seconds since 1970: from, until.
    pub validity: (i64, i64),
}

/// Reads a certificate.
///
/// # Errors
/// It is malformed.
pub fn read(bytes: &[u8]) -> Result<Certificate, String> {
    let certificate = read_der(bytes).map_err(|Malformed| "it is not well-formed DER".to_owned())?;
    Ok(Certificate {
        sha256: hexadecimal(&Sha256::digest(bytes)),
        ..certificate
    })
}

/// RFC 5280 §4.1.
fn read_der(bytes: &[u8]) -> Result<Certificate, Malformed> {
    let mut whole = Reader::new(bytes);
    let mut fields = whole.inside(SEQUENCE)?.inside(SEQUENCE)?;
    if !whole.is_empty() {
        return Err(Malformed);
    }
    if fields.peek() == Some(VERSION) {
        fields.any()?;
    }
    let mut certificate = Certificate {
        serial: serial(fields.value(INTEGER)?),
        ..Certificate::default()
    };
    fields.value(SEQUENCE)?;
    certificate.issuer = name(fields.inside(SEQUENCE)?)?;
    let mut validity = fields.inside(SEQUENCE)?;
    let mut time = || {
        validity
            .any()
            .and_then(|(tag, content)| der::seconds(tag, content))
    };
    certificate.validity = (time()?, time()?);
    certificate.subject = name(fields.inside(SEQUENCE)?)?;
    fields.value(SEQUENCE)?;
    while !fields.is_empty() {
        if let (EXTENSIONS, content) = fields.any()? {
            read_extensions(Reader::new(content).inside(SEQUENCE)?, &mut certificate)?;
        }
    }
    Ok(certificate)
}

fn read_extensions(mut extensions: Reader<'_>, certificate: &mut Certificate) -> Result<(), Malformed> {
    let mut seen = false;
    while !extensions.is_empty() {
        let mut extension = extensions.inside(SEQUENCE)?;
        if extension.value(OBJECT_IDENTIFIER)? != ALTERNATIVE_NAMES {
            continue;
        }
        // Two of them: who knows which one the issuer meant.
        if std::mem::replace(&mut seen, true) {
            return Err(Malformed);
        }
        if extension.peek() == Some(BOOLEAN) {
            extension.any()?;
        }
        let mut names = extension.inside(OCTET_STRING)?.inside(SEQUENCE)?;
        while !names.is_empty() {
            match names.any()? {
                (EMAIL, text) => certificate.emails.extend(text_of(text)),
                (DNS, text) => certificate.dns_names.extend(text_of(text)),
                (URI, text) => certificate.uris.extend(text_of(text)),
                (ADDRESS, bytes) => certificate.addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// `id-ce-subjectAltName`: 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;

/// Tags of `GeneralName` (§4.2.1.6).
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// An `IA5String` that is one, and has no NUL in it.
fn text_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.is_ascii() && !text.contains('\0')).then(|| text.to_owned())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok()
}

fn serial(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    match &bytes[zeros..] {
        [] => "0".to_owned(),
        bytes => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 2253 §2: the last part first.
fn name(mut parts: Reader<'_>) -> Result<String, Malformed> {
    let mut texts = Vec::new();
    while !parts.is_empty() {
        let mut values = parts.inside(SET)?;
        let mut one = Vec::new();
        while !values.is_empty() {
            one.push(attribute(values.inside(SEQUENCE)?)?);
        }
        texts.push(one.join("+"));
    }
    texts.reverse();
    Ok(texts.join(","))
}

fn attribute(mut attribute: Reader<'_>) -> Result<String, Malformed> {
    let oid = der::dotted(attribute.value(OBJECT_IDENTIFIER)?)?;
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    let key = short.map_or(oid.as_str(), |(_, short)| short);
    let (tag, content) = attribute.any()?;
    // UTF8String, PrintableString and IA5String; others are rare, and shown as they are.
    let text = match tag {
        0x0c | 0x13 | 0x16 => std::str::from_utf8(content).ok(),
        _ => None,
    };
    Ok(match text {
        Some(text) => format!("{key}={}", escaped(text)),
        None => format!("{key}=#{tag:02x}{}", hexadecimal(content)),
    })
}

/// RFC 2253 §2.3, and what OpenSSL writes beyond it.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// RFC 2253 §2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, letter) in value.chars().enumerate() {
        match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', letter]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests;
