//! Objects for the tests of this crate.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use korder_api::order::{RefreshPolicy, Strategy, TicketTemplate};
use korder_api::ticket::{ClaimRef, Resources};
use korder_api::{Order, OrderSpec, TicketPhase, TicketSpec, TicketStatus, names};

use crate::node::Node;
use crate::pod::{Named, Pod, PodCondition, PodSpec, PodStatus};
use crate::resources::Amounts;
use crate::selector::Labels;
use crate::ticket::{Owner, Template, Ticket};

/// A moment, `secs` after the tests begin.
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

fn owner(name: &str, uid: &str) -> Owner {
    Owner { name: name.into(), uid: uid.into(), is_controller: true }
}

fn meta(name: &str, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("default".into()),
        uid: Some(uid.into()),
        creation_timestamp: Some(Time(at(0))),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}

/// Order `o` of `replicas` tickets of one core, held for an hour.
pub(crate) fn order(replicas: i32, policy: RefreshPolicy) -> Order {
    let strategy = Strategy { refresh_policy: Some(policy), ..Strategy::default() };
    let template = TicketTemplate { metadata: None, spec: ticket_spec() };
    let spec = OrderSpec {
        replicas: Some(replicas),
        strategy: Some(strategy),
        template: Some(template),
        ..OrderSpec::default()
    };
    Order { metadata: meta("o", "order-uid"), spec, status: None }
}

fn ticket_spec() -> TicketSpec {
    let requests = [("cpu".to_owned(), "1".parse().unwrap())].into();
    TicketSpec {
        duration: Some("1h".parse().unwrap()),
        resources: Resources { requests, ..Resources::default() },
        ..TicketSpec::default()
    }
}

/// Ticket `o-NUMBER` of order `o`, in this phase on node `n` (which an unclaimed pending one has not).
pub(crate) fn ticket(number: i64, phase: TicketPhase) -> Ticket {
    let name = format!("o-{number}");
    let placed = phase != TicketPhase::Pending;
    let claimed = matches!(phase, TicketPhase::Claimed | TicketPhase::Used);
    let status = TicketStatus {
        phase: Some(phase),
        node_name: placed.then(|| "n".into()),
        ready_time: placed.then(|| Time(at(0))),
        expiration_time: placed.then(|| Time(at(3600))),
        finish_time: (phase == TicketPhase::Expired).then(|| Time(at(3600))),
        claim_ref: claimed
            .then(|| Box::new(ClaimRef::new("default", &format!("p-{number}"), &format!("p-{number}-uid"), at(10)))),
        ..TicketStatus::default()
    };
    let template = Template::new(Labels::new(), Some(owner("o", "order-uid")), ticket_spec());
    Ticket { metadata: meta(&name, &format!("{name}-uid")), template: Arc::new(template), status: Some(status) }
}

/// The ticket with a changed spec.
pub(crate) fn with_spec(ticket: Ticket, change: impl FnOnce(&mut TicketSpec)) -> Ticket {
    let Template { labels, order, mut spec, .. } = ticket.template.as_ref().clone();
    change(&mut spec);
    Ticket { template: Arc::new(Template::new(labels, order, spec)), ..ticket }
}

/// The guardian of a ticket, running on node `n`.
pub(crate) fn guardian(ticket: &Ticket) -> Pod {
    let name = ticket.metadata.name.clone().unwrap();
    let uid = ticket.metadata.uid.clone().unwrap();
    Pod {
        metadata: meta(&names::guardian_name(&name), &format!("{name}-guardian-uid")),
        labels: [(names::LABEL_ROLE, names::ROLE_GUARDIAN)].into_iter().collect(),
        tickets: vec![owner(&name, &uid)],
        spec: PodSpec {
            node_name: Some("n".into()),
            priority: Some(0),
            requests: ticket.reserved().clone(),
            ..PodSpec::default()
        },
        status: PodStatus { phase: "Running".into(), ..PodStatus::default() },
    }
}

/// Pod `p-NUMBER` that asks for a ticket of order `o`, with one core, behind the gate.
pub(crate) fn claimant(number: i64) -> Pod {
    let name = format!("p-{number}");
    Pod {
        metadata: ObjectMeta {
            annotations: Some([(names::ANNOTATION_ORDER.into(), "o".into())].into()),
            ..meta(&name, &format!("{name}-uid"))
        },
        spec: PodSpec {
            priority: Some(0),
            scheduling_gates: vec![Named { name: names::GATE.into() }],
            requests: Amounts::of(&[("cpu".to_owned(), "1".parse().unwrap())].into()),
            ..PodSpec::default()
        },
        status: PodStatus { phase: "Pending".into(), ..PodStatus::default() },
        ..Pod::default()
    }
}

/// The pod with the nomination for a ticket's place.
pub(crate) fn nominated(pod: Pod, ticket: &Ticket) -> Pod {
    let condition = PodCondition {
        type_: names::CONDITION_TICKET_BOUND.into(),
        status: "True".into(),
        reason: "Claimed".into(),
        message: crate::handover::claim_message(&pod, ticket),
        last_transition_time: Some(Time(at(10))),
        last_probe_time: None,
    };
    let status = PodStatus { nominated_node_name: Some("n".into()), conditions: vec![condition], ..pod.status };
    Pod { status, ..pod }
}

/// The pod without its gate.
pub(crate) fn ungated(mut pod: Pod) -> Pod {
    pod.spec.scheduling_gates.clear();
    pod
}

/// The object with a deletionTimestamp.
pub(crate) fn ending(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = Some(Time(at(20)));
    pod
}

/// A node without taints.
pub(crate) fn node(name: &str) -> Node {
    Node { metadata: ObjectMeta { namespace: None, ..meta(name, name) }, ..Node::default() }
}
