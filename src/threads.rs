//! Low-priority threads, and work that pauses while queries run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time of work between rests.
const LEAST_WORK: Duration = Duration::from_millis(1);
/// Length of a rest while queries arrive, as a multiple of the work before it.
const REST: u32 = 7;
/// Interval at which a resting thread checks for cancellation and new queries.
const LOOK: Duration = Duration::from_millis(50);

/// Adds `nice` to the calling thread's nice value, where supported: under load it gets a smaller
/// share of a core.
pub(crate) fn give_way(_nice: i32) {
    // On Linux this applies to the calling thread only. A failure is no reason not to work.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, _nice) {
        tracing::debug!(%error, "a thread does not give way");
    }
}

/// Pace and cancellation of a piece of background work.
pub(crate) struct Pace<'a> {
    cancelled: &'a AtomicBool,
    /// Counter of executed queries, if these have priority.
    queries: Option<&'a Counter<'a>>,
    turn: Mutex<Turn>,
}

type Counter<'a> = dyn Fn() -> u64 + Sync + 'a;

struct Turn {
    /// End of the last or current rest; all threads of the work rest together.
    rested: Instant,
    /// Value of the counter at that time.
    queries: u64,
}

impl<'a> Pace<'a> {
    /// At full speed, until cancelled.
    pub fn full(cancelled: &'a AtomicBool) -> Self {
        Self::new(cancelled, None)
    }

    /// An eighth of the time while the counter of queries grows.
    pub fn calm(cancelled: &'a AtomicBool, queries: &'a Counter<'a>) -> Self {
        Self::new(cancelled, Some(queries))
    }

    fn new(cancelled: &'a AtomicBool, queries: Option<&'a Counter<'a>>) -> Self {
        let before = queries.map_or(0, |queries| queries());
        let turn = Turn { rested: Instant::now(), queries: before };
        Self { cancelled, queries, turn: Mutex::new(turn) }
    }

    /// To be called after about every millisecond of work: rests if necessary, and returns whether
    /// to continue.
    pub fn goes_on(&self) -> bool {
        if let Some(queries) = self.queries {
            let until = self.rest(queries, Instant::now());
            let left = || until.saturating_duration_since(Instant::now());
            let mut came = if left().is_zero() { 0 } else { queries() };
            while !left().is_zero() && !self.cancelled.load(Ordering::Relaxed) {
                std::thread::sleep(left().min(LOOK));
                let now = queries();
                if now == came {
                    // Queries have stopped, so there is no need to rest.
                    break;
                }
                came = now;
            }
        }
        !self.cancelled.load(Ordering::Relaxed)
    }

    /// End of the current rest, or of one that is due now. Reads the counter of queries only if a
    /// rest may be due.
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
