use std::fmt;
use std::time::Duration;

/// Durations of one thing done many times.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// How many there are.
    #[allow(dead_code, reason = "for benches, which share this file")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that is not smaller than this share of them; the nearest-rank method.
    pub fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:9.3} ms   p99 {:9.3} ms   max {:9.3} ms",
            ms(self.percentile(0.5)),
            ms(self.percentile(0.99)),
            ms(self.percentile(1.0))
        )
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
