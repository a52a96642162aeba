//! The serialised form of header maps: u32 count; per pair u32 key size and u32 value size; then per pair the key,
//! NUL, the value, NUL. Little endian (proxy-wasm/spec, "Serialization").

/// Limits of Envoy's host, which guests know.
const MAX_PAIRS: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// Appends `fields` as pairs. `each` is called twice with the same fields: to count, and to copy.
pub(super) fn encode(
    bytes: &mut Vec<u8>,
    fields: impl Fn(&mut dyn FnMut(&[u8], &[u8])) -> Result<(), leno_sdk::host::HostError>,
) -> Result<(), leno_sdk::host::HostError> {
    let start = bytes.len();
    let mut count = 0u32;
    bytes.extend_from_slice(&[0; 4]);
    fields(&mut |name, value| {
        count += 1;
        bytes.extend_from_slice(&size(name));
        bytes.extend_from_slice(&size(value));
    })?;
    bytes[start..start + 4].copy_from_slice(&count.to_le_bytes());
    fields(&mut |name, value| {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    })
}

fn size(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads pairs; `None` when they are malformed or too many. No bytes at all are no pairs.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let word = |index: usize| -> Option<usize> {
        let at = index.checked_mul(4)?;
        let word = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
    };
    let count = word(0)?;
    if count > MAX_PAIRS {
        return None;
    }
    let mut at = 4 + count * 8;
    let mut next = |size: usize| -> Option<&[u8]> {
        let end = at.checked_add(size)?;
        let piece = bytes.get(at..end)?;
        if *bytes.get(end)? != 0 {
            return None;
        }
        at = end + 1;
        Some(piece)
    };
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let (name_size, value_size) = (word(1 + index * 2)?, word(2 + index * 2)?);
        pairs.push((next(name_size)?, next(value_size)?));
    }
    Some(pairs)
}

/// As [`decode`], owned.
pub(super) fn decode_owned(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let pairs = decode(bytes)?;
    Some(
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    fn check(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, |each| {
            fields.iter().for_each(|(name, value)| each(name, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(decode(&bytes).unwrap(), fields);
        bytes
    }

    #[test]
    fn keeps_fields_and_their_order() {
        check(&[]);
        check(&[(b"a", b"1"), (b"", b""), (b"a", b"2")]);
        let bytes = check(&[(b"k", b"value")]);
        assert_eq!(bytes, b"\x01\0\0\0\x01\0\0\0\x05\0\0\0k\0value\0");
    }

    #[test]
    fn refuses_every_cut_and_every_size_that_lies() {
        let bytes = check(&[(b"name", b"value"), (b"x", b"")]);
        for end in 1..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
        }
        for at in 0..20 {
            let mut lie = bytes.clone();
            lie[at] = 0xff;
            assert_eq!(decode(&lie), None, "byte {at}");
        }
    }

    #[test]
    fn refuses_more_pairs_than_envoy() {
        let fields = vec![(b"a".as_slice(), b"b".as_slice()); 1025];
        let mut bytes = Vec::new();
        encode(&mut bytes, |each| {
            fields.iter().for_each(|(name, value)| each(name, value));
            Ok(())
        })
        .unwrap();
        assert_eq!(decode(&bytes), None);
    }
}
