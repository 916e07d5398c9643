//! Why a pod has no ticket, and who could have a ticket, told by the rules that decide it.

use std::sync::Arc;

use jiff::Timestamp;
use korder_api::{Order, TicketPhase, names};
use serde::Serialize;

use crate::ask::{Ask, Group};
use crate::fit::{Needs, Surroundings, World};
use crate::handover;
use crate::matching::{Candidate, Shelf, Verdict, Wait, assign};
use crate::node::Node;
use crate::pod::Pod;
use crate::reasons;
use crate::ticket::{self, Ticket, is_the_guardian_of};

mod advice;

/// What there is, as far as whoever asks may see it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Orders.
    pub orders: &'a [Order],
    /// Tickets.
    pub tickets: &'a [Ticket],
    /// Everything else; see [`promised`].
    pub seen: &'a Surroundings,
    /// Whether the nodes are hidden from whoever asks: then nothing can be judged, and what the controllers have told
    /// last stands for it.
    pub without_nodes: bool,
}

/// Fills in which of the pods have been given a ticket, and which of them the scheduler looks for a place for.
#[must_use]
pub fn promised(mut seen: Surroundings, tickets: &[Ticket]) -> Surroundings {
    let claimed = tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Claimed);
    let places: Vec<(&str, &str)> =
        claimed.filter_map(|ticket| Some((ticket.claim()?.uid.as_str(), handover::node_of(ticket)?))).collect();
    let place = |pod: &Pod| places.iter().find(|(uid, _)| *uid == pod.uid()).map(|(_, node)| (*node).to_owned());
    seen.claimants = seen.pods.iter().filter_map(|pod| Some((Arc::clone(pod), place(pod)?))).collect();
    seen.pending = seen.pods.iter().filter(|pod| pod.is_pending() && place(pod).is_none()).cloned().collect();
    seen
}

/// What becomes of a pod, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodAnswer {
    /// Namespace and name.
    pub pod: String,
    /// What it asks for, in words; nothing where it asks for no ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks_for: Option<String>,
    /// In one `CamelCase` word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// How long it has been there, in seconds.
    pub age_seconds: i64,
    /// The ticket that it has, or that is given to it: namespace and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The node of that ticket's place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The tickets that it may ask for, and why it does not get each; those first that it could have.
    pub tickets: Vec<Judged>,
    /// How many more there are that are used up.
    pub tickets_used_up: usize,
    /// What would change it.
    pub advice: Vec<String>,
}

/// What becomes of a ticket, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketAnswer {
    /// Namespace and name.
    pub ticket: String,
    /// Its phase.
    pub phase: String,
    /// The node of its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// In one `CamelCase` word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// The pod that it is given to: namespace and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The pods that wait for such a ticket, first in line first, and why each does not get it.
    pub pods: Vec<Judged>,
}

/// A pair of pod and ticket, seen from one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Namespace and name of the other.
    pub name: String,
    /// Phase of the ticket.
    pub phase: String,
    /// The node of its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether the pod could have the ticket now.
    pub fits: bool,
    /// Why not, or what else decides.
    pub why: String,
}

impl<'a> Scene<'a> {
    /// What becomes of a pod.
    pub fn of_pod(&self, pod: &'a Pod, now: Timestamp) -> PodAnswer {
        let ask = Ask::of(pod).ok().filter(|_| pod.is_claimant());
        let Wait { reason, message } = self.state(pod, now);
        let (mut tickets, mut tickets_used_up) = (vec![], 0);
        if let Some(ask) = ask.as_ref().filter(|_| handover::waits(pod) && !pod.is_guardian()) {
            let rule = self.shelf([]);
            let offered = self.tickets.iter().filter(|ticket| rule.offers(ask.wanted, ticket));
            let (live, used_up): (Vec<_>, Vec<_>) = offered.partition(|ticket| advice::may_serve(ticket));
            tickets_used_up = used_up.len();
            tickets = live.into_iter().map(|ticket| self.judge(pod, ticket, now)).collect();
            // Within each group they stay in the order of their names.
            tickets.sort_by_key(|judged| (!judged.fits, judged.phase != TicketPhase::Ready.as_str()));
        }
        let has = self.tickets.iter().find(|ticket| ticket.claim().is_some_and(|claim| claim.uid == pod.uid()));
        let mut advice = advice::for_pod(self, pod, ask.as_ref(), reason);
        let (mut reason, mut message) = (reason.to_owned(), message);
        if self.without_nodes && handover::waits(pod) && self.claims_of(pod).next().is_none() {
            let told = pod.condition(names::CONDITION_TICKET_BOUND).filter(|told| told.status == "False");
            (reason, message) = told.map_or_else(
                || ("NotTold".to_owned(), "the controllers have not looked at it yet".to_owned()),
                |told| (told.reason.clone(), told.message.clone()),
            );
            advice =
                vec!["ask with an account that may list nodes: it is told why each ticket does not fit".to_owned()];
        }
        PodAnswer {
            pod: format!("{}/{}", pod.namespace(), pod.name()),
            asks_for: ask.map(|ask| ask.wanted.to_string()),
            reason,
            message,
            age_seconds: pod.created().map_or(0, |made| now.duration_since(made).as_secs()),
            ticket: has.map(key),
            node: has.and_then(handover::node_of).map(str::to_owned),
            tickets,
            tickets_used_up,
            advice,
        }
    }

    /// What becomes of a ticket.
    pub fn of_ticket(&self, ticket: &'a Ticket, now: Timestamp) -> TicketAnswer {
        let ready = ticket.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == "Ready");
        let pods = if ticket.phase() == TicketPhase::Ready {
            let line = self.verdicts(now).into_iter().map(|(pod, _)| pod);
            let rule = self.shelf([]);
            let asks = |pod: &&Pod| Ask::of(pod).is_ok_and(|ask| rule.offers(ask.wanted, ticket));
            line.filter(asks)
                .map(|pod| Judged {
                    name: format!("{}/{}", pod.namespace(), pod.name()),
                    ..self.judge(pod, ticket, now)
                })
                .collect()
        } else {
            vec![]
        };
        TicketAnswer {
            ticket: key(ticket),
            phase: ticket.phase().as_str().to_owned(),
            node: handover::node_of(ticket).map(str::to_owned),
            reason: ready.map_or_else(|| "NoStatus".to_owned(), |ready| ready.reason.clone()),
            message: ready
                .map_or_else(|| "the controllers have not seen it yet".to_owned(), |ready| ready.message.clone()),
            holder: ticket.claim().map(|claim| format!("{}/{}", claim.namespace, claim.name)),
            pods,
        }
    }

    /// In what state a pod is, as a reason and in words.
    fn state(&self, pod: &Pod, now: Timestamp) -> Wait {
        let say = |reason, message| Wait { reason, message };
        if pod.is_guardian() {
            let ticket = pod.label(names::LABEL_TICKET).unwrap_or_default();
            return say("Guardian", format!("it holds the place of ticket `{ticket}`"));
        }
        if !pod.is_claimant() {
            return say("AsksForNone", "it asks for no ticket".to_owned());
        }
        let claim = self.claims_of(pod).next();
        let second = handover::is_second_try(pod) && pod.spec.node_name.is_none() && claim.is_some();
        if !handover::waits(pod) && !second {
            return match (ticket::named_on(pod), &pod.spec.node_name) {
                (Some((_, name)), Some(node)) if self.has_used(pod) => {
                    say("Bound", format!("it has the place of ticket `{name}` on node `{node}`"))
                }
                (Some((_, name)), Some(node)) => say(
                    "Bound",
                    format!(
                        "it is on node `{node}` by ticket `{name}`, which is gone or not to be seen: it keeps its place"
                    ),
                ),
                (Some((_, name)), None) => {
                    say(reasons::HANDING_OVER, format!("the scheduler is to bind it to the place of ticket `{name}`"))
                }
                (None, _) => say(reasons::WITHOUT_TICKET, "it went on without a ticket".to_owned()),
            };
        }
        if let Some(ticket) = claim {
            let (name, node) = (key(ticket), handover::node_of(ticket).unwrap_or_default());
            let step =
                if handover::is_nominated(pod, ticket) { "the guardian's going" } else { "its turn on the node" };
            return say(
                reasons::HANDING_OVER,
                format!("ticket `{name}` on node `{node}` is given to it; it waits for {step}"),
            );
        }
        let verdict =
            self.verdicts(now).into_iter().find(|(one, _)| one.uid() == pod.uid()).map(|(_, verdict)| verdict);
        match verdict {
            Some(Verdict::Claim(ticket)) => say("Claiming", format!("it is about to get ticket `{}`", key(ticket))),
            Some(Verdict::Wait(wait) | Verdict::GoOn(wait) | Verdict::Fail(wait)) => wait,
            None => say("Ending", "it has ended, or is about to".to_owned()),
        }
    }

    fn pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.seen.pods.iter().map(AsRef::as_ref)
    }

    /// The rules of who may have which ticket, and these tickets.
    fn shelf(&self, candidates: impl IntoIterator<Item = Candidate<'a>>) -> Shelf<'a> {
        Shelf::new(self.orders, self.seen.namespaces.iter().map(AsRef::as_ref), candidates)
    }

    fn judge(&self, pod: &Pod, ticket: &Ticket, now: Timestamp) -> Judged {
        let (fits, why) = self.why_not(pod, ticket, now);
        Judged {
            name: key(ticket),
            phase: ticket.phase().as_str().to_owned(),
            node: handover::node_of(ticket).map(str::to_owned),
            fits,
            why,
        }
    }

    /// Whether a pod could have a ticket were it alone with it, and why not.
    fn why_not(&self, pod: &Pod, ticket: &Ticket, now: Timestamp) -> (bool, String) {
        let told = || {
            let conditions = ticket.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().find(|one| one.type_ == "Ready").map_or_else(String::new, |one| one.message.clone())
        };
        if ticket.phase() != TicketPhase::Ready {
            return (false, told());
        }
        let Some((guardian, node)) = self.place(ticket) else {
            return (false, "its guardian or its node is not to be seen".to_owned());
        };
        let Some(candidate) = Candidate::new(ticket, guardian, node) else {
            let short = ticket::too_small(guardian, ticket);
            return (false, short.unwrap_or_else(|| "its guardian is ending".to_owned()));
        };
        let mut alone = pod.clone();
        if let Some(annotations) = &mut alone.metadata.annotations {
            annotations.remove(names::ANNOTATION_GROUP);
            annotations.remove(names::ANNOTATION_GROUP_SIZE);
        }
        let verdict = assign(self.shelf([candidate]), vec![&alone], &mut World::new(self.seen), |_| 0, now)
            .pop()
            .map(|(_, verdict)| verdict);
        match verdict {
            Some(Verdict::Claim(_)) => (true, "it fits; others may stand before it in line".to_owned()),
            Some(Verdict::Wait(wait) | Verdict::GoOn(wait) | Verdict::Fail(wait)) => {
                let misfit = Needs::of(pod, &World::new(self.seen)).misfit(ticket.reserved(), guardian, node);
                (false, misfit.map_or(wait.message, |misfit| misfit.to_string()))
            }
            None => (false, "it does not wait for a ticket".to_owned()),
        }
    }

    fn place(&self, ticket: &Ticket) -> Option<(&'a Pod, &'a Node)> {
        let guardian = self.pods().find(|pod| is_the_guardian_of(pod, ticket))?;
        let node = self
            .seen
            .nodes
            .iter()
            .map(AsRef::as_ref)
            .find(|node: &&Node| Some(node.name()) == guardian.spec.node_name.as_deref())?;
        Some((guardian, node))
    }

    /// What all waiting pods would get now, in the order of the line.
    fn verdicts(&self, now: Timestamp) -> Vec<(&'a Pod, Verdict<'a>)> {
        let candidates = self.tickets.iter().filter_map(|ticket| {
            let (guardian, node) = self.place(ticket)?;
            Candidate::new(ticket, guardian, node)
        });
        let all = self.shelf(candidates);
        let waits = |pod: &&Pod| {
            pod.is_claimant() && handover::waits(pod) && !pod.is_ending() && self.claims_of(pod).next().is_none()
        };
        assign(all, self.pods().filter(waits).collect(), &mut World::new(self.seen), |group| self.seated(group), now)
    }

    fn claims_of(&self, pod: &Pod) -> impl Iterator<Item = &'a Ticket> {
        let claimed = self.tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Claimed);
        claimed.filter(move |ticket| ticket.claim().is_some_and(|claim| claim.uid == pod.uid()))
    }

    /// Whether a ticket is there that says that the pod has used it: its name alone may be another's by now.
    fn has_used(&self, pod: &Pod) -> bool {
        self.tickets.iter().any(|ticket| ticket.claim().is_some_and(|claim| claim.uid == pod.uid()))
    }

    fn seated(&self, group: Group<'_>) -> usize {
        let of_group = |pod: &&Pod| Group::of(pod).is_some_and(|of| of.key() == group.key());
        self.pods().filter(of_group).filter(|pod| ticket::has_seat(pod, self.claims_of(pod))).count()
    }
}

fn key(ticket: &Ticket) -> String {
    let meta = &ticket.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
