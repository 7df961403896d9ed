//! Scoring of multi-vectors: exact MaxSim.
//!
//! MaxSim(Q, P) = Σ_{q∈Q} max_{p∈P} sim(q, p) — late interaction as in ColBERT (Khattab &
//! Zaharia, SIGIR 2020), called Chamfer similarity in MUVERA (arXiv 2405.19504, §2).

pub mod encoding;
mod max_sim;

pub use max_sim::max_sim;
