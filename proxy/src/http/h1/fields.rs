//! Field lines of HTTP/1 heads: which stay in the list, and what the others say about the connection.

use crate::http::error::Malformed;
use crate::http::grammar::{
    is_authority, is_forbidden_trailer, is_token, is_value, number, takes_trailers, trim,
};
use crate::http::h1::lines::split;
use crate::http::headers::Headers;
use crate::http::settings::Limits;

/// What the fields of a head say about connection and framing.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) host: bool,
    pub(super) expects_continue: bool,
    /// `connection: upgrade`.
    connection_upgrade: bool,
    /// `upgrade` names something else than h2c.
    upgrade: bool,
    /// `connection` names fields that are in the list.
    nominated: bool,
}

impl Said {
    /// Whether the peer asks for another protocol.
    pub(super) fn wants_upgrade(&self) -> bool {
        self.connection_upgrade && self.upgrade
    }
}

/// Which head the fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Request,
    Response,
}

/// Appends the fields of `lines` to `headers`. A `host` becomes the value of the `:authority` that must be there.
pub(super) fn read<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    role: Role,
    limits: &Limits,
    headers: &mut Headers,
) -> Result<Said, Malformed> {
    let mut said = Said::default();
    let mut host: Option<&[u8]> = None;
    let mut count = 0;
    for line in lines {
        let (name, value) = name_and_value(line)?;
        count += 1;
        if count > limits.fields {
            return Err(Malformed::TooManyFields);
        }
        if role == Role::Request && name.eq_ignore_ascii_case(b"host") {
            if host.is_some() {
                return Err(Malformed::SeveralHosts);
            }
            if !is_authority(value) {
                return Err(Malformed::Host);
            }
            host = Some(value);
        } else if !said.take(name, value, role, headers)? {
            headers.append(name, value);
        }
    }
    if said.chunked && said.content_length.is_some() {
        return Err(Malformed::ContentLengthAndTransferEncoding);
    }
    if said.nominated {
        remove_nominated(headers);
    }
    if let Some(host) = host {
        said.host = true;
        headers.set_first(host);
    }
    Ok(said)
}

/// Reads the fields after a chunked body.
pub(super) fn read_trailers(section: &[u8], limits: &Limits) -> Result<Headers, Malformed> {
    let mut trailers = Headers::new();
    for line in split(section) {
        let (name, value) = name_and_value(line)?;
        trailers.append(name, value);
        if trailers.len() > limits.fields {
            return Err(Malformed::TrailersTooLarge);
        }
    }
    if trailers.iter().any(|(name, _)| is_forbidden_trailer(name)) {
        return Err(Malformed::Trailer);
    }
    Ok(trailers)
}

fn name_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(Malformed::Folding);
    }
    let colon = memchr::memchr(b':', line).ok_or(Malformed::FieldName)?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    if !is_token(name) {
        return Err(Malformed::FieldName);
    }
    if !is_value(value) {
        return Err(Malformed::FieldValue);
    }
    Ok((name, value))
}

impl Said {
    /// Whether the field has been dealt with and does not belong into the list.
    fn take(
        &mut self,
        name: &[u8],
        value: &[u8],
        role: Role,
        headers: &mut Headers,
    ) -> Result<bool, Malformed> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if role == Role::Request && is(b"te") => {
                if takes_trailers(value) {
                    headers.set(b"te", b"trailers");
                }
            }
            6 if role == Role::Request && is(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Malformed::Expectation);
                }
                self.expects_continue = true;
            }
            7 if is(b"upgrade") => self.upgrade |= !value.eq_ignore_ascii_case(b"h2c"),
            10 if is(b"connection") => self.connection(value, headers)?,
            10 if is(b"keep-alive") => {}
            14 if is(b"http2-settings") => {}
            14 if is(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(Malformed::ContentLength);
                }
                self.content_length = Some(number(value).ok_or(Malformed::ContentLength)?);
                return Ok(false);
            }
            16 if is(b"proxy-connection") => {}
            17 if is(b"transfer-encoding") => self.transfer_encoding(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn connection(&mut self, value: &[u8], headers: &mut Headers) -> Result<(), Malformed> {
        let mut others = false;
        for option in value
            .split(|byte| *byte == b',')
            .map(trim)
            .filter(|option| !option.is_empty())
        {
            let is = |known: &[u8]| option.eq_ignore_ascii_case(known);
            if !is_token(option) || is(b"content-length") || is(b"transfer-encoding") || is(b"host") {
                return Err(Malformed::Connection);
            } else if is(b"close") {
                self.close = true;
            } else if is(b"keep-alive") {
                self.keep_alive = true;
            } else if is(b"upgrade") {
                self.connection_upgrade = true;
            } else {
                others |= !is(b"te") && !is(b"http2-settings") && !is(b"proxy-connection");
            }
        }
        if others {
            self.nominated = true;
            headers.append(b"connection", value);
        }
        Ok(())
    }

    /// Exactly one `chunked`: every other list has been read in two ways by somebody.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Malformed> {
        if self.chunked {
            return Err(Malformed::TransferEncoding);
        }
        let is_chunked = |coding: &[u8]| trim(coding).eq_ignore_ascii_case(b"chunked");
        let mut codings = value.split(|byte| *byte == b',');
        match (codings.next_back(), codings.next()) {
            (Some(last), None) if is_chunked(last) => {
                self.chunked = true;
                Ok(())
            }
            (Some(last), Some(first)) if is_chunked(last) && is_token(trim(first)) && !is_chunked(first) => {
                Err(Malformed::UnknownTransferEncoding)
            }
            (Some(last), None) if is_token(trim(last)) => Err(Malformed::UnknownTransferEncoding),
            _ => Err(Malformed::TransferEncoding),
        }
    }
}

/// RFC 9110 §7.6.1: the fields that `connection` names are for this connection only.
fn remove_nominated(headers: &mut Headers) {
    let named: Vec<Vec<u8>> = headers
        .get_all(b"connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|option| trim(option).to_ascii_lowercase())
        .collect();
    headers.retain(|name, _| {
        name != b"connection" && (name == b"te" || !named.iter().any(|other| other == name))
    });
}
