//! Labels of pods, of which there are many.

use std::collections::BTreeMap;
use std::fmt;

/// Labels in one piece: a map would take half a kilobyte for each of many thousand pods, of which few are ever looked at.
///
/// Written as a selector is (`a=b,c=d`), sorted by key. What separates them stands in no label.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Box<str>);

impl Labels {
    /// A label's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(there, _)| *there == key).map(|(_, value)| value)
    }

    /// Keys and values, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|pair| pair.split_once('='))
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let pair = |(key, value): (K, V)| (key.as_ref().to_owned(), format!("{}={}", key.as_ref(), value.as_ref()));
        let pairs: BTreeMap<String, String> = labels.into_iter().map(pair).collect();
        Self(pairs.into_values().collect::<Vec<_>>().join(",").into())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_their_whole_keys() {
        let labels: Labels = [("korder.dev/ticket", "a-1"), ("app", "web"), ("empty", "")].into_iter().collect();
        assert_eq!(labels.get("app"), Some("web"));
        assert_eq!(labels.get("empty"), Some(""));
        assert_eq!(labels.get("ap"), None);
        assert_eq!(labels.get("ticket"), None);
        assert_eq!(labels.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["app", "empty", "korder.dev/ticket"]);
        assert_eq!(Labels::default().iter().count(), 0);
    }
}
