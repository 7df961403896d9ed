//! Queries to expect: for each row one that asks for rows like it, made up from its code.
//!
//! A reduction A, B leaves Aᵀ y of a row with the reduced vector y = B x, since ⟨A q, y⟩ = ⟨q, Aᵀ y⟩
//! for any query q. As a query, the row is then A Aᵀ y. Where A differs from B (LeanVec-OOD), what a
//! row finds as a query is not what is near it by codes.
//!
//! With a sample of queries, each row is also [moved](Transport) to where these are.

use super::codec::{Codec, PrimaryQuery};
use super::leanvec::{Transport, map_rows};

/// Beyond this dimension of codes, rows are not moved: the map takes the cube of the dimension.
const MOST_MOVED: usize = 1024;

/// Makes up queries from rows.
#[derive(Debug)]
pub struct ExpectedQueries<'a> {
    codec: &'a Codec,
    /// A Aᵀ, shape [d, d]; `None` without a reduction.
    map: Option<Vec<f32>>,
    /// The product of A with the mean that the codes lack, d elements.
    offset: Vec<f32>,
    transport: Option<Transport>,
}

impl<'a> ExpectedQueries<'a> {
    /// Learns where queries are from `rows`, decoded primary codes of shape [n, d], and a sample of
    /// queries. Without either, or if values are not finite, rows are not moved.
    pub fn new(codec: &'a Codec, rows: &[f32], queries: &[PrimaryQuery]) -> Self {
        let (map, offset) = codec.rows_as_queries();
        let mut expected = Self { codec, map, offset, transport: None };
        let dimension = expected.offset.len();
        if !rows.is_empty() && !queries.is_empty() && dimension <= MOST_MOVED {
            let rows = expected.mapped(rows);
            let layout = codec.primary_layout();
            let queries: Vec<f32> = queries.iter().flat_map(|one| one.rounded(layout)).collect();
            expected.transport = Transport::learn(&rows, &queries, dimension).ok();
        }
        expected
    }

    /// The queries of rows, decoded primary codes of shape [n, d]: n of them as they are, and
    /// if there was a sample, n moved to where queries are.
    pub fn of(&self, rows: &[f32]) -> Vec<PrimaryQuery> {
        let as_queries = self.mapped(rows);
        let moved = self.transport.as_ref().map(|transport| transport.queries(&as_queries));
        let all = [as_queries, moved.unwrap_or_default()].concat();
        let all = all.chunks_exact(self.offset.len());
        all.map(|query| self.codec.reduced_query(query.to_vec())).collect()
    }

    /// Rows as queries, shape [n, d].
    fn mapped(&self, rows: &[f32]) -> Vec<f32> {
        let dimension = self.offset.len();
        let mut mapped = match &self.map {
            Some(map) => map_rows(rows, map, dimension),
            None => rows.to_vec(),
        };
        for row in mapped.chunks_exact_mut(dimension) {
            row.iter_mut().zip(&self.offset).for_each(|(value, offset)| *value += offset);
        }
        mapped
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
    fn found(metric: Metric, reduced: Option<usize>) -> usize {
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
        let best = |query: &PrimaryQuery| {
            let mut scores = vec![0.0; ROWS];
            codec.score_rows(CodeKernel::detect(), query, &records, &mut scores);
            (0..ROWS).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        };
        let queries = expected.of(&all);
        assert_eq!(queries.len(), ROWS, "without a sample, one for each row");
        queries.iter().enumerate().filter(|(row, query)| best(query) == Some(*row)).count()
    }

    #[test]
    fn a_row_asks_for_itself() {
        // Under l2 a row is the nearest to itself, up to what the reduction leaves out.
        assert_eq!(found(Metric::L2, None), ROWS);
        assert!(found(Metric::L2, Some(16)) > ROWS * 9 / 10);
        // Under dot, a longer row may score more.
        assert!(found(Metric::Dot, None) > ROWS / 4);
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
        let expected = ExpectedQueries::new(&codec, &rows, &sample);
        let queries = expected.of(&rows);
        assert_eq!(queries.len(), 2 * ROWS);
        let spread = |queries: &[PrimaryQuery], at: usize| {
            let values = queries.iter().map(|query| query.rounded(layout)[at]);
            let values: Vec<f32> = values.collect();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32
        };
        let (own, moved) = queries.split_at(ROWS);
        let last = DIMENSION - 1;
        assert!(spread(own, 0) > 20.0 * spread(own, last), "rows as they are");
        assert!(spread(moved, last) > 5.0 * spread(moved, 0), "rows where queries are");
        // Values that are not finite, or no rows, move nothing.
        let none = ExpectedQueries::new(&codec, &[f32::NAN; DIMENSION], &sample);
        assert_eq!(none.of(&rows[..DIMENSION]).len(), 1);
        assert_eq!(ExpectedQueries::new(&codec, &[], &sample).of(&rows).len(), ROWS);
        assert_eq!(none.of(&[]).len(), 0);
    }
}
