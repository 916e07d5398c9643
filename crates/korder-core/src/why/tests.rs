use korder_api::order::RefreshPolicy;

use super::*;
use crate::fixtures::{at, claimant, guardian, node, order, ticket, ungated};

/// Ready ticket `o-1` and pending ticket `o-2` of order `o`, on node `n`, and these pods.
fn asked<T>(pods: &[Pod], ask: impl FnOnce(Scene<'_>) -> T) -> T {
    let orders = [order(2, RefreshPolicy::OnClaim)];
    let tickets = [ticket(1, TicketPhase::Ready), ticket(2, TicketPhase::Pending)];
    let pods = pods.iter().cloned().chain([guardian(&tickets[0])]).map(Arc::new).collect();
    let seen = Surroundings { pods, nodes: vec![Arc::new(node("n"))], ..Surroundings::default() };
    let seen = promised(seen, &tickets);
    ask(Scene { orders: &orders, tickets: &tickets, seen: &seen, without_nodes: false })
}

fn of_pod(pods: &[Pod], name: &str) -> PodAnswer {
    asked(pods, |scene| scene.of_pod(scene.pods().find(|pod| pod.name() == name).unwrap(), at(100)))
}

fn with(mut pod: Pod, key: &str, value: &str) -> Pod {
    pod.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    pod
}

#[test]
fn the_first_in_line_is_about_to_get_it_and_the_second_is_told_that_it_would_fit() {
    let pods = [claimant(1), claimant(2)];
    let first = of_pod(&pods, "p-1");
    assert_eq!((first.reason.as_str(), first.tickets.len()), ("Claiming", 2));
    let second = of_pod(&pods, "p-2");
    assert_eq!(second.reason, "NoTicketReady");
    let [ready, pending] = &second.tickets[..] else { panic!("{second:?}") };
    assert!(ready.fits && ready.why.contains("before it in line"), "{ready:?}");
    assert!(!pending.fits && pending.phase == "Pending", "{pending:?}");
    assert!(!second.advice.is_empty());
}

#[test]
fn what_does_not_fit_is_told_ticket_by_ticket() {
    let mut large = claimant(1);
    let constraints = large.spec.constraints.get_or_insert_default();
    constraints.node_selector.insert("zone".to_owned(), "b".to_owned());
    let answer = of_pod(&[large], "p-1");
    assert_eq!(answer.reason, "NoTicketFits");
    assert_eq!(answer.tickets[0].why, "the node has no label `zone=b`");
}

#[test]
fn a_member_of_a_group_is_judged_by_itself_too() {
    let grouped = with(with(claimant(1), names::ANNOTATION_GROUP, "g"), names::ANNOTATION_GROUP_SIZE, "2");
    let answer = of_pod(&[grouped], "p-1");
    assert_eq!(answer.reason, "GroupIncomplete");
    assert!(answer.tickets[0].fits, "{answer:?}");
}

#[test]
fn whoever_asks_for_none_or_has_one_is_told_so() {
    let mut plain = claimant(1);
    plain.metadata.annotations = None;
    plain.spec.scheduling_gates.clear();
    assert_eq!(of_pod(&[plain], "p-1").reason, "AsksForNone");
    let mut bound = with(ungated(claimant(1)), names::ANNOTATION_BOUND_TICKET, "o-1");
    bound.spec.node_name = Some("n".to_owned());
    let used = [ticket(1, TicketPhase::Used)];
    let seen = Surroundings { pods: vec![Arc::new(bound.clone())], ..Surroundings::default() };
    let scene = |tickets| Scene { orders: &[], tickets, seen: &seen, without_nodes: false };
    let answer = scene(&used[..]).of_pod(&bound, at(100));
    assert_eq!(
        (answer.reason.as_str(), answer.message.as_str()),
        ("Bound", "it has the place of ticket `o-1` on node `n`")
    );
    // The name alone may be that of an order's next ticket.
    let answer = scene(&[]).of_pod(&bound, at(100));
    assert_eq!(
        (answer.reason.as_str(), answer.message.as_str()),
        ("Bound", "it is on node `n` by ticket `o-1`, which is gone or not to be seen: it keeps its place")
    );
    assert_eq!(of_pod(&[], "o-1-guardian").reason, "Guardian");
}

#[test]
fn whoever_may_not_see_nodes_is_told_what_the_controllers_have_told() {
    let blind = |pod: &Pod| {
        let seen = Surroundings { pods: vec![Arc::new(pod.clone())], ..Surroundings::default() };
        let tickets = [ticket(1, TicketPhase::Ready)];
        Scene { orders: &[], tickets: &tickets, seen: &seen, without_nodes: true }.of_pod(pod, at(100))
    };
    let mut pod = claimant(1);
    assert_eq!(blind(&pod).reason, "NotTold");
    let told: crate::pod::PodCondition = serde_json::from_value(serde_json::json!({
        "type": names::CONDITION_TICKET_BOUND, "status": "False", "reason": "NoTicketFits", "message": "too large",
    }))
    .unwrap();
    pod.status.conditions.push(told);
    let answer = blind(&pod);
    assert_eq!((answer.reason.as_str(), answer.message.as_str()), ("NoTicketFits", "too large"));
    assert!(answer.advice[0].contains("may list nodes"), "{answer:?}");
}

#[test]
fn an_order_that_is_not_there_is_named() {
    let lost = with(claimant(1), names::ANNOTATION_ORDER, "nowhere");
    let answer = of_pod(&[lost], "p-1");
    assert_eq!(answer.reason, "OrderNotFound");
    assert!(answer.tickets.is_empty() && answer.advice[0].starts_with("make that order"), "{answer:?}");
}

#[test]
fn a_ready_ticket_names_who_waits_for_it() {
    let pods = [claimant(2), claimant(1)];
    let answer = asked(&pods, |scene| scene.of_ticket(&scene.tickets[0], at(100)));
    let line: Vec<&str> = answer.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(line, ["default/p-1", "default/p-2"]);
    assert!(answer.pods.iter().all(|pod| pod.fits));
    let pending = asked(&pods, |scene| scene.of_ticket(&scene.tickets[1], at(100)));
    assert_eq!((pending.phase.as_str(), pending.pods.len()), ("Pending", 0));
}

/// It was let go for a place that went, and may have one more.
fn placeless(number: i64) -> Pod {
    let mut pod = ungated(claimant(number));
    pod.status.conditions.push(crate::pod::PodCondition {
        type_: names::CONDITION_TICKET_BOUND.to_owned(),
        status: "False".to_owned(),
        reason: reasons::PLACE_LOST.to_owned(),
        ..crate::pod::PodCondition::default()
    });
    pod
}

#[test]
fn a_pod_that_has_lost_its_place_stands_in_line_for_another() {
    let answer = of_pod(&[placeless(1)], "p-1");
    assert_eq!((answer.reason.as_str(), answer.tickets.len()), ("Claiming", 2), "{answer:?}");
}

#[test]
fn a_second_ticket_is_a_seat_too() {
    let pod = placeless(1);
    let claimed = ticket(1, TicketPhase::Claimed);
    assert!(crate::ticket::has_seat(&pod, [&claimed]) && !crate::ticket::has_seat(&pod, []));
    assert!(!crate::ticket::has_seat(&crate::fixtures::ending(pod), [&claimed]));
}

#[test]
fn a_pod_that_takes_any_ticket_is_told_of_those_that_admit_it_wherever_they_are() {
    let anywhere = |mut pod: Pod| {
        pod.metadata.namespace = Some("team-a".to_owned());
        pod.metadata.annotations = Some([(names::ANNOTATION_REQUIRED.to_owned(), "true".to_owned())].into());
        pod
    };
    let listed = |from| {
        let mut order = order(2, RefreshPolicy::OnClaim);
        order.spec.allowed_namespaces =
            Some(korder_api::order::AllowedNamespaces { from: Some(from), ..Default::default() });
        let tickets = [ticket(1, TicketPhase::Ready), ticket(2, TicketPhase::Pending)];
        let pods = [anywhere(claimant(1)), anywhere(claimant(2)), guardian(&tickets[0])].map(Arc::new).into();
        let seen = Surroundings { pods, nodes: vec![Arc::new(node("n"))], ..Surroundings::default() };
        let scene = Scene { orders: &[order], tickets: &tickets, seen: &seen, without_nodes: false };
        let pod = scene.of_pod(&seen.pods[1], at(100));
        let waiting = scene.of_ticket(&tickets[0], at(100)).pods.len();
        (pod.tickets.into_iter().map(|ticket| ticket.name).collect::<Vec<_>>(), pod.advice, waiting)
    };
    let (tickets, advice, waiting) = listed(korder_api::order::FromNamespaces::All);
    assert_eq!((tickets, waiting), (vec!["default/o-1".to_owned(), "default/o-2".to_owned()], 2));
    assert_eq!(advice, ["a place for one of the tickets that are pending"]);
    let (tickets, advice, waiting) = listed(korder_api::order::FromNamespaces::Same);
    assert_eq!((tickets, waiting), (vec![], 0));
    assert!(advice[0].contains("there is none that this pod could have"), "{advice:?}");
}

/// What a pod with an annotation is told where there are these tickets.
fn told(tickets: &[Ticket], annotation: (&str, &str)) -> PodAnswer {
    let pod = with(claimant(1), annotation.0, annotation.1);
    let seen = Surroundings { pods: vec![Arc::new(pod.clone())], ..Surroundings::default() };
    let orders = [order(2, RefreshPolicy::OnClaim)];
    Scene { orders: &orders, tickets, seen: &seen, without_nodes: false }.of_pod(&pod, at(100))
}

#[test]
fn tickets_that_are_used_up_are_counted() {
    let tickets = [ticket(1, TicketPhase::Used), ticket(2, TicketPhase::Expired), ticket(3, TicketPhase::Pending)];
    let answer = told(&tickets, (names::ANNOTATION_ORDER, "o"));
    let listed: Vec<&str> = answer.tickets.iter().map(|ticket| ticket.name.as_str()).collect();
    assert_eq!((listed, answer.tickets_used_up), (vec!["default/o-3"], 2));
}

#[test]
fn a_ticket_that_can_t_come_is_told_with_the_way_to_name_another() {
    let tickets = [ticket(1, TicketPhase::Used), ticket(2, TicketPhase::Pending)];
    let advice = |name| told(&tickets, (names::ANNOTATION_TICKET, name)).advice.join("\n");
    let command = "kubectl annotate pod -n default p-1 korder.dev/ticket=… --overwrite";
    let used = advice("o-1");
    assert!(used.contains("`default/o-1` is Used and never becomes ready again") && used.contains(command), "{used}");
    let nowhere = advice("o-7");
    assert!(nowhere.contains("no ticket `o-7`") && nowhere.contains(command), "{nowhere}");
    let pending = advice("o-2");
    assert!(!pending.contains("annotate"), "{pending}");
}

#[test]
fn labels_that_no_ticket_has_are_told() {
    let mut tickets = [ticket(1, TicketPhase::Pending)];
    let advice = |tickets: &[Ticket]| told(tickets, (names::ANNOTATION_TICKET_SELECTOR, "zone=b")).advice.join("\n");
    assert!(advice(&tickets).contains("no ticket has the labels `zone=b`"), "{}", advice(&tickets));
    let mut template = (*tickets[0].template).clone();
    template.labels = [("zone".to_owned(), "b".to_owned())].into();
    tickets[0].template = template.into();
    assert!(!advice(&tickets).contains("no ticket has"), "{}", advice(&tickets));
}

#[test]
fn nodes_that_let_nobody_in_are_named() {
    let tickets = [ticket(1, TicketPhase::Ready)];
    let mut cordoned = node("n");
    cordoned.spec.unschedulable = true;
    let pods = [claimant(1), guardian(&tickets[0])].map(Arc::new).into();
    let seen = Surroundings { pods, nodes: vec![Arc::new(cordoned)], ..Surroundings::default() };
    let orders = [order(1, RefreshPolicy::OnClaim)];
    let scene = Scene { orders: &orders, tickets: &tickets, seen: &seen, without_nodes: false };
    let answer = scene.of_pod(&seen.pods[0], at(100));
    assert_eq!(answer.advice, ["no pod is let to the nodes of its tickets: `kubectl uncordon n`"], "{answer:?}");
}

#[test]
fn an_order_of_no_tickets_is_told() {
    let mut none = order(0, RefreshPolicy::OnClaim);
    let ready = serde_json::json!([{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "0 of 0 tickets are ready",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    none.status.get_or_insert_default().conditions = serde_json::from_value(ready).unwrap();
    let pod = claimant(1);
    let seen = Surroundings { pods: vec![Arc::new(pod.clone())], ..Surroundings::default() };
    let answer = Scene { orders: &[none], tickets: &[], seen: &seen, without_nodes: false }.of_pod(&pod, at(100));
    assert_eq!(answer.advice, ["order `o` makes no tickets: raise its `replicas` above 0"], "{answer:?}");
}
