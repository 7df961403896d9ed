//! Inverted index of sparse vectors: for each dimension the rows that have it, in blocks with their
//! largest weight.
//!
//! A query sums, for each block of 16 rows, what the largest weights of its dimensions could add up
//! to, and goes through the blocks from the highest of these bounds down, until none can reach the
//! k-th best score: Block-Max Pruning (Mallia, Suel and Tonellotto, "Faster Learned Sparse Retrieval
//! with Block-Max Pruning", SIGIR 2024, arXiv 2405.01117), after block-max WAND (Ding and Suel, SIGIR
//! 2011).
//!
//! Weights are 8 bits with one scale a list, rounded up, so that the sum of a row is a bound of its
//! score, too. The caller scores the rows whose bounds reach the k-th best score by their vectors:
//! the answer is exact.
//!
//! Rows are indexed in chunks of 65,536, each with lists of its own, so that building takes bounded
//! memory, and positions are numbers of 16 bits. Within a chunk, rows that are alike are neighbours, so
//! that the bounds of most blocks are low.

mod build;
mod order;
mod search;

pub use build::{ChunkBuilder, ChunkParts};
pub use search::{BYTES_OF_LIST, List, Scratch, Work, factor_of, least_of, search};

/// Rows of a chunk.
pub const CHUNK_ROWS: u32 = 1 << 16;
/// Rows of a block.
const BLOCK_ROWS: usize = 16;
/// Blocks of a chunk.
const CHUNK_BLOCKS: usize = CHUNK_ROWS as usize / BLOCK_ROWS;

/// The weight of a row in a list, rounded up: row within the block, and multiple of the scale.
pub type Posting = [u8; 2];
