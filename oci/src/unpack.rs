//! From downloaded bytes to the module: gzip, zstd and tar are undone under a size limit.

use std::io::{Cursor, Read};

use bytes::Bytes;

use crate::archive::{self, Above};

/// Archives are made of blocks of this size.
const BLOCK: usize = 512;
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
///
/// `above` holds what the layers over this one hide of it, and learns what this one hides of those below.
pub(crate) fn unpack(bytes: &Bytes, limit: u64, above: &mut Above) -> Result<Bytes, UnpackError> {
    let (head, _) = open(bytes, limit)?;
    let module = if is_tar(&head) {
        archive::module(|| whole(bytes, limit), limit, above)?
    } else if is_compressed(bytes) {
        read_all(whole(bytes, limit)?, limit)?
    } else {
        bytes.clone()
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

/// The first block and the rest of what is in `bytes`, without their compression.
fn open(bytes: &Bytes, limit: u64) -> Result<(Vec<u8>, impl Read + use<>), UnpackError> {
    let packed = Cursor::new(bytes.clone());
    let inner: Box<dyn Read> = match bytes.as_ref() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::new(packed).map_err(UnpackError::Damaged)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(UnpackError::Damaged)?;
            Box::new(decoder)
        }
        _ => Box::new(packed),
    };
    // A tar may be a little larger than the file in it; a bomb stops here, not when memory is gone.
    let mut stream = Capped {
        inner,
        left: limit.saturating_mul(2).max(1024 * 1024),
    };
    let mut head = Vec::with_capacity(BLOCK);
    let read = stream.by_ref().take(BLOCK as u64).read_to_end(&mut head);
    read.map_err(|error| classify(error, limit))?;
    Ok((head, stream))
}

fn whole(bytes: &Bytes, limit: u64) -> Result<impl Read + use<>, UnpackError> {
    let (head, rest) = open(bytes, limit)?;
    Ok(Cursor::new(head).chain(rest))
}

fn is_compressed(bytes: &[u8]) -> bool {
    matches!(bytes, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
}

pub(crate) fn read_all(stream: impl Read, limit: u64) -> Result<Bytes, UnpackError> {
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

/// POSIX.1-1988 puts `ustar` at byte 257; GNU tar does the same. An archive of nothing begins with its end: zeros.
fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar") || (head.len() == BLOCK && head.iter().all(|byte| *byte == 0))
}

pub(crate) fn classify(error: std::io::Error, limit: u64) -> UnpackError {
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
        match (unpack(&bytes.into(), LIMIT, &mut Above::default()), expected) {
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
    fn an_archive_of_nothing_has_no_module() {
        check(gzip(&[0; 1024]), Err("neither plugin.wasm"));
        check(vec![0; 1024], Err("neither plugin.wasm"));
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        // Zeros would be the end of an archive.
        let sevens = vec![7; 8 * 1024 * 1024];
        check(gzip(&sevens), Err("larger than the limit"));
        check(
            zstd::encode_all(sevens.as_slice(), 1).unwrap(),
            Err("larger than the limit"),
        );
        check(
            gzip(&tar(&[("plugin.wasm", &sevens)])),
            Err("larger than the limit"),
        );
        check(
            gzip(&tar(&[("big", &sevens), ("plugin.wasm", MODULE)])),
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
