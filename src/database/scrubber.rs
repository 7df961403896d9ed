//! Scrubber thread. It periodically reads all sealed files at a limited rate and compares them with
//! their checksums, so that damage to rarely read files is found while other copies still exist. It
//! also retries writing after failures.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Slot;
use crate::collection::{Collection, Store};
use crate::error::{Error, Result};

/// Interval at which failed writers are retried.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Interval and rate of scrubbing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScrubOptions {
    /// Pause from the end of one round to the next, and from opening to the first.
    pub pause: Duration,
    /// Maximum bytes read per second; 0 disables scrubbing.
    pub bytes_per_second: u64,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self { pause: Duration::from_secs(24 * 3600), bytes_per_second: 16 << 20 }
    }
}

/// The scrubber thread, which ends when this is dropped.
pub(super) struct Scrubber {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits; `false` if the thread is to stop.
    fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let woken = self.changed.wait_timeout(stopped, left);
            stopped = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

impl Scrubber {
    /// Starts the thread.
    pub fn start(
        options: ScrubOptions,
        store: Arc<Store>,
        collections: Arc<RwLock<BTreeMap<String, Slot>>>,
    ) -> Result<Self> {
        let stop = Arc::new(Stop::default());
        let mut watch = Watch { store, collections, stopped_before: Vec::new(), looked: None };
        let stop_of_thread = stop.clone();
        let work = move || {
            let mut round = Instant::now() + options.pause;
            while stop_of_thread
                .pause(LOOK_EVERY.min(round.saturating_duration_since(Instant::now())))
            {
                watch.look();
                if Instant::now() < round {
                    continue;
                }
                for collection in watch.open().iter().filter(|_| options.bytes_per_second > 0) {
                    collection.scrub(&mut |bytes| {
                        watch.look_if_due();
                        stop_of_thread.pause(pace(bytes, options))
                    });
                }
                round = Instant::now() + options.pause.max(LOOK_EVERY / 100);
            }
        };
        let thread = std::thread::Builder::new()
            .name("lanner-scrubber".into())
            .spawn(work)
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the scrubber panicked");
        }
    }
}

/// State checked every few seconds.
struct Watch {
    store: Arc<Store>,
    collections: Arc<RwLock<BTreeMap<String, Slot>>>,
    /// Collections that could not be written at the last check.
    stopped_before: Vec<u32>,
    looked: Option<Instant>,
}

impl Watch {
    fn look_if_due(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.look();
        }
    }

    /// Records the extent of the catalog, and retries writing where it also failed at the last
    /// check; a write in between may have retried already.
    fn look(&mut self) {
        self.looked = Some(Instant::now());
        self.store.catalog.look_at_manifest();
        let open = self.open();
        if open.is_empty() && self.store.catalog.read_only().is_some() {
            // Otherwise the collections retry.
            let _ = self.store.catalog.reopen();
        }
        let stopped: Vec<&Collection> = open.iter().filter(|found| found.is_stopped()).collect();
        let again = stopped.iter().filter(|found| self.stopped_before.contains(&found.id()));
        again.for_each(|collection| collection.try_again());
        self.stopped_before = stopped.into_iter().map(Collection::id).collect();
    }

    fn open(&self) -> Vec<Collection> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let open = |slot: &Slot| match slot {
            Slot::Open(collection) => Some(collection.clone()),
            Slot::Unusable(_) => None,
        };
        collections.values().filter_map(open).collect()
    }
}

/// Time that reading `bytes` should take.
fn pace(bytes: u64, options: ScrubOptions) -> Duration {
    Duration::from_secs_f64(bytes as f64 / options.bytes_per_second as f64)
}
