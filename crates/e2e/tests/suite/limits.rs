//! A namespace's own limits: what they refuse is told, and the quota that leaves guardians out works.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Pod;
use korder_api::{Order, OrderStatus, Ticket, TicketPhase, names};
use kube::ResourceExt as _;
use std::sync::Arc;

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, reason};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_quota_can_leave_guardians_out);
    suite.add(a_quota_on_tickets_is_told_and_heeded);
    suite.add(a_limit_range_that_refuses_a_guardian_is_told);
    suite.add(a_limit_range_that_enlarges_a_guardian_is_told);
    suite.add(a_guardian_that_is_made_smaller_is_replaced);
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
    // Not by `kubectl apply`, which could take out of it what it has put there only.
    kubectl.get(&["create", "quota", "tight", "--hard=pods=1,services=1"]).await?;
    kubectl.get(&["wait", "resourcequota/tight", "--for=jsonpath={.status.hard.pods}=1", "--timeout=30s"]).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    is_stalled(case, 1, "ResourceQuotaExceeded", "exceeded quota: tight").await?;
    let printed = case.korder(&["resource-quota", "tight"]).await?;
    let written = case.korder(&["resource-quota", "tight", "--apply"]).await?;
    for told in ["resourcequota/tight changed", "resourcequota/tight-unscoped created"] {
        ensure!(written.contains(told), "{written}");
    }
    let again = case.korder(&["resource-quota", "--apply"]).await?;
    ensure!(again.lines().all(|line| line.ends_with(" unchanged")), "the second time it did:\n{again}");
    // Who keeps it in a file finds it as it is.
    kubectl.apply(&printed).await?;
    ensure!(case.korder(&["resource-quota"]).await? == printed, "applied, it is another one");
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

async fn a_limit_range_that_enlarges_a_guardian_is_told(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let limits = "{limits: [{type: Container, defaultRequest: {memory: 2Gi}}]}";
    case.kubectl()
        .apply(&format!("apiVersion: v1\nkind: LimitRange\nmetadata: {{name: defaults}}\nspec: {limits}\n"))
        .await?;
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.template.get_or_insert_default().spec.resources.requests.remove("memory");
    case.create(&order).await?;
    order_is_ready(case, "shelf", 1).await?;
    let why = case.korder(&["why", "ticket/shelf-1"]).await?;
    let told = "requests more than its ticket reserves (memory: 2147483648 requested, 0 reserved)";
    ensure!(why.contains(told) && why.contains("LimitRange"), "{why}");
    Ok(())
}

async fn a_guardian_that_is_made_smaller_is_replaced(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let name = names::guardian_name("shelf-1");
    let uid = |log: &Log<Pod>| log.get(&name).and_then(|pod| pod.uid());
    let small = uid(&case.pods.log());
    // As a kubelet says that it can resize; a simulated node is silent about it.
    let able =
        r#"[{"op": "add", "path": "/status/containerStatuses/0/resources", "value": {"requests": {"cpu": "500m"}}}]"#;
    case.kubectl().get(&["patch", "pod", &name, "--subresource=status", "--type=json", "--patch", able]).await?;
    let resized = r#"{"spec": {"containers": [{"name": "guardian", "resources": {"requests": {"cpu": "1m"}}}]}}"#;
    case.kubectl().get(&["patch", "pod", &name, "--subresource=resize", "--patch", resized]).await?;
    event_tells(case, "Ticket", "shelf-1", "GuardianTooSmall").await?;
    let replaced = |log: &Log<Pod>| uid(log).filter(|now| Some(now) != small.as_ref()).map(drop);
    case.pods.until("it has another guardian", replaced).await?;
    let held = |log: &Log<Ticket>| {
        let ticket = log.get("shelf-1").filter(|ticket| ticket.phase() == TicketPhase::Ready)?;
        (reason(&ticket.status.as_ref()?.conditions) == Some(("True", "Held"))).then_some(())
    };
    case.tickets.until("the ticket is held by it", held).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    Ok(())
}

async fn a_quota_on_tickets_is_told_and_heeded(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let kubectl = case.kubectl();
    let quota = |count: usize| {
        let hard = format!("{{count/tickets.core.korder.dev: '{count}'}}");
        format!("apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: few}}\nspec: {{hard: {hard}}}\n")
    };
    // Kubernetes looks for new kinds every half minute, and at a quota that counts a kind which it has not found yet no more
    // for some minutes: so it is made anew.
    let counts = r"--for=jsonpath={.status.used.count/tickets\.core\.korder\.dev}=0";
    let counted = async {
        loop {
            kubectl.apply(&quota(1)).await?;
            let waited = kubectl.run(&["wait", "resourcequota/few", counts, "--timeout=10s"], "").await?;
            if waited.status.success() {
                return anyhow::Ok(());
            }
            kubectl.get(&["delete", "resourcequota/few"]).await?;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(2), counted).await.context("tickets are not counted")??;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    is_stalled(case, 1, "ResourceQuotaExceeded", "exceeded quota: few").await?;
    ensure!(case.tickets.log().objects().count() == 1, "the quota is not heeded");
    kubectl.apply(&quota(2)).await?;
    order_is_ready(case, "shelf", 2).await?;
    Ok(())
}
