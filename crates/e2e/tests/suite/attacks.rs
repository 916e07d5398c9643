//! What a user with the rights of `edit` in a namespace tries: refused, or without effect.

use anyhow::{Context as _, Result, ensure};
use e2e::objects::Size;
use e2e::{Case, Kubectl};
use korder_api::{Order, TicketPhase};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::pods::is_gated;
use crate::suite::Suite;
use crate::until::{order_is_ready, order_says, pod_is_bound, pod_waits, ticket_is};

const NODE: Size = Size { cpu: "8", memory: "16Gi" };
const SIZE: Size = Size::SMALL;
const MALLORY: &str = "mallory";

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(a_claim_is_not_forged);
    suite.add(a_guardian_is_not_forged);
    suite.add(the_status_of_a_ticket_is_not_forged);
    suite.add(the_owner_of_a_ticket_is_not_forged);
    suite.add(a_ticket_of_another_namespace_is_out_of_reach);
    suite.add(a_gate_that_is_removed_by_hand_wins_nothing);
}

/// `kubectl` of a user who may edit what is in the namespace, as Kubernetes itself and korder have it.
async fn mallory(case: &Case) -> Result<Kubectl> {
    let binding = ["create", "rolebinding", MALLORY, "--clusterrole=edit", "--user", MALLORY];
    case.kubectl().get(&binding).await?;
    let kubectl = case.kubectl().acting_as(MALLORY);
    // The role is added to `edit` by a controller, and bindings take a moment to be known.
    let mut allowed = false;
    for _ in 0..60 {
        let asked = kubectl.run(&["auth", "can-i", "create", "tickets.core.korder.dev"], "").await?;
        allowed = asked.stdout.trim() == "yes";
        if allowed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    ensure!(allowed, "whoever may edit in a namespace may not make tickets there");
    Ok(kubectl)
}

/// A call that must fail, and what it must be told.
async fn denied(kubectl: &Kubectl, arguments: &[&str], stdin: &str, told: &str) -> Result<()> {
    let output = kubectl.run(arguments, stdin).await?;
    let call = arguments.join(" ");
    ensure!(!output.status.success(), "`kubectl {call}` succeeded: {}", output.stdout);
    ensure!(output.stderr.contains(told), "`kubectl {call}` was told: {}", output.stderr);
    Ok(())
}

fn yaml(object: &impl serde::Serialize) -> Result<String> {
    Ok(serde_saphyr::to_string(object)?)
}

async fn a_claim_is_not_forged(case: &Case) -> Result<()> {
    let kubectl = mallory(case).await?;
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let told = "annotation `korder.dev/bound-ticket` is korder's own";
    let mut pod = case.pod("forged", SIZE);
    pod.annotations_mut().insert("korder.dev/bound-ticket".to_owned(), "shelf-1".to_owned());
    denied(&kubectl, &["create", "-f", "-"], &yaml(&pod)?, told).await?;
    kubectl.apply(&yaml(&case.pod("plain", SIZE))?).await?;
    denied(&kubectl, &["annotate", "pod", "plain", "korder.dev/bound-ticket=shelf-1"], "", told).await?;
    let applied = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let mut pod = case.pod("plain", SIZE);
    pod.annotations_mut().insert("korder.dev/bound-ticket".to_owned(), "shelf-1".to_owned());
    let mut pod = serde_json::to_value(pod)?;
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    denied(&kubectl, &applied, &pod.to_string(), told).await?;
    // One that has a ticket can't be robbed of it either.
    kubectl.apply(&yaml(&case.claimant("app", "shelf", SIZE))?).await?;
    pod_is_bound(case, "app").await?;
    denied(&kubectl, &["annotate", "pod", "app", "korder.dev/bound-ticket-"], "", told).await
}

async fn a_guardian_is_not_forged(case: &Case) -> Result<()> {
    let kubectl = mallory(case).await?;
    case.add_nodes(1, NODE).await?;
    let told = "label `korder.dev/role` is korder's own";
    let mut pod = case.pod("forged", SIZE);
    pod.labels_mut().insert("korder.dev/role".to_owned(), "guardian".to_owned());
    denied(&kubectl, &["create", "-f", "-"], &yaml(&pod)?, told).await?;
    kubectl.apply(&yaml(&case.pod("plain", SIZE))?).await?;
    denied(&kubectl, &["label", "pod", "plain", "korder.dev/role=guardian"], "", told).await?;
    // One under a guardian's name, before the ticket is there.
    kubectl.apply(&yaml(&case.pod("single-guardian", SIZE))?).await?;
    pod_is_bound(case, "single-guardian").await?;
    kubectl.apply(&yaml(&case.ticket("single", SIZE))?).await?;
    let refused = |log: &e2e::Log<korder_api::Ticket>| {
        let status = log.get("single")?.status.as_ref()?;
        status
            .conditions
            .iter()
            .find(|condition| condition.reason == "GuardianRefused")
            .map(|told| told.message.clone())
    };
    let message = case.tickets.until("the ticket says that a pod is in the way", refused).await?;
    ensure!(message.contains("single-guardian"), "{message}");
    kubectl.get(&["delete", "pod", "single-guardian", "--now"]).await?;
    ticket_is(case, "single", TicketPhase::Ready).await?;
    // A guardian that works, or one whose class no quota counts.
    let told = "its image can't be changed";
    denied(&kubectl, &["set", "image", "pod/single-guardian", "guardian=miner"], "", told).await?;
    let mut pod = case.pod("uncounted", SIZE);
    let class = korder_api::names::twin_priority_class(0);
    pod.spec.get_or_insert_default().priority_class_name = Some(class.clone());
    denied(&kubectl, &["create", "-f", "-"], &yaml(&pod)?, &format!("priority class `{class}` is for guardians only"))
        .await
}

async fn the_status_of_a_ticket_is_not_forged(case: &Case) -> Result<()> {
    let kubectl = mallory(case).await?;
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let claim = json!({"status": {"phase": "Claimed", "claimRef": {
        "namespace": case.namespace(), "name": "app", "uid": "u", "time": "2026-01-01T00:00:00Z",
    }}});
    let claim = claim.to_string();
    let status = |resource: &'static str| vec!["patch", resource, "--subresource=status", "--type=merge", "-p", &claim];
    denied(&kubectl, &status("ktk/shelf-1"), "", "forbidden").await?;
    // A role that allows what it should not.
    let resources = "--resource=tickets.core.korder.dev/status,orders.core.korder.dev/status";
    let role = ["create", "role", "too-much", "--verb=get,update,patch", resources];
    case.kubectl().get(&role).await?;
    case.kubectl().get(&["create", "rolebinding", "too-much", "--role=too-much", "--user", MALLORY]).await?;
    for (resource, name) in [("ktk/shelf-1", "Ticket `shelf-1`"), ("kord/shelf", "Order `shelf`")] {
        let told = format!("the status of {name} is korder's own");
        let mut last = String::new();
        for _ in 0..60 {
            let output = kubectl.run(&status(resource), "").await?;
            ensure!(!output.status.success(), "the status of {name} was forged");
            last = output.stderr;
            if !last.contains("forbidden: User") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        ensure!(last.contains(&told), "{last}");
    }
    // The same by the front door does nothing.
    let mut forged = serde_json::to_value(case.ticket("single", SIZE))?;
    forged["status"] = json!({"phase": "Used"});
    kubectl.apply(&forged.to_string()).await?;
    ticket_is(case, "single", TicketPhase::Ready).await?;
    Ok(())
}

async fn the_owner_of_a_ticket_is_not_forged(case: &Case) -> Result<()> {
    let kubectl = mallory(case).await?;
    case.add_nodes(1, NODE).await?;
    let order = case.create(&case.order("shelf", 2, SIZE)).await?;
    order_is_ready(case, "shelf", 2).await?;
    let owned = |name: &str, api_version: &str, kind: &str| -> Result<String> {
        let mut ticket = serde_json::to_value(case.ticket(name, SIZE))?;
        let owner = json!({
            "apiVersion": api_version, "kind": kind, "name": "shelf", "uid": order.uid(), "controller": true,
        });
        ticket["metadata"]["ownerReferences"] = json!([owner]);
        Ok(ticket.to_string())
    };
    let told = "owner `shelf` of kind Order can't be given to a ticket by hand";
    let create = ["create", "-f", "-"];
    denied(&kubectl, &create, &owned("forged", "core.korder.dev/v1alpha1", "Order")?, told).await?;
    let mut labelled = case.ticket("labelled", SIZE);
    labelled.labels_mut().insert("korder.dev/order".to_owned(), "shelf".to_owned());
    let label = "label `korder.dev/order` is korder's own";
    denied(&kubectl, &create, &yaml(&labelled)?, label).await?;
    kubectl.apply(&yaml(&case.ticket("plain", SIZE))?).await?;
    let owners = json!({"metadata": {"ownerReferences": [{
        "apiVersion": "core.korder.dev/v1alpha1", "kind": "Order", "name": "shelf", "uid": order.uid(), "controller": true,
    }]}});
    denied(&kubectl, &["patch", "ktk/plain", "--type=merge", "-p", &owners.to_string()], "", told).await?;
    // An owner of another group is not the order, whatever its uid; the garbage collector may take the ticket.
    kubectl.run(&create, &owned("disguised", "example.com/v1", "Order")?).await?;
    let counts = |order: &Order| order.status.as_ref().map(|status| (status.ready, status.replicas, status.issued));
    let settled = order_says(case, "shelf", "the order counts what it has made", |status| status.ready == 2).await?;
    ensure!(counts(&settled) == Some((2, 2, 2)), "the order counts {:?}", counts(&settled));
    Ok(())
}

async fn a_ticket_of_another_namespace_is_out_of_reach(case: &Case) -> Result<()> {
    case.add_nodes(1, NODE).await?;
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let elsewhere = case.add_namespace("elsewhere", &[]).await?;
    let kubectl = case.kubectl().in_namespace(&elsewhere);
    let asking = |name: &str, key: &str, value: &str| -> Result<String> {
        yaml(&e2e::objects::asking(case.pod(name, SIZE), &[(key, value)]))
    };
    let ticket = format!("{}/shelf-1", case.namespace());
    denied(&kubectl, &["create", "-f", "-"], &asking("bad", "ticket", &ticket)?, "it must be the name of a ticket")
        .await?;
    let order = format!("{}/shelf", case.namespace());
    for (name, key, value, reason) in [
        ("by-order", "order", order.as_str(), "OrderNotFound"),
        ("by-ticket", "ticket", "shelf-1", "NoTicketReady"),
        ("by-labels", "ticket-selector", "korder.dev/order=shelf", "NoTicketReady"),
        ("by-any", "required", "true", "NoTicketReady"),
    ] {
        kubectl.apply(&asking(name, key, value)?).await?;
        let waits =
            format!(r#"--for=jsonpath={{.status.conditions[?(@.type=="korder.dev/TicketBound")].reason}}={reason}"#);
        kubectl.get(&["wait", &format!("pod/{name}"), &waits, "--timeout=60s"]).await?;
    }
    let ticket = ticket_is(case, "shelf-1", TicketPhase::Ready).await?;
    ensure!(ticket.claim().is_none(), "{:?}", ticket.claim());
    Ok(())
}

async fn a_gate_that_is_removed_by_hand_wins_nothing(case: &Case) -> Result<()> {
    let kubectl = mallory(case).await?;
    case.add_nodes(1, NODE).await?;
    kubectl.apply(&yaml(&case.claimant("app", "shelf", SIZE))?).await?;
    pod_waits(case, "app", "OrderNotFound").await?;
    let gate = case.pods.log().get("app").cloned().filter(|pod| is_gated(pod)).context("the pod has no gate")?;
    ensure!(
        gate.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| gates.len() == 1),
        "gates"
    );
    let patch: Value = json!([{"op": "remove", "path": "/spec/schedulingGates/0"}]);
    kubectl.get(&["patch", "pod", "app", "--type=json", "-p", &patch.to_string()]).await?;
    let bound = pod_is_bound(case, "app").await?;
    ensure!(!bound.annotations().contains_key("korder.dev/bound-ticket"), "it got a ticket");
    case.create(&case.order("shelf", 1, SIZE)).await?;
    order_is_ready(case, "shelf", 1).await?;
    let log = case.tickets.log();
    ensure!(
        log.events().iter().all(|event| event.object.claim().is_none()),
        "a ticket was given to a pod that did not wait"
    );
    Ok(())
}
