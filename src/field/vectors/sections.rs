//! Names of the files and sections of a vector field, as described in `docs/file-format.md`.

/// The settings of the field, as JSON.
pub const FIELD: &str = "field";
/// The vectors, f32 or f16, row-major, or the entries of sparse vectors, a u32 and an f32 each; empty
/// if the secondary codes replace them.
pub const VECTORS: &str = "vectors";
/// Multi and sparse fields: u64, rows + 1: index of each row's first vector or entry.
pub const VECTOR_OFFSETS: &str = "vector_offsets";
/// Roaring bitmap of the rows without a vector.
pub const ABSENT: &str = "absent";

/// The codec of the primary codes: its training report, as JSON. A multi field that is only scanned
/// by centroids has no primary codes.
pub const CODEC: &str = "codec";
/// f32, one per dimension: the centre subtracted from each vector.
pub const CENTER: &str = "center";
/// f32, shape [reduced, dimension]: the query map; empty without a reduction.
pub const QUERY_MAP: &str = "query_map";
/// f32, same shape: the base map; empty if it equals the query map.
pub const BASE_MAP: &str = "base_map";
/// Multi fields: f32, one per dimension of a vector: what is subtracted before it is encoded. Older
/// files do not have it.
pub const TOKEN_CENTER: &str = "token_center";
/// The primary codes, one record per row, and the slack that kernels read past the last.
pub const PRIMARY: &str = "primary";
/// Multi fields: the token centroids, coded by eight bits an element as one document of token codes,
/// and slack.
pub const CENTROID_CODES: &str = "centroid_codes";
/// The same in older files, f32, shape [count, dimension]; they are rounded when they are read.
pub const TOKEN_CENTROIDS: &str = "token_centroids";
/// Multi fields: what the training of the centroids measured, as JSON.
pub const CENTROID_REPORT: &str = "centroid_report";
/// Multi fields: u16, the distinct centroids of each row's tokens, ascending.
pub const CENTROID_LISTS: &str = "centroid_lists";
/// Multi fields: u64, rows + 1: start of each row's centroid list.
pub const CENTROID_LIST_OFFSETS: &str = "centroid_list_offsets";
/// Large segments of multi fields: u32, the rows that each centroid is listed for, ascending.
pub const CENTROID_ROWS: &str = "centroid_rows";
/// Of the same: u64, centroids + 1: start of each centroid's rows.
pub const CENTROID_ROW_OFFSETS: &str = "centroid_row_offsets";
/// The secondary codes: one record per row; in a multi field, the codes of all vectors, and slack.
pub const SECONDARY: &str = "secondary";
/// Multi fields: how vectors are coded in [`SECONDARY`], as JSON; without it, as the field says.
pub const TOKEN_CODE: &str = "token_code";
/// If vectors were dropped: recall of the secondary codes, as JSON.
pub const KEPT: &str = "kept";
/// Multi fields: u64, rows + 1: index of each row's first vector in [`SECONDARY`].
pub const TOKEN_OFFSETS: &str = "token_offsets";

/// The file of an index.
pub const INDEX_FILE: &str = "index.sec";
/// Description and calibration of the index, as JSON.
pub const INDEX: &str = "index";
/// The file of a later calibration of an index.
pub const CALIBRATION_FILE: &str = "calibration.sec";
/// The calibration, as JSON.
pub const CALIBRATION: &str = "calibration";
/// Graph: u32, shape [rows, degree]: the neighbours of each row, padded with `u32::MAX`.
pub const EDGES: &str = "edges";
/// IVF: 8-bit records of the centroids with their norms, and slack.
pub const CENTROIDS: &str = "centroids";
/// IVF: u32, lists + 1: start of each list in [`LIST_ROWS`].
pub const LIST_OFFSETS: &str = "list_offsets";
/// IVF: u32, the rows, list by list.
pub const LIST_ROWS: &str = "list_rows";
/// IVF: the primary records in the same order, and slack.
pub const LIST_CODES: &str = "list_codes";
/// Sorted pairs of u32: a row of the index, and a row with the same code that is left out of it.
/// Only if there are duplicates.
pub const COPIES: &str = "copies";

/// Sparse fields, for each chunk of 65,536 rows: u16, the row at each position.
pub const ORDER: &str = "order";
/// Sparse fields, for each chunk: u32, the dimension of each list.
pub const INDICES: &str = "indices";
/// Sparse fields, for each chunk: f32, the step of the weights of each list.
pub const SCALES: &str = "scales";
/// Sparse fields, for each chunk: u32, lists + 1: start of each list in [`BLOCKS`].
pub const BLOCK_STARTS: &str = "block_starts";
/// Sparse fields, for each chunk: u32, lists + 1: start of each list in [`POSTINGS`].
pub const POSTING_STARTS: &str = "posting_starts";
/// Sparse fields, for each chunk: u16, the blocks of each list.
pub const BLOCKS: &str = "blocks";
/// Sparse fields, for each chunk: u8, the largest weight in each of [`BLOCKS`].
pub const MAXIMA: &str = "maxima";
/// Sparse fields, for each chunk: u32, the end of the postings of each of [`BLOCKS`].
pub const ENDS: &str = "ends";
/// Sparse fields, for each chunk: two u8 each, row within the block and weight.
pub const POSTINGS: &str = "postings";
/// The sections of a chunk that are verified as they are read.
pub const INVERTED_ON_DEMAND: [&str; 4] = [BLOCKS, MAXIMA, ENDS, POSTINGS];

/// Name of a section of a chunk.
pub fn of_chunk(chunk: usize, part: &str) -> String {
    format!("{part}.{chunk}")
}

/// The file with the inverted index of a sparse field.
pub fn inverted_file(index: usize) -> String {
    format!("inverted-{index}.sec")
}

/// The file with codec and primary codes of a field.
pub fn codes_file(index: usize) -> String {
    format!("codes-{index}.sec")
}

/// The file with the secondary codes of a field.
pub fn secondary_file(index: usize) -> String {
    format!("secondary-{index}.sec")
}

/// The file with the vectors of the field at `index` (by name).
pub fn field_file(index: usize) -> String {
    format!("field-{index}.sec")
}
