//! Amounts of resources, as the scheduler and the kubelets count them.

use std::collections::BTreeMap;

use super::model::{Container, PodSpec};

/// Amounts by resource: `cpu` in thousandths of a core, all else in whole units, each rounded up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(BTreeMap<String, i64>);

impl Amounts {
    /// Reads a map of quantities, as in a container's requests. Whatever is no quantity counts as nothing.
    pub(crate) fn parse(quantities: &BTreeMap<String, String>) -> Self {
        let count = |name: &str, text: &str| {
            let per_unit = if name == "cpu" { NANO / 1000 } else { NANO };
            let rounded_up = (nanos(text)? + per_unit - 1).div_euclid(per_unit);
            i64::try_from(rounded_up).ok()
        };
        Self(quantities.iter().map(|(name, text)| (name.clone(), count(name, text).unwrap_or_default())).collect())
    }

    /// What a pod requests: the larger of what its containers need together and what each moment of its start needs,
    /// unless the pod itself says; and its overhead. The formula is `k8s.io/component-helpers/resource.PodRequests`.
    pub(crate) fn of_pod(spec: &PodSpec) -> Self {
        let of = |container: &Container| Self::parse(&container.resources.requests);
        let mut together = Self::default();
        spec.containers.iter().for_each(|container| together.add(&of(container)));
        let mut side_cars = Self::default();
        let mut peak = Self::default();
        for container in &spec.init_containers {
            let mut moment = of(container);
            moment.add(&side_cars);
            if container.restart_policy == "Always" {
                together.add(&of(container));
                side_cars = moment.clone();
            }
            peak.raise_to(&moment);
        }
        together.raise_to(&peak);
        together.0.extend(Self::parse(&spec.resources.requests).0);
        together.add(&Self::parse(&spec.overhead));
        together
    }

    pub(crate) fn get(&self, resource: &str) -> i64 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

const NANO: i128 = 1_000_000_000;

/// A quantity in billionths, rounded up; None if it is none. The grammar is that of
/// `k8s.io/apimachinery/pkg/api/resource.Quantity`.
fn nanos(text: &str) -> Option<i128> {
    let number_ends = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let decimals = u32::try_from(fraction.len()).ok()?;
    let (factor, exponent) = scale(suffix)?;
    let scaled = digits.checked_mul(NANO)?.checked_mul(factor)?;
    let exponent = exponent - i64::from(decimals);
    let power = 10_i128.checked_pow(u32::try_from(exponent.unsigned_abs()).ok()?)?;
    if exponent >= 0 { scaled.checked_mul(power) } else { Some((scaled + power - 1).div_euclid(power)) }
}

/// What a suffix stands for: a factor and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i64)> {
    let decimal = |exponent| Some((1, exponent));
    let binary = |power| Some((1024_i128.pow(power), 0));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
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
        exponent => decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    use super::*;

    fn amounts(value: &Value) -> Amounts {
        Amounts::parse(&serde_json::from_value(value.clone()).unwrap())
    }

    #[test]
    fn quantities() {
        for (text, cpu, other) in [
            ("1", 1000, 1),
            ("500m", 500, 1),
            ("1.5", 1500, 2),
            (".25", 250, 1),
            ("0.1m", 1, 1),
            ("1n", 1, 1),
            ("2k", 2_000_000, 2000),
            ("1e3", 1_000_000, 1000),
            ("1E2", 100_000, 100),
            ("1Ki", 1_024_000, 1024),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("99E", 0, 0),
            ("-1", -1000, -1),
            ("many", 0, 0),
            ("", 0, 0),
            ("1e999", 0, 0),
        ] {
            let seen = amounts(&json!({"cpu": text, "memory": text}));
            assert_eq!((seen.get("cpu"), seen.get("memory")), (cpu, other), "{text}");
        }
    }

    fn pod(spec: &Value) -> Amounts {
        Amounts::of_pod(&PodSpec::deserialize(spec).unwrap())
    }

    #[test]
    fn requests_of_pods() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let side_car = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let cpu = |spec: Value| pod(&spec).get("cpu");
        assert_eq!(cpu(json!({"containers": [container("1"), container("2")]})), 3000);
        assert_eq!(cpu(json!({"containers": [container("1")], "initContainers": [container("2")]})), 2000);
        assert_eq!(
            cpu(json!({"containers": [container("1")], "initContainers": [side_car("1"), container("3")]})),
            4000
        );
        assert_eq!(
            cpu(json!({"containers": [container("1")], "initContainers": [container("3"), side_car("1")]})),
            3000
        );
        assert_eq!(cpu(json!({"containers": [container("1")], "overhead": {"cpu": "100m"}})), 1100);
        let pod_level = json!({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}});
        assert_eq!(cpu(pod_level), 4000);
    }
}
