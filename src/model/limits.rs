//! Upper bounds on everything a caller can size, checked before anything is allocated.
//!
//! Each bound exists because a peer once aborted on a hostile number; raise one only together with
//! a test that the largest accepted value still works.

/// Largest dimension of a vector field.
pub const MAX_DIMENSION: usize = 65_536;
/// Most vector fields per collection.
pub const MAX_FIELDS: usize = 16;
/// Most vectors (tokens) per multi-vector.
pub const MAX_MULTI_VECTORS: usize = 16_384;
/// Most entries of a sparse vector, so that those of 65,536 rows can be counted with 32 bits.
pub const MAX_SPARSE_ENTRIES: usize = 65_535;
/// Greatest norm of a vector of a single field under dot or l2, so that products and squared
/// distances of two vectors stay far below the largest f32.
pub const MAX_LENGTH: f32 = 1e18;
/// Greatest norm of each vector of a multi field, so that sums over [`MAX_MULTI_VECTORS`] products
/// and MUVERA encodings stay far below the largest f32.
pub const MAX_MULTI_LENGTH: f32 = 1e15;
/// Longest text id, in bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Largest token pooling factor: vectors of a multi-vector that are replaced by one mean.
pub const MAX_TOKEN_POOLING: usize = 64;
/// Largest payload of one point, in bytes of JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Most points per write.
pub const MAX_BATCH_POINTS: usize = 100_000;
/// Largest `offset + limit` of a query.
pub const MAX_QUERY_LIMIT: usize = 10_000;
/// Most text of a query on a text field, in bytes.
pub const MAX_TEXT_QUERY_BYTES: usize = 64 << 10;
/// Most clauses, and most different words, of a query on a text field.
pub const MAX_TEXT_TERMS: usize = 1_024;
/// Most words of such a query that stand for several: prefixes, and words with changes.
pub const MAX_EXPANDED_WORDS: usize = 16;
/// Most words that one of these may stand for.
pub const MAX_EXPANSIONS: usize = 1_024;
/// Most fragments of each path of a text field, for each hit.
pub const MAX_FRAGMENTS: usize = 16;
/// Least and most characters of a fragment.
pub const FRAGMENT_LENGTHS: (usize, usize) = (20, 10_000);
/// Most queries per batch.
pub const MAX_BATCH_QUERIES: usize = 4_096;
/// Most candidates to re-rank over all queries of a batch.
pub const MAX_BATCH_CANDIDATES: usize = 40_000_000;
/// Most queries per fusion.
pub const MAX_FUSED_QUERIES: usize = 64;
/// Most groups per query.
pub const MAX_GROUPS: usize = 1_000;
/// Most hits per group.
pub const MAX_GROUP_SIZE: usize = 1_000;
/// Largest weight of a query in a fusion.
pub const MAX_FUSION_WEIGHT: f32 = 1e6;
/// Most values per facet.
pub const MAX_FACET_VALUES: usize = 10_000;
/// Most points per scroll page.
pub const MAX_SCROLL_LIMIT: usize = 10_000;
/// Longest collection or field name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most training queries per field.
pub const MAX_TRAINING_QUERIES: usize = 10_000;
/// Most examples per recommendation, positive and negative together.
pub const MAX_EXAMPLES: usize = 1_000;
/// Largest search window: graph rows to expand, or IVF lists to scan.
pub const MAX_SEARCH_WINDOW: usize = 100_000;
/// Most candidates to re-rank per query.
pub const MAX_RERANK: usize = 100_000;
/// Most declared payload paths per collection.
pub const MAX_PATHS: usize = 64;
/// Longest declared payload path, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// Most keys in a declared payload path.
pub const MAX_PATH_PARTS: usize = 16;
/// Most values of one point at a declared payload path.
pub const MAX_PATH_VALUES: usize = 4_096;
/// Longest keyword at a declared payload path, in bytes.
pub const MAX_KEYWORD_BYTES: usize = 1_024;
/// Greatest nesting depth of a filter.
pub const MAX_FILTER_DEPTH: usize = 32;
/// Most nodes of a filter: combinations and tests.
pub const MAX_FILTER_NODES: usize = 1_024;
/// Most values in all lists of a filter together.
pub const MAX_FILTER_VALUES: usize = 10_000;
/// Most ids in a filter.
pub const MAX_FILTER_IDS: usize = 100_000;
