//! The order that the arguments describe.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use korder_api::names::API_VERSION;
use serde_json::{Map, Value, json};

use super::{Arguments, Capacity, Stock};

/// The order as it is sent: fields that this program does not know stay in it.
pub(super) fn order(arguments: &Arguments) -> anyhow::Result<Value> {
    let Arguments { name, namespace, replicas, lasting, capacity, stock, .. } = arguments;
    let mut spec = match (&stock.item_file, &stock.inventory) {
        (Some(file), _) => of_item(&read(file)?, stock).with_context(|| format!("`{}`", file.display()))?,
        (None, Some(inventory)) => of_inventory(inventory, stock),
        (None, None) => of_capacity(capacity, &json!(lasting)),
    };
    let is_request = spec.get("template").is_none();
    let Stock { deliver_secret, deliver_configmap, priority, if_no_inventory, .. } = stock;
    let deliver = match (deliver_secret, deliver_configmap) {
        (Some(name), _) => json!({ "secretName": name }),
        (None, Some(name)) => json!({ "configMapName": name }),
        (None, None) => Value::Null,
    };
    let rest = [
        ("replicas", json!(replicas)),
        ("holdFor", if is_request { json!(lasting) } else { Value::Null }),
        ("queuePriority", json!(priority)),
        ("ifNoInventory", json!(if_no_inventory)),
        ("deliver", deliver),
    ];
    spec.extend(rest.into_iter().filter(|(_, value)| !value.is_null()).map(|(field, value)| (field.to_owned(), value)));
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace.given() {
        metadata["namespace"] = json!(namespace);
    }
    Ok(json!({ "apiVersion": API_VERSION, "kind": "Order", "metadata": metadata, "spec": spec }))
}

fn of_capacity(capacity: &Capacity, duration: &Value) -> Map<String, Value> {
    let Capacity { cpu, memory, node_selector, priority_class, refresh_policy } = capacity;
    let amounts = [("cpu", cpu), ("memory", memory)];
    let requests: Map<String, Value> = amounts
        .into_iter()
        .filter_map(|(resource, amount)| Some((resource.to_owned(), json!(amount.as_ref()?))))
        .collect();
    let mut ticket = json!({ "duration": duration, "resources": { "requests": requests } });
    if !node_selector.is_empty() {
        ticket["nodeSelector"] = fields(node_selector);
    }
    if let Some(class) = priority_class {
        ticket["priorityClassName"] = json!(class);
    }
    let mut spec = Map::from_iter([("template".to_owned(), json!({ "spec": ticket }))]);
    if let Some(policy) = refresh_policy {
        spec.insert("strategy".to_owned(), json!({ "refreshPolicy": policy }));
    }
    spec
}

fn of_inventory(inventory: &str, stock: &Stock) -> Map<String, Value> {
    let mut named = match inventory.split_once('/') {
        Some((namespace, name)) => json!({ "namespace": namespace, "name": name }),
        None => json!({ "name": inventory }),
    };
    if !stock.inputs.is_empty() {
        named["inputs"] = fields(&stock.inputs);
    }
    Map::from_iter([("inventoryRef".to_owned(), named)])
}

fn of_item(text: &str, stock: &Stock) -> anyhow::Result<Map<String, Value>> {
    let mut item: Value = serde_saphyr::from_str(text).context("it is neither YAML nor JSON")?;
    if item.get("operation").is_none() {
        bail!("it has no `operation`: it must be what `spec.item` of an Order is");
    }
    if !stock.inputs.is_empty() {
        let inputs = item.as_object_mut().map(|item| item.entry("inputs").or_insert_with(|| json!({})));
        let inputs = inputs.and_then(Value::as_object_mut).context("its `inputs` are no map")?;
        inputs.extend(stock.inputs.iter().map(|(key, value)| (key.clone(), json!(value))));
    }
    Ok(Map::from_iter([("item".to_owned(), item)]))
}

fn fields(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
}
