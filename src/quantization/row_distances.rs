//! Distances between rows from their primary codes alone, exact for the decoded vectors.
//!
//! A graph is built from these: no vector is read, and a row serves as a query without another
//! rounding, because its codes are already integers. With ŷ = l + Δ·c elementwise, q = c − m (m the
//! middle of the code range, so that q fits into a signed byte) and β = l + m·Δ,
//!
//! ⟨ŷᵢ, ŷⱼ⟩ = Δᵢ·(Δⱼ·Σ q·cⱼ + lⱼ·Σ q) + βᵢ·Σ ŷⱼ.
//!
//! The squared distance is ‖ŷᵢ‖² + ‖ŷⱼ‖² − 2⟨ŷᵢ, ŷⱼ⟩. Under the dot metric, each row is first
//! lifted onto a sphere by an extra coordinate √(M² − ‖ŷ‖²), with M the largest norm that is not an
//! outlier, so that the nearest rows of a query (whose extra coordinate is 0) are those of the
//! largest products (Bachrach et al., RecSys 2014, §3).

use rayon::prelude::*;

use super::lvq::Lvq;
use crate::kernels::codes::{CodeKernel, CodeQuery};
use crate::model::Metric;

/// Rows per task when computing the constants of all rows.
const BLOCK_ROWS: usize = 1024;
/// Number of integer sums to compute before converting them to distances.
const SUMS: usize = 64;

/// Share of rows whose squared norms count as usual, and the limit of the sphere's squared radius
/// as a multiple of those.
const USUAL_SHARE: f64 = 0.9;
const FAR: f32 = 16.0;

/// Per-row constants of a distance, besides the record.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    /// ‖ŷ‖², including the lift.
    norm: f32,
    /// Σ ŷ.
    sum: f32,
    /// Extra coordinate that lifts the row onto the sphere; 0 except under the dot metric.
    lift: f32,
}

/// Distances between the rows of an index.
#[derive(Debug)]
pub struct RowDistances<'a> {
    lvq: &'a Lvq,
    kernel: CodeKernel,
    records: &'a [u8],
    sides: Vec<Side>,
}

/// Squared radius of the sphere: the largest squared norm, but limited by that of most rows. On a
/// sphere set by a single outlier, all other rows would look alike.
fn sphere(sides: &[Side]) -> f32 {
    let mut norms: Vec<f32> = sides.iter().map(|side| side.norm).collect();
    if norms.is_empty() {
        return 0.0;
    }
    let usual = ((norms.len() - 1) as f64 * USUAL_SHARE).ceil() as usize;
    let usual = *norms.select_nth_unstable_by(usual, f32::total_cmp).1;
    let largest = norms.into_iter().fold(0.0, f32::max);
    largest.min(FAR * usual)
}

/// A row, prepared for comparison with many others.
#[derive(Debug, Clone)]
pub struct RowQuery {
    codes: CodeQuery,
    step: f32,
    base: f32,
    norm: f32,
    lift: f32,
}

impl<'a> RowDistances<'a> {
    pub(super) fn new(lvq: &'a Lvq, metric: Metric, kernel: CodeKernel, records: &'a [u8]) -> Self {
        let (stride, slack) = (lvq.layout().stride(), lvq.layout().section_bytes(0));
        let records_only = &records[..records.len().saturating_sub(slack)];
        let mut sides: Vec<Side> = records_only
            .par_chunks_exact(stride)
            .with_min_len(BLOCK_ROWS)
            .map_init(Vec::new, |decoded, record| {
                lvq.decode(record, decoded);
                let norm = decoded.iter().map(|value| value * value).sum();
                Side { norm, sum: decoded.iter().sum(), lift: 0.0 }
            })
            .collect();
        if metric == Metric::Dot {
            let radius = sphere(&sides);
            for side in &mut sides {
                side.lift = (radius - side.norm).max(0.0).sqrt();
                side.norm = side.norm.max(radius);
            }
        }
        Self { lvq, kernel, records, sides }
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.sides.len() as u32
    }

    /// Dimensions of a row.
    pub fn dimension(&self) -> usize {
        self.lvq.layout().dimension()
    }

    /// The decoded codes of a row, without the lift.
    ///
    /// # Panics
    /// If the row does not exist.
    pub fn decode(&self, row: u32, out: &mut Vec<f32>) {
        self.lvq.decode(self.record(row), out);
    }

    /// An empty query, to be filled by [`Self::prepare`].
    pub fn query(&self) -> RowQuery {
        let codes = CodeQuery::empty(self.lvq.layout());
        RowQuery { codes, step: 0.0, base: 0.0, norm: 0.0, lift: 0.0 }
    }

    /// Prepares `query` for a row.
    ///
    /// # Panics
    /// If the row does not exist.
    pub fn prepare(&self, row: u32, query: &mut RowQuery) {
        let record = self.record(row);
        let (constants, side) = (Lvq::range(record), self.sides[row as usize]);
        query.codes.set_record(self.lvq.layout(), record);
        let middle = f32::from(self.lvq.layout().bits().middle());
        query.step = constants.step;
        query.base = constants.low + middle * constants.step;
        (query.norm, query.lift) = (side.norm, side.lift);
    }

    /// Squared distances from a prepared row to others, one per row.
    ///
    /// # Panics
    /// If a row does not exist, or `rows` and `distances` differ in length.
    #[inline]
    pub fn measure(&self, query: &RowQuery, rows: &[u32], distances: &mut [f32]) {
        let layout = self.lvq.layout();
        let total = query.codes.total() as f32;
        let mut sums = [0; SUMS];
        for (rows, distances) in rows.chunks(SUMS).zip(distances.chunks_mut(SUMS)) {
            let sums = &mut sums[..rows.len()];
            self.kernel.dot_listed(layout, self.records, &query.codes, rows, sums);
            for ((distance, &sum), &row) in distances.iter_mut().zip(&*sums).zip(rows) {
                let (constants, side) = (Lvq::range(self.record(row)), self.sides[row as usize]);
                let centred = constants.step * sum as f32 + constants.low * total;
                let product = query.step * centred + query.base * side.sum;
                *distance = query.norm + side.norm - 2.0 * (product + query.lift * side.lift);
            }
        }
    }

    /// Prefetches a row.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        let stride = self.lvq.layout().stride();
        crate::kernels::prefetch(self.records, row as usize * stride, stride);
        crate::kernels::prefetch(&self.sides, row as usize, 1);
    }

    /// The primary record of a row.
    ///
    /// # Panics
    /// If the row does not exist.
    #[inline]
    pub fn record(&self, row: u32) -> &'a [u8] {
        let stride = self.lvq.layout().stride();
        &self.records[row as usize * stride..][..stride]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{LvqCode, Secondary};
    use crate::quantization::{Codec, CodecSettings};

    const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];
    const CODES: [LvqCode; 4] = [LvqCode::Lvq4, LvqCode::Lvq8, LvqCode::Lvq4x4, LvqCode::Lvq4x8];

    fn codec(code: LvqCode, metric: Metric, dimension: usize) -> Codec {
        let settings = CodecSettings { code, secondary: Secondary::Raw, metric };
        Codec::new(settings, vec![0.25; dimension], None)
    }

    fn measured(distances: &RowDistances<'_>, row: u32, others: &[u32]) -> Vec<f32> {
        let (mut query, mut measured) = (distances.query(), vec![f32::NAN; others.len()]);
        distances.prepare(row, &mut query);
        distances.measure(&query, others, &mut measured);
        measured
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_decoded_vectors(
            dimension in 1_usize..200,
            rows in 1_usize..90,
            seed in any::<u64>(),
            code in prop::sample::select(CODES.to_vec()),
            metric in prop::sample::select(METRICS.to_vec()),
        ) {
            let float = |i: u64| (crate::quantization::hash(seed, i) >> 40) as f32 / 8e6 - 0.8;
            let values: Vec<f32> = (0..(rows * dimension) as u64).map(float).collect();
            let codec = codec(code, metric, dimension);
            let records = codec.primary_records(&values);
            let decode = |distances: &RowDistances<'_>, row: usize| -> Vec<f64> {
                let mut decoded = Vec::new();
                distances.decode(row as u32, &mut decoded);
                decoded.iter().map(|&value| f64::from(value)).collect()
            };
            let square = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
            for kernel in CodeKernel::available() {
                let distances = codec.row_distances(kernel, &records);
                prop_assert_eq!(distances.rows() as usize, rows);
                let mut decoded: Vec<Vec<f64>> =
                    (0..rows).map(|row| decode(&distances, row)).collect();
                if metric == Metric::Dot {
                    let largest = decoded.iter().map(|row| square(row)).fold(0.0, f64::max);
                    for row in &mut decoded {
                        row.push((largest - square(row)).max(0.0).sqrt());
                    }
                }
                let row = seed as usize % rows;
                let others: Vec<u32> = (0..rows as u32).rev().collect();
                let size = decoded.iter().map(|row| square(row)).fold(0.0, f64::max) as f32;
                for (got, &other) in measured(&distances, row as u32, &others).iter().zip(&others) {
                    let pairs = decoded[row].iter().zip(&decoded[other as usize]);
                    let expected = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() as f32;
                    prop_assert!((got - expected).abs() <= 1e-4 * size + 1e-6,
                        "{:?} {}: {} {}", code, other, got, expected);
                }
            }
        }
    }

    #[test]
    fn under_dot_the_nearest_row_of_the_lifted_query_has_the_largest_product() {
        let codec = codec(LvqCode::Lvq8, Metric::Dot, 2);
        // Large and small, in the same direction: only the lift separates them as products do.
        let records = codec.primary_records(&[8.25, 0.25, 1.25, 0.25, 0.35, 0.25]);
        let distances = codec.row_distances(CodeKernel::detect(), &records);
        let from_small = measured(&distances, 2, &[0, 1, 2]);
        assert!(from_small[2].abs() < 1e-3 && from_small[1] < from_small[0], "{from_small:?}");
        // Lifted onto a sphere of radius 8, rows 1 and 2 are near its pole: 8 · √2 from row 0.
        assert!((from_small[0] - 128.0).abs() < 3.0, "{from_small:?}");
    }

    #[test]
    fn under_dot_an_outlier_does_not_make_all_other_rows_alike() {
        let codec = codec(LvqCode::Lvq8, Metric::Dot, 2);
        let value = |i: u64| (crate::quantization::hash(1, i) >> 40) as f32 / (1 << 24) as f32;
        let mut rows: Vec<f32> = (0..80).map(|i| 1.0 + value(i)).collect();
        (rows[38], rows[39]) = (1e10, 0.25);
        let records = codec.primary_records(&rows);
        let distances = codec.row_distances(CodeKernel::detect(), &records);
        let others: Vec<u32> = (1..19).collect();
        let measured = measured(&distances, 0, &others);
        assert!(measured.iter().all(|&distance| (0.0..40.0).contains(&distance)), "{measured:?}");
        let different: std::collections::BTreeSet<u32> =
            measured.iter().map(|distance| distance.to_bits()).collect();
        assert!(different.len() > 10, "{measured:?}");
    }

    #[test]
    #[should_panic(expected = "records and slack")]
    fn a_row_that_is_not_there_is_refused() {
        let codec = codec(LvqCode::Lvq8, Metric::L2, 4);
        let records = codec.primary_records(&[1.0; 8]);
        measured(&codec.row_distances(CodeKernel::detect(), &records), 0, &[2]);
    }
}
