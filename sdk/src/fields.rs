//! A map of fields as a filter reads and changes it: bytes first, because HTTP does not promise UTF-8.

use crate::exchange::Handle;
#[cfg(target_family = "wasm")]
use crate::host::ExchangeHost as _;
use crate::host::{Edit, HostError, Map};

/// One of the four maps of an exchange. Names are compared without regard to ASCII case.
///
/// A map that is not there in the current phase reads as empty; changing one is logged as a warning and does
/// nothing. [`try_edit`](Self::try_edit) tells.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    handle: &'a Handle,
    map: Map,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(handle: &'a Handle, map: Map) -> Self {
        Self { handle, map }
    }

    /// The first value of a field.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        self.handle
            .host()
            .header(self.map, name.as_ref(), &mut value)
            .ok()?;
        Some(value)
    }

    /// The first value of a field as text; nothing if it is not UTF-8.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<String> {
        String::from_utf8(self.get(name)?).ok()
    }

    /// All values of a field, in wire order.
    pub fn all(&self, name: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let name = name.as_ref();
        let mut values = Vec::new();
        self.each(|field, value| {
            if field.eq_ignore_ascii_case(name) {
                values.push(value.to_vec());
            }
        });
        values
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Shows every field in wire order, pseudo headers first.
    pub fn each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        // An absent map has no fields to show.
        let _ = self.handle.host().headers(self.map, &mut visit);
    }

    /// Every field in wire order, pseudo headers first.
    #[must_use]
    pub fn to_vec(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = Vec::new();
        self.each(|name, value| fields.push((name.to_vec(), value.to_vec())));
        fields
    }

    /// The value of a cookie of a request, over all `cookie` fields (RFC 6265, 5.4). Quotes are kept.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        self.all("cookie").iter().find_map(|field| {
            field.split(|byte| *byte == b';').find_map(|pair| {
                let pair = pair.trim_ascii();
                let equals = pair.iter().position(|byte| *byte == b'=')?;
                (&pair[..equals] == name.as_bytes()).then(|| pair[equals + 1..].to_vec())
            })
        })
    }

    /// One more field, at the end.
    pub fn append(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.edit(Edit::Append(name.as_ref(), value.as_ref()));
    }

    /// The only field of this name.
    pub fn set(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.edit(Edit::Set(name.as_ref(), value.as_ref()));
    }

    /// No field of this name.
    pub fn remove(&self, name: impl AsRef<[u8]>) {
        self.edit(Edit::Remove(name.as_ref()));
    }

    /// Makes a change.
    ///
    /// # Errors
    /// `WrongPhase` if the map is not there, or already sent.
    pub fn try_edit(&self, edit: Edit<'_>) -> Result<(), HostError> {
        self.handle.host().edit(self.map, edit)
    }

    fn edit(&self, edit: Edit<'_>) {
        if let Err(error) = self.try_edit(edit) {
            let name = match edit {
                Edit::Append(name, _) | Edit::Set(name, _) | Edit::Remove(name) => name,
                Edit::Replace(_) => b"all fields",
            };
            let name = String::from_utf8_lossy(name);
            self.handle
                .context()
                .warn(format_args!("{:?}: cannot change {name}: {error}", self.map));
        }
    }
}

/// The first value of a parameter in the query of a `:path`, with `%` and `+` decoded (WHATWG URL, 5.1).
#[must_use]
pub fn query_param(path: &[u8], name: &str) -> Option<Vec<u8>> {
    let start = path.iter().position(|byte| *byte == b'?')? + 1;
    let end = path.iter().position(|byte| *byte == b'#').unwrap_or(path.len());
    path.get(start..end)?
        .split(|byte| *byte == b'&')
        .find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decode(&pair[..equals]) == name.as_bytes())
                .then(|| decode(pair.get(equals + 1..).unwrap_or_default()))
        })
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::query_param;

    #[test]
    fn query_parameters_are_decoded() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(
                query_param(path.as_bytes(), "k").as_deref(),
                expected.map(str::as_bytes),
                "{path}"
            );
        };
        check("/a?k=v", Some("v"));
        check("/a?x=1&k=a%20b+c%", Some("a b c%"));
        check("/a?%6B=v#k=w", Some("v"));
        check("/a?k", Some(""));
        check("/a?kk=v", None);
        check("/a", None);
        check("/a#b?k=v", None);
    }
}
