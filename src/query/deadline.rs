//! Deadlines and cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Limit of a query's execution: an optional point in time and an optional cancel token.
#[derive(Debug, Clone)]
pub struct Deadline {
    at: Option<Instant>,
    cancelled: Option<CancelToken>,
}

impl Deadline {
    /// No deadline.
    pub const NEVER: Self = Self { at: None, cancelled: None };

    /// A deadline `timeout` from now.
    pub fn after(timeout: Duration) -> Self {
        // A time beyond the clock's range is no deadline.
        Self { at: Instant::now().checked_add(timeout), cancelled: None }
    }

    /// Also ends when the token is cancelled.
    #[must_use]
    pub fn or_cancelled(self, token: &CancelToken) -> Self {
        Self { cancelled: Some(token.clone()), ..self }
    }

    /// Fails if the deadline has passed or the token was cancelled.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`] and [`Error::QueryCancelled`].
    pub fn check(&self) -> Result<()> {
        if self.cancelled.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(Error::QueryCancelled);
        }
        match self.at {
            Some(at) if Instant::now() >= at => Err(Error::DeadlineExceeded),
            _ => Ok(()),
        }
    }
}

/// Cancels running work from another thread. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels: the work ends within milliseconds with [`Error::QueryCancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_comes_first_ends_the_work() {
        let token = CancelToken::new();
        let (never, late) = (Deadline::NEVER, Deadline::after(Duration::MAX));
        for deadline in [never.clone(), late, never.or_cancelled(&token)] {
            assert!(deadline.check().is_ok(), "{deadline:?}");
        }
        let passed = Deadline::after(Duration::ZERO);
        assert!(matches!(passed.check(), Err(Error::DeadlineExceeded)));
        token.clone().cancel();
        let cancelled = Deadline::after(Duration::MAX).or_cancelled(&token);
        assert!(matches!(cancelled.check(), Err(Error::QueryCancelled)));
    }
}
