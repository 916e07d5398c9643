//! Variants: inventories of the same item with other inputs, made for orders that ask for these.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use korder_api::inventory::{AllowedInput, Demand};
use korder_api::item::ItemType;
use korder_api::{Inventory, InventorySpec, Item, names};
use regex::RegexBuilder;

use super::full_name;
use crate::admits::Admits;
use crate::stock::sku;

/// How many variants there may be where an inventory does not say.
pub const MAX_VARIANTS: usize = 10;
/// The greatest level of a variant of an inventory with a fixed one.
const MAX_REPLICAS: i32 = 10;
/// How long a variant keeps anything without an order.
const IDLE_AFTER: &str = "1h";
/// How many digits of its item's identity stand in a variant's name: two variants of one inventory share one by chance with 2⁻³².
const DIGITS: usize = 8;
/// The most memory that a pattern may take, so that none keeps the controllers busy; matching is linear in any case.
const PATTERN_LIMIT: usize = 1 << 20;

/// The name of the variant that an order's inputs ask for, and its item; the inventory's own where they change nothing.
///
/// # Errors
/// In words, what the inventory does not let orders set.
pub fn of(base: &Inventory, inputs: &BTreeMap<String, String>) -> Result<(String, Item), String> {
    for (name, value) in inputs {
        let Some(allowed) = base.spec.inputs.get(name) else {
            let names: Vec<&str> = base.spec.inputs.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!("input `{name}` may not be set by orders; these may: {names}"));
        };
        allows(allowed, value).map_err(|why| format!("input `{name}: {value}`: {why}"))?;
    }
    let name = base.metadata.name.as_deref().unwrap_or_default();
    let mut item = base.spec.item.clone();
    item.inputs.extend(inputs.iter().map(|(name, value)| (name.clone(), value.clone())));
    if item == base.spec.item {
        return Ok((name.to_owned(), item));
    }
    let namespace = base.metadata.namespace.as_deref().unwrap_or_default();
    let sku = sku::of(&item, namespace).map_err(|error| format!("the item has no canonical form: {error}"))?;
    let digits = sku.rsplit('-').next().and_then(|digits| digits.get(..DIGITS)).unwrap_or_default();
    let room = names::MAX_INVENTORY_NAME - DIGITS - 1;
    let stem = name.get(..room).unwrap_or(name).trim_end_matches(['-', '.']);
    Ok((format!("{stem}-{digits}"), item))
}

fn allows(allowed: &AllowedInput, value: &str) -> Result<(), String> {
    if !allowed.enum_.is_empty() {
        let known = allowed.enum_.iter().any(|one| one == value);
        return if known { Ok(()) } else { Err(format!("must be one of {}", allowed.enum_.join(", "))) };
    }
    let most = allowed.max_length.map_or(0, |most| usize::try_from(most).unwrap_or(0));
    if value.chars().count() > most {
        return Err(format!("must have at most {most} characters"));
    }
    let pattern = allowed.pattern.as_deref().unwrap_or_default();
    let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_LIMIT).build();
    let whole = whole.map_err(|_| format!("the inventory's pattern `{pattern}` is none"))?;
    if whole.is_match(value) { Ok(()) } else { Err(format!("must match `{pattern}`")) }
}

/// The variant of an inventory that has this name and item.
pub fn make(base: &Inventory, name: String, item: Item) -> Inventory {
    let base_name = base.metadata.name.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: base.metadata.namespace.clone(),
        labels: Some([(names::LABEL_VARIANT_OF.to_owned(), base_name.clone())].into()),
        annotations: Some([(names::ANNOTATION_MADE_FOR_ORDERS.to_owned(), "true".to_owned())].into()),
        owner_references: Some(vec![OwnerReference {
            api_version: names::API_VERSION.to_owned(),
            kind: "Inventory".to_owned(),
            name: base_name,
            uid: base.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    };
    let copy = item.type_ == Some(ItemType::Copy);
    let base_demand = base.spec.demand.clone();
    let max_replicas = base_demand.as_ref().map_or(MAX_REPLICAS, |demand| demand.max_replicas);
    let demand = Demand {
        min_replicas: None,
        max_replicas: if copy { max_replicas.min(1) } else { max_replicas },
        service_level_percent: base_demand.as_ref().and_then(|demand| demand.service_level_percent),
        costs: base_demand.and_then(|demand| demand.costs),
    };
    let spec = InventorySpec {
        item,
        replicas: None,
        demand: Some(demand),
        idle_after: IDLE_AFTER.parse().ok(),
        inputs: BTreeMap::new(),
        max_variants: None,
        ..base.spec.clone()
    };
    Inventory { metadata, spec, status: None }
}

/// What a variant's spec is to be where its inventory has changed: a variant is what would be made for its item now.
pub fn followed(base: &Inventory, there: &Inventory) -> Option<InventorySpec> {
    let mut owners = there.metadata.owner_references.iter().flatten();
    // By uid: a label alone makes nobody's inventory another one's.
    let is_its = owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == base.metadata.uid.as_ref());
    let spec = make(base, String::new(), there.spec.item.clone()).spec;
    (is_its && spec != there.spec).then_some(spec)
}

/// Why an inventory makes and has no variants for orders of this namespace, which has these labels if they are known.
pub fn not_admitted(base: &Inventory, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Option<String> {
    let own = base.metadata.namespace.as_deref().unwrap_or_default();
    if Admits::by(base.spec.allowed_namespaces.as_ref()).admits(own, namespace, labels) {
        return None;
    }
    let name = full_name(base);
    Some(format!("inventory `{name}` serves no orders of namespace `{namespace}` (its `allowedNamespaces`)"))
}

/// The name of the inventory that this one is a variant of.
pub fn base_of(inventory: &Inventory) -> Option<&str> {
    inventory.metadata.labels.as_ref()?.get(names::LABEL_VARIANT_OF).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Inventory {
        let spec = json!({
            "replicas": 1,
            "item": {"inputs": {"SIZE": "small", "FLOUR": "rye"}, "operation": {"package": {"name": "p", "version": "1.0.0"}}},
            "inputs": {"SIZE": {"enum": ["small", "large"]}, "WORDS": {"pattern": "[a-z]+|[0-9]", "maxLength": 5}},
        });
        let mut base = Inventory::new("cake", serde_json::from_value(spec).unwrap());
        base.metadata.namespace = Some("shop".into());
        base
    }

    fn named(inputs: &[(&str, &str)]) -> Result<String, String> {
        let inputs = inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of(&base(), &inputs).map(|(name, _)| name)
    }

    #[test]
    fn the_same_inputs_are_the_same_variant_and_the_inventorys_own_are_none() {
        assert_eq!(named(&[("SIZE", "small")]).unwrap(), "cake");
        let large = named(&[("SIZE", "large")]).unwrap();
        assert!(large.starts_with("cake-") && large.len() == 13, "{large}");
        assert_eq!(named(&[("SIZE", "large")]).unwrap(), large);
        assert_ne!(named(&[("SIZE", "large"), ("WORDS", "a")]).unwrap(), large);
    }

    #[test]
    fn only_what_is_allowed_can_be_set() {
        for (inputs, told) in [
            (("FLOUR", "wheat"), "these may: SIZE, WORDS"),
            (("SIZE", "huge"), "one of small, large"),
            (("WORDS", "abcdef"), "at most 5"),
            (("WORDS", "A"), "must match"),
            // The whole of it, not one of the alternatives somewhere.
            (("WORDS", "a1"), "must match"),
        ] {
            let error = named(&[inputs]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert!(named(&[("WORDS", "abc")]).is_ok() && named(&[("WORDS", "7")]).is_ok());
    }

    #[test]
    fn a_long_name_leaves_room_for_the_digits() {
        let mut base = base();
        base.metadata.name = Some("c".repeat(52));
        let (name, item) = of(&base, &[("SIZE".to_owned(), "large".to_owned())].into()).unwrap();
        assert_eq!(name.len(), names::MAX_INVENTORY_NAME);
        let variant = make(&base, name, item);
        assert_eq!((variant.spec.replicas, variant.spec.demand.unwrap().max_replicas), (None, 10));
        assert_eq!(variant.spec.item.inputs["SIZE"], "large");
    }

    #[test]
    fn a_variant_follows_its_inventory_and_nobody_elses() {
        let mut base = base();
        base.metadata.uid = Some("cake".into());
        let (name, item) = of(&base, &[("SIZE".to_owned(), "large".to_owned())].into()).unwrap();
        let mut variant = make(&base, name, item);
        assert_eq!(followed(&base, &variant), None);
        base.spec.paused = Some(true);
        base.spec.max_age = "2h".parse().ok();
        base.spec.allowed_namespaces = serde_json::from_value(json!({"from": "All"})).ok();
        let spec = followed(&base, &variant).unwrap();
        assert_eq!((spec.paused, &spec.max_age), (Some(true), &base.spec.max_age));
        assert_eq!(spec.allowed_namespaces, base.spec.allowed_namespaces);
        assert_eq!((spec.replicas, &spec.item), (None, &variant.spec.item));
        variant.spec = spec;
        assert_eq!(followed(&base, &variant), None);
        base.spec.paused = None;
        base.metadata.uid = Some("another".into());
        assert_eq!(followed(&base, &variant), None);
    }

    #[test]
    fn whom_the_inventory_does_not_admit_has_no_variant_of_it() {
        let mut base = base();
        assert_eq!(not_admitted(&base, "shop", None), None);
        let why = not_admitted(&base, "street", None).unwrap();
        assert_eq!(why, "inventory `shop/cake` serves no orders of namespace `street` (its `allowedNamespaces`)");
        base.spec.allowed_namespaces = serde_json::from_value(json!({"from": "All"})).ok();
        assert_eq!(not_admitted(&base, "street", None), None);
    }
}
