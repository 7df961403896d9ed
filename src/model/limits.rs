//! Upper bounds on everything a caller can size, checked before anything is allocated.
//!
//! Each bound exists because a peer once aborted on a hostile number; raise one only together
//! with a test that the largest accepted value still works.

/// Largest dimension of a vector field.
pub const MAX_DIMENSION: usize = 65_536;
/// Most vector fields a collection can have.
pub const MAX_FIELDS: usize = 16;
/// Most vectors (tokens) one multi-vector can have.
pub const MAX_MULTI_VECTORS: usize = 16_384;
/// Greatest length of a vector of a single field under dot or l2: products of two such vectors, and
/// their squared distance, are far from the largest f32.
pub const MAX_LENGTH: f32 = 1e18;
/// Greatest length of each vector of a multi field: also sums of products over
/// [`MAX_MULTI_VECTORS`] and what encodings sum up are far from it.
pub const MAX_MULTI_LENGTH: f32 = 1e15;
/// Longest text id, in bytes.
pub const MAX_ID_BYTES: usize = 512;
/// Most vectors of a multi-vector that can be replaced by their mean.
pub const MAX_TOKEN_POOLING: usize = 64;
/// Largest payload of one point, in bytes of JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Most points one write can hold.
pub const MAX_BATCH_POINTS: usize = 100_000;
/// Largest `offset + limit` of a query.
pub const MAX_QUERY_LIMIT: usize = 10_000;
/// Most queries one batch can hold.
pub const MAX_BATCH_QUERIES: usize = 4_096;
/// Most candidates that all queries of one batch can re-rank.
pub const MAX_BATCH_CANDIDATES: usize = 40_000_000;
/// Most queries one fusion can hold.
pub const MAX_FUSED_QUERIES: usize = 64;
/// Most groups that one query can return.
pub const MAX_GROUPS: usize = 1_000;
/// Most hits of one group that a query can return.
pub const MAX_GROUP_SIZE: usize = 1_000;
/// Most that a query can weigh in a fusion.
pub const MAX_FUSION_WEIGHT: f32 = 1e6;
/// Most values one facet can return.
pub const MAX_FACET_VALUES: usize = 10_000;
/// Most points one scroll page can hold.
pub const MAX_SCROLL_LIMIT: usize = 10_000;
/// Longest collection or field name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most queries a field can be trained on.
pub const MAX_TRAINING_QUERIES: usize = 10_000;
/// Most examples one recommendation can have, positive and negative.
pub const MAX_EXAMPLES: usize = 1_000;
/// Most rows of a graph one query can expand, or lists it can scan.
pub const MAX_SEARCH_WINDOW: usize = 100_000;
/// Most candidates one query can re-rank.
pub const MAX_RERANK: usize = 100_000;
/// Most payload paths a collection can declare.
pub const MAX_PATHS: usize = 64;
/// Longest declared payload path, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// Most keys a declared payload path can have.
pub const MAX_PATH_PARTS: usize = 16;
/// Most values one point can have at a declared payload path.
pub const MAX_PATH_VALUES: usize = 4_096;
/// Longest keyword at a declared payload path, in bytes.
pub const MAX_KEYWORD_BYTES: usize = 1_024;
/// Most levels a filter can have.
pub const MAX_FILTER_DEPTH: usize = 32;
/// Most parts a filter can have: combinations and tests.
pub const MAX_FILTER_NODES: usize = 1_024;
/// Most values all lists of a filter can hold.
pub const MAX_FILTER_VALUES: usize = 10_000;
/// Most ids a filter can name.
pub const MAX_FILTER_IDS: usize = 100_000;
