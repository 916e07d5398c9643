//! Nodes that are to be left: cordoned, drained, tainted by an autoscaler.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Change, Log};
use k8s_openapi::api::core::v1::{Pod, Toleration};
use korder_api::ticket::Disruption;
use korder_api::{Order, Ticket, TicketPhase, names};
use kube::ResourceExt as _;

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, reason};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_node_that_is_to_go_is_left_without_a_gap);
    suite.add(where_nothing_else_fits_a_ticket_stays_and_says_so);
    suite.add(a_pinned_ticket_stays);
    suite.add(a_drained_ticket_waits_for_a_place_by_the_guardian_that_was_on_its_way);
    suite.add(a_claim_in_the_middle_of_a_move_has_the_old_place);
}

/// All tickets are ready on this node, and each has one guardian, there.
async fn all_are_held_on(case: &Case, node: &str, count: usize) -> Result<()> {
    let found = |log: &Log<Ticket>| {
        let there = log.objects().filter(|ticket| is_ready_on(ticket, node)).count();
        (there == count && log.objects().count() == count).then_some(())
    };
    case.tickets.until(format!("{count} tickets are ready on node `{node}`"), found).await?;
    let alone = |log: &Log<Pod>| {
        let guardians: Vec<_> = log.objects().filter(|pod| is_guardian(pod)).collect();
        (guardians.len() == count && guardians.iter().all(|pod| node_of(pod) == Some(node))).then_some(())
    };
    case.pods.until(format!("there are {count} guardians, all on node `{node}`"), alone).await
}

fn is_ready_on(ticket: &Ticket, node: &str) -> bool {
    let status = ticket.status.clone().unwrap_or_default();
    let told = reason(&status.conditions);
    ticket.phase() == TicketPhase::Ready && status.node_name.as_deref() == Some(node) && told == Some(("True", "Held"))
}

fn is_guardian(pod: &Pod) -> bool {
    pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN)
}

/// The ticket is ready and gives this reason; the message.
async fn stays_with(case: &Case, ticket: &str, why: &str) -> Result<String> {
    let found = |log: &Log<Ticket>| {
        let ticket = log.get(ticket).filter(|ticket| ticket.phase() == TicketPhase::Ready)?;
        let conditions = &ticket.status.as_ref()?.conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
        (ready.reason == why).then(|| ready.message.clone())
    };
    case.tickets.until(format!("ticket `{ticket}` is ready with the reason `{why}`"), found).await
}

/// No ticket that was ready has been anything else.
fn none_was_without_a_place(case: &Case) -> Result<()> {
    let log = case.tickets.log();
    let mut were_ready = std::collections::BTreeSet::new();
    for event in log.events().iter().filter(|event| event.change != Change::Deleted) {
        let name = event.object.name_any();
        match event.object.phase() {
            TicketPhase::Ready => drop(were_ready.insert(name)),
            phase => ensure!(!were_ready.contains(&name), "ticket `{name}` was ready, and then {phase:?}"),
        }
    }
    Ok(())
}

fn pinned(order: Order) -> Order {
    let mut order = order;
    order.spec.template.get_or_insert_default().spec.disruption = Some(Disruption::Pinned);
    order
}

async fn a_node_that_is_to_go_is_left_without_a_gap(case: &Case) -> Result<()> {
    let kubectl = case.kubectl();
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 2, SIZE)).await?;
    all_are_held_on(case, &first, 2).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    kubectl.get(&["cordon", &first]).await?;
    all_are_held_on(case, &second, 2).await?;
    event_tells(case, "Ticket", "shelf-1", "Moved").await?;
    kubectl.get(&["uncordon", &first]).await?;
    kubectl.get(&["taint", "node", &second, "ToBeDeletedByClusterAutoscaler=1:NoSchedule"]).await?;
    all_are_held_on(case, &first, 2).await?;
    kubectl.get(&["taint", "node", &second, "ToBeDeletedByClusterAutoscaler-"]).await?;
    kubectl.get(&["taint", "node", &first, "karpenter.sh/disrupted:NoSchedule"]).await?;
    all_are_held_on(case, &second, 2).await?;
    none_was_without_a_place(case)?;
    order_is_ready(case, "shelf", 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let app = pod_is_bound(case, "app").await?;
    ensure!(node_of(&app) == Some(second.as_str()), "the pod is on {:?}", node_of(&app));
    Ok(())
}

async fn where_nothing_else_fits_a_ticket_stays_and_says_so(case: &Case) -> Result<()> {
    let node = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 1, SIZE)).await?;
    all_are_held_on(case, &node, 1).await?;
    case.kubectl().get(&["cordon", &node]).await?;
    let told = stays_with(case, "shelf-1", "NoOtherPlace").await?;
    ensure!(told.contains(&node) && told.contains("unschedulable"), "{told}");
    event_tells(case, "Ticket", "shelf-1", "NoOtherPlace").await?;
    let why = case.korder(&["why", "ticket/shelf-1"]).await?;
    ensure!(why.contains("is to be left") && why.contains(&node), "{why}");
    order_is_ready(case, "shelf", 1).await?;
    case.kubectl().get(&["uncordon", &node]).await?;
    all_are_held_on(case, &node, 1).await?;
    none_was_without_a_place(case)
}

async fn a_pinned_ticket_stays(case: &Case) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&pinned(case.order("pinned", 1, SIZE))).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    all_are_held_on(case, &first, 2).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    case.kubectl().get(&["cordon", &first]).await?;
    let moved = |log: &Log<Ticket>| log.get("shelf-1").filter(|ticket| is_ready_on(ticket, &second)).map(drop);
    case.tickets.until("the other ticket has moved", moved).await?;
    ensure!(case.tickets.log().get("pinned-1").is_some_and(|ticket| is_ready_on(ticket, &first)), "it has moved");
    let log = case.pods.log();
    let second_guardian = names::other_guardian_name("pinned-1");
    ensure!(!log.events().iter().any(|event| event.object.name_any() == second_guardian), "it has a second guardian");
    let guardian = log.get(&names::guardian_name("pinned-1")).context("it has no guardian")?;
    let told = |key: &str| guardian.annotations().get(key).map(String::as_str);
    ensure!(told("cluster-autoscaler.kubernetes.io/safe-to-evict") == Some("false"), "{:?}", guardian.annotations());
    ensure!(told("karpenter.sh/do-not-disrupt") == Some("true"), "{:?}", guardian.annotations());
    Ok(())
}

async fn a_drained_ticket_waits_for_a_place_by_the_guardian_that_was_on_its_way(case: &Case) -> Result<()> {
    let first = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.order("shelf", 2, SIZE)).await?;
    all_are_held_on(case, &first, 2).await?;
    case.kubectl().get(&["cordon", &first]).await?;
    stays_with(case, "shelf-1", "NoOtherPlace").await?;
    stays_with(case, "shelf-2", "NoOtherPlace").await?;
    let successors = |log: &Log<Pod>| -> Vec<Option<String>> {
        ["shelf-1", "shelf-2"]
            .map(|ticket| log.get(&names::other_guardian_name(ticket)).and_then(|pod| pod.uid()))
            .into()
    };
    let before = successors(&case.pods.log());
    case.kubectl().get(&["drain", &first, "--timeout=30s"]).await?;
    order_says(case, "shelf", "no ticket is ready", |status| status.ready == 0).await?;
    let second = case.add_nodes(1, NODE).await?.remove(0);
    all_are_held_on(case, &second, 2).await?;
    let after = successors(&case.pods.log());
    ensure!(before == after && before.iter().all(Option::is_some), "{before:?} became {after:?}");
    Ok(())
}

async fn a_claim_in_the_middle_of_a_move_has_the_old_place(case: &Case) -> Result<()> {
    let node = case.add_nodes(1, NODE).await?.remove(0);
    case.create(&case.ticket("alone", SIZE)).await?;
    all_are_held_on(case, &node, 1).await?;
    case.kubectl().get(&["cordon", &node]).await?;
    stays_with(case, "alone", "NoOtherPlace").await?;
    // As a DaemonSet's pod bears it.
    let mut app = e2e::objects::asking(case.pod("app", SIZE), &[("ticket", "alone")]);
    let bears = Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() };
    app.spec.get_or_insert_default().tolerations.get_or_insert_default().push(bears);
    case.create(&app).await?;
    let bound = pod_is_bound(case, "app").await?;
    ensure!(node_of(&bound) == Some(node.as_str()), "the pod is on {:?}", node_of(&bound));
    let gone = |log: &Log<Pod>| (!log.objects().any(|pod| is_guardian(pod))).then_some(());
    case.pods.until("both guardians are gone", gone).await?;
    crate::until::ticket_is(case, "alone", TicketPhase::Used).await?;
    Ok(())
}
