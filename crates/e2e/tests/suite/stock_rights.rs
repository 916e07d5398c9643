//! Nobody gets more by an order for stock, or by an inventory, than by his own hands.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Case, Kubectl};
use serde_json::{Value, json};

use crate::suite::Suite;

const CAROL: &str = "carol";
/// How long a change of somebody's rights takes at most until it counts.
const RIGHTS_DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(units_are_made_of_what_the_requester_may_create);
    suite.add(units_are_made_as_accounts_that_the_requester_may_impersonate);
    suite.add(an_inventory_may_be_changed_but_for_its_item);
    suite.add(many_kinds_of_objects_can_be_judged);
    suite.add(status_and_finalizers_of_stock_are_not_forged);
}

/// `kubectl` of somebody who may place orders and keep inventories in the namespace, and do this, as `create configmaps`.
async fn carol(case: &Case, rights: &[[&str; 2]]) -> Result<Kubectl> {
    let kubectl = case.kubectl().acting_as(CAROL);
    let everything = [["create,patch,update,get", "orders.core.korder.dev,inventories.core.korder.dev"]];
    for right in everything.iter().chain(rights) {
        give(case, right).await?;
    }
    Ok(kubectl)
}

/// Gives Carol a right in the namespace, and waits until it counts.
async fn give(case: &Case, [verbs, resource]: &[&str; 2]) -> Result<()> {
    let kubectl = case.kubectl();
    let name = format!("{verbs}-{resource}").replace([',', '/', '.'], "-");
    let (resources, named) = resource.split_once('/').map_or((*resource, None), |(kind, name)| (kind, Some(name)));
    let (verbs_flag, resource_flag) = (format!("--verb={verbs}"), format!("--resource={resources}"));
    let named = named.map(|named| format!("--resource-name={named}"));
    let mut role = vec!["create", "role", &name, &verbs_flag, &resource_flag];
    role.extend(named.as_deref());
    kubectl.get(&role).await?;
    kubectl.get(&["create", "rolebinding", &name, "--role", &name, "--user", CAROL]).await?;
    let verb = verbs.split(',').next().unwrap_or_default();
    let one = if resources.contains(',') { resources.split(',').next().unwrap_or_default() } else { resource };
    let carol = kubectl.acting_as(CAROL);
    let known = async {
        while carol.run(&["auth", "can-i", verb, one], "").await?.stdout.trim() != "yes" {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(RIGHTS_DEADLINE, known).await.with_context(|| format!("Carol may not {verbs} {resource}"))?
}

fn object(api_version: &str, kind: &str) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": format!("$(stock.name)-{}", kind.to_lowercase()) } })
}

fn of_manifests(objects: &[Value]) -> Value {
    json!({ "serviceAccountName": "builder", "operation": { "manifests": objects } })
}

fn of_job() -> Value {
    let pod = json!({ "spec": { "containers": [{ "name": "build", "image": "build" }] } });
    json!({ "serviceAccountName": "builder", "operation": { "job": { "template": pod } } })
}

/// An inventory that keeps nothing on its shelf, and an order that waits for one: neither makes a unit.
fn both(item: &Value) -> [Value; 2] {
    let object = |kind: &str, spec: Value| json!({ "apiVersion": "core.korder.dev/v1alpha1", "kind": kind, "metadata": { "name": "mine" }, "spec": spec });
    [
        object("Inventory", json!({ "item": item, "replicas": 0 })),
        object("Order", json!({ "item": item, "ifNoInventory": "Wait" })),
    ]
}

/// The item is refused in an inventory and in an order, with these words.
async fn refused(kubectl: &Kubectl, item: &Value, told: &str) -> Result<()> {
    for object in both(item) {
        let output = kubectl.run(&["create", "--dry-run=server", "-f", "-"], &object.to_string()).await?;
        ensure!(!output.status.success(), "{object} was let in");
        ensure!(output.stderr.contains(told), "`{told}` is missing in:\n{}\nof: {object}", output.stderr);
    }
    Ok(())
}

/// The item is let in, in an inventory and in an order.
async fn admitted(kubectl: &Kubectl, item: &Value) -> Result<()> {
    for object in both(item) {
        let output = kubectl.run(&["create", "--dry-run=server", "-f", "-"], &object.to_string()).await?;
        ensure!(output.status.success(), "{object} was refused:\n{}", output.stderr);
    }
    Ok(())
}

async fn units_are_made_of_what_the_requester_may_create(case: &Case) -> Result<()> {
    let kubectl = carol(case, &[["create", "configmaps"]]).await?;
    let namespace = case.namespace();
    let may_not = |resource: &str| {
        format!(
            "you may not create `{resource}` in namespace `{namespace}` yourself; units are made as the service account \
             `builder`, which you may not `impersonate`"
        )
    };
    refused(&kubectl, &of_job(), &may_not("jobs.batch")).await?;
    admitted(&kubectl, &of_manifests(&[object("v1", "ConfigMap")])).await?;
    let several = of_manifests(&[object("v1", "ConfigMap"), object("networking.k8s.io/v1", "NetworkPolicy")]);
    refused(&kubectl, &several, &may_not("networkpolicies.networking.k8s.io")).await?;
    give(case, &["create", "jobs.batch"]).await?;
    admitted(&kubectl, &of_job()).await?;
    give(case, &["create", "networkpolicies.networking.k8s.io"]).await?;
    admitted(&kubectl, &several).await?;
    // The administrator of the cluster may do all of it.
    admitted(&case.kubectl(), &of_manifests(&[object("rbac.authorization.k8s.io/v1", "RoleBinding")])).await
}

async fn units_are_made_as_accounts_that_the_requester_may_impersonate(case: &Case) -> Result<()> {
    let rights = [["create", "rolebindings.rbac.authorization.k8s.io"], ["create", "secrets"]];
    let kubectl = carol(case, &rights).await?;
    let binding = of_manifests(&[object("rbac.authorization.k8s.io/v1", "RoleBinding")]);
    let told = "`rolebindings.rbac.authorization.k8s.io` are made with the rights of the service account `builder`";
    refused(&kubectl, &binding, told).await?;
    let nested = of_manifests(&[object("core.korder.dev/v1alpha1", "Inventory")]);
    let told = "`inventories.core.korder.dev` are made with the rights of the service account `builder`";
    refused(&kubectl, &nested, told).await?;
    let mut curious = of_manifests(&[object("v1", "Secret")]);
    let secret = json!({ "kind": "Secret", "name": "of-others" });
    curious["outputs"] = json!([{ "name": "password", "from": { "object": secret, "secretKey": "password" } }]);
    let told = "Secret `of-others` is no object of the unit, and is read as the service account `builder`";
    refused(&kubectl, &curious, told).await?;
    give(case, &["impersonate", "serviceaccounts/another"]).await?;
    refused(&kubectl, &binding, "which you may not `impersonate`").await?;
    give(case, &["impersonate", "serviceaccounts/builder"]).await?;
    for item in [&binding, &nested, &curious, &of_job()] {
        admitted(&kubectl, item).await?;
    }
    Ok(())
}

async fn an_inventory_may_be_changed_but_for_its_item(case: &Case) -> Result<()> {
    let kubectl = carol(case, &[]).await?;
    let [inventory, _] = both(&of_job());
    case.kubectl().apply(&inventory.to_string()).await?;
    kubectl.get(&["patch", "kinv/mine", "--type=merge", "-p", r#"{"spec": {"parallelism": 2}}"#]).await?;
    kubectl.get(&["label", "kinv/mine", "team=a"]).await?;
    let account = r#"{"spec": {"item": {"serviceAccountName": "admin"}}}"#;
    let output = kubectl.run(&["patch", "kinv/mine", "--type=merge", "-p", account], "").await?;
    ensure!(!output.status.success(), "Carol has her units made as another account");
    ensure!(output.stderr.contains("units are made as the service account `admin`"), "{}", output.stderr);
    Ok(())
}

/// As many kinds as are judged one by one, each of which costs the API server a question; and one more.
async fn many_kinds_of_objects_can_be_judged(case: &Case) -> Result<()> {
    let kinds: Vec<Value> = (0..17).map(|number| object("example.com/v1", &format!("Thing{number}"))).collect();
    let resources: Vec<String> = (0..17).map(|number| format!("thing{number}s")).collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "things" },
        "rules": [{ "apiGroups": ["example.com"], "resources": resources, "verbs": ["create"] }],
    });
    case.kubectl().apply(&role.to_string()).await?;
    case.kubectl().get(&["create", "rolebinding", "things", "--role=things", "--user", CAROL]).await?;
    // The last right that is given is known when those before are.
    let kubectl = carol(case, &[["create", "configmaps"]]).await?;
    let fifty: Vec<Value> = kinds[..16].iter().cycle().take(50).cloned().collect();
    admitted(&kubectl, &of_manifests(&fifty)).await?;
    refused(&kubectl, &of_manifests(&kinds), "units of more than 16 kinds of objects are made as").await?;
    let mut one_too_many = kinds[..15].to_vec();
    one_too_many.push(object("v1", "Secret"));
    refused(&kubectl, &of_manifests(&one_too_many), "you may not create `secrets`").await
}

/// What a role allows that should not.
async fn status_and_finalizers_of_stock_are_not_forged(case: &Case) -> Result<()> {
    let kubectl = carol(case, &[["patch,get", "inventories.core.korder.dev/status"]]).await?;
    let [inventory, _] = both(&of_job());
    case.kubectl().apply(&inventory.to_string()).await?;
    let forged = ["patch", "kinv/mine", "--subresource=status", "--type=merge", "-p", r#"{"status": {"ready": 7}}"#];
    // The administrator's rights include the status of everything.
    for kubectl in [case.kubectl(), kubectl] {
        let output = kubectl.run(&forged, "").await?;
        ensure!(!output.status.success(), "the status was forged");
        let told = "the status of Inventory `mine` is korder's own";
        ensure!(output.stderr.contains(told) || output.stderr.contains("forbidden"), "{}", output.stderr);
    }
    Ok(())
}
