//! How high the level would have had to be for each of the latest orders.

/// Values up to here have a bin each; above, there are so many bins for each doubling.
const FINE: u32 = 8;
/// Enough for more than the greatest level that the schema allows.
pub(super) const BINS: usize = 96;

/// A histogram that forgets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Needs {
    /// The weight of each bin.
    pub(super) weights: [f64; BINS],
}

impl Needs {
    /// Before the first order.
    pub(super) const NONE: Self = Self { weights: [0.0; BINS] };

    /// Counts a need, after the ones before have faded to this part.
    pub(super) fn count(&mut self, need: u32, faded: f64) {
        for weight in &mut self.weights {
            *weight *= faded;
            // Beside a new one nothing is left of it.
            if *weight < 1e-6 {
                *weight = 0.0;
            }
        }
        self.weights[bin(need)] += 1.0;
    }

    /// The least value that is not below this share of all, to an eighth; 0 where there is none.
    pub(super) fn quantile(&self, share: f64) -> u32 {
        let all: f64 = self.weights.iter().sum();
        let mut sum = 0.0;
        for (bin, weight) in (0..).zip(&self.weights) {
            sum += weight;
            if sum > 0.0 && sum >= share * all {
                return greatest(bin);
            }
        }
        0
    }
}

/// The bin of a need.
fn bin(need: u32) -> usize {
    let need = need.max(1) - 1;
    if need < FINE {
        return need as usize;
    }
    let doublings = need.ilog2() - FINE.ilog2();
    let within = (need >> doublings) - FINE;
    ((FINE + doublings * FINE + within) as usize).min(BINS - 1)
}

/// The greatest need of a bin.
fn greatest(bin: u32) -> u32 {
    if bin < FINE {
        return bin + 1;
    }
    let (doublings, within) = ((bin - FINE) / FINE, (bin - FINE) % FINE);
    (FINE + within + 1) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_is_fine_up_to_nine_and_to_an_eighth_above() {
        for need in 1..=16_000 {
            let most = greatest(u32::try_from(bin(need)).unwrap());
            assert!(need <= most && (most - need) * 8 < need, "{need} in a bin up to {most}");
        }
        assert_eq!(bin(u32::MAX), BINS - 1);
    }

    #[test]
    fn the_quantile_is_that_of_what_was_counted() {
        let mut needs = Needs::NONE;
        assert_eq!(needs.quantile(0.95), 0);
        (1..=8).for_each(|need| needs.count(need, 1.0));
        for (share, quantile) in [(0.1, 1), (0.5, 4), (0.51, 5), (1.0, 8)] {
            assert_eq!(needs.quantile(share), quantile, "{share}");
        }
    }

    #[test]
    fn what_was_counted_fades() {
        let mut needs = Needs::NONE;
        needs.count(1000, 1.0);
        (0..10).for_each(|_| needs.count(2, 0.5));
        assert_eq!(needs.quantile(0.95), 2);
    }
}
