//! Which waiting pod gets which ticket.
//!
//! Pods stand in line: higher priority first, then the older, then by uid. Each in turn takes, of the tickets that it
//! may have and that it fits, the one that it wastes least of, then the one that expires first. A group takes all its
//! tickets or none, and stands where the last of the pods stands that it needs: nobody is overtaken.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use korder_api::names;

use crate::ask::{Ask, Group, OnTimeout, Wanted};
use crate::fit::{Needs, World};
use crate::pod::Pod;
use crate::reasons;
use crate::ticket::Ticket;

mod seats;
mod shelf;

pub use shelf::{Candidate, Shelf};

/// A pod that has lost its place waits this long before it gets another: whatever went wrong may go wrong again, and
/// each try takes a guardian's place from the others.
const REST: SignedDuration = SignedDuration::from_secs(30);

/// Until when a pod is given no ticket, if it has just lost a place. One that was let go already needs its second ticket
/// before others take all places, and gets no third.
pub fn rests_until(pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    if !pod.is_gated() {
        return None;
    }
    let lost =
        pod.condition(names::CONDITION_TICKET_BOUND).filter(|condition| condition.reason == reasons::PLACE_LOST)?;
    Some(lost.last_transition_time.as_ref()?.0 + REST).filter(|&until| now < until)
}

/// Whether a pod has changed in nothing but the words in which it was told why it waits, such as its place in line: nobody's
/// ticket depends on those.
pub fn is_only_retold(old: &Pod, new: &Pod) -> bool {
    let told = |pod: &Pod| pod.status.conditions.iter().position(|told| told.type_ == names::CONDITION_TICKET_BOUND);
    let (Some(before), Some(after)) = (told(old), told(new)) else { return false };
    let (before, after) = (&old.status.conditions[before], &new.status.conditions[after]);
    if before.message == after.message || after.status != "False" {
        return false;
    }
    let mut silent = new.clone();
    for told in silent.status.conditions.iter_mut().filter(|told| told.type_ == names::CONDITION_TICKET_BOUND) {
        told.message.clone_from(&before.message);
        told.last_probe_time.clone_from(&before.last_probe_time);
    }
    silent.metadata.resource_version.clone_from(&old.metadata.resource_version);
    silent.metadata.managed_fields.clone_from(&old.metadata.managed_fields);
    silent == *old
}

/// What becomes of a waiting pod.
#[derive(Clone, Debug)]
pub enum Verdict<'a> {
    /// It gets this ticket.
    Claim(&'a Ticket),
    /// It waits.
    Wait(Wait),
    /// It goes on without a ticket.
    GoOn(Wait),
    /// It fails.
    Fail(Wait),
}

/// Why a pod has no ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In one CamelCase word.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Wait {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A pod that may be given a ticket now.
struct Applicant<'a> {
    pod: &'a Pod,
    ask: Ask<'a>,
}

/// What a pod in line gets, before it is known whether it waits for what it does not get.
enum Answer<'a> {
    Take(&'a Ticket),
    /// It stands in line for a ticket.
    InLine(Wait),
    /// What it waits for is not a ticket.
    Held(Wait),
}

/// Gives the tickets of a shelf to the pods in line; each pod's verdict, in the order of the line.
///
/// `seated` tells how many pods of a group have tickets already: a group of which some have, after a crash or when one of
/// its pods was replaced, needs only what is missing.
pub fn assign<'a>(
    mut shelf: Shelf<'a>,
    mut pods: Vec<&'a Pod>,
    world: &mut World<'a>,
    seated: impl Fn(Group<'a>) -> usize,
    now: Timestamp,
) -> Vec<(&'a Pod, Verdict<'a>)> {
    pods.sort_by_key(|pod| place_in_line(pod));
    let line: Vec<Result<Applicant<'a>, Wait>> = pods.iter().map(|pod| applicant(pod, world, now)).collect();
    let groups = Groups::of(&line, seated);
    let mut answers: Vec<Option<Answer<'a>>> = Vec::new();
    answers.resize_with(line.len(), || None);
    for (index, applicant) in line.iter().enumerate() {
        let applicant = match applicant {
            Ok(applicant) => applicant,
            Err(held) => {
                answers[index] = Some(Answer::Held(held.clone()));
                continue;
            }
        };
        let Some(group) = applicant.ask.group else {
            answers[index] = Some(shelf.take(applicant, world).map_or_else(Answer::InLine, |spot| shelf.ticket(spot)));
            continue;
        };
        match groups.turn(group, index) {
            Turn::Later => {}
            Turn::Incomplete(wait) => answers[index] = Some(Answer::Held(wait)),
            Turn::Now(members) => {
                let applicants: Vec<_> = members.iter().filter_map(|&member| line[member].as_ref().ok()).collect();
                match seats::seat_all(&mut shelf, world, &applicants) {
                    Ok(spots) => {
                        for (&member, spot) in members.iter().zip(spots) {
                            answers[member] = Some(shelf.ticket(spot));
                        }
                    }
                    Err(Wait { reason, message }) => {
                        let message = format!("group `{}` takes all its tickets or none: {message}", group.name);
                        for &member in members {
                            answers[member] = Some(Answer::InLine(Wait::new(reason, message.clone())));
                        }
                    }
                }
            }
        }
    }
    verdicts(&pods, &line, answers, now)
}

/// Numbers those that stay in line, and looks at what each said about waiting.
fn verdicts<'a>(
    pods: &[&'a Pod],
    line: &[Result<Applicant<'a>, Wait>],
    answers: Vec<Option<Answer<'a>>>,
    now: Timestamp,
) -> Vec<(&'a Pod, Verdict<'a>)> {
    let mut places: BTreeMap<Wanted<'a>, usize> = BTreeMap::new();
    let verdict = |((pod, applicant), answer): ((&&'a Pod, &Result<Applicant<'a>, Wait>), Option<Answer<'a>>)| {
        let verdict = match (answer, applicant) {
            (Some(Answer::Take(ticket)), _) => Verdict::Claim(ticket),
            (Some(Answer::InLine(mut wait)), Ok(applicant)) => {
                let place = places.entry(applicant.ask.wanted).or_default();
                if applicant.ask.required {
                    *place += 1;
                    wait.message = format!("{}; place {place} in line", wait.message);
                }
                without(pod, wait, now)
            }
            (Some(Answer::InLine(wait) | Answer::Held(wait)), _) => without(pod, wait, now),
            // Each group's last member answers for all; were there none, the pod would look again with the next pass.
            (None, _) => Verdict::Wait(Wait::new(reasons::GROUP_INCOMPLETE, "its group has not come together")),
        };
        (*pod, verdict)
    };
    pods.iter().zip(line).zip(answers).map(verdict).collect()
}

/// The pod as an applicant, or why it can't be given a ticket whichever there is.
fn applicant<'a>(pod: &'a Pod, world: &World<'_>, now: Timestamp) -> Result<Applicant<'a>, Wait> {
    let ask = Ask::of(pod).map_err(|error| Wait::new(reasons::INVALID_ANNOTATION, error.to_string()))?;
    if let Some(gate) = pod.spec.scheduling_gates.iter().find(|gate| gate.name != names::GATE) {
        let message = format!("the scheduling gate `{}` holds the pod back too", gate.name);
        return Err(Wait::new(reasons::OTHER_GATE, message));
    }
    if rests_until(pod, now).is_some() {
        // What it was told stays as it is.
        let told = pod.condition(names::CONDITION_TICKET_BOUND).map(|told| told.message.clone());
        return Err(Wait::new(reasons::PLACE_LOST, told.unwrap_or_default()));
    }
    match Needs::of(pod, world).misfit_anywhere() {
        Some(misfit) => Err(Wait::new(misfit.reason(), misfit.to_string())),
        None => Ok(Applicant { pod, ask }),
    }
}

/// What becomes of a pod that gets no ticket now.
fn without<'a>(pod: &Pod, wait: Wait, now: Timestamp) -> Verdict<'a> {
    let Ok(ask) = Ask::of(pod) else { return Verdict::Wait(wait) };
    if !ask.required {
        // Behind another gate it could not go on, and a ticket may come until that is gone.
        return if wait.reason == reasons::OTHER_GATE {
            Verdict::Wait(wait)
        } else {
            Verdict::GoOn(Wait::new(reasons::WITHOUT_TICKET, format!("goes on without a ticket: {}", wait.message)))
        };
    }
    let Some(timeout) = ask.timeout.filter(|timeout| timeout.due(pod).is_some_and(|due| due <= now)) else {
        return Verdict::Wait(wait);
    };
    // While it rests it keeps the condition that says since when.
    if timeout.then == OnTimeout::Wait && wait.reason == reasons::PLACE_LOST {
        return Verdict::Wait(wait);
    }
    let late = Wait::new(reasons::TIMED_OUT, format!("no ticket within `{}`: {}", timeout.text, wait.message));
    match timeout.then {
        OnTimeout::Wait => Verdict::Wait(late),
        OnTimeout::Fallback => Verdict::GoOn(late),
        OnTimeout::Fail => Verdict::Fail(late),
    }
}

/// The order of pods in line; the least is first.
fn place_in_line(pod: &Pod) -> (std::cmp::Reverse<i32>, Option<Timestamp>, &str) {
    (std::cmp::Reverse(pod.spec.priority.unwrap_or(0)), pod.created(), pod.uid())
}

/// The groups of a line.
struct Groups<'p>(BTreeMap<Group<'p>, Members>);

/// The pods of a group that wait, by their index in the line.
struct Members {
    waiting: Vec<usize>,
    /// How many of them the group needs.
    needed: usize,
}

/// Whether it is a group's turn.
enum Turn<'g> {
    /// When its last pod's is.
    Later,
    /// It is, for these pods.
    Now(&'g [usize]),
    /// Not before more pods come.
    Incomplete(Wait),
}

impl<'p> Groups<'p> {
    fn of(line: &[Result<Applicant<'p>, Wait>], seated: impl Fn(Group<'p>) -> usize) -> Self {
        let mut groups: BTreeMap<Group<'p>, Members> = BTreeMap::new();
        for (index, applicant) in line.iter().enumerate() {
            let Some(group) = applicant.as_ref().ok().and_then(|applicant| applicant.ask.group) else { continue };
            let members = groups.entry(group).or_insert_with(|| Members {
                waiting: vec![],
                // One that is whole counts no more: what comes after it is another one.
                needed: group.size - seated(group) % group.size,
            });
            members.waiting.push(index);
        }
        Self(groups)
    }

    fn turn(&self, group: Group<'p>, index: usize) -> Turn<'_> {
        let Some(Members { waiting, needed }) = self.0.get(&group) else { return Turn::Later };
        let extra = || waiting.iter().skip(*needed).any(|&waiting| waiting == index);
        if waiting.len() < *needed || extra() {
            let Group { name, size, .. } = group;
            let here = size - needed + waiting.len();
            let here = if waiting.len() < *needed { here } else { here - size };
            let message = format!("group `{name}` takes all its tickets or none: {here} of its {size} pods are here");
            return Turn::Incomplete(Wait::new(reasons::GROUP_INCOMPLETE, message));
        }
        if waiting[needed - 1] == index { Turn::Now(&waiting[..*needed]) } else { Turn::Later }
    }
}

#[cfg(test)]
mod tests;
