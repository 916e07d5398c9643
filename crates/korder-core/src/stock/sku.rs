//! What makes two units the same.
//!
//! The same operation with the same inputs gives the same, fungible output. So a unit is known by what it is made
//! of: the hash of its item, by which orders find an inventory and an inventory tells its units from obsolete ones.

use korder_api::item::{Item, ItemType};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What an identity begins with: another rule of what is hashed gets another version, and changes no identity of this one.
const VERSION: &str = "v1-";
/// The account as which units are made where an item names none.
const DEFAULT_ACCOUNT: &str = "default";

/// What is hashed, and nothing else: when a unit is ready, for instance, changes no unit.
#[derive(Serialize)]
struct Identity<'a> {
    #[serde(rename = "type")]
    type_: ItemType,
    operation: &'a korder_api::item::Operation,
    inputs: &'a std::collections::BTreeMap<String, String>,
    outputs: &'a [korder_api::item::Output],
    account: (&'a str, &'a str),
}

/// The identity of an item of a namespace: `v1-` and the SHA-256, in hexadecimal digits, of its type, operation, inputs, outputs and
/// account as canonical JSON (RFC 8785), which does not depend on the order of keys or the form of numbers.
///
/// What a Secret holds that an operation reads is no part of it.
///
/// # Errors
/// An item that has no canonical form, such as one with a number that JSON can't tell exactly.
pub fn of(item: &Item, namespace: &str) -> Result<String, serde_json::Error> {
    let identity = Identity {
        type_: item.type_.unwrap_or_default(),
        operation: &item.operation,
        inputs: &item.inputs,
        outputs: &item.outputs,
        account: (namespace, account(item)),
    };
    let digest = Sha256::digest(serde_json_canonicalizer::to_vec(&identity)?);
    Ok(digest.iter().fold(VERSION.to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// The service account as which an item is made.
pub fn account(item: &Item) -> &str {
    item.service_account_name.as_deref().unwrap_or(DEFAULT_ACCOUNT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(json: serde_json::Value) -> Item {
        serde_json::from_value(json).unwrap()
    }

    fn job(inputs: &serde_json::Value) -> serde_json::Value {
        json!({
            "inputs": inputs,
            "operation": {"job": {"template": {"spec": {"containers": [{"name": "build", "image": "builder@sha256:1"}]}}}},
            "outputs": [{"name": "digest", "from": {"result": "digest"}}],
        })
    }

    fn with(key: &str, value: serde_json::Value) -> serde_json::Value {
        let mut item = job(&json!({"A": "1", "B": "2"}));
        item[key] = value;
        item
    }

    #[test]
    fn the_identity_is_what_it_was_in_every_version_before() {
        // Were this to change, every shelf would be obsolete with an upgrade.
        insta::assert_snapshot!(of(&item(job(&json!({"A": "1"}))), "default").unwrap(), @"v1-9f894aab5d0749cab0f3c82f188f493c990b75a7209678b94449e7669a65075c");
    }

    #[test]
    fn the_order_of_keys_and_what_is_not_of_the_unit_make_no_difference() {
        let one = of(&item(job(&json!({"A": "1", "B": "2"}))), "ns").unwrap();
        for same in [
            job(&json!({"B": "2", "A": "1"})),
            with("type", json!("Fungible")),
            with("serviceAccountName", json!("default")),
        ] {
            assert_eq!(of(&item(same.clone()), "ns").unwrap(), one, "{same}");
        }
    }

    #[test]
    fn whatever_makes_another_unit_makes_another_identity() {
        let one = of(&item(job(&json!({"A": "1", "B": "2"}))), "ns").unwrap();
        let mut all = vec![one.clone(), of(&item(job(&json!({"A": "1", "B": "2"}))), "other").unwrap()];
        for other in [
            job(&json!({"A": "1", "B": "3"})),
            with("type", json!("Copy")),
            with("serviceAccountName", json!("builder")),
            with("outputs", json!([])),
            with("operation", json!({"package": {"name": "p", "version": "1.0.0"}})),
        ] {
            all.push(of(&item(other), "ns").unwrap());
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "{all:#?}");
    }

    #[test]
    fn fields_of_pods_that_this_version_does_not_know_count() {
        let plain = job(&json!({}));
        let mut newer = plain.clone();
        newer["operation"]["job"]["template"]["spec"]["fieldOfTheFuture"] = json!(true);
        assert_ne!(of(&item(plain), "ns").unwrap(), of(&item(newer), "ns").unwrap());
    }
}
