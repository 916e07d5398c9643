//! Tickets for all pods of a group, or for none.

use super::shelf::{Shelf, Spot};
use super::{Applicant, Wait};
use crate::fit::{Scope, World};

/// Takes a ticket for each pod, if there is a way to do so; else none, and tells of the first pod that there is none for.
///
/// Each pod takes what is best for it beside those before it. Where one finds nothing so, and none of them has a rule about
/// others, they change places until all have one.
pub(super) fn seat_all<'a>(
    shelf: &mut Shelf<'a>,
    world: &mut World<'a>,
    group: &[&Applicant<'a>],
) -> Result<Vec<Spot>, Wait> {
    let (mark, before) = (shelf.mark(), world.mark());
    let mut seats = Vec::with_capacity(group.len());
    for member in group {
        match shelf.take(member, world) {
            Ok(spot) => seats.push(spot),
            Err(wait) => {
                shelf.put_back(mark, seats);
                world.back_to(before);
                let independent = Scope::of(group.iter().map(|member| member.pod)) == Scope::default();
                return if independent { change_places(shelf, world, group) } else { Err(wait) };
            }
        }
    }
    Ok(seats)
}

/// One that finds nothing free takes the ticket of an earlier one that can be content with another: Kuhn's algorithm, which
/// finds a way if there is one.
fn change_places<'a>(
    shelf: &mut Shelf<'a>,
    world: &mut World<'a>,
    group: &[&Applicant<'a>],
) -> Result<Vec<Spot>, Wait> {
    let mark = shelf.mark();
    let mut seats: Vec<Option<Spot>> = vec![None; group.len()];
    for member in 0..group.len() {
        let mut asked = vec![false; group.len()];
        if let Err(wait) = seat(shelf, world, group, &mut seats, member, &mut asked) {
            shelf.put_back(mark, seats.into_iter().flatten());
            return Err(wait);
        }
    }
    let seats: Vec<Spot> = seats.into_iter().flatten().collect();
    for (member, &spot) in group.iter().zip(&seats) {
        shelf.place(member, spot, world);
    }
    Ok(seats)
}

fn seat<'a>(
    shelf: &mut Shelf<'a>,
    world: &World<'a>,
    group: &[&Applicant<'a>],
    seats: &mut [Option<Spot>],
    member: usize,
    asked: &mut [bool],
) -> Result<(), Wait> {
    let wait = match shelf.reserve(group[member], world) {
        Ok(spot) => {
            seats[member] = Some(spot);
            return Ok(());
        }
        Err(wait) => wait,
    };
    asked[member] = true;
    for other in 0..group.len() {
        let Some(spot) = seats[other].filter(|&spot| !asked[other] && shelf.suits(group[member], world, spot)) else {
            continue;
        };
        asked[other] = true;
        if seat(shelf, world, group, seats, other, asked).is_ok() {
            seats[member] = Some(spot);
            return Ok(());
        }
    }
    Err(wait)
}
