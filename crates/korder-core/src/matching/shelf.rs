//! The tickets that can be given away now, ordered so that a pod looks at few of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;
use korder_api::{Order, TicketPhase};
use kube::core::SelectorExt;

use super::{Answer, Applicant, Wait};
use crate::admits::Admits;
use crate::ask::{Ask, Wanted};
use crate::fit::{Misfit, Needs, World, kind};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::order;
use crate::pod::Pod;
use crate::reasons;
use crate::resources::Amounts;
use crate::ticket::{Ticket, holds, is_the_guardian_of};

/// A ticket that can be given away now.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    ticket: &'a Ticket,
    guardian: &'a Pod,
    node: &'a Node,
}

impl<'a> Candidate<'a> {
    /// The ticket, if it is `Ready`, and the guardian that holds all that it reserves runs on this node and is to stay.
    pub fn new(ticket: &'a Ticket, guardian: &'a Pod, node: &'a Node) -> Option<Self> {
        let free = ticket.phase() == TicketPhase::Ready
            && ticket.metadata.deletion_timestamp.is_none()
            && holds(guardian, ticket)
            && is_the_guardian_of(guardian, ticket)
            && guardian.spec.node_name.as_deref() == Some(node.name());
        free.then_some(Self { ticket, guardian, node })
    }

    fn key(&self) -> (&'a str, &'a str) {
        key(self.ticket)
    }

    fn expiration(&self) -> Timestamp {
        let time = self.ticket.status.as_ref().and_then(|status| status.expiration_time.as_ref());
        time.map_or(Timestamp::MAX, |time| time.0)
    }
}

/// What pods can choose from.
#[derive(Debug, Default)]
pub struct Shelf<'a> {
    /// Uid of every order, by namespace and name.
    orders: BTreeMap<(&'a str, &'a str), &'a str>,
    /// Whom each order admits.
    admits: BTreeMap<Source<'a>, Admits>,
    /// The orders that admit others than their own namespace.
    open: Vec<Source<'a>>,
    /// The orders that make no tickets any more.
    complete: BTreeSet<Source<'a>>,
    /// Labels by namespace.
    labels: BTreeMap<&'a str, &'a BTreeMap<String, String>>,
    lots: Vec<Lot<'a>>,
    /// The lots of each source.
    sources: BTreeMap<Source<'a>, Vec<usize>>,
    by_name: BTreeMap<(&'a str, &'a str), Spot>,
    /// The lots that the pods of a namespace may take from, as far as anybody has asked.
    admitted: BTreeMap<&'a str, Rc<[usize]>>,
    /// What was looked for in vain: what is taken does not come back, so that nobody need look for the like again.
    in_vain: BTreeMap<Kind<'a>, Wait>,
    /// In the order in which they looked.
    looked: Vec<Kind<'a>>,
}

/// Where tickets come from: a namespace, and the uid of an order (none for tickets of nobody's order).
type Source<'a> = (&'a str, &'a str);

/// What pods want that fit into the same places.
type Kind<'a> = (Wanted<'a>, u64);

/// Tickets of one source that reserve the same amounts.
#[derive(Debug)]
struct Lot<'a> {
    reserved: &'a Amounts,
    /// Those that expire first in front.
    candidates: Vec<Candidate<'a>>,
    /// Which of them are taken.
    taken: Vec<bool>,
    /// All before this one are.
    first: usize,
}

/// Where a ticket lies: the lot, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot(usize, usize);

/// How much has been looked for in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

/// A ticket that could be taken; the least of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Choice<'a> {
    waste: i64,
    expires: Timestamp,
    key: (&'a str, &'a str),
    spot: Spot,
}

impl<'a> Shelf<'a> {
    /// A shelf of these tickets, of these orders, for the pods of these namespaces.
    pub fn new(
        orders: impl IntoIterator<Item = &'a Order>,
        namespaces: impl IntoIterator<Item = &'a Namespace>,
        candidates: impl IntoIterator<Item = Candidate<'a>>,
    ) -> Self {
        let mut shelf = Self::default();
        shelf.labels.extend(namespaces.into_iter().map(|namespace| (namespace.name(), namespace.labels())));
        for order in orders {
            let meta = &order.metadata;
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let uid = meta.uid.as_deref().unwrap_or_default();
            shelf.orders.insert((namespace, meta.name.as_deref().unwrap_or_default()), uid);
            let admits = Admits::of(order);
            if !matches!(admits, Admits::Same) {
                shelf.open.push((namespace, uid));
            }
            shelf.admits.insert((namespace, uid), admits);
            if order::is_complete(order) {
                shelf.complete.insert((namespace, uid));
            }
        }
        let mut lots: BTreeMap<(Source<'a>, &Amounts), Vec<Candidate<'a>>> = BTreeMap::new();
        for candidate in candidates {
            let reserved = candidate.ticket.reserved();
            lots.entry((shelf.source(candidate.ticket), reserved)).or_default().push(candidate);
        }
        for ((source, reserved), mut candidates) in lots {
            candidates.sort_by_key(|candidate| (candidate.expiration(), candidate.key()));
            let lot = shelf.lots.len();
            for (place, candidate) in candidates.iter().enumerate() {
                shelf.by_name.insert(candidate.key(), Spot(lot, place));
            }
            shelf.sources.entry(source).or_default().push(lot);
            shelf.lots.push(Lot { reserved, taken: vec![false; candidates.len()], candidates, first: 0 });
        }
        shelf
    }

    /// Where a ticket comes from. An owner that does not exist in the ticket's namespace is nobody.
    fn source<'t>(&self, ticket: &'t Ticket) -> Source<'t> {
        let namespace = ticket.namespace();
        let order = ticket.order().filter(|&(name, uid)| self.orders.get(&(namespace, name)) == Some(&uid));
        (namespace, order.map_or("", |(_, uid)| uid))
    }

    /// The ticket that lies there, as an answer.
    pub(super) fn ticket(&self, Spot(lot, place): Spot) -> Answer<'a> {
        Answer::Take(self.lots[lot].candidates[place].ticket)
    }

    /// Takes the best ticket for a pod, which is on its way to the ticket's node from then on.
    pub(super) fn take(&mut self, applicant: &Applicant<'a>, world: &mut World<'a>) -> Result<Spot, Wait> {
        let spot = self.reserve(applicant, world)?;
        self.place(applicant, spot, world);
        Ok(spot)
    }

    /// A pod is on its way to the place of the ticket that lies there.
    pub(super) fn place(&self, applicant: &Applicant<'a>, Spot(lot, place): Spot, world: &mut World<'a>) {
        world.place(applicant.pod, self.lots[lot].candidates[place].node);
    }

    /// Takes the best ticket for a pod that may still change it for another.
    pub(super) fn reserve(&mut self, applicant: &Applicant<'a>, world: &World<'a>) -> Result<Spot, Wait> {
        let Applicant { pod, ask: Ask { wanted, .. } } = *applicant;
        let kind = kind(pod).map(|kind| (wanted, kind));
        if let Some(wait) = kind.and_then(|kind| self.in_vain.get(&kind)) {
            return Err(wait.clone());
        }
        let best = self.best(applicant, &Needs::of(pod, world));
        match best {
            Ok(Spot(lot, place)) => {
                let found = &mut self.lots[lot];
                found.taken[place] = true;
                while found.taken.get(found.first) == Some(&true) {
                    found.first += 1;
                }
                Ok(Spot(lot, place))
            }
            Err(wait) => {
                if let Some(kind) = kind {
                    self.in_vain.insert(kind, wait.clone());
                    self.looked.push(kind);
                }
                Err(wait)
            }
        }
    }

    /// Remembers how much has been looked for in vain, for [`Self::put_back`].
    pub(super) fn mark(&self) -> Mark {
        Mark(self.looked.len())
    }

    /// Puts all tickets back that were taken since the mark.
    pub(super) fn put_back(&mut self, Mark(mark): Mark, spots: impl IntoIterator<Item = Spot>) {
        for kind in self.looked.drain(mark..) {
            self.in_vain.remove(&kind);
        }
        for Spot(lot, place) in spots {
            let lot = &mut self.lots[lot];
            lot.taken[place] = false;
            lot.first = lot.first.min(place);
        }
    }

    /// Whether a pod could have the ticket that lies there, were it not taken.
    pub(super) fn suits(&self, applicant: &Applicant<'a>, world: &World<'a>, spot: Spot) -> bool {
        let Lot { reserved, candidates, .. } = &self.lots[spot.0];
        let Candidate { ticket, guardian, node, .. } = &candidates[spot.1];
        self.offers(applicant.ask.wanted, ticket)
            && has_labels(applicant, ticket)
            && Needs::of(applicant.pod, world).misfit(reserved, guardian, node).is_none()
    }

    fn best(&mut self, applicant: &Applicant<'a>, needs: &Needs<'_>) -> Result<Spot, Wait> {
        let wanted = applicant.ask.wanted;
        if let Some(order) = wanted.order
            && !self.offers_of(wanted, order)
        {
            return Err(self.no_order(order, wanted.namespace));
        }
        let mut best: Option<Choice<'a>> = None;
        let mut misfit = None;
        if let Some(name) = wanted.ticket {
            let spot = self.by_name.get(&(home(wanted), name)).copied();
            let offered = |spot: &Spot| self.offers(wanted, self.lots[spot.0].candidates[spot.1].ticket);
            if let Some(spot) = spot.filter(offered) {
                self.look(applicant, needs, spot.0, spot.1..spot.1 + 1, &mut best, &mut misfit);
            }
        } else {
            for &lot in self.lots_for(wanted).iter() {
                let Lot { first, candidates, .. } = &self.lots[lot];
                self.look(applicant, needs, lot, *first..candidates.len(), &mut best, &mut misfit);
            }
        }
        let source = wanted.order.and_then(|order| self.source_of(order));
        let complete = source.is_some_and(|source| self.complete.contains(&source));
        best.map(|choice| choice.spot).ok_or_else(|| no_ticket(wanted, misfit, complete))
    }

    /// Of orders elsewhere it is not told whether they exist.
    fn no_order(&self, (namespace, name): (&str, &str), of: &str) -> Wait {
        let message = if namespace == of && !self.orders.contains_key(&(namespace, name)) {
            format!("there is no order `{name}` in namespace `{namespace}`")
        } else {
            format!("there is no order `{namespace}/{name}` that admits pods of namespace `{of}`")
        };
        Wait::new(reasons::ORDER_NOT_FOUND, message)
    }

    /// Whether a ticket is of the name and the order that a pod names, and of an order that admits it.
    pub fn offers(&self, wanted: Wanted<'_>, ticket: &Ticket) -> bool {
        let source = self.source(ticket);
        self.is_admitted(source, wanted.namespace)
            && wanted.order.is_none_or(|order| self.source_of(order) == Some(source))
            && wanted.ticket.is_none_or(|name| key(ticket) == (home(wanted), name))
    }

    /// Whether the tickets of an order, by namespace and name, are for a pod, by what it names and whom the order admits.
    pub fn offers_of(&self, wanted: Wanted<'_>, order: (&str, &str)) -> bool {
        wanted.order.is_none_or(|named| named == order)
            && self.source_of(order).is_some_and(|source| self.is_admitted(source, wanted.namespace))
    }

    /// Whether tickets of a source are for pods of a namespace; those of nobody's order are for their own.
    fn is_admitted(&self, source: Source<'_>, namespace: &str) -> bool {
        let labels = || self.labels.get(namespace).copied();
        match self.admits.get(&source) {
            Some(admits) => admits.admits(source.0, namespace, labels()),
            None => source.0 == namespace,
        }
    }

    /// Looks at the free tickets at these places of a lot, for a better one than there is.
    fn look(
        &self,
        applicant: &Applicant<'a>,
        needs: &Needs<'_>,
        lot: usize,
        places: std::ops::Range<usize>,
        best: &mut Option<Choice<'a>>,
        misfit: &mut Option<(&'a Ticket, Misfit)>,
    ) {
        let Lot { reserved, candidates, taken, .. } = &self.lots[lot];
        for place in places {
            let candidate = &candidates[place];
            if taken[place] || !has_labels(applicant, candidate.ticket) {
                continue;
            }
            if let Some(why) = needs.misfit(reserved, candidate.guardian, candidate.node) {
                let all_alike = matches!(why, Misfit::Resources(_));
                misfit.get_or_insert((candidate.ticket, why));
                if all_alike {
                    break;
                }
                continue;
            }
            let choice = Choice {
                waste: needs.waste(reserved),
                expires: candidate.expiration(),
                key: candidate.key(),
                spot: Spot(lot, place),
            };
            // Those behind it in the lot waste as much and expire later.
            *best = Some(best.map_or(choice, |best| best.min(choice)));
            break;
        }
    }

    /// The lots from which a pod may take.
    fn lots_for(&mut self, wanted: Wanted<'a>) -> Rc<[usize]> {
        if let Some(order) = wanted.order {
            let source = self.source_of(order);
            return source
                .and_then(|source| self.sources.get(&source))
                .map_or_else(Rc::default, |lots| Rc::from(&lots[..]));
        }
        let namespace = wanted.namespace;
        if let Some(lots) = self.admitted.get(namespace) {
            return Rc::clone(lots);
        }
        let own = self.sources.range((namespace, "")..).take_while(|((of, _), _)| *of == namespace);
        let open = self.open.iter().filter(|source| source.0 != namespace);
        let open = open.filter_map(|source| self.sources.get_key_value(source));
        let admitted = own.chain(open).filter(|&(&source, _)| self.is_admitted(source, namespace));
        let lots: Rc<[usize]> = admitted.flat_map(|(_, lots)| lots.iter().copied()).collect();
        self.admitted.insert(namespace, Rc::clone(&lots));
        lots
    }

    fn source_of<'o>(&self, (namespace, name): (&'o str, &'o str)) -> Option<Source<'o>>
    where
        'a: 'o,
    {
        self.orders.get(&(namespace, name)).map(|&uid| (namespace, uid))
    }
}

fn key(ticket: &Ticket) -> (&str, &str) {
    (ticket.namespace(), ticket.name())
}

/// The namespace in which a ticket that a pod names is looked for.
fn home(wanted: Wanted<'_>) -> &str {
    wanted.order.map_or(wanted.namespace, |(namespace, _)| namespace)
}

fn has_labels(applicant: &Applicant<'_>, ticket: &Ticket) -> bool {
    applicant.ask.selector.as_ref().is_none_or(|selector| selector.matches(&ticket.template.labels))
}

fn no_ticket(wanted: Wanted<'_>, misfit: Option<(&Ticket, Misfit)>, complete: bool) -> Wait {
    match misfit {
        None if complete => Wait::new(
            reasons::ORDER_COMPLETE,
            format!("no {wanted} is ready, and the order makes none again: it is complete"),
        ),
        None => Wait::new(reasons::NO_TICKET_READY, format!("no {wanted} is ready")),
        Some((ticket, misfit)) => {
            let name = ticket.name();
            Wait::new(misfit.reason(), format!("no ready {wanted} fits; `{name}`: {misfit}"))
        }
    }
}
