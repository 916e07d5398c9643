//! Finds the price at which the wanted share of the orders is filled at once.

use libm::{erfc, exp, sqrt};

use super::needs::Needs;
use super::whole;

/// What is added to the share that is aimed at: feedback holds the mean, and half of all times would be below.
const MARGIN: f64 = 0.005;
/// How far an order moves the logarithm of the price.
const GAIN: f64 = 0.02;
/// Over how many orders the share is taken that was filled at once.
const ORDERS: f64 = 500.0;
/// The price stays within fifty times and a fiftieth of what it would be without feedback: the logarithm of 50.
pub(super) const MOST_LN_FACTOR: f64 = 3.912;

/// What the outcomes of the orders have taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Feedback {
    /// The logarithm of what the price is multiplied by.
    pub(super) ln_factor: f64,
    /// How much the share of the latest orders that were filled at once is above the one aimed at.
    pub(super) excess: f64,
}

impl Feedback {
    /// Before the first order.
    pub(super) const NONE: Self = Self { ln_factor: 0.0, excess: 0.0 };

    /// The same after an order; `load` is how many units are outstanding on average.
    pub(super) fn after(self, at_once: bool, share: f64, load: f64) -> Self {
        let error = f64::from(u8::from(at_once)) - aimed(share);
        let moved = self.ln_factor + GAIN / (1.0 + load / 4.0) * error;
        Self {
            ln_factor: moved.clamp(-MOST_LN_FACTOR, MOST_LN_FACTOR),
            excess: self.excess + (error - self.excess) / ORDERS,
        }
    }

    /// The price, in orders per second, at a rate of orders per second.
    ///
    /// If demand were normal, the unit at the quantile for the share would be worth φ(z)/Φ(z)·rate/√(rate·lead).
    pub(super) fn price(self, share: f64, rate: f64, lead: f64) -> f64 {
        exp(self.ln_factor) * rate * hazard(aimed(share)) / sqrt(rate * lead).max(1.0)
    }

    /// The level below which nothing goes while too few orders are filled at once.
    pub(super) fn guarded(self, share: f64, needs: &Needs) -> u32 {
        let missed = (40.0 * (-0.01 - self.excess)).clamp(0.0, 1.0);
        if missed == 0.0 {
            return 0;
        }
        whole((missed * f64::from(needs.quantile(aimed(share)))).ceil())
    }
}

fn aimed(share: f64) -> f64 {
    (share + MARGIN).min(0.999)
}

/// φ(z)/Φ(z) at the z with Φ(z) = `share`.
fn hazard(share: f64) -> f64 {
    let z = normal_quantile(share);
    exp(-z * z / 2.0) / sqrt(std::f64::consts::TAU) / share
}

/// The z with Φ(z) = `share`, by halving: it is needed once a level.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < share { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_quantile_is_the_one_of_the_tables() {
        for (share, z) in [(0.5, 0.0), (0.841_344_746, 1.0), (0.95, 1.644_853_627), (0.01, -2.326_347_874)] {
            assert!((normal_quantile(share) - z).abs() < 1e-6, "{share}");
        }
        assert!((hazard(0.95) - 0.1086).abs() < 1e-4);
    }

    #[test]
    fn an_order_that_waits_lowers_the_price_as_much_as_those_at_once_raise_it() {
        let once = Feedback::NONE.after(true, 0.945, 0.0);
        let waited = Feedback::NONE.after(false, 0.945, 0.0);
        assert!(once.price(0.945, 1.0, 1.0) > Feedback::NONE.price(0.945, 1.0, 1.0));
        assert!((once.ln_factor * 19.0 + waited.ln_factor).abs() < 1e-9);
    }

    #[test]
    fn the_price_has_bounds() {
        for at_once in [true, false] {
            let taught = (0..100_000).fold(Feedback::NONE, |taught, _| taught.after(at_once, 0.5, 0.0));
            let factor = taught.price(0.5, 1.0, 1.0) / Feedback::NONE.price(0.5, 1.0, 1.0);
            assert!((0.02..=50.0).contains(&(factor * if at_once { 0.9999 } else { 1.0001 })), "{factor}");
        }
    }

    #[test]
    fn the_guard_comes_in_over_two_and_a_half_percent() {
        let mut needs = Needs::NONE;
        needs.count(8, 1.0);
        for (excess, guarded) in [(0.0, 0), (-0.01, 0), (-0.0225, 4), (-0.035, 8), (-0.5, 8)] {
            assert_eq!(Feedback { ln_factor: 0.0, excess }.guarded(0.95, &needs), guarded, "{excess}");
        }
    }
}
