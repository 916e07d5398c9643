use korder_api::TicketPhase::{Claimed, Pending, Ready};
use korder_api::TicketStatus;

use super::*;
use crate::fixtures::{at, guardian, ticket};
use crate::resources::Amounts;
use crate::ticket::tests::{on_node, seen, written};
use crate::ticket::{Observed, Step, given_back, plan};

/// A pod with this many cores.
fn with_cores(mut pod: Pod, cores: &str) -> Pod {
    pod.spec.requests = Amounts::of(&[("cpu".to_owned(), cores.parse().unwrap())].into());
    pod
}

#[test]
fn a_ticket_whose_guardian_was_made_smaller_is_not_ready_and_the_guardian_is_replaced() {
    let ready = ticket(1, Ready);
    let shrunk = with_cores(guardian(&ready), "250m");
    let told = plan(&seen(&ready, Some(&shrunk)), at(100));
    assert_eq!(written(&told), (Pending, "GuardianTooSmall".into()));
    let Some(Step::WriteStatus(status)) = told.step else { unreachable!() };
    let message = &status.conditions.iter().find(|one| one.type_ == "Ready").unwrap().message;
    assert!(
        message.contains("guardian `o-1-guardian` requests less") && message.contains("250m requested"),
        "{message}"
    );
    let pending = Ticket { status: Some(*status), ..ready };
    let remove = Some(Step::DeleteGuardian("o-1-guardian-uid".into()));
    assert_eq!(plan(&seen(&pending, Some(&shrunk)), at(100)).step, remove);
}

#[test]
fn one_that_is_made_too_small_each_time_is_replaced_every_half_minute() {
    let pending = ticket(1, Pending);
    let small = with_cores(guardian(&pending), "250m");
    let told = plan(&seen(&pending, Some(&small)), at(1));
    assert_eq!((written(&told), told.wake), ((Pending, "GuardianTooSmall".into()), Some(at(30))));
    let Some(Step::WriteStatus(status)) = told.step else { unreachable!() };
    let told = Ticket { status: Some(*status), ..pending };
    let again = plan(&seen(&told, Some(&small)), at(29));
    assert_eq!((again.step, again.wake), (None, Some(at(30))), "it is said once");
    let remove = Some(Step::DeleteGuardian("o-1-guardian-uid".into()));
    assert_eq!(plan(&seen(&told, Some(&small)), at(30)).step, remove);
}

#[test]
fn a_successor_that_is_large_enough_takes_the_place_of_one_that_is_not() {
    let ready = ticket(1, Ready);
    let small = with_cores(guardian(&ready), "250m");
    let mut successor = guardian(&ready);
    successor.metadata.name = Some(ready.successor_name());
    let both = Observed { successor: Some(on_node(&successor)), ..seen(&ready, Some(&small)) };
    let Some(Step::WriteStatus(status)) = plan(&both, at(1)).step else { panic!() };
    assert_eq!((status.phase, status.guardian_name), (Some(Ready), Some(ready.successor_name())));
}

#[test]
fn one_that_was_made_larger_holds_its_place_and_that_is_told() {
    let told = |cores| -> String {
        let ready = ticket(1, Ready);
        let plan = plan(&seen(&ready, Some(&with_cores(guardian(&ready), cores))), at(1));
        assert_eq!(written(&plan), (Ready, "Held".into()));
        let Some(Step::WriteStatus(status)) = plan.step else { unreachable!() };
        status.conditions.iter().find(|one| one.type_ == "Ready").unwrap().message.clone()
    };
    assert_eq!(told("1"), "node `n` holds the place");
    let larger =
        "guardian `o-1-guardian` requests more than its ticket reserves (cpu: 2000m requested, 1000m reserved)";
    assert!(told("2").contains(larger), "{}", told("2"));
}

#[test]
fn what_is_given_back_to_a_guardian_that_is_too_small_is_not_ready() {
    let claimed = ticket(1, Claimed);
    let TicketStatus { phase, .. } = given_back(&claimed, Some(&with_cores(guardian(&claimed), "250m")), "why", at(9));
    assert_eq!(phase, Some(Pending));
}
