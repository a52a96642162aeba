//! Powers modulo an odd number, for verifying RSA signatures: numbers are public, so nothing here needs constant time.
//!
//! Numbers are limbs of 32 bits, the least significant first: Wasm multiplies 32 bits by 32 to 64 in one instruction.

/// An odd modulus, with what Montgomery's multiplication needs (P. L. Montgomery, 1985; the order of steps is CIOS of
/// Koç, Acar and Kaliski, 1996).
pub(super) struct Modulus {
    limbs: Vec<u32>,
    /// -1 / modulus, modulo 2^32.
    inverse: u32,
    /// 4^(32 * limbs), modulo the modulus: brings numbers into Montgomery's form.
    square: Vec<u32>,
}

impl Modulus {
    /// Nothing if the number is even.
    pub(super) fn new(number: &[u8]) -> Option<Self> {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        let limbs = read(number, number.len().div_ceil(4));
        let lowest = *limbs.first()?;
        if lowest % 2 == 0 {
            return None;
        }
        // Newton's iteration: each step doubles the number of right bits, of which there are three at first.
        let mut inverse = lowest;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        let mut modulus = Self {
            inverse: inverse.wrapping_neg(),
            square: vec![0; limbs.len()],
            limbs,
        };
        let mut square = vec![0; modulus.limbs.len()];
        square[0] = 1;
        for _ in 0..64 * modulus.limbs.len() {
            modulus.double(&mut square);
        }
        modulus.square = square;
        Some(modulus)
    }

    /// How many bits it has.
    pub(super) fn bits(&self) -> usize {
        let highest = self.limbs.last().map_or(0, |limb| limb.leading_zeros());
        32 * self.limbs.len() - highest as usize
    }

    /// How many bytes it has.
    pub(super) fn size(&self) -> usize {
        self.bits().div_ceil(8)
    }

    /// `base` to the power of `exponent`, as long as the modulus. Nothing unless `base` is less than the modulus.
    pub(super) fn power(&self, base: &[u8], exponent: u32) -> Option<Vec<u8>> {
        if base.len() > self.size() {
            return None;
        }
        let base = read(base, self.limbs.len());
        if !self.is_above(&base) {
            return None;
        }
        let mut one = vec![0; self.limbs.len()];
        one[0] = 1;
        let base = self.multiply(&base, &self.square);
        let mut power = self.multiply(&one, &self.square);
        for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
            power = self.multiply(&power, &power);
            if exponent >> bit & 1 == 1 {
                power = self.multiply(&power, &base);
            }
        }
        let bytes = self.multiply(&power, &one);
        let bytes: Vec<u8> = bytes.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
        Some(bytes[bytes.len() - self.size()..].to_vec())
    }

    /// `a * b / 2^(32 * limbs)`, both of which are less than the modulus.
    fn multiply(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        let size = self.limbs.len();
        let mut sum = vec![0u32; size];
        let mut over = 0u32;
        for digit in a {
            let carried = add_product(&mut sum, *digit, b);
            let (high, twice) = over.overflowing_add(carried);
            // What is added makes the lowest limb nothing.
            let factor = sum[0].wrapping_mul(self.inverse);
            let carried = add_product(&mut sum, factor, &self.limbs);
            let (high, again) = high.overflowing_add(carried);
            sum.rotate_left(1);
            sum[size - 1] = high;
            over = u32::from(twice) + u32::from(again);
        }
        if over > 0 || !self.is_above(&sum) {
            self.subtract_from(&mut sum);
        }
        sum
    }

    fn double(&self, number: &mut [u32]) {
        let mut over = 0;
        for limb in number.iter_mut() {
            (*limb, over) = (*limb << 1 | over, *limb >> 31);
        }
        if over > 0 || !self.is_above(number) {
            self.subtract_from(number);
        }
    }

    fn is_above(&self, number: &[u32]) -> bool {
        number.iter().rev().lt(self.limbs.iter().rev())
    }

    /// A borrow from above the highest limb is dropped.
    fn subtract_from(&self, number: &mut [u32]) {
        let mut borrow = false;
        for (limb, other) in number.iter_mut().zip(&self.limbs) {
            let (less, first) = limb.overflowing_sub(*other);
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            (*limb, borrow) = (less, first || second);
        }
    }
}

/// `sum += digit * number`; what does not fit is returned.
fn add_product(sum: &mut [u32], digit: u32, number: &[u32]) -> u32 {
    let mut carry = 0;
    for (limb, other) in sum.iter_mut().zip(number) {
        // At most (2^32 - 1)^2 + 2 (2^32 - 1), which is 2^64 - 1.
        let total = u64::from(digit) * u64::from(*other) + u64::from(*limb) + carry;
        (*limb, carry) = (low(total), total >> 32);
    }
    low(carry)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn low(number: u64) -> u32 {
    number as u32
}

/// The limbs of a number that has at most `size` of them.
fn read(number: &[u8], size: usize) -> Vec<u32> {
    let mut limbs = vec![0; size];
    for (limb, bytes) in limbs.iter_mut().zip(number.rchunks(4)) {
        *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte));
    }
    limbs
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::Modulus;

    fn check(modulus: &BigUint, base: &BigUint, exponent: u32) {
        let size = usize::try_from(modulus.bits().div_ceil(8)).unwrap();
        let found = Modulus::new(&modulus.to_bytes_be())
            .unwrap()
            .power(&base.to_bytes_be(), exponent)
            .unwrap();
        assert_eq!(found.len(), size);
        let expected = base.modpow(&BigUint::from(exponent), modulus);
        assert_eq!(
            BigUint::from_bytes_be(&found),
            expected,
            "{base:x} ^ {exponent} mod {modulus:x}"
        );
    }

    #[test]
    fn powers_are_those_of_another_implementation() {
        // A generator of Knuth's makes the same numbers on every run.
        let mut state = 1u64;
        let mut number = |bits: usize| {
            let mut bytes = vec![0; bits.div_ceil(8)];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = state.to_be_bytes()[0];
            }
            let bits = u64::try_from(bits).unwrap();
            BigUint::from_bytes_be(&bytes) % (BigUint::from(1u8) << bits)
        };
        for bits in [
            31, 32, 33, 64, 65, 255, 256, 257, 1_024, 2_047, 2_048, 2_049, 4_096,
        ] {
            for exponent in [1, 2, 3, 17, 65_537, u32::MAX] {
                let mut modulus = number(bits);
                modulus.set_bit(0, true);
                modulus.set_bit(u64::try_from(bits).unwrap() - 1, true);
                let base = number(bits) % &modulus;
                check(&modulus, &base, exponent);
            }
        }
    }

    #[test]
    fn carries_reach_the_highest_limb() {
        let one = BigUint::from(1u8);
        for bits in [32u64, 64, 96, 2_048, 2_080] {
            let full = (&one << bits) - &one;
            let sparse = (&one << (bits - 1)) + &one;
            let lowest = (&one << bits) - (&one << (bits / 2)) + &one;
            for modulus in [full, sparse, lowest] {
                for base in [BigUint::ZERO, one.clone(), &modulus - &one, &modulus >> 1u8] {
                    for exponent in [2, 3, 65_537, 0xffff_fffd] {
                        check(&modulus, &base, exponent);
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_too_large_are_refused() {
        let modulus = Modulus::new(&[0, 0, 1, 1]).unwrap();
        assert_eq!((modulus.bits(), modulus.size()), (9, 2));
        assert_eq!(modulus.power(&[1, 0], 2), Some(vec![0, 1]));
        assert_eq!(modulus.power(&[1, 1], 2), None);
        assert_eq!(modulus.power(&[0, 1, 0], 2), None);
        for even in [&[][..], &[0], &[2], &[0xff, 0xfe]] {
            assert!(Modulus::new(even).is_none(), "{even:?}");
        }
    }
}
