//! RSA signatures (RFC 8017): verifying only. A public key has no secrets, so nothing here needs constant time.

use num_bigint::BigUint;
use sha2::Digest;

/// Fewer bits can be factored; more are a way to keep a proxy busy.
const BITS: std::ops::RangeInclusive<u64> = 2_048..=8_192;

/// A public key.
pub(super) struct PublicKey {
    modulus: BigUint,
    exponent: BigUint,
}

// DER of `DigestInfo` without the digest (RFC 8017, 9.2, note 1).
pub(super) const SHA256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
pub(super) const SHA384: [u8; 19] = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
    0x04, 0x30,
];
pub(super) const SHA512: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
    0x04, 0x40,
];

impl PublicKey {
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let modulus = BigUint::from_bytes_be(modulus);
        let exponent = BigUint::from_bytes_be(exponent);
        if !BITS.contains(&modulus.bits()) || !modulus.bit(0) {
            return Err(format!(
                "has an `n` of {} bits, or an even one; 2048 to 8192 are read",
                modulus.bits()
            ));
        }
        if exponent.bits() > 32 || exponent.bits() < 2 || !exponent.bit(0) {
            return Err("has an `e` that is even, or less than 3, or more than 32 bits long".into());
        }
        Ok(Self { modulus, exponent })
    }

    fn size(&self) -> usize {
        usize::try_from(self.modulus.bits().div_ceil(8)).unwrap_or_default()
    }

    /// What was signed, if the signature is a number of this key (RFC 8017, 5.2.2).
    fn open(&self, signature: &[u8]) -> Option<BigUint> {
        let number = BigUint::from_bytes_be(signature);
        (signature.len() == self.size() && number < self.modulus)
            .then(|| number.modpow(&self.exponent, &self.modulus))
    }

    /// RFC 8017, 8.2.2: what should have been signed is made anew and compared as a whole.
    pub(super) fn verify_pkcs1<D: Digest>(&self, prefix: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let digest = D::digest(message);
        let Some(opened) = self.open(signature) else {
            return false;
        };
        let padding = self.size() - 3 - prefix.len() - digest.len();
        let mut expected = vec![0xff; self.size()];
        expected[0] = 0;
        expected[1] = 1;
        expected[2 + padding] = 0;
        expected[3 + padding..3 + padding + prefix.len()].copy_from_slice(prefix);
        expected[3 + padding + prefix.len()..].copy_from_slice(&digest);
        opened == BigUint::from_bytes_be(&expected)
    }

    /// RFC 8017, 8.1.2 and 9.1.2, with MGF1 over the same hash and a salt as long as the hash (RFC 7518, 3.5).
    pub(super) fn verify_pss<D: Digest>(&self, message: &[u8], signature: &[u8]) -> bool {
        self.pss::<D>(message, signature).unwrap_or(false)
    }

    fn pss<D: Digest>(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let bits = usize::try_from(self.modulus.bits()).ok()? - 1;
        let size = bits.div_ceil(8);
        let opened = self.open(signature)?.to_bytes_be();
        let mut encoded = vec![0; size.checked_sub(opened.len())?];
        encoded.extend(opened);
        let digest = D::digest(message);
        let hash_size = digest.len();
        let (rest, trailer) = encoded.split_at(size - 1);
        let (masked, hash) = rest.split_at(size.checked_sub(hash_size + 1)?);
        let unused = 8 * size - bits;
        if trailer != [0xbc] || (unused > 0 && masked.first()? >> (8 - unused) != 0) {
            return Some(false);
        }
        let mut block: Vec<u8> = masked
            .iter()
            .zip(mask::<D>(hash, masked.len()))
            .map(|(a, b)| a ^ b)
            .collect();
        *block.first_mut()? &= 0xff >> unused;
        let (padding, salt) = block.split_at(block.len().checked_sub(hash_size)?);
        let (one, zeros) = padding.split_last()?;
        let again = D::new()
            .chain_update([0; 8])
            .chain_update(&digest)
            .chain_update(salt)
            .finalize();
        Some(*one == 1 && zeros.iter().all(|byte| *byte == 0) && again.as_slice() == hash)
    }
}

/// MGF1 (RFC 8017, B.2.1).
fn mask<D: Digest>(seed: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    for counter in 0u32.. {
        if out.len() >= size {
            break;
        }
        out.extend_from_slice(
            &D::new()
                .chain_update(seed)
                .chain_update(counter.to_be_bytes())
                .finalize(),
        );
    }
    out.truncate(size);
    out
}
