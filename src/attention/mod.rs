//! Attention as retrieval: the keys of a long context that a decoding step needs.
//!
//! A [`KeyIndex`] finds the keys with the largest products with a query, and [`sparse_attention`]
//! is the softmax over those and the static tokens (the first and the recent ones), with the share
//! of the attention that it covers. It follows RetrievalAttention (arXiv 2409.10516): an index per KV head, built from the queries of the
//! prefill, because queries and keys have different distributions. There the index is a RoarGraph
//! (VLDB 2024, arXiv 2408.08933); here it is lists by query, which VIBE (arXiv 2505.17810) found
//! faster for attention, as forests of trees.
//!
//! This is a library type, not a collection: there are no files and no journal, and everything is
//! freed when it is dropped. Vectors are used as they are: products are not normalized, and rotary
//! embeddings are already applied.
//!
//! ```
//! use lanner::attention::{Attention, KeyIndex, KeyIndexSettings, Request, Rows, Searcher};
//! use lanner::attention::{Target, Tensors, sparse_attention};
//!
//! # fn main() -> lanner::Result<()> {
//! # let wave = |n: usize, f: f32| (0..n * 8).map(|i| (i as f32 * f).sin()).collect::<Vec<f32>>();
//! // A head of dimension 8 after the prefill of 300 tokens: queries, keys and values, row-major.
//! let (queries, keys, values) = (wave(300, 0.7), wave(300, 0.3), wave(300, 0.1));
//! let rows = |values| Rows::f32(values, 8);
//! let index = KeyIndex::build(rows(&keys)?, rows(&queries)?, KeyIndexSettings::default())?;
//!
//! // The 10 keys with the largest products, without the first 4 tokens and those from 236 on.
//! let request = Request::new(Target::Keys(10)).excluding(&[0..4, 236..300]);
//! let mut searcher = Searcher::new();
//! index.search(rows(&queries[..8])?, Some(rows(&keys)?), &request, &mut searcher)?;
//! assert_eq!(searcher.head(0).ids.len(), 10);
//!
//! // The softmax over these and the excluded tokens.
//! let tensors = Tensors { queries: rows(&queries[..8])?, keys: rows(&keys)?, values: rows(&values)? };
//! let mut output = Attention::new();
//! sparse_attention(&index, tensors, &request, &mut searcher, &mut output)?;
//! assert_eq!(output.output(0).len(), 8);
//! assert!(output.coverage(0).estimate > 0.1);
//! # Ok(())
//! # }
//! ```

mod key_index;
mod mass;
mod part;
mod request;
mod rows;
mod score;
mod search;
mod select;
mod softmax;
mod sparse;

pub use key_index::{KeyIndex, KeyIndexSettings};
pub use request::{Request, Target};
pub use rows::{Elements, Rows};
pub use search::{HeadHits, Rest, Searcher, search_heads};
pub use softmax::Partial;
pub use sparse::{Attention, Coverage, Tensors, sparse_attention};
