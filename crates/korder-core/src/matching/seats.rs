//! Tickets for all pods of a group, or for none.

use super::shelf::{Shelf, Spot};
use super::{Applicant, Wait};

/// Takes a ticket for each pod, if there is a way to do so; else none, and tells of the first pod that there is none for.
///
/// Each pod takes what is best for it. One that finds nothing free takes the ticket of an earlier one that can be content
/// with another: Kuhn's algorithm, which finds a way if there is one.
pub(super) fn seat_all<'a>(shelf: &mut Shelf<'a>, group: &[&Applicant<'a>]) -> Result<Vec<Spot>, Wait> {
    let mark = shelf.mark();
    let mut seats: Vec<Option<Spot>> = vec![None; group.len()];
    for member in 0..group.len() {
        let mut asked = vec![false; group.len()];
        if let Err(wait) = seat(shelf, group, &mut seats, member, &mut asked) {
            shelf.put_back(mark, seats.into_iter().flatten());
            return Err(wait);
        }
    }
    Ok(seats.into_iter().flatten().collect())
}

fn seat<'a>(
    shelf: &mut Shelf<'a>,
    group: &[&Applicant<'a>],
    seats: &mut [Option<Spot>],
    member: usize,
    asked: &mut [bool],
) -> Result<(), Wait> {
    let wait = match shelf.take(group[member]) {
        Ok(spot) => {
            seats[member] = Some(spot);
            return Ok(());
        }
        Err(wait) => wait,
    };
    asked[member] = true;
    for other in 0..group.len() {
        let Some(spot) = seats[other].filter(|&spot| !asked[other] && shelf.suits(group[member], spot)) else {
            continue;
        };
        asked[other] = true;
        if seat(shelf, group, seats, other, asked).is_ok() {
            seats[member] = Some(spot);
            return Ok(());
        }
    }
    Err(wait)
}
