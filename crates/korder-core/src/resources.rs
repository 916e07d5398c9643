//! Amounts of resources as the scheduler counts them.

use std::collections::BTreeMap;

use korder_api::Quantity;
use korder_api::ticket::Resources;

use crate::pod::{Container, PodSpec};

/// Amounts by resource: `cpu` in thousandths of a core, all else in whole units, each rounded up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts(BTreeMap<String, i64>);

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

impl Amounts {
    /// The amounts of a request map.
    pub fn of(requests: &BTreeMap<String, Quantity>) -> Self {
        let count = |name: &str, quantity: &Quantity| if name == "cpu" { quantity.millis() } else { quantity.units() };
        Self(requests.iter().map(|(name, quantity)| (name.clone(), count(name, quantity))).collect())
    }

    /// The amounts that a guardian with these resources requests: a limit stands in for a request that is not given.
    pub fn of_ticket(resources: &Resources) -> Self {
        let mut amounts = Self::of(&resources.limits);
        amounts.0.extend(Self::of(&resources.requests).0);
        amounts
    }

    /// The amounts that a pod requests, by the scheduler's formula (`k8s.io/component-helpers/resource.PodRequests`):
    /// the larger of what runs together and of each moment of the start, then pod-level requests, then overhead.
    pub fn of_pod(spec: &PodSpec) -> Self {
        let requests = |container: &Container| Self::of(&container.resources.requests);
        let mut running = Self::default();
        for container in &spec.containers {
            running.add(&requests(container));
        }
        let mut side_cars = Self::default();
        let mut starting = Self::default();
        for container in &spec.init_containers {
            let mut moment = requests(container);
            if container.restart_policy.as_deref() == Some("Always") {
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
            running.0.extend(Self::of(&pod_level.requests).0);
        }
        running.add(&Self::of(&spec.overhead));
        running
    }

    fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }

    /// The first resource of which `there` has less than these amounts.
    pub fn shortage(&self, there: &Self) -> Option<Shortage> {
        self.0.iter().find_map(|(resource, &wanted)| {
            let there = there.0.get(resource).copied().unwrap_or(0);
            (wanted > there).then(|| Shortage { resource: resource.clone(), wanted, there })
        })
    }

    /// How much of `there` these amounts leave unused: thousandths of each resource, summed.
    pub fn waste(&self, there: &Self) -> i64 {
        let unused = |(name, &there): (&String, &i64)| -> i64 {
            let used = self.0.get(name).copied().unwrap_or(0).min(there);
            if there == 0 {
                0
            } else {
                i64::try_from(i128::from(there - used) * 1000 / i128::from(there)).unwrap_or(1000)
            }
        };
        there.0.iter().map(unused).sum()
    }
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = if self.resource == "cpu" { "m" } else { "" };
        write!(f, "{}: {}{unit} wanted, {}{unit} reserved", self.resource, self.wanted, self.there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Requests;

    fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.parse().unwrap())).collect()
    }

    fn container(cpu: &str, restart_policy: Option<&str>) -> Container {
        Container {
            resources: Requests { requests: quantities(&[("cpu", cpu)]) },
            restart_policy: restart_policy.map(str::to_owned),
            ..Container::default()
        }
    }

    fn cpu(spec: &PodSpec) -> i64 {
        Amounts::of_pod(spec).0.get("cpu").copied().unwrap_or(0)
    }

    #[test]
    fn a_pod_requests_what_runs_together_or_the_dearest_moment_of_its_start() {
        let spec = |init: Vec<Container>| PodSpec {
            containers: vec![container("200m", None), container("300m", None)],
            init_containers: init,
            ..PodSpec::default()
        };
        assert_eq!(cpu(&spec(vec![])), 500);
        assert_eq!(cpu(&spec(vec![container("400m", None)])), 500);
        assert_eq!(cpu(&spec(vec![container("900m", None)])), 900);
        assert_eq!(cpu(&spec(vec![container("100m", Some("Always"))])), 600);
        // A side car that started before goes on beside a later init container, not beside an earlier one.
        assert_eq!(cpu(&spec(vec![container("100m", Some("Always")), container("900m", None)])), 1000);
        assert_eq!(cpu(&spec(vec![container("900m", None), container("100m", Some("Always"))])), 900);
    }

    #[test]
    fn pod_level_requests_go_before_those_of_containers_and_overhead_on_top() {
        let spec = PodSpec {
            containers: vec![container("200m", None)],
            resources: Some(Requests { requests: quantities(&[("cpu", "1")]) }),
            overhead: quantities(&[("cpu", "50m")]),
            ..PodSpec::default()
        };
        assert_eq!(cpu(&spec), 1050);
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
}
