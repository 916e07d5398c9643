//! What an order keeps, and what becomes of it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use e2e::objects::{self, Size};
use e2e::{Case, Log};
use k8s_openapi::api::core::v1::Pod;
use korder_api::order::RefreshPolicy;
use korder_api::ticket::{CleanupPolicy, Lifecycle};
use korder_api::{Order, OrderStatus, Ticket, TicketPhase, names};
use kube::ResourceExt as _;

use crate::pods::node_of;
use crate::suite::Suite;
use crate::until::{event_tells, order_is_ready, order_says, pod_is_bound, pod_waits, reason, ticket_is, tickets_in};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(never_issues_each_ticket_once);
    suite.add(never_does_not_replace_what_expires);
    suite.add(on_claim_replaces_what_is_claimed_and_not_what_expires);
    suite.add(always_replaces_what_expires);
    suite.add(ended_tickets_are_kept_as_long_as_they_say);
    suite.add(kubectl_scales_up_and_down);
    suite.add(a_paused_order_stands_still);
    suite.add(deleting_an_order_leaves_running_pods_alone);
    suite.add(tickets_outlive_an_order_that_is_deleted_without_them);
    suite.add(a_ticket_deleted_by_hand_is_replaced);
    suite.add(a_guardian_deleted_by_hand_is_repaired);
    suite.add(a_ticket_of_nobodys_order_can_be_claimed);
    suite.add(an_order_waits_for_capacity_and_says_so);
    suite.add(an_order_for_a_priority_class_waits_for_it);
}

fn order(case: &Case, replicas: i32, policy: RefreshPolicy) -> Order {
    let mut order = case.order("shelf", replicas, SIZE);
    order.spec.strategy = Some(objects::refreshed(policy));
    order
}

/// The same with tickets that last only so long.
fn fleeting(case: &Case, replicas: i32, policy: RefreshPolicy, duration: &str) -> Result<Order> {
    let mut order = order(case, replicas, policy);
    let template = order.spec.template.as_mut().context("an order has a template")?;
    template.spec.duration = Some(duration.parse()?);
    Ok(order)
}

fn is_complete(status: &OrderStatus) -> bool {
    reason(&status.conditions) == Some(("True", "Complete"))
}

async fn never_issues_each_ticket_once(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&order(case, 2, RefreshPolicy::Never)).await?;
    order_is_ready(case, "shelf", 2).await?;
    for name in ["first", "second"] {
        case.create(&case.claimant(name, "shelf", SIZE)).await?;
        pod_is_bound(case, name).await?;
    }
    let complete = |status: &OrderStatus| is_complete(status) && status.used == 2;
    let order = order_says(case, "shelf", "the order is complete and both tickets are used", complete).await?;
    let status = order.status.clone().unwrap_or_default();
    ensure!((status.issued, status.wanted) == (2, 0), "{status:?}");
    case.create(&case.claimant("third", "shelf", SIZE)).await?;
    pod_waits(case, "third", "OrderComplete").await?;
    Ok(())
}

async fn never_does_not_replace_what_expires(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&fleeting(case, 2, RefreshPolicy::Never, "2s")?).await?;
    order_says(case, "shelf", "both tickets were ready", |status| status.ready == 2).await?;
    let order = order_says(case, "shelf", "the order is complete", is_complete).await?;
    ensure!(order.status.as_ref().is_some_and(|status| status.issued == 2), "{:?}", order.status);
    no_guardian_is_left(case).await
}

async fn on_claim_replaces_what_is_claimed_and_not_what_expires(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&fleeting(case, 2, RefreshPolicy::OnClaim, "6s")?).await?;
    order_says(case, "shelf", "both tickets were ready", |status| status.ready == 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    order_says(case, "shelf", "the claimed ticket is replaced", |status| status.ready == 2 && status.used == 1).await?;
    let order = order_says(case, "shelf", "the order is complete", is_complete).await?;
    let status = order.status.clone().unwrap_or_default();
    ensure!((status.issued, status.used, status.expired) == (3, 1, 2), "{status:?}");
    ensure!(tickets_in(case, TicketPhase::Used).len() == 1, "the ticket in use expired");
    no_guardian_is_left(case).await
}

async fn always_replaces_what_expires(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&fleeting(case, 2, RefreshPolicy::Always, "3s")?).await?;
    let again = |status: &OrderStatus| status.issued >= 4 && status.ready == 2;
    order_says(case, "shelf", "two tickets are ready again after the first have expired", again).await?;
    ticket_is(case, "shelf-1", TicketPhase::Expired).await?;
    Ok(())
}

async fn ended_tickets_are_kept_as_long_as_they_say(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    for (name, ttl, policy) in [("brief", 1, CleanupPolicy::Delete), ("lasting", 0, CleanupPolicy::Retain)] {
        let mut ticket = case.ticket(name, SIZE);
        ticket.spec.duration = Some("1s".parse()?);
        ticket.spec.lifecycle = Some(Lifecycle {
            ttl_seconds_after_finished: Some(ttl),
            cleanup_policy: Some(policy),
            ..Lifecycle::default()
        });
        case.create(&ticket).await?;
    }
    case.tickets.until("the ticket `brief` was there", |log| log.get("brief").map(drop)).await?;
    case.tickets.until("the ticket `brief` is gone", |log| log.get("brief").is_none().then_some(())).await?;
    ticket_is(case, "lasting", TicketPhase::Expired).await?;
    no_guardian_is_left(case).await
}

async fn kubectl_scales_up_and_down(case: &Case) -> Result<()> {
    let kubectl = case.kubectl();
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    pod_is_bound(case, "app").await?;
    for replicas in ["5", "1", "0"] {
        let scale = format!("--replicas={replicas}");
        kubectl.get(&["scale", "orders.core.korder.dev/shelf", &scale]).await?;
        order_is_ready(case, "shelf", replicas.parse()?).await?;
        let guardians = |log: &Log<Pod>| {
            let guardians = log.objects().filter(|pod| is_guardian(pod)).count();
            (guardians.to_string() == replicas).then_some(())
        };
        case.pods.until(format!("there are {replicas} guardians"), guardians).await?;
    }
    ensure!(tickets_in(case, TicketPhase::Used).len() == 1, "scaling down took the ticket of a running pod");
    let shown = kubectl.get(&["get", "orders.core.korder.dev/shelf", "--subresource=scale", "-o", "yaml"]).await?;
    ensure!(shown.contains("selector: korder.dev/order=shelf"), "the scale subresource is:\n{shown}");
    Ok(())
}

async fn a_paused_order_stands_still(case: &Case) -> Result<()> {
    let kubectl = case.kubectl();
    let pause = async |paused: bool| {
        let patch = format!(r#"{{"spec":{{"paused":{paused}}}}}"#);
        kubectl.get(&["patch", "orders.core.korder.dev/shelf", "--type=merge", "-p", &patch]).await
    };
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    pause(true).await?;
    let paused = |status: &OrderStatus| reason(&status.conditions) == Some(("True", "Paused"));
    order_says(case, "shelf", "the order says that it is paused", paused).await?;
    case.delete::<Ticket>("shelf-1").await?;
    kubectl.get(&["scale", "orders.core.korder.dev/shelf", "--replicas=4"]).await?;
    let short = |status: &OrderStatus| reason(&status.conditions) == Some(("False", "Paused"));
    let alone = |status: &OrderStatus| short(status) && status.replicas == 1;
    let order = order_says(case, "shelf", "the paused order has one ticket left", alone).await?;
    ensure!(order.status.as_ref().is_some_and(|status| status.issued == 2), "{:?}", order.status);
    pause(false).await?;
    order_is_ready(case, "shelf", 4).await?;
    Ok(())
}

async fn deleting_an_order_leaves_running_pods_alone(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.create(&case.claimant("app", "shelf", SIZE)).await?;
    let app = pod_is_bound(case, "app").await?;
    order_says(case, "shelf", "the order has refilled", |status| status.ready == 2 && status.used == 1).await?;
    case.delete::<Order>("shelf").await?;
    case.tickets.until("the tickets are gone", |log| log.objects().next().is_none().then_some(())).await?;
    no_guardian_is_left(case).await?;
    let log = case.pods.log();
    let now = log.get("app").context("the pod went with the order")?;
    ensure!(now.uid() == app.uid() && now.metadata.deletion_timestamp.is_none(), "the pod goes with the order");
    Ok(())
}

async fn tickets_outlive_an_order_that_is_deleted_without_them(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.kubectl().get(&["delete", "kord", "shelf", "--cascade=orphan"]).await?;
    let orphaned = |log: &Log<Ticket>| {
        let orphans = log.objects().filter(|ticket| ticket.owner_references().is_empty());
        (orphans.filter(|ticket| ticket.phase() == TicketPhase::Ready).count() == 2).then_some(())
    };
    case.tickets.until("both tickets are ready and nobody's", orphaned).await?;
    // They are for the pods of their namespace now, and nobody makes more.
    case.create(&objects::asking(case.pod("app", SIZE), &[("required", "true")])).await?;
    let app = pod_is_bound(case, "app").await?;
    ensure!(app.annotations().contains_key(names::ANNOTATION_BOUND_TICKET), "it has no ticket");
    // An order of the same name is another one, and takes none of them for its own.
    case.create(&case.order("shelf", 1, SIZE)).await?;
    let order = order_is_ready(case, "shelf", 1).await?;
    let count = |log: &Log<Ticket>| (log.objects().count(), log.objects().filter(|it| is_of(it, &order)).count());
    let counted = count(&case.tickets.log());
    ensure!(counted == (3, 1), "of {} tickets {} are the new order's", counted.0, counted.1);
    Ok(())
}

fn is_of(ticket: &Ticket, order: &Order) -> bool {
    ticket.owner_references().iter().any(|owner| Some(&owner.uid) == order.metadata.uid.as_ref())
}

async fn a_ticket_deleted_by_hand_is_replaced(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    case.delete::<Ticket>("shelf-1").await?;
    ticket_is(case, "shelf-3", TicketPhase::Ready).await?;
    order_is_ready(case, "shelf", 2).await?;
    let gone = |log: &Log<Pod>| log.get("shelf-1-guardian").is_none().then_some(());
    case.pods.until("the guardian of the deleted ticket is gone", gone).await
}

async fn a_guardian_deleted_by_hand_is_repaired(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let ticket = ticket_is(case, "shelf-1", TicketPhase::Ready).await?;
    let guardian = |log: &Log<Pod>| log.get("shelf-1-guardian").cloned();
    let before = case.pods.until("there is a guardian", guardian).await?;
    case.delete::<Pod>("shelf-1-guardian").await?;
    event_tells(case, "Ticket", "shelf-1", "GuardianGone").await?;
    let new = |log: &Log<Pod>| guardian(log).filter(|pod| pod.uid() != before.uid() && node_of(pod).is_some());
    case.pods.until("there is another guardian", new).await?;
    let again = ticket_is(case, "shelf-1", TicketPhase::Ready).await?;
    order_is_ready(case, "shelf", 1).await?;
    let expires = |ticket: &Arc<Ticket>| ticket.status.clone().and_then(|status| status.expiration_time);
    ensure!(
        expires(&ticket) == expires(&again),
        "the repair moved the end from {:?} to {:?}",
        expires(&ticket),
        expires(&again)
    );
    Ok(())
}

async fn a_ticket_of_nobodys_order_can_be_claimed(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.ticket("single", SIZE)).await?;
    let ticket = ticket_is(case, "single", TicketPhase::Ready).await?;
    let mut pod = case.pod("app", SIZE);
    pod.annotations_mut().insert(names::ANNOTATION_REQUIRED.to_owned(), "true".to_owned());
    case.create(&pod).await?;
    let pod = pod_is_bound(case, "app").await?;
    ensure!(node_of(&pod) == ticket.status.as_ref().and_then(|status| status.node_name.as_deref()), "{pod:?}");
    ticket_is(case, "single", TicketPhase::Used).await?;
    case.delete::<Pod>("app").await?;
    let ended = |log: &Log<Ticket>| log.get("single")?.status.as_ref()?.finish_time.as_ref().map(drop);
    case.tickets.until("the ticket has ended with its pod", ended).await
}

async fn an_order_waits_for_capacity_and_says_so(case: &Case) -> Result<()> {
    case.add_nodes(1, SIZE).await?;
    case.create(&case.order("shelf", 2, SIZE)).await?;
    let waits =
        |status: &OrderStatus| status.ready == 1 && reason(&status.conditions) == Some(("False", "WaitingForCapacity"));
    let order = order_says(case, "shelf", "the order waits for capacity", waits).await?;
    let conditions = order.status.as_ref().map(|status| &status.conditions).context("no status")?;
    let message = &conditions[conditions.iter().position(|one| one.type_ == "Ready").context("no condition")?].message;
    ensure!(message.starts_with("1 of 2 tickets are ready") && message.contains("Insufficient cpu"), "{message}");
    ensure!(conditions.iter().any(|one| one.type_ == "Reconciling" && one.status == "True"), "{conditions:?}");
    event_tells(case, "Order", "shelf", "WaitingForCapacity").await?;
    case.add_nodes(1, SIZE).await?;
    let order = order_is_ready(case, "shelf", 2).await?;
    let conditions = order.status.as_ref().map(|status| &status.conditions).context("no status")?;
    ensure!(!conditions.iter().any(|one| one.type_ == "Reconciling" && one.status == "True"), "{conditions:?}");
    Ok(())
}

async fn an_order_for_a_priority_class_waits_for_it(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    let class = format!("{}-urgent", case.namespace());
    let mut order = case.order("shelf", 1, SIZE);
    order.spec.template.as_mut().context("no template")?.spec.priority_class_name = Some(class.clone());
    case.create(&order).await?;
    let refused = |status: &OrderStatus| reason(&status.conditions) == Some(("False", "GuardianRefused"));
    let order = order_says(case, "shelf", "the order says that there is no such class", refused).await?;
    let conditions = order.status.as_ref().map(|status| &status.conditions).context("no status")?;
    ensure!(conditions.iter().any(|one| one.type_ == "Stalled" && one.message.contains(&class)), "{conditions:?}");
    case.add_priority_class("urgent", 1000).await?;
    order_is_ready(case, "shelf", 1).await?;
    let log = case.pods.log();
    let guardian = log.get("shelf-1-guardian").and_then(|pod| pod.spec.as_ref()).context("no guardian")?;
    ensure!(guardian.priority == Some(1000), "the guardian has the priority {:?}", guardian.priority);
    ensure!(guardian.preemption_policy.as_deref() == Some("Never"), "{:?}", guardian.preemption_policy);
    Ok(())
}

fn is_guardian(pod: &Pod) -> bool {
    pod.labels().get(names::LABEL_ROLE).is_some_and(|role| role == names::ROLE_GUARDIAN)
}

async fn no_guardian_is_left(case: &Case) -> Result<()> {
    let none = |log: &Log<Pod>| log.objects().all(|pod| !is_guardian(pod)).then_some(());
    case.pods.until("no guardian is left", none).await
}
