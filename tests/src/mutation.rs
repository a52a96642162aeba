//! Small deterministic changes to bytes, for tests that look at what is almost right.

/// Changes bytes, always the same way for the same seed.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
    words: &'static [&'static [u8]],
}

impl Mutator {
    /// `words` are what is put into the bytes beside single bytes and copies of their own parts.
    #[must_use]
    pub fn new(seed: u64, words: &'static [&'static [u8]]) -> Self {
        Self { state: seed, words }
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood 2014): one multiplication more than is needed here.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    /// One to four changes.
    pub fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.change_once(bytes);
        }
    }

    fn change_once(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below((bytes.len() - at).min(24) + 1);
        match self.below(8) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                let byte = self.below(256) as u8;
                bytes.insert(at, byte);
            }
            4 if at < bytes.len() => {
                let bit = self.below(8);
                bytes[at] ^= 1 << bit;
            }
            _ if self.words.is_empty() => bytes.reverse(),
            5 => {
                let word = self.word();
                bytes.splice(at..end, word.iter().copied());
            }
            _ => {
                let word = self.word();
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }

    fn word(&mut self) -> &'static [u8] {
        let index = self.below(self.words.len());
        self.words[index]
    }
}
