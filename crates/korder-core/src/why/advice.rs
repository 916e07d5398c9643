//! What would change it.

use korder_api::{TicketPhase, names};

use super::Scene;
use crate::ask::Wanted;
use crate::conditions::READY;

/// What somebody could do for a pod that waits for this reason.
pub(super) fn for_pod(scene: &Scene<'_>, wanted: Option<Wanted<'_>>, reason: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    match reason {
        "OrderNotFound" => {
            one(format!("make that order, or make the pod anew with another one in `{}`", names::ANNOTATION_ORDER))
        }
        "NoTicketReady" | "OrderComplete" => wanted.map(|wanted| for_more(scene, wanted)).unwrap_or_default(),
        "NoTicketFits" => {
            one("an order whose tickets reserve what the pod requests, on nodes where the pod may run".to_owned())
        }
        "HigherPriorityWaiting" => {
            one("room for the pod of higher priority: it would take any place that becomes free".to_owned())
        }
        "NotSupportedYet" => one("make the pod anew without that, or without asking for a ticket".to_owned()),
        "InvalidAnnotation" => one("make the pod anew with the annotation corrected".to_owned()),
        "OtherGate" => one("whoever has put the other gate there has to take it off".to_owned()),
        "GroupIncomplete" => one("the missing pods of its group".to_owned()),
        "GateRemoved" => one(format!("make the pod anew, and leave its gate `{}` to korder", names::GATE)),
        "WriteRefused" => {
            one("let korder's controllers write the pod: an admission rule of yours refuses that".to_owned())
        }
        "PlaceLost" => one("nothing: another place is tried half a minute after the last".to_owned()),
        _ => vec![],
    }
}

/// What would make more tickets ready.
fn for_more(scene: &Scene<'_>, wanted: Wanted<'_>) -> Vec<String> {
    let rule = scene.shelf([]);
    let mut advice = vec![];
    for order in scene.orders {
        let namespace = order.metadata.namespace.as_deref().unwrap_or_default();
        let name = order.metadata.name.as_deref().unwrap_or_default();
        if !rule.offers_of(wanted, (namespace, name)) {
            continue;
        }
        let name = if namespace == wanted.namespace { name.to_owned() } else { format!("{namespace}/{name}") };
        let conditions = order.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == READY);
        match ready.map(|ready| ready.reason.as_str()) {
            Some("Complete") => advice.push(format!(
                "order `{name}` makes no more tickets: raise its `replicas`, or make another order"
            )),
            Some("Ready") => advice.push(format!("order `{name}` has all its tickets ready, and others are before this pod or take them: raise its `replicas`")),
            Some("Paused") => advice.push(format!("order `{name}` is paused: set `spec.paused: false`")),
            Some(_) => advice.push(format!("order `{name}`: {}", ready.map(|ready| ready.message.as_str()).unwrap_or_default())),
            None => {}
        }
    }
    if advice.is_empty() {
        let pending = scene.tickets.iter().filter(|ticket| ticket.phase() == TicketPhase::Pending);
        let any = pending.into_iter().any(|ticket| rule.offers(wanted, ticket));
        let text = if any {
            "a place for one of the tickets that are pending"
        } else {
            "an order, or a ticket by itself: there is none that this pod could have"
        };
        advice.push(text.to_owned());
    }
    advice
}
