//! Encodings: one vector for many, so that a single-vector index finds candidates for MaxSim.
//!
//! - [`fde`]: MUVERA's fixed-dimensional encodings (Dhulipala et al., NeurIPS 2024), which need no
//!   training.

pub mod fde;
