//! Memory budgets: bytes are reserved before they are allocated.
//!
//! Each request has a budget that is part of a total, so that neither one request nor all of them
//! together can exceed the memory planned for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A limit on the bytes some work may hold at a time. A part also counts against its whole, except
/// for its first `sure` bytes, so that small requests are not starved by large ones.
#[derive(Debug)]
pub struct MemoryBudget {
    scope: &'static str,
    limit: u64,
    used: AtomicU64,
    whole: Option<Arc<MemoryBudget>>,
    sure: u64,
}

/// A budget was exceeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: expected at most {limit} bytes of memory for {scope}, got {needed} beside {used} in use"
)]
pub struct Exhausted {
    /// Purpose of the bytes.
    pub what: &'static str,
    /// Owner of the budget.
    pub scope: &'static str,
    /// The budget, in bytes.
    pub limit: u64,
    /// Bytes already in use.
    pub used: u64,
    /// Bytes requested on top.
    pub needed: u64,
    /// True if the request may succeed later, once other work has finished.
    pub may_pass: bool,
}

impl MemoryBudget {
    /// A budget without a parent; `scope` names its owner in errors.
    pub fn new(scope: &'static str, limit: u64) -> Arc<Self> {
        Arc::new(Self { scope, limit, used: AtomicU64::new(0), whole: None, sure: 0 })
    }

    /// A budget that never runs out.
    pub fn unlimited() -> Arc<Self> {
        Self::new("all requests together", u64::MAX)
    }

    /// A part of this budget whose first `sure` bytes do not count against the whole. Dropping it
    /// releases what it has spent.
    pub fn part(self: &Arc<Self>, scope: &'static str, limit: u64, sure: u64) -> Arc<Self> {
        Arc::new(Self { scope, limit, used: AtomicU64::new(0), whole: Some(self.clone()), sure })
    }

    /// Spends bytes until they are released or the budget is dropped.
    ///
    /// # Errors
    /// [`Exhausted`]; then nothing is spent.
    pub fn spend(&self, what: &'static str, bytes: u64) -> Result<(), Exhausted> {
        let more = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        // Relaxed: the counters order nothing else.
        let spent = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let before = spent.map_err(|used| Exhausted {
            what,
            scope: self.scope,
            limit: self.limit,
            used,
            needed: bytes,
            may_pass: self.whole.is_none() && bytes <= self.limit,
        })?;
        let Some(whole) = &self.whole else { return Ok(()) };
        let counted = self.counted(before, before + bytes);
        let refused = whole.spend(what, counted);
        if refused.is_err() {
            // Others may have spent or released meanwhile as if these bytes were in use.
            let now = self.used.fetch_sub(bytes, Ordering::Relaxed);
            let as_counted = self.counted(now - bytes, now);
            whole.used.fetch_sub(as_counted.wrapping_sub(counted), Ordering::Relaxed);
        }
        refused
    }

    /// Releases bytes.
    pub fn release(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.release(self.counted(before - bytes, before));
        }
    }

    /// Bytes that count against the whole as usage grows from `less` to `more`.
    fn counted(&self, less: u64, more: u64) -> u64 {
        more.saturating_sub(self.sure) - less.saturating_sub(self.sure)
    }

    /// Spends bytes until the result is dropped.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn reserve(
        self: &Arc<Self>,
        what: &'static str,
        bytes: u64,
    ) -> Result<Reserved, Exhausted> {
        self.spend(what, bytes)?;
        Ok(Reserved { budget: self.clone(), bytes })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        if let Some(whole) = &self.whole {
            whole.release((*self.used.get_mut()).saturating_sub(self.sure));
        }
    }
}

/// Reserved bytes of a budget, released on drop.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_bounded_by_its_own_limit_and_by_the_whole() {
        let whole = MemoryBudget::new("all", 100);
        let (one, other) = (whole.part("one", 60, 0), whole.part("other", 60, 0));
        one.spend("x", 60).unwrap();
        let own = one.spend("x", 1).unwrap_err();
        assert_eq!((own.scope, own.used, own.may_pass), ("one", 60, false));
        let error = other.spend("candidates", 41).unwrap_err();
        assert_eq!(
            error.to_string(),
            "candidates: expected at most 100 bytes of memory for all, got 41 beside 60 in use"
        );
        assert!(error.may_pass && !whole.spend("x", 101).unwrap_err().may_pass);
        // A refusal by the whole leaves nothing behind in the part.
        assert_eq!((other.used(), whole.used()), (0, 60));

        let reserved = other.reserve("x", 40).unwrap();
        assert_eq!((other.used(), whole.used()), (40, 100));
        drop(reserved);
        one.release(20);
        assert_eq!((one.used(), other.used(), whole.used()), (40, 0, 40));
        drop(one);
        assert_eq!(whole.used(), 0);
        assert!(MemoryBudget::unlimited().spend("x", u64::MAX).is_ok());
    }

    #[test]
    fn a_part_is_sure_of_its_first_bytes() {
        let whole = MemoryBudget::new("all", 100);
        let (much, little) = (whole.part("much", 200, 10), whole.part("little", 200, 10));
        much.spend("x", 110).unwrap();
        assert_eq!((much.used(), whole.used()), (110, 100));
        little.spend("x", 4).unwrap();
        assert!(little.spend("x", 7).unwrap_err().may_pass);
        assert_eq!((little.used(), whole.used()), (4, 100));
        little.spend("x", 6).unwrap();
        assert!(little.spend("x", 1).is_err());
        much.release(2);
        little.spend("x", 2).unwrap();
        assert_eq!((little.used(), whole.used()), (12, 100));
        little.release(12);
        assert_eq!((little.used(), whole.used()), (0, 98));
        drop(much);
        assert_eq!(whole.used(), 0);
    }

    #[test]
    fn threads_that_share_a_part_leave_nothing_behind() {
        let whole = MemoryBudget::new("all", 50);
        let part = whole.part("one", 1_000, 20);
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let part = &part;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let bytes = (seed * 31 + round * 17) % 40;
                        if part.spend("x", bytes).is_ok() {
                            part.release(bytes);
                        }
                    }
                });
            }
        });
        assert_eq!((part.used(), whole.used()), (0, 0));
    }
}
