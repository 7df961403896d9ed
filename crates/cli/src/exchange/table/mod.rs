//! Tables of columns: Parquet and Arrow IPC.
//!
//! A row is a point. Vectors are lists of numbers, by preference of fixed size; many vectors of a point
//! are lists of these. The other columns are the payload, a key each, with their own types; a value
//! that no column type holds is JSON text in a column that is marked as such (`arrow.json`).
//!
//! Reading: `file.rs` opens either format (`parquet_file.rs` with `zstd_pages.rs`, `arrow_file.rs`) as
//! batches of rows (`guarded.rs`: damaged files end in errors), `mapping.rs` decides what each column is, and `source.rs` makes points of rows by
//! `vectors.rs` and `values.rs`. Writing: `layout.rs` looks at all ids and payloads first, since a table
//! has its columns before its rows; `columns.rs` makes batches of points, and `sink.rs` writes them.

mod arrow_file;
mod columns;
#[cfg(test)]
mod damage;
mod file;
mod guarded;
mod kinds;
mod layout;
mod mapping;
mod parquet_file;
mod sink;
mod source;
mod sparse;
mod values;
mod vectors;
mod zstd_pages;

pub use file::TableFile;
pub use guarded::is_guarded;
pub use layout::{Layout, PayloadForm};
pub use mapping::Mapping;
pub use sink::TableSink;
pub use source::TableSource;

/// Mark of columns whose texts are JSON: a canonical extension type of Arrow.
const EXTENSION: &str = "ARROW:extension:name";
const JSON: &str = "arrow.json";
/// Column of the ids.
const ID: &str = "id";
/// Column of whole payloads, and with a dot before payload keys whose names other columns have.
const PAYLOAD: &str = "payload";

/// The payload key of a column: its name without `payload.`, which is there if another column would
/// have the same name.
fn key_of(column: &str) -> &str {
    let after = column.strip_prefix(PAYLOAD).and_then(|rest| rest.strip_prefix('.'));
    after.filter(|key| !key.is_empty()).unwrap_or(column)
}
