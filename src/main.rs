//! Lanner.
fn main() {}
