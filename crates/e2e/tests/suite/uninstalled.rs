//! `korder uninstall` in the middle of everything.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment};
use k8s_openapi::api::core::v1::Namespace;
use korder_api::names;
use kube::api::Api;
use serde_json::{Value, json};

use crate::installation::{Korder, cluster};
use crate::suite::Suite;
use crate::taken_away::{Middle, controllers_are_stopped};

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(uninstall_leaves_nothing_stuck);
}

async fn uninstall_leaves_nothing_stuck() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    korder.run(&["install", "--gate", "webhook"]).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "uninstall", async |case: &Case| without_its_programs(case, &korder).await).await?;
    stock_is_there(&environment).await?;
    let removed = korder.run(&["uninstall", "--crds", "--yes"]).await?;
    ensure!(removed.contains("orders.core.korder.dev removed"), "{removed}");
    cluster.stop().await.context("cannot stop the cluster")
}

/// An inventory and a unit, as the controllers leave them when they are stopped: nobody is there to take their finalizers off.
async fn stock_is_there(environment: &Environment) -> Result<()> {
    let account = format!("system:serviceaccount:{}:{}", names::SYSTEM_NAMESPACE, names::CONTROLLER_NAME);
    let item = json!({ "operation": { "job": { "template": { "spec": { "containers": [{ "name": "job", "image": "job" }] } } } } });
    let object = |kind: &str, finalizer: &str, spec: Value| {
        let metadata = json!({ "name": "shelf", "finalizers": [finalizer] });
        json!({ "apiVersion": names::API_VERSION, "kind": kind, "metadata": metadata, "spec": spec }).to_string()
    };
    let kubectl = environment.kubectl().acting_as(account);
    kubectl.apply(&object("Inventory", names::FINALIZER_UNITS, json!({ "item": item, "replicas": 0 }))).await?;
    let spec = json!({ "item": item, "inventoryName": "shelf", "sku": "v1-0" });
    kubectl.apply(&object("Stock", names::FINALIZER_TEARDOWN, spec)).await.map(drop)
}

async fn without_its_programs(case: &Case, korder: &Korder) -> Result<()> {
    let client = case.client();
    let mut controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    let mut webhook = korder.start_webhook(&client).await?;
    case.add_nodes(1, Size { cpu: "8", memory: "16Gi" }).await?;
    let middle = Middle::of(case).await?;
    controllers.kill().await.context("cannot kill the controllers")?;
    webhook.kill().await.context("cannot kill the webhook")?;

    let remembered = middle.goes_on().await?;

    let told = korder.run(&["uninstall", "--dry-run"]).await?;
    ensure!(told.contains("clusterrolebinding/korder-controller-manager removed (dry run)"), "{told}");
    killed_halfway(case, korder).await?;
    comes_to_its_end(case, korder).await?;
    remembered.is_all_that_is_left().await?;

    // What is kept serves again.
    korder.run(&["install", "--gate", "webhook"]).await?;
    let _webhook = korder.start_webhook(&client).await?;
    let _controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    remembered.is_served_again().await
}

/// Begins, and is killed as soon as the controllers may do nothing any more.
pub(crate) async fn killed_halfway(case: &Case, korder: &Korder) -> Result<()> {
    let mut begun = korder.command(&["uninstall", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    controllers_are_stopped(case).await?;
    begun.kill().await.context("cannot kill `korder uninstall`")
}

/// Is run again, and takes the namespace along.
pub(crate) async fn comes_to_its_end(case: &Case, korder: &Korder) -> Result<()> {
    korder.run(&["uninstall", "--yes"]).await?;
    let namespaces: Api<Namespace> = Api::all(case.client());
    ensure!(namespaces.get_opt(names::SYSTEM_NAMESPACE).await?.is_none(), "korder's namespace is left");
    Ok(())
}
