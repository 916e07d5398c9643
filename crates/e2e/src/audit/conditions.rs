//! Conditions as tools read them (kstatus).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use korder_api::{Order, Ticket};
use kube::{Resource, ResourceExt as _};

/// An object that has conditions.
pub trait WithConditions: Resource<DynamicType = ()> {
    /// Its conditions and the generation that they are about; none before the first status.
    fn conditions(&self) -> Option<(&[Condition], Option<i64>)>;
}

impl WithConditions for Order {
    fn conditions(&self) -> Option<(&[Condition], Option<i64>)> {
        self.status.as_ref().map(|status| (status.conditions.as_slice(), status.observed_generation))
    }
}

impl WithConditions for Ticket {
    fn conditions(&self) -> Option<(&[Condition], Option<i64>)> {
        self.status.as_ref().map(|status| (status.conditions.as_slice(), status.observed_generation))
    }
}

/// Status and time of transition of each type.
type Before = BTreeMap<String, (String, Time)>;

/// Watches that every status has a `Ready` condition with reason and message, that `Reconciling` and `Stalled` never
/// hold beside `Ready`, that the time of transition moves with the status only, and that no status is about a
/// generation that does not exist yet.
#[derive(Debug, Default)]
pub struct Conditions {
    /// By uid of the object.
    before: BTreeMap<String, Before>,
    objections: Vec<String>,
}

impl Conditions {
    /// Takes in the next state of an object.
    pub fn see(&mut self, object: &impl WithConditions) {
        let Some((conditions, observed)) = object.conditions() else { return };
        let before = self.before.entry(object.uid().unwrap_or_default()).or_default();
        let mut wrong = Vec::new();
        if observed.is_none() || observed > object.meta().generation {
            wrong.push(format!("observedGeneration is {observed:?} of {:?}", object.meta().generation));
        }
        wrong.extend(form(conditions));
        let mut now = Before::new();
        for one in conditions {
            if let Some((status, since)) = before.get(&one.type_) {
                // Two transitions within a second have the same time.
                let now = &one.last_transition_time;
                let right = if *status == one.status { since.0 == now.0 } else { since.0 <= now.0 };
                if !right {
                    let (from, to) = (since.0, now.0);
                    wrong.push(format!(
                        "{} went from {status} to {}, its time from {from} to {to}",
                        one.type_, one.status
                    ));
                }
            }
            let state = (one.status.clone(), one.last_transition_time.clone());
            if now.insert(one.type_.clone(), state).is_some() {
                wrong.push(format!("{} is there twice", one.type_));
            }
        }
        *before = now;
        let name = object.name_any();
        let version = object.resource_version().unwrap_or_default();
        self.objections.extend(wrong.into_iter().map(|what| format!("at version {version} of `{name}`: {what}")));
    }

    /// What was wrong, in the order in which it happened.
    pub fn objections(&self) -> &[String] {
        &self.objections
    }
}

/// What is wrong with one set of conditions.
fn form(conditions: &[Condition]) -> Vec<String> {
    let holds = |type_: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
    let mut wrong = Vec::new();
    if !conditions.iter().any(|one| one.type_ == "Ready") {
        wrong.push("there is no condition Ready".to_owned());
    }
    for type_ in ["Reconciling", "Stalled"] {
        if holds(type_) && holds("Ready") {
            wrong.push(format!("{type_} holds beside Ready"));
        }
    }
    if holds("Reconciling") && holds("Stalled") {
        wrong.push("Reconciling holds beside Stalled".to_owned());
    }
    let camel_case = |text: &str| text.starts_with(char::is_uppercase) && text.chars().all(char::is_alphanumeric);
    for one in conditions {
        if !camel_case(&one.reason) || one.message.is_empty() {
            wrong.push(format!("{} has the reason `{}` and the message `{}`", one.type_, one.reason, one.message));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{self, Size};

    fn ticket(conditions: &[(&str, &str, i64)]) -> Ticket {
        let mut ticket = objects::ticket("t", Size::SMALL);
        ticket.metadata.generation = Some(1);
        let condition = |&(type_, status, second): &(&str, &str, i64)| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: "Because".to_owned(),
            message: "so".to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(jiff::Timestamp::from_second(second).unwrap()),
        };
        let status = ticket.status.get_or_insert_default();
        status.observed_generation = Some(1);
        status.conditions = conditions.iter().map(condition).collect();
        ticket
    }

    fn objections(history: &[Ticket]) -> usize {
        let mut conditions = Conditions::default();
        for ticket in history {
            conditions.see(ticket);
        }
        conditions.objections().len()
    }

    #[test]
    fn a_life_in_order() {
        let history = [
            objects::ticket("t", Size::SMALL),
            ticket(&[("Ready", "False", 1), ("Reconciling", "True", 1)]),
            ticket(&[("Ready", "False", 1), ("Stalled", "True", 2)]),
            ticket(&[("Ready", "True", 3)]),
        ];
        assert_eq!(objections(&history), 0);
    }

    #[test]
    fn what_contradicts_itself_is_seen() {
        assert_eq!(objections(&[ticket(&[])]), 1);
        assert_eq!(objections(&[ticket(&[("Ready", "True", 1), ("Stalled", "True", 1)])]), 1);
        assert_eq!(objections(&[ticket(&[("Ready", "True", 1), ("Ready", "True", 1)])]), 1);
        assert_eq!(objections(&[ticket(&[("Ready", "True", 1)]), ticket(&[("Ready", "True", 2)])]), 1);
        assert_eq!(objections(&[ticket(&[("Ready", "True", 2)]), ticket(&[("Ready", "False", 1)])]), 1);
        let mut early = ticket(&[("Ready", "True", 1)]);
        early.metadata.generation = Some(0);
        assert_eq!(objections(&[early]), 1);
    }
}
