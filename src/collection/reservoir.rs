//! Reservoir sample of recent queries of a field, for calibration without given queries.
//!
//! Queries are kept as they are compared (scaled, without filters or payloads), never logged,
//! written only into the collection's own folder, and deleted with it. Once the sample is full, one
//! in `REPLACED` queries replaces a random one, so that the sample stays recent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::model::PreparedQueries;
use crate::quantization::hash;

/// One in this many queries replaces another once the sample is full.
const REPLACED: u64 = 8;
/// Number of queries before the first recalibration. The interval doubles up to `DOUBLED` queries,
/// then grows by a quarter each time, up to `MOST_BETWEEN`.
const FIRST_DUE: u64 = 256;
const DOUBLED: u64 = 2_048;
const MOST_BETWEEN: u64 = 200_000;
/// Above this number of queries, a recalibration also waits until `PAUSE` times the duration of the
/// last ones has passed. Most of that duration is rests, so that recalibration takes about a
/// fiftieth of the time at any query rate.
const UNPACED: u64 = 4_096;
const PAUSE: u32 = 6;
/// Maximum number of values in a sample: 32 MiB.
const MOST_VALUES: usize = 8 << 20;
const SEED: u64 = 13;

/// Recent queries of one field.
#[derive(Debug, Default)]
pub struct Reservoir {
    /// Maximum number of queries in the sample; 0 disables it.
    capacity: usize,
    seen: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    queries: Vec<Box<[f32]>>,
    values: usize,
    /// Number of queries at which the next recalibration is due.
    due: u64,
    /// Earliest time of the next recalibration.
    pause: Option<Instant>,
}

impl Reservoir {
    /// An empty sample of at most `capacity` queries.
    pub fn new(capacity: usize) -> Self {
        let kept = Kept { due: FIRST_DUE, ..Kept::default() };
        Self { capacity, seen: AtomicU64::new(0), kept: Mutex::new(kept) }
    }

    /// Adds stored queries.
    pub fn fill(&self, queries: &PreparedQueries, dimension: usize) {
        let Ok(mut kept) = self.kept.lock() else { return };
        for query in 0..queries.len().min(self.capacity) {
            let values: Box<[f32]> = queries.get(query, dimension).into();
            kept.values += values.len();
            kept.queries.push(values);
        }
        self.seen.store(kept.queries.len() as u64, Ordering::Relaxed);
        kept.due = kept.due.max(2 * kept.queries.len() as u64);
    }

    /// Records a query; `true` if a recalibration is due. Drops the query rather than wait for
    /// another thread.
    pub fn note(&self, query: &[f32]) -> bool {
        if self.capacity == 0 {
            return false;
        }
        // Relaxed: the order of concurrent queries does not matter.
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        if seen >= self.capacity as u64 && !seen.is_multiple_of(REPLACED) {
            return false;
        }
        let Ok(mut kept) = self.kept.try_lock() else { return false };
        let full = kept.queries.len() >= self.capacity
            || kept.values + query.len() > MOST_VALUES && !kept.queries.is_empty();
        if full {
            let place = (hash(SEED, seen) % kept.queries.len() as u64) as usize;
            kept.values = kept.values - kept.queries[place].len() + query.len();
            kept.queries[place] = query.into();
        } else {
            kept.values += query.len();
            kept.queries.push(query.into());
        }
        let is_due = seen + 1 >= kept.due
            && (kept.due <= UNPACED || kept.pause.is_none_or(|until| Instant::now() >= until));
        if is_due {
            let more = if seen < DOUBLED { seen + 1 } else { (seen + 1) / 4 };
            kept.due = seen + 1 + more.min(MOST_BETWEEN);
        }
        is_due
    }

    /// Number of queries seen.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Records the duration of a recalibration.
    pub fn measured(&self, time: Duration) {
        let Ok(mut kept) = self.kept.lock() else { return };
        let now = Instant::now();
        let from = kept.pause.map_or(now, |until| until.max(now));
        kept.pause = Some(from + time * PAUSE);
    }

    /// The sample; `None` if it is empty.
    pub fn queries(&self, dimension: usize) -> Option<PreparedQueries> {
        let kept = self.kept.lock().ok()?;
        let mut queries =
            PreparedQueries { values: Vec::with_capacity(kept.values), offsets: vec![0] };
        for query in &kept.queries {
            queries.values.extend_from_slice(query);
            queries.offsets.push((queries.values.len() / dimension) as u64);
        }
        (!kept.queries.is_empty()).then_some(queries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_queries_are_kept_and_recalibration_is_due_now_and_then() {
        let reservoir = Reservoir::new(300);
        let due: Vec<u64> =
            (0..5_000_u64).filter(|&query| reservoir.note(&[query as f32, 1.0])).collect();
        assert_eq!(due, [255, 512, 1032, 2072, 2592, 3240, 4056]);
        let kept = reservoir.queries(2).unwrap();
        assert_eq!(kept.len(), 300);
        let late = (0..300).filter(|&query| kept.get(query, 2)[0] >= 2_500.0).count();
        assert!((100..250).contains(&late), "{late}");
        let other = Reservoir::new(300);
        other.fill(&kept, 2);
        assert_eq!(other.queries(2).unwrap(), kept);
        assert!(!other.note(&[1.0, 1.0]), "nothing has changed yet");
    }

    #[test]
    fn what_takes_long_is_done_less_often() {
        let reservoir = Reservoir::new(300);
        reservoir.measured(Duration::from_secs(3_600));
        let due = (0..20_000_u64).filter(|&query| reservoir.note(&[query as f32, 1.0])).count();
        assert_eq!(due, 7, "a sample is filled without waiting, up to 4,096 queries");
        let reservoir = Reservoir::new(300);
        reservoir.measured(Duration::ZERO);
        assert_eq!((0..5_000).filter(|_| reservoir.note(&[1.0, 1.0])).count(), 7);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_to_be() {
        let reservoir = Reservoir::new(0);
        assert!((0..10_000).all(|_| !reservoir.note(&[1.0])));
        assert_eq!(reservoir.queries(1), None);
        let long = vec![1.0; MOST_VALUES / 2];
        let reservoir = Reservoir::new(100);
        (0..5).for_each(|_| {
            let _ = reservoir.note(&long);
        });
        assert_eq!(reservoir.queries(1).unwrap().len(), 2, "a bound of memory");
    }
}
