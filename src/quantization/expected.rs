//! Queries to expect: for each row one that asks for rows like it, made up from its code.
//!
//! A reduction A, B leaves Aᵀ y of a row with the reduced vector y = B x, since ⟨A q, y⟩ = ⟨q, Aᵀ y⟩
//! for any query q. As a query, the row is then A Aᵀ y. Where A differs from B (LeanVec-OOD), what a
//! row finds as a query is not what is near it by codes.
//!
//! With a sample of queries, each row is also [moved](transport) to where these are. Where A = B, this
//! is the only query of a row: as it is, it would find what is near it.

use super::codec::{Codec, PrimaryQuery};
use super::leanvec::{AffineMap, transport};

/// Makes up queries from rows.
#[derive(Debug)]
pub struct ExpectedQueries<'a> {
    codec: &'a Codec,
    /// From the decoded code of a row to the row as a query.
    as_queries: AffineMap,
    /// From there to where queries are.
    moved: Option<AffineMap>,
}

impl<'a> ExpectedQueries<'a> {
    /// Rows with codes of more dimensions are not moved: the map takes the cube of the dimension.
    pub const MOST_DIMENSIONS: usize = 1024;

    /// Learns where queries are from `rows`, decoded primary codes of shape [n, d], and a sample of
    /// queries. Without either, or if values are not finite, rows are not moved. `None` if there is
    /// nothing to expect but that near rows are needed together.
    pub fn new(codec: &'a Codec, rows: &[f32], queries: &[PrimaryQuery]) -> Option<Self> {
        if queries.is_empty() && !codec.maps_queries_otherwise() {
            return None;
        }
        let as_queries = codec.rows_as_queries();
        let (layout, dimension) = (codec.primary_layout(), as_queries.dimension());
        let is_known = !rows.is_empty() && !queries.is_empty();
        let moved = (is_known && dimension <= Self::MOST_DIMENSIONS).then(|| {
            let queries: Vec<f32> = queries.iter().flat_map(|one| one.rounded(layout)).collect();
            transport(&as_queries.apply(rows), &queries, dimension).ok()
        });
        let moved = moved.flatten();
        let is_new = moved.is_some() || codec.maps_queries_otherwise();
        is_new.then_some(Self { codec, as_queries, moved })
    }

    /// The queries of rows, decoded primary codes of shape [n, d]: n of them as they are, if queries are
    /// mapped otherwise than rows, and if there was a sample, n moved to where queries are.
    pub fn of(&self, rows: &[f32]) -> Vec<PrimaryQuery> {
        let mut all = self.as_queries.apply(rows);
        let moved = self.moved.as_ref().map(|moved| moved.apply(&all));
        if !self.codec.maps_queries_otherwise() {
            all.clear();
        }
        all.extend(moved.unwrap_or_default());
        let all = all.chunks_exact(self.as_queries.dimension());
        all.map(|query| self.codec.reduced_query(query.to_vec())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::codes::CodeKernel;
    use crate::model::{LvqCode, Metric, ReductionMethod, Secondary};
    use crate::quantization::leanvec::{Moments, Reduction};
    use crate::quantization::{CodecSettings, hash};

    const DIMENSION: usize = 24;
    const ROWS: usize = 400;

    fn float(seed: u64, index: usize) -> f32 {
        (hash(seed, index as u64) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// Elements that get smaller, from the first on or from the last.
    fn vectors(seed: u64, count: usize, rising: bool) -> Vec<f32> {
        let scale = |at: usize| 0.8_f32.powi(if rising { DIMENSION - at } else { at } as i32);
        (0..count * DIMENSION).map(|i| float(seed, i) * scale(i % DIMENSION)).collect()
    }

    /// How often a row is the best for the query made up from it, by codes.
    fn found(metric: Metric, reduced: Option<usize>) -> Option<usize> {
        let (rows, queries) = (vectors(1, ROWS, false), vectors(2, 300, true));
        let moments = Moments::new(&rows, &queries, DIMENSION);
        let learn = |reduced| Reduction::learn(&moments, ReductionMethod::Sphering, reduced, 7);
        let reduction = reduced.map(|reduced| learn(reduced).unwrap());
        let settings = CodecSettings { code: LvqCode::Lvq8, secondary: Secondary::Raw, metric };
        let center = vec![0.1; DIMENSION];
        let codec = Codec::new(settings, center, reduction);
        let records = codec.primary_records(&rows);
        let distances = codec.row_distances(CodeKernel::detect(), &records);
        let (mut all, mut one) = (Vec::new(), Vec::new());
        for row in 0..ROWS as u32 {
            distances.decode(row, &mut one);
            all.extend_from_slice(&one);
        }
        let expected = ExpectedQueries::new(&codec, &all, &[]);
        if !codec.maps_queries_otherwise() {
            assert!(expected.is_none(), "near rows are needed together, and no others");
            return None;
        }
        let expected = expected.unwrap();
        let best = |query: &PrimaryQuery| {
            let mut scores = vec![0.0; ROWS];
            codec.score_rows(CodeKernel::detect(), query, &records, &mut scores);
            (0..ROWS).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        };
        let queries = expected.of(&all);
        assert_eq!(queries.len(), ROWS, "without a sample, one for each row");
        let own = queries.iter().enumerate().filter(|(row, query)| best(query) == Some(*row));
        Some(own.count())
    }

    #[test]
    fn a_row_asks_for_itself() {
        // Under l2 a row is the nearest to itself, up to what the reduction leaves out.
        assert!(found(Metric::L2, Some(16)).unwrap() > ROWS * 9 / 10);
        // Under dot, a longer row may score more.
        assert!(found(Metric::Dot, Some(16)).unwrap() > ROWS / 8);
        assert_eq!(found(Metric::L2, None), None);
    }

    #[test]
    fn with_a_sample_rows_are_moved_to_it() {
        let rows = vectors(3, ROWS, false);
        let settings =
            CodecSettings { code: LvqCode::Lvq8, secondary: Secondary::Raw, metric: Metric::Dot };
        let codec = Codec::new(settings, vec![0.5; DIMENSION], None);
        let layout = codec.primary_layout();
        let sample = vectors(4, 200, true);
        let sample: Vec<PrimaryQuery> =
            sample.chunks_exact(DIMENSION).map(|query| codec.query(query)).collect();
        let expected = ExpectedQueries::new(&codec, &rows, &sample).unwrap();
        let own = rows.chunks_exact(DIMENSION).map(|row| codec.query(row));
        let (own, moved) = (own.collect::<Vec<PrimaryQuery>>(), expected.of(&rows));
        assert_eq!(moved.len(), ROWS);
        let spread = |queries: &[PrimaryQuery], at: usize| {
            let values = queries.iter().map(|query| query.rounded(layout)[at]);
            let values: Vec<f32> = values.collect();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32
        };
        let last = DIMENSION - 1;
        assert!(spread(&own, 0) > 20.0 * spread(&own, last), "rows as they are");
        assert!(spread(&moved, last) > 5.0 * spread(&moved, 0), "rows where queries are");
        // Values that are not finite, or no rows, move nothing.
        assert!(ExpectedQueries::new(&codec, &[f32::NAN; DIMENSION], &sample).is_none());
        assert!(ExpectedQueries::new(&codec, &[], &sample).is_none());
        assert_eq!(expected.of(&[]).len(), 0);
    }
}
