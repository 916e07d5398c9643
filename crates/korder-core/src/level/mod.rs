//! The level of an inventory: how many units are to be ready, from the orders that came.
//!
//! An order is filled at once if and only if fewer units than the level are outstanding, and how many are outstanding
//! depends on the orders of one lead time and on the *mean* of the lead times only (Palm's theorem). So the level needs
//! the demand over a lead time as a distribution (`demand.rs`): its mean is not enough, since the rate is uncertain and
//! moves. Up to where that distribution is served is a matter of price (`price.rs`): a unit is held while it saves enough
//! orders from waiting for the time that it lies idle. Feedback (`feedback.rs`) finds the price at which the wanted share
//! of the orders is filled at once, and a guard that knows no model (`shadow.rs`, `needs.rs`) stands by in case the model
//! is wrong.
//!
//! [`step`] takes in what came, [`level`] says how much that needs. Who keeps a shelf calls both whenever an order comes,
//! and [`level`] again as time passes, every twentieth of the lead time or so: it raises the shelf at once, and lowers
//! it by [`Surplus`]. Neither costs more after a long silence than after a short one, and a silence may be cut into as many
//! steps as one likes. After a restart [`State::decode`] has what was known at a moment, and the orders since are
//! taken in again.

mod config;
mod demand;
mod feedback;
#[cfg(test)]
mod fixtures;
mod needs;
mod price;
mod shadow;
mod state;
mod surplus;
mod text;
mod words;

use std::time::Duration;

pub use config::{Aim, Config};
pub use state::State;
pub use surplus::Surplus;
pub use text::InvalidState;

use demand::Demand;

/// An order that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How many units it wants.
    pub units: u32,
    /// Whether all of them were ready.
    pub at_once: bool,
}

/// How many units are to be ready, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// So many, within the bounds of the [`Config`].
    pub units: u32,
    /// Why, in words.
    pub reason: String,
    /// What keeps the level from doing what it is for.
    pub limit: Option<Limit>,
}

/// What keeps a level from doing what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Units are ordered nearly as fast as they can be made, or faster: no level can mend that.
    ProductionBound,
    /// More would be needed than the greatest level allows.
    AtMax,
}

/// The share of what can be made from which on the level can't mend a lack: a queue at 80% of its capacity waits long.
const BUSY: f64 = 0.8;

/// What is known `elapsed` later, when `arrivals` come one after the other at the end of that time. `lead` is the mean time
/// to make a unit, failed attempts included.
pub fn step(mut state: State, elapsed: Duration, arrivals: &[Arrival], lead: Duration, config: &Config) -> State {
    let lead = seconds(lead);
    state.silence += elapsed.as_secs_f64();
    for arrival in arrivals {
        state.take(*arrival, lead, config);
    }
    state
}

/// How many units are to be ready now. `lead` is the mean time to make a unit, failed attempts included.
pub fn level(state: &State, lead: Duration, config: &Config) -> Level {
    let lead = seconds(lead);
    if config.idle_after.is_some_and(|limit| state.silence >= limit.as_secs_f64()) {
        return Level { units: config.bounded(0), reason: words::idle(config), limit: None };
    }
    let demand = state.demand.after(state.silence, lead);
    let needed = needed(state, &demand, lead, config);
    let in_work = state.long_run.after(state.silence).rate(lead) * lead;
    let limit = if in_work > BUSY * f64::from(config.parallelism) {
        Some(Limit::ProductionBound)
    } else if needed > config.most {
        Some(Limit::AtMax)
    } else {
        None
    };
    Level {
        units: config.bounded(needed),
        reason: words::reason(config, lead, demand.rate(), needed, limit, in_work),
        limit,
    }
}

/// The level without its bounds, but at most one above the greatest.
fn needed(state: &State, demand: &Demand, lead: f64, config: &Config) -> u32 {
    let bound = config.most.saturating_add(1);
    match config.aim {
        Aim::Costs { holding_per_shortage } => price::greatest(demand, lead, holding_per_shortage, bound),
        Aim::Share(share) => {
            let rate = state.long_run.after(state.silence).rate(lead);
            let price = state.feedback.price(share, rate, lead);
            let by_price = price::greatest(demand, lead, price, bound);
            by_price.max(state.feedback.guarded(share, &state.needs)).min(bound)
        }
    }
}

/// A lead time in seconds, from a millisecond to a year, so that nothing divides by zero or leaves what floats hold.
fn seconds(lead: Duration) -> f64 {
    lead.as_secs_f64().clamp(0.001, 31_536_000.0)
}

/// A float that is a whole number, as an integer.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is out of range becomes the nearest")]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests;
