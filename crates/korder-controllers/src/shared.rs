//! What many objects have in common, kept once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Parts of objects that there are, by what the objects belong to: an order, or an inventory.
pub(crate) struct Shared<T>(Mutex<BTreeMap<String, VecDeque<Weak<T>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: PartialEq> Shared<T> {
    /// How many parts of one group are known. It has changed that often if there are more; those that belong to nobody are
    /// as many as there are objects.
    const KNOWN: usize = 4;

    /// The part of another object of the group that is like this one, or else this one.
    pub(crate) fn share(&self, group: String, part: Arc<T>) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_group = known.entry(group).or_default();
        if let Some(same) = of_group.iter().filter_map(Weak::upgrade).find(|known| *known == part) {
            return same;
        }
        of_group.push_front(Arc::downgrade(&part));
        of_group.truncate(Self::KNOWN);
        // A new one is rare, and the time to forget the groups that are gone.
        known.retain(|_, parts| parts.iter().any(|part| part.strong_count() > 0));
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(shared: &Shared<String>, group: &str, part: &str) -> Arc<String> {
        shared.share(group.to_owned(), Arc::new(part.to_owned()))
    }

    #[test]
    fn objects_that_are_alike_share_and_others_do_not() {
        let shared = Shared::default();
        let [first, second, larger, others] =
            [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")].map(|(group, part)| share(&shared, group, part));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &larger));
        assert!(!Arc::ptr_eq(&first, &others));
        // A changed order makes new tickets while there are old ones.
        assert!(Arc::ptr_eq(&first, &share(&shared, "a", "1")));
    }

    #[test]
    fn what_is_known_has_a_bound_and_is_forgotten_with_its_objects() {
        let shared = Shared::default();
        let parts: Vec<_> = (1..10).map(|number: i32| share(&shared, "a", &number.to_string())).collect();
        assert_eq!(shared.0.lock().unwrap()["a"].len(), Shared::<String>::KNOWN);
        drop(parts);
        let _other = share(&shared, "b", "1");
        assert_eq!(shared.0.lock().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    }
}
