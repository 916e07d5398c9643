//! What the schemas already know and korder does not do yet: refused, so that nothing is silently ignored.
//!
//! One line a thing. Whoever builds it deletes its line.

use korder_api::names::{GROUP, VERSION};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::policy::{Action, Policy, Validation, rules};

/// A field of a spec, what of it is refused, and what to do instead.
#[derive(Clone, Copy)]
struct Line(&'static str, When, &'static str);

/// What of a field is refused; values are CEL.
#[derive(Clone, Copy)]
enum When {
    /// That it is there.
    Set,
    /// This value.
    Is(&'static str),
    /// Any value but this one.
    IsNot(&'static str),
}
use When::{Is, IsNot, Set};

const KINDS: &[&str] = &["Quota"];

const ORDER: &[Line] = &[
    Line("daemonSet", Is("true"), "leave it out and give replicas"),
    Line("minReadySeconds", IsNot("0"), "leave it out"),
    Line("strategy.type", Is("'Scheduled'"), "use OneTime"),
    Line("strategy.type", Is("'Recurring'"), "use OneTime"),
    Line("strategy.timeZone", Set, "leave it out"),
    Line("strategy.startingDeadlineSeconds", Set, "leave it out"),
    Line("strategy.leadTime", Set, "leave it out"),
];

/// Of a ticket, and of the ticket that an order's template describes.
const TICKET_SPEC: &[Line] = &[
    Line("window", Set, "use duration"),
    Line("acquire", Is("'Preempt'"), "use Wait"),
    Line("lifecycle.onExpiry", Is("'Evict'"), "use Keep"),
    Line("lifecycle.reuse", Is("'OnDelete'"), "use Never"),
];

/// Of the item of an order or an inventory.
const ITEM: &[Line] = &[Line("operation.package", Set, "use operation.job or operation.manifests")];

/// The policies and their bindings.
pub(crate) fn policies() -> Vec<DynamicObject> {
    [kinds(), orders(), tickets(), inventories()].iter().flat_map(Policy::objects).collect()
}

fn kinds() -> Policy {
    let validations = KINDS.iter().map(|kind| Validation {
        expression: format!("object.kind != '{kind}'"),
        message: format!("'kind `{kind}` is not built yet: nothing would come of it'"),
    });
    Policy {
        name: "not-built-yet-kinds.korder.dev",
        action: Action::Deny,
        rules: ours(&["quotas"], &["CREATE"]),
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
        action: Action::Deny,
        rules: ours(&["orders"], &["CREATE", "UPDATE"]),
        only_if: vec![spec_is_new()],
        variables: vec![],
        validations: own.chain(of_tickets).chain(of_items()).collect(),
    }
}

fn inventories() -> Policy {
    Policy {
        name: "not-built-yet-inventories.korder.dev",
        action: Action::Deny,
        rules: ours(&["inventories"], &["CREATE", "UPDATE"]),
        only_if: vec![spec_is_new()],
        variables: vec![],
        validations: of_items().collect(),
    }
}

fn of_items() -> impl Iterator<Item = Validation> {
    ITEM.iter().map(|line| line.of_field("spec.item."))
}

fn tickets() -> Policy {
    Policy {
        name: "not-built-yet-tickets.korder.dev",
        action: Action::Deny,
        rules: ours(&["tickets"], &["CREATE", "UPDATE"]),
        only_if: vec![spec_is_new()],
        variables: vec![],
        validations: TICKET_SPEC.iter().map(|line| line.of_field("spec.")).collect(),
    }
}

fn ours(resources: &[&str], operations: &[&str]) -> Value {
    rules(GROUP, VERSION, resources, operations)
}

/// Objects stored by a korder that knew more must still be deletable: taking a finalizer off is an update.
fn spec_is_new() -> (&'static str, String) {
    ("spec-is-new", "oldObject == null || object.spec != oldObject.spec".into())
}

impl Line {
    /// The validation of the field at `prefix` and our path below the object.
    fn of_field(&self, prefix: &str) -> Validation {
        let path = format!("{prefix}{}", self.0);
        // `spec` itself is always there; what is below it may be missing at each step.
        let steps = path.match_indices('.').map(|(end, _)| &path[..end]).skip(1).chain([path.as_str()]);
        let there: Vec<String> = steps.map(|step| format!("has(object.{step})")).collect();
        let (there, value) = (there.join(" && "), format!("object.{path}"));
        let refused = match self.1 {
            Set => there,
            Is(literal) => format!("{there} && {value} == {literal}"),
            IsNot(literal) => format!("{there} && {value} != {literal}"),
        };
        let shown = match self.1 {
            Set => format!("'`{path}` is not built yet; "),
            Is(literal) => format!("'`{path}: {}` is not built yet; ", literal.trim_matches('\'')),
            IsNot(_) => format!("'`{path}: ' + string({value}) + '` is not built yet; "),
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

    #[test]
    fn what_is_built_passes() {
        let refresh = json!({ "type": "OneTime", "refreshPolicy": "Always" });
        assert_eq!(refusal(&orders(), &order("strategy", &refresh), None), None);
        assert_eq!(refusal(&orders(), &order("daemonSet", &json!(false)), None), None);
        assert_eq!(refusal(&orders(), &order("allowedNamespaces", &json!({ "from": "All" })), None), None);
        let item = json!({ "operation": { "job": {} } });
        assert_eq!(refusal(&orders(), &order("item", &item), None), None);
        let inventory = json!({ "spec": { "item": item, "reclaimPolicy": "Restock", "reset": {}, "probe": {} } });
        assert_eq!(refusal(&inventories(), &inventory, None), None);
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
        let package = json!({ "operation": { "package": { "name": "town" } } });
        let told = "`spec.item.operation.package` is not built yet; use operation.job or operation.manifests";
        refused(&orders(), &order("item", &package), told);
        refused(&inventories(), &json!({ "spec": { "item": package } }), told);
        refused(
            &orders(),
            &order("daemonSet", &json!(true)),
            "`spec.daemonSet: true` is not built yet; leave it out and give replicas",
        );
        refused(
            &orders(),
            &order("minReadySeconds", &json!(10)),
            "`spec.minReadySeconds: 10` is not built yet; leave it out",
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
    fn each_line_refuses_what_it_names_and_nothing_else() {
        let fields = ORDER.iter().map(|line| (line, line.of_field("spec.")));
        let others = [TICKET_SPEC, ITEM].concat();
        let others = others.iter().map(|line| (line, line.of_field("spec.")));
        for (line, validation) in fields.chain(others) {
            let path = line.0;
            let alone = Policy { validations: vec![validation], ..kinds() };
            let with = |value: &str| {
                let value: Value = serde_json::from_str(&value.replace('\'', "\"")).unwrap();
                json!({ "spec": path.rsplit('.').fold(value, |inner, step| json!({ step: inner })) })
            };
            let (bad, good) = match line.1 {
                Set => ("'any'", None),
                Is(literal) => (literal, Some("'other'")),
                IsNot("0") => ("1", Some("0")),
                IsNot(literal) => ("'other'", Some(literal)),
            };
            assert!(refusal(&alone, &with(bad), None).is_some(), "{path}");
            let without = json!({ "spec": {} });
            for object in good.map(with).into_iter().chain([without]) {
                assert_eq!(refusal(&alone, &object, None), None, "{path}");
            }
        }
    }
}
