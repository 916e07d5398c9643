//! What tickets have in common, kept once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use korder_core::ticket::{Template, Ticket};

/// The templates of the tickets that there are, by the uid of their order.
#[derive(Default)]
pub(crate) struct Templates(Mutex<BTreeMap<String, VecDeque<Weak<Template>>>>);

impl Templates {
    /// How many templates of an order are known. It has changed that often if there are more; those of nobody's order are
    /// as many as their tickets.
    const KNOWN: usize = 4;

    /// Gives a ticket the template of another one that is like its own.
    pub(crate) fn share(&self, mut ticket: Ticket) -> Ticket {
        let order = ticket.order().map(|(_, uid)| uid.to_owned()).unwrap_or_default();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_order = known.entry(order).or_default();
        if let Some(same) = of_order.iter().filter_map(Weak::upgrade).find(|known| *known == ticket.template) {
            ticket.template = same;
            return ticket;
        }
        of_order.push_front(Arc::downgrade(&ticket.template));
        of_order.truncate(Self::KNOWN);
        // A new one is rare, and the time to forget the orders that are gone.
        known.retain(|_, templates| templates.iter().any(|template| template.strong_count() > 0));
        ticket
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn ticket(number: usize, order: &str, cpu: &str) -> Ticket {
        let owner = json!({"apiVersion": "core.korder.dev/v1alpha1", "kind": "Order", "name": order, "uid": order,
            "controller": true});
        from_value(json!({
            "metadata": {"namespace": "ns", "name": format!("{order}-{number}"), "ownerReferences": [owner]},
            "spec": {"duration": "1h", "resources": {"requests": {"cpu": cpu}}},
        }))
        .unwrap()
    }

    #[test]
    fn tickets_that_are_alike_share_and_others_do_not() {
        let templates = Templates::default();
        let [first, second, larger, others] =
            [ticket(1, "a", "1"), ticket(2, "a", "1"), ticket(3, "a", "2"), ticket(1, "b", "1")]
                .map(|ticket| templates.share(ticket).template);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &larger));
        assert!(!Arc::ptr_eq(&first, &others));
        // A changed order makes new tickets while there are old ones.
        assert!(Arc::ptr_eq(&first, &templates.share(ticket(4, "a", "1")).template));
    }

    #[test]
    fn what_is_known_has_a_bound_and_is_forgotten_with_its_tickets() {
        let templates = Templates::default();
        let tickets: Vec<Ticket> =
            (1..10).map(|number| templates.share(ticket(number, "a", &number.to_string()))).collect();
        assert_eq!(templates.0.lock().unwrap()["a"].len(), Templates::KNOWN);
        drop(tickets);
        let _other = templates.share(ticket(1, "b", "1"));
        assert_eq!(templates.0.lock().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    }
}
