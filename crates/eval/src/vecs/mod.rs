//! `.fvecs`, `.bvecs` and `.ivecs`: the arrays of the TEXMEX collections (SIFT1M, GIST1M, SIFT1B).
//!
//! A file is its rows, one behind the other: the number of values as a little-endian `i32`, and then
//! the values (`f32`, `u8` or `i32`). There is no header, so the shape follows from the first row and
//! the length of the file, and each row is compared with the first when it is read: files that were
//! put together of different dimensions are refused, not shifted.
//!
//! `.fvecs` and `.bvecs` hold vectors ([`VecsMatrix`]). `.ivecs` holds the exact neighbours of queries
//! ([`read_ivecs`]).

mod error;
mod layout;
mod matrix;
mod neighbours;
mod writer;

pub use error::VecsError;
pub use matrix::VecsMatrix;
pub use neighbours::read_ivecs;
pub use writer::FvecsWriter;
