//! Threads that let others go first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work goes on for so long before it rests.
const LEAST_WORK: Duration = Duration::from_millis(1);
/// Where queries come, a rest takes so many times as long as the work before it.
const REST: u32 = 7;
/// How often whoever rests looks whether the work is still wanted, and whether queries still come.
const LOOK: Duration = Duration::from_millis(50);

/// Makes the calling thread so much nicer than others, where that can be set: under load it gets less
/// of a core than they do.
pub(crate) fn give_way(_nice: i32) {
    // Linux sets it for the calling thread alone. What cannot be set is no reason not to work.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, _nice) {
        tracing::debug!(%error, "a thread does not give way");
    }
}

/// How fast a piece of work may go on, and whether it still should.
pub(crate) struct Pace<'a> {
    cancelled: &'a AtomicBool,
    /// How many queries came by now, if they go first.
    queries: Option<&'a Counter<'a>>,
    turn: Mutex<Turn>,
}

type Counter<'a> = dyn Fn() -> u64 + Sync + 'a;

struct Turn {
    /// When the last rest ended, or ends: all threads of the work rest together.
    rested: Instant,
    /// Queries that had come by then.
    queries: u64,
}

impl<'a> Pace<'a> {
    /// As fast as can be, until it is cancelled.
    pub fn full(cancelled: &'a AtomicBool) -> Self {
        Self::new(cancelled, None)
    }

    /// An eighth of the time as long as this number of queries grows.
    pub fn calm(cancelled: &'a AtomicBool, queries: &'a Counter<'a>) -> Self {
        Self::new(cancelled, Some(queries))
    }

    fn new(cancelled: &'a AtomicBool, queries: Option<&'a Counter<'a>>) -> Self {
        let before = queries.map_or(0, |queries| queries());
        let turn = Turn { rested: Instant::now(), queries: before };
        Self { cancelled, queries, turn: Mutex::new(turn) }
    }

    /// Asked again and again, after a millisecond of work or so: rests if it has to, and says whether to
    /// go on.
    pub fn goes_on(&self) -> bool {
        if let Some(queries) = self.queries {
            let until = self.rest(queries, Instant::now());
            let left = || until.saturating_duration_since(Instant::now());
            let mut came = if left().is_zero() { 0 } else { queries() };
            while !left().is_zero() && !self.cancelled.load(Ordering::Relaxed) {
                std::thread::sleep(left().min(LOOK));
                let now = queries();
                if now == came {
                    // Nobody is there any more for whom to rest.
                    break;
                }
                came = now;
            }
        }
        !self.cancelled.load(Ordering::Relaxed)
    }

    /// When the rest ends that has begun or has to begin now. Looks for queries only where it matters.
    fn rest(&self, queries: &Counter<'_>, now: Instant) -> Instant {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = now.saturating_duration_since(turn.rested);
        if worked >= LEAST_WORK {
            let before = std::mem::replace(&mut turn.queries, queries());
            turn.rested = if turn.queries != before { now + worked * REST } else { now };
        }
        turn.rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_as_long_as_queries_come() {
        let cancelled = AtomicBool::new(false);
        let pace = Pace::calm(&cancelled, &|| 0);
        let begun = pace.turn.lock().unwrap().rested;
        let at = |ms: u64| begun + Duration::from_millis(ms);
        assert_eq!(pace.rest(&|| 1, at(0)), at(0), "too little was done");
        assert_eq!(pace.rest(&|| 1, at(2)), at(16), "seven times two milliseconds");
        assert_eq!(pace.rest(&|| 9, at(3)), at(16), "another thread rests with it");
        assert_eq!(pace.rest(&|| 9, at(20)), at(48), "queries came during the rest");
        assert_eq!(pace.rest(&|| 9, at(90)), at(90), "no query since");
        pace.turn.lock().unwrap().rested = Instant::now() + Duration::from_secs(3_600);
        assert!(pace.goes_on(), "nobody asks any more, so that there is no hour of rest");
        cancelled.store(true, Ordering::Relaxed);
        assert!(!pace.goes_on());
        assert!(Pace::full(&AtomicBool::new(false)).goes_on());
    }
}
