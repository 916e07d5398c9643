//! What nobody but the controllers writes on korder's kinds, whatever else a role allows: status, which is where a claim is
//! true, what tells which order has made a ticket, and stock.

use korder_api::names::{ANNOTATION_ABANDON, FINALIZER_TEARDOWN, GROUP, VERSION};
use kube::core::DynamicObject;

use crate::accounts::not_the_controller;
use crate::policy::{Action, Policy, Validation, cel_agree, cel_map_of, rules};

/// The policies and their bindings.
pub(crate) fn policies() -> Vec<DynamicObject> {
    [status(), ticket_owner(), stock()].iter().flat_map(Policy::objects).collect()
}

fn status() -> Policy {
    Policy {
        name: "status.korder.dev",
        action: Action::Deny,
        rules: rules(
            GROUP,
            VERSION,
            &["orders/status", "tickets/status", "inventories/status", "stocks/status"],
            &["UPDATE"],
        ),
        only_if: vec![not_the_controller()],
        variables: vec![],
        validations: vec![Validation {
            expression: "false".into(),
            message:
                "'the status of ' + object.kind + ' `' + object.metadata.name + '` is korder\\'s own: it tells what \
                      there is'"
                    .into(),
        }],
    }
}

/// An owner or label that was there before may stay, and may go: the garbage collector takes owners off.
fn ticket_owner() -> Policy {
    let is_order = format!("owner.kind == 'Order' && owner.apiVersion.startsWith('{GROUP}/')");
    let forged = format!("variables.owners.filter(owner, {is_order} && !(owner.uid in variables.oldOwners))");
    let relabelled = format!(
        "variables.labels.filter(key, key.startsWith('korder.dev/') && !{})",
        cel_agree("key", "variables.labels", "variables.oldLabels")
    );
    let owners = |object: &str| {
        format!("{object} != null && has({object}.metadata.ownerReferences) ? {object}.metadata.ownerReferences : []")
    };
    Policy {
        name: "ticket-owner.korder.dev",
        action: Action::Deny,
        rules: rules(GROUP, VERSION, &["tickets"], &["CREATE", "UPDATE"]),
        only_if: vec![not_the_controller()],
        variables: vec![
            ("owners", owners("object")),
            ("oldOwners", format!("({}).filter(owner, {is_order}).map(owner, owner.uid)", owners("oldObject"))),
            ("labels", cel_map_of("object", "labels")),
            ("oldLabels", cel_map_of("oldObject", "labels")),
            ("forged", forged),
            ("relabelled", relabelled),
        ],
        validations: vec![
            Validation {
                expression: "variables.forged.size() == 0".into(),
                message:
                    "'owner `' + variables.forged[0].name + '` of kind Order can\\'t be given to a ticket by hand: an \
                          order counts what it has made; leave it out, and the ticket is nobody\\'s'"
                        .into(),
            },
            Validation {
                expression: "variables.relabelled.size() == 0".into(),
                message: "'label `' + variables.relabelled[0] + '` is korder\\'s own: it tells which order has made a \
                          ticket'"
                    .into(),
            },
        ],
    }
}

/// Users may delete a unit, label it for themselves, and say that what is left of it is to be left.
fn stock() -> Policy {
    let finalizers = |object: &str| {
        format!("{object} != null && has({object}.metadata.finalizers) ? {object}.metadata.finalizers : []")
    };
    let all = "(variables.labels.map(key, key) + variables.oldLabels.map(key, key))";
    let relabelled = format!(
        "{all}.filter(key, key.startsWith('korder.dev/') && !{})",
        cel_agree("key", "variables.labels", "variables.oldLabels")
    );
    Policy {
        name: "stock.korder.dev",
        action: Action::Deny,
        rules: rules(GROUP, VERSION, &["stocks"], &["CREATE", "UPDATE"]),
        only_if: vec![not_the_controller()],
        variables: vec![
            ("labels", cel_map_of("object", "labels")),
            ("oldLabels", cel_map_of("oldObject", "labels")),
            ("relabelled", relabelled),
            ("finalizers", finalizers("object")),
            ("oldFinalizers", finalizers("oldObject")),
        ],
        validations: vec![
            Validation {
                expression: "oldObject != null".into(),
                message: "'a Stock is made by korder alone: make an Inventory, which keeps units on its shelf, or an Order with \
                          `spec.item`'"
                    .into(),
            },
            Validation {
                expression: "oldObject == null || object.spec == oldObject.spec".into(),
                message: "'`spec` of Stock `' + object.metadata.name + '` can\\'t be changed: a unit is what it was made as; change \
                          its Inventory'"
                    .into(),
            },
            Validation {
                expression: "oldObject == null || variables.relabelled.size() == 0".into(),
                message: "'label `' + variables.relabelled[0] + '` is korder\\'s own: it tells which Inventory a Stock is of'"
                    .into(),
            },
            Validation {
                expression: format!(
                    "!('{FINALIZER_TEARDOWN}' in variables.oldFinalizers) || '{FINALIZER_TEARDOWN}' in variables.finalizers"
                ),
                message: format!(
                    "'finalizer `{FINALIZER_TEARDOWN}` can\\'t be taken off Stock `' + object.metadata.name + '`: what it consists \
                     of would be left behind; where that is what you want, `kubectl annotate kst ' + object.metadata.name + ' \
                     {ANNOTATION_ABANDON}=true` and delete it'"
                ),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::tests::refusal;

    fn ticket(owner_kind: &str, label: &str) -> Value {
        let owner =
            json!({ "apiVersion": "core.korder.dev/v1alpha1", "kind": owner_kind, "name": "shelf", "uid": "u" });
        json!({ "metadata": { "ownerReferences": [owner], "labels": { label: "shelf" } } })
    }

    #[test]
    fn a_ticket_is_nobodys_but_of_the_order_that_made_it() {
        let of_order = ticket("Order", "app");
        let told = refusal(&ticket_owner(), &of_order, None).unwrap();
        assert!(told.starts_with("owner `shelf` of kind Order can't be given to a ticket by hand"), "{told}");
        assert_eq!(refusal(&ticket_owner(), &ticket("ConfigMap", "app"), None), None);
        let disguised = ticket("ConfigMap", "app");
        assert!(refusal(&ticket_owner(), &of_order, Some(&disguised)).is_some(), "an owner of the same uid");
        assert_eq!(refusal(&ticket_owner(), &of_order, Some(&of_order)), None);
        let nobodys = json!({ "metadata": {} });
        assert_eq!(refusal(&ticket_owner(), &nobodys, Some(&of_order)), None, "the garbage collector may take it off");
        assert!(refusal(&ticket_owner(), &of_order, Some(&nobodys)).is_some());
    }

    #[test]
    fn its_labels_are_not_forged() {
        let told = "label `korder.dev/order` is korder's own: it tells which order has made a ticket";
        let labelled = ticket("ConfigMap", "korder.dev/order");
        assert_eq!(refusal(&ticket_owner(), &labelled, None).as_deref(), Some(told));
        assert_eq!(refusal(&ticket_owner(), &labelled, Some(&labelled)), None);
    }

    #[test]
    fn stock_is_made_by_korder_and_stays_what_it_is() {
        let stock = json!({
            "metadata": {
                "name": "db-1", "labels": { "korder.dev/inventory": "db" }, "finalizers": ["korder.dev/teardown", "other"],
            },
            "spec": { "inventoryName": "db" },
        });
        let told = |path: &str, value: Value| {
            let mut changed = stock.clone();
            *changed.pointer_mut(path).unwrap() = value;
            refusal(&super::stock(), &changed, Some(&stock)).unwrap_or_default()
        };
        assert!(refusal(&super::stock(), &stock, None).unwrap().starts_with("a Stock is made by korder alone"));
        assert_eq!(told("/metadata/labels", json!({ "korder.dev/inventory": "db", "app": "x" })), "");
        assert_eq!(told("/metadata/finalizers", json!(["korder.dev/teardown"])), "");
        assert!(told("/spec/inventoryName", json!("other")).starts_with("`spec` of Stock `db-1` can't be changed"));
        for labels in [
            json!({}),
            json!({ "korder.dev/inventory": "other" }),
            json!({ "korder.dev/inventory": "db", "korder.dev/x": "" }),
        ] {
            let told = told("/metadata/labels", labels);
            assert!(told.starts_with("label `korder.dev/"), "{told}");
        }
        let untied = told("/metadata/finalizers", json!(["other"]));
        assert!(untied.contains("`kubectl annotate kst db-1 korder.dev/abandon=true`"), "{untied}");
    }

    #[test]
    fn the_status_is_named() {
        let ticket = json!({ "kind": "Ticket", "metadata": { "name": "t" } });
        let told = "the status of Ticket `t` is korder's own: it tells what there is";
        assert_eq!(refusal(&status(), &ticket, Some(&ticket)).as_deref(), Some(told));
    }
}
