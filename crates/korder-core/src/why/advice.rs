//! What would change it.

use korder_api::{TicketPhase, names};
use kube::core::SelectorExt as _;

use super::{Scene, key};
use crate::ask::{Ask, Wanted};
use crate::conditions::READY;
use crate::matching::Shelf;
use crate::pod::Pod;
use crate::reasons;
use crate::ticket::Ticket;

/// What somebody could do for a pod that waits for this reason.
pub(super) fn for_pod(scene: &Scene<'_>, pod: &Pod, ask: Option<&Ask<'_>>, reason: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    match reason {
        reasons::ORDER_NOT_FOUND => {
            one(format!("make that order, or name another one: {}", annotate(pod, names::ANNOTATION_ORDER)))
        }
        reasons::NO_TICKET_READY | reasons::ORDER_COMPLETE | reasons::TIMED_OUT => {
            ask.map(|ask| for_more(scene, pod, ask)).unwrap_or_default()
        }
        reasons::NO_TICKET_FITS => one(ask.and_then(|ask| uncordon(scene, ask.wanted)).unwrap_or_else(|| {
            "an order whose tickets reserve what the pod requests, on nodes where the pod may run".to_owned()
        })),
        reasons::HIGHER_PRIORITY_WAITING => {
            one("room for the pod of higher priority: it would take any place that becomes free".to_owned())
        }
        reasons::NOT_SUPPORTED_YET => one("make the pod anew without that, or without asking for a ticket".to_owned()),
        reasons::INVALID_ANNOTATION => one("correct the annotation, or make the pod anew".to_owned()),
        reasons::OTHER_GATE => one("whoever has put the other gate there has to take it off".to_owned()),
        reasons::GROUP_INCOMPLETE => {
            one("the missing pods of its group, which name the same group and the same size".to_owned())
        }
        reasons::GATE_REMOVED => one(format!("make the pod anew, and leave its gate `{}` to korder", names::GATE)),
        reasons::WRITE_REFUSED => {
            one("let korder's controllers write the pod: an admission rule of yours refuses that".to_owned())
        }
        reasons::PLACE_LOST => one("nothing: another place is tried half a minute after the last".to_owned()),
        _ => vec![],
    }
}

/// The command that asks for something else.
fn annotate(pod: &Pod, key: &str) -> String {
    format!("`kubectl annotate pod -n {} {} {key}=… --overwrite`", pod.namespace(), pod.name())
}

/// Whether a ticket is, or may become, one that can be given away.
pub(super) fn may_serve(ticket: &Ticket) -> bool {
    matches!(ticket.phase(), TicketPhase::Pending | TicketPhase::Ready | TicketPhase::Claimed)
}

/// Where each ticket that a pod may have is on a node to which no pod is let any more.
fn uncordon(scene: &Scene<'_>, wanted: Wanted<'_>) -> Option<String> {
    let rule = scene.shelf([]);
    let ready = scene.tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Ready);
    let mut nodes = vec![];
    for ticket in ready.filter(|ticket| rule.offers(wanted, ticket)) {
        let (_, node) = scene.place(ticket)?;
        if !node.spec.unschedulable {
            return None;
        }
        nodes.push(node.name());
    }
    nodes.sort_unstable();
    nodes.dedup();
    (!nodes.is_empty())
        .then(|| format!("no pod is let to the nodes of its tickets: `kubectl uncordon {}`", nodes.join(" ")))
}

/// What would make more tickets ready for a pod.
fn for_more(scene: &Scene<'_>, pod: &Pod, ask: &Ask<'_>) -> Vec<String> {
    let rule = scene.shelf([]);
    if let Some(advice) = for_the_one(scene, &rule, pod, ask) {
        return vec![advice];
    }
    let mut advice: Vec<String> =
        scene.orders.iter().filter_map(|order| about_order(&rule, ask.wanted, order)).collect();
    if advice.is_empty() {
        let pending = scene.tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Pending);
        let any = pending.into_iter().any(|ticket| rule.offers(ask.wanted, ticket));
        let text = if any {
            "a place for one of the tickets that are pending"
        } else {
            "an order, or a ticket by itself: there is none that this pod could have"
        };
        advice.push(text.to_owned());
    }
    advice
}

/// Where a pod names a ticket, or labels, and no such ticket can come.
fn for_the_one(scene: &Scene<'_>, rule: &Shelf<'_>, pod: &Pod, ask: &Ask<'_>) -> Option<String> {
    let mut offered = scene.tickets.iter().filter(|ticket| rule.offers(ask.wanted, ticket));
    if let Some(name) = ask.wanted.ticket {
        let other = annotate(pod, names::ANNOTATION_TICKET);
        return match offered.next() {
            None => Some(format!("there is no ticket `{name}` that it could have; name another one: {other}")),
            Some(ticket) if !may_serve(ticket) => Some(format!(
                "ticket `{}` is {} and never becomes ready again; name another one: {other}",
                key(ticket),
                ticket.phase().as_str()
            )),
            Some(_) => None,
        };
    }
    let selector = ask.selector.as_ref()?;
    let matches = |ticket: &Ticket| may_serve(ticket) && selector.matches(&ticket.template.labels);
    (!offered.any(matches)).then(|| {
        format!(
            "no ticket has the labels `{}`: give them to the tickets of an order (`spec.template.metadata.labels`), or ask \
             for others: {}",
            ask.wanted.labels.unwrap_or_default(),
            annotate(pod, names::ANNOTATION_TICKET_SELECTOR)
        )
    })
}

/// Why an order has no ticket for a pod that it could serve.
fn about_order(rule: &Shelf<'_>, wanted: Wanted<'_>, order: &korder_api::Order) -> Option<String> {
    let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
    let name = order.metadata.name.as_deref().unwrap_or_default();
    if !rule.offers_of(wanted, (namespace, name)) {
        return None;
    }
    let name = if namespace == wanted.namespace { name.to_owned() } else { format!("{namespace}/{name}") };
    let conditions = order.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| condition.type_ == READY)?;
    Some(match ready.reason.as_str() {
        _ if order.spec.replicas == Some(0) => format!("order `{name}` makes no tickets: raise its `replicas` above 0"),
        reasons::COMPLETE => {
            format!("order `{name}` makes no more tickets: raise its `replicas`, or make another order")
        }
        reasons::ALL_READY => format!(
            "order `{name}` has all its tickets ready, and others are before this pod or take them: raise its `replicas`"
        ),
        reasons::PAUSED => format!("order `{name}` is paused: set `spec.paused: false`"),
        _ => format!("order `{name}`: {}", ready.message),
    })
}
