//! A sha256 digest: the name that content goes by, everywhere in the mesh.

use sha2::{Digest as _, Sha256};

/// A sha256 digest, shown as `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Reads `sha256:<hex>` or the bare 64 hex digits.
    pub fn parse(text: &str) -> Result<Digest, InvalidDigest> {
        let invalid = |reason| InvalidDigest {
            text: text.chars().take(100).collect(),
            reason,
        };
        let digits = match text.split_once(':') {
            None => text,
            Some(("sha256", digits)) => digits,
            Some(_) => return Err(invalid("only sha256 digests are supported")),
        };
        if digits.len() != 64 || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("want 64 lower-case hex digits"));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| invalid("want 64 lower-case hex digits"))?;
        Ok(Digest(bytes))
    }

    /// The 64 hex digits without the `sha256:` in front; safe as a file name.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Digest, InvalidDigest> {
        Digest::parse(text)
    }
}

/// A digest that is being computed while the bytes arrive.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: {reason}")]
pub struct InvalidDigest {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let digest = Digest::of(b"hello");
        assert_eq!(
            digest.to_string(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        assert_eq!(Digest::parse(&digest.hex()), Ok(digest));
    }

    #[test]
    fn refuses_other_text() {
        let upper = Digest::of(b"x").hex().to_uppercase();
        for text in [
            "",
            "sha256:",
            "sha256:12",
            "sha512:00",
            "md5:00",
            upper.as_str(),
            "../../etc/passwd",
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
