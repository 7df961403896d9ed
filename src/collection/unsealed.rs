//! The memory of all points that are not sealed yet, over all collections.
//!
//! When it passes a limit, the collection that holds most is sealed; when it passes twice the limit,
//! writers wait for seals.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Inner;

/// No writer waits longer for the seals of other collections.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The bytes that collections hold in memory.
pub(crate) struct Unsealed {
    limit: u64,
    held: Mutex<BTreeMap<u32, Held>>,
    /// Something was sealed.
    less: Condvar,
}

struct Held {
    collection: Weak<Inner>,
    /// What can be sealed, and what already waits for it.
    active: u64,
    frozen: u64,
}

impl Unsealed {
    pub fn new(limit: u64) -> Self {
        Self { limit, held: Mutex::default(), less: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        // No code of others runs under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A collection holds nothing yet.
    pub(super) fn join(&self, number: u32, collection: Weak<Inner>) {
        self.lock().insert(number, Held { collection, active: 0, frozen: 0 });
    }

    /// A collection is gone.
    pub fn leave(&self, number: u32) {
        self.lock().remove(&number);
        self.less.notify_all();
    }

    /// Notes what a collection holds. Returns the collection that is to be sealed for room, if any.
    pub(super) fn note(&self, number: u32, active: u64, frozen: u64) -> Option<Weak<Inner>> {
        let mut held = self.lock();
        let of = held.get_mut(&number)?;
        let less = active + frozen < of.active + of.frozen;
        (of.active, of.frozen) = (active, frozen);
        if less {
            self.less.notify_all();
        }
        // What waits to be sealed will go by itself.
        let open: u64 = held.values().map(|held| held.active).sum();
        let largest = held.values().max_by_key(|held| held.active)?;
        (open > self.limit).then(|| largest.collection.clone())
    }

    /// Waits while all collections together hold more than twice the limit, but not for ever; whether
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
