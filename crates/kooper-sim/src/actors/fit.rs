//! Whether a pod may go to a node: the filters of kube-scheduler's default plugins, as far as they are simulated.

use super::amounts::Amounts;
use super::model::{Node, Pod, Requirement, Taint, Toleration};

/// What a node has and what is taken of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    pub(crate) allocatable: Amounts,
    pub(crate) used: Amounts,
    pub(crate) pods: i64,
}

impl Room {
    pub(crate) fn of(node: &Node) -> Self {
        Self { allocatable: Amounts::parse(&node.status.allocatable), ..Self::default() }
    }

    pub(crate) fn take(&mut self, pod: &Amounts) {
        self.used.add(pod);
        self.pods += 1;
    }

    pub(crate) fn give_back(&mut self, pod: &Amounts) {
        self.used.subtract(pod);
        self.pods -= 1;
    }

    /// What there is too little of for a pod; None if it fits. A resource that isn't asked for is never short.
    pub(crate) fn shortage(&self, pod: &Amounts) -> Option<String> {
        if self.pods + 1 > self.allocatable.get("pods") {
            return Some("Too many pods".to_owned());
        }
        pod.iter()
            .find(|(name, wanted)| *wanted > 0 && self.used.get(name) + wanted > self.allocatable.get(name))
            .map(|(name, _)| format!("Insufficient {name}"))
    }

    /// How much of the node is free, as kube-scheduler's default scoring `LeastAllocated` sees it: the mean of the free
    /// shares of cpu and memory with the pod on it, in thousandths.
    pub(crate) fn free_share(&self, pod: &Amounts) -> i64 {
        let share = |name: &str| {
            let all = self.allocatable.get(name);
            let free = all - self.used.get(name) - pod.get(name);
            if all > 0 {
                i64::try_from(i128::from(free.max(0)) * 1000 / i128::from(all)).unwrap_or_default()
            } else {
                0
            }
        };
        i64::midpoint(share("cpu"), share("memory"))
    }
}

/// Why a pod can't go to a node whatever room there is; None if it can.
pub(crate) fn obstacle(pod: &Pod, node: &Node) -> Option<&'static str> {
    let labels = node.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let selected = pod.spec.node_selector.iter().all(|(key, value)| label(key) == Some(value));
    let wanted = pod.spec.affinity.node_affinity.required.as_ref().is_none_or(|selector| {
        selector.node_selector_terms.iter().any(|term| {
            let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
            let field = |key: &str| (key == "metadata.name").then(|| node.name());
            !empty
                && term.match_expressions.iter().all(|requirement| meets(requirement, label(&requirement.key)))
                && term.match_fields.iter().all(|requirement| meets(requirement, field(&requirement.key)))
        })
    });
    if !selected || !wanted {
        return Some("didn't match Pod's node affinity/selector");
    }
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if node.spec.unschedulable && !is_tolerated(&cordon, &pod.spec.tolerations) {
        return Some("were unschedulable");
    }
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let untolerated = node.spec.taints.iter().filter(hard).any(|taint| !is_tolerated(taint, &pod.spec.tolerations));
    untolerated.then_some("had untolerated taint(s)")
}

/// What a pod asks for that these filters know nothing of.
pub(crate) fn beyond_simulation(pod: &Pod) -> Option<&'static str> {
    let spec = &pod.spec;
    let mut containers = spec.containers.iter().chain(&spec.init_containers);
    let spreads = |hard: &str| spec.topology_spread_constraints.iter().any(|spread| spread.when_unsatisfiable == hard);
    if !spec.affinity.pod_affinity.required.is_empty() || !spec.affinity.pod_anti_affinity.required.is_empty() {
        Some("required pod affinity")
    } else if spreads("DoNotSchedule") {
        Some("topology spread constraints that must hold")
    } else if containers.any(|container| container.ports.iter().any(|port| port.host_port > 0)) {
        Some("host ports")
    } else if !spec.resource_claims.is_empty() {
        Some("resource claims")
    } else if spec.volumes.iter().any(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()) {
        Some("persistent volumes")
    } else {
        None
    }
}

fn meets(requirement: &Requirement, value: Option<&str>) -> bool {
    let Requirement { operator, values, .. } = requirement;
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let compare = |holds: fn(i64, i64) -> bool| match (number(value), number(values.first().map(String::as_str))) {
        (Some(value), Some(bound)) => holds(value, bound),
        _ => false,
    };
    match operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|value, bound| value > bound),
        "Lt" => compare(|value, bound| value < bound),
        _ => false,
    }
}

fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| {
        let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
        let key = toleration.key.is_empty() || toleration.key == taint.key;
        let value = match toleration.operator.as_str() {
            "Exists" => true,
            "" | "Equal" => toleration.value == taint.value && !toleration.key.is_empty(),
            _ => false,
        };
        effect && key && value
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        Pod::deserialize(json!({"spec": spec})).unwrap()
    }

    fn node() -> Node {
        let spec = json!({"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]});
        Node::deserialize(json!({
            "metadata": {"name": "n", "labels": {"zone": "x", "size": "5"}}, "spec": spec,
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
        }))
        .unwrap()
    }

    fn goes(spec: Value) -> bool {
        let tolerant = json!([{"key": "team", "operator": "Exists"}]);
        let mut spec = spec;
        if spec["tolerations"].is_null() {
            spec["tolerations"] = tolerant;
        }
        obstacle(&pod(&spec), &node()).is_none()
    }

    fn affine(terms: &Value) -> bool {
        let required = json!({"nodeSelectorTerms": terms});
        goes(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}))
    }

    #[test]
    fn selectors_and_affinity() {
        assert!(goes(json!({"nodeSelector": {"zone": "x"}})));
        assert!(!goes(json!({"nodeSelector": {"zone": "y"}})) && !goes(json!({"nodeSelector": {"other": ""}})));
        let expression = |operator: &str, values: &[&str]| json!([{"matchExpressions": [{"key": "size", "operator": operator, "values": values}]}]);
        for (operator, values, expected) in [
            ("In", ["5", "6"].as_slice(), true),
            ("In", &["6"], false),
            ("NotIn", &["6"], true),
            ("NotIn", &["5"], false),
            ("Exists", &[], true),
            ("DoesNotExist", &[], false),
            ("Gt", &["4"], true),
            ("Gt", &["5"], false),
            ("Lt", &["6"], true),
            ("Lt", &["x"], false),
        ] {
            assert_eq!(affine(&expression(operator, values)), expected, "{operator} {values:?}");
        }
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        assert!(affine(&json!([named("n")])) && !affine(&json!([named("m")])));
        assert!(affine(&json!([named("m"), named("n")])), "one term is enough");
        assert!(!affine(&json!([])) && !affine(&json!([{}])), "no term selects nothing");
    }

    #[test]
    fn taints() {
        let tolerating = |toleration: Value| goes(json!({"tolerations": [toleration]}));
        assert!(tolerating(json!({"operator": "Exists"})));
        assert!(tolerating(json!({"key": "team", "value": "a"})));
        assert!(tolerating(json!({"key": "team", "operator": "Exists", "effect": "NoSchedule"})));
        assert!(!tolerating(json!({"key": "team", "value": "b"})));
        assert!(!tolerating(json!({"key": "team", "operator": "Exists", "effect": "NoExecute"})));
        assert!(!goes(json!({"tolerations": []})));
        let mut cordoned = node();
        cordoned.spec.unschedulable = true;
        let everywhere = json!([{"operator": "Exists"}]);
        assert!(obstacle(&pod(&json!({"tolerations": [{"key": "team", "operator": "Exists"}]})), &cordoned).is_some());
        assert!(obstacle(&pod(&json!({"tolerations": everywhere})), &cordoned).is_none());
    }

    #[test]
    fn room() {
        let amounts = |cpu: &str| {
            Amounts::parse(&[("cpu".to_owned(), cpu.to_owned()), ("gpu".to_owned(), "0".to_owned())].into())
        };
        let mut room = Room::of(&node());
        assert_eq!(room.shortage(&amounts("2")), None);
        room.take(&amounts("1500m"));
        assert_eq!(room.shortage(&amounts("500m")), None);
        assert_eq!(room.shortage(&amounts("501m")).as_deref(), Some("Insufficient cpu"));
        room.take(&amounts("0"));
        room.take(&amounts("0"));
        assert_eq!(room.shortage(&amounts("0")).as_deref(), Some("Too many pods"));
        room.give_back(&amounts("1500m"));
        assert_eq!(room.shortage(&amounts("2")), None);
    }
}
