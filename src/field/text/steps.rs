//! Long work that looks at its deadline now and then.

use std::cell::Cell;

use crate::error::Result;

/// Steps between two looks at the deadline: some microseconds.
const STEPS: u32 = 4096;

/// Counts small steps.
pub struct Steps<'g> {
    go_on: &'g dyn Fn() -> Result<()>,
    left: Cell<u32>,
}

impl<'g> Steps<'g> {
    /// Steps that end when `go_on` fails.
    pub fn new(go_on: &'g dyn Fn() -> Result<()>) -> Self {
        Self { go_on, left: Cell::new(STEPS) }
    }

    /// One more step.
    ///
    /// # Errors
    /// As [`Self::check`].
    #[inline]
    pub fn step(&self) -> Result<()> {
        match self.left.get() {
            0 => self.check(),
            left => {
                self.left.set(left - 1);
                Ok(())
            }
        }
    }

    /// Looks now.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub fn check(&self) -> Result<()> {
        self.left.set(STEPS);
        (self.go_on)()
    }
}
