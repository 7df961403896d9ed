//! Names of the files and sections of a sealed segment, but for those of its fields. `docs/file-format.md`
//! draws them.

/// The file with ids and payloads.
pub const POINTS_FILE: &str = "points.sec";
/// u64 a row: the number, or for a row in [`ID_TEXT_ROWS`] the ordinal of its text.
pub const IDS: &str = "ids";
/// u32 a row: the rows in the order of their ids.
pub const ID_ORDER: &str = "id_order";
/// Roaring bitmap of the rows whose id is a text.
pub const ID_TEXT_ROWS: &str = "id_text_rows";
/// u64 a text and one more: where it starts in [`ID_TEXTS`].
pub const ID_TEXT_OFFSETS: &str = "id_text_offsets";
/// The text ids, UTF-8, one after the other.
pub const ID_TEXTS: &str = "id_texts";
/// u64 a row and one more: where its payload starts in [`PAYLOADS`]; empty means none.
pub const PAYLOAD_OFFSETS: &str = "payload_offsets";
/// The payloads, JSON text, one after the other.
pub const PAYLOADS: &str = "payloads";

/// The file with the columns of the declared payload paths.
pub const PAYLOAD_INDEX_FILE: &str = "payload-index.sec";
/// The declared paths and their types, as JSON.
pub const PATHS: &str = "paths";

/// The section of the path at `index` (in the order of names) that is called `part`.
pub fn path_section(index: usize, part: &str) -> String {
    format!("{index}.{part}")
}

/// The file with a copy of what the manifest says of the segment.
pub const ENTRY_FILE: &str = "entry.sec";
/// That, as JSON.
pub const ENTRY: &str = "entry";
