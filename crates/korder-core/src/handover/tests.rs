use super::*;
use crate::fixtures::{at, claimant, ending, guardian, node, nominated, ticket, ungated};
use korder_api::TicketPhase;

/// A claimed ticket with its pods, in a stage of its hand-over.
struct Case {
    ticket: Ticket,
    claimant: Option<Pod>,
    guardian: Option<Pod>,
    node: Option<Node>,
    rival: Option<Ticket>,
    group_is_seated: bool,
    scheduler: Scheduler,
}

impl Case {
    fn claimed(number: i64) -> Self {
        let ticket = ticket(number, TicketPhase::Claimed);
        Self {
            guardian: Some(guardian(&ticket)),
            node: Some(node("n")),
            claimant: Some(claimant(number)),
            ticket,
            rival: None,
            group_is_seated: true,
            scheduler: Scheduler::Unknown,
        }
    }

    fn pod(mut self, change: impl FnOnce(Pod) -> Pod) -> Self {
        self.claimant = self.claimant.map(change);
        self
    }

    fn nominated(self) -> Self {
        let ticket = self.ticket.clone();
        self.pod(|pod| nominated(pod, &ticket))
    }

    fn leaving(self) -> Self {
        let mut case = self.nominated();
        case.guardian = case.guardian.map(ending);
        case
    }

    fn free(self) -> Self {
        Self { guardian: None, ..self.nominated() }
    }

    fn ungated(self) -> Self {
        let ticket = self.ticket.metadata.name.clone().unwrap();
        self.free().pod(ungated).pod(|mut pod| {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ANNOTATION_BOUND_TICKET.into(), ticket);
            pod
        })
    }

    fn bound(self, node: &str) -> Self {
        self.ungated().pod(|mut pod| {
            pod.spec.node_name = Some(node.into());
            pod
        })
    }
}

fn actions(cases: &[Case], now: Timestamp) -> Vec<(usize, Action)> {
    let claims: Vec<Claim<'_>> = cases
        .iter()
        .map(|case| Claim {
            ticket: &case.ticket,
            claimant: case.claimant.as_ref(),
            guardian: case.guardian.as_ref(),
            node: case.node.as_ref(),
            rival: case.rival.as_ref(),
            group_is_seated: case.group_is_seated,
            scheduler: &case.scheduler,
        })
        .collect();
    plan(&claims, now).steps.into_iter().map(|step| (step.claim, step.action)).collect()
}

/// Claims in the fixtures are made at 10.
const SOON: i64 = 11;

#[test]
fn each_stage_of_one_claim_has_its_one_step() {
    let claimed = || Case::claimed(1);
    let table = vec![
        (claimed(), vec![(0, Action::Nominate)]),
        (claimed().nominated(), vec![(0, Action::RemoveGuardian)]),
        (claimed().leaving(), vec![]),
        (claimed().free(), vec![(0, Action::Ungate)]),
        (claimed().ungated(), vec![]),
        (claimed().bound("n"), vec![(0, Action::Use)]),
    ];
    for (index, (case, expected)) in table.into_iter().enumerate() {
        assert_eq!(actions(&[case], at(SOON)), expected, "stage {index}");
    }
}

#[test]
fn a_batch_goes_through_each_stage_together() {
    let claimed = Case::claimed;
    // Nobody's guardian goes before the last is nominated, nobody's gate before the last guardian is gone.
    assert_eq!(actions(&[claimed(1), claimed(2).nominated()], at(SOON)), [(0, Action::Nominate)]);
    let both = [(0, Action::RemoveGuardian), (1, Action::RemoveGuardian)];
    assert_eq!(actions(&[claimed(1).nominated(), claimed(2).nominated()], at(SOON)), both);
    assert_eq!(actions(&[claimed(1).free(), claimed(2).nominated()], at(SOON)), [(1, Action::RemoveGuardian)]);
    assert_eq!(actions(&[claimed(1).free(), claimed(2).leaving()], at(SOON)), []);
    let both = [(0, Action::Ungate), (1, Action::Ungate)];
    assert_eq!(actions(&[claimed(1).free(), claimed(2).free()], at(SOON)), both);
}

#[test]
fn the_next_batch_waits_until_the_last_is_bound() {
    let claimed = Case::claimed;
    assert_eq!(actions(&[claimed(1).ungated(), claimed(2)], at(SOON)), []);
    assert_eq!(actions(&[claimed(1).ungated(), claimed(2).free()], at(SOON)), []);
    assert_eq!(actions(&[claimed(1).free(), claimed(2)], at(SOON)), [(0, Action::Ungate)]);
    assert_eq!(actions(&[claimed(1).bound("n"), claimed(2)], at(SOON)), [(0, Action::Use), (1, Action::Nominate)]);
}

#[test]
fn a_claim_whose_pod_is_not_to_come_is_given_back() {
    let given_back = |case: Case| matches!(actions(&[case], at(SOON))[..], [(0, Action::GiveBack(_))]);
    let withdrawn = |case: Case| matches!(actions(&[case], at(SOON))[..], [(0, Action::Withdraw(..))]);
    assert!(given_back(Case { claimant: None, ..Case::claimed(1) }), "gone");
    assert!(given_back(Case::claimed(1).pod(ending)), "ending");
    assert!(given_back(Case::claimed(1).pod(ungated)), "ungated by hand");
    // A pod that believes that it has the ticket is told first.
    assert!(withdrawn(Case::claimed(1).bound("m")), "bound elsewhere");
    let unpromised = Case::claimed(1).bound("m").pod(|mut pod| {
        pod.status.conditions.clear();
        pod
    });
    assert!(given_back(unpromised), "bound elsewhere and told");
    let mut failed = Case::claimed(1).nominated();
    failed.guardian.as_mut().unwrap().status.phase = "Failed".into();
    assert!(withdrawn(failed), "guardian evicted");
    assert!(given_back(Case { guardian: None, ..Case::claimed(1) }), "guardian lost");
    let mut shrunk = Case::claimed(1);
    shrunk.guardian.as_mut().unwrap().spec.requests = crate::resources::Amounts::default();
    assert!(given_back(shrunk), "guardian made smaller");
    let other = ticket(2, TicketPhase::Claimed);
    assert!(given_back(Case { ticket: other, ..Case::claimed(1).bound("n") }), "bound by another ticket");
}

#[test]
fn a_pod_that_ended_quickly_has_still_used_its_ticket() {
    let done = Case::claimed(1).bound("n").pod(|mut pod| {
        pod.status.phase = "Succeeded".into();
        pod
    });
    assert_eq!(actions(&[done], at(SOON)), [(0, Action::Use)]);
}

#[test]
fn after_the_deadline_the_nomination_is_withdrawn_then_the_place_given_back() {
    let late = at(10) + DEADLINE;
    for case in [Case::claimed(1).leaving(), Case::claimed(1).free()] {
        let steps = actions(&[case], late);
        assert!(matches!(steps[..], [(0, Action::Withdraw(..))]), "{steps:?}");
    }
    let withdrawn = Case { guardian: None, ..Case::claimed(1) };
    assert!(matches!(actions(&[withdrawn], late)[..], [(0, Action::GiveBack(_))]));
    let withdrawn = Case { guardian: None, ..Case::claimed(1).pod(ungated) };
    assert!(matches!(actions(&[withdrawn], late)[..], [(0, Action::GiveBack(_))]));
}

#[test]
fn a_pod_that_the_scheduler_has_not_come_to_keeps_its_place_for_longer() {
    let untried = || Case::claimed(1).ungated();
    assert_eq!(actions(&[untried()], at(10) + DEADLINE), []);
    assert!(matches!(actions(&[untried()], at(10) + UNTRIED_DEADLINE)[..], [(0, Action::Withdraw(..))]));
    let withdrawn = || Case { guardian: None, ..Case::claimed(1).pod(ungated) };
    assert!(matches!(actions(&[withdrawn()], at(10) + UNTRIED_DEADLINE)[..], [(0, Action::GiveBack(_))]));
}

#[test]
fn a_pod_that_the_scheduler_refuses_is_given_a_moment() {
    let refused = || {
        Case::claimed(1).ungated().pod(|mut pod| {
            pod.status.conditions.push(crate::pod::PodCondition {
                type_: "PodScheduled".into(),
                status: "False".into(),
                reason: "Unschedulable".into(),
                ..crate::pod::PodCondition::default()
            });
            pod
        })
    };
    assert_eq!(actions(&[refused()], at(SOON)), []);
    let nominated = refused().claimant.unwrap().status.conditions[0].last_transition_time.clone().unwrap().0;
    assert!(matches!(actions(&[refused()], nominated + REFUSED_GRACE)[..], [(0, Action::Withdraw(..))]));
    // However long its turn on the node took to come.
    let late = |mut case: Case| {
        case.ticket.status.as_mut().unwrap().claim_ref.as_mut().unwrap().time.0 = nominated - REFUSED_GRACE * 2;
        case
    };
    assert_eq!(actions(&[late(refused())], nominated + SignedDuration::from_secs(1)), []);
}

#[test]
fn of_two_claims_for_one_pod_the_promised_stays_else_the_first() {
    let rival = |number: i64| Some(ticket(number, TicketPhase::Claimed));
    let gives_way = |case: Case| matches!(actions(&[case], at(SOON))[..], [(0, Action::GiveBack(_))]);
    assert!(gives_way(Case { rival: rival(1), ..Case::claimed(2) }));
    assert!(!gives_way(Case { rival: rival(3), ..Case::claimed(2) }));
    assert!(!gives_way(Case { rival: rival(1), ..Case::claimed(2).nominated() }));
    let promised = ticket(3, TicketPhase::Claimed);
    let elsewhere = Case::claimed(2).pod(|pod| nominated(pod, &promised));
    assert!(gives_way(Case { rival: Some(promised), ..elsewhere }));
}

#[test]
fn a_claim_whose_turn_does_not_come_is_given_back() {
    assert!(matches!(actions(&[Case::claimed(1)], at(10) + DEADLINE)[..], [(0, Action::GiveBack(_))]));
}

#[test]
fn the_plan_wakes_at_the_next_deadline() {
    let case = Case::claimed(1).ungated();
    let claim = Claim {
        ticket: &case.ticket,
        claimant: case.claimant.as_ref(),
        guardian: None,
        node: case.node.as_ref(),
        rival: None,
        group_is_seated: true,
        scheduler: &case.scheduler,
    };
    assert_eq!(plan(&[claim], at(SOON)).wake, Some(at(15)));
    assert_eq!(plan(&[claim], at(15)).wake, Some(at(40)));
    assert_eq!(plan(&[claim], at(40)).wake, Some(at(310)));
}

impl Case {
    /// The scheduler leads in this term.
    fn led(self, term: &str) -> Self {
        Self { scheduler: Scheduler::Leads { term: term.into(), since: None }, ..self }
    }

    /// The scheduler was told in this term.
    fn told(self, term: &str) -> Self {
        self.pod(|mut pod| {
            let annotations = pod.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ANNOTATION_SCHEDULER_TERM.into(), term.into());
            pod
        })
    }
}

#[test]
fn what_an_ending_pod_was_promised_is_withdrawn_before_others_are_let_go() {
    let steps = actions(&[Case::claimed(1).free(), Case::claimed(2).free().pod(ending)], at(SOON));
    assert_eq!(steps, [(1, Action::Withdraw(reasons::TICKET_LOST, ENDING))]);
    let steps = actions(&[Case::claimed(1).free(), Case::claimed(2).pod(ending)], at(SOON));
    assert_eq!(steps, [(0, Action::Ungate), (1, Action::GiveBack(ENDING))]);
}

#[test]
fn a_scheduler_that_has_begun_since_is_told_before_a_guardian_goes() {
    let nominated = |number| Case::claimed(number).nominated().led("b/2");
    let value = "b/2 since 2027-01-15T08:00:11Z".to_owned();
    let touch = || Action::Touch(value.clone());
    assert_eq!(actions(&[nominated(1).told("b/2")], at(SOON)), [(0, Action::RemoveGuardian)]);
    assert_eq!(actions(&[nominated(1).told("a/1")], at(SOON)), [(0, touch())]);
    // One that does not know of one claim of the batch would give its place to another pod.
    assert_eq!(actions(&[nominated(1).told("a/1"), nominated(2).told("b/2")], at(SOON)), [(0, touch())]);
    assert_eq!(actions(&[nominated(1).told(&value), nominated(2).told("b/2")], at(SOON)), []);
    let settled = at(SOON) + crate::scheduler::SETTLE;
    assert_eq!(actions(&[nominated(1).told(&value)], settled), [(0, Action::Touch("b/2".into()))]);
    let leaving = Case::claimed(1).leaving().led("b/2").told("a/1");
    assert_eq!(actions(&[leaving], at(SOON)), [(0, touch())]);
    // It will know by the ungating.
    assert_eq!(actions(&[Case::claimed(1).free().led("b/2").told("a/1")], at(SOON)), [(0, Action::Ungate)]);
}

#[test]
fn while_nobody_schedules_no_guardian_goes() {
    let waiting = Case { scheduler: Scheduler::Away, ..Case::claimed(1).nominated().told("a/1") };
    assert_eq!(actions(&[waiting], at(SOON)), []);
}

#[test]
fn the_plan_wakes_when_a_new_scheduler_has_had_its_time() {
    let case = Case::claimed(1).nominated().led("b/2").told("b/2 since 2027-01-15T08:00:11Z");
    let Case { ticket, claimant, guardian, node, scheduler, .. } = &case;
    let claim = Claim {
        ticket,
        claimant: claimant.as_ref(),
        guardian: guardian.as_ref(),
        node: node.as_ref(),
        rival: None,
        group_is_seated: true,
        scheduler,
    };
    assert_eq!(plan(&[claim], at(SOON)).wake, Some(at(SOON) + crate::scheduler::SETTLE));
}

impl Case {
    /// The pod was let go for another ticket, and did not get that place.
    fn lost_before(self) -> Self {
        self.pod(ungated).pod(|pod| with_reason(pod, reasons::PLACE_LOST))
    }

    /// Its second nomination.
    fn nominated_again(self) -> Self {
        self.lost_before().nominated().pod(|pod| with_reason(pod, reasons::CLAIMED_AGAIN))
    }
}

fn with_reason(mut pod: Pod, reason: &str) -> Pod {
    pod.status.conditions.retain(|condition| condition.type_ != names::CONDITION_TICKET_BOUND);
    let case = Case::claimed(1).nominated();
    let mut condition = case.claimant.unwrap().status.conditions.remove(0);
    condition.reason = reason.into();
    condition.status = if reason == reasons::CLAIMED_AGAIN { "True" } else { "False" }.into();
    pod.status.conditions.push(condition);
    pod
}

#[test]
fn a_pod_that_lost_its_place_goes_through_the_stages_once_more_without_a_gate() {
    let lost = || Case::claimed(1).lost_before();
    assert!(may_try_again(&lost().claimant.unwrap()));
    assert_eq!(nomination_reason(&lost().claimant.unwrap()), reasons::CLAIMED_AGAIN);
    assert_eq!(actions(&[lost()], at(SOON)), [(0, Action::Nominate)]);
    let again = || Case::claimed(1).nominated_again();
    assert!(!may_try_again(&again().claimant.unwrap()));
    assert_eq!(actions(&[again()], at(SOON)), [(0, Action::RemoveGuardian)]);
    let freed = || Case { guardian: None, ..again() };
    assert_eq!(actions(&[freed()], at(SOON)), [(0, Action::Ungate)]);
    let bound = |case: Case| {
        case.pod(|mut pod| {
            pod.spec.node_name = Some("n".into());
            pod
        })
    };
    // It was bound before its annotation said for which ticket.
    assert_eq!(actions(&[bound(freed())], at(SOON)), [(0, Action::Use)]);
    // It found another place on the same node.
    assert!(matches!(actions(&[bound(again())], at(SOON))[..], [(0, Action::Withdraw(..))]));
    let late = actions(&[freed()], at(10) + DEADLINE);
    assert!(matches!(late[..], [(0, Action::Withdraw(reasons::PLACE_LOST_AGAIN, _))]), "{late:?}");
    let third = with_reason(ungated(claimant(1)), reasons::PLACE_LOST_AGAIN);
    assert!(!may_try_again(&third));
}

#[test]
fn a_guardian_that_can_t_be_removed_costs_its_ticket_and_not_its_pod() {
    let late = at(10) + DEADLINE;
    let refused = |mut case: Case| {
        case.ticket.status = Some(ticket::not_removed(&case.ticket, "no", at(SOON)));
        case
    };
    for case in [Case::claimed(1).leaving(), refused(Case::claimed(1).nominated())] {
        let steps = actions(&[case], late);
        assert!(matches!(steps[..], [(0, Action::Withdraw(reasons::TICKET_LOST, _))]), "{steps:?}");
    }
    let held = |mut case: Case| {
        case.guardian = case.guardian.map(ending);
        case
    };
    for case in [held(Case::claimed(1)), refused(Case::claimed(1))] {
        assert_eq!(actions(&[case], late), [(0, Action::Lose(STUCK))]);
    }
    assert_eq!(actions(&[refused(Case::claimed(1).nominated())], at(SOON)), [(0, Action::RemoveGuardian)]);
}

#[test]
fn the_free_places_of_a_batch_do_not_wait_for_one_whose_guardian_stays() {
    let refused = |mut case: Case| {
        case.ticket.status = Some(ticket::not_removed(&case.ticket, "no", at(SOON)));
        case
    };
    let told = |case: Case| {
        case.pod(|mut pod| {
            pod.status.nominated_node_name = None;
            with_reason(pod, reasons::TICKET_LOST)
        })
    };
    let steps = actions(&[Case::claimed(1).free(), refused(Case::claimed(2).nominated())], at(SOON));
    // While that one is nominated still, beside its guardian, the scheduler would refuse those that are let go.
    assert!(matches!(steps[..], [(1, Action::Withdraw(reasons::TICKET_LOST, _))]), "{steps:?}");
    let steps = actions(&[Case::claimed(1).free(), refused(told(Case::claimed(2).nominated()))], at(SOON));
    assert_eq!(steps, [(0, Action::Ungate), (1, Action::Lose(STUCK))]);
    // One that somebody's finalizer keeps is given the time that others need.
    let leaving = || [Case::claimed(1).free(), Case::claimed(2).leaving()];
    let went =
        leaving()[1].guardian.as_ref().and_then(|guardian| guardian.metadata.deletion_timestamp.clone()).unwrap().0;
    assert_eq!(actions(&leaving(), went + HELD_UP - SignedDuration::from_secs(1)), []);
    let steps = actions(&leaving(), went + HELD_UP);
    assert!(matches!(steps[..], [(1, Action::Withdraw(reasons::TICKET_LOST, _))]), "{steps:?}");
}

#[test]
fn whose_gate_was_removed_by_hand_gets_no_second_ticket_for_it() {
    let by_hand = Case::claimed(1).nominated().pod(ungated);
    let steps = actions(&[by_hand], at(SOON));
    assert!(matches!(steps[..], [(0, Action::Withdraw(reasons::GATE_REMOVED, _))]), "{steps:?}");
    let told = Case::claimed(1).nominated().pod(ungated).pod(|pod| with_reason(pod, reasons::GATE_REMOVED));
    assert!(!may_try_again(told.claimant.as_ref().unwrap()));
}

#[test]
fn a_guardian_that_has_ended_holds_no_place_though_a_finalizer_keeps_it() {
    let mut ended = Case::claimed(1).leaving();
    ended.guardian.as_mut().unwrap().status.phase = "Succeeded".into();
    assert_eq!(actions(&[ended], at(SOON)), [(0, Action::Ungate)]);
}

/// Another leader has freed the place and let the pod go; of the one we know by a watch that is behind, of the other by a
/// live read.
#[test]
fn a_pod_that_was_let_go_is_believed_more_than_an_old_view_of_the_guardian() {
    let ungated = Case::claimed(1).ungated();
    let behind = Case { guardian: Case::claimed(1).guardian, ..ungated };
    assert_eq!(actions(&[behind], at(SOON)), []);
}

#[test]
fn a_claim_waits_for_its_group_and_nobody_waits_for_it() {
    let gathering = || Case { group_is_seated: false, ..Case::claimed(1) };
    assert_eq!(actions(&[gathering()], at(SOON)), []);
    assert_eq!(actions(&[gathering(), Case::claimed(2)], at(SOON)), [(1, Action::Nominate)]);
    assert_eq!(actions(&[gathering(), Case::claimed(2).nominated()], at(SOON)), [(1, Action::RemoveGuardian)]);
    let late = Action::GiveBack("its group did not come together in time");
    assert_eq!(actions(&[gathering()], at(10) + DEADLINE), [(0, late)]);
    // Once it is promised there is no way back for the others of the group.
    let begun = Case { group_is_seated: false, ..Case::claimed(1).nominated() };
    assert_eq!(actions(&[begun], at(SOON)), [(0, Action::RemoveGuardian)]);
}

#[test]
fn a_gated_pod_gets_no_place_on_a_node_that_takes_it_no_more() {
    let mut cordoned = node("n");
    cordoned.spec.unschedulable = true;
    for node in [None, Some(&cordoned)] {
        let with = |case: Case| Case { node: node.cloned(), ..case };
        assert_eq!(actions(&[with(Case::claimed(1))], at(SOON)), [(0, Action::GiveBack(CLOSED))]);
        let withdraw = [(0, Action::Withdraw(reasons::TICKET_LOST, CLOSED))];
        assert_eq!(actions(&[with(Case::claimed(1).nominated())], at(SOON)), withdraw);
        assert_eq!(actions(&[with(Case::claimed(1).leaving())], at(SOON)), withdraw);
        assert_eq!(actions(&[with(Case::claimed(1).free())], at(SOON)), withdraw);
        // One that was let go is where the scheduler puts it.
        assert_eq!(actions(&[with(Case::claimed(1).ungated())], at(SOON)), []);
    }
}

#[test]
fn a_pod_names_the_ticket_that_it_believes_to_have() {
    let case = Case::claimed(1);
    assert_eq!(promised_ticket(case.claimant.as_ref().unwrap()), None);
    let name = case.ticket.metadata.name.clone().unwrap();
    let nominated = case.nominated();
    let pod = nominated.claimant.as_ref().unwrap();
    assert_eq!(promised_ticket(pod), Some((pod.namespace(), name.as_str())));
    let mut far = nominated.ticket.clone();
    far.metadata.namespace = Some("far".into());
    let promised = crate::fixtures::nominated(claimant(1), &far);
    assert_eq!(promised_ticket(&promised), Some(("far", name.as_str())));
}
