//! Reproducible hashing: where a simulation needs a choice, it hashes what the choice is about.
//!
//! The alternative, one random generator that everybody draws from, makes every choice depend on all those before it,
//! so that leaving out one request changes the whole rest of a run. Own code rather than `std`'s hasher, since a seed
//! must replay on the next compiler too. The mixing function is the finalizer of `SplitMix64` (Steele, Lea, Flood:
//! Fast Splittable Pseudorandom Number Generators, 2014).

/// A running 64-bit hash. Good for spreading choices, useless against an adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Adds a number.
    #[must_use]
    pub(crate) fn number(self, number: u64) -> Self {
        Self(mix(self.0.rotate_left(5) ^ number))
    }

    /// Adds bytes. Their length is added too, so that `"ab", "c"` and `"a", "bc"` differ.
    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let hash = words.iter().fold(self, |hash, word| hash.number(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash.number(u64::from_le_bytes(last)).number(bytes.len() as u64)
    }

    /// Adds text.
    #[must_use]
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// The hash.
    pub(crate) fn value(self) -> u64 {
        self.0
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(self, low: u64, high: u64) -> u64 {
        low + self.0 % (high.saturating_sub(low) + 1)
    }
}

fn mix(word: u64) -> u64 {
    let mut mixed = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn is_the_same_on_every_machine() {
        assert_eq!(Hash::new(1).text("pods").number(7).value(), 12_880_794_730_063_787_409);
    }

    #[test]
    fn keeps_the_borders_between_texts() {
        assert_ne!(Hash::new(0).text("ab").text("c"), Hash::new(0).text("a").text("bc"));
        assert_ne!(Hash::new(0).text(""), Hash::new(0).text("\0"));
    }

    #[test]
    fn stays_within_bounds_and_reaches_both() {
        let seen: std::collections::BTreeSet<u64> = (0..1000).map(|n| Hash::new(n).between(3, 6)).collect();
        assert_eq!(seen, [3, 4, 5, 6].into());
        assert_eq!(Hash::new(5).between(9, 9), 9);
    }
}
