//! From downloaded bytes to the module: gzip, zstd and tar are undone under a size limit.

use std::io::{Cursor, Read};

use bytes::Bytes;

/// Archives with more entries than this are not somebody's filter.
const MAX_ENTRIES: usize = 100_000;
/// zstd's own default bound (128 MiB of window).
const ZSTD_WINDOW_LOG: u32 = 27;

/// Why there is no module to be had from the bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("larger than the limit of {limit} bytes when unpacked")]
    TooLarge { limit: u64 },
    #[error("{0}")]
    NotWasm(String),
    /// An archive without a module; another layer may have it.
    #[error("the archive has neither plugin.wasm nor a single other .wasm file")]
    Absent,
    #[error("damaged archive: {0}")]
    Damaged(std::io::Error),
}

/// Undoes up to one compression and one tar around a module. Work that may take long: not for an async thread.
pub(crate) fn unpack(bytes: Bytes, limit: u64) -> Result<Bytes, UnpackError> {
    let module = match bytes.as_ref() {
        [0x1f, 0x8b, ..] => from_stream(flate2::read::MultiGzDecoder::new(Cursor::new(bytes)), limit)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder =
                zstd::stream::read::Decoder::new(Cursor::new(bytes)).map_err(UnpackError::Damaged)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(UnpackError::Damaged)?;
            from_stream(decoder, limit)?
        }
        plain if is_tar(plain) => from_tar(Cursor::new(bytes), limit)?,
        _ => bytes,
    };
    if module.len() as u64 > limit {
        return Err(UnpackError::TooLarge { limit });
    }
    check_magic(&module).map_err(UnpackError::NotWasm)?;
    Ok(module)
}

/// True for the preamble of a component, false for that of a core module; else what the bytes look like.
pub(crate) fn check_magic(bytes: &[u8]) -> Result<bool, String> {
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(false),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(true),
        [0, b'a', b's', b'm', version @ ..] => Err(match version {
            [a, b, c, d, ..] => format!("unknown Wasm version {a:02x} {b:02x} {c:02x} {d:02x}"),
            _ => "cut off inside its first 8 bytes".to_owned(),
        }),
        _ => Err(describe(bytes)),
    }
}

/// What bytes look like, for the one who has to find out why they came.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(&bytes[..bytes.len().min(512)])
        .trim_start()
        .to_lowercase();
    let kind = match bytes {
        [] => "it is empty",
        [0x1f, 0x8b, ..] => "it is gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is zstd",
        [b'P', b'K', ..] => "it is a zip file",
        [0x7f, b'E', b'L', b'F', ..] => "it is a native program (ELF), not built for a wasm target",
        [0, b'a', b's', b'm', ..] => "it is Wasm",
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => {
            "it is an HTML page: is the address right, or does the server want a login?"
        }
        _ if text.starts_with("version https://git-lfs") => "it is a Git LFS pointer, not the file itself",
        _ if text.starts_with("(module") || text.starts_with("(component") => {
            "it is Wasm in text form: translate it with wat2wasm"
        }
        _ if text.starts_with(['{', '[']) => "it looks like JSON",
        _ if text.starts_with('<') => "it looks like XML",
        _ => {
            let head: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return format!("it begins with {}", head.join(" "));
        }
    };
    kind.to_owned()
}

fn from_stream(stream: impl Read, limit: u64) -> Result<Bytes, UnpackError> {
    // A tar may be a little larger than the file in it; a bomb stops here, not when memory is gone.
    let mut stream = Capped {
        inner: stream,
        left: limit.saturating_mul(2).max(1024 * 1024),
    };
    let mut head = Vec::with_capacity(512);
    let read = stream.by_ref().take(512).read_to_end(&mut head);
    read.map_err(|error| classify(error, limit))?;
    let whole = Cursor::new(head.clone()).chain(stream);
    if is_tar(&head) {
        from_tar(whole, limit)
    } else {
        read_all(whole, limit)
    }
}

fn from_tar(archive: impl Read, limit: u64) -> Result<Bytes, UnpackError> {
    let mut archive = tar::Archive::new(archive);
    let mut others: Vec<Bytes> = Vec::new();
    let mut count = 0;
    for entry in archive.entries().map_err(|error| classify(error, limit))? {
        let mut entry = entry.map_err(|error| classify(error, limit))?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(UnpackError::Damaged(std::io::Error::other(format!(
                "more than {MAX_ENTRIES} entries"
            ))));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(|error| classify(error, limit))?.into_owned();
        if path.file_name().is_some_and(|name| name == "plugin.wasm") {
            return read_entry(&mut entry, limit);
        }
        // Without a plugin.wasm a single other module is meant; a second one makes the choice impossible.
        if path.extension().is_some_and(|extension| extension == "wasm") && others.len() < 2 {
            others.push(read_entry(&mut entry, limit)?);
        }
    }
    match others.len() {
        1 => others.pop().ok_or(UnpackError::Absent),
        _ => Err(UnpackError::Absent),
    }
}

/// The tar reader takes the end of an archive inside a file for the end of the file.
fn read_entry(entry: &mut tar::Entry<'_, impl Read>, limit: u64) -> Result<Bytes, UnpackError> {
    let size = entry.size();
    let bytes = read_all(entry, limit)?;
    match bytes.len() as u64 == size {
        true => Ok(bytes),
        false => Err(UnpackError::Damaged(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

fn read_all(stream: impl Read, limit: u64) -> Result<Bytes, UnpackError> {
    let mut bytes = Vec::new();
    stream
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| classify(error, limit))?;
    match bytes.len() as u64 > limit {
        true => Err(UnpackError::TooLarge { limit }),
        false => Ok(bytes.into()),
    }
}

/// POSIX.1-1988 puts `ustar` at byte 257; GNU tar does the same.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

fn classify(error: std::io::Error, limit: u64) -> UnpackError {
    match error.get_ref().is_some_and(|inner| inner.is::<LimitReached>()) {
        true => UnpackError::TooLarge { limit },
        false => UnpackError::Damaged(error),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("limit reached")]
struct LimitReached;

/// Fails, instead of ending, when the limit is reached.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other(LimitReached))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const LIMIT: u64 = 64 * 1024;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn check(bytes: Vec<u8>, expected: Result<&[u8], &str>) {
        match (unpack(bytes.into(), LIMIT), expected) {
            (Ok(module), expected) => assert_eq!(Ok(module.as_ref()), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[test]
    fn finds_the_module_in_every_wrapping() {
        let archive = tar(&[
            ("etc/passwd", b"x"),
            ("./plugin.wasm", MODULE),
            ("other.wasm", b"no"),
        ]);
        check(MODULE.to_vec(), Ok(MODULE));
        check(gzip(MODULE), Ok(MODULE));
        check(zstd::encode_all(MODULE, 1).unwrap(), Ok(MODULE));
        check(archive.clone(), Ok(MODULE));
        check(gzip(&archive), Ok(MODULE));
        check(zstd::encode_all(archive.as_slice(), 1).unwrap(), Ok(MODULE));
        check(tar(&[("a/filter.wasm", MODULE)]), Ok(MODULE));
    }

    #[test]
    fn does_not_guess_between_modules() {
        check(
            tar(&[("a.wasm", MODULE), ("b.wasm", MODULE)]),
            Err("neither plugin.wasm"),
        );
        check(tar(&[("readme", b"x")]), Err("neither plugin.wasm"));
    }

    #[test]
    fn a_link_is_not_a_module() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder
            .append_link(&mut header, "plugin.wasm", "/etc/passwd")
            .unwrap();
        check(builder.into_inner().unwrap(), Err("neither plugin.wasm"));
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![0; 8 * 1024 * 1024];
        check(gzip(&zeros), Err("larger than the limit"));
        check(
            zstd::encode_all(zeros.as_slice(), 1).unwrap(),
            Err("larger than the limit"),
        );
        check(
            gzip(&tar(&[("plugin.wasm", &zeros)])),
            Err("larger than the limit"),
        );
        check(
            gzip(&tar(&[("big", &zeros), ("plugin.wasm", MODULE)])),
            Err("larger than the limit"),
        );
    }

    #[test]
    fn damage_is_reported() {
        let mut cut = gzip(&tar(&[("plugin.wasm", &[MODULE, &[7; 4000]].concat())]));
        cut.truncate(cut.len() / 2);
        check(cut, Err("damaged archive"));
        let mut short = tar(&[("plugin.wasm", MODULE)]);
        short.truncate(515);
        check(short, Err("damaged archive"));
    }

    #[test]
    fn says_what_came_instead() {
        check(b" <!DOCTYPE html><html>login".to_vec(), Err("HTML"));
        check(b"(module)".to_vec(), Err("text form"));
        check(b"\x7fELF\x02".to_vec(), Err("ELF"));
        check(b"{\"errors\":[]}".to_vec(), Err("JSON"));
        check(Vec::new(), Err("empty"));
        check(b"\0asm\x02\0\0\0".to_vec(), Err("unknown Wasm version"));
        check(b"\0asm".to_vec(), Err("cut off"));
        check(b"hello world".to_vec(), Err("68 65 6c"));
    }
}
