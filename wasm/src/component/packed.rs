//! The `packed` lists of `wit/filter.wit`: u32 n; n times (u32 offset, u32 length); then the bytes. Little endian.

use leno_sdk::host::HostError;

/// Packs names and values alternately. `fields` is called twice with the same fields: to measure, and to copy.
pub(super) fn pack(
    fields: impl Fn(&mut dyn FnMut(&[u8], &[u8])) -> Result<(), HostError>,
) -> Result<Vec<u8>, HostError> {
    let mut packed = vec![0; 4];
    let (mut count, mut offset) = (0u32, 0u32);
    fields(&mut |name, value| {
        for piece in [name, value] {
            let size = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            packed.extend_from_slice(&offset.to_le_bytes());
            packed.extend_from_slice(&size.to_le_bytes());
            offset = offset.saturating_add(size);
            count += 1;
        }
    })?;
    packed[..4].copy_from_slice(&count.to_le_bytes());
    packed.reserve(offset as usize);
    fields(&mut |name, value| {
        packed.extend_from_slice(name);
        packed.extend_from_slice(value);
    })?;
    Ok(packed)
}

/// As [`pack`], of a list that the host keeps.
pub(super) fn pack_list(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    pack(|each| {
        fields.iter().for_each(|(name, value)| each(name, value));
        Ok(())
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::pack_list;

    #[test]
    fn packs_names_and_values_in_order() {
        assert_eq!(pack_list(&[]), [0, 0, 0, 0]);
        let packed = pack_list(&[(b"ab".to_vec(), b"c".to_vec())]);
        assert_eq!(packed, b"\x02\0\0\0\0\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\0\0abc");
    }
}
