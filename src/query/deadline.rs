//! When an answer is no longer wanted.

use std::time::{Duration, Instant};

/// The moment after which work stops, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Work takes as long as it takes.
    pub const NEVER: Self = Self(None);

    /// So much time from now.
    pub fn after(timeout: Duration) -> Self {
        // A time beyond what the clock can represent is no deadline.
        Self(Instant::now().checked_add(timeout))
    }

    /// Whether the time is over.
    pub fn passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}
