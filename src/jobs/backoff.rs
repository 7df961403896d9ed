//! Failed work and its retries.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Failed pieces of work. Each is retried after a pause that doubles with each failure, or at once
/// on request. A request only sees failures of attempts that started after it.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    longest: Duration,
    failures: BTreeMap<K, Failure>,
    /// Time of the last request.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    attempts: u32,
    /// Start of the failed attempt.
    began: Instant,
    retry_at: Instant,
    /// Whether the failure was reported and is being retried.
    told: bool,
}

impl<K: Ord> Backoff<K> {
    /// Pauses from `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: BTreeMap::new(), asked: None }
    }

    /// Records a failed attempt and schedules a retry: after a pause, or at once if requested since
    /// the attempt started.
    pub fn fail(&mut self, key: K, reason: String, began: Instant, now: Instant) {
        let attempts = self.failures.get(&key).map_or(0, |failure| failure.attempts) + 1;
        let doublings = (attempts - 1).min(16);
        let pause = match self.asked.is_some_and(|asked| asked > began) {
            true => Duration::ZERO,
            false => (self.first * (1 << doublings)).min(self.longest),
        };
        let failure = Failure { reason, attempts, began, retry_at: now + pause, told: false };
        self.failures.insert(key, failure);
    }

    /// Records a success; returns the earlier failure, if any.
    pub fn succeed(&mut self, key: &K) -> Option<String> {
        self.failures.remove(key).map(|failure| failure.reason)
    }

    /// Reports the failure once, and ends its pause.
    pub fn tell(&mut self, key: &K, now: Instant) -> Option<String> {
        let failure = self.failures.get_mut(key).filter(|failure| !failure.told)?;
        (failure.told, failure.retry_at) = (true, now);
        Some(failure.reason.clone())
    }

    /// End of the pause of a failed piece, if in the future.
    pub fn paused_until(&self, key: &K, now: Instant) -> Option<Instant> {
        self.failures.get(key).map(|failure| failure.retry_at).filter(|&at| at > now)
    }

    /// Time of the next retry.
    pub fn next_retry(&self, now: Instant) -> Option<Instant> {
        let times = self.failures.values().map(|failure| failure.retry_at);
        times.filter(|&at| at > now).min()
    }

    /// Requests a retry of everything: forgets all failures.
    pub fn try_again(&mut self, now: Instant) {
        self.failures.clear();
        self.asked = Some(now);
    }

    /// Requests a retry of one piece: forgets its failure.
    pub fn try_one_again(&mut self, key: &K, now: Instant) {
        self.failures.remove(key);
        self.asked = Some(now);
    }

    /// Forgets all failures but those to keep.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.failures.retain(|key, _| keep(key));
    }

    /// Reason of the last failure, if any.
    pub fn reason(&self, key: &K) -> Option<&str> {
        self.failures.get(key).map(|failure| failure.reason.as_str())
    }

    /// Reason of the last failure, if that attempt started after the request.
    pub fn reason_since(&self, key: &K, asked: Instant) -> Option<&str> {
        let failure = self.failures.get(key).filter(|failure| failure.began >= asked);
        failure.map(|failure| failure.reason.as_str())
    }

    /// All failed pieces with their reasons.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &str)> {
        self.failures.iter().map(|(key, failure)| (key, failure.reason.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let start = Instant::now();
        let minutes = |count: u64| start + Duration::from_secs(60 * count);
        let mut work = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));
        for key in [1, 2] {
            work.fail(key, "no space".into(), start, start);
        }
        assert_eq!(work.paused_until(&1, start), Some(minutes(1)));
        assert_eq!(work.paused_until(&3, start), None);
        assert_eq!(work.next_retry(start), Some(minutes(1)));
        assert_eq!(work.paused_until(&1, minutes(1)), None);
        assert_eq!(work.reason(&1), Some("no space"), "until it is done");
        assert_eq!(work.tell(&2, start).as_deref(), Some("no space"));
        assert_eq!((work.tell(&2, start), work.paused_until(&2, start)), (None, None));
        assert_eq!(work.reason(&2), Some("no space"), "also if somebody was told");
        work.fail(1, "no room".into(), minutes(1), minutes(1));
        assert_eq!(work.paused_until(&1, minutes(2)), Some(minutes(3)));
        assert_eq!(work.next_retry(minutes(1)), Some(minutes(3)));
        assert_eq!(work.iter().collect::<Vec<_>>(), [(&1, "no room"), (&2, "no space")]);
        work.retain(|&key| key != 2);
        assert_eq!(work.succeed(&1), Some("no room".into()));
        assert_eq!(work.iter().count(), 0);
        for _ in 0..50 {
            work.fail(1, "again".into(), start, start);
        }
        assert_eq!(work.next_retry(start), Some(minutes(60)), "no pause is longer");
        work.try_again(start);
        assert_eq!(work.next_retry(start), None);
    }

    #[test]
    fn whoever_asks_is_told_of_no_attempt_that_had_begun() {
        let start = Instant::now();
        let second = |count: u64| start + Duration::from_secs(count);
        let mut work = Backoff::new(Duration::from_secs(60), Duration::from_secs(3600));
        work.try_one_again(&1, second(1));
        work.fail(1, "no space".into(), second(0), second(2));
        assert_eq!(work.reason_since(&1, second(1)), None);
        assert_eq!(work.reason(&1), Some("no space"));
        assert_eq!(work.paused_until(&1, second(2)), None, "it is tried again at once");
        work.fail(1, "no space".into(), second(2), second(3));
        assert_eq!(work.reason_since(&1, second(1)), Some("no space"));
        assert!(work.paused_until(&1, second(3)).is_some());
        work.try_again(second(4));
        work.fail(2, "no room".into(), second(3), second(5));
        assert_eq!((work.reason_since(&2, second(4)), work.next_retry(second(5))), (None, None));
    }
}
