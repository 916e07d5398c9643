use k8s_openapi::api::core::v1::{Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use korder_api::TicketSpec;
use korder_api::ticket::Disruption;

use super::*;
use crate::fixtures::{at, ending, guardian, node, ticket, with_spec};
use crate::pod::{Pod, PodCondition};
use crate::ticket::tests::{seen, written};
use crate::ticket::{given_back, plan};

use TicketPhase::{Claimed, Expired, Pending, Ready, Used};

fn cordoned() -> Node {
    let mut node = node("n");
    node.spec.unschedulable = true;
    node
}

fn tainted(key: &str, added: Option<i64>) -> Node {
    let mut node = node("n");
    let time_added = added.map(|added| Time(at(added)));
    node.spec.taints = vec![Taint { key: key.into(), effect: "NoSchedule".into(), time_added, value: None }];
    node
}

/// The successor of a ticket's guardian, running on node `m`.
fn successor(ticket: &Ticket) -> Pod {
    let mut pod = guardian(ticket);
    pod.metadata.name = Some(ticket.successor_name());
    pod.metadata.uid = Some("successor-uid".into());
    pod.spec.node_name = Some("m".into());
    pod
}

fn unplaced(mut pod: Pod) -> Pod {
    pod.spec.node_name = None;
    pod.status.phase = "Pending".into();
    pod
}

/// The pod after the scheduler has found no place for it.
fn refused(pod: Pod) -> Pod {
    let mut pod = unplaced(pod);
    pod.status.conditions.push(PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: "Unschedulable".into(),
        message: "0/2 nodes".into(),
        ..PodCondition::default()
    });
    pod
}

/// The step for a ticket whose guardian is on one node and whose successor is on another.
fn step(ticket: &Ticket, guardian: Option<(&Pod, &Node)>, successor: Option<(&Pod, Option<&Node>)>, now: i64) -> Plan {
    let guardian = guardian.map(|(pod, node)| Place { pod, node: Some(node) });
    let successor = successor.map(|(pod, node)| Place { pod, node });
    plan(&Observed { guardian, successor, ..seen(ticket, None) }, at(now))
}

fn told(plan: Plan) -> TicketStatus {
    let Some(Step::WriteStatus(status)) = plan.step else { panic!("no status is written: {plan:?}") };
    *status
}

fn remove() -> Step {
    Step::DeleteSuccessor("successor-uid".into())
}

#[test]
fn a_ticket_moves_when_its_successor_runs_and_not_before() {
    let ready = Ticket {
        status: Some(told(step(&ticket(1, Pending), Some((&guardian(&ticket(1, Pending)), &node("n"))), None, 0))),
        ..ticket(1, Pending)
    };
    let (old, new) = (guardian(&ready), successor(&ready));
    let (here, there) = (cordoned(), node("m"));
    let made = step(&ready, Some((&old, &here)), None, 1);
    assert_eq!(made.step, Some(Step::CreateSuccessor("korder-guardian-0".into())));
    let starting = unplaced(new.clone());
    assert_eq!(step(&ready, Some((&old, &here)), Some((&starting, None)), 1).step, None);
    let status = told(step(&ready, Some((&old, &here)), Some((&new, Some(&there))), 1));
    assert_eq!((status.phase, status.node_name.as_deref()), (Some(Ready), Some("m")));
    assert_eq!((&status.ready_time, &status.expiration_time), (&Some(Time(at(0))), &Some(Time(at(3600)))));
    let moved = Ticket { status: Some(status), ..ready.clone() };
    let note = "from node `n` to node `m`, where guardian `o-1-guardian-2` holds the place";
    assert_eq!(super::moved(&ready, &moved).as_deref(), Some(note));
    assert_eq!((moved.guardian_name(), moved.successor_name()), (new.name().into(), old.name().into()));
    // Now the old one is nobody's, and the next move has its name.
    let removed = step(&moved, Some((&new, &there)), Some((&old, Some(&here))), 2);
    assert_eq!(removed.step, Some(Step::DeleteSuccessor("o-1-guardian-uid".into())));
    assert_eq!(step(&moved, Some((&new, &there)), None, 3).step, None);
    assert_eq!(super::moved(&moved, &moved), None);
}

#[test]
fn where_it_fits_nowhere_else_the_ticket_stays_ready_and_says_so_once() {
    let ready = ticket(1, Ready);
    let (old, new) = (guardian(&ready), refused(successor(&ready)));
    let here = cordoned();
    let plan = step(&ready, Some((&old, &here)), Some((&new, None)), 1);
    assert_eq!(written(&plan), (Ready, "NoOtherPlace".into()));
    let status = told(plan);
    assert_eq!((status.node_name.as_deref(), status.conditions[0].status.as_str()), (Some("n"), "True"));
    let waiting = Ticket { status: Some(status), ..ready };
    assert_eq!(step(&waiting, Some((&old, &here)), Some((&new, None)), 99).step, None);
    // The node is used again: the successor goes, then nothing is left of it.
    let back = step(&waiting, Some((&old, &node("n"))), Some((&new, None)), 100);
    assert_eq!(back.step, Some(remove()));
    assert_eq!(written(&step(&waiting, Some((&old, &node("n"))), None, 101)), (Ready, "Held".into()));
}

#[test]
fn a_successor_that_takes_its_time_is_told_of() {
    let ready = ticket(1, Ready);
    let (old, new) = (guardian(&ready), unplaced(successor(&ready)));
    let here = cordoned();
    assert_eq!(step(&ready, Some((&old, &here)), Some((&new, None)), 1).wake, Some(at(2)));
    let plan = step(&ready, Some((&old, &here)), Some((&new, None)), 2);
    assert_eq!(written(&plan), (Ready, "Moving".into()));
    let moving = Ticket { status: Some(told(plan)), ..ready };
    assert_eq!(step(&moving, Some((&old, &here)), Some((&new, None)), 9).step, None);
    assert_eq!(
        written(&step(&moving, Some((&old, &here)), Some((&refused(new), None)), 9)),
        (Ready, "NoOtherPlace".into())
    );
}

#[test]
fn what_can_t_be_made_is_told_and_the_ticket_stays_ready() {
    let ready = ticket(1, Ready);
    let (old, here) = (guardian(&ready), cordoned());
    let guardian = Some(Place { pod: &old, node: Some(&here) });
    let no_class = Observed { guardian, priority: None, ..seen(&ready, None) };
    assert_eq!(written(&plan(&no_class, at(1))), (Ready, "GuardianRefused".into()));
    let no_twin = Observed { guardian, twin_exists: false, ..seen(&ready, None) };
    assert_eq!(plan(&no_twin, at(1)).step, Some(Step::CreateTwin(0)));
    let mut foreign = successor(&ready);
    foreign.tickets.clear();
    let in_the_way = step(&ready, Some((&old, &here)), Some((&foreign, None)), 1);
    assert_eq!(written(&in_the_way), (Ready, "GuardianRefused".into()));
    // Nobody else's pod is removed, either.
    let held = Ticket { status: Some(told_held()), ..ready };
    assert_eq!(step(&held, Some((&old, &node("n"))), Some((&foreign, None)), 1).step, None);
}

#[test]
fn a_successor_that_is_of_no_use_is_made_anew() {
    let ready = ticket(1, Ready);
    let (old, new) = (guardian(&ready), successor(&ready));
    let here = cordoned();
    let mut failed = new.clone();
    failed.status.phase = "Failed".into();
    assert_eq!(step(&ready, Some((&old, &here)), Some((&failed, Some(&node("m")))), 1).step, Some(remove()));
    assert_eq!(step(&ready, Some((&old, &here)), Some((&new, Some(&here))), 1).step, Some(remove()));
    let mut small = new.clone();
    small.spec.requests = crate::resources::Amounts::default();
    let too_small = |now| step(&ready, Some((&old, &here)), Some((&small, Some(&node("m")))), now);
    assert_eq!((written(&too_small(29)), too_small(29).wake), ((Ready, "GuardianTooSmall".into()), Some(at(30))));
    assert_eq!(too_small(30).step, Some(remove()));
    // Our view of its node may be late.
    assert_eq!(step(&ready, Some((&old, &here)), Some((&new, None)), 9).step, None);
    assert_eq!(step(&ready, Some((&old, &here)), Some((&new, None)), 10).step, Some(remove()));
    assert_eq!(step(&ready, Some((&old, &here)), Some((&ending(new), None)), 10).step, None);
}

#[test]
fn what_is_not_to_be_moved_stays() {
    let old = guardian(&ticket(1, Ready));
    let left = |change: &dyn Fn(&mut Ticket), node: &Node| {
        let mut ready = ticket(1, Ready);
        change(&mut ready);
        step(&ready, Some((&old, node)), None, 1).step.is_some()
    };
    // (Without a written reason there would be a status to write.)
    let settled = |ready: &mut Ticket| ready.status = Some(told_held());
    assert!(left(&settled, &cordoned()));
    assert!(left(&settled, &tainted("karpenter.sh/disrupted", None)));
    assert!(left(&settled, &tainted("ToBeDeletedByClusterAutoscaler", Some(0))));
    assert!(!left(&settled, &node("n")));
    let pinned = |spec: &mut TicketSpec| spec.disruption = Some(Disruption::Pinned);
    let named = |spec: &mut TicketSpec| spec.node_name = Some("n".into());
    let tolerant = |spec: &mut TicketSpec| {
        spec.tolerations = vec![Toleration { operator: Some("Exists".into()), ..Toleration::default() }];
    };
    for change in [pinned, named, tolerant] {
        let settled = |ready: &mut Ticket| {
            *ready = Ticket { status: Some(told_held()), ..with_spec(ready.clone(), change) };
        };
        assert!(!left(&settled, &cordoned()));
    }
}

/// The status of a ready ticket, as it is written.
fn told_held() -> TicketStatus {
    let ready = ticket(1, Ready);
    held_status(&ready, &guardian(&ready), at(0))
}

#[test]
fn a_silent_node_is_left_after_a_minute() {
    let ready = Ticket { status: Some(told_held()), ..ticket(1, Ready) };
    let old = guardian(&ready);
    for key in ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"] {
        let silent = tainted(key, Some(100));
        assert_eq!(step(&ready, Some((&old, &silent)), None, 159), Plan::wait_until(at(160)), "{key}");
        let left = step(&ready, Some((&old, &silent)), None, 160).step;
        assert_eq!(left, Some(Step::CreateSuccessor("korder-guardian-0".into())), "{key}");
    }
}

#[test]
fn when_the_guardian_goes_first_the_successor_takes_its_part() {
    let ready = ticket(1, Ready);
    let new = successor(&ready);
    let (there, name) = (node("m"), new.name().to_owned());
    // It runs: the ticket was never without a place.
    for old in [None, Some(&ending(guardian(&ready)))] {
        let status = told(step(&ready, old.map(|old| (old, &there)), Some((&new, Some(&there))), 1));
        assert_eq!((status.phase, status.guardian_name.as_ref()), (Some(Ready), Some(&name)));
    }
    // It is on its way.
    let on_its_way = unplaced(new);
    let status = told(step(&ready, None, Some((&on_its_way, None)), 1));
    assert_eq!((status.phase, status.guardian_name.as_ref()), (Some(Pending), Some(&name)));
    // So it is where it is seen late.
    let status = told(step(&ticket(1, Pending), None, Some((&on_its_way, None)), 1));
    assert_eq!((status.phase, status.guardian_name.as_ref()), (Some(Pending), Some(&name)));
    // One that goes itself is of no use.
    let status = told(step(&ready, None, Some((&ending(on_its_way), None)), 1));
    assert_eq!((status.phase, status.guardian_name), (Some(Pending), None));
}

#[test]
fn a_ticket_that_waits_for_its_first_guardian_has_no_successor() {
    let pending = ticket(1, Pending);
    let (starting, new) = (unplaced(guardian(&pending)), unplaced(successor(&pending)));
    assert_eq!(step(&pending, Some((&starting, &node("n"))), Some((&new, None)), 1).step, Some(remove()));
}

#[test]
fn a_claim_wins_over_a_move_and_nothing_is_left_of_the_successor() {
    let old = guardian(&ticket(1, Claimed));
    for phase in [Claimed, Used, Expired] {
        let ticket = ticket(1, phase);
        let (new, here) = (successor(&ticket), cordoned());
        assert_eq!(
            step(&ticket, Some((&old, &here)), Some((&new, Some(&node("m")))), 1).step,
            Some(remove()),
            "{phase:?}"
        );
    }
    let claimed = ticket(1, Claimed);
    let back = given_back(&claimed, Some(&successor(&claimed)), "why", at(1));
    assert_eq!(back.phase, Some(Pending), "the successor is not the guardian");
}
