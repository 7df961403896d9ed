//! Multi-vectors: exact MaxSim, token codes, and encodings for candidate retrieval.
//!
//! MaxSim(Q, P) = Σ_{q∈Q} max_{p∈P} sim(q, p) — late interaction as in ColBERT (Khattab &
//! Zaharia, SIGIR 2020), called Chamfer similarity in MUVERA (arXiv 2405.19504, §2).
//!
//! - [`max_sim()`]: the definition, over f32 rows and any similarity.
//! - [`TokenCodec`]: tokens as LVQ codes or half precision, and MaxSim over them.
//! - [`pool_tokens`]: fewer tokens per document, by replacing similar ones with their mean.
//! - [`CentroidQuery`]: MaxSim with the centroids nearest to a document's tokens.
//! - [`Probes`]: the centroids by whose lists of documents a query finds candidates.
//! - [`encoding`]: a multi-vector as one vector, whose dot products approximate MaxSim.

mod centroids;
pub mod encoding;
mod max_sim;
mod pooling;
mod probes;
mod token_codec;

pub use centroids::CentroidQuery;
pub use max_sim::max_sim;
pub use pooling::{pool_field, pool_tokens};
pub use probes::{Probes, Recaptures};
pub use token_codec::{TokenCode, TokenCodec, TokenQuery, TokenScorer};
