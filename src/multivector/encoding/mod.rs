//! Encodings: a multi-vector as one vector, so that a single-vector index retrieves MaxSim
//! candidates.
//!
//! - [`fde`]: MUVERA's fixed-dimensional encodings (Dhulipala et al., NeurIPS 2024), which need no
//!   training.

pub mod fde;
