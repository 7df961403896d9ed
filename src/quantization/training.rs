//! Training: which codec suits the vectors of a field.
//!
//! Some of the sample is held out. On it (and on half of the training queries, if there are any)
//! the share of the exact ten nearest rows among the first 20 and 50 candidates is measured:
//! explicit settings are reported with it, and `auto` climbs a ladder of codes, from few bytes to
//! many, until one holds the floor.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::codec::{Codec, CodecSettings};
use super::judge::Judge;
use super::leanvec::{LeanVecError, Moments, Reduction};
use super::lvq::Lvq;
use crate::kernels::codes::CodeBits;
use crate::model::{CodeSettings, LvqCode, Metric, Primary, ReductionMethod, VectorField};

/// Rows that are held out to judge by, at most, and the share of the sample they may take.
const HELD_OUT: usize = 256;
const HELD_OUT_SHARE: usize = 8;
/// The share of neighbours that `auto` keeps among the first 20 and 50 candidates.
const FLOOR: [f32; 2] = [0.99, 0.998];
/// Reductions of the ladder, as shares of the dimension, in twelfths.
const LADDER_TWELFTHS: [usize; 6] = [2, 3, 4, 5, 6, 8];
/// Reduced dimensions of the ladder are multiples of this, or fill whole cache lines where that
/// makes records longer or shorter by no more than one such part.
const LADDER_STEP: usize = 16;
const LINE_BYTES: usize = 64;
const SNAP_PART: usize = 8;
/// Rows whose loss is remembered, at most, and their elements.
const LOSS_ROWS: usize = 4096;
const LOSS_VALUES: usize = 1 << 22;
/// Elements of a sample, at most: 256 MiB.
const SAMPLE_VALUES: u64 = 1 << 26;
/// Largest dimension of which whole second moments are held.
const MOMENT_DIMENSION: usize = 4096;
/// Dimensions of the subspace that stands for the moments of more, where the reduction is left open.
const SKETCH_RANK: usize = 1024;

/// What a codec is trained on.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSample<'a> {
    /// Vectors of the field, shape [n, dimension], n ≥ 1, as they are stored.
    pub rows: &'a [f32],
    /// Queries of the kind that will come, shape [m, dimension], prepared as queries are; may be
    /// empty.
    pub queries: &'a [f32],
    /// Chooses rotations.
    pub seed: u64,
}

/// What a codec is, and what was measured when it was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecReport {
    /// The scalar quantization.
    pub code: LvqCode,
    /// Dimensions of the primary codes.
    pub dimension: usize,
    /// How the reduction was learned, if there is one.
    pub reduction: Option<ReductionMethod>,
    /// Vectors it was trained on.
    pub trained_rows: usize,
    /// Queries it was trained on.
    pub trained_queries: usize,
    /// Chose the rotation of the reduced space.
    pub seed: u64,
    /// Σ‖x − x̂‖² / Σ‖x − μ‖² of the primary codes of training vectors.
    pub loss: f64,
    /// The codes that were tried; the last is the chosen one.
    pub ladder: Vec<Rung>,
}

impl CodecReport {
    /// The code that was chosen, with what it keeps.
    pub fn chosen(&self) -> Option<&Rung> {
        self.ladder.last()
    }
}

/// A codec with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedCodec {
    /// Encodes and scores.
    pub codec: Codec,
    /// What was measured.
    pub report: CodecReport,
}

/// A code that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// The code, as in `lvq4:192:pca`.
    pub code: String,
    /// Bytes of a primary record.
    pub bytes: usize,
    /// Share of the exact ten nearest rows among the first 20 and 50 candidates, for vectors that
    /// were held out; none if the sample was too small.
    pub recall: Option<[f32; 2]>,
    /// The same for queries that were held out.
    pub query_recall: Option<[f32; 2]>,
}

impl Rung {
    fn holds_floor(&self) -> bool {
        let holds = |recall: &[f32; 2]| recall.iter().zip(FLOOR).all(|(got, floor)| *got >= floor);
        let measured = self.recall.iter().chain(&self.query_recall);
        self.recall.is_some() && measured.into_iter().all(holds)
    }

    /// What methods are compared by: the share among the first 20 candidates, for queries of the
    /// kind that will come if there is a sample of them.
    fn merit(&self) -> f32 {
        self.query_recall.or(self.recall).map_or(0.0, |recall| recall[0])
    }
}

/// Rows to sample for a field of this dimension: enough for its second moment, and for the
/// neighbours to lie as close together as they do in a segment; fewer of very long vectors.
pub fn sample_rows(dimension: usize) -> u64 {
    let rows = (64 * dimension as u64).clamp(16_384, 65_536);
    rows.min(SAMPLE_VALUES / dimension.max(1) as u64)
}

/// Learns a codec for a field; `None` if the field is not compressed.
///
/// # Errors
/// If an eigenvalue iteration does not converge.
pub fn train(
    field: &VectorField,
    sample: TrainingSample<'_>,
) -> Result<Option<TrainedCodec>, LeanVecError> {
    if field.compression.primary == Primary::None {
        return Ok(None);
    }
    let material = Material::new(field, sample);
    let trainer = Trainer::new(&material);
    let trained = match field.compression.primary {
        Primary::Codes(settings) => trainer.explicit(settings)?,
        _ => trainer.climb()?,
    };
    Ok(Some(trained.finish(&material)?))
}

/// The sample, divided into what is learned from and what is judged by.
struct Material {
    field: VectorField,
    seed: u64,
    rows: Vec<f32>,
    held_out: Vec<f32>,
    queries: Vec<f32>,
    held_out_queries: Vec<f32>,
    all_queries: Vec<f32>,
    center: Vec<f32>,
}

impl Material {
    fn new(field: &VectorField, sample: TrainingSample<'_>) -> Self {
        let dimension = field.dimension;
        let count = sample.rows.len() / dimension;
        let (rows, held_out) = divide(sample.rows, dimension, HELD_OUT.min(count / HELD_OUT_SHARE));
        let half = sample.queries.len() / dimension / 2;
        let (queries, held_out_queries) = divide(sample.queries, dimension, half);
        let all_queries = sample.queries.to_vec();
        let center = mean(&rows, dimension);
        let (field, seed) = (field.clone(), sample.seed);
        Self { field, seed, rows, held_out, queries, held_out_queries, all_queries, center }
    }

    fn moments(&self, queries: &[f32]) -> Moments {
        let mut centred = self.rows.clone();
        for row in centred.chunks_exact_mut(self.field.dimension) {
            for (value, center) in row.iter_mut().zip(&self.center) {
                *value -= center;
            }
        }
        match self.sketch_rank() {
            None => Moments::new(&centred, queries, self.field.dimension),
            Some(rank) => {
                Moments::sketched(&centred, queries, self.field.dimension, rank, self.seed)
            }
        }
    }

    /// Dimensions of the subspace that maps are learned in, if moments of all would be too large.
    fn sketch_rank(&self) -> Option<usize> {
        if self.field.dimension <= MOMENT_DIMENSION {
            return None;
        }
        Some(match self.field.compression.primary {
            // A margin, since the last directions of a sketch are the least certain.
            Primary::Codes(CodeSettings { dimension: Some(reduced), .. }) => {
                (reduced + reduced / 8 + 16).min(self.field.dimension)
            }
            _ => SKETCH_RANK,
        })
    }
}

/// Sets `count` rows aside, spread over all.
fn divide(rows: &[f32], dimension: usize, count: usize) -> (Vec<f32>, Vec<f32>) {
    let total = rows.len() / dimension;
    let (mut kept, mut aside) = (Vec::with_capacity(rows.len()), Vec::new());
    for (index, row) in rows.chunks_exact(dimension).enumerate() {
        // Row i is set aside where i·count/total rises.
        let chosen = (index + 1) * count / total > index * count / total;
        (if chosen { &mut aside } else { &mut kept }).extend_from_slice(row);
    }
    (kept, aside)
}

fn mean(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dimension];
    for row in rows.chunks_exact(dimension) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let count = (rows.len() / dimension).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

struct Trainer<'m> {
    material: &'m Material,
    by_rows: Judge<'m>,
    by_queries: Judge<'m>,
    moments: OnceLock<Moments>,
}

/// A codec that was learned and judged, and the rungs up to it.
struct Trained {
    settings: CodeSettings,
    codec: Codec,
    ladder: Vec<Rung>,
}

impl<'m> Trainer<'m> {
    fn new(material: &'m Material) -> Self {
        let (metric, dimension) = (material.field.metric, material.field.dimension);
        let judge = |queries| Judge::new(metric, dimension, &material.rows, queries);
        let (by_rows, by_queries) = (judge(&material.held_out), judge(&material.held_out_queries));
        Self { material, by_rows, by_queries, moments: OnceLock::new() }
    }

    /// The codec the user asked for, with the best reduction where the method is left open.
    fn explicit(&self, settings: CodeSettings) -> Result<Trained, LeanVecError> {
        let (settings, codec, rung) = self.best(settings)?;
        Ok(Trained { settings, codec, ladder: vec![rung] })
    }

    /// The codec of the fewest bytes that holds the floor; the most precise if none does.
    fn climb(&self) -> Result<Trained, LeanVecError> {
        let mut ladder = Vec::new();
        let mut last = None;
        for settings in self.steps() {
            let (settings, codec, rung) = self.best(settings)?;
            let holds = rung.holds_floor();
            ladder.push(rung);
            last = Some((settings, codec));
            if holds {
                break;
            }
        }
        match last {
            Some((settings, codec)) => Ok(Trained { settings, codec, ladder }),
            None => self.explicit(full(LvqCode::Lvq8)),
        }
    }

    /// What `auto` tries, from few bytes to many.
    fn steps(&self) -> Vec<CodeSettings> {
        let dimension = self.material.field.dimension;
        let mut steps = vec![full(LvqCode::Lvq4), full(LvqCode::Lvq8)];
        let most = self.material.sketch_rank().unwrap_or(dimension);
        for (code, bits) in [(LvqCode::Lvq4, CodeBits::Four), (LvqCode::Lvq8, CodeBits::Eight)] {
            let header_bytes =
                Lvq::new(bits, 1, self.material.field.metric == Metric::L2).header_bytes();
            // As many dimensions as fill whole cache lines, where that is little more or less.
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
        // Of as many bytes, more dimensions first: without a reduction before with one.
        steps.sort_by_key(|step| {
            let bits = if step.code == LvqCode::Lvq8 { 8 } else { 4 };
            let dimension = step.dimension.unwrap_or(dimension);
            (dimension * bits, std::cmp::Reverse(dimension))
        });
        // Too few rows to judge by: what loses least.
        if self.material.held_out.is_empty() {
            steps.drain(..steps.len() - 1);
        }
        steps
    }

    /// The best of the methods that are left open.
    fn best(&self, settings: CodeSettings) -> Result<(CodeSettings, Codec, Rung), LeanVecError> {
        let methods = match (settings.dimension, settings.reduction) {
            (None, _) => return self.judged(settings, None),
            (Some(_), Some(method)) => vec![method],
            // Without queries there is PCA alone; the map of a distance has to be a projection.
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
                let moments =
                    self.moments.get_or_init(|| self.material.moments(&self.material.queries));
                Some((Reduction::learn(moments, method, reduced, self.material.seed)?, method))
            }
            _ => None,
        };
        // Without queries every method is PCA, and says so.
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
        let codec = Codec::new(codec_settings, self.material.center.clone(), reduction);
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
    /// Learns the chosen maps once more, now also from the queries that judged them.
    fn finish(self, material: &Material) -> Result<TrainedCodec, LeanVecError> {
        let mut codec = self.codec;
        let dimension = material.field.dimension;
        if let (Some(reduced), Some(method)) = (self.settings.dimension, self.settings.reduction)
            && !material.held_out_queries.is_empty()
        {
            let moments = material.moments(&material.all_queries);
            let reduction = Reduction::learn(&moments, method, reduced, material.seed)?;
            codec = Codec::new(codec.settings(), material.center.clone(), Some(reduction));
        }
        let loss_rows = LOSS_ROWS.min(LOSS_VALUES / dimension).max(1);
        let loss_values = (loss_rows * dimension).min(material.rows.len());
        let report = CodecReport {
            code: self.settings.code,
            dimension: self.settings.dimension.unwrap_or(dimension),
            reduction: self.settings.reduction,
            trained_rows: material.rows.len() / dimension,
            trained_queries: material.all_queries.len() / dimension,
            seed: material.seed,
            loss: codec.loss(&material.rows[..loss_values]),
            ladder: self.ladder,
        };
        Ok(TrainedCodec { codec, report })
    }
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
        let field = VectorField::single(dimension, metric).compressed(compression.parse().unwrap());
        let sample = TrainingSample { rows, queries, seed: 42 };
        let TrainedCodec { codec, report } = train(&field, sample).unwrap().unwrap();
        (codec, report)
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
        // Queries live where the base is narrow.
        let queries: Vec<f32> = rows(400, 64, 3).into_iter().rev().collect();
        let (_, aware) = trained("lvq8:16", Metric::Dot, &base, &queries, 64);
        let (_, blind) = trained("lvq8:16:pca", Metric::Dot, &base, &queries, 64);
        let recall = |report: &CodecReport| report.ladder[0].query_recall.unwrap()[0];
        assert_eq!(aware.reduction, Some(ReductionMethod::Sphering));
        assert_eq!(aware.trained_queries, 400);
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
            // Without queries a reduction is PCA, whatever was asked for.
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
                        let (codec, report) =
                            trained(compression, metric, &base, queries, dimension);
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
