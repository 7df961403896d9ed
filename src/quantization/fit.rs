//! Drift detection: tests whether a codec still fits rows it was not trained on. Documents of
//! another language, product or model may arrive later, and maps and centres of earlier ones hide
//! them.

use super::judge::{CANDIDATES, Judge, Shares};
use super::spread::Spread;
use super::training::{TrainedCodec, source_loss};

/// A codec, or centroids, do not fit rows whose loss exceeds that of training by this factor.
pub(super) const DRIFT: f64 = 1.2;
/// Nor rows whose recall among the first 20 and 50 candidates is lower than in training by more
/// than this.
const TOLERANCE: Shares = [0.02, 0.01];
/// Rows to hold out as queries: one in this many, up to `HELD_OUT`.
const HELD_OUT_SHARE: usize = 16;
const HELD_OUT: usize = 64;

/// True if the codec performs on rows of one source, shape [n, dimension], as it did in training.
/// Always true for a few rows.
pub fn fits(trained: &TrainedCodec, rows: &[f32]) -> bool {
    let (codec, dimension) = (&trained.codec, trained.codec.dimension());
    let count = rows.len() / dimension;
    let held_out = HELD_OUT.min(count / HELD_OUT_SHARE);
    if held_out == 0 {
        return true;
    }
    if source_loss(codec, rows) > DRIFT * trained.report.loss.max(f64::EPSILON) {
        return false;
    }
    let step = count / held_out;
    let is_query = |row: usize| row.is_multiple_of(step);
    let of = |wanted: bool| -> Vec<f32> {
        let rows = rows.chunks_exact(dimension).enumerate();
        rows.filter(|(row, _)| is_query(*row) == wanted).flat_map(|(_, row)| row).copied().collect()
    };
    let (queries, others) = (of(true), of(false));
    let spread = Spread::of(&others, dimension);
    let space = (codec.settings().metric, &*spread.center);
    let Some(kept) = Judge::new(space, &others, (&queries, &[])).recall(codec) else { return true };
    let before = trained.report.chosen().and_then(|rung| rung.recall);
    let Some(before) = before else { return true };
    (0..CANDIDATES.len()).all(|at| kept[at] >= before[at] - TOLERANCE[at])
}

#[cfg(test)]
mod tests {
    use super::super::random::hash;
    use super::super::training::{Training, TrainingSample, train};
    use super::*;
    use crate::model::{Metric, VectorField};

    const DIMENSION: usize = 32;

    /// Rows that vary in eight of the dimensions, starting at `first`, and hardly in the others.
    fn rows(n: usize, first: usize, seed: u64) -> Vec<f32> {
        let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let wide = |element: usize| (first..first + 8).contains(&element);
        (0..n * DIMENSION)
            .map(|i| if wide(i % DIMENSION) { value(i) } else { 0.02 * value(i) })
            .collect()
    }

    fn trained(compression: &str, metric: Metric) -> TrainedCodec {
        let field = VectorField::single(DIMENSION, metric).compressed(compression.parse().unwrap());
        let rows = rows(3000, 0, 1);
        let sample = TrainingSample {
            rows: &rows,
            ends: &[3000],
            queries: &[],
            held_out_queries: &[],
            seed: 42,
        };
        match train(&field, sample).unwrap() {
            Training::Codec(trained) => trained,
            Training::NoCodes { ladder } => panic!("{ladder:#?}"),
        }
    }

    #[test]
    fn a_codec_fits_rows_like_those_it_was_trained_on_and_no_others() {
        for metric in [Metric::Dot, Metric::L2] {
            for compression in ["auto", "lvq8:8", "lvq4:12"] {
                let trained = trained(compression, metric);
                let name = format!("{compression} {metric:?}");
                assert!(fits(&trained, &rows(1500, 0, 2)), "{name}: the same kind");
                assert!(!fits(&trained, &rows(1500, 16, 3)), "{name}: other dimensions");
                let mut damaged = rows(1500, 0, 4);
                damaged[7 * DIMENSION] = 1e15;
                assert!(fits(&trained, &damaged), "{name}: an outlier says nothing");
                assert!(fits(&trained, &rows(HELD_OUT_SHARE - 1, 16, 3)), "{name}: too few");
            }
        }
    }
}
