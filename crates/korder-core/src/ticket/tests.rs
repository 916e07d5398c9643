use std::sync::LazyLock;

use super::*;
use crate::fixtures::{at, claimant, ending, guardian, node, ticket, with_spec};
use crate::pod::Labels;

use TicketPhase::{Claimed, Expired, Lost, Pending, Ready, Used};

/// The node that everything is on.
static NODE: LazyLock<Node> = LazyLock::new(|| node("n"));

/// A pod on the node, which exists.
pub(super) fn on_node(pod: &Pod) -> Place<'_> {
    Place { pod, node: pod.spec.node_name.as_ref().map(|_| &*NODE) }
}

/// A pod on a node that does not exist.
fn stranded(pod: &Pod) -> Place<'_> {
    Place { pod, node: None }
}

pub(super) fn seen<'a>(ticket: &'a Ticket, guardian: Option<&'a Pod>) -> Observed<'a> {
    Observed {
        ticket,
        guardian: guardian.map(on_node),
        successor: None,
        claimant: None,
        priority: Some(0),
        twin_exists: true,
        counted: true,
    }
}

/// The phase and reason that the plan writes.
pub(super) fn written(plan: &Plan) -> (TicketPhase, String) {
    let Some(Step::WriteStatus(status)) = &plan.step else { panic!("no status is written: {plan:?}") };
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY).unwrap();
    (status.phase.unwrap(), ready.reason.clone())
}

fn new_ticket() -> Ticket {
    Ticket { status: None, ..ticket(1, Pending) }
}

#[test]
fn a_new_ticket_gets_the_twin_then_the_guardian_then_is_ready_with_its_clock_running() {
    let new = new_ticket();
    let without_twin = Observed { twin_exists: false, priority: Some(7), ..seen(&new, None) };
    assert_eq!(plan(&without_twin, at(0)).step, Some(Step::CreateTwin(7)));
    let with_twin = Observed { priority: Some(7), ..seen(&new, None) };
    assert_eq!(plan(&with_twin, at(0)).step, Some(Step::CreateGuardian("korder-guardian-7".into())));
    let guardian = guardian(&new);
    let ready = plan(&seen(&new, Some(&guardian)), at(5));
    assert_eq!(written(&ready), (Ready, "Held".into()));
    let Some(Step::WriteStatus(status)) = ready.step else { unreachable!() };
    assert_eq!(status.node_name.as_deref(), Some("n"));
    assert_eq!(status.expiration_time, Some(Time(at(5 + 3600))));
    let ready = Ticket { status: Some(*status), ..new.clone() };
    let settled = plan(&seen(&ready, Some(&guardian)), at(6));
    assert_eq!(settled, Plan { step: None, wake: Some(at(3605)) });
}

#[test]
fn ready_means_running_on_a_node_that_exists() {
    let ready = ticket(1, Ready);
    let running = guardian(&ready);
    let leaving = ending(running.clone());
    let mut failed = running.clone();
    failed.status.phase = "Failed".into();
    let gone = (Pending, "GuardianGone".to_owned());
    assert_eq!(written(&plan(&seen(&ready, None), at(9))), gone);
    assert_eq!(written(&plan(&seen(&ready, Some(&leaving)), at(9))), gone);
    assert_eq!(written(&plan(&seen(&ready, Some(&failed)), at(9))), gone);
    let no_node = Observed { guardian: Some(stranded(&running)), ..seen(&ready, None) };
    assert_eq!(written(&plan(&no_node, at(9))), gone);
}

#[test]
fn a_dead_guardian_is_removed_and_one_that_is_leaving_waited_for() {
    let pending = ticket(1, Pending);
    let mut dead = guardian(&pending);
    dead.status.phase = "Failed".into();
    let remove = Some(Step::DeleteGuardian("o-1-guardian-uid".into()));
    assert_eq!(plan(&seen(&pending, Some(&dead)), at(9)).step, remove);
    assert_eq!(plan(&seen(&pending, Some(&ending(dead))), at(9)).step, None);
    let running = guardian(&pending);
    let no_node = Observed { guardian: Some(stranded(&running)), ..seen(&pending, None) };
    assert_eq!(plan(&no_node, at(9)), Plan { step: None, wake: Some(at(11)) });
    assert_eq!(plan(&no_node, at(10)).step, remove);
}

#[test]
fn the_time_goes_on_when_a_guardian_is_replaced() {
    let mut pending = ticket(1, Ready);
    pending.status.as_mut().unwrap().phase = Some(Pending);
    let guardian = guardian(&pending);
    let Some(Step::WriteStatus(status)) = plan(&seen(&pending, Some(&guardian)), at(1000)).step else { panic!() };
    assert_eq!((status.ready_time, status.expiration_time), (Some(Time(at(0))), Some(Time(at(3600)))));
}

#[test]
fn only_unclaimed_tickets_expire_and_then_the_guardian_goes_before_the_ticket() {
    let ready = ticket(1, Ready);
    let guardian = guardian(&ready);
    assert_eq!(written(&plan(&seen(&ready, Some(&guardian)), at(3600))), (Expired, "Expired".into()));
    let late = at(100_000);
    let claimed = ticket(1, Claimed);
    assert_eq!(plan(&seen(&claimed, Some(&guardian)), late), Plan::default());
    let (used, pod) = (ticket(1, Used), claimant(1));
    let in_use = Observed { claimant: Some(&pod), ..seen(&used, None) };
    assert_eq!(plan(&in_use, late), Plan::default());

    let expired = ticket(1, Expired);
    let remove = Some(Step::DeleteGuardian("o-1-guardian-uid".into()));
    assert_eq!(plan(&seen(&expired, Some(&guardian)), at(3600)).step, remove);
    assert_eq!(plan(&seen(&expired, None), at(3601)), Plan { step: None, wake: Some(at(3900)) });
    assert_eq!(plan(&seen(&expired, None), at(3900)).step, Some(Step::DeleteTicket));
    let uncounted = Observed { counted: false, ..seen(&expired, None) };
    assert_eq!(plan(&uncounted, late), Plan::default());
}

#[test]
fn a_used_ticket_ends_with_its_pod_and_is_kept_for_its_time() {
    let lifecycle = Lifecycle { ttl_seconds_after_finished: Some(60), ..Lifecycle::default() };
    let mut used = with_spec(ticket(1, Used), |spec| spec.lifecycle = Some(lifecycle));
    let ended = plan(&seen(&used, None), at(50));
    assert_eq!(written(&ended), (Used, "PodEnded".into()));
    let Some(Step::WriteStatus(status)) = ended.step else { unreachable!() };
    used.status = Some(*status);
    assert_eq!(plan(&seen(&used, None), at(60)).wake, Some(at(110)));
    assert_eq!(plan(&seen(&used, None), at(110)).step, Some(Step::DeleteTicket));
    let used = with_spec(used, |spec| spec.lifecycle.as_mut().unwrap().cleanup_policy = Some(CleanupPolicy::Retain));
    assert_eq!(plan(&seen(&used, None), at(100_000)), Plan::default());
}

#[test]
fn a_pod_that_is_going_still_has_the_place() {
    let (used, pod) = (ticket(1, Used), ending(claimant(1)));
    let seen = Observed { claimant: Some(&pod), ..seen(&used, None) };
    assert_eq!(plan(&seen, at(50)), Plan::default());
}

#[test]
fn what_can_t_be_made_is_said_once() {
    let pending = new_ticket();
    let no_class = Observed { priority: None, ..seen(&pending, None) };
    let refusal = plan(&no_class, at(0));
    assert_eq!(written(&refusal), (Pending, "GuardianRefused".into()));
    let Some(Step::WriteStatus(status)) = refusal.step else { unreachable!() };
    let told = Ticket { status: Some(*status), ..pending.clone() };
    assert_eq!(plan(&Observed { priority: None, ..seen(&told, None) }, at(9)).step, None);

    let mut foreign = guardian(&pending);
    foreign.tickets.clear();
    let in_the_way = plan(&seen(&pending, Some(&foreign)), at(0));
    assert_eq!(written(&in_the_way), (Pending, "GuardianRefused".into()));
    assert!(in_the_way.wake.is_some(), "nothing tells when that pod goes");
}

#[test]
fn a_guardian_without_a_place_is_quiet_for_a_moment_unless_the_scheduler_has_spoken() {
    let new = new_ticket();
    let mut waiting = guardian(&new);
    waiting.spec.node_name = None;
    waiting.status.phase = "Pending".into();
    assert_eq!(plan(&seen(&new, Some(&waiting)), at(1)), Plan { step: None, wake: Some(at(2)) });
    assert_eq!(written(&plan(&seen(&new, Some(&waiting)), at(2))), (Pending, "Starting".into()));
    waiting.status.conditions.push(crate::pod::PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: "Unschedulable".into(),
        message: "0/1 nodes".into(),
        last_transition_time: None,
        last_probe_time: None,
    });
    assert_eq!(written(&plan(&seen(&new, Some(&waiting)), at(1))), (Pending, "Unschedulable".into()));
}

#[test]
fn given_back_it_is_ready_only_while_the_guardian_runs() {
    let claimed = ticket(1, Claimed);
    let guardian = guardian(&claimed);
    let back = given_back(&claimed, Some(&guardian), "why", at(9));
    assert_eq!((back.phase, back.claim_ref), (Some(Ready), None));
    for lost in [None, Some(&ending(guardian))] {
        let back = given_back(&claimed, lost, "why", at(9));
        assert_eq!((back.phase, back.claim_ref, back.node_name), (Some(Pending), None, None));
    }
}

#[test]
fn a_ticket_that_is_being_deleted_is_left_alone() {
    for phase in [Pending, Ready, Claimed, Used, Expired, Lost] {
        let mut deleted = ticket(1, phase);
        deleted.metadata.deletion_timestamp = Some(Time(at(1)));
        assert_eq!(plan(&seen(&deleted, None), at(100_000)), Plan::default(), "{phase:?}");
    }
}

#[test]
fn a_guardian_that_does_not_start_says_why_once() {
    let mut waiting = guardian(&new_ticket());
    waiting.status.phase = "Pending".into();
    let held_up = |reason: &str| crate::pod::ContainerStatus {
        state: crate::pod::ContainerState { waiting: Some(crate::pod::Waiting { reason: reason.into() }) },
    };
    waiting.status.container_statuses = vec![held_up("ErrImagePull")];
    let unschedulable = Ticket { status: Some(pending(&new_ticket(), "Unschedulable", "", at(0))), ..new_ticket() };
    let first = plan(&seen(&unschedulable, Some(&waiting)), at(9));
    let Some(Step::WriteStatus(status)) = first.step else { panic!() };
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY).unwrap();
    assert_eq!(ready.message, "the guardian does not start: ErrImagePull");
    let told = Ticket { status: Some(*status), ..new_ticket() };
    waiting.status.container_statuses = vec![held_up("ImagePullBackOff")];
    assert_eq!(plan(&seen(&told, Some(&waiting)), at(9)), Plan::default());
}

#[test]
fn a_guardian_that_does_not_go_costs_its_ticket() {
    let pending = ticket(1, Pending);
    let mut stuck = ending(guardian(&pending));
    stuck.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    // It was deleted at 20.
    assert_eq!(plan(&seen(&pending, Some(&stuck)), at(49)), Plan { step: None, wake: Some(at(50)) });
    assert_eq!(written(&plan(&seen(&pending, Some(&stuck)), at(50))), (Lost, "Lost".into()));
    stuck.metadata.deletion_grace_period_seconds = Some(30);
    let uid = stuck.uid().to_owned();
    assert_eq!(plan(&seen(&pending, Some(&stuck)), at(21)).step, Some(Step::DeleteGuardian(uid)));
}

#[test]
fn a_deletion_that_was_not_done_is_asked_for_again_unless_it_has_time_or_a_finalizer() {
    let guardian = guardian(&ticket(1, Pending));
    assert_eq!(deleted_again_from(&guardian), None);
    // It was deleted at 20.
    let mut going = ending(guardian);
    assert_eq!(deleted_again_from(&going), Some(at(21)));
    going.metadata.deletion_grace_period_seconds = Some(0);
    assert_eq!(deleted_again_from(&going), Some(at(21)));
    going.metadata.deletion_grace_period_seconds = Some(30);
    assert_eq!(deleted_again_from(&going), None);
    going.metadata.deletion_grace_period_seconds = Some(0);
    going.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    assert_eq!(deleted_again_from(&going), None);
    assert_eq!(deleted_again_from(&ending(claimant(1))), None);
}

#[test]
fn a_pod_names_its_ticket_with_the_namespace_where_that_is_another_one() {
    let ticket = ticket(1, TicketPhase::Claimed);
    let mut pod = claimant(1);
    for (namespace, name) in [("default", "o-1"), ("team-a", "default/o-1")] {
        pod.metadata.namespace = Some(namespace.into());
        assert_eq!(name_for(&pod, &ticket), name);
        let written = name_for(&pod, &ticket);
        pod.metadata.annotations.get_or_insert_default().insert(names::ANNOTATION_BOUND_TICKET.into(), written);
        assert_eq!(named_on(&pod), Some(("default", "o-1")));
    }
}

#[test]
fn an_owner_reference_alone_makes_no_guardian() {
    let ticket = ticket(1, TicketPhase::Ready);
    let mut forged = guardian(&ticket);
    assert!(is_guardian_of(&forged, &ticket));
    forged.labels = Labels::default();
    assert!(!is_guardian_of(&forged, &ticket));
}

#[test]
fn the_class_of_guardians_has_the_value_of_their_claimants_and_never_preempts() {
    assert!(is_twin(5, Some("Never"), 5));
    assert!(!is_twin(6, Some("Never"), 5));
    assert!(!is_twin(5, Some("PreemptLowerPriority"), 5));
    assert!(!is_twin(5, None, 5));
}
