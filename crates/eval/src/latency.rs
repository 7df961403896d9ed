//! Latencies of single requests and their exact percentiles.
//!
//! Every duration is kept (16 bytes each), because the tail is what a benchmark is for and a
//! histogram rounds it. Percentiles follow the nearest-rank definition: the p-th percentile of n
//! values is the ⌈p·n/100⌉-th smallest, so it is always a latency that happened.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Percentiles of latency in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyPercentiles {
    /// Half of the requests took at most this long.
    pub p50: f64,
    /// 95 of 100 requests took at most this long.
    pub p95: f64,
    /// 99 of 100 requests took at most this long.
    pub p99: f64,
}

/// Collects the durations of requests.
#[derive(Debug, Clone, Default)]
pub struct LatencyRecorder {
    durations: Vec<Duration>,
}

impl LatencyRecorder {
    /// An empty recorder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the duration of one request.
    pub fn record(&mut self, duration: Duration) {
        self.durations.push(duration);
    }

    /// Adds everything `other` has recorded, as when each thread has its own recorder.
    pub fn merge(&mut self, other: Self) {
        self.durations.extend(other.durations);
    }

    /// Number of requests recorded.
    pub fn len(&self) -> usize {
        self.durations.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.durations.is_empty()
    }

    /// The nearest-rank percentile, in O(n log n); `None` when nothing was recorded.
    ///
    /// `percent` counts from 0 (the smallest duration) to 100 (the largest); above is as 100.
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        nearest_rank(&self.sorted(), percent)
    }

    /// The usual percentiles in milliseconds; `None` when nothing was recorded.
    pub fn percentiles_ms(&self) -> Option<LatencyPercentiles> {
        let sorted = self.sorted();
        let ms = |percent| Some(nearest_rank(&sorted, percent)?.as_nanos() as f64 / 1e6);
        Some(LatencyPercentiles { p50: ms(50)?, p95: ms(95)?, p99: ms(99)? })
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        sorted
    }
}

fn nearest_rank(sorted: &[Duration], percent: u8) -> Option<Duration> {
    let percent = usize::from(percent.min(100));
    let rank = (percent * sorted.len()).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(ms: impl IntoIterator<Item = u64>) -> LatencyRecorder {
        let mut recorder = LatencyRecorder::new();
        for ms in ms {
            recorder.record(Duration::from_millis(ms));
        }
        recorder
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        // The worked example of the definition: 15, 20, 35, 40, 50.
        let small = recorder([40, 15, 50, 20, 35]);
        for (percent, ms) in [(0, 15), (5, 15), (30, 20), (40, 20), (50, 35), (100, 50), (255, 50)]
        {
            assert_eq!(small.percentile(percent), Some(Duration::from_millis(ms)), "{percent}");
        }
        let expected = LatencyPercentiles { p50: 50.0, p95: 95.0, p99: 99.0 };
        assert_eq!(recorder((1..=100).rev()).percentiles_ms(), Some(expected));
        let one = LatencyPercentiles { p50: 7.0, p95: 7.0, p99: 7.0 };
        assert_eq!(recorder([7]).percentiles_ms(), Some(one));
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        assert_eq!(LatencyRecorder::new().percentile(50), None);
        assert_eq!(LatencyRecorder::new().percentiles_ms(), None);
    }

    #[test]
    fn merged_recorders_count_as_one() {
        let mut left = recorder([1, 2]);
        left.merge(recorder([3, 4]));
        assert_eq!(left.len(), 4);
        assert_eq!(left.percentile(75), Some(Duration::from_millis(3)));
    }
}
