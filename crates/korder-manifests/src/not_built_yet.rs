//! What the schemas already know and korder does not do yet: refused, so that nothing is silently ignored.
//!
//! One line a thing. Whoever builds it deletes its line.

use korder_api::names::{
    ANNOTATION_GROUP, ANNOTATION_GROUP_SIZE, ANNOTATION_ON_TIMEOUT, ANNOTATION_ORDER, ANNOTATION_REQUIRED,
    ANNOTATION_TICKET, ANNOTATION_TICKET_SELECTOR, ANNOTATION_TIMEOUT, GROUP, VERSION,
};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::policy::{Policy, Validation, rules};

/// A field of a spec or an annotation, what of it is refused, and what to do instead.
struct Line(&'static str, When, &'static str);

/// What of a field or annotation is refused; values are CEL.
enum When {
    /// That it is there.
    Set,
    /// This value.
    Is(&'static str),
    /// Any value but this one.
    IsNot(&'static str),
    /// A text that contains this one.
    Contains(&'static str),
}
use When::{Contains, Is, IsNot, Set};

const KINDS: &[&str] = &["Quota", "Inventory", "Stock"];

const ORDER: &[Line] = &[
    Line("item", Set, "use spec.template"),
    Line("inventoryRef", Set, "use spec.template"),
    Line("ifNoInventory", Set, "leave it out"),
    Line("queuePriority", Set, "leave it out"),
    Line("progressDeadlineSeconds", Set, "leave it out"),
    Line("holdFor", Set, "leave it out"),
    Line("ttlSecondsAfterFinished", Set, "leave it out"),
    Line("deliver", Set, "leave it out"),
    Line("daemonSet", Is("true"), "leave it out and give replicas"),
    Line("minReadySeconds", IsNot("0"), "leave it out"),
    Line("strategy.type", Is("'Scheduled'"), "use OneTime"),
    Line("strategy.type", Is("'Recurring'"), "use OneTime"),
    Line("strategy.timeZone", Set, "leave it out"),
    Line("strategy.startingDeadlineSeconds", Set, "leave it out"),
    Line("strategy.leadTime", Set, "leave it out"),
    Line("allowedNamespaces.from", IsNot("'Same'"), "use Same"),
];

/// Of a ticket, and of the ticket that an order's template describes.
const TICKET_SPEC: &[Line] = &[
    Line("window", Set, "use duration"),
    Line("acquire", Is("'Preempt'"), "use Wait"),
    Line("disruption", Is("'Pinned'"), "use Movable"),
    Line("lifecycle.onExpiry", Is("'Evict'"), "use Keep"),
    Line("lifecycle.reuse", Is("'OnDelete'"), "use Never"),
];

const POD_ANNOTATIONS: &[Line] = &[
    Line(ANNOTATION_REQUIRED, Is("'false'"), "use true"),
    Line(ANNOTATION_ORDER, Contains("'/'"), "name an order of the pod's own namespace"),
    Line(ANNOTATION_TICKET, Set, "name an order with korder.dev/order"),
    Line(ANNOTATION_TICKET_SELECTOR, Set, "name an order with korder.dev/order"),
    Line(ANNOTATION_GROUP, Set, "leave it out"),
    Line(ANNOTATION_GROUP_SIZE, Set, "leave it out"),
    Line(ANNOTATION_TIMEOUT, Set, "leave it out"),
    Line(ANNOTATION_ON_TIMEOUT, Set, "leave it out"),
];

/// The policies and their bindings.
pub(crate) fn policies() -> Vec<DynamicObject> {
    [kinds(), orders(), tickets(), pods()].iter().flat_map(Policy::objects).collect()
}

fn kinds() -> Policy {
    let validations = KINDS.iter().map(|kind| Validation {
        expression: format!("object.kind != '{kind}'"),
        message: format!("'kind `{kind}` is not built yet: nothing would come of it'"),
    });
    Policy {
        name: "not-built-yet-kinds.korder.dev",
        rules: ours(&["quotas", "inventories", "stocks"], &["CREATE"]),
        only_if: vec![],
        variables: vec![],
        validations: validations.collect(),
    }
}

fn orders() -> Policy {
    let own = ORDER.iter().map(|line| line.of_field("spec."));
    let of_tickets = TICKET_SPEC.iter().map(|line| line.of_field("spec.template.spec."));
    Policy {
        name: "not-built-yet-orders.korder.dev",
        rules: ours(&["orders"], &["CREATE", "UPDATE"]),
        only_if: vec![spec_is_new()],
        variables: vec![],
        validations: own.chain(of_tickets).collect(),
    }
}

fn tickets() -> Policy {
    Policy {
        name: "not-built-yet-tickets.korder.dev",
        rules: ours(&["tickets"], &["CREATE", "UPDATE"]),
        only_if: vec![spec_is_new()],
        variables: vec![],
        validations: TICKET_SPEC.iter().map(|line| line.of_field("spec.")).collect(),
    }
}

fn pods() -> Policy {
    Policy {
        name: "not-built-yet-pods.korder.dev",
        rules: rules("", "v1", &["pods"], &["CREATE", "UPDATE"]),
        only_if: vec![("annotated", "has(object.metadata.annotations)".into()), annotations_are_new()],
        variables: vec![],
        validations: POD_ANNOTATIONS.iter().map(Line::of_annotation).collect(),
    }
}

fn ours(resources: &[&str], operations: &[&str]) -> Value {
    rules(GROUP, VERSION, resources, operations)
}

/// Objects stored by a korder that knew more must still be deletable: taking a finalizer off is an update.
fn spec_is_new() -> (&'static str, String) {
    ("spec-is-new", "oldObject == null || object.spec != oldObject.spec".into())
}

/// Pods that a korder that knew more let in must still be served: others update them all the time.
fn annotations_are_new() -> (&'static str, String) {
    let same = "has(oldObject.metadata.annotations) && object.metadata.annotations == oldObject.metadata.annotations";
    ("annotations-are-new", format!("oldObject == null || !({same})"))
}

impl Line {
    /// The validation of the field at `prefix` and our path below the object.
    fn of_field(&self, prefix: &str) -> Validation {
        let path = format!("{prefix}{}", self.0);
        // `spec` itself is always there; what is below it may be missing at each step.
        let steps = path.match_indices('.').map(|(end, _)| &path[..end]).skip(1).chain([path.as_str()]);
        let there: Vec<String> = steps.map(|step| format!("has(object.{step})")).collect();
        self.validation(&there.join(" && "), &format!("object.{path}"), "", &path)
    }

    /// The validation of the pod annotation of our name.
    fn of_annotation(&self) -> Validation {
        let there = format!("'{}' in object.metadata.annotations", self.0);
        self.validation(&there, &format!("object.metadata.annotations['{}']", self.0), "annotation ", self.0)
    }

    fn validation(&self, there: &str, value: &str, what: &str, name: &str) -> Validation {
        let refused = match self.1 {
            Set => there.to_owned(),
            Is(literal) => format!("{there} && {value} == {literal}"),
            IsNot(literal) => format!("{there} && {value} != {literal}"),
            Contains(literal) => format!("{there} && {value}.contains({literal})"),
        };
        let shown = match self.1 {
            Set => format!("'{what}`{name}` is not built yet; "),
            Is(literal) => format!("'{what}`{name}: {}` is not built yet; ", literal.trim_matches('\'')),
            IsNot(_) | Contains(_) => format!("'{what}`{name}: ' + string({value}) + '` is not built yet; "),
        };
        Validation { expression: format!("!({refused})"), message: format!("{shown}{}'", self.2.replace('\'', "\\'")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::tests::refusal;

    #[track_caller]
    fn refused(policy: &Policy, object: &Value, message: &str) {
        assert_eq!(refusal(policy, object, None).as_deref(), Some(message), "{object}");
    }

    fn order(field: &str, value: &Value) -> Value {
        let mut spec = json!({ "template": { "spec": { "duration": "24h", "resources": {} } } });
        spec[field] = value.clone();
        json!({ "kind": "Order", "metadata": { "name": "o" }, "spec": spec })
    }

    fn pod(annotation: &str, value: &str) -> Value {
        json!({ "kind": "Pod", "metadata": { "annotations": { annotation: value } }, "spec": {} })
    }

    #[test]
    fn what_is_built_passes() {
        let refresh = json!({ "type": "OneTime", "refreshPolicy": "Always" });
        assert_eq!(refusal(&orders(), &order("strategy", &refresh), None), None);
        assert_eq!(refusal(&orders(), &order("daemonSet", &json!(false)), None), None);
        assert_eq!(refusal(&orders(), &order("allowedNamespaces", &json!({ "from": "Same" })), None), None);
        assert_eq!(refusal(&orders(), &order("allowedNamespaces", &json!({})), None), None);
        assert_eq!(refusal(&pods(), &pod("korder.dev/required", "true"), None), None);
        assert_eq!(refusal(&pods(), &pod("korder.dev/order", "my-order"), None), None);
    }

    #[test]
    fn kinds_are_named() {
        for kind in KINDS {
            let message = format!("kind `{kind}` is not built yet: nothing would come of it");
            refused(&kinds(), &json!({ "kind": kind, "spec": {} }), &message);
        }
    }

    #[test]
    fn fields_are_named_with_their_value_and_what_to_do_instead() {
        let recurring = json!({ "type": "Recurring", "schedule": "0 2 * * *" });
        refused(
            &orders(),
            &order("strategy", &recurring),
            "`spec.strategy.type: Recurring` is not built yet; use OneTime",
        );
        refused(&orders(), &order("item", &json!({})), "`spec.item` is not built yet; use spec.template");
        refused(
            &orders(),
            &order("daemonSet", &json!(true)),
            "`spec.daemonSet: true` is not built yet; leave it out and give replicas",
        );
        refused(
            &orders(),
            &order("allowedNamespaces", &json!({ "from": "All" })),
            "`spec.allowedNamespaces.from: All` is not built yet; use Same",
        );
    }

    #[test]
    fn a_ticket_is_held_to_the_same_in_a_template_and_by_itself() {
        let spec = json!({ "duration": "1h", "resources": {}, "lifecycle": { "onExpiry": "Evict" } });
        let told = |path: &str| format!("`{path}: Evict` is not built yet; use Keep");
        refused(
            &tickets(),
            &json!({ "kind": "Ticket", "metadata": {}, "spec": spec }),
            &told("spec.lifecycle.onExpiry"),
        );
        let order = order("template", &json!({ "spec": spec }));
        refused(&orders(), &order, &told("spec.template.spec.lifecycle.onExpiry"));
    }

    #[test]
    fn annotations_are_named() {
        refused(
            &pods(),
            &pod("korder.dev/required", "false"),
            "annotation `korder.dev/required: false` is not built yet; use true",
        );
        refused(
            &pods(),
            &pod("korder.dev/order", "team-a/shelf"),
            "annotation `korder.dev/order: team-a/shelf` is not built yet; name an order of the pod's own namespace",
        );
        refused(&pods(), &pod("korder.dev/group", "g"), "annotation `korder.dev/group` is not built yet; leave it out");
    }

    #[test]
    fn each_line_refuses_what_it_names_and_nothing_else() {
        let fields = ORDER.iter().map(|line| (line, line.of_field("spec.")));
        let ticket_fields = TICKET_SPEC.iter().map(|line| (line, line.of_field("spec.")));
        let annotations = POD_ANNOTATIONS.iter().map(|line| (line, line.of_annotation()));
        for (line, validation) in fields.chain(ticket_fields).chain(annotations) {
            let path = line.0;
            let alone = Policy { validations: vec![validation], ..kinds() };
            let with = |value: &str| {
                let value: Value = serde_json::from_str(&value.replace('\'', "\"")).unwrap();
                if path.starts_with("korder.dev/") {
                    json!({ "metadata": { "annotations": { path: value } } })
                } else {
                    json!({ "spec": path.rsplit('.').fold(value, |inner, step| json!({ step: inner })) })
                }
            };
            let (bad, good) = match line.1 {
                Set => ("'any'", None),
                Is(literal) | Contains(literal) => (literal, Some("'other'")),
                IsNot("0") => ("1", Some("0")),
                IsNot(literal) => ("'other'", Some(literal)),
            };
            assert!(refusal(&alone, &with(bad), None).is_some(), "{path}");
            let without = json!({ "spec": {}, "metadata": { "annotations": {} } });
            for object in good.map(with).into_iter().chain([without]) {
                assert_eq!(refusal(&alone, &object, None), None, "{path}");
            }
        }
    }
}
