//! Three days of orders, made from a seed.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// How long a trace is, in seconds.
pub(crate) const LENGTH: f64 = 3.0 * 24.0 * HOUR;
const HOUR: f64 = 3600.0;
const MINUTE: f64 = 60.0;

/// How the rate of orders moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// It does not.
    Steady,
    /// Between two rates, each for a random time (a Markov-modulated Poisson process).
    Bursty,
    /// As a sine over the day.
    Daily,
    /// Little, then a hundred times as much after a day, which fades over two hours.
    Launch,
    /// Half as much every eight hours, and nothing after two days.
    Dying,
    /// Steady, twenty at a time.
    Batches,
}

impl Pattern {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Steady, Self::Bursty, Self::Daily, Self::Launch, Self::Dying, Self::Batches];

    /// As it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::Daily => "daily",
            Self::Launch => "launch",
            Self::Dying => "dying",
            Self::Batches => "batches",
        }
    }
}

/// When orders come, and at what rate they do.
pub(crate) struct Trace {
    /// The times of the orders, in seconds, ascending.
    pub(crate) orders: Vec<f64>,
    rate: Rate,
}

/// A rate over time, in orders per second.
struct Rate {
    pattern: Pattern,
    scale: f64,
    /// When a bursty one changes between its two rates; it begins with the low one.
    changes: Vec<f64>,
}

impl Rate {
    fn at(&self, time: f64) -> f64 {
        let rate = match self.pattern {
            Pattern::Steady => 0.05,
            Pattern::Bursty if self.changes.partition_point(|change| *change <= time) % 2 == 0 => 0.01,
            Pattern::Bursty => 0.25,
            Pattern::Daily => 0.05 * (1.0 + 0.95 * libm::sin(std::f64::consts::TAU * time / (24.0 * HOUR))),
            Pattern::Launch if time < 24.0 * HOUR => 0.005,
            Pattern::Launch => 0.005 + 0.495 * libm::exp(-(time - 24.0 * HOUR) / (2.0 * HOUR)),
            Pattern::Dying if time < 48.0 * HOUR => 0.1 * libm::exp2(-time / (8.0 * HOUR)),
            Pattern::Dying => 0.0,
            Pattern::Batches => 0.05 / 20.0,
        };
        rate * self.scale
    }

    /// What it never exceeds.
    fn most(&self) -> f64 {
        0.5 * self.scale
    }
}

impl Trace {
    /// Made by thinning (Lewis and Shedler, *Simulation of nonhomogeneous Poisson processes by thinning*, 1979).
    pub(crate) fn new(pattern: Pattern, scale: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut changes = Vec::new();
        let mut time = 0.0;
        while pattern == Pattern::Bursty && time < LENGTH {
            let dwell = if changes.len().is_multiple_of(2) { 50.0 * MINUTE } else { 10.0 * MINUTE };
            time += random.exponential(dwell);
            changes.push(time);
        }
        let rate = Rate { pattern, scale, changes };
        let mut orders = Vec::new();
        let mut time = 0.0;
        loop {
            time += random.exponential(1.0 / rate.most());
            if time >= LENGTH {
                break;
            }
            if random.unit() * rate.most() < rate.at(time) {
                let together = if pattern == Pattern::Batches { 20 } else { 1 };
                orders.extend(std::iter::repeat_n(time, together));
            }
        }
        Self { orders, rate }
    }

    /// The rate at a time, in orders per second.
    pub(crate) fn rate(&self, time: f64) -> f64 {
        self.rate.at(time)
    }
}

/// Random numbers that are the same everywhere: `ChaCha8`, and functions that do not depend on the machine.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From 0 up to 1.
    fn unit(&mut self) -> f64 {
        self.0.random()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log1p(-self.unit())
    }

    /// Log-normal, by its mean and its coefficient of variation (and Box and Muller's two uniform numbers).
    pub(crate) fn log_normal(&mut self, mean: f64, variation: f64) -> f64 {
        let variance = libm::log1p(variation * variation);
        let radius = libm::sqrt(-2.0 * libm::log1p(-self.unit()));
        let normal = radius * libm::cos(std::f64::consts::TAU * self.unit());
        mean * libm::exp(normal * libm::sqrt(variance) - variance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all results rest on: the traces are part of the project, as what makes them and what comes of it.
    #[test]
    fn traces_are_the_same_everywhere() {
        let mut digests = Vec::new();
        for pattern in Pattern::ALL {
            for scale in [1.0, 0.1] {
                for seed in 1..=5 {
                    let trace = Trace::new(pattern, scale, seed);
                    let (name, orders, digest) = (pattern.name(), trace.orders.len(), digest(&trace));
                    digests.push(format!("{name} x {scale}, seed {seed}: {orders} orders, {digest:016x}"));
                }
            }
        }
        insta::assert_snapshot!(digests.join("\n"));
    }

    /// FNV-1a over the bits of the times.
    fn digest(trace: &Trace) -> u64 {
        let bytes = trace.orders.iter().flat_map(|time| time.to_bits().to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn orders_come_at_their_rate() {
        for pattern in Pattern::ALL {
            let trace = Trace::new(pattern, 1.0, 1);
            let together = if pattern == Pattern::Batches { 20.0 } else { 1.0 };
            let expected: f64 = (0..259_200).map(|second| trace.rate(f64::from(second)) * together).sum();
            let came = f64::from(u32::try_from(trace.orders.len()).unwrap());
            assert!((came - expected).abs() < 4.0 * (expected * together).sqrt(), "{pattern:?}: {came} of {expected}");
            assert!(trace.orders.is_sorted());
        }
    }

    #[test]
    fn lead_times_have_their_mean_and_spread() {
        let mut random = Random::new(1);
        let times: Vec<f64> = (0..20_000).map(|_| random.log_normal(60.0, 0.3)).collect();
        let mean = times.iter().sum::<f64>() / 20_000.0;
        let deviation = (times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / 20_000.0).sqrt();
        assert!((mean - 60.0).abs() < 0.6 && (deviation / mean - 0.3).abs() < 0.01, "{mean} {deviation}");
    }
}
