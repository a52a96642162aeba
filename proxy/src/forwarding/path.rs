//! One spelling per path, before any match: dot segments, percent-encodings, slashes.

use leno_model::http::HttpConnectionManager;

use super::BadPath;
use crate::http::headers::Headers;

/// As configured; without configuration nothing is looked at.
pub(super) fn prepare(manager: &HttpConnectionManager, headers: &mut Headers) -> Result<(), BadPath> {
    if !manager.normalize_path && !manager.merge_slashes {
        return Ok(());
    }
    let Some(target) = headers.get(b":path").filter(|target| target.starts_with(b"/")) else {
        return Ok(());
    };
    let (path, rest) = target.split_at(memchr::memchr2(b'?', b'#', target).unwrap_or(target.len()));
    let mut path = path.to_vec();
    if manager.normalize_path {
        path = without_dots(&decoded(&path)).ok_or(BadPath)?;
    }
    if manager.merge_slashes {
        path.dedup_by(|next, before| *next == b'/' && *before == b'/');
    }
    path.extend_from_slice(rest);
    if path != target {
        headers.set(b":path", &path);
    }
    Ok(())
}

/// Unreserved characters stand for themselves (RFC 3986 §6.2.2.2), other encodings in upper case (§6.2.2.1), and
/// `\` is `/`, as browsers take it.
fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(path.len());
    let mut position = 0;
    while let Some(&byte) = path.get(position) {
        let encoded = match path.get(position..position + 3) {
            Some(&[b'%', high, low]) => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
            Some(_) | None => None,
        };
        match encoded {
            Some(plain) if plain.is_ascii_alphanumeric() || b"-._~".contains(&plain) => out.push(plain),
            Some(_) => out.extend(path[position..position + 3].iter().map(u8::to_ascii_uppercase)),
            None => out.push(if byte == b'\\' { b'/' } else { byte }),
        }
        position += if encoded.is_some() { 3 } else { 1 };
    }
    out
}

/// RFC 3986 §5.2.4; `None` where it would go above the root.
fn without_dots(path: &[u8]) -> Option<Vec<u8>> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let all: Vec<&[u8]> = path.split(|&byte| byte == b'/').skip(1).collect();
    for (index, &segment) in all.iter().enumerate() {
        let last = index + 1 == all.len();
        match segment {
            b"." if last => segments.push(b""),
            b"." => {}
            b".." => {
                segments.pop()?;
                if last {
                    segments.push(b"");
                }
            }
            segment => segments.push(segment),
        }
    }
    let mut out = vec![b'/'];
    out.extend(segments.join(&b'/'));
    Some(out)
}

#[cfg(test)]
mod tests {
    use leno_model::http::HttpConnectionManager;

    use super::prepare;
    use crate::http::headers::Headers;

    #[track_caller]
    fn check(normalize_path: bool, merge_slashes: bool, path: &str, expected: Option<&str>) {
        let manager = HttpConnectionManager {
            normalize_path,
            merge_slashes,
            ..HttpConnectionManager::default()
        };
        let mut headers: Headers = [(":path", path)].into_iter().collect();
        let result = prepare(&manager, &mut headers).ok();
        let got = result.map(|()| std::str::from_utf8(headers.get(b":path").unwrap()).unwrap());
        assert_eq!(got, expected, "{path}");
    }

    #[test]
    fn paths_get_one_spelling() {
        check(false, false, "/a/../b//c", Some("/a/../b//c"));
        check(true, false, "/a/../b//c?x=/../y", Some("/b//c?x=/../y"));
        check(true, true, "/a/./b//c/.", Some("/a/b/c/"));
        check(true, false, "/%61%2fb%7E/%2e%2E/c", Some("/c"));
        check(true, false, "/a%2fb", Some("/a%2Fb"));
        check(true, false, "/a\\b/..", Some("/a/"));
        check(true, false, "/..", None);
        check(true, false, "/a/../../b", None);
        check(true, false, "*", Some("*"));
        check(true, false, "/%zz%4", Some("/%zz%4"));
        check(false, true, "//a///b//", Some("/a/b/"));
    }
}
