use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::fixtures::{at, claimant, ending, guardian, node, ticket};

/// Ready tickets with their guardians, on one node.
struct OnShelf {
    tickets: Vec<(Ticket, Pod)>,
    node: Node,
}

impl OnShelf {
    fn of(tickets: impl IntoIterator<Item = Ticket>) -> Self {
        let tickets = tickets.into_iter().map(|ticket| (ticket.clone(), guardian(&ticket))).collect();
        Self { tickets, node: node("n") }
    }

    /// What each pod gets, in the order of the line: a ticket's name or a reason.
    fn assign(&self, pods: &[Pod]) -> Vec<(String, String)> {
        let candidates =
            self.tickets.iter().filter_map(|(ticket, guardian)| Candidate::new(ticket, guardian, &self.node));
        let verdicts = Shelf::new([("default", "o")], candidates).assign(pods.iter().collect());
        let text = |verdict: Verdict<'_>| match verdict {
            Verdict::Claim(ticket) => ticket.metadata.name.clone().unwrap(),
            Verdict::Wait(wait) => wait.reason.to_owned(),
        };
        verdicts.into_iter().map(|(pod, verdict)| (pod.name().to_owned(), text(verdict))).collect()
    }
}

fn ready(number: i64) -> Ticket {
    ticket(number, TicketPhase::Ready)
}

fn pair(pod: &str, gets: &str) -> (String, String) {
    (pod.to_owned(), gets.to_owned())
}

#[test]
fn the_line_is_by_priority_then_age_then_uid() {
    let mut late = claimant(1);
    late.metadata.creation_timestamp = Some(Time(at(5)));
    let mut important = claimant(2);
    important.metadata.creation_timestamp = Some(Time(at(9)));
    important.spec.priority = Some(10);
    let (third, fourth) = (claimant(3), claimant(4));
    let tickets = OnShelf::of([ready(1), ready(2)]);
    assert_eq!(
        tickets.assign(&[fourth, late, third, important]),
        [pair("p-2", "o-1"), pair("p-3", "o-2"), pair("p-4", "NoTicketReady"), pair("p-1", "NoTicketReady")]
    );
}

#[test]
fn the_ticket_with_the_least_waste_then_the_first_to_expire() {
    let large = {
        let mut large = ready(1);
        large.spec.resources.requests.insert("cpu".into(), "4".parse().unwrap());
        large
    };
    let soon = {
        let mut soon = ready(3);
        soon.status.as_mut().unwrap().expiration_time = Some(Time(at(60)));
        soon
    };
    let tickets = OnShelf::of([large, ready(2), soon]);
    assert_eq!(
        tickets.assign(&[claimant(1), claimant(2), claimant(3)]),
        [pair("p-1", "o-3"), pair("p-2", "o-2"), pair("p-3", "o-1")]
    );
}

#[test]
fn only_what_is_held_can_be_given_away() {
    let node = node("n");
    let (free, held) = (ready(1), guardian(&ready(1)));
    assert!(Candidate::new(&free, &held, &node).is_some());
    assert!(Candidate::new(&free, &ending(held.clone()), &node).is_none());
    assert!(Candidate::new(&free, &guardian(&ready(2)), &node).is_none());
    assert!(Candidate::new(&free, &held, &crate::fixtures::node("m")).is_none());
    assert!(Candidate::new(&ticket(1, TicketPhase::Claimed), &held, &node).is_none());
    let mut deleted = ready(1);
    deleted.metadata.deletion_timestamp = Some(Time(at(1)));
    assert!(Candidate::new(&deleted, &held, &node).is_none());
}

#[test]
fn why_a_pod_waits() {
    let tickets = OnShelf::of([ready(1)]);
    let reason = |change: fn(&mut Pod)| {
        let mut pod = claimant(1);
        change(&mut pod);
        tickets.assign(&[pod]).remove(0).1
    };
    assert_eq!(reason(|_| ()), "o-1");
    assert_eq!(reason(|pod| pod.spec.scheduling_gates.push(crate::pod::Named { name: "other".into() })), "OtherGate");
    assert_eq!(
        reason(|pod| {
            pod.metadata.annotations.as_mut().unwrap().insert(names::ANNOTATION_ORDER.into(), "none".into());
        }),
        "OrderNotFound"
    );
    assert_eq!(reason(|pod| pod.spec.resource_claims.push(crate::pod::Named::default())), "NotSupportedYet");
    assert_eq!(reason(|pod| pod.spec.priority = Some(-1)), "NoTicketFits");
    assert_eq!(reason(|pod| pod.spec.scheduler_name = Some("other".into())), "NoTicketFits");
    assert_eq!(reason(|pod| pod.metadata.namespace = Some("other".into())), "OrderNotFound");
    assert_eq!(OnShelf::of([]).assign(&[claimant(1)]), [pair("p-1", "NoTicketReady")]);
}

#[test]
fn a_pod_that_lost_its_place_rests() {
    let mut pod = claimant(1);
    assert_eq!(rests_until(&pod, at(0)), None);
    pod.status.conditions.push(crate::pod::PodCondition {
        type_: names::CONDITION_TICKET_BOUND.into(),
        status: "False".into(),
        reason: REASON_PLACE_LOST.into(),
        message: String::new(),
        last_transition_time: Some(Time(at(10))),
    });
    assert_eq!(rests_until(&pod, at(11)), Some(at(40)));
    assert_eq!(rests_until(&pod, at(40)), None);
}

#[test]
fn a_pod_that_names_no_order_takes_from_any_of_its_namespace() {
    let tickets = OnShelf::of([ready(1)]);
    let mut pod = claimant(1);
    pod.metadata.annotations = Some([(names::ANNOTATION_REQUIRED.into(), "true".into())].into());
    assert_eq!(tickets.assign(&[pod.clone()]), [pair("p-1", "o-1")]);
    pod.metadata.namespace = Some("other".into());
    assert_eq!(tickets.assign(&[pod]), [pair("p-1", "NoTicketReady")]);
}
