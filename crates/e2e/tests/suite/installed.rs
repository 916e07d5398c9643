//! korder on a cluster that was there before: `korder install`, the other form of the gate, and `korder uninstall`.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Environment};
use korder_api::{Order, names};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::installation::{GATE, Korder, cluster};
use crate::suite::Suite;
use crate::until::pod_is_bound;
use crate::{examples, gate, webhook};

pub(crate) fn tests(suite: &mut Suite) {
    suite.add_with_own_cluster(the_webhook_does_what_the_policy_does_and_goes_wrong_under_load);
}

async fn the_webhook_does_what_the_policy_does_and_goes_wrong_under_load() -> Result<()> {
    let cluster = cluster().await?;
    let korder = Korder::on(&cluster).await?;
    let first = korder.run(&["install", "--gate", "webhook"]).await?;
    ensure!(first.contains("orders.core.korder.dev created"), "{first}");
    let again = korder.run(&["install", "--gate", "webhook"]).await?;
    ensure!(!again.contains("created") && !again.contains("changed"), "the second time it did:\n{again}");

    let client = cluster.client();
    let _controllers = korder.start(&client, names::CONTROLLER_NAME, &["controller"]).await?;
    let mut webhook = korder.start_webhook(&client).await?;
    let environment = Arc::new(Environment::at(&cluster.data_dir().kubeconfig()).await?);
    Case::run(&environment, "webhook-asks", gate::pods_that_ask_are_gated_once).await?;
    Case::run(&environment, "webhook-does-not-ask", gate::pods_that_do_not_ask_are_untouched).await?;
    Case::run(&environment, "webhook-dry-run", gate::a_dry_run_leaves_nothing_behind).await?;
    Case::run(&environment, "webhook-example", examples::an_order_becomes_tickets_and_a_pod_takes_one_on_a_full_node)
        .await?;
    let test = async |case: &Case| webhook::goes_wrong_under_load(case, &korder, &mut webhook).await;
    Case::run(&environment, "webhook-goes-wrong", test).await?;
    webhook.kill().await.context("cannot kill the webhook")?;
    Case::run(&environment, "webhook-away", without_the_webhook).await?;
    uninstalled(&korder, &client).await?;
    cluster.stop().await.context("cannot stop the cluster")
}

/// Pods that don't ask for a ticket don't need it; those that do are refused, and told by whom.
async fn without_the_webhook(case: &Case) -> Result<()> {
    case.add_nodes(1, Size::SMALL).await?;
    case.create(&case.pod("plain", Size::SMALL)).await?;
    pod_is_bound(case, "plain").await?;
    let Err(refused) = case.create(&case.claimant("app", "shelf", Size::SMALL)).await else {
        anyhow::bail!("a pod that asks for a ticket passed without a gate")
    };
    ensure!(format!("{refused:#}").contains(GATE), "{refused:#}");
    Ok(())
}

/// Nothing of korder holds anything back any more, and running pods run on.
async fn uninstalled(korder: &Korder, client: &Client) -> Result<()> {
    let order = e2e::objects::order("kept", 0, Size::SMALL);
    Api::<Order>::default_namespaced(client.clone()).create(&PostParams::default(), &order).await?;
    let Err(asked) = korder.run(&["uninstall", "--crds"]).await else {
        anyhow::bail!("the kinds are deleted with their objects, and nobody was asked")
    };
    ensure!(asked.to_string().contains("1 orders") && asked.to_string().contains("--yes"), "{asked}");
    korder.run(&["uninstall", "--crds", "--yes"]).await?;
    // Nothing is left to be asked about.
    let again = korder.run(&["uninstall", "--crds"]).await?;
    ensure!(again.lines().all(|line| line.starts_with("0 ")), "the second time it did:\n{again}");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(client.clone());
    let asks = e2e::objects::claimant("app", "shelf", Size::SMALL);
    let made = pods.create(&PostParams::default(), &asks).await.context("a pod with annotations is refused")?;
    ensure!(made.spec.is_some_and(|spec| spec.scheduling_gates.is_none()), "there is still a gate");
    Ok(())
}
