//! What would change it.

use korder_api::{TicketPhase, names};

use super::Scene;
use crate::ask::Wanted;
use crate::conditions::READY;
use crate::reasons;

/// What somebody could do for a pod that waits for this reason.
pub(super) fn for_pod(scene: &Scene<'_>, wanted: Option<Wanted<'_>>, reason: &str) -> Vec<String> {
    let one = |text: String| vec![text];
    match reason {
        reasons::ORDER_NOT_FOUND => {
            one(format!("make that order, or make the pod anew with another one in `{}`", names::ANNOTATION_ORDER))
        }
        reasons::NO_TICKET_READY | reasons::ORDER_COMPLETE => {
            wanted.map(|wanted| for_more(scene, wanted)).unwrap_or_default()
        }
        reasons::NO_TICKET_FITS => {
            one("an order whose tickets reserve what the pod requests, on nodes where the pod may run".to_owned())
        }
        reasons::HIGHER_PRIORITY_WAITING => {
            one("room for the pod of higher priority: it would take any place that becomes free".to_owned())
        }
        reasons::NOT_SUPPORTED_YET => one("make the pod anew without that, or without asking for a ticket".to_owned()),
        reasons::INVALID_ANNOTATION => one("make the pod anew with the annotation corrected".to_owned()),
        reasons::OTHER_GATE => one("whoever has put the other gate there has to take it off".to_owned()),
        reasons::GROUP_INCOMPLETE => one("the missing pods of its group".to_owned()),
        reasons::GATE_REMOVED => one(format!("make the pod anew, and leave its gate `{}` to korder", names::GATE)),
        reasons::WRITE_REFUSED => {
            one("let korder's controllers write the pod: an admission rule of yours refuses that".to_owned())
        }
        reasons::PLACE_LOST => one("nothing: another place is tried half a minute after the last".to_owned()),
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
            Some(reasons::COMPLETE) => advice.push(format!(
                "order `{name}` makes no more tickets: raise its `replicas`, or make another order"
            )),
            Some(reasons::ALL_READY) => advice.push(format!("order `{name}` has all its tickets ready, and others are before this pod or take them: raise its `replicas`")),
            Some(reasons::PAUSED) => advice.push(format!("order `{name}` is paused: set `spec.paused: false`")),
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
