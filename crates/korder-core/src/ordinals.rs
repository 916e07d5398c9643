//! Sets of ticket numbers, written as ranges (`2-4,7`).
//!
//! A set, unlike a count, may be added to twice: a crash between counting a ticket and forgetting it does no harm.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of ticket numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordinals(BTreeSet<i64>);

/// Why a text is no set of numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of ranges such as `2-4,7`")]
pub struct InvalidOrdinals(String);

/// More numbers than an order has tickets can't be closed; a longer range is not ours.
const MAX_LEN: i64 = 1_000_000;

impl Ordinals {
    /// Adds a number; true if it is new.
    pub fn insert(&mut self, ordinal: i64) -> bool {
        self.0.insert(ordinal)
    }

    /// Whether a number is in the set.
    pub fn contains(&self, ordinal: i64) -> bool {
        self.0.contains(&ordinal)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Ordinals {
    type Err = InvalidOrdinals;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidOrdinals(text.to_owned());
        let mut set = BTreeSet::new();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first: i64 = first.parse().map_err(|_| invalid())?;
            let last: i64 = last.parse().map_err(|_| invalid())?;
            if first < 0 || last < first || last - first >= MAX_LEN {
                return Err(invalid());
            }
            set.extend(first..=last);
        }
        Ok(Self(set))
    }
}

impl fmt::Display for Ordinals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl FromIterator<i64> for Ordinals {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_as_ranges() {
        assert_eq!([7, 2, 3, 4].into_iter().collect::<Ordinals>().to_string(), "2-4,7");
        assert_eq!(Ordinals::default().to_string(), "");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "4-2", "-1", "1-", "1-99999999999", "1;2"] {
            assert!(text.parse::<Ordinals>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn read_as_written(numbers in prop::collection::btree_set(0_i64..200, 0..40)) {
            let set: Ordinals = numbers.into_iter().collect();
            prop_assert_eq!(set.to_string().parse::<Ordinals>(), Ok(set));
        }
    }
}
