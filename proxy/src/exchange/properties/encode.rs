//! Values of attributes as bytes, in Proxy-Wasm's way.

/// A value before it is encoded.
pub(crate) enum Value<'a> {
    /// As it is.
    Text(&'a [u8]),
    /// 8 bytes, little endian. Times and durations are nanoseconds.
    Int(u64),
    /// 8 bytes, little endian.
    Double(f64),
    /// 1 byte.
    Bool(bool),
    /// The pairs format.
    Map(&'a [(&'a [u8], &'a [u8])]),
}

/// Appends a value.
pub(crate) fn append(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => out.extend_from_slice(text),
        Value::Int(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Bool(truth) => out.push(u8::from(truth)),
        Value::Map(pairs) => append_pairs(out, pairs),
    }
}

/// Decimal digits only.
pub(crate) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Count; the two sizes of each pair; then name, NUL, value, NUL of each. Sizes are 32 bits, little endian.
fn append_pairs(out: &mut Vec<u8>, pairs: &[(&[u8], &[u8])]) {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&size(pairs.len()));
    for (name, value) in pairs {
        out.extend_from_slice(&size(name.len()));
        out.extend_from_slice(&size(value.len()));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(text);
        out.push(0);
    }
}
