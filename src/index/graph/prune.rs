//! RobustPrune (DiskANN, NeurIPS 2019, Algorithm 2): selects edges among candidates, dropping those
//! covered by a selected one.

use crate::quantization::{RowDistances, RowQuery};

/// Selects edges; reuses its memory from row to row.
pub struct Pruner<'a> {
    distances: &'a RowDistances<'a>,
    query: RowQuery,
    /// Remaining candidates: squared distance to the row, and row; nearest first.
    left: Vec<(f32, u32)>,
    rows: Vec<u32>,
    measured: Vec<f32>,
}

impl<'a> Pruner<'a> {
    pub fn new(distances: &'a RowDistances<'a>) -> Self {
        let query = distances.query();
        Self { distances, query, left: Vec::new(), rows: Vec::new(), measured: Vec::new() }
    }

    /// Measures the distances of `row` to others.
    pub fn measure(&mut self, row: u32, others: &[u32]) -> impl Iterator<Item = (f32, u32)> {
        self.distances.prepare(row, &mut self.query);
        self.measured.resize(others.len(), 0.0);
        self.distances.measure(&self.query, others, &mut self.measured);
        self.measured.iter().copied().zip(others.iter().copied())
    }

    /// The edges of `row`, at most `degree`: takes candidates from the nearest on, and skips each
    /// that a selected one is nearer to than the row is, by the factor `alpha` on squared
    /// distances. Candidates may be unsorted and repeated.
    pub fn prune(
        &mut self,
        row: u32,
        candidates: impl IntoIterator<Item = (f32, u32)>,
        alpha: f32,
        degree: usize,
        chosen: &mut Vec<u32>,
    ) {
        chosen.clear();
        self.left.clear();
        self.left.extend(candidates.into_iter().filter(|&(_, candidate)| candidate != row));
        self.left.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.left.dedup_by_key(|&mut (_, candidate)| candidate);
        let mut first = 0;
        while first < self.left.len() && chosen.len() < degree {
            let (_, nearest) = self.left[first];
            chosen.push(nearest);
            first += 1;
            if chosen.len() == degree {
                break;
            }
            self.rows.clear();
            self.rows.extend(self.left[first..].iter().map(|&(_, candidate)| candidate));
            self.measured.resize(self.rows.len(), 0.0);
            self.distances.prepare(nearest, &mut self.query);
            self.distances.measure(&self.query, &self.rows, &mut self.measured);
            let mut kept = first;
            for index in first..self.left.len() {
                if alpha * self.measured[index - first] > self.left[index].0 {
                    self.left[kept] = self.left[index];
                    kept += 1;
                }
            }
            self.left.truncate(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::fixture::Fixture;
    use crate::model::{LvqCode, Metric};

    /// The rule taken literally: select the nearest remaining candidate, and drop those that are,
    /// by the factor alpha, no farther from it than from the row.
    fn naive(
        distance: impl Fn(u32, u32) -> f32,
        row: u32,
        candidates: &[u32],
        alpha: f32,
        degree: usize,
    ) -> Vec<u32> {
        let mut left: Vec<u32> = candidates.to_vec();
        left.retain(|&candidate| candidate != row);
        let mut chosen = Vec::new();
        while chosen.len() < degree {
            let nearer =
                |a: &u32, b: &u32| distance(row, *a).total_cmp(&distance(row, *b)).then(a.cmp(b));
            let Some(nearest) = left.iter().copied().min_by(nearer) else { break };
            chosen.push(nearest);
            left.retain(|&other| {
                other != nearest && alpha * distance(nearest, other) > distance(row, other)
            });
        }
        chosen
    }

    proptest! {
        #[test]
        fn chooses_what_the_rule_says(
            // Few values, so that equal rows and equal distances occur.
            vectors in proptest::collection::vec(proptest::collection::vec(-3_i8..4, 3), 2..40),
            candidates in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
            alpha in prop::sample::select(vec![1.0_f32, 1.2, 1.5]),
            degree in 1_usize..12,
            metric in prop::sample::select(vec![Metric::L2, Metric::Dot]),
        ) {
            let rows = vectors.len();
            let vectors = vectors.iter().map(|row| row.iter().map(|&x| f32::from(x)).collect());
            let fixture = Fixture::new(metric, LvqCode::Lvq8, vectors.collect());
            let distances = fixture.distances();
            let mut pruner = Pruner::new(&distances);
            let candidates: Vec<u32> =
                candidates.iter().map(|index| index.index(rows) as u32).collect();
            let distance = |a: u32, b: u32| {
                let (mut query, mut measured) = (distances.query(), [0.0]);
                distances.prepare(a, &mut query);
                distances.measure(&query, &[b], &mut measured);
                measured[0]
            };
            let measured: Vec<(f32, u32)> = pruner.measure(0, &candidates).collect();
            let mut chosen = vec![77];
            pruner.prune(0, measured, alpha, degree, &mut chosen);
            prop_assert_eq!(chosen, naive(distance, 0, &candidates, alpha, degree));
        }
    }
}
