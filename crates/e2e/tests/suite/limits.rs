//! A namespace's own limits: what they refuse is told, and the quota that leaves guardians out works.

use anyhow::{Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, OrderStatus};
use std::sync::Arc;

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{order_is_ready, order_says, pod_is_bound, reason};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_quota_can_leave_guardians_out);
    suite.add(a_limit_range_that_refuses_a_guardian_is_told);
}

/// The order is stalled, and says so in these words.
async fn is_stalled(case: &Case, ready: i32, why: &str, words: &str) -> Result<Arc<Order>> {
    let refused = |status: &OrderStatus| status.ready == ready && reason(&status.conditions) == Some(("False", why));
    let order = order_says(case, "shelf", "a guardian is refused", refused).await?;
    let conditions = order.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let told = conditions.iter().any(|one| one.type_ == "Stalled" && one.message.contains(words));
    ensure!(told, "{conditions:?}");
    Ok(order)
}

async fn a_quota_can_leave_guardians_out(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let kubectl = case.kubectl();
    kubectl
        .apply(
            "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight}\nspec: {hard: {pods: '1', services: '1'}}\n",
        )
        .await?;
    kubectl.get(&["wait", "resourcequota/tight", "--for=jsonpath={.status.hard.pods}=1", "--timeout=30s"]).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    is_stalled(case, 1, "ResourceQuotaExceeded", "exceeded quota: tight").await?;
    kubectl.apply(&case.korder(&["resource-quota", "tight"]).await?).await?;
    // Nothing tells of a quota that has changed: it is tried again after half a minute.
    order_is_ready(case, "shelf", 2).await?;
    let guardians = |log: &Log<Pod>| (log.objects().filter(|pod| node_of(pod).is_some()).count() == 2).then_some(());
    case.pods.until("there are two guardians", guardians).await?;
    // The one pod that the quota allows is one that does the work.
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    let Err(refused) = case.create(&case.claimant("another", "shelf", SIZE)).await else {
        anyhow::bail!("the quota counts no pods any more")
    };
    ensure!(format!("{refused:#}").contains("exceeded quota: tight"), "{refused:#}");
    Ok(())
}

async fn a_limit_range_that_refuses_a_guardian_is_told(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let limits = "{limits: [{type: Container, min: {cpu: 4}}]}";
    case.kubectl()
        .apply(&format!("apiVersion: v1\nkind: LimitRange\nmetadata: {{name: small}}\nspec: {limits}\n"))
        .await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    is_stalled(case, 0, "LimitRangeViolated", "minimum cpu usage per Container is 4").await?;
    Ok(())
}
