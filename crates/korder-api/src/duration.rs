//! Lengths of time, as Go and Kubernetes write them (`30m`, `24h`, `1h30m`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time above zero and up to ten years, kept as it was written.
#[derive(Clone, Debug)]
pub struct Duration {
    text: String,
    length: std::time::Duration,
}

/// Ten years of 365 days: longer reservations are typing errors, and timestamps stay far from their limits.
const MAX: std::time::Duration = std::time::Duration::from_hours(87_600);

/// Why a text is no [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write numbers with units, as `30m`, `24h` or `1h30m`, above 0 and up to 87600h")]
pub struct InvalidDuration(String);

impl Duration {
    /// CEL that holds of `self` if it is one; what the schemas say. So many digits that `duration` always can read them.
    pub const RULE: &str = "self.size() <= 32 \
                            && self.matches('^([0-9]{1,5}([.][0-9]{1,9})?h|[0-9]{1,7}([.][0-9]{1,9})?m\
                                              |[0-9]{1,9}([.][0-9]{1,9})?m?s)+$') \
                            && duration(self) > duration('0s') && duration(self) <= duration('87600h')";
    /// The same in words.
    pub const RULE_IN_WORDS: &str = "must be a duration above 0 and up to 87600h, such as 30m, 24h or 1h30m";

    /// The length itself.
    pub const fn get(&self) -> std::time::Duration {
        self.length
    }

    /// The length as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.to_owned());
        // kube's parser panics on numbers that a `std::time::Duration` can't hold, so long ones don't reach it.
        let short = |digits: &str| digits.len() <= 9;
        if !text.starts_with(|c: char| c.is_ascii_digit()) || !text.split(|c: char| !c.is_ascii_digit()).all(short) {
            return Err(invalid());
        }
        let length: std::time::Duration = text.parse::<kube::core::Duration>().map_err(|_| invalid())?.into();
        if length.is_zero() || length > MAX {
            return Err(invalid());
        }
        Ok(Self { text: text.to_owned(), length })
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length
    }
}

impl Eq for Duration {}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": Self::RULE,
                "message": Self::RULE_IN_WORDS,
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_and_kept() {
        for (text, secs) in [("24h", 86_400), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400), ("87600h", 315_360_000)] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.get().as_secs(), secs, "{text}");
            assert_eq!(serde_json::to_value(&duration).unwrap(), text);
        }
        assert_eq!("250ms".parse::<Duration>().unwrap().get().as_millis(), 250);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "24 hours",
            "-1h",
            "0s",
            "1d",
            "5",
            "87601h",
            "1e9h",
            "h",
            "292y",
            "NaNs",
            "infs",
            "99999999999999999999999999h",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
