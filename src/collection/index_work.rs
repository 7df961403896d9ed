//! What the indexer is at: the build in progress, what failed and when that is tried again, and
//! which indexes were found damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::indexer::Job;

/// Pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The index of a field: the number of its segment, and the position of the field.
pub(super) type IndexOf = (u64, usize);

/// What the indexer is at.
#[derive(Debug, Default)]
pub(super) struct IndexWork {
    /// The build in progress.
    pub running: Option<Arc<Job>>,
    /// Indexes whose file is damaged; they are dropped and built again.
    pub damaged: BTreeSet<IndexOf>,
    /// Indexes that are to be measured by the queries that came.
    pub recalibrate: BTreeSet<IndexOf>,
    failures: BTreeMap<IndexOf, Failure>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    attempts: u32,
    retry_at: Instant,
}

impl IndexWork {
    /// Notes a failed build: it is not tried again for a while.
    pub fn fail(&mut self, index: IndexOf, reason: String, now: Instant) {
        let attempts = self.failures.get(&index).map_or(0, |failure| failure.attempts) + 1;
        let retry_at = now + pause(attempts);
        self.failures.insert(index, Failure { reason, attempts, retry_at });
    }

    /// Notes that an index was built.
    pub fn succeed(&mut self, index: IndexOf) {
        self.failures.remove(&index);
    }

    /// Whether a build failed and is not to be tried again yet.
    pub fn is_paused(&self, index: IndexOf, now: Instant) -> bool {
        self.failures.get(&index).is_some_and(|failure| failure.retry_at > now)
    }

    /// When a failed build is to be tried again.
    pub fn next_retry(&self, now: Instant) -> Option<Instant> {
        let times = self.failures.values().map(|failure| failure.retry_at);
        times.filter(|&at| at > now).min()
    }

    /// Ends all pauses.
    pub fn try_again(&mut self) {
        self.failures.clear();
    }

    /// Forgets what is known of segments that are gone.
    pub fn forget(&mut self, segments: &[u64]) {
        self.failures.retain(|(segment, _), _| !segments.contains(segment));
        self.damaged.retain(|(segment, _)| !segments.contains(segment));
        self.recalibrate.retain(|(segment, _)| !segments.contains(segment));
    }

    /// Why the index could not be built, if so.
    pub fn failure(&self, index: IndexOf) -> Option<&str> {
        self.failures.get(&index).map(|failure| failure.reason.as_str())
    }

    /// Why indexes could not be built, if some could not.
    pub fn failed(&self) -> Option<String> {
        let reason = |((segment, _), failure): (&IndexOf, &Failure)| {
            format!("segment {segment}: {}", failure.reason)
        };
        let reasons: Vec<String> = self.failures.iter().map(reason).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

fn pause(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let (mut work, start) = (IndexWork::default(), Instant::now());
        let minutes = |count: u64| start + Duration::from_secs(60 * count);
        for index in [(1, 0), (2, 0)] {
            work.fail(index, "no space".into(), start);
        }
        assert!(work.is_paused((1, 0), start) && !work.is_paused((1, 1), start));
        assert_eq!(work.next_retry(start), Some(minutes(1)));
        assert!(!work.is_paused((1, 0), minutes(1)));
        assert_eq!(work.failure((1, 0)), Some("no space"), "until it is built");
        work.fail((1, 0), "no room".into(), minutes(1));
        assert!(work.is_paused((1, 0), minutes(2)) && !work.is_paused((1, 0), minutes(3)));
        assert_eq!(work.next_retry(minutes(1)), Some(minutes(3)));
        assert_eq!(work.failed().unwrap(), "segment 1: no room; segment 2: no space");
        work.forget(&[2]);
        work.succeed((1, 0));
        assert_eq!(work.failed(), None);
        work.fail((1, 0), "again".into(), start);
        work.try_again();
        assert!(!work.is_paused((1, 0), start) && work.next_retry(start).is_none());
        assert_eq!(pause(1_000), LONGEST_PAUSE);
    }
}
