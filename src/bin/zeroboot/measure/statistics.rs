use std::fmt;
use std::time::Duration;

/// Durations of one thing done many times.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Adds all of another's.
    pub fn append(&mut self, mut other: Samples) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order in which they were taken, in nanoseconds.
    pub fn nanoseconds(&self) -> Vec<u64> {
        self.0.iter().map(|sample| sample.as_nanos() as u64).collect()
    }

    /// The smallest sample that is not smaller than this share of them; the nearest-rank method.
    pub fn percentile(&self, share: f64) -> Duration {
        self.percentiles([share])[0]
    }

    /// As [`Samples::percentile`], for several shares.
    pub fn percentiles<const N: usize>(&self, shares: [f64; N]) -> [Duration; N] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        shares.map(|share| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
        })
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = self.percentiles([0.5, 0.99, 1.0]).map(|d| d.as_secs_f64() * 1e3);
        write!(f, "p50 {p50:9.3} ms   p99 {p99:9.3} ms   max {max:9.3} ms")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn percentiles_are_samples_that_were_taken() {
        use super::{Duration, Samples};
        let mut samples = Samples::default();
        (1..=100).for_each(|i| samples.add(Duration::from_millis(i)));
        assert_eq!(samples.percentile(0.5), Duration::from_millis(50));
        assert_eq!(samples.percentile(0.99), Duration::from_millis(99));
        assert_eq!(samples.percentile(1.0), Duration::from_millis(100));
        assert_eq!(Samples::default().percentile(0.5), Duration::ZERO);
    }
}
