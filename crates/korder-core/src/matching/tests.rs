use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::order::{AllowedNamespaces, FromNamespaces, RefreshPolicy};
use korder_api::{Order, TicketPhase};

use super::*;
use crate::conditions::{self, Say};
use crate::fixtures::{at, claimant, ending, guardian, node, order, ticket, with_spec};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::resources::Amounts;

/// Ready tickets with their guardians, on one node.
struct OnShelf {
    orders: Vec<Order>,
    namespaces: Vec<Namespace>,
    tickets: Vec<(Ticket, Pod)>,
    node: Node,
    /// The groups of pods that have tickets already.
    seated: Vec<&'static str>,
}

impl OnShelf {
    fn of(tickets: impl IntoIterator<Item = Ticket>) -> Self {
        let tickets = tickets.into_iter().map(|ticket| (ticket.clone(), guardian(&ticket))).collect();
        Self {
            orders: vec![order(1, RefreshPolicy::OnClaim)],
            namespaces: vec![],
            tickets,
            node: node("n"),
            seated: vec![],
        }
    }

    fn shelf(&self) -> Shelf<'_> {
        let held = self.tickets.iter().filter_map(|(ticket, guardian)| Candidate::new(ticket, guardian, &self.node));
        Shelf::new(&self.orders, &self.namespaces, held)
    }

    /// What each pod gets, in the order of the line: a ticket's name or a reason.
    fn assign(&self, pods: &[Pod]) -> Vec<(String, String)> {
        let seated = |group: Group<'_>| self.seated.iter().filter(|name| **name == group.name).count();
        let text = |verdict: Verdict<'_>| match verdict {
            Verdict::Claim(ticket) => ticket.metadata.name.clone().unwrap(),
            Verdict::Wait(wait) => wait.reason.to_owned(),
            Verdict::GoOn(wait) => format!("goes on: {}", wait.reason),
            Verdict::Fail(wait) => format!("fails: {}", wait.reason),
        };
        let verdicts = assign(self.shelf(), pods.iter().collect(), &mut World::default(), seated, at(100));
        verdicts.into_iter().map(|(pod, verdict)| (pod.name().to_owned(), text(verdict))).collect()
    }

    /// What the pods that wait are told, in the order of the line.
    fn told(&self, pods: &[Pod]) -> Vec<String> {
        let verdicts = assign(self.shelf(), pods.iter().collect(), &mut World::default(), |_| 0, at(100)).into_iter();
        let told = |(_, verdict)| if let Verdict::Wait(wait) = verdict { Some(wait.message) } else { None };
        verdicts.filter_map(told).collect()
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
        with_spec(ready(1), |spec| {
            spec.resources.requests.insert("cpu".into(), "4".parse().unwrap());
        })
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
    let mut smaller = held.clone();
    smaller.spec.requests = Amounts::default();
    assert!(Candidate::new(&free, &smaller, &node).is_none());
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
    assert_eq!(
        reason(|pod| pod.spec.constraints.get_or_insert_default().has_resource_claims = true),
        "NotSupportedYet"
    );
    assert_eq!(reason(|pod| pod.spec.priority = Some(-1)), "NoTicketFits");
    assert_eq!(reason(|pod| pod.spec.scheduler_name = Some("other".into())), "NoTicketFits");
    assert_eq!(reason(|pod| pod.metadata.namespace = Some("other".into())), "OrderNotFound");
    let mut empty = OnShelf::of([]);
    assert_eq!(empty.assign(&[claimant(1)]), [pair("p-1", "NoTicketReady")]);
    let complete =
        Say { type_: conditions::READY, holds: true, reason: "Complete", message: "all are used up".to_owned() };
    conditions::set(&mut empty.orders[0].status.get_or_insert_default().conditions, complete, None, at(0));
    assert_eq!(empty.assign(&[claimant(1)]), [pair("p-1", "OrderComplete")]);
}

#[test]
fn a_pod_that_lost_its_place_rests() {
    let mut pod = claimant(1);
    assert_eq!(rests_until(&pod, at(0)), None);
    pod.status.conditions.push(crate::pod::PodCondition {
        type_: names::CONDITION_TICKET_BOUND.into(),
        status: "False".into(),
        reason: reasons::PLACE_LOST.into(),
        message: String::new(),
        last_transition_time: Some(Time(at(10))),
        last_probe_time: None,
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

/// The pod with these annotations, without the prefix.
fn asking(mut pod: Pod, annotations: &[(&str, &str)]) -> Pod {
    let annotations = annotations.iter().map(|(key, value)| (format!("korder.dev/{key}"), (*value).to_owned()));
    pod.metadata.annotations = Some(annotations.collect());
    pod
}

fn elsewhere(mut pod: Pod) -> Pod {
    pod.metadata.namespace = Some("team-a".into());
    pod
}

#[test]
fn an_order_serves_the_namespaces_that_it_admits() {
    let mut tickets = OnShelf::of([ready(1)]);
    let by_name = elsewhere(asking(claimant(1), &[("order", "default/o")]));
    let any = elsewhere(asking(claimant(1), &[("required", "true")]));
    let by_ticket = elsewhere(asking(claimant(1), &[("ticket", "o-1")]));
    let both = elsewhere(asking(claimant(1), &[("order", "default/o"), ("ticket", "o-1")]));
    assert_eq!(tickets.assign(std::slice::from_ref(&by_name)), [pair("p-1", "OrderNotFound")]);
    assert_eq!(tickets.assign(std::slice::from_ref(&any)), [pair("p-1", "NoTicketReady")]);
    tickets.orders[0].spec.allowed_namespaces =
        Some(AllowedNamespaces { from: Some(FromNamespaces::All), selector: None });
    for pod in [&by_name, &any, &both] {
        assert_eq!(tickets.assign(std::slice::from_ref(pod)), [pair("p-1", "o-1")]);
    }
    // A ticket's name alone is one of the pod's own namespace.
    assert_eq!(tickets.assign(&[by_ticket]), [pair("p-1", "NoTicketReady")]);
}

#[test]
fn an_order_that_does_not_admit_its_own_namespace_does_not_serve_it() {
    let mut tickets = OnShelf::of([ready(1)]);
    let selector = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        match_labels: Some([("team".to_owned(), "a".to_owned())].into()),
        match_expressions: None,
    };
    tickets.orders[0].spec.allowed_namespaces =
        Some(AllowedNamespaces { from: Some(FromNamespaces::Selector), selector: Some(selector) });
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("team-a".into());
    namespace.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
    tickets.namespaces.push(namespace);
    let admitted = elsewhere(asking(claimant(1), &[("order", "default/o")]));
    assert_eq!(tickets.assign(&[admitted]), [pair("p-1", "o-1")]);
    assert_eq!(tickets.assign(&[claimant(1)]), [pair("p-1", "OrderNotFound")]);
    assert_eq!(tickets.assign(&[asking(claimant(1), &[("required", "true")])]), [pair("p-1", "NoTicketReady")]);
    assert_eq!(tickets.assign(&[asking(claimant(1), &[("ticket", "o-1")])]), [pair("p-1", "NoTicketReady")]);
}

#[test]
fn a_ticket_of_a_forged_or_forgotten_order_is_nobodys() {
    let forged = {
        let mut forged = ready(1);
        Arc::make_mut(&mut forged.template).order.as_mut().unwrap().uid = "another".into();
        forged
    };
    let mut tickets = OnShelf::of([forged]);
    tickets.orders[0].spec.allowed_namespaces =
        Some(AllowedNamespaces { from: Some(FromNamespaces::All), selector: None });
    assert_eq!(tickets.assign(&[claimant(1)]), [pair("p-1", "NoTicketReady")]);
    assert_eq!(tickets.assign(&[elsewhere(asking(claimant(1), &[]))]), [pair("p-1", "NoTicketReady")]);
    assert_eq!(tickets.assign(&[asking(claimant(1), &[])]), [pair("p-1", "o-1")]);
}

#[test]
fn a_ticket_is_chosen_by_name_and_by_labels() {
    let labelled = {
        let mut labelled = ready(3);
        Arc::make_mut(&mut labelled.template).labels = [("zone".to_owned(), "b".to_owned())].into();
        labelled
    };
    let tickets = OnShelf::of([ready(1), ready(2), labelled]);
    let gets = |annotations: &[(&str, &str)]| tickets.assign(&[asking(claimant(1), annotations)]).remove(0).1;
    assert_eq!(gets(&[("ticket", "o-2")]), "o-2");
    assert_eq!(gets(&[("ticket", "o-2"), ("order", "o")]), "o-2");
    assert_eq!(gets(&[("ticket", "o-2"), ("ticket-selector", "zone=b")]), "NoTicketReady");
    assert_eq!(gets(&[("ticket-selector", "zone in (a,b)")]), "o-3");
    assert_eq!(gets(&[("ticket-selector", "zone=b"), ("order", "o")]), "o-3");
    assert_eq!(gets(&[("ticket-selector", "zone notin (b)")]), "o-1");
    assert_eq!(gets(&[("ticket", "o-4")]), "NoTicketReady");
    assert_eq!(gets(&[("ticket-selector", "zone = = b")]), "InvalidAnnotation");
}

#[test]
fn the_one_ticket_goes_to_one_pod() {
    let tickets = OnShelf::of([ready(1), ready(2)]);
    let named = |number| asking(claimant(number), &[("ticket", "o-1")]);
    assert_eq!(tickets.assign(&[named(1), named(2)]), [pair("p-1", "o-1"), pair("p-2", "NoTicketReady")]);
}

#[test]
fn a_pod_that_requires_no_ticket_goes_on_without() {
    let optional = |number| asking(claimant(number), &[("required", "false"), ("order", "o")]);
    let tickets = OnShelf::of([ready(1)]);
    assert_eq!(
        tickets.assign(&[optional(1), optional(2)]),
        [pair("p-1", "o-1"), pair("p-2", "goes on: WithoutTicket")]
    );
    let mut elsewhere = optional(1);
    elsewhere.metadata.namespace = Some("other".into());
    assert_eq!(tickets.assign(&[elsewhere]), [pair("p-1", "goes on: WithoutTicket")]);
    let mut gated = optional(1);
    gated.spec.scheduling_gates.push(crate::pod::Named { name: "other".into() });
    assert_eq!(tickets.assign(&[gated]), [pair("p-1", "OtherGate")]);
}

#[test]
fn a_pod_waits_as_long_as_it_says() {
    let pod = |timeout: &str, then: &str| asking(claimant(1), &[("timeout", timeout), ("on-timeout", then)]);
    let none = OnShelf::of([]);
    // The tests look 100 s after the pod was made.
    for (timeout, then, gets) in [
        ("101s", "Fail", "NoTicketReady"),
        ("100s", "Fail", "fails: TicketTimedOut"),
        ("100s", "Wait", "TicketTimedOut"),
        ("1m", "Fallback", "goes on: TicketTimedOut"),
    ] {
        assert_eq!(none.assign(&[pod(timeout, then)]), [pair("p-1", gets)], "{timeout} {then}");
    }
    assert_eq!(OnShelf::of([ready(1)]).assign(&[pod("1s", "Fail")]), [pair("p-1", "o-1")], "late, but served");
}

#[test]
fn the_place_in_line_is_told_to_those_who_wait_for_the_same() {
    let tickets = OnShelf::of([ready(1)]);
    let other = |number| asking(claimant(number), &[("ticket", "o-9")]);
    assert_eq!(
        tickets.told(&[claimant(1), claimant(2), other(3), claimant(4), other(5)]),
        [
            "no ticket of order `o` is ready; place 1 in line",
            "no ticket `o-9` is ready; place 1 in line",
            "no ticket of order `o` is ready; place 2 in line",
            "no ticket `o-9` is ready; place 2 in line",
        ]
    );
}

fn member(number: i64, size: &str) -> Pod {
    asking(claimant(number), &[("order", "o"), ("group", "g"), ("group-size", size)])
}

#[test]
fn a_group_gets_all_or_nothing() {
    let two = OnShelf::of([ready(1), ready(2)]);
    let three = OnShelf::of([ready(1), ready(2), ready(3)]);
    let group = [member(1, "3"), member(2, "3"), member(3, "3")];
    let nothing = |why: &str| [pair("p-1", why), pair("p-2", why), pair("p-3", why)];
    assert_eq!(two.assign(&group), nothing("NoTicketReady"));
    assert_eq!(three.assign(&group), [pair("p-1", "o-1"), pair("p-2", "o-2"), pair("p-3", "o-3")]);
    assert_eq!(
        three.assign(&group[..2]),
        [pair("p-1", "GroupIncomplete"), pair("p-2", "GroupIncomplete")],
        "one has not come yet"
    );
    assert_eq!(
        two.assign(&[member(1, "3"), member(2, "3"), claimant(5), member(3, "3")]),
        [pair("p-1", "NoTicketReady"), pair("p-2", "NoTicketReady"), pair("p-3", "NoTicketReady"), pair("p-5", "o-1")],
        "what a group does not take is for others"
    );
}

#[test]
fn a_group_overtakes_nobody() {
    let tickets = OnShelf::of([ready(1), ready(2)]);
    assert_eq!(
        tickets.assign(&[member(1, "2"), claimant(2), member(3, "2")]),
        [pair("p-1", "NoTicketReady"), pair("p-2", "o-1"), pair("p-3", "NoTicketReady")]
    );
}

#[test]
fn a_group_of_which_some_are_seated_needs_the_rest() {
    let mut tickets = OnShelf::of([ready(1), ready(2)]);
    tickets.seated = vec!["g", "g"];
    assert_eq!(tickets.assign(&[member(3, "3")]), [pair("p-3", "o-1")]);
    assert_eq!(tickets.assign(&[member(3, "3"), member(4, "3")]), [pair("p-3", "o-1"), pair("p-4", "GroupIncomplete")]);
    tickets.seated = vec!["g", "g", "g"];
    assert_eq!(tickets.assign(&[member(4, "3")]), [pair("p-4", "GroupIncomplete")], "the next group of the name");
}

#[test]
fn a_group_finds_the_way_to_seat_all_of_it() {
    // The first would take the ticket that it wastes nothing of, and that is the only one the second may have.
    let large = {
        with_spec(ready(2), |spec| {
            spec.resources.requests.insert("cpu".into(), "4".parse().unwrap());
        })
    };
    let tickets = OnShelf::of([ready(1), large]);
    let picky = asking(claimant(2), &[("ticket", "o-1"), ("group", "g"), ("group-size", "2")]);
    assert_eq!(tickets.assign(&[member(1, "2"), picky.clone()]), [pair("p-1", "o-2"), pair("p-2", "o-1")]);
    let another = asking(claimant(1), &[("ticket", "o-1"), ("group", "g"), ("group-size", "2")]);
    assert_eq!(tickets.assign(&[another, picky]), [pair("p-1", "NoTicketReady"), pair("p-2", "NoTicketReady")]);
}

#[test]
fn what_is_given_in_one_pass_stands_in_the_way_of_what_comes_after() {
    let tickets = OnShelf::of([ready(1), ready(2), ready(3)]);
    let with_port = |number| {
        let mut pod = claimant(number);
        pod.spec.host_ports.push(crate::pod::HostPort { port: 80, ip: None, protocol: "TCP".into() });
        pod
    };
    assert_eq!(
        tickets.assign(&[with_port(1), with_port(2), claimant(3)]),
        [pair("p-1", "o-1"), pair("p-2", "NoTicketFits"), pair("p-3", "o-2")]
    );
    // Nothing is left of a group that could not be seated.
    let member = |number| asking(with_port(number), &[("group", "ring"), ("group-size", "2")]);
    assert_eq!(
        tickets.assign(&[member(1), member(2), with_port(3)]),
        [pair("p-1", "NoTicketFits"), pair("p-2", "NoTicketFits"), pair("p-3", "o-1")]
    );
}

/// Where each of these pods looked at each ticket, this would take minutes.
#[test]
fn a_long_line_before_a_full_shelf_is_served() {
    let tickets = OnShelf::of((1..=10_000).map(ready));
    let small = |number| asking(claimant(number), &[("order", "o")]);
    let large = |number| {
        let mut large = asking(claimant(number), &[("required", "true")]);
        large.spec.requests = Amounts::of(&[("cpu".to_owned(), "2".parse().unwrap())].into());
        large
    };
    let picky = |number: i64| {
        let mut picky = asking(claimant(number), &[("ticket-selector", "zone=none")]);
        picky.labels = [("number", number.to_string())].into_iter().collect();
        picky
    };
    let pods: Vec<Pod> = (0..500).flat_map(|n| [small(4 * n), large(4 * n + 1), picky(4 * n + 2)]).collect();
    let verdicts = tickets.assign(&pods);
    assert_eq!(verdicts.iter().filter(|(_, gets)| gets.starts_with("o-")).count(), 500);
}

#[test]
fn only_what_a_pod_was_told_has_changed() {
    let told = |message: &str| {
        let mut pod = claimant(1);
        pod.metadata.resource_version = Some(message.into());
        pod.status.conditions = vec![crate::pod::PodCondition {
            type_: names::CONDITION_TICKET_BOUND.into(),
            status: "False".into(),
            reason: "NoTicketReady".into(),
            message: message.into(),
            last_transition_time: Some(Time(at(1))),
            last_probe_time: Some(Time(at(i64::try_from(message.len()).unwrap()))),
        }];
        pod
    };
    let (second, first) = (told("place 2 in line"), told("place 1"));
    assert!(is_only_retold(&second, &first));
    assert!(!is_only_retold(&claimant(1), &first), "it was not told before");
    assert!(!is_only_retold(&first, &first), "whatever it is, it is not that");
    for change in [
        |pod: &mut Pod| pod.status.conditions[0].reason = reasons::PLACE_LOST.into(),
        |pod: &mut Pod| pod.spec.scheduling_gates.clear(),
        |pod: &mut Pod| pod.metadata.annotations = None,
        |pod: &mut Pod| pod.metadata.deletion_timestamp = Some(Time(at(5))),
        |pod: &mut Pod| pod.status.nominated_node_name = Some("n".into()),
    ] {
        let mut changed = first.clone();
        change(&mut changed);
        assert!(!is_only_retold(&second, &changed), "{changed:?}");
    }
}
