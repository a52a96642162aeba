//! Values of the package as values of this crate, and back.

use super::bindings::leno::filter::types;
use crate::host::{Direction, HostError, Map};

pub(super) fn error(error: types::Error) -> HostError {
    match error {
        types::Error::NotFound => HostError::NotFound,
        types::Error::WrongPhase => HostError::WrongPhase,
        types::Error::Invalid => HostError::Invalid,
        types::Error::Conflict => HostError::Conflict,
        types::Error::Empty => HostError::Empty,
        types::Error::Limit => HostError::Limit,
        types::Error::Denied => HostError::Denied,
        types::Error::Unsupported => HostError::Unsupported,
        types::Error::Internal => HostError::Internal,
    }
}

pub(super) fn map_of(map: Map) -> types::Map {
    match map {
        Map::RequestHeaders => types::Map::RequestHeaders,
        Map::RequestTrailers => types::Map::RequestTrailers,
        Map::ResponseHeaders => types::Map::ResponseHeaders,
        Map::ResponseTrailers => types::Map::ResponseTrailers,
    }
}

pub(super) fn direction_of(direction: Direction) -> types::Direction {
    match direction {
        Direction::Request => types::Direction::Request,
        Direction::Response => types::Direction::Response,
    }
}

pub(super) fn fields(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<types::Field> {
    pairs
        .into_iter()
        .map(|(name, value)| types::Field { name, value })
        .collect()
}

pub(super) fn pairs(packed: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    unpack(packed, &mut |name, value| {
        pairs.push((name.to_vec(), value.to_vec()))
    });
    pairs
}

/// Shows the fields of a `packed`; stops where it is not sound.
pub(super) fn unpack(packed: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) {
    let number = |at: usize| {
        let bytes = packed.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0).unwrap_or(0);
    let Some(bytes) = count
        .checked_mul(8)
        .and_then(|table| packed.get(table.checked_add(4)?..))
    else {
        return;
    };
    let text = |index: usize| {
        let (offset, len) = (number(4 + index * 8)?, number(8 + index * 8)?);
        bytes.get(offset..offset.checked_add(len)?)
    };
    for index in (0..count).step_by(2) {
        let (Some(name), Some(value)) = (text(index), text(index + 1)) else {
            return;
        };
        each(name, value);
    }
}

/// Appends without a copy where that is possible.
pub(super) fn give(to: &mut Vec<u8>, bytes: Vec<u8>) {
    if to.is_empty() {
        *to = bytes;
    } else {
        to.extend_from_slice(&bytes);
    }
}
