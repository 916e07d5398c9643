//! How many units will be ordered during a lead time.
//!
//! The number of orders in a time is taken for Poisson at a rate that nobody knows and that moves. For a rate that is
//! gamma distributed with shape α and rate β, the number in a time t is negative binomial, and having seen n in t makes it
//! α+n, β+t (gamma and Poisson are conjugate: Gelman et al., *Bayesian Data Analysis*, 2.6). To follow a rate that moves,
//! both fade with a memory τ (J. Q. Smith, *A generalization of the Bayesian steady forecasting model*, 1979). Nobody knows
//! how fast the rate moves either: there are six experts with memories from eight ticks on, each four times the one
//! before, weighted by how well they foretold what came, and with a share of the weight handed round so that none is ever
//! out (Herbster and Warmuth, *Tracking the best expert*, 1998).
//!
//! All of it is in closed form for a silence of any length, so that nothing counts ticks.

use libm::{exp, expm1, lgamma, log, log1p, sqrt};

/// How many memories.
pub(super) const EXPERTS: usize = 6;
/// The weight of each where none is better than the others.
const EVEN: f64 = 1.0 / 6.0;
/// What α fades to: an expert never rules an order out.
const SHAPE_FLOOR: f64 = 0.001;
/// α and β, in ticks, of one who has seen nothing.
const FIRST_SHAPE: f64 = 0.05;
const FIRST_TICKS: f64 = 4.0;
/// The share of all weight that is handed round in a tick.
const SHARED: f64 = 0.001;

/// What six experts know of the rate of orders.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) experts: [Expert; EXPERTS],
}

/// A gamma distribution of the rate, in units per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expert {
    /// α, in units.
    pub(super) shape: f64,
    /// β, in seconds; 0 where nothing was seen yet.
    pub(super) time: f64,
    /// How much it counts; all together 1.
    pub(super) weight: f64,
}

/// The unit of the memories, in seconds: a twentieth of the lead time, and at least a second.
fn tick(lead: f64) -> f64 {
    (lead / 20.0).max(1.0)
}

/// The memories, in seconds.
fn memories(lead: f64) -> [f64; EXPERTS] {
    let mut memory = 2.0 * tick(lead);
    std::array::from_fn(|_| {
        memory *= 4.0;
        memory
    })
}

impl Demand {
    /// Of one who has seen nothing, at this lead time.
    pub(super) fn unknown(lead: f64) -> Self {
        let expert = Expert { shape: FIRST_SHAPE, time: FIRST_TICKS * tick(lead), weight: EVEN };
        Self { experts: [expert; EXPERTS] }
    }

    /// The same after a silence.
    pub(super) fn after(&self, silence: f64, lead: f64) -> Self {
        if silence <= 0.0 {
            return self.clone();
        }
        let mut after = self.clone();
        let mut surprises = [0.0; EXPERTS];
        for ((expert, memory), surprise) in after.experts.iter_mut().zip(memories(lead)).zip(&mut surprises) {
            *surprise = expert.fade(silence, memory);
        }
        after.weigh(surprises.map(|surprise| -surprise));
        let handed_round = -expm1(-SHARED * silence / tick(lead));
        for expert in &mut after.experts {
            expert.weight += handed_round * (EVEN - expert.weight);
        }
        after
    }

    /// The same when so many units are ordered.
    pub(super) fn with(mut self, units: u32) -> Self {
        let units = f64::from(units);
        let likelihoods = self.experts.map(|Expert { shape, time, .. }| {
            // That of so many units of one order, each at the rate that the ones before have made likely.
            lgamma(shape + units) - lgamma(shape) - units * log(time)
        });
        self.weigh(likelihoods);
        for expert in &mut self.experts {
            expert.shape += units;
        }
        self
    }

    /// The expected rate, in units per second.
    pub(super) fn rate(&self) -> f64 {
        self.experts.iter().map(|expert| expert.weight * expert.shape / expert.time).sum()
    }

    /// Multiplies the weights by the exponentials of these.
    fn weigh(&mut self, logarithms: [f64; EXPERTS]) {
        let greatest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for (expert, logarithm) in self.experts.iter_mut().zip(logarithms) {
            expert.weight = (expert.weight * exp(logarithm - greatest)).max(1e-30);
            sum += expert.weight;
        }
        for expert in &mut self.experts {
            expert.weight /= sum;
        }
    }
}

impl Expert {
    /// Fades over a silence; minus the logarithm of how likely it held the silence.
    ///
    /// With u = e^(-t/τ), α(t) = a + (α-a)u and β(t) = τ + (β-τ)u, and the silence is as likely as e^-∫α(t)/β(t)dt.
    fn fade(&mut self, silence: f64, memory: f64) -> f64 {
        let faded = exp(-silence / memory);
        let (more, longer) = (self.shape - SHAPE_FLOOR, self.time / memory - 1.0);
        let integral = if longer.abs() < 1e-6 { 1.0 - faded } else { (log1p(longer) - log1p(longer * faded)) / longer };
        self.shape = SHAPE_FLOOR + more * faded;
        self.time = memory * (1.0 + longer * faded);
        SHAPE_FLOOR * silence / memory + (more - SHAPE_FLOOR * longer) * integral
    }

    /// How many units are expected in a time.
    pub(super) fn mean(&self, time: f64) -> f64 {
        self.shape * time / self.time
    }

    /// How likely each number of units is in a time.
    pub(super) fn counts(&self, time: f64) -> Counts {
        Counts::new(self.shape, time / (self.time + time), self.mean(time))
    }
}

/// Probabilities of a negative binomial distribution, for 0, 1, 2 and so on.
///
/// Each is the one before times (α+x)q/(x+1). The first may be less than the least number there is, so the row begins
/// twelve deviations below the mean and is zero before.
pub(super) struct Counts {
    shape: f64,
    q: f64,
    first: f64,
    next: f64,
    probability: f64,
}

impl Counts {
    fn new(shape: f64, q: f64, mean: f64) -> Self {
        let first = (mean - 12.0 * sqrt(mean / (1.0 - q))).floor().max(0.0);
        let logarithm = lgamma(shape + first) - lgamma(shape) - lgamma(first + 1.0)
            + shape * log1p(-q)
            + if first > 0.0 { first * log(q) } else { 0.0 };
        Self { shape, q, first, next: 0.0, probability: exp(logarithm) }
    }
}

impl Iterator for Counts {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let at = self.next;
        self.next += 1.0;
        if at < self.first {
            return Some(0.0);
        }
        let probability = self.probability;
        self.probability *= (self.shape + at) * self.q / (at + 1.0);
        Some(probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-6 * one.abs().max(other.abs()).max(1e-6)
    }

    #[test]
    fn probabilities_of_a_negative_binomial_add_up_to_one_around_its_mean() {
        for (shape, time, lead) in [(0.05, 4.0, 1.0), (3.0, 60.0, 60.0), (500.0, 1000.0, 600.0), (9000.0, 900.0, 900.0)]
        {
            let expert = Expert { shape, time, weight: 1.0 };
            let (mut sum, mut mean) = (0.0, 0.0);
            for (count, probability) in (0..40_000).zip(expert.counts(lead)) {
                sum += probability;
                mean += f64::from(count) * probability;
            }
            assert!(close(sum, 1.0), "{shape}: {sum}");
            assert!(close(mean, expert.mean(lead)), "{shape}: {mean}");
        }
    }

    #[test]
    fn shape_one_is_the_geometric_distribution() {
        let expert = Expert { shape: 1.0, time: 30.0, weight: 1.0 };
        let probabilities: Vec<f64> = expert.counts(30.0).take(3).collect();
        assert!(probabilities.iter().zip([0.5, 0.25, 0.125]).all(|(one, other)| close(*one, other)));
    }

    /// The closed form of a silence is what many small steps of it come to.
    #[test]
    fn a_silence_in_one_is_a_silence_in_steps() {
        for (shape, time, memory) in [(5.0, 8.0, 8.0), (0.05, 4.0, 512.0), (40.0, 3000.0, 128.0), (2.0, 8.000_001, 8.0)]
        {
            for silence in [1.0, 100.0, 5000.0] {
                let expert = Expert { shape, time, weight: 1.0 };
                let (mut whole, mut steps) = (expert, expert);
                let surprise = whole.fade(silence, memory);
                let surprises: f64 = (0..1000).map(|_| steps.fade(silence / 1000.0, memory)).sum();
                assert!(close(surprise, surprises), "{shape} {time} {memory} {silence}: {surprise} {surprises}");
                assert!(close(whole.shape, steps.shape) && close(whole.time, steps.time));
                // The rate at work in small steps, by hand.
                let mut by_hand = expert;
                let integral: f64 = (0..100_000)
                    .map(|_| {
                        let rate = by_hand.shape / by_hand.time;
                        by_hand.fade(silence / 100_000.0, memory);
                        rate * silence / 100_000.0
                    })
                    .sum();
                assert!((integral - surprise).abs() <= 0.02 * surprise, "{integral} {surprise}");
            }
        }
    }

    #[test]
    fn what_is_known_of_a_rate_is_what_came_over_the_time() {
        let mut demand = Demand::unknown(20.0);
        for _ in 0..2000 {
            demand = demand.after(4.0, 20.0).with(1);
        }
        assert!((demand.rate() - 0.25).abs() < 0.02, "{}", demand.rate());
    }

    #[test]
    fn the_expert_who_knew_counts_most() {
        // A rate that rises a hundredfold: a short memory knows better than a long one.
        let mut demand = Demand::unknown(20.0);
        for _ in 0..1000 {
            demand = demand.after(100.0, 20.0).with(1);
        }
        let before = demand.clone();
        for _ in 0..20 {
            demand = demand.after(1.0, 20.0).with(1);
        }
        let long = |demand: &Demand| demand.experts[4].weight + demand.experts[5].weight;
        assert!(long(&before) > 0.5 && long(&demand) < 0.1, "{} {}", long(&before), long(&demand));
    }
}
