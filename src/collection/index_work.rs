//! State of the indexer: the build in progress, failures and their retries, and damaged indexes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::indexer::Build;
use crate::jobs::Backoff;

/// First and longest pause after a failed build.
const PAUSES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// An index: the number of its segment, and the position of its field.
pub(super) type IndexOf = (u64, usize);

/// State of the indexer.
#[derive(Debug)]
pub(super) struct IndexWork {
    /// The build in progress.
    pub running: Option<Arc<Build>>,
    /// Damaged indexes, to be dropped and rebuilt.
    pub damaged: BTreeSet<IndexOf>,
    /// Indexes to recalibrate with recent queries.
    pub recalibrate: BTreeSet<IndexOf>,
    /// Failed builds.
    pub failures: Backoff<IndexOf>,
}

impl Default for IndexWork {
    fn default() -> Self {
        let (damaged, recalibrate) = (BTreeSet::new(), BTreeSet::new());
        let failures = Backoff::new(PAUSES.0, PAUSES.1);
        Self { running: None, damaged, recalibrate, failures }
    }
}

impl IndexWork {
    /// Forgets segments that were removed.
    pub fn forget(&mut self, segments: &[u64]) {
        self.failures.retain(|(segment, _)| !segments.contains(segment));
        self.damaged.retain(|(segment, _)| !segments.contains(segment));
        self.recalibrate.retain(|(segment, _)| !segments.contains(segment));
    }

    /// The failed builds with their reasons, if any.
    pub fn failed(&self) -> Option<String> {
        let reason =
            |(&(segment, _), reason): (&IndexOf, &str)| format!("segment {segment}: {reason}");
        let reasons: Vec<String> = self.failures.iter().map(reason).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn failures_name_their_segments_and_go_with_them() {
        let (mut work, now) = (IndexWork::default(), Instant::now());
        for (index, reason) in [((1, 0), "no room"), ((2, 0), "no space")] {
            work.failures.fail(index, reason.into(), now, now);
            work.damaged.insert(index);
            work.recalibrate.insert(index);
        }
        assert_eq!(work.failures.next_retry(now), Some(now + PAUSES.0));
        assert_eq!(work.failed().unwrap(), "segment 1: no room; segment 2: no space");
        work.forget(&[2]);
        assert_eq!(work.failed().unwrap(), "segment 1: no room");
        assert_eq!((work.damaged.len(), work.recalibrate.len()), (1, 1));
        work.failures.succeed(&(1, 0));
        assert_eq!(work.failed(), None);
    }
}
