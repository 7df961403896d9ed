//! Names of the files and sections of a vector field. `docs/file-format.md` draws them.

/// The settings of the field, as JSON.
pub const FIELD: &str = "field";
/// The vectors, f32 or f16, row-major; empty if the secondary codes stand for them.
pub const VECTORS: &str = "vectors";
/// Multi fields: u64 a row and one more, the first vector of each row.
pub const VECTOR_OFFSETS: &str = "vector_offsets";
/// Roaring bitmap of the rows without a vector.
pub const ABSENT: &str = "absent";

/// How a field is compressed: the report of its training, as JSON.
pub const CODEC: &str = "codec";
/// f32 a dimension: what is subtracted from a vector first.
pub const CENTER: &str = "center";
/// f32, shape [reduced, dimension]: the map of queries; empty without a reduction.
pub const QUERY_MAP: &str = "query_map";
/// f32, of the same shape: the map of vectors; empty if it is that of the queries.
pub const BASE_MAP: &str = "base_map";
/// The primary codes, a record a row, and the slack that kernels read past the last.
pub const PRIMARY: &str = "primary";
/// Multi fields: f32, shape [count, dimension]: the centroids that tokens are near.
pub const TOKEN_CENTROIDS: &str = "token_centroids";
/// Multi fields: u16, for each row the distinct centroids of its tokens, ascending.
pub const CENTROID_LISTS: &str = "centroid_lists";
/// Multi fields: u64 a row and one more, where its list starts.
pub const CENTROID_LIST_OFFSETS: &str = "centroid_list_offsets";
/// The secondary codes: a record a row, or in a multi field those of all vectors and slack.
pub const SECONDARY: &str = "secondary";
/// Where vectors are dropped: how much of the exact ranking the secondary codes keep, as JSON.
pub const KEPT: &str = "kept";
/// Multi fields: u64 a row and one more, the first vector of each row in [`SECONDARY`].
pub const TOKEN_OFFSETS: &str = "token_offsets";

/// The file of an index.
pub const INDEX_FILE: &str = "index.sec";
/// What the index is, and its calibration, as JSON.
pub const INDEX: &str = "index";
/// The file of what was measured after an index was built.
pub const CALIBRATION_FILE: &str = "calibration.sec";
/// What was measured, as JSON.
pub const CALIBRATION: &str = "calibration";
/// Graph: u32, shape [rows, degree], the neighbours of a row and then `u32::MAX`.
pub const EDGES: &str = "edges";
/// Lists: 8-bit records of the centroids with their norms, and slack.
pub const CENTROIDS: &str = "centroids";
/// Lists: u32 a list and one more, where it starts in [`LIST_ROWS`].
pub const LIST_OFFSETS: &str = "list_offsets";
/// Lists: u32, the rows in the order of their lists.
pub const LIST_ROWS: &str = "list_rows";
/// Lists: the primary records in that order, and slack.
pub const LIST_CODES: &str = "list_codes";
/// Pairs of u32, in order: a row of the index, and one with the same code, which is not in it. Only if
/// there are such rows.
pub const COPIES: &str = "copies";

/// The file with the codec and the primary codes of a field.
pub fn codes_file(index: usize) -> String {
    format!("codes-{index}.sec")
}

/// The file with the secondary codes of a field.
pub fn secondary_file(index: usize) -> String {
    format!("secondary-{index}.sec")
}

/// The file with the vectors of the field at `index` (in the order of names).
pub fn field_file(index: usize) -> String {
    format!("field-{index}.sec")
}
