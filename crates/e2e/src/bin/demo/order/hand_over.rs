//! What happens to a pod between its creation and its place, read from a watch on the API.

use std::fmt;
use std::time::Duration;

use e2e::{Change, Event};
use k8s_openapi::api::core::v1::Pod;
use korder_api::names;
use kube::ResourceExt as _;

use crate::objects::{is_gated, node_of};

/// Something that was done to the pod, or for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It was created, with korder's gate.
    Gated,
    /// The scheduler was told which node is meant for it.
    Nominated {
        /// That node.
        node: String,
    },
    /// The guardian of this ticket is gone.
    Freed {
        /// The ticket.
        ticket: String,
    },
    /// Its gate was taken off.
    Ungated,
    /// The scheduler bound it.
    Bound {
        /// To this node.
        node: String,
    },
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gated => write!(f, "created; admission holds it back with the gate `{}`", names::GATE),
            Self::Nominated { node } => write!(f, "nominated to `{node}`: the scheduler keeps the place for it"),
            Self::Freed { ticket } => write!(f, "the guardian of `{ticket}` is gone: the place is free"),
            Self::Ungated => write!(f, "the gate is off: the scheduler may place it"),
            Self::Bound { node } => write!(f, "bound to `{node}` by the scheduler"),
        }
    }
}

/// The moments of a pod of this name, from its creation on, and how long after that each was.
pub(super) fn moments(events: &[Event<Pod>], name: &str) -> Vec<(Duration, Moment)> {
    let created = events.iter().position(|event| event.object.name_any() == name);
    let events = created.map(|first| &events[first..]).unwrap_or_default();
    let mut before: Option<&Pod> = None;
    let mut moments = Vec::new();
    for event in events {
        let after = event.seen - events[0].seen;
        if event.object.name_any() == name {
            moments.extend(between(before, &event.object).map(|moment| (after, moment)));
            before = Some(&event.object);
        } else if event.change == Change::Deleted {
            moments.extend(freed(&event.object).map(|moment| (after, moment)));
        }
    }
    moments
}

/// What happened to a pod between two versions of it.
fn between(before: Option<&Pod>, now: &Pod) -> impl Iterator<Item = Moment> {
    let nominated = |pod: &Pod| pod.status.as_ref()?.nominated_node_name.clone();
    let bound = |pod: &Pod| node_of(pod).map(str::to_owned);
    let gate = match (before.map(is_gated), is_gated(now)) {
        (None, true) => Some(Moment::Gated),
        (Some(true), false) => Some(Moment::Ungated),
        _ => None,
    };
    let news = |of: &dyn Fn(&Pod) -> Option<String>| of(now).filter(|_| before.and_then(of).is_none());
    let nominated = news(&nominated).map(|node| Moment::Nominated { node });
    let bound = news(&bound).map(|node| Moment::Bound { node });
    [gate, nominated, bound].into_iter().flatten()
}

/// The place that becomes free when the pod goes, where it was a guardian.
fn freed(pod: &Pod) -> Option<Moment> {
    Some(Moment::Freed { ticket: pod.labels().get(names::LABEL_TICKET)?.clone() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    fn event(change: Change, pod: serde_json::Value) -> Event<Pod> {
        Event { seen: Instant::now(), change, object: Arc::new(serde_json::from_value(pod).unwrap()) }
    }

    #[test]
    fn a_pod_s_moments_are_what_changed_from_version_to_version() {
        let gates = json!([{"name": names::GATE}]);
        let nominated = json!({"nominatedNodeName": "n"});
        let guardian = json!({"metadata": {"name": "g", "labels": {names::LABEL_TICKET: "t"}}});
        let before = event(Change::Added, guardian.clone());
        let events = [
            before,
            event(
                Change::Added,
                json!({"metadata": {"name": "p"}, "spec": {"containers": [], "schedulingGates": gates}}),
            ),
            event(
                Change::Modified,
                json!({"metadata": {"name": "p"}, "spec": {"containers": [], "schedulingGates": gates}, "status": nominated}),
            ),
            event(Change::Deleted, guardian),
            event(Change::Modified, json!({"metadata": {"name": "p"}, "status": nominated})),
            event(Change::Modified, json!({"metadata": {"name": "p"}, "spec": {"containers": [], "nodeName": "n"}})),
        ];
        let moments: Vec<Moment> = moments(&events, "p").into_iter().map(|(_, moment)| moment).collect();
        let node = "n".to_owned();
        let wanted = [
            Moment::Gated,
            Moment::Nominated { node: node.clone() },
            Moment::Freed { ticket: "t".to_owned() },
            Moment::Ungated,
            Moment::Bound { node },
        ];
        assert_eq!(moments, wanted);
    }

    #[test]
    fn a_pod_that_was_never_gated_has_no_such_moment() {
        let events = [event(Change::Added, json!({"metadata": {"name": "p"}}))];
        assert_eq!(moments(&events, "p"), []);
    }
}
