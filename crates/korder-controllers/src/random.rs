//! Where secret values come from.

use std::fmt;
use std::sync::Arc;

/// Makes secret values. Clones share the source.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

/// Fills a buffer with random bytes.
type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// What a value consists of: letters and digits, which need no quoting in any place where people put passwords.
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// Values made of the bytes that `fill` gives, which must be such as nobody can guess.
    pub fn of(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// A value of so many characters, each as likely as any other: 5.95 bits a character.
    pub fn text(&self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        let mut bytes = [0; 64];
        while text.len() < length {
            (self.0)(&mut bytes);
            // A byte beyond the last whole round of the alphabet would make its first characters likelier.
            let fair =
                bytes.iter().filter(|&&byte| byte < 248).map(|byte| char::from(Self::ALPHABET[usize::from(byte % 62)]));
            text.extend(fair.take(length - text.len()));
        }
        text
    }
}

/// The operating system's source.
impl Default for Random {
    fn default() -> Self {
        Self::of(|bytes| getrandom::fill(bytes).expect("the operating system gives random bytes"))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[test]
    fn values_are_as_long_as_asked_for_and_never_the_same() {
        let random = Random::default();
        let values: BTreeSet<String> = (0..100).map(|_| random.text(16)).collect();
        assert_eq!(values.len(), 100);
        assert!(values.iter().all(|value| value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_alphanumeric())));
        assert_eq!(random.text(200).len(), 200);
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let next = AtomicU8::new(0);
        let counting =
            Random::of(move |bytes| bytes.iter_mut().for_each(|byte| *byte = next.fetch_add(1, Ordering::Relaxed)));
        // Each of the 256 bytes comes once; eight of them are of no use.
        let text = counting.text(248);
        assert!(
            Random::ALPHABET.iter().all(|&letter| text.bytes().filter(|&byte| byte == letter).count() == 4),
            "{text}"
        );
    }
}
