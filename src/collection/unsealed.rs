//! Memory accounting of unsealed points, over all collections.
//!
//! Above a limit, the largest collection is sealed; above twice the limit, writers wait for seals.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Inner;

/// Maximum time a writer waits for the seals of other collections.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Unsealed bytes of each collection.
pub(crate) struct Unsealed {
    limit: u64,
    held: Mutex<BTreeMap<u32, Held>>,
    /// Signals that memory was freed.
    less: Condvar,
}

struct Held {
    collection: Weak<Inner>,
    /// Bytes that can be sealed; `frozen` ones are already waiting for it.
    active: u64,
    frozen: u64,
}

impl Unsealed {
    pub fn new(limit: u64) -> Self {
        Self { limit, held: Mutex::default(), less: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        // No foreign code runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a collection, empty so far.
    pub(super) fn join(&self, number: u32, collection: Weak<Inner>) {
        self.lock().insert(number, Held { collection, active: 0, frozen: 0 });
    }

    /// Removes a collection.
    pub fn leave(&self, number: u32) {
        self.lock().remove(&number);
        self.less.notify_all();
    }

    /// Updates the bytes of a collection. Returns the collection to seal to free memory, if any.
    pub(super) fn note(&self, number: u32, active: u64, frozen: u64) -> Option<Weak<Inner>> {
        let mut held = self.lock();
        let of = held.get_mut(&number)?;
        let less = active + frozen < of.active + of.frozen;
        (of.active, of.frozen) = (active, frozen);
        if less {
            self.less.notify_all();
        }
        // Frozen segments are sealed anyway.
        let open: u64 = held.values().map(|held| held.active).sum();
        let largest = held.values().max_by_key(|held| held.active)?;
        (open > self.limit).then(|| largest.collection.clone())
    }

    /// Waits while all collections together exceed twice the limit, with a timeout. Returns whether
    /// there is room.
    pub fn wait_for_room(&self) -> bool {
        let full = |held: &mut BTreeMap<u32, Held>| {
            let all: u64 = held.values().map(|held| held.active + held.frozen).sum();
            all > self.limit.saturating_mul(2)
        };
        let waited = self.less.wait_timeout_while(self.lock(), LONGEST_WAIT, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_sealed_and_what_is_being_sealed_makes_room_by_itself() {
        let unsealed = Unsealed::new(100);
        let nobody = Weak::new();
        for number in [1, 2] {
            unsealed.join(number, nobody.clone());
        }
        assert!(unsealed.note(1, 60, 0).is_none());
        assert!(unsealed.note(2, 40, 0).is_none());
        assert!(unsealed.note(2, 41, 0).is_some());
        assert!(unsealed.note(1, 0, 60).is_none());
        assert!(unsealed.note(9, 1000, 0).is_none(), "nobody of this number");
        assert!(unsealed.wait_for_room());
        assert!(unsealed.note(2, 60, 81).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| unsealed.wait_for_room());
            unsealed.note(1, 0, 59);
            assert!(waiting.join().unwrap());
        });
        unsealed.note(1, 0, 500);
        unsealed.leave(1);
        assert!(unsealed.wait_for_room());
    }
}
