use proptest::prelude::*;

use super::*;
use crate::fixtures::{at, order, ticket};

use TicketPhase::{Claimed, Expired, Lost, Pending, Ready, Used};

/// The tickets as a cluster would have them after the plan was carried out.
fn carry_out(order: &mut Order, tickets: &mut Vec<Ticket>) -> Plan {
    let seen: Vec<&Ticket> = tickets.iter().collect();
    let plan = plan(order, &seen, at(100));
    let removed: Vec<_> = plan.delete.iter().map(|ticket| ticket.metadata.name.clone()).collect();
    tickets.retain(|ticket| !removed.contains(&ticket.metadata.name));
    for made in &plan.create {
        tickets.push(ticket(ordinal(order, made).unwrap(), Pending));
    }
    if let Some(status) = &plan.status {
        order.status = Some(status.clone());
    }
    plan
}

fn names<K: Resource>(tickets: &[K]) -> Vec<&str> {
    tickets.iter().filter_map(|ticket| ticket.meta().name.as_deref()).collect()
}

fn reason(order: &Order) -> (&str, &str) {
    let conditions = &order.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    (ready.status.as_str(), ready.reason.as_str())
}

#[test]
fn a_new_order_gets_its_tickets_numbered_from_one() {
    let mut order = order(3, RefreshPolicy::OnClaim);
    let mut tickets = vec![];
    let plan = carry_out(&mut order, &mut tickets);
    assert_eq!(names(&plan.create), ["o-1", "o-2", "o-3"]);
    let first = Ticket::from(plan.create[0].clone());
    assert_eq!(first.order(), Some(("o", "order-uid")));
    assert_eq!(first.template.labels[names::LABEL_ORDER], "o");
    assert!(carry_out(&mut order, &mut tickets).create.is_empty());
    assert_eq!(reason(&order), ("False", "Filling"));
    tickets = vec![ticket(1, Ready), ticket(2, Ready), ticket(3, Ready)];
    carry_out(&mut order, &mut tickets);
    assert_eq!(reason(&order), ("True", "Ready"));
    assert_eq!(carry_out(&mut order, &mut tickets), Plan::default());
}

#[test]
fn what_each_policy_makes_again() {
    let table = [
        (RefreshPolicy::Never, Claimed, 0),
        (RefreshPolicy::Never, Used, 0),
        (RefreshPolicy::Never, Expired, 0),
        (RefreshPolicy::Never, Lost, 1),
        (RefreshPolicy::OnClaim, Lost, 1),
        (RefreshPolicy::Always, Lost, 1),
        (RefreshPolicy::OnClaim, Claimed, 0),
        (RefreshPolicy::OnClaim, Used, 1),
        (RefreshPolicy::OnClaim, Expired, 0),
        (RefreshPolicy::Always, Claimed, 0),
        (RefreshPolicy::Always, Used, 1),
        (RefreshPolicy::Always, Expired, 1),
    ];
    for (policy, phase, made) in table {
        let mut order = order(2, policy);
        let mut tickets = vec![ticket(1, phase), ticket(2, Ready)];
        let plan = carry_out(&mut order, &mut tickets);
        assert_eq!(names(&plan.create).len(), made, "{policy:?} {phase:?}");
        assert!(plan.delete.is_empty(), "{policy:?} {phase:?}");
    }
}

#[test]
fn an_order_whose_tickets_have_all_expired_is_complete_also_when_they_are_forgotten() {
    let mut order = order(2, RefreshPolicy::OnClaim);
    let mut tickets = vec![ticket(1, Expired), ticket(2, Expired)];
    assert!(!has_counted(&order, &tickets[0]), "it is not known to have been made");
    carry_out(&mut order, &mut vec![ticket(1, Ready), ticket(2, Ready)]);
    assert!(!has_counted(&order, &tickets[0]), "it is not known to have expired");
    carry_out(&mut order, &mut tickets);
    assert_eq!(order.status.as_ref().unwrap().closed.as_deref(), Some("1-2"));
    assert!(has_counted(&order, &tickets[0]));
    tickets.clear();
    assert!(carry_out(&mut order, &mut tickets).create.is_empty());
    assert_eq!(reason(&order), ("True", "Complete"));
}

#[test]
fn never_issues_no_more_though_a_ticket_was_deleted() {
    let mut order = order(2, RefreshPolicy::Never);
    let mut tickets = vec![];
    carry_out(&mut order, &mut tickets);
    carry_out(&mut order, &mut tickets);
    tickets.pop();
    assert!(carry_out(&mut order, &mut tickets).create.is_empty());
    order.spec.replicas = Some(3);
    assert_eq!(names(&carry_out(&mut order, &mut tickets).create), ["o-3"]);
}

#[test]
fn what_a_crash_left_out_between_two_creations_is_made_up_for() {
    for policy in [RefreshPolicy::Never, RefreshPolicy::OnClaim, RefreshPolicy::Always] {
        let mut order = order(3, policy);
        let mut tickets = vec![ticket(3, Pending)];
        let plan = carry_out(&mut order, &mut tickets);
        assert_eq!(names(&plan.create), ["o-1", "o-2"], "{policy:?}");
        assert_eq!(order.status.as_ref().unwrap().issued, 3);
        assert!(carry_out(&mut order, &mut tickets).create.is_empty(), "{policy:?}");
    }
}

#[test]
fn never_keeps_what_it_holds_up_to_its_replicas() {
    let mut order = order(3, RefreshPolicy::Never);
    let mut tickets = vec![];
    carry_out(&mut order, &mut tickets);
    order.spec.replicas = Some(2);
    for _ in 0..3 {
        carry_out(&mut order, &mut tickets);
        assert_eq!(names(&tickets), ["o-1", "o-2"]);
    }
    order.spec.replicas = Some(4);
    carry_out(&mut order, &mut tickets);
    carry_out(&mut order, &mut tickets);
    assert_eq!(names(&tickets), ["o-1", "o-2", "o-4"]);
}

#[test]
fn an_order_that_comes_to_never_refill_keeps_what_it_holds() {
    let mut order = order(3, RefreshPolicy::Never);
    let mut tickets = vec![ticket(1, Used), ticket(2, Ready), ticket(3, Ready), ticket(4, Ready)];
    for _ in 0..3 {
        assert!(carry_out(&mut order, &mut tickets).delete.is_empty());
    }
    assert_eq!(reason(&order), ("True", "Ready"));
}

#[test]
fn a_ticket_deleted_by_hand_is_made_again_under_a_new_number() {
    let mut order = order(2, RefreshPolicy::OnClaim);
    let mut tickets = vec![];
    carry_out(&mut order, &mut tickets);
    tickets.remove(0);
    assert_eq!(names(&carry_out(&mut order, &mut tickets).create), ["o-3"]);
}

#[test]
fn scaled_down_without_a_place_and_youngest_first_never_what_is_claimed() {
    let mut order = order(1, RefreshPolicy::OnClaim);
    let mut tickets = vec![ticket(1, Ready), ticket(2, Ready), ticket(3, Pending), ticket(4, Claimed)];
    assert_eq!(names(&carry_out(&mut order, &mut tickets).delete), ["o-3", "o-2"]);
    order.spec.replicas = Some(0);
    assert_eq!(names(&carry_out(&mut order, &mut tickets).delete), ["o-1"]);
    assert_eq!(names(&tickets), ["o-4"]);
}

#[test]
fn a_paused_or_deleted_order_makes_nothing() {
    let mut paused = order(3, RefreshPolicy::Always);
    paused.spec.paused = Some(true);
    assert!(carry_out(&mut paused, &mut vec![]).create.is_empty());
    assert_eq!(reason(&paused), ("False", "Paused"));
    let mut deleted = order(3, RefreshPolicy::Always);
    deleted.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert_eq!(plan(&deleted, &[], at(2)), Plan::default());
}

#[test]
fn the_reason_names_what_stands_in_the_way() {
    let stuck = |reason: &str| {
        let mut stuck = ticket(1, Pending);
        let say = Say { type_: "Ready", holds: false, reason, message: "no room".into() };
        conditions::set(&mut stuck.status.as_mut().unwrap().conditions, say, None, at(0));
        stuck
    };
    let mut order = order(1, RefreshPolicy::OnClaim);
    carry_out(&mut order, &mut vec![stuck("Unschedulable")]);
    assert_eq!(reason(&order), ("False", "WaitingForCapacity"));
    carry_out(&mut order, &mut vec![stuck("GuardianRefused")]);
    assert_eq!(reason(&order), ("False", "GuardianRefused"));
    let stalled = &order.status.as_ref().unwrap().conditions;
    assert!(
        stalled.iter().any(|condition| condition.type_ == "Stalled" && condition.message.contains("`o-1`: no room"))
    );
}

#[derive(Clone, Debug)]
enum Move {
    Scale(i32),
    Advance(usize, TicketPhase),
    Forget(usize),
    Reconcile,
    /// The tickets were made, and the status was not written.
    ReconcileWithoutStatus,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0..6).prop_map(Move::Scale),
        (0..8_usize, prop_oneof![Just(Ready), Just(Claimed), Just(Used), Just(Expired)])
            .prop_map(|(index, phase)| Move::Advance(index, phase)),
        (0..8_usize).prop_map(Move::Forget),
        Just(Move::Reconcile),
        Just(Move::ReconcileWithoutStatus),
    ]
}

proptest! {
    /// Whatever happens: no number is given to two tickets that are there, or again once the status has it; `Never`
    /// issues no more than `replicas` ever were; when nothing is handed over, `Always` comes to `replicas` unclaimed
    /// tickets, and `OnClaim` to that less those that expired.
    #[test]
    fn counts_hold_in_every_history(
        policy in prop_oneof![Just(RefreshPolicy::Never), Just(RefreshPolicy::OnClaim), Just(RefreshPolicy::Always)],
        moves in prop::collection::vec(moves(), 1..40),
    ) {
        let mut order = order(3, policy);
        let mut tickets: Vec<Ticket> = vec![];
        let mut issued = std::collections::BTreeSet::new();
        let mut expired = std::collections::BTreeSet::new();
        let mut most = 3;
        for one in moves {
            match one {
                Move::Scale(replicas) => { order.spec.replicas = Some(replicas); most = most.max(replicas); }
                Move::Advance(index, phase) => if let Some(there) = tickets.get_mut(index) {
                    let unclaimed = matches!(there.phase(), Pending | Ready);
                    if there.phase() < phase && (unclaimed || phase == Used && there.phase() == Claimed) {
                        let number = ordinal(&order, there).unwrap();
                        if phase == Expired { expired.insert(number); }
                        *there = ticket(number, phase);
                    }
                },
                Move::Forget(index) => if tickets.get(index).is_some_and(|ticket| {
                    ticket.phase() == Used || ticket.phase() == Expired && has_counted(&order, ticket)
                }) { tickets.remove(index); },
                Move::Reconcile | Move::ReconcileWithoutStatus => {
                    let before = order.status.clone();
                    let mut there: std::collections::BTreeSet<i64> =
                        tickets.iter().filter_map(|ticket| ordinal(&order, ticket)).collect();
                    let plan = carry_out(&mut order, &mut tickets);
                    for made in &plan.create {
                        let number = ordinal(&order, made).unwrap();
                        prop_assert!(number > before.as_ref().map_or(0, |status| status.issued), "{} again", number);
                        prop_assert!(there.insert(number), "{} twice", number);
                        issued.insert(number);
                    }
                    if matches!(one, Move::ReconcileWithoutStatus) && !plan.create.is_empty() { order.status = before; }
                }
            }
        }
        carry_out(&mut order, &mut tickets);
        carry_out(&mut order, &mut tickets);
        let count = |phases: &[TicketPhase]| {
            i32::try_from(tickets.iter().filter(|ticket| phases.contains(&ticket.phase())).count()).unwrap()
        };
        let (live, claimed) = (count(&[Pending, Ready]), count(&[Claimed]));
        // What is being handed over is made up for when that is done.
        let comes_to = |wanted: i32| ((wanted - claimed).max(0)..=wanted.max(0)).contains(&live);
        let replicas = order.spec.replicas.unwrap();
        match policy {
            RefreshPolicy::Always => prop_assert!(comes_to(replicas)),
            RefreshPolicy::OnClaim => prop_assert!(comes_to(replicas - i32::try_from(expired.len()).unwrap())),
            RefreshPolicy::Never => prop_assert!(i32::try_from(issued.len()).unwrap() <= most),
        }
    }
}

#[test]
fn a_lost_ticket_is_made_up_for_once_also_when_it_is_forgotten() {
    for policy in [RefreshPolicy::Never, RefreshPolicy::OnClaim, RefreshPolicy::Always] {
        let mut order = order(2, policy);
        let mut tickets = vec![ticket(1, Lost), ticket(2, Ready)];
        assert_eq!(names(&carry_out(&mut order, &mut tickets).create), ["o-3"], "{policy:?}");
        assert!(has_counted(&order, &tickets[0]), "{policy:?}");
        tickets.remove(0);
        assert_eq!(carry_out(&mut order, &mut tickets).create, [], "{policy:?}");
    }
}

#[test]
fn a_lost_ticket_is_not_forgotten_before_its_order_has_counted_it() {
    let mut order = order(1, RefreshPolicy::Never);
    assert!(!has_counted(&order, &ticket(1, Expired)), "it does not know that it was made");
    order.status = Some(OrderStatus { issued: 1, ..OrderStatus::default() });
    assert!(!has_counted(&order, &ticket(1, Lost)));
    assert!(has_counted(&order, &ticket(1, Expired)));
}

#[test]
fn one_plan_makes_and_removes_a_batch_and_the_next_goes_on() {
    let size = i32::try_from(BATCH).unwrap();
    let mut order = order(2 * size + 1, RefreshPolicy::Never);
    let mut tickets = vec![];
    let made: Vec<(usize, bool)> =
        (0..4).map(|_| carry_out(&mut order, &mut tickets)).map(|plan| (plan.create.len(), plan.is_cut())).collect();
    assert_eq!(made, [(BATCH, true), (BATCH, true), (1, false), (0, false)]);
    assert_eq!(order.status.as_ref().unwrap().issued, i64::from(2 * size + 1));
    order.spec.replicas = Some(0);
    let removed: Vec<usize> = (0..4).map(|_| carry_out(&mut order, &mut tickets).delete.len()).collect();
    assert_eq!(removed, [BATCH, BATCH, 1, 0]);
}

#[test]
fn only_orders_of_many_tickets_are_left_alone_between_looks() {
    let rests = [0, 999, 1000, 10_000].map(|tickets| rest(tickets).as_millis());
    assert_eq!(rests, [0, 0, 10, 100]);
}

/// Of four tickets the first and the third could be made.
#[test]
fn what_is_refused_is_told_and_its_numbers_stay_free() {
    let mut order = order(4, RefreshPolicy::Never);
    let tickets = [ticket(1, Used), ticket(3, Ready)];
    let seen: Vec<&Ticket> = tickets.iter().collect();
    let quota = Refused::Creation("exceeded quota: few, used: count/tickets.core.korder.dev=2".into());
    for now in [100, 200] {
        let plan = plan(&order, &seen, at(now));
        assert_eq!(names(&plan.create), ["o-2", "o-4"]);
        let status = refused(&order, &seen, plan.status, &quota, at(now));
        assert_eq!((status.issued, status.ready, status.used), (1, 1, 1));
        let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").unwrap();
        assert_eq!(stalled.last_transition_time.0, at(100), "it is told once");
        assert!(stalled.message.contains("exceeded quota: few"), "{stalled:?}");
        order.status = Some(status);
        assert_eq!(reason(&order), ("False", "ResourceQuotaExceeded"));
    }
    assert!(has_counted(&order, &tickets[0]) && !has_counted(&order, &ticket(3, Used)));
    for (why, reason) in [
        (Refused::Creation("denied".into()), "TicketRefused"),
        (Refused::Deletion("denied".into()), "TicketNotRemoved"),
    ] {
        let status = refused(&order, &seen, None, &why, at(300));
        assert!(status.conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.reason == reason));
    }
}
