//! RSA signatures (RFC 8017): verifying only. A public key has no secrets, so nothing here needs constant time.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::modulus::Modulus;

/// Fewer bits can be factored; more are a way to keep a proxy busy.
const BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A public key.
pub(super) struct PublicKey {
    modulus: Modulus,
    exponent: u32,
}

/// What a signature is over.
#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

// DER of `DigestInfo` without the digest (RFC 8017, 9.2, note 1).
const SHA256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
const SHA384: [u8; 19] = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
    0x04, 0x30,
];
const SHA512: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
    0x04, 0x40,
];

impl Hash {
    /// Of the parts in a row.
    fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// MGF1 (RFC 8017, B.2.1).
    fn mask(self, seed: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for counter in 0u32.. {
            if out.len() >= size {
                break;
            }
            out.extend(self.digest(&[seed, &counter.to_be_bytes()]));
        }
        out.truncate(size);
        out
    }

    /// DER of `DigestInfo` without the digest.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().to_vec()
}

impl PublicKey {
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        // Longer ones are not even tried.
        let modulus = (modulus.len() <= 2 * BITS.end() / 8)
            .then(|| Modulus::new(modulus))
            .flatten()
            .filter(|modulus| BITS.contains(&modulus.bits()))
            .ok_or("has an `n` that is even, or not 2048 to 8192 bits long")?;
        let exponent = exponent
            .iter()
            .try_fold(0u32, |number, byte| {
                Some(number.checked_mul(256)? | u32::from(*byte))
            })
            .filter(|exponent| *exponent >= 3 && exponent % 2 == 1)
            .ok_or("has an `e` that is even, or less than 3, or more than 32 bits long")?;
        Ok(Self { modulus, exponent })
    }

    /// What was signed, if the signature is a number of this key (RFC 8017, 5.2.2), as long as the modulus.
    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != self.modulus.size() {
            return None;
        }
        self.modulus.power(signature, self.exponent)
    }

    /// RFC 8017, 8.2.2: what should have been signed is made anew and compared as a whole.
    pub(super) fn verify_pkcs1(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        let (prefix, digest) = (hash.prefix(), hash.digest(&[message]));
        let mut expected = vec![0xff; self.modulus.size() - 1 - prefix.len() - digest.len()];
        expected[0] = 0;
        expected[1] = 1;
        expected.push(0);
        expected.extend_from_slice(prefix);
        expected.extend_from_slice(&digest);
        self.open(signature).is_some_and(|opened| opened == expected)
    }

    /// RFC 8017, 8.1.2 and 9.1.2, with MGF1 over the same hash and a salt as long as the hash (RFC 7518, 3.5).
    pub(super) fn verify_pss(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        self.pss(hash, message, signature).unwrap_or(false)
    }

    fn pss(&self, hash: Hash, message: &[u8], signature: &[u8]) -> Option<bool> {
        let bits = self.modulus.bits() - 1;
        let size = bits.div_ceil(8);
        let opened = self.open(signature)?;
        // There is a byte before the encoded message if its bits fill its bytes.
        let (before, encoded) = opened.split_at(opened.len().checked_sub(size)?);
        let digest = hash.digest(&[message]);
        let (trailer, rest) = encoded.split_last()?;
        let (masked, found) = rest.split_at(rest.len().checked_sub(digest.len())?);
        let unused = 8 * size - bits;
        let is_long = before.iter().any(|byte| *byte != 0) || masked.first()? & !(0xff >> unused) != 0;
        if *trailer != 0xbc || is_long {
            return Some(false);
        }
        let mut block = hash.mask(found, masked.len());
        block.iter_mut().zip(masked).for_each(|(a, b)| *a ^= b);
        *block.first_mut()? &= 0xff >> unused;
        let (padding, salt) = block.split_at(block.len().checked_sub(digest.len())?);
        let (one, zeros) = padding.split_last()?;
        let again = hash.digest(&[&[0; 8], &digest, salt]);
        Some(*one == 1 && zeros.iter().all(|byte| *byte == 0) && again == found)
    }
}
