//! Names of the files and sections of a sealed segment, except those of its fields, as described in
//! `docs/file-format.md`.

/// The file of ids and payloads.
pub const POINTS_FILE: &str = "points.sec";
/// u64 per row: the number, or for a row in [`ID_TEXT_ROWS`] the ordinal of its text.
pub const IDS: &str = "ids";
/// u32 per row: the rows in id order.
pub const ID_ORDER: &str = "id_order";
/// Roaring bitmap of the rows with text ids.
pub const ID_TEXT_ROWS: &str = "id_text_rows";
/// u64, texts + 1: start of each text in [`ID_TEXTS`].
pub const ID_TEXT_OFFSETS: &str = "id_text_offsets";
/// The text ids, UTF-8, concatenated.
pub const ID_TEXTS: &str = "id_texts";
/// u64, rows + 1: start of each payload in [`PAYLOADS`]; empty means none.
pub const PAYLOAD_OFFSETS: &str = "payload_offsets";
/// The payloads, JSON text, concatenated.
pub const PAYLOADS: &str = "payloads";

/// The file of the columns of declared payload paths.
pub const PAYLOAD_INDEX_FILE: &str = "payload-index.sec";
/// The declared paths and their types, as JSON.
pub const PATHS: &str = "paths";

/// Section `part` of the path at `index` (in name order).
pub fn path_section(index: usize, part: &str) -> String {
    format!("{index}.{part}")
}

/// The file with a copy of the segment's manifest entry.
pub const ENTRY_FILE: &str = "entry.sec";
/// The manifest entry, as JSON.
pub const ENTRY: &str = "entry";
