//! The API server's rules for pods.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Key, Store, meta};
use crate::clock::rfc3339;
use crate::kind::Kind;
use crate::object::Object;
use crate::refusal::{FieldError, Refusal, bad_request, conflict, forbidden, invalid, not_simulated};

/// Completes a new pod: defaults, priority, first status.
pub(super) fn prepare_create(
    kind: &Kind,
    pod: &mut Value,
    now: Timestamp,
    classes: &[Arc<Object>],
) -> Result<(), Refusal> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let containers = meta::list(&pod["spec"], "containers");
    if containers.is_empty() || !containers.iter().all(Value::is_object) {
        return Err(invalid(kind, &name, vec![FieldError::required("spec.containers", "a pod needs a container")]));
    }
    let gated = !meta::list(&pod["spec"], "schedulingGates").is_empty();
    if gated && pod["spec"]["nodeName"].is_string() {
        let why = "cannot be set until all schedulingGates have been cleared";
        return Err(invalid(kind, &name, vec![FieldError::forbidden("spec.nodeName", why)]));
    }
    set_defaults(&mut pod["spec"]);
    set_priority(kind, &name, &mut pod["spec"], classes)?;
    pod["status"] = json!({"phase": "Pending"});
    if gated {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastTransitionTime": rfc3339(now),
        }]);
    }
    Ok(())
}

fn set_defaults(spec: &mut Value) {
    let defaults = json!({
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": true,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
    });
    for (field, default) in defaults.as_object().into_iter().flatten() {
        if spec[field].is_null() {
            spec[field] = default.clone();
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            request_what_is_limited(&mut container["resources"]);
        }
    }
    tolerate_absence(spec);
}

/// The admission plugin `DefaultTolerationSeconds`, for new and for changed pods: a node may be away for five minutes.
fn tolerate_absence(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let Some(tolerations) = spec["tolerations"].as_array_mut() else { continue };
        if !tolerations.iter().any(|toleration| toleration["key"] == key || toleration["key"].is_null()) {
            let effect = "NoExecute";
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect, "tolerationSeconds": 300}));
        }
    }
}

/// A container requests what it is limited to, where it doesn't say.
fn request_what_is_limited(resources: &mut Value) {
    let limits = resources["limits"].as_object().cloned().unwrap_or_default();
    for (resource, limit) in limits {
        if resources["requests"][&resource].is_null() {
            resources["requests"][&resource] = limit;
        }
    }
    if resources.is_null() {
        *resources = json!({});
    }
}

/// The admission plugin Priority: a pod's priority is that of its class, else of the default class, else 0.
fn set_priority(kind: &Kind, name: &str, spec: &mut Value, classes: &[Arc<Object>]) -> Result<(), Refusal> {
    let class_name = spec["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = classes.iter().map(|class| class.value()).find(|class| match class_name.as_str() {
        "" => class["globalDefault"] == true,
        wanted => class["metadata"]["name"] == wanted,
    });
    if class.is_none() && !class_name.is_empty() {
        let why = format!("no PriorityClass with name {class_name} was found");
        return Err(forbidden(kind, name, why, Vec::new()));
    }
    let priority = class.and_then(|class| class["value"].as_i64()).unwrap_or_default();
    if spec["priority"].as_i64().is_some_and(|given| given != priority) {
        let why =
            format!("the integer value of priority must not be provided in pod spec; it is {priority} by its class");
        return Err(forbidden(kind, name, why, Vec::new()));
    }
    if let Some(class) = class {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    spec["priority"] = priority.into();
    let policy = class.map_or(&Value::Null, |class| &class["preemptionPolicy"]);
    spec["preemptionPolicy"] = policy.as_str().unwrap_or("PreemptLowerPriority").into();
    Ok(())
}

/// Checks that an update leaves a pod's spec alone, but for what may change.
pub(super) fn prepare_update(kind: &Kind, current: &Value, proposed: &mut Value) -> Result<(), Refusal> {
    for (map, field) in [("spec", "schedulingGates"), ("status", "nominatedNodeName"), ("status", "conditions")] {
        let empty = match &proposed[map][field] {
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Null => true,
            _ => false,
        };
        if empty && let Some(map) = proposed.get_mut(map) {
            meta::remove(map, &[field]);
        }
    }
    if current["spec"] == proposed["spec"] {
        return Ok(());
    }
    tolerate_absence(&mut proposed["spec"]);
    let (old, new) = (&current["spec"], &proposed["spec"]);
    let name = current["metadata"]["name"].as_str().unwrap_or_default();
    let error = gate_error(old, new).or_else(|| spec_error(old, new));
    if let Some(error) = error {
        return Err(invalid(kind, name, vec![error]));
    }
    if old["affinity"] != new["affinity"] && !old["affinity"].is_null() {
        return Err(not_simulated("changing the affinity of a gated pod that has one"));
    }
    Ok(())
}

fn gate_error(old: &Value, new: &Value) -> Option<FieldError> {
    let had = meta::list(old, "schedulingGates");
    let added = meta::list(new, "schedulingGates").iter().find(|gate| !had.contains(gate))?;
    let why = format!("only deletion is allowed, but found new scheduling gate {}", added["name"]);
    Some(FieldError::forbidden("spec.schedulingGates", why))
}

fn spec_error(old: &Value, new: &Value) -> Option<FieldError> {
    let mut same = new.clone();
    for list in ["containers", "initContainers"] {
        let containers = same.get_mut(list).and_then(Value::as_array_mut);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            meta::copy_field(&old[list][index], container, "image");
        }
    }
    if meta::list(old, "tolerations").iter().all(|toleration| meta::list(new, "tolerations").contains(toleration)) {
        meta::copy_field(old, &mut same, "tolerations");
    }
    for field in ["schedulingGates", "activeDeadlineSeconds"] {
        meta::copy_field(old, &mut same, field);
    }
    // A gated pod may still be told more narrowly where to go.
    if !meta::list(old, "schedulingGates").is_empty() {
        let kept = |(key, value): (&String, &Value)| new["nodeSelector"][key] == *value;
        if old["nodeSelector"].as_object().into_iter().flatten().all(kept) {
            meta::copy_field(old, &mut same, "nodeSelector");
        }
        meta::copy_field(old, &mut same, "affinity");
    }
    let why =
        "pod updates may not change fields other than images, activeDeadlineSeconds, new tolerations and fewer gates";
    (same != *old).then(|| FieldError::forbidden("spec", why))
}

/// How long a pod gets to end: what was asked for, else what its spec says; nothing, if it never started or has ended.
pub(super) fn grace_period(pod: &Value, asked: Option<i64>) -> i64 {
    let never_bound = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if never_bound || ended {
        return 0;
    }
    match asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default() {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

impl Store {
    /// The subresource `binding`: gives a pod its node, once.
    ///
    /// # Errors
    /// 409 where the pod is gated, bound or ending, or no longer the one that is meant.
    pub(crate) fn bind(&mut self, call: &Call, key: &Key, binding: &Value) -> Result<(), Refusal> {
        let kind = self.collection(&call.resource)?.kind.clone();
        let current = self.get(&call.resource, key)?.clone();
        let metadata = &binding["metadata"];
        if metadata["name"] != key.name.as_str() {
            return Err(bad_request("name in URL does not match name in Binding object"));
        }
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        if node.is_empty() || !matches!(binding["target"]["kind"].as_str(), None | Some("" | "Node")) {
            return Err(bad_request("a Binding needs a target of kind Node with a name"));
        }
        if let Some(why) = binding_obstacle(&current, metadata) {
            return Err(conflict(&kind, &key.name, why));
        }
        let mut bound = current.value().clone();
        bound["spec"]["nodeName"] = node.into();
        meta::remove(&mut bound["status"], &["nominatedNodeName"]);
        for (field, value) in metadata["annotations"].as_object().into_iter().flatten() {
            bound["metadata"]["annotations"][field] = value.clone();
        }
        set_condition(&mut bound["status"], "PodScheduled", "True", call.now);
        self.commit(call, Some(current), Some(bound)).map(drop)
    }
}

fn binding_obstacle(pod: &Object, wanted: &Value) -> Option<String> {
    let (value, name) = (pod.value(), &pod.value()["metadata"]["name"]);
    let differs = |field: &str| wanted[field].as_str().is_some_and(|wanted| value["metadata"][field] != wanted);
    if let Some(field) = ["uid", "resourceVersion"].into_iter().find(|field| differs(field)) {
        return Some(format!("Precondition failed: {field} {} is not the pod's", wanted[field]));
    }
    if pod.is_ending() {
        return Some(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = value["spec"]["nodeName"].as_str() {
        return Some(format!("pod {name} is already assigned to node \"{node}\""));
    }
    let gated = !meta::list(&value["spec"], "schedulingGates").is_empty();
    gated.then(|| format!("pod {name} has non-empty .spec.schedulingGates"))
}

/// Sets a condition's status; the transition time moves only when the status does. Reason and message go.
fn set_condition(status: &mut Value, condition_type: &str, condition_status: &str, now: Timestamp) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let place = conditions.iter().position(|condition| condition["type"] == condition_type);
    let since = place
        .filter(|place| conditions[*place]["status"] == condition_status)
        .map_or_else(|| json!(rfc3339(now)), |place| conditions[place]["lastTransitionTime"].clone());
    let condition = json!({"type": condition_type, "status": condition_status, "lastTransitionTime": since});
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
}
