//! Training: chooses a codec for the vectors of a field.
//!
//! Part of the sample is held out. On it (and on a third of the training queries, which are never
//! used to learn the maps) the recall of the exact ten nearest rows among the first 20 and 50
//! candidates is measured. Explicit settings are reported with it. `auto` tries a ladder of codes,
//! from few bytes to many, until one reaches the floor for every source of the rows. If none comes
//! near it, there are no codes, and the raw vectors are scanned.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::codec::{Codec, CodecSettings};
use super::judge::{Judge, Shares};
use super::leanvec::{LeanVecError, Moments, Reduction};
use super::lvq::Lvq;
use super::spread::Spread;
use crate::kernels::codes::CodeBits;
use crate::model::{CodeSettings, LvqCode, Metric, Primary, ReductionMethod, VectorField};

/// Most rows to hold out, and their largest share of the sample.
const HELD_OUT: usize = 256;
const HELD_OUT_SHARE: usize = 8;
/// Recall among the first 20 and 50 candidates that `auto` requires.
const FLOOR: [f32; 2] = [0.99, 0.998];
/// `auto` uses no codes if the most precise ones have less recall than this among the first 50
/// candidates: re-ranking cannot make up for such a loss.
const LEAST_KEPT: f32 = 0.9;
/// Fewer training queries are supplemented with rows before maps are learned from them; fewer
/// held-out queries are not significant.
const LEAST_QUERIES: usize = 256;
const LEAST_HELD_OUT_QUERIES: usize = 32;
/// One in this many queries is held out.
const HELD_OUT_QUERY: usize = 3;
/// Reductions of the ladder, in twelfths of the dimension.
const LADDER_TWELFTHS: [usize; 6] = [2, 3, 4, 5, 6, 8];
/// Reduced dimensions of the ladder are multiples of this, or fill whole cache lines if that
/// changes the length of records by no more than one in `SNAP_PART`.
const LADDER_STEP: usize = 16;
const LINE_BYTES: usize = 64;
const SNAP_PART: usize = 8;
/// Most rows whose loss is stored, and their elements.
const LOSS_ROWS: usize = 4096;
const LOSS_VALUES: usize = 1 << 22;
/// Fewer rows of a source say nothing significant about its loss.
const LEAST_LOSS_ROWS: usize = 24;
/// Most elements of a sample: 256 MiB.
const SAMPLE_VALUES: u64 = 1 << 26;
/// Largest dimension for which full second moments are kept in memory.
const MOMENT_DIMENSION: usize = 4096;
/// Dimension of the subspace used for larger dimensions, if the reduced dimension is not given.
const SKETCH_RANK: usize = 1024;

/// Input of training.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSample<'a> {
    /// Vectors of the field as stored, shape [n, dimension], n ≥ 1.
    pub rows: &'a [f32],
    /// End of each source's rows; the worst source decides about a code.
    pub ends: &'a [usize],
    /// Representative queries, shape [m, dimension], prepared as queries are; may be empty.
    pub queries: &'a [f32],
    /// Further representative queries, held out for evaluation; may be empty.
    pub held_out_queries: &'a [f32],
    /// Seed of the rotation.
    pub seed: u64,
}

/// True if a query of the sample is held out: one in three, evenly spread.
pub fn is_held_out(query: usize) -> bool {
    query % HELD_OUT_QUERY == HELD_OUT_QUERY - 1
}

/// Description of a codec, with the measurements of its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecReport {
    /// Scalar quantization of the primary codes.
    pub code: LvqCode,
    /// Dimension of the primary codes.
    pub dimension: usize,
    /// Method that learned the reduction, if there is one.
    pub reduction: Option<ReductionMethod>,
    /// Number of training vectors.
    pub trained_rows: usize,
    /// Number of training queries.
    pub trained_queries: usize,
    /// Seed of the rotation of the reduced space.
    pub seed: u64,
    /// Σ‖x − x̂‖² / Σ‖x − μ‖² of the primary codes without outliers, for the source with the
    /// largest loss; on held-out vectors if there are enough.
    pub loss: f64,
    /// Codes tried; the last one was chosen.
    pub ladder: Vec<Rung>,
}

impl CodecReport {
    /// The chosen code, with its recall.
    pub fn chosen(&self) -> Option<&Rung> {
        self.ladder.last()
    }
}

/// A codec with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedCodec {
    /// The codec.
    pub codec: Codec,
    /// Its report.
    pub report: CodecReport,
    /// What is subtracted from the vectors of a multi field before they are encoded; empty if nothing
    /// is.
    pub token_center: Vec<f32>,
}

/// A step of the ladder: a code that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// The code, such as `lvq4:192:pca`.
    pub code: String,
    /// Bytes of a primary record.
    pub bytes: usize,
    /// Recall of the exact ten nearest rows among the first 20 and 50 candidates, for held-out
    /// vectors: the mean, or that of the worst source; `None` if the sample was too small.
    pub recall: Option<Shares>,
    /// The same for held-out queries.
    pub query_recall: Option<Shares>,
}

impl Rung {
    fn holds_floor(&self) -> bool {
        let holds = |recall: &Shares| recall.iter().zip(FLOOR).all(|(got, floor)| *got >= floor);
        let measured = self.recall.iter().chain(&self.query_recall);
        self.recall.is_some() && measured.into_iter().all(holds)
    }

    /// True if re-ranking can make up for the loss of the code.
    fn is_of_use(&self) -> bool {
        let kept = |recall: &Shares| recall[1] >= LEAST_KEPT;
        self.recall.iter().chain(&self.query_recall).all(kept)
    }

    /// Figure of merit for comparing methods: recall among the first 20 candidates, for held-out
    /// queries if there are any.
    fn merit(&self) -> f32 {
        self.query_recall.or(self.recall).map_or(0.0, |recall| recall[0])
    }
}

/// Number of rows to sample for a field of this dimension: enough for its second moment, and for
/// neighbours to lie as close together as in a segment; fewer for very long vectors.
pub fn sample_rows(dimension: usize) -> u64 {
    let rows = (64 * dimension as u64).clamp(16_384, 65_536);
    rows.min(SAMPLE_VALUES / dimension.max(1) as u64)
}

/// Result of a training.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Training {
    /// A trained codec.
    Codec(TrainedCodec),
    /// No code has enough recall, or the field is not compressed: vectors are scanned.
    NoCodes {
        /// Codes that were tried.
        ladder: Vec<Rung>,
    },
}

/// Learns a codec for a field.
///
/// # Errors
/// If an eigenvalue iteration does not converge.
pub fn train(field: &VectorField, sample: TrainingSample<'_>) -> Result<Training, LeanVecError> {
    train_unless(&AtomicBool::new(false), field, sample)
}

/// As [`train`], with cancellation.
///
/// # Errors
/// As [`train`], and [`LeanVecError::Cancelled`], with a delay of up to one step of the ladder.
pub fn train_unless(
    cancelled: &AtomicBool,
    field: &VectorField,
    sample: TrainingSample<'_>,
) -> Result<Training, LeanVecError> {
    if field.compression.primary == Primary::None {
        return Ok(Training::NoCodes { ladder: Vec::new() });
    }
    let material = Material::new(field, sample);
    let trainer = Trainer::new(&material);
    match field.compression.primary {
        Primary::Codes(settings) => {
            Ok(Training::Codec(trainer.explicit(settings)?.finish(&material)))
        }
        _ => match trainer.climb(cancelled)? {
            Climb::Reached(trained) => Ok(Training::Codec(trained.finish(&material))),
            Climb::NothingHolds(ladder) => Ok(Training::NoCodes { ladder }),
        },
    }
}

/// The sample, split into training and held-out parts.
struct Material {
    field: VectorField,
    seed: u64,
    rows: Vec<f32>,
    held_out: Vec<f32>,
    /// Source of each held-out row.
    sources: Vec<u32>,
    queries: Vec<f32>,
    held_out_queries: Vec<f32>,
    spread: Spread,
}

impl Material {
    fn new(field: &VectorField, sample: TrainingSample<'_>) -> Self {
        let dimension = field.dimension;
        let count = sample.rows.len() / dimension;
        let divided = divide(sample.rows, dimension, HELD_OUT.min(count / HELD_OUT_SHARE));
        let source = |row: &usize| sample.ends.partition_point(|end| end <= row) as u32;
        let sources = divided.aside.iter().map(source).collect();
        let enough = sample.held_out_queries.len() >= LEAST_HELD_OUT_QUERIES * dimension;
        let held_out_queries = if enough { sample.held_out_queries } else { &[] };
        let spread = Spread::of(&divided.kept, dimension);
        Self {
            field: field.clone(),
            seed: sample.seed,
            rows: divided.kept,
            held_out: divided.held_out,
            sources,
            queries: sample.queries.to_vec(),
            held_out_queries: held_out_queries.to_vec(),
            spread,
        }
    }

    fn moments(&self) -> Moments {
        let centred = self.spread.centred(&self.rows);
        let queries = self.completed_queries();
        match self.sketch_rank() {
            None => Moments::new(&centred, &queries, self.field.dimension),
            Some(rank) => {
                Moments::sketched(&centred, &queries, self.field.dimension, rank, self.seed)
            }
        }
    }

    /// The queries as they are mapped, supplemented with rows: maps learned from a few queries
    /// alone would preserve only the directions of those.
    fn completed_queries(&self) -> Vec<f32> {
        let dimension = self.field.dimension;
        let mut queries = self.queries.clone();
        let missing = LEAST_QUERIES.saturating_sub(queries.len() / dimension);
        if queries.is_empty() || missing == 0 {
            return self.as_mapped(queries);
        }
        let inliers = self.spread.inliers(&self.rows);
        let count = inliers.len() / dimension;
        for index in 0..missing.min(count) {
            let row = index * count / missing.min(count);
            queries.extend_from_slice(&inliers[row * dimension..][..dimension]);
        }
        self.as_mapped(queries)
    }

    fn as_mapped(&self, mut queries: Vec<f32>) -> Vec<f32> {
        if self.field.metric == Metric::L2 {
            for query in queries.chunks_exact_mut(self.field.dimension) {
                for (value, center) in query.iter_mut().zip(&self.spread.center) {
                    *value -= center;
                }
            }
        }
        queries
    }

    /// Dimension of the subspace in which maps are learned, if full moments would be too large.
    fn sketch_rank(&self) -> Option<usize> {
        if self.field.dimension <= MOMENT_DIMENSION {
            return None;
        }
        Some(match self.field.compression.primary {
            // A margin, because the last directions of a sketch are the least reliable.
            Primary::Codes(CodeSettings { dimension: Some(reduced), .. }) => {
                (reduced + reduced / 8 + 16).min(self.field.dimension)
            }
            _ => SKETCH_RANK,
        })
    }
}

/// Rows split into kept and held-out ones.
struct Divided {
    kept: Vec<f32>,
    held_out: Vec<f32>,
    /// Indices of the held-out rows.
    aside: Vec<usize>,
}

/// Holds out `count` rows, evenly spread.
fn divide(rows: &[f32], dimension: usize, count: usize) -> Divided {
    let total = rows.len() / dimension;
    let mut divided = Divided {
        kept: Vec::with_capacity(rows.len()),
        held_out: Vec::with_capacity(count * dimension),
        aside: Vec::with_capacity(count),
    };
    for (index, row) in rows.chunks_exact(dimension).enumerate() {
        // Row i is held out where i·count/total increases.
        if (index + 1) * count / total > index * count / total {
            divided.held_out.extend_from_slice(row);
            divided.aside.push(index);
        } else {
            divided.kept.extend_from_slice(row);
        }
    }
    divided
}

struct Trainer<'m> {
    material: &'m Material,
    by_rows: Judge<'m>,
    by_queries: Judge<'m>,
    moments: OnceLock<Moments>,
}

/// A trained codec, and the ladder up to it.
struct Trained {
    settings: CodeSettings,
    codec: Codec,
    ladder: Vec<Rung>,
}

/// Result of trying the ladder.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Climb {
    Reached(Trained),
    NothingHolds(Vec<Rung>),
}

impl<'m> Trainer<'m> {
    fn new(material: &'m Material) -> Self {
        let space = (material.field.metric, &*material.spread.center);
        let by_rows = (&*material.held_out, &*material.sources);
        let by_queries = (&*material.held_out_queries, &[][..]);
        Self {
            material,
            by_rows: Judge::new(space, &material.rows, by_rows),
            by_queries: Judge::new(space, &material.rows, by_queries),
            moments: OnceLock::new(),
        }
    }

    /// The codec for explicit settings, with the best reduction method if none is given.
    fn explicit(&self, settings: CodeSettings) -> Result<Trained, LeanVecError> {
        let (settings, codec, rung) = self.best(settings)?;
        Ok(Trained { settings, codec, ladder: vec![rung] })
    }

    /// The smallest codec that reaches the floor; the most precise one if none does, unless its
    /// recall is too low to be useful.
    fn climb(&self, cancelled: &AtomicBool) -> Result<Climb, LeanVecError> {
        let mut ladder: Vec<Rung> = Vec::new();
        let mut last = None;
        for settings in self.steps() {
            if cancelled.load(Ordering::Relaxed) {
                return Err(LeanVecError::Cancelled);
            }
            let (settings, codec, rung) = self.best(settings)?;
            let holds = rung.holds_floor();
            ladder.push(rung);
            last = Some((settings, codec));
            if holds {
                break;
            }
        }
        match (last, ladder.last()) {
            (Some((settings, codec)), Some(rung)) if rung.is_of_use() => {
                Ok(Climb::Reached(Trained { settings, codec, ladder }))
            }
            (Some(_), _) => Ok(Climb::NothingHolds(ladder)),
            (None, _) => self.explicit(full(LvqCode::Lvq8)).map(Climb::Reached),
        }
    }

    /// The codes that `auto` tries, from few bytes to many.
    fn steps(&self) -> Vec<CodeSettings> {
        let dimension = self.material.field.dimension;
        let mut steps = vec![full(LvqCode::Lvq4), full(LvqCode::Lvq8)];
        let most = self.material.sketch_rank().unwrap_or(dimension);
        for (code, bits) in [(LvqCode::Lvq4, CodeBits::Four), (LvqCode::Lvq8, CodeBits::Eight)] {
            let header_bytes =
                Lvq::new(bits, 1, self.material.field.metric == Metric::L2).header_bytes();
            // The dimension that fills whole cache lines, if that changes little.
            let filling = |twelfths: usize| {
                let reduced = (dimension * twelfths / 12).next_multiple_of(LADDER_STEP);
                let bytes = header_bytes + reduced.div_ceil(bits.per_byte());
                let lines = (bytes + LINE_BYTES / 2) / LINE_BYTES * LINE_BYTES;
                match lines.abs_diff(bytes) * SNAP_PART <= bytes {
                    true => (lines - header_bytes) * bits.per_byte(),
                    false => reduced,
                }
            };
            let mut reduced = LADDER_TWELFTHS.map(filling).to_vec();
            reduced.dedup();
            let fits = |reduced: &usize| (1..dimension).contains(reduced) && *reduced <= most;
            let reduced = reduced.into_iter().filter(fits);
            steps.extend(reduced.map(|reduced| CodeSettings {
                code,
                dimension: Some(reduced),
                reduction: None,
            }));
        }
        // For equal sizes, more dimensions first: full dimension before reduced.
        steps.sort_by_key(|step| {
            let bits = if step.code == LvqCode::Lvq8 { 8 } else { 4 };
            let dimension = step.dimension.unwrap_or(dimension);
            (dimension * bits, std::cmp::Reverse(dimension))
        });
        // Too few rows to evaluate: use the code of least loss.
        if self.material.held_out.is_empty() {
            steps.drain(..steps.len() - 1);
        }
        steps
    }

    /// Trains with each permitted method and returns the best.
    fn best(&self, settings: CodeSettings) -> Result<(CodeSettings, Codec, Rung), LeanVecError> {
        let methods = match (settings.dimension, settings.reduction) {
            (None, _) => return self.judged(settings, None),
            (Some(_), Some(method)) => vec![method],
            // Without queries only PCA is possible; under a distance, the map must be a projection.
            (Some(_), None) if self.material.queries.is_empty() => vec![ReductionMethod::Pca],
            (Some(_), None) if self.material.field.metric == Metric::L2 => {
                vec![ReductionMethod::Pca, ReductionMethod::EigenSearch]
            }
            (Some(_), None) => vec![ReductionMethod::Pca, ReductionMethod::Sphering],
        };
        let mut best: Option<(CodeSettings, Codec, Rung)> = None;
        for method in methods {
            let found = self.judged(settings, Some(method))?;
            if best.as_ref().is_none_or(|best| found.2.merit() > best.2.merit()) {
                best = Some(found);
            }
        }
        best.map_or_else(|| self.judged(settings, Some(ReductionMethod::Pca)), Ok)
    }

    fn judged(
        &self,
        settings: CodeSettings,
        method: Option<ReductionMethod>,
    ) -> Result<(CodeSettings, Codec, Rung), LeanVecError> {
        let field = &self.material.field;
        let reduction = match (settings.dimension, method) {
            (Some(reduced), Some(method)) => {
                let moments = self.moments.get_or_init(|| self.material.moments());
                Some((Reduction::learn(moments, method, reduced, self.material.seed)?, method))
            }
            _ => None,
        };
        // Without queries every method is PCA and is reported as such.
        let learned = reduction.as_ref().map(|(_, method)| match method {
            _ if self.material.queries.is_empty() => ReductionMethod::Pca,
            method => *method,
        });
        let codec_settings = CodecSettings {
            code: settings.code,
            secondary: field.compression.resolved_secondary(),
            metric: field.metric,
        };
        let reduction = reduction.map(|(reduction, _)| reduction);
        let codec = Codec::new(codec_settings, self.material.spread.center.clone(), reduction);
        let settings = CodeSettings { reduction: learned, ..settings };
        let rung = Rung {
            code: settings.to_string(),
            bytes: codec.primary_layout().stride(),
            recall: self.by_rows.recall(&codec),
            query_recall: self.by_queries.recall(&codec),
        };
        Ok((settings, codec, rung))
    }
}

impl Trained {
    fn finish(self, material: &Material) -> TrainedCodec {
        let (codec, dimension) = (self.codec, material.field.dimension);
        let report = CodecReport {
            code: self.settings.code,
            dimension: self.settings.dimension.unwrap_or(dimension),
            reduction: self.settings.reduction,
            trained_rows: material.rows.len() / dimension,
            trained_queries: material.queries.len() / dimension,
            seed: material.seed,
            loss: material.loss(&codec),
            ladder: self.ladder,
        };
        TrainedCodec { codec, report, token_center: Vec::new() }
    }
}

impl Material {
    /// The largest loss of any source.
    fn loss(&self, codec: &Codec) -> f64 {
        if self.held_out.is_empty() {
            return source_loss(codec, &self.rows);
        }
        let dimension = self.field.dimension;
        let mut sources: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
        for (row, &source) in self.held_out.chunks_exact(dimension).zip(&self.sources) {
            sources.entry(source).or_default().extend_from_slice(row);
        }
        let enough = |rows: &&Vec<f32>| rows.len() >= LEAST_LOSS_ROWS * dimension;
        let losses = sources.values().filter(enough).map(|rows| source_loss(codec, rows));
        losses.reduce(f64::max).unwrap_or_else(|| source_loss(codec, &self.held_out))
    }
}

/// Σ‖x − x̂‖² / Σ‖x − μ‖² over the inliers of a source, with μ their own centre, so that their
/// distance from the codec's centre does not matter.
pub(super) fn source_loss(codec: &Codec, rows: &[f32]) -> f64 {
    let dimension = codec.dimension();
    let most = LOSS_ROWS.min(LOSS_VALUES / dimension).max(1) * dimension;
    let rows = &rows[..rows.len().min(most)];
    let spread = Spread::of(rows, dimension);
    codec.loss(&spread.inliers(rows), &spread.center)
}

fn full(code: LvqCode) -> CodeSettings {
    CodeSettings { code, dimension: None, reduction: None }
}

#[cfg(test)]
mod tests {
    use super::super::random::hash;
    use super::*;

    fn rows(n: usize, dimension: usize, seed: u64) -> Vec<f32> {
        let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        // Later dimensions are narrower, as in learned embeddings after PCA.
        (0..n * dimension).map(|i| value(i) / (1.0 + (i % dimension) as f32).sqrt()).collect()
    }

    fn trained(
        compression: &str,
        metric: Metric,
        rows: &[f32],
        queries: &[f32],
        dimension: usize,
    ) -> (Codec, CodecReport) {
        match training(compression, metric, rows, queries, dimension) {
            Training::Codec(TrainedCodec { codec, report, .. }) => (codec, report),
            Training::NoCodes { ladder } => panic!("no codes: {ladder:#?}"),
        }
    }

    fn training(
        compression: &str,
        metric: Metric,
        rows: &[f32],
        queries: &[f32],
        dimension: usize,
    ) -> Training {
        let field = VectorField::single(dimension, metric).compressed(compression.parse().unwrap());
        // The split that a collection makes.
        let of = |held_out| {
            let queries = queries.chunks_exact(dimension).enumerate();
            let of = queries.filter(move |(query, _)| is_held_out(*query) == held_out);
            of.flat_map(|(_, query)| query.to_vec())
        };
        let (queries, held_out): (Vec<f32>, Vec<f32>) = (of(false).collect(), of(true).collect());
        let ends = [rows.len() / dimension];
        let sample = TrainingSample {
            rows,
            ends: &ends,
            queries: &queries,
            held_out_queries: &held_out,
            seed: 42,
        };
        train(&field, sample).unwrap()
    }

    #[test]
    fn the_ladder_stops_at_the_first_code_that_holds_the_floor() {
        let base = rows(4000, 96, 1);
        let (codec, report) = trained("auto", Metric::Cosine, &base, &[], 96);
        let (last, before) = report.ladder.split_last().unwrap();
        assert!(last.holds_floor() && before.iter().all(|rung| !rung.holds_floor()), "{report:#?}");
        assert!(before.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes));
        assert!(!before.is_empty() && last.bytes < 96 + 8, "a reduction is enough here");
        assert_eq!(codec.primary_layout().stride(), last.bytes);
        assert_eq!(codec.primary_layout().dimension(), report.dimension);
        assert_eq!((report.trained_rows, report.trained_queries), (4000 - 256, 0));
        assert!(report.loss > 0.0 && report.loss < 0.1);
        assert!(last.query_recall.is_none());
    }

    #[test]
    fn a_query_sample_is_judged_too_and_teaches_the_maps() {
        let base = rows(2000, 64, 2);
        // Queries lie where the base is narrow.
        let queries: Vec<f32> = rows(400, 64, 3).into_iter().rev().collect();
        let (_, aware) = trained("lvq8:16", Metric::Dot, &base, &queries, 64);
        let (_, blind) = trained("lvq8:16:pca", Metric::Dot, &base, &queries, 64);
        let recall = |report: &CodecReport| report.ladder[0].query_recall.unwrap()[0];
        assert_eq!(aware.reduction, Some(ReductionMethod::Sphering));
        assert_eq!(aware.trained_queries, 267, "a third judges and never trains");
        assert!(recall(&aware) > recall(&blind) + 0.1, "{aware:#?} {blind:#?}");
    }

    #[test]
    fn explicit_settings_are_taken() {
        let base = rows(300, 40, 4);
        for (text, code, bytes, dimension) in [
            ("lvq8", LvqCode::Lvq8, 48, 40),
            ("lvq4", LvqCode::Lvq4, 28, 40),
            ("lvq4x8", LvqCode::Lvq4x8, 28, 40),
            ("lvq8:16", LvqCode::Lvq8, 24, 16),
            ("lvq4:24:sphering", LvqCode::Lvq4, 20, 24),
        ] {
            let (codec, report) = trained(text, Metric::Dot, &base, &[], 40);
            assert_eq!((report.code, report.dimension), (code, dimension), "{text}");
            assert_eq!(codec.primary_layout().stride(), bytes, "{text}");
            // Without queries a reduction is PCA, whatever was requested.
            assert_eq!(report.reduction, (dimension < 40).then_some(ReductionMethod::Pca));
            assert!(report.ladder[0].recall.unwrap()[1] > 0.8, "{text}");
        }
    }

    #[test]
    fn degenerate_samples_train_without_nan() {
        let cases: [(&str, Vec<f32>, usize); 7] = [
            ("one row", rows(1, 20, 5), 20),
            ("fewer rows than dimensions", rows(10, 64, 6), 64),
            ("duplicates", rows(1, 32, 7).repeat(600), 32),
            ("zeros", vec![0.0; 32 * 100], 32),
            ("dimension 1", rows(700, 1, 8), 1),
            ("constant dimensions", [[0.0, 1.0], [0.0, 2.0]].concat().repeat(300), 2),
            ("huge values", rows(600, 24, 9).iter().map(|value| value * 1e38).collect(), 24),
        ];
        for (name, base, dimension) in cases {
            for metric in [Metric::Dot, Metric::L2] {
                for compression in ["auto", "lvq8:1", "lvq4:1:frank_wolfe", "lvq4x4"] {
                    for queries in [&base[..dimension], &[]] {
                        let trained = training(compression, metric, &base, queries, dimension);
                        let Training::Codec(TrainedCodec { codec, report, .. }) = trained else {
                            assert_eq!(compression, "auto", "{name}: what is asked for is made");
                            continue;
                        };
                        assert!(report.loss.is_finite(), "{name} {compression} {metric:?}");
                        let mut records =
                            vec![0; base.len() / dimension * report.ladder.last().unwrap().bytes];
                        let mut second = vec![0; base.len() / dimension * codec.secondary_stride()];
                        codec.encode(&base, &mut records, &mut second);
                        records.extend([0; 64]);
                        let mut scores = vec![f32::NAN; base.len() / dimension];
                        let kernel = crate::kernels::codes::CodeKernel::detect();
                        let query = codec.query(&base[..dimension]);
                        codec.score_rows(kernel, &query, &records, &mut scores);
                        assert!(scores.iter().all(|score| !score.is_nan()), "{name} {compression}");
                    }
                }
            }
        }
    }

    #[test]
    fn dimension_4096_trains() {
        let base = rows(64, 4096, 10);
        let (codec, report) = trained("lvq8", Metric::Cosine, &base, &[], 4096);
        assert_eq!(codec.dimension(), 4096);
        assert!(report.loss < 0.01, "{}", report.loss);
    }
}
