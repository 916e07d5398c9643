//! Amounts of resources as the scheduler counts them.

use std::collections::BTreeMap;

use korder_api::Quantity;
use korder_api::ticket::Resources;
use serde::{Deserialize, Deserializer};

use crate::pod::Manifest;

/// Amounts by resource: `cpu` in thousandths of a core, all else in whole units, each rounded up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amounts {
    // Most pods request these alone: beside the others they would take half a kilobyte for each pod.
    cpu: i64,
    memory: i64,
    others: BTreeMap<String, i64>,
}

/// A resource of which there is too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The resource.
    pub resource: String,
    /// How much is wanted.
    pub wanted: i64,
    /// How much there is.
    pub there: i64,
}

const CPU: &str = "cpu";
const MEMORY: &str = "memory";

impl Amounts {
    /// The amounts of a request map.
    pub fn of(requests: &BTreeMap<String, Quantity>) -> Self {
        let mut amounts = Self::default();
        amounts.replace(requests.iter());
        amounts
    }

    fn replace<'a>(&mut self, requests: impl Iterator<Item = (&'a String, &'a Quantity)>) {
        for (name, quantity) in requests {
            *self.entry(name) = if name == CPU { quantity.millis() } else { quantity.units() };
        }
    }

    /// The amounts that a guardian with these resources requests: a limit stands in for a request that is not given.
    pub fn of_ticket(resources: &Resources) -> Self {
        let mut amounts = Self::of(&resources.limits);
        amounts.replace(resources.requests.iter());
        amounts
    }

    /// The amounts that a pod requests, by the scheduler's formula (`k8s.io/component-helpers/resource.PodRequests`):
    /// the larger of what runs together and of each moment of the start, then pod-level requests, then overhead.
    pub(crate) fn of_pod(spec: &Manifest) -> Self {
        let mut running = Self::default();
        for container in &spec.containers {
            running.add(&Self::of(&container.resources.requests));
        }
        let mut side_cars = Self::default();
        let mut starting = Self::default();
        for container in &spec.init_containers {
            let mut moment = Self::of(&container.resources.requests);
            if container.is_side_car() {
                running.add(&moment);
                side_cars.add(&moment);
                moment = side_cars.clone();
            } else {
                moment.add(&side_cars);
            }
            starting.raise(&moment);
        }
        running.raise(&starting);
        if let Some(pod_level) = &spec.resources {
            running.replace(pod_level.requests.iter().filter(|(name, _)| is_pod_level(name)));
        }
        running.add(&Self::of(&spec.overhead));
        running
    }

    fn get(&self, name: &str) -> i64 {
        match name {
            CPU => self.cpu,
            MEMORY => self.memory,
            _ => self.others.get(name).copied().unwrap_or(0),
        }
    }

    fn entry(&mut self, name: &str) -> &mut i64 {
        match name {
            CPU => &mut self.cpu,
            MEMORY => &mut self.memory,
            _ => self.others.entry(name.to_owned()).or_default(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let others = self.others.iter().map(|(name, &amount)| (name.as_str(), amount));
        [(CPU, self.cpu), (MEMORY, self.memory)].into_iter().chain(others).filter(|(_, amount)| *amount != 0)
    }

    /// Adds other amounts to these.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let sum = self.entry(name);
            *sum = sum.saturating_add(amount);
        }
    }

    /// Takes other amounts from these, which may become less than nothing.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let rest = self.entry(name);
            *rest = rest.saturating_sub(amount);
        }
    }

    /// Adds so many pods, of which a node also has a limited number.
    pub fn add_pods(&mut self, count: i64) {
        *self.entry("pods") += count;
    }

    fn raise(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let most = self.entry(name);
            *most = (*most).max(amount);
        }
    }

    /// The first resource of which `there` has less than these amounts.
    pub fn shortage(&self, there: &Self) -> Option<Shortage> {
        self.iter().find_map(|(resource, wanted)| {
            let there = there.get(resource);
            (wanted > there).then(|| Shortage { resource: resource.to_owned(), wanted, there })
        })
    }

    /// How much of `there` these amounts leave unused: thousandths of each resource, summed.
    pub fn waste(&self, there: &Self) -> i64 {
        let unused = |(name, there): (&str, i64)| -> i64 {
            let used = self.get(name).min(there);
            i64::try_from(i128::from(there - used) * 1000 / i128::from(there)).unwrap_or(1000)
        };
        there.iter().map(unused).sum()
    }
}

/// The resources of which a pod as a whole may request an amount (`IsSupportedPodLevelResource`).
fn is_pod_level(name: &str) -> bool {
    name == CPU || name == MEMORY || name.starts_with("hugepages-")
}

/// Of a map of quantities; what is no amount, such as a negative one, counts as nothing.
impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<String, String>::deserialize(deserializer)?;
        let read = |(name, text): (String, String)| Some((name, text.parse::<Quantity>().ok()?));
        Ok(Self::of(&written.into_iter().filter_map(read).collect()))
    }
}

impl Shortage {
    /// In words, with what the two amounts are.
    pub(crate) fn told(&self, wanted: &str, there: &str) -> String {
        let unit = if self.resource == CPU { "m" } else { "" };
        format!("{}: {}{unit} {wanted}, {}{unit} {there}", self.resource, self.wanted, self.there)
    }
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told("wanted", "reserved"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod::PodSpec;

    fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.parse().unwrap())).collect()
    }

    fn requests(spec: Value) -> Amounts {
        serde_json::from_value::<PodSpec>(spec).unwrap().requests
    }

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn side_car(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}, "restartPolicy": "Always"})
    }

    #[test]
    fn a_pod_requests_what_runs_together_or_the_dearest_moment_of_its_start() {
        let cpu = |init: Value| {
            requests(json!({"containers": [container("200m"), container("300m")], "initContainers": init})).cpu
        };
        assert_eq!(cpu(json!([])), 500);
        assert_eq!(cpu(json!([container("400m")])), 500);
        assert_eq!(cpu(json!([container("900m")])), 900);
        assert_eq!(cpu(json!([side_car("100m")])), 600);
        // A side car that started before goes on beside a later init container, not beside an earlier one.
        assert_eq!(cpu(json!([side_car("100m"), container("900m")])), 1000);
        assert_eq!(cpu(json!([container("900m"), side_car("100m")])), 900);
    }

    #[test]
    fn pod_level_requests_go_before_those_of_containers_and_overhead_on_top() {
        let amounts = requests(json!({
            "containers": [{"resources": {"requests": {"cpu": "200m", "hugepages-2Mi": "2Mi", "example.com/device": "1"}}}],
            "resources": {"requests": {"cpu": "1", "hugepages-2Mi": "4Mi", "example.com/device": "3"}},
            "overhead": {"cpu": "50m"},
        }));
        assert_eq!(amounts.cpu, 1050);
        assert_eq!(amounts.get("hugepages-2Mi"), 4 << 20);
        assert_eq!(amounts.get("example.com/device"), 1, "devices can't be requested for the pod as a whole");
    }

    #[test]
    fn a_limit_stands_in_for_a_request() {
        let resources = Resources {
            requests: quantities(&[("cpu", "500m")]),
            limits: quantities(&[("cpu", "1"), ("memory", "1Gi")]),
        };
        assert_eq!(Amounts::of_ticket(&resources), Amounts::of(&quantities(&[("cpu", "500m"), ("memory", "1Gi")])));
    }

    #[test]
    fn the_first_shortage_is_named_and_waste_is_relative() {
        let there = Amounts::of(&quantities(&[("cpu", "1"), ("memory", "1Gi")]));
        let small = Amounts::of(&quantities(&[("cpu", "500m"), ("memory", "1Gi")]));
        let gpu = Amounts::of(&quantities(&[("cpu", "1"), ("nvidia.com/gpu", "1")]));
        assert_eq!(small.shortage(&there), None);
        assert_eq!(small.waste(&there), 500);
        assert_eq!(there.waste(&there), 0);
        assert_eq!(gpu.shortage(&there).unwrap().to_string(), "nvidia.com/gpu: 1 wanted, 0 reserved");
    }

    #[test]
    fn what_a_node_has_is_read_though_some_of_it_is_odd() {
        let node: Amounts = serde_json::from_value(json!({"cpu": "4", "pods": "110", "odd": "-1"})).unwrap();
        assert_eq!((node.cpu, node.get("pods"), node.get("odd")), (4000, 110, 0));
    }
}
