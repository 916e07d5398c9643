//! A state as a text that an inventory's status keeps.

use std::fmt::Write as _;
use std::str::{FromStr, SplitAsciiWhitespace};

use jiff::Timestamp;

use super::State;
use super::demand::{Demand, EXPERTS, Expert};
use super::feedback::{Feedback, MOST_LN_FACTOR};
use super::needs::{BINS, Needs};
use super::shadow::{MOST, SLOTS, Shadow};
use super::state::LongRun;

/// What the text begins with. Another meaning of what follows needs another version.
const VERSION: &str = "v1";

/// Why a text is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidState {
    /// It was written by another version of the rule.
    #[error("the level's state is of another version than `{VERSION}`: the demand is learned anew")]
    Version,
    /// It is of this version, and can't have been written by it.
    #[error("the level's state is damaged at `{0}`: the demand is learned anew")]
    Damaged(&'static str),
}

impl State {
    /// As a text of at most 4 kB, with the moment that it holds for: after it, orders have to be taken in again.
    pub fn encode(&self, at: Timestamp) -> String {
        let mut text = format!("{VERSION} {at}");
        let mut add = |number: f64| {
            // Nothing can fail that writes to a string.
            write!(text, " {number:e}").unwrap_or_default();
        };
        add(self.silence);
        for Expert { shape, time, weight } in self.demand.experts {
            [shape, time, weight].into_iter().for_each(&mut add);
        }
        [self.long_run.units, self.long_run.time].into_iter().for_each(&mut add);
        [self.feedback.ln_factor, self.feedback.excess, self.shadow.phase].into_iter().for_each(&mut add);
        for count in self.shadow.begun.iter().chain([&self.shadow.waiting]) {
            write!(text, " {count}").unwrap_or_default();
        }
        for weight in self.needs.weights {
            write!(text, " {weight:e}").unwrap_or_default();
        }
        text
    }

    /// What [`State::encode`] has written, and the moment that it holds for.
    pub fn decode(text: &str) -> Result<(Self, Timestamp), InvalidState> {
        let mut words = Words(text.split_ascii_whitespace());
        if words.0.next() != Some(VERSION) {
            return Err(InvalidState::Version);
        }
        let at = words.next("time")?;
        let silence = words.between("silence", 0.0, 1e12)?;
        let mut experts = [Expert { shape: 0.0, time: 0.0, weight: 0.0 }; EXPERTS];
        for expert in &mut experts {
            expert.shape = words.between("shape", 1e-9, 1e12)?;
            expert.time = words.between("time", 1e-3, 1e12)?;
            expert.weight = words.between("weight", 0.0, 1.0)?;
        }
        let sum: f64 = experts.iter().map(|expert| expert.weight).sum();
        if (sum - 1.0).abs() > 1e-6 {
            return Err(InvalidState::Damaged("weight"));
        }
        let long_run = LongRun { units: words.between("units", 0.0, 1e12)?, time: words.between("time", 0.0, 1e12)? };
        let feedback = Feedback {
            ln_factor: words.between("factor", -MOST_LN_FACTOR, MOST_LN_FACTOR)?,
            excess: words.between("excess", -1.0, 1.0)?,
        };
        let phase = words.between("phase", 0.0, 1.0)?;
        let mut counts = [0; SLOTS + 1];
        for count in &mut counts {
            *count = words.next("count")?;
        }
        let [begun @ .., waiting] = counts;
        if counts.iter().any(|count| *count > MOST) {
            return Err(InvalidState::Damaged("count"));
        }
        let mut weights = [0.0; BINS];
        for weight in &mut weights {
            *weight = words.next("need")?;
            if !(0.0..=1e12).contains(weight) {
                return Err(InvalidState::Damaged("need"));
            }
        }
        if words.0.next().is_some() {
            return Err(InvalidState::Damaged("end"));
        }
        let shadow = Shadow { begun, phase, waiting };
        let needs = Needs { weights };
        Ok((Self { silence, demand: Demand { experts }, long_run, feedback, shadow, needs }, at))
    }
}

struct Words<'a>(SplitAsciiWhitespace<'a>);

impl Words<'_> {
    fn next<T: FromStr>(&mut self, what: &'static str) -> Result<T, InvalidState> {
        let word = self.0.next().ok_or(InvalidState::Damaged(what))?;
        word.parse().map_err(|_| InvalidState::Damaged(what))
    }

    /// Not a number is between nothing.
    fn between(&mut self, what: &'static str, least: f64, most: f64) -> Result<f64, InvalidState> {
        let number = self.next(what)?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(InvalidState::Damaged(what)) }
    }
}
