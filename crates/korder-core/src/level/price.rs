//! Up to which unit a shelf earns its price.

use super::demand::{Counts, Demand, EXPERTS};

/// Further than this nobody looks: ten times what the schema allows for a level.
const FURTHEST: u32 = 100_000;

/// The greatest number of units of which the last saves so many orders a second from waiting for each second that it
/// lies idle (`price`, in orders per second), at most `bound`.
///
/// With demand d over a lead time L, unit S is the one that is taken when d was S-1 and would lie idle while d < S. So
/// raising the level from S-1 to S saves (S/L)·P(d=S) orders a second and takes P(d≤S-1) of idle time, which is the
/// newsvendor's rule for a unit that is asked for again and again (Porteus, *Foundations of Stochastic Inventory
/// Theory*, 1 and 6).
///
/// Above the mean of every expert, S·P(d=S) falls with S for each of them, and P(d<S) grows. So the first S there that is
/// not worth its price is followed by none that is. Below, there may be some that are not while later ones are, where a
/// low rate and a high one are likely: so it looks beyond `bound` too.
pub(super) fn greatest(demand: &Demand, lead: f64, price: f64, bound: u32) -> u32 {
    let greatest_mean = demand.experts.iter().map(|expert| expert.mean(lead)).fold(0.0, f64::max);
    let mut counts: [Counts; EXPERTS] = demand.experts.map(|expert| expert.counts(lead));
    let mut probability = || -> f64 {
        counts
            .iter_mut()
            .zip(&demand.experts)
            .map(|(counts, expert)| expert.weight * counts.next().unwrap_or(0.0))
            .sum()
    };
    let (mut greatest, mut below) = (0, probability());
    for units in 1..=FURTHEST {
        let exactly = probability();
        if f64::from(units) / lead * exactly >= price * below {
            if units >= bound {
                return bound;
            }
            greatest = units;
        } else if f64::from(units) > greatest_mean {
            break;
        }
        below += exactly;
    }
    greatest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::demand::Expert;
    use super::*;

    fn known(shape: f64, time: f64) -> Demand {
        Demand { experts: [Expert { shape, time, weight: 1.0 / 6.0 }; EXPERTS] }
    }

    #[test]
    fn a_level_is_a_quantile_plus_one() {
        // A rate that is as good as known, and the price that is right for a normal demand of this mean, at 95%: the
        // quantiles of Poisson distributions of these means, plus one.
        for (mean, least, most) in [(3.0_f64, 6, 7), (30.0, 39, 41), (300.0, 329, 331)] {
            let price = 0.1086 / (mean.sqrt() / mean);
            let level = greatest(&known(mean * 1e7, 1e7), 1.0, price, 10_000);
            assert!((least..=most).contains(&level), "{mean}: {level}");
        }
    }

    proptest! {
        #[test]
        fn the_last_unit_is_worth_its_price_and_none_above_is(
            experts in prop::collection::vec((0.01_f64..200.0, 1.0_f64..1000.0, 0.01_f64..1.0), EXPERTS),
            price in 1e-6_f64..0.1,
        ) {
            let sum: f64 = experts.iter().map(|(.., weight)| weight).sum();
            let experts = std::array::from_fn(|at| {
                let (shape, time, weight) = experts[at];
                Expert { shape, time, weight: weight / sum }
            });
            let demand = Demand { experts };
            let mut rows = experts.map(|expert| expert.counts(30.0));
            let (mut below, mut worth) = (0.0, 0);
            for units in 0..15_000 {
                let exactly: f64 = rows.iter_mut().zip(experts).map(|(row, Expert { weight, .. })| weight * row.next().unwrap()).sum();
                if units > 0 && f64::from(units) / 30.0 * exactly >= price * below {
                    worth = units;
                }
                below += exactly;
            }
            for bound in [20, 500, 20_000] {
                prop_assert_eq!(greatest(&demand, 30.0, price, bound), worth.min(bound));
            }
        }

        #[test]
        fn more_demand_or_a_lower_price_never_needs_less(
            shape in 0.01_f64..300.0, more in 1.0_f64..3.0, time in 1.0_f64..1000.0,
            price in 1e-6_f64..0.1, cheaper in 0.1_f64..1.0, lead in 1.0_f64..1000.0,
        ) {
            let level = greatest(&known(shape, time), lead, price, 5000);
            prop_assert!(greatest(&known(shape * more, time), lead, price, 5000) >= level);
            prop_assert!(greatest(&known(shape, time), lead, price * cheaper, 5000) >= level);
        }
    }
}
