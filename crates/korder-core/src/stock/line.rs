//! The line of orders that wait for units of one inventory.
//!
//! Higher priority goes first. Within a priority the namespaces take turns, so that a thousand orders of one team don't
//! keep those of another waiting; within a namespace the one that came first goes first. An order of several units gets
//! the first of them when it is at the head, and nobody else gets one until it has all: of two such orders each would
//! else hold a part, and wait for the other's.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;

/// An order that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Higher goes first.
    pub priority: i32,
    /// The number that it got when it began to wait; one without has just come, and stands behind those with one. Creation times
    /// have seconds only, so that of many orders at once they would tell no order.
    pub sequence: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its version, which of orders that nobody has written since tells who came first.
    pub version: Option<u64>,
    /// How many units it still needs.
    pub needs: usize,
    /// Whether it has some of its units already.
    pub holds_some: bool,
}

impl<'a> Waiting<'a> {
    /// Who came first within a namespace; the least.
    fn arrival(&self) -> (bool, Option<i64>, Option<Timestamp>, Option<u64>, &'a str) {
        (self.sequence.is_none(), self.sequence, self.created, self.version, self.uid)
    }
}

/// Puts orders in line, first in line first.
///
/// Those that hold a part of their units are before all others: what they hold serves nobody until they have the rest.
pub fn in_line(mut orders: Vec<Waiting<'_>>) -> Vec<Waiting<'_>> {
    orders.sort_by(|a, b| a.arrival().cmp(&b.arrival()));
    // The nth order of a namespace goes in the nth round.
    let mut rounds: BTreeMap<(i32, &str), usize> = BTreeMap::new();
    let mut keyed: Vec<_> = orders
        .into_iter()
        .enumerate()
        .map(|(arrival, order)| {
            let next = rounds.entry((order.priority, order.namespace)).or_default();
            *next += 1;
            ((Reverse(order.holds_some), Reverse(order.priority), *next, arrival), order)
        })
        .collect();
    keyed.sort_by_key(|(place, _)| *place);
    keyed.into_iter().map(|(_, order)| order).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order<'a>(namespace: &'a str, uid: &'a str, priority: i32, sequence: Option<i64>, needs: usize) -> Waiting<'a> {
        Waiting { namespace, uid, priority, sequence, created: None, version: None, needs, holds_some: false }
    }

    fn uids<'a>(line: &[Waiting<'a>]) -> Vec<&'a str> {
        line.iter().map(|order| order.uid).collect()
    }

    #[test]
    fn priority_then_turns_of_namespaces_then_who_came_first() {
        let line = in_line(vec![
            order("a", "a1", 0, Some(1), 1),
            order("a", "a2", 0, Some(2), 1),
            order("a", "a3", 0, Some(3), 1),
            order("b", "b1", 0, Some(4), 1),
            order("b", "new", 0, None, 1),
            order("b", "urgent", 7, Some(9), 1),
        ]);
        assert_eq!(uids(&line), ["urgent", "a1", "b1", "a2", "new", "a3"]);
    }

    #[test]
    fn whoever_holds_a_part_is_first_even_before_higher_priority() {
        let part = Waiting { holds_some: true, ..order("a", "part", 0, Some(5), 2) };
        let line = in_line(vec![order("a", "urgent", 9, Some(1), 1), part]);
        assert_eq!(uids(&line), ["part", "urgent"]);
    }

    proptest! {
        #[test]
        fn the_line_does_not_depend_on_how_orders_are_listed(
            orders in proptest::collection::vec((0..3_usize, 0..2, proptest::option::of(0..4_i64)), 0..12),
            seed in any::<usize>(),
        ) {
            let names: Vec<String> = (0..orders.len()).map(|number| format!("u{number:02}")).collect();
            let namespaces = ["a", "b", "c"];
            let listed: Vec<_> = orders
                .iter()
                .zip(&names)
                .map(|(&(namespace, priority, sequence), name)| order(namespaces[namespace], name, priority, sequence, 1))
                .collect();
            let mut shuffled = listed.clone();
            let count = shuffled.len();
            for index in 1..count {
                shuffled.swap(index, seed.wrapping_mul(index + 7) % (index + 1));
            }
            prop_assert_eq!(in_line(listed), in_line(shuffled));
        }
    }
}
