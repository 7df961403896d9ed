//! Evaluation: how well, and how fast, a search answers the queries of a public collection.
//!
//! A vector engine is approximate by trade, so its claims are only worth the yardstick beside them.
//! This module reads what public benchmarks provide, judges results as their own tools do, and
//! reports. It depends on no other part of the engine and never touches an index:
//!
//! 1. [`BeirDataset`] opens a BEIR folder: [`queries`](BeirDataset::queries), [`Qrels`], and the
//!    documents as a stream. [`VectorFile`], [`read_offsets`] and [`IdList`] read the vectors that
//!    go with it.
//! 2. The caller searches and collects the ranked results in a [`Run`], which can be saved as a
//!    TREC run file for other tools to judge.
//! 3. [`evaluate`] computes [`Metrics`] to the rules of trec_eval and BEIR, [`QueryMetrics`] the
//!    same for each query. A [`Judge`] makes a judged [`System`] of a run; [`compare`] tests by
//!    [`randomization_test`] whether systems differ.
//! 4. A [`Report`] gathers quality, indexing time and latencies ([`LatencyRecorder`]);
//!    [`comparison_table`] prints several side by side.
//! 5. A [`SweepPoint`] is one setting of a sweep over recall and speed; [`sweep_table`] prints
//!    and [`recall_qps_svg`] plots them.
//!
//! Rules common to all readers: nothing malformed is skipped, every error names the file and, in
//! text files, the line, and no size claimed by a file is trusted before it is checked.

mod beir;
mod ids;
mod latency;
mod lines;
mod metrics;
mod npy;
mod plot;
mod qrels;
mod records;
mod report;
mod run;
mod significance;
mod sweep;
mod system;
mod table;
mod trec;
mod unpacked;
mod vecs;
mod vectors;

pub use beir::{BeirDataset, DatasetError, Document, Documents, Query};
pub use ids::{IdList, IdsError};
pub use latency::{LatencyPercentiles, LatencyRecorder};
pub use lines::{Line, LineError, Lines};
pub use metrics::{JudgedRanking, Measure, Metrics, QueryMetrics, evaluate};
pub use npy::{
    Neighbours, NpyError, NpyMatrix, NpyType, NpyWriter, SparseMatrix, read_npy_neighbours,
    read_offsets,
};
pub use plot::{PlotError, recall_qps_svg};
pub use qrels::{Judgements, Qrels, QrelsError};
pub use report::Report;
pub use run::{Hit, Run, RunError, evaluation_order};
pub use significance::randomization_test;
pub use sweep::{Answered, Load, SweepPoint, load_table, recall_at, sweep_table};
pub use system::{Judge, System, best, compare, save_per_query};
pub use table::{TableStyle, comparison_table};
pub use trec::{TrecError, prepare_run};
pub use vecs::{FvecsWriter, VecsError, VecsMatrix, read_ivecs};
pub use vectors::{VectorFile, VectorsError, read_neighbours};
