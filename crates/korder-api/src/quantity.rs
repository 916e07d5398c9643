//! Amounts of a resource, as Kubernetes writes them (`500m`, `1Gi`, `2`, `1e3`).
//!
//! Exact where the libraries at hand go through floating point: the scheduler compares integers, and a rounding
//! error of one byte would spend a ticket on a pod that does not fit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A non-negative amount, kept as it was written; equality and order are by amount.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    nanos: i128,
}

/// Why a text is no [`Quantity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quantity: write a non-negative number with an optional unit, as `500m`, `2` or `1Gi`")]
pub struct InvalidQuantity(String);

/// Digits behind the point that count; those after them only round up, far below a billionth.
const MAX_FRACTION: usize = 9;
const NANO: i128 = 1_000_000_000;
/// The API server keeps quantities below 2^63 and caps what is larger; so do we.
const MAX_NANOS: i128 = (i64::MAX as i128) * NANO;

impl Quantity {
    /// The amount in thousandths, rounded up as the scheduler does for `cpu` (`Quantity.MilliValue`).
    pub fn millis(&self) -> i64 {
        div_ceil(self.nanos, NANO / 1000)
    }

    /// The amount in whole units, rounded up as the scheduler does for all but `cpu` (`Quantity.Value`).
    pub fn units(&self) -> i64 {
        div_ceil(self.nanos, NANO)
    }

    /// The amount as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn div_ceil(nanos: i128, unit: i128) -> i64 {
    i64::try_from((nanos + unit - 1) / unit).unwrap_or(i64::MAX)
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_nanos(text)
            .map(|nanos| Self { text: text.to_owned(), nanos })
            .ok_or_else(|| InvalidQuantity(text.to_owned()))
    }
}

/// The grammar of `k8s.io/apimachinery/pkg/api/resource`: sign, decimal number, then one suffix or exponent.
fn parse_nanos(text: &str) -> Option<i128> {
    let number = text.strip_prefix('+').unwrap_or(text);
    let split = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(split);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (numerator, denominator) = multiplier(suffix)?;
    Some(nanos(whole, fraction, numerator, denominator).unwrap_or(MAX_NANOS).min(MAX_NANOS))
}

/// `whole.fraction * numerator / denominator` in nanos, rounded up like the API server does; none if that is beyond all
/// bounds.
fn nanos(whole: &str, fraction: &str, numerator: i128, denominator: i128) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0');
    let (fraction, rest) = fraction.split_at(fraction.len().min(MAX_FRACTION));
    let scaled = |digits: &str| -> Option<i128> {
        if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok()?.checked_mul(numerator)?.checked_mul(NANO) }
    };
    let fraction_unit = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let total = scaled(whole)?.checked_mul(fraction_unit)?.checked_add(scaled(fraction)?)?;
    let unit = fraction_unit.checked_mul(denominator)?;
    Some(total / unit + i128::from(total % unit != 0 || !rest.is_empty()))
}

/// Numerator and denominator of a suffix.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    let fraction = |power: u32| Some((1, 10_i128.pow(power)));
    match suffix {
        "" => decimal(0),
        "n" => fraction(9),
        "u" => fraction(6),
        "m" => fraction(3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // Beyond these, all is the most or the least that there is.
            match exponent {
                0.. => decimal(exponent.unsigned_abs().min(19)),
                _ => fraction(exponent.unsigned_abs().min(18)),
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, as `500m`, `2` or `1Gi`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 : isQuantity(self) && quantity(self).compareTo(quantity('0')) >= 0 \
                         && quantity(self).compareTo(quantity('9E')) <= 0",
                "message": "must be a non-negative quantity up to 9E, such as 500m, 2 or 1Gi",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_round_up() {
        let table = [
            ("0", 0, 0),
            ("500m", 500, 1),
            ("1", 1000, 1),
            ("+2", 2000, 2),
            ("1.5", 1500, 2),
            (".5", 500, 1),
            ("2.", 2000, 2),
            ("1Ki", 1_024_000, 1024),
            ("1Gi", 1_073_741_824_000, 1_073_741_824),
            ("1.1Ki", 1_126_400, 1127),
            ("1e3", 1_000_000, 1000),
            ("1E", 1_000_000_000_000_000_000_i64.saturating_mul(1000), 1_000_000_000_000_000_000),
            ("5e-3", 5, 1),
            ("1n", 1, 1),
            ("100u", 1, 1),
            ("1e-10", 1, 1),
            ("1e-30", 1, 1),
            ("1.00000000000000000000000000Gi", 1_073_741_824_000, 1_073_741_824),
            ("0.0000000000000000000000000001", 1, 1),
            ("99999999999999999999999999999999", i64::MAX, i64::MAX),
            ("1e999", i64::MAX, i64::MAX),
            ("9007199254740993", 9_007_199_254_740_993_000, 9_007_199_254_740_993),
        ];
        for (text, millis, units) in table {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.millis(), quantity.units()), (millis, units), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "lots", "-1", "1.2.3", "1 Gi", "1gi", "0x10", "Gi", ".", "1e", "٣", "NaN"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn written_as_it_was_read_and_compared_by_amount() {
        let quantity: Quantity = serde_json::from_str("\"1024Mi\"").unwrap();
        assert_eq!(quantity, "1Gi".parse().unwrap());
        assert_eq!(serde_json::to_string(&quantity).unwrap(), "\"1024Mi\"");
        let number: Quantity = serde_json::from_str("2").unwrap();
        assert_eq!(number.millis(), 2000);
    }
}
