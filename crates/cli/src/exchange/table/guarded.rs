//! The readers of Parquet and Arrow panic at some damaged files (offsets and lengths that they do not
//! compare). What comes from a file may not end the program: here a panic is an error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Result;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread becomes an error, and is not to be reported.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Reads a part of a file. A reader that has panicked must not be used again.
///
/// # Errors
/// What `read` says, or that the file is damaged.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    GUARDED.set(true);
    let done = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    done.unwrap_or_else(|panic| Err(format!("the file is damaged: {}", text(&*panic))))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("its parts do not fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guarded(|| Ok(is_guarded())), Ok(true));
        let part = [1];
        let place = part.len() + 1;
        let error = guarded(|| Ok(part[place])).unwrap_err();
        assert!(error.starts_with("the file is damaged: index out of bounds"), "{error}");
        assert!(!is_guarded());
    }
}
