//! Cells of the grid in which the promise is not kept yet. They are printed by every run, and no other
//! cell may join them without being named here; docs/promise.md counts them.

/// Their names.
pub const KNOWN: &[&str] = &[
    "duplicates-near/other dot auto auto reopened k=100 default",
    // Its estimate holds.
    "decaying/other-plane l2 auto auto merged k=1 default",
    // Sixteen different queries of one token each.
    "multi-foreign/one-hot cosine auto flat sealed k=1 default after-first",
];
