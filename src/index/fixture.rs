//! Fixture of the index tests: seeded clusters, their codes, and exact searches over these.

use std::collections::BTreeSet;

use crate::index::graph::{self, GraphSettings, Lessons};
use crate::index::{BuildProgress, BuiltIndex, CodeScores};
use crate::kernels::codes::CodeKernel;
use crate::model::{LvqCode, Metric, Secondary};
use crate::quantization::leanvec::Reduction;
use crate::quantization::{Codec, CodecSettings, PrimaryQuery, RowDistances, hash};

/// Shape of [`Fixture::clustered`].
pub const DIMENSION: usize = 16;
/// Rows of [`Fixture::clustered`].
pub const ROWS: u32 = 3000;
const CLUSTERS: u64 = 40;

/// Vectors and their primary codes.
pub struct Fixture {
    pub codec: Codec,
    pub records: Vec<u8>,
    pub vectors: Vec<Vec<f32>>,
}

/// Uniform in −1..1.
pub fn float(seed: u64, index: u64) -> f32 {
    (hash(seed, index) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

/// A vector near the centre of a random cluster; deterministic in the seed.
pub fn clustered(seed: u64) -> Vec<f32> {
    let cluster = hash(seed, 0) % CLUSTERS;
    (0..DIMENSION as u64).map(|i| float(1000 + cluster, i) + 0.3 * float(seed, 1 + i)).collect()
}

impl Fixture {
    /// Clustered rows with 8-bit codes; of length 1 under cosine.
    pub fn clustered(metric: Metric) -> Self {
        Self::new(metric, LvqCode::Lvq8, (0..u64::from(ROWS)).map(clustered).collect())
    }

    pub fn new(metric: Metric, code: LvqCode, mut vectors: Vec<Vec<f32>>) -> Self {
        if metric == Metric::Cosine {
            vectors.iter_mut().for_each(|vector| normalize(vector));
        }
        Self::reduced(metric, code, vectors, None)
    }

    /// With codes of reduced vectors.
    pub fn reduced(
        metric: Metric,
        code: LvqCode,
        vectors: Vec<Vec<f32>>,
        reduction: Option<Reduction>,
    ) -> Self {
        let settings = CodecSettings { code, secondary: Secondary::Raw, metric };
        let codec = Codec::new(settings, vec![0.0; vectors[0].len()], reduction);
        let records = codec.primary_records(&vectors.concat());
        Self { codec, records, vectors }
    }

    pub fn rows(&self) -> Vec<u32> {
        (0..self.vectors.len() as u32).collect()
    }

    pub fn distances(&self) -> RowDistances<'_> {
        self.codec.row_distances(CodeKernel::detect(), &self.records)
    }

    /// What graphs learn from: no queries are known.
    pub fn lessons(&self) -> Lessons<'_> {
        Lessons { codec: &self.codec, records: &self.records, queries: &[] }
    }

    /// A small graph of some of the rows.
    pub fn graph(&self, rows: &[u32]) -> BuiltIndex {
        let settings = GraphSettings {
            max_degree: 16,
            window_size: 50,
            alpha: 1.2,
            prune_to: 14,
            learned: 12,
            seed: 1,
        };
        let (distances, progress) = (self.distances(), BuildProgress::default());
        let graph = graph::build(&distances, rows, None, self.lessons(), settings, &progress);
        let (edges, entry) = graph.unwrap();
        BuiltIndex::Graph { edges, degree: settings.max_degree, entry }
    }

    /// A query that is not a row.
    pub fn query(&self, seed: u64) -> PrimaryQuery {
        let mut vector = clustered(1_000_000 + seed);
        if self.codec.settings().metric == Metric::Cosine {
            normalize(&mut vector);
        }
        self.codec.query(&vector)
    }

    pub fn scores<'a>(&'a self, query: &'a PrimaryQuery) -> CodeScores<'a> {
        let (codec, records) = (&self.codec, &self.records[..]);
        CodeScores { codec, kernel: CodeKernel::detect(), records, query }
    }

    /// The best accepted rows by codes, found by brute force, best first.
    pub fn exact(
        &self,
        query: &PrimaryQuery,
        k: usize,
        accept: impl Fn(u32) -> bool,
    ) -> Vec<(f32, u32)> {
        let mut scores = vec![0.0; self.vectors.len()];
        self.codec.score_rows(CodeKernel::detect(), query, &self.records, &mut scores);
        let mut best: Vec<(f32, u32)> =
            scores.into_iter().zip(0..).filter(|&(_, row)| accept(row)).collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        best.truncate(k);
        best
    }
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
}

/// Share of the exact rows found.
pub fn recall(found: &[(f32, u32)], exact: &[(f32, u32)]) -> f64 {
    let found: BTreeSet<u32> = found.iter().map(|&(_, row)| row).collect();
    let hits = exact.iter().filter(|(_, row)| found.contains(row)).count();
    hits as f64 / exact.len() as f64
}
