//! The codec of a field: from vectors to codes and back.
//!
//! A vector x is centred (x − μ), mapped to fewer dimensions if there is a reduction, and
//! quantized: this is its *primary* code, which is scanned. Its *secondary* code keeps all
//! dimensions and re-ranks the candidates of the scan.
//!
//! Scores of primary codes approximate the metric itself, so that candidates of different segments
//! are comparable: ⟨q, x⟩ ≈ ⟨q, μ⟩ + ⟨A q, B (x − μ)⟩, and under l2 −‖q − x‖² ≈ 2⟨A (q − μ), B (x −
//! μ)⟩ − ‖q − μ‖² − n. For a projection, n = ‖ŷ‖² + ‖x − μ‖² − ‖y‖² with y = B (x − μ) and its
//! decoded form ŷ, so that a code's error is weighted by the distance of q from x; for other maps n
//! = ‖x − μ‖².

use std::borrow::Cow;
use std::sync::OnceLock;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::coded_map::CodedMap;
use super::leanvec::{AffineMap, QueryColumns, Reduction, map_rows};
use super::lvq::{Constants, Lvq, Residual};
use super::row_distances::RowDistances;
use super::secondary::{self, SecondaryQuery};
use crate::kernels;
use crate::kernels::codes::{CodeBits, CodeKernel, CodeLayout, CodeQuery};
use crate::model::{LvqCode, Metric, Secondary};

/// Rows to encode per task.
const BLOCK_ROWS: usize = 512;
/// Number of integer sums to compute before converting them to scores.
const SCORE_ROWS: usize = 64;

/// Settings of a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecSettings {
    /// Scalar quantization of the primary code.
    pub code: LvqCode,
    /// Secondary code; two-level codes have their own.
    pub secondary: Secondary,
    /// Metric of the field.
    pub metric: Metric,
}

/// Encodes vectors and scores codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Codec {
    settings: CodecSettings,
    center: Vec<f32>,
    reduction: Option<Reduction>,
    /// The query map as codes, computed on first use.
    coded_map: OnceLock<CodedMap>,
    primary: Lvq,
    secondary: SecondaryCodec,
}

#[derive(Debug, Clone, PartialEq)]
enum SecondaryCodec {
    /// Nothing is stored: the raw vectors re-rank.
    Raw,
    Lvq(Lvq),
    F16,
    Residual(Residual),
}

/// A query, prepared for scoring primary codes.
#[derive(Debug, Clone)]
pub struct PrimaryQuery {
    codes: CodeQuery,
    /// Σ of the integers of the rounded query.
    total: f32,
    /// score = offset + weight · (step · sum + low · total) − norm.
    weight: f32,
    offset: f32,
}

impl PrimaryQuery {
    /// The query as compared with codes of this layout: mapped to the reduced dimension and rounded.
    pub fn rounded(&self, layout: &CodeLayout) -> Vec<f32> {
        self.codes.rounded(layout)
    }

    #[inline]
    fn score(&self, sum: i32, constants: Constants) -> f32 {
        let product = constants.step * sum as f32 + constants.low * self.total;
        let score = self.offset + self.weight * product - constants.norm;
        // ∞ − ∞, from huge values, ranks last.
        score.max(f32::NEG_INFINITY)
    }
}

impl Codec {
    /// A codec around `center` (whose length is the dimension), optionally with a reduction.
    pub fn new(settings: CodecSettings, center: Vec<f32>, reduction: Option<Reduction>) -> Self {
        let dimension = center.len();
        let bits = match settings.code {
            LvqCode::Lvq8 => CodeBits::Eight,
            LvqCode::Lvq4 | LvqCode::Lvq4x4 | LvqCode::Lvq4x8 => CodeBits::Four,
        };
        let reduced = reduction.as_ref().map_or(dimension, Reduction::reduced);
        let secondary = match (settings.code, settings.secondary) {
            (LvqCode::Lvq4x4, _) => {
                SecondaryCodec::Residual(Residual::new(CodeBits::Four, dimension))
            }
            (LvqCode::Lvq4x8, _) => {
                SecondaryCodec::Residual(Residual::new(CodeBits::Eight, dimension))
            }
            (_, Secondary::Lvq8) => {
                SecondaryCodec::Lvq(Lvq::new(CodeBits::Eight, dimension, false))
            }
            (_, Secondary::Lvq4) => SecondaryCodec::Lvq(Lvq::new(CodeBits::Four, dimension, false)),
            (_, Secondary::F16) => SecondaryCodec::F16,
            // Residual codes are of the tokens of multi fields.
            (_, Secondary::Residual8 | Secondary::Residual4 | Secondary::Residual2)
            | (_, Secondary::Auto | Secondary::Raw) => SecondaryCodec::Raw,
        };
        let primary = Lvq::new(bits, reduced, settings.metric == Metric::L2);
        let coded_map = OnceLock::new();
        Self { settings, center, reduction, coded_map, primary, secondary }
    }

    /// Settings of the codec.
    pub fn settings(&self) -> CodecSettings {
        self.settings
    }

    /// Dimension of the vectors.
    pub fn dimension(&self) -> usize {
        self.center.len()
    }

    /// μ, the centre.
    pub fn center(&self) -> &[f32] {
        &self.center
    }

    /// The reduction, if there is one.
    pub fn reduction(&self) -> Option<&Reduction> {
        self.reduction.as_ref()
    }

    /// Layout of the primary records.
    pub fn primary_layout(&self) -> &CodeLayout {
        self.primary.layout()
    }

    /// Bytes of a secondary record; 0 if raw vectors re-rank.
    pub fn secondary_stride(&self) -> usize {
        match &self.secondary {
            SecondaryCodec::Raw => 0,
            SecondaryCodec::Lvq(lvq) => lvq.layout().stride(),
            SecondaryCodec::F16 => size_of::<f16>() * self.dimension(),
            SecondaryCodec::Residual(residual) => residual.layout().stride(),
        }
    }

    /// Encodes rows, shape [n, dimension], into n primary and n secondary records.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn encode(&self, rows: &[f32], primary: &mut [u8], secondary: &mut [u8]) {
        let (stride, second) = (self.primary_layout().stride(), self.secondary_stride());
        let n = rows.len() / self.dimension();
        assert_eq!((primary.len(), secondary.len()), (n * stride, n * second), "records of rows");
        let blocks = rows
            .par_chunks(BLOCK_ROWS * self.dimension())
            .zip(primary.par_chunks_mut(BLOCK_ROWS * stride));
        if second == 0 {
            return blocks.for_each(|(rows, primary)| self.encode_block(rows, primary, &mut []));
        }
        blocks
            .zip(secondary.par_chunks_mut(BLOCK_ROWS * second))
            .for_each(|((rows, primary), secondary)| self.encode_block(rows, primary, secondary));
    }

    /// The primary records of rows of shape [n, dimension], followed by the slack that kernels
    /// read.
    pub fn primary_records(&self, rows: &[f32]) -> Vec<u8> {
        let layout = self.primary_layout();
        let count = rows.len() / self.dimension();
        let mut records = vec![0; layout.section_bytes(count)];
        self.primary_only().encode(rows, &mut records[..count * layout.stride()], &mut []);
        records
    }

    /// The same codec without secondary codes.
    fn primary_only(&self) -> Self {
        Self { secondary: SecondaryCodec::Raw, ..self.clone() }
    }

    fn encode_block(&self, rows: &[f32], primary: &mut [u8], secondary: &mut [u8]) {
        let (dimension, stride) = (self.dimension(), self.primary_layout().stride());
        let mut centred = rows.to_vec();
        for row in centred.chunks_exact_mut(dimension) {
            subtract(row, &self.center);
        }
        let mapped = self.reduction.as_ref().map(|reduction| reduction.map_base(&centred));
        let reduced = self.primary_layout().dimension();
        let mapped = mapped.as_ref().unwrap_or(&centred).chunks_exact(reduced);
        let mut scratch = Vec::new();
        let mut seconds = secondary.chunks_exact_mut(self.secondary_stride().max(1));
        let inputs = rows.chunks_exact(dimension).zip(centred.chunks_exact(dimension)).zip(mapped);
        for (((row, centred), mapped), record) in inputs.zip(primary.chunks_exact_mut(stride)) {
            self.primary.encode(mapped, record, &mut scratch);
            if self.settings.metric == Metric::L2 {
                self.primary.set_norm(record, self.l2_norm(centred, mapped, record));
            }
            if let Some(second) = seconds.next() {
                self.encode_secondary(row, centred, record, second);
            }
        }
    }

    fn encode_secondary(&self, row: &[f32], centred: &[f32], first: &[u8], record: &mut [u8]) {
        match &self.secondary {
            SecondaryCodec::Raw => {}
            SecondaryCodec::Lvq(lvq) => lvq.encode(centred, record, &mut Vec::new()),
            SecondaryCodec::F16 => {
                let (least, most) = (f16::MIN.to_f32(), f16::MAX.to_f32());
                for (bytes, value) in record.chunks_exact_mut(2).zip(row) {
                    let half = f16::from_f32(value.clamp(least, most));
                    bytes.copy_from_slice(&half.to_le_bytes());
                }
            }
            SecondaryCodec::Residual(residual) => {
                let mut decoded = Vec::new();
                self.primary.decode(first, &mut decoded);
                residual.encode(centred, &decoded, self.primary.constants(first).step, record);
            }
        }
    }

    /// The norm subtracted from the score of a record under l2: n in the module's formula.
    fn l2_norm(&self, centred: &[f32], mapped: &[f32], record: &[u8]) -> f32 {
        let square = |values: &[f32]| kernels::dot(values, values);
        let projection = self.reduction.as_ref().is_none_or(Reduction::is_projection);
        let norm = if projection {
            let mut decoded = Vec::new();
            self.primary.decode(record, &mut decoded);
            let outside = if self.reduction.is_some() {
                (square(centred) - square(mapped)).max(0.0)
            } else {
                0.0
            };
            square(&decoded) + outside
        } else {
            square(centred)
        };
        norm.min(f32::MAX)
    }

    /// Prepares a query of the field's dimension, normalized under cosine.
    pub fn query(&self, vector: &[f32]) -> PrimaryQuery {
        let (vector, offset, factor) = match self.settings.metric {
            Metric::Dot | Metric::Cosine => {
                (Cow::Borrowed(vector), kernels::dot(vector, &self.center), 1.0)
            }
            Metric::L2 => {
                let mut centred = vector.to_vec();
                subtract(&mut centred, &self.center);
                let offset = -kernels::dot(&centred, &centred);
                (Cow::Owned(centred), offset, 2.0)
            }
        };
        let mapped = match &self.reduction {
            Some(reduction) => self.map_query(reduction, &vector),
            None => vector.into_owned(),
        };
        self.mapped_query(mapped, offset, factor)
    }

    /// Rounding the map to 8 bits is insignificant for 4-bit codes, but not for 8-bit codes.
    fn map_query(&self, reduction: &Reduction, query: &[f32]) -> Vec<f32> {
        if self.primary_layout().bits() == CodeBits::Eight {
            return reduction.map_query(query);
        }
        let code = || CodedMap::new(reduction.query_map(), reduction.dimension());
        self.coded_map.get_or_init(code).map(query)
    }

    /// Prepares a sparse query, given as runs of its non-zero elements, each with the position of
    /// its first. `columns` must belong to the codec's reduction.
    ///
    /// # Panics
    /// If the metric is l2, under which queries are centred and so are not sparse, or if a run ends
    /// past the dimension.
    pub fn sparse_query<'a>(
        &self,
        columns: &QueryColumns,
        runs: impl Iterator<Item = (usize, &'a [f32])> + Clone,
    ) -> PrimaryQuery {
        assert!(self.settings.metric != Metric::L2, "a metric of products");
        let part = |(start, values): (usize, &[f32])| {
            kernels::dot(values, &self.center[start..][..values.len()])
        };
        let offset = runs.clone().map(part).sum();
        self.mapped_query(columns.map(runs), offset, 1.0)
    }

    /// Whether the reduction maps queries otherwise than rows, so that what is near by codes is not
    /// what scores best.
    pub fn maps_queries_otherwise(&self) -> bool {
        self.reduction.as_ref().is_some_and(|reduction| !reduction.is_projection())
    }

    /// The map from decoded primary codes to the queries that ask for their rows
    /// (`quantization::expected`).
    pub(super) fn rows_as_queries(&self) -> AffineMap {
        // Queries are centred under l2 only, rows always.
        let center = match self.settings.metric {
            Metric::Dot | Metric::Cosine => self.center.clone(),
            Metric::L2 => vec![0.0; self.center.len()],
        };
        // The rows of a projection are orthonormal: A Aᵀ is the identity.
        let otherwise = self.reduction.as_ref().filter(|reduction| !reduction.is_projection());
        let linear = otherwise.map(|reduction| {
            let map = reduction.query_map();
            map_rows(map, map, reduction.dimension())
        });
        let offset = match &self.reduction {
            Some(reduction) => reduction.map_query(&center),
            None => center,
        };
        AffineMap { linear, offset }
    }

    /// Prepares a query of the dimension of the primary codes, already mapped. Its scores order rows
    /// as the metric does, but lack what is the same for all rows.
    pub fn reduced_query(&self, mapped: Vec<f32>) -> PrimaryQuery {
        let factor = if self.settings.metric == Metric::L2 { 2.0 } else { 1.0 };
        self.mapped_query(mapped, 0.0, factor)
    }

    fn mapped_query(&self, mut mapped: Vec<f32>, offset: f32, factor: f32) -> PrimaryQuery {
        for value in &mut mapped {
            *value = if value.is_nan() { 0.0 } else { value.clamp(f32::MIN, f32::MAX) };
        }
        let codes = CodeQuery::new(self.primary_layout(), &mapped);
        let (total, weight) = (codes.total() as f32, factor * codes.scale());
        PrimaryQuery { codes, total, weight, offset }
    }

    /// Approximate scores of the first `scores.len()` records, which must be followed by more
    /// records or slack. Higher is better.
    #[inline]
    pub fn score_rows(
        &self,
        kernel: CodeKernel,
        query: &PrimaryQuery,
        records: &[u8],
        scores: &mut [f32],
    ) {
        let layout = self.primary_layout();
        let stride = layout.stride();
        let mut sums = [0; SCORE_ROWS];
        for (block, scores) in scores.chunks_mut(SCORE_ROWS).enumerate() {
            let records = &records[block * SCORE_ROWS * stride..];
            let sums = &mut sums[..scores.len()];
            kernel.dot_rows(layout, records, &query.codes, sums);
            let rows = scores.iter_mut().zip(&*sums).zip(records.chunks_exact(stride));
            // Two loops, so that the metric is not tested per row.
            if self.settings.metric == Metric::L2 {
                for ((score, &sum), record) in rows {
                    *score = query.score(sum, self.primary.constants(record));
                }
            } else {
                for ((score, &sum), record) in rows {
                    *score = query.score(sum, Lvq::range(record));
                }
            }
        }
    }

    /// Approximate scores of the listed records. Higher is better.
    ///
    /// # Panics
    /// If a record or the slack after it is missing, or `ids` and `scores` differ in length.
    #[inline]
    pub fn score_listed(
        &self,
        kernel: CodeKernel,
        query: &PrimaryQuery,
        records: &[u8],
        ids: &[u32],
        scores: &mut [f32],
    ) {
        let layout = self.primary_layout();
        let stride = layout.stride();
        let mut sums = [0; SCORE_ROWS];
        for (ids, scores) in ids.chunks(SCORE_ROWS).zip(scores.chunks_mut(SCORE_ROWS)) {
            let sums = &mut sums[..ids.len()];
            kernel.dot_listed(layout, records, &query.codes, ids, sums);
            for ((score, &sum), &id) in scores.iter_mut().zip(&*sums).zip(ids) {
                let record = &records[id as usize * stride..];
                *score = query.score(sum, self.primary.constants(record));
            }
        }
    }

    /// Distances between rows by their primary codes.
    pub fn row_distances<'a>(&'a self, kernel: CodeKernel, records: &'a [u8]) -> RowDistances<'a> {
        RowDistances::new(&self.primary, self.settings.metric, kernel, records)
    }

    /// Prepares a query for scoring secondary codes by integer products; `None` if they must be
    /// decoded: under l2, or unless they are one-level LVQ. The query serves all codecs of a field.
    pub fn secondary_query(&self, vector: &[f32]) -> Option<SecondaryQuery> {
        match (&self.secondary, self.settings.metric) {
            (SecondaryCodec::Lvq(lvq), Metric::Dot | Metric::Cosine) => {
                Some(SecondaryQuery::new(lvq.layout(), vector))
            }
            _ => None,
        }
    }

    /// Scores of the listed secondary records, which need no slack after them; `None` if they must
    /// be decoded.
    ///
    /// # Panics
    /// If a record does not exist.
    pub fn score_secondary(
        &self,
        kernel: CodeKernel,
        query: &SecondaryQuery,
        records: &[u8],
        ids: &[u32],
    ) -> Option<Vec<f32>> {
        let SecondaryCodec::Lvq(lvq) = &self.secondary else { return None };
        let records = secondary::Records { lvq, center: &self.center, kernel, bytes: records };
        Some(query.score(records, ids))
    }

    /// Reconstructs the vector of a row from its secondary code or, without one, from its primary
    /// code.
    pub fn reconstruct(&self, primary: &[u8], secondary: &[u8], out: &mut Vec<f32>) {
        match &self.secondary {
            SecondaryCodec::F16 => {
                out.clear();
                let half = |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]);
                let halves: Vec<f16> = secondary.chunks_exact(2).map(half).collect();
                out.resize(halves.len(), 0.0);
                halves.convert_to_f32_slice(out);
                return;
            }
            SecondaryCodec::Lvq(lvq) => lvq.decode(secondary, out),
            SecondaryCodec::Residual(residual) => {
                self.primary.decode(primary, out);
                residual.refine(secondary, self.primary.constants(primary).step, out);
            }
            SecondaryCodec::Raw => {
                self.primary.decode(primary, out);
                if let Some(reduction) = &self.reduction {
                    *out = reduction.expand(out);
                }
            }
        }
        for (value, center) in out.iter_mut().zip(&self.center) {
            *value += center;
        }
    }

    /// Σ‖x − x̂‖² / Σ‖x − μ‖² over rows of shape [n, dimension], with x̂ decoded from the primary
    /// codes and μ the centre of these rows: 0 for no loss, about 1 for total loss. 0 if all rows
    /// equal μ.
    pub fn loss(&self, rows: &[f32], center: &[f32]) -> f64 {
        let (lost, whole) = self
            .errors(rows, center)
            .into_iter()
            .fold((0.0, 0.0), |(a, b), (lost, whole)| (a + lost, b + whole));
        let loss = if whole > 0.0 { lost / whole } else { 0.0 };
        // Values written as JSON must be finite.
        if loss.is_nan() { f64::MAX } else { loss.min(f64::MAX) }
    }

    /// ‖x − x̂‖² / ‖x − c‖² of each row, with c the centre of the codec: its relative loss.
    pub fn losses(&self, rows: &[f32]) -> Vec<f64> {
        let share = |(lost, whole): (f64, f64)| if whole > 0.0 { lost / whole } else { 0.0 };
        self.errors(rows, &self.center).into_iter().map(share).collect()
    }

    /// ‖x − x̂‖² and ‖x − center‖² of each row.
    fn errors(&self, rows: &[f32], center: &[f32]) -> Vec<(f64, f64)> {
        let (stride, dimension) = (self.primary_layout().stride(), self.dimension());
        let (primary_only, records) = (self.primary_only(), self.primary_records(rows));
        rows.par_chunks_exact(dimension)
            .zip(records.par_chunks_exact(stride))
            .map_init(Vec::new, |decoded, (row, record)| {
                primary_only.reconstruct(record, &[], decoded);
                (distance(row, decoded), distance(row, center))
            })
            .collect()
    }
}

fn subtract(row: &mut [f32], center: &[f32]) {
    for (value, center) in row.iter_mut().zip(center) {
        *value -= center;
    }
}

/// ‖a − b‖² in double precision.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::leanvec::{Method, Moments};
    use crate::quantization::random::hash;

    const CODES: [LvqCode; 4] = [LvqCode::Lvq8, LvqCode::Lvq4, LvqCode::Lvq4x4, LvqCode::Lvq4x8];
    const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

    fn rows(n: usize, dimension: usize, seed: u64) -> Vec<f32> {
        let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.3;
        (0..n * dimension).map(value).collect()
    }

    fn mean(rows: &[f32], dimension: usize) -> Vec<f32> {
        let n = rows.len() / dimension;
        (0..dimension)
            .map(|j| rows.iter().skip(j).step_by(dimension).sum::<f32>() / n as f32)
            .collect()
    }

    fn exact(metric: Metric, q: &[f32], x: &[f32]) -> f32 {
        match metric {
            Metric::Dot | Metric::Cosine => kernels::scalar::dot(q, x),
            Metric::L2 => -kernels::scalar::l2_squared(q, x),
        }
    }

    struct Encoded {
        codec: Codec,
        primary: Vec<u8>,
        secondary: Vec<u8>,
    }

    fn encoded(codec: Codec, base: &[f32]) -> Encoded {
        let n = base.len() / codec.dimension();
        let mut primary = vec![0; n * codec.primary_layout().stride()];
        let mut secondary = vec![0; n * codec.secondary_stride()];
        codec.encode(base, &mut primary, &mut secondary);
        primary.extend([0; CodeLayout::SLACK_BYTES]);
        Encoded { codec, primary, secondary }
    }

    #[test]
    fn scores_of_all_codes_approximate_the_metric() {
        for dimension in [1, 7, 64, 131] {
            let (base, queries) = (rows(130, dimension, 1), rows(5, dimension, 2));
            for code in CODES {
                for metric in METRICS {
                    let settings = CodecSettings { code, secondary: Secondary::Raw, metric };
                    let codec = Codec::new(settings, mean(&base, dimension), None);
                    let Encoded { codec, primary, .. } = encoded(codec, &base);
                    let mut scores = vec![0.0; 130];
                    for q in queries.chunks_exact(dimension) {
                        let query = codec.query(q);
                        codec.score_rows(CodeKernel::detect(), &query, &primary, &mut scores);
                        let tolerance = if code == LvqCode::Lvq8 { 0.01 } else { 0.15 };
                        let tolerance = tolerance * (dimension as f32).sqrt();
                        for (score, x) in scores.iter().zip(base.chunks_exact(dimension)) {
                            let error = (score - exact(metric, q, x)).abs();
                            assert!(error < tolerance, "{dimension} {code} {metric:?}: {error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn scores_over_all_reduced_dimensions_approximate_the_metric() {
        let dimension = 40;
        let (base, queries) = (rows(300, dimension, 3), rows(50, dimension, 4));
        let center = mean(&base, dimension);
        let mut centred = base.clone();
        for row in centred.chunks_exact_mut(dimension) {
            subtract(row, &center);
        }
        let moments = Moments::new(&centred, &queries, dimension);
        for method in [Method::Pca, Method::EigenSearch, Method::FrankWolfe, Method::Sphering] {
            for metric in METRICS {
                let code = LvqCode::Lvq8;
                let settings = CodecSettings { code, secondary: Secondary::Raw, metric };
                let reduction = Reduction::learn(&moments, method, dimension, 42).unwrap();
                let codec = Codec::new(settings, center.clone(), Some(reduction));
                let Encoded { codec, primary, .. } = encoded(codec, &base);
                let mut scores = vec![0.0; 300];
                let q = &queries[..dimension];
                codec.score_rows(CodeKernel::detect(), &codec.query(q), &primary, &mut scores);
                for (score, x) in scores.iter().zip(base.chunks_exact(dimension)) {
                    let error = (score - exact(metric, q, x)).abs();
                    assert!(error < 0.1, "{method} {metric:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn distances_count_what_lies_outside_of_the_reduced_space() {
        // Wide in the first dimension, which is kept; the second is lost.
        let base: Vec<f32> =
            (0..100).flat_map(|i| [i as f32 - 49.5, if i % 2 == 0 { 3.0 } else { -3.0 }]).collect();
        let moments = Moments::new(&base, &[], 2);
        let reduction = Reduction::learn(&moments, Method::Pca, 1, 42).unwrap();
        let settings =
            CodecSettings { code: LvqCode::Lvq8, secondary: Secondary::Raw, metric: Metric::L2 };
        let codec = Codec::new(settings, vec![0.0; 2], Some(reduction));
        let Encoded { codec, primary, .. } = encoded(codec, &base);
        let mut scores = vec![0.0; 100];
        let q = [10.5, 0.0];
        codec.score_rows(CodeKernel::detect(), &codec.query(&q), &primary, &mut scores);
        for (score, x) in scores.iter().zip(base.chunks_exact(2)) {
            assert!((score - exact(Metric::L2, &q, x)).abs() < 1.0, "{score} {x:?}");
        }
    }

    #[test]
    fn secondary_codes_reconstruct_the_vectors() {
        let dimension = 50;
        let base = rows(20, dimension, 5);
        for (code, secondary, tolerance) in [
            (LvqCode::Lvq4, Secondary::F16, 1e-3),
            (LvqCode::Lvq4, Secondary::Lvq8, 3e-3),
            (LvqCode::Lvq4x4, Secondary::Auto, 4e-3),
            (LvqCode::Lvq4x8, Secondary::Auto, 2e-4),
            (LvqCode::Lvq8, Secondary::Raw, 3e-3),
            (LvqCode::Lvq4, Secondary::Raw, 5e-2),
        ] {
            let settings = CodecSettings { code, secondary, metric: Metric::Dot };
            let codec = Codec::new(settings, mean(&base, dimension), None);
            let Encoded { codec, primary, secondary } = encoded(codec, &base);
            let mut out = Vec::new();
            for (row, x) in base.chunks_exact(dimension).enumerate() {
                let first = &primary[row * codec.primary_layout().stride()..];
                let second = &secondary[row * codec.secondary_stride()..];
                let second = &second[..codec.secondary_stride()];
                codec.reconstruct(first, second, &mut out);
                let error = x.iter().zip(&out).fold(0.0_f32, |e, (a, b)| e.max((a - b).abs()));
                assert!(error <= tolerance, "{code} {settings:?}: {error}");
            }
        }
    }

    #[test]
    fn the_loss_tells_how_much_is_kept() {
        let dimension = 32;
        let base = rows(400, dimension, 6);
        let center = mean(&base, dimension);
        let loss = |code| {
            let settings = CodecSettings { code, secondary: Secondary::Raw, metric: Metric::Dot };
            Codec::new(settings, center.clone(), None).loss(&base, &center)
        };
        let (eight, four) = (loss(LvqCode::Lvq8), loss(LvqCode::Lvq4));
        assert!(eight < 1e-4 && 100.0 * eight < four && four < 0.02, "{eight} {four}");
        let settings =
            CodecSettings { code: LvqCode::Lvq8, secondary: Secondary::Raw, metric: Metric::Dot };
        assert_eq!(Codec::new(settings, vec![0.5; 4], None).loss(&[0.5; 40], &[0.5; 4]), 0.0);
    }

    #[test]
    fn extreme_vectors_give_no_nan() {
        let base = [vec![f32::MAX; 3], vec![f32::MIN; 3], vec![1e-45; 3], vec![0.0; 3]].concat();
        for code in CODES {
            for metric in METRICS {
                for secondary in [Secondary::Lvq8, Secondary::F16] {
                    let settings = CodecSettings { code, secondary, metric };
                    let codec = Codec::new(settings, vec![0.0; 3], None);
                    let Encoded { codec, primary, secondary } = encoded(codec, &base);
                    let mut out = Vec::new();
                    for row in 0..4 {
                        let first = &primary[row * codec.primary_layout().stride()..];
                        let second = codec.secondary_stride();
                        codec.reconstruct(first, &secondary[row * second..][..second], &mut out);
                        assert!(out.iter().all(|value| !value.is_nan()), "{settings:?}");
                    }
                }
            }
        }
    }
}
