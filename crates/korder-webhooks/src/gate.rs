//! Which pods are gated, and how: the same rule as the conditions and the policy of `korder-manifests`.

use korder_api::names::{CLAIM_ANNOTATIONS, GATE, LABEL_ROLE, ROLE_GUARDIAN};
use korder_manifests::MIRROR_POD;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// The JSON patch that gates a pod; none where the pod is to be left alone.
///
/// Gates of others stay, and a pod that has ours already is not changed, so that being asked twice does no harm.
pub fn gate_patch(pod: &DynamicObject) -> Option<Value> {
    if !asks_for_ticket(pod) {
        return None;
    }
    let ours = json!({ "name": GATE });
    match pod.data.pointer("/spec/schedulingGates").and_then(Value::as_array) {
        Some(gates) if gates.iter().any(|gate| gate["name"] == GATE) => None,
        Some(_) => Some(json!([{ "op": "add", "path": "/spec/schedulingGates/-", "value": ours }])),
        None => Some(json!([{ "op": "add", "path": "/spec/schedulingGates", "value": [ours] }])),
    }
}

fn asks_for_ticket(pod: &DynamicObject) -> bool {
    let annotations = pod.annotations();
    let is_guardian = pod.labels().get(LABEL_ROLE).is_some_and(|role| role == ROLE_GUARDIAN);
    CLAIM_ANNOTATIONS.iter().any(|claim| annotations.contains_key(*claim))
        && !annotations.contains_key(MIRROR_POD)
        && !is_guardian
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(metadata: &Value, gates: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "schedulingGates": gates },
        }))
        .unwrap()
    }

    fn asking() -> Value {
        json!({ "annotations": { "korder.dev/required": "true" } })
    }

    #[test]
    fn a_pod_that_asks_is_gated() {
        let patch = gate_patch(&pod(&asking(), &Value::Null)).unwrap();
        let gates = json!([{ "name": "korder.dev/ticket" }]);
        assert_eq!(patch, json!([{ "op": "add", "path": "/spec/schedulingGates", "value": gates }]));
    }

    #[test]
    fn gates_of_others_stay() {
        let patch = gate_patch(&pod(&asking(), &json!([{ "name": "example.com/other" }]))).unwrap();
        let gate = json!({ "name": "korder.dev/ticket" });
        assert_eq!(patch, json!([{ "op": "add", "path": "/spec/schedulingGates/-", "value": gate }]));
    }

    #[test]
    fn a_gated_pod_is_left_alone() {
        assert_eq!(gate_patch(&pod(&asking(), &json!([{ "name": "korder.dev/ticket" }]))), None);
    }

    /// Metadata of pods, and whether they are gated; the conditions that the API server evaluates must say the same.
    fn table() -> Vec<(Value, bool)> {
        let annotated = |key: &str| json!({ "annotations": { key: "x" } });
        let mirror = json!({ "annotations": { "korder.dev/required": "true", "kubernetes.io/config.mirror": "x" } });
        let labelled = |role: &str| json!({ "annotations": { "korder.dev/required": "true" }, "labels": { "korder.dev/role": role } });
        vec![
            (json!({}), false),
            (json!({ "annotations": {}, "labels": {} }), false),
            (annotated("korder.dev/required"), true),
            (annotated("korder.dev/order"), true),
            (annotated("korder.dev/ticket"), true),
            (annotated("korder.dev/ticket-selector"), true),
            (annotated("korder.dev/group"), true),
            (annotated("korder.dev/timeout"), true),
            (annotated("korder.dev/bound-ticket"), false),
            (annotated("example.com/required"), false),
            (mirror, false),
            (labelled("guardian"), false),
            (labelled("other"), true),
        ]
    }

    #[test]
    fn the_webhook_and_the_conditions_agree() {
        use kube_cel::cel::{Context, Program, Value as Cel, to_value};

        for (metadata, gated) in table() {
            let pod = pod(&metadata, &Value::Null);
            assert_eq!(gate_patch(&pod).is_some(), gated, "the webhook: {metadata}");
            let mut context = Context::default();
            context.add_variable_from_value("object", to_value(&pod).unwrap());
            let matched = korder_manifests::gate_conditions().into_iter().all(|condition| {
                // A condition that fails to evaluate is one that doesn't hold as long as another one is false.
                Program::compile(&condition).unwrap().execute(&context).unwrap() == Cel::Bool(true)
            });
            assert_eq!(matched, gated, "the conditions: {metadata}");
        }
    }
}
