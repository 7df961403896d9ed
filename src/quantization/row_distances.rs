//! Distances between rows by their primary codes alone, exact for what the codes hold.
//!
//! A graph is built from these: no vector is read, and a row becomes a query without being rounded
//! once more, since its codes are integers already. With ŷ = l + Δ·c elementwise, q = c − m (m the
//! middle of the codes, so that q fits into a signed byte) and β = l + m·Δ,
//!
//! ⟨ŷᵢ, ŷⱼ⟩ = Δᵢ·(Δⱼ·Σ q·cⱼ + lⱼ·Σ q) + βᵢ·Σ ŷⱼ.
//!
//! The squared distance is ‖ŷᵢ‖² + ‖ŷⱼ‖² − 2⟨ŷᵢ, ŷⱼ⟩. Under the dot metric each row is first lifted
//! onto a sphere by one more coordinate √(M² − ‖ŷ‖²), M the largest norm, so that the nearest rows
//! of a query (whose coordinate is 0) are those of the largest products (Bachrach et al., RecSys
//! 2014, §3).

use rayon::prelude::*;

use super::lvq::Lvq;
use crate::kernels::codes::{CodeKernel, CodeQuery};
use crate::model::Metric;

/// Rows that one task reads when the constants of all are computed.
const BLOCK_ROWS: usize = 1024;
/// Rows whose sums are computed before they are turned into distances.
const SUMS: usize = 64;

/// What a distance needs of a row beside its record.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    /// ‖ŷ‖², with the lift.
    norm: f32,
    /// Σ ŷ.
    sum: f32,
    /// The coordinate that lifts the row onto the sphere; 0 but under the dot metric.
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

/// A row, prepared to be compared with many.
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
            let largest = sides.iter().fold(0.0_f32, |largest, side| largest.max(side.norm));
            for side in &mut sides {
                side.lift = (largest - side.norm).max(0.0).sqrt();
                side.norm = largest;
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

    /// What the codes of a row hold, without the lift.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn decode(&self, row: u32, out: &mut Vec<f32>) {
        self.lvq.decode(self.record(row), out);
    }

    /// A query without content, for [`Self::prepare`] to fill.
    pub fn query(&self) -> RowQuery {
        let codes = CodeQuery::empty(self.lvq.layout());
        RowQuery { codes, step: 0.0, base: 0.0, norm: 0.0, lift: 0.0 }
    }

    /// Makes `query` that of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn prepare(&self, row: u32, query: &mut RowQuery) {
        let record = self.record(row);
        let (constants, side) = (Lvq::range(record), self.sides[row as usize]);
        query.codes.set_record(self.lvq.layout(), record);
        let middle = f32::from(self.lvq.layout().bits().middle());
        query.step = constants.step;
        query.base = constants.low + middle * constants.step;
        (query.norm, query.lift) = (side.norm, side.lift);
    }

    /// Squared distances of a prepared row to others, an element a row.
    ///
    /// # Panics
    /// If there is no such row, or not a distance a row.
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

    /// Asks for a row to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        let stride = self.lvq.layout().stride();
        crate::kernels::prefetch(self.records, row as usize * stride, stride);
        crate::kernels::prefetch(&self.sides, row as usize, 1);
    }

    #[inline]
    fn record(&self, row: u32) -> &[u8] {
        let stride = self.lvq.layout().stride();
        &self.records[row as usize * stride..]
    }
}
