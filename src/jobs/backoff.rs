//! What failed, and when it is tried again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pieces of work that failed. Each is tried again after a pause, which doubles with each failure; at once
/// when somebody asks. Whoever asks is told of no attempt that had begun by then.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    longest: Duration,
    failures: BTreeMap<K, Failure>,
    /// When somebody asked last.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    attempts: u32,
    /// When the attempt began.
    began: Instant,
    retry_at: Instant,
    /// Whether somebody was told and it is being tried again.
    told: bool,
}

impl<K: Ord> Backoff<K> {
    /// Pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: BTreeMap::new(), asked: None }
    }

    /// Notes that an attempt failed: it is not tried again for a while, unless somebody has asked since
    /// the attempt began.
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

    /// Notes that it was done; what failed before is returned.
    pub fn succeed(&mut self, key: &K) -> Option<String> {
        self.failures.remove(key).map(|failure| failure.reason)
    }

    /// Tells why it failed, once, and ends its pause.
    pub fn tell(&mut self, key: &K, now: Instant) -> Option<String> {
        let failure = self.failures.get_mut(key).filter(|failure| !failure.told)?;
        (failure.told, failure.retry_at) = (true, now);
        Some(failure.reason.clone())
    }

    /// When a failed piece is to be tried again, if that is still to come.
    pub fn paused_until(&self, key: &K, now: Instant) -> Option<Instant> {
        self.failures.get(key).map(|failure| failure.retry_at).filter(|&at| at > now)
    }

    /// When the next failed piece is to be tried again.
    pub fn next_retry(&self, now: Instant) -> Option<Instant> {
        let times = self.failures.values().map(|failure| failure.retry_at);
        times.filter(|&at| at > now).min()
    }

    /// Somebody asks: forgets all failures.
    pub fn try_again(&mut self, now: Instant) {
        self.failures.clear();
        self.asked = Some(now);
    }

    /// Somebody asks for one piece: forgets that it failed.
    pub fn try_one_again(&mut self, key: &K, now: Instant) {
        self.failures.remove(key);
        self.asked = Some(now);
    }

    /// Forgets what is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.failures.retain(|key, _| keep(key));
    }

    /// Why it failed the last time, if it did.
    pub fn reason(&self, key: &K) -> Option<&str> {
        self.failures.get(key).map(|failure| failure.reason.as_str())
    }

    /// Why the last attempt failed, if it did and had not begun before somebody asked.
    pub fn reason_since(&self, key: &K, asked: Instant) -> Option<&str> {
        let failure = self.failures.get(key).filter(|failure| failure.began >= asked);
        failure.map(|failure| failure.reason.as_str())
    }

    /// All that failed, and why.
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
