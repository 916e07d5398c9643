//! How measured values are spread.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations that were measured, in microseconds, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Spread(Histogram<u64>);

impl Spread {
    /// The spread of these durations.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> anyhow::Result<Self> {
        let mut histogram = Histogram::new(3)?;
        for duration in durations {
            histogram.record(u64::try_from(duration.as_micros())?)?;
        }
        anyhow::ensure!(!histogram.is_empty(), "nothing was measured");
        Ok(Self(histogram))
    }

    /// How many durations there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Duration {
        Duration::from_micros(self.0.min())
    }

    /// The longest.
    pub(crate) fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> Duration {
        self.percentile(50.0)
    }

    /// The least duration that so many percent don't exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_so_many_percent_do_not_exceed() {
        let spread = Spread::of((1..=200).map(Duration::from_millis)).unwrap();
        let near = |duration: Duration, millis: u64| duration.as_millis().abs_diff(millis.into()) <= 1;
        assert!(near(spread.min(), 1) && near(spread.median(), 100) && near(spread.max(), 200), "{spread:?}");
        assert!(near(spread.percentile(99.0), 198), "{spread:?}");
    }

    #[test]
    fn nothing_measured_is_an_error() {
        assert!(Spread::of([]).is_err());
    }
}
