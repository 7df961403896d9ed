//! How much of the exact ranking the secondary codes keep, where the vectors themselves are dropped.
//!
//! It can only be measured while the vectors are there, which is when the codes are written: some of
//! the rows, as queries, are compared with each block of rows by vectors and by codes. A merge of
//! segments whose vectors were dropped loses something of what these kept.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::writer::CodedBlock;
use crate::error::Result;
use crate::index::{LEAST_OF_GROUP, alike, directed, lower_bound, mean_less_error};
use crate::kernels;
use crate::model::{Metric, VectorField, VectorKind};
use crate::multivector::{TokenCodec, TokenScorer, max_sim};
use crate::quantization::{Codec, centred, digest, products, stratified};
use crate::segment::builder::BuildSource;

/// Nearest rows that are looked for.
const KS: [usize; 3] = [1, 10, 100];
/// Rows that are queries; of those of a multi field so many vectors each.
const QUERIES: u64 = 256;
const MULTI_QUERIES: u64 = 32;
const QUERY_VECTORS: usize = 4;
const SEED: u64 = 11;
/// Groups of like queries, of which the worst counts.
const GROUPS: usize = 3;

/// Lower confidence bounds of the share of the exact k nearest rows that all secondary codes find: of all
/// queries, and at most the mean, less its standard error, of the group of like ones that loses most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    bounds: Vec<(usize, f32)>,
}

impl Kept {
    /// For so many hits: that of the measured k on either side which is less.
    pub fn of(&self, hits: usize) -> Option<f32> {
        let above = self.bounds.partition_point(|&(k, _)| k <= hits);
        let around = &self.bounds[above.saturating_sub(1)..(above + 1).min(self.bounds.len())];
        around.iter().map(|&(_, bound)| bound).reduce(f32::min)
    }
}

/// A query and the best rows so far.
struct Probe {
    /// Shape [m, dimension]; m = 1 in a single field.
    query: Vec<f32>,
    /// The best exact scores.
    exact: Vec<f32>,
    /// The best scores by codes, with the exact ones.
    shown: Vec<(f32, f32)>,
}

/// Measures while codes are written.
pub struct KeptMeter {
    metric: Metric,
    dimension: usize,
    kind: VectorKind,
    probes: Vec<Probe>,
    /// Which queries equal a row, by its digest: such rows do not count.
    known: HashMap<u64, Vec<usize>>,
    /// What the sources keep; `None` if one does not know.
    sources: Vec<Option<f32>>,
}

impl KeptMeter {
    /// For the rows of these sources.
    pub fn new((index, field): (usize, &VectorField), sources: &[BuildSource]) -> Self {
        let total: u64 = sources.iter().map(BuildSource::live_rows).sum();
        let most = if field.kind == VectorKind::Single { QUERIES } else { MULTI_QUERIES };
        let mut chosen = stratified(total, most, SEED).into_iter().peekable();
        let (mut probes, mut known) = (Vec::new(), HashMap::<u64, Vec<usize>>::new());
        let mut position = 0;
        for source in sources {
            let end = position + source.live_rows();
            let mut live = source.live();
            while let Some(next) = chosen.next_if(|&next| next < end) {
                let Some(row) = live.nth((next - position) as usize) else { break };
                position = next + 1;
                source.reader.visit_vectors(index, row..row + 1, &mut |_, view, range| {
                    if view.absent.contains(range.start as u32) {
                        return;
                    }
                    let values = view.row(range.start).to_f32();
                    known.entry(digest(&values)).or_default().push(probes.len());
                    let query =
                        values[..values.len().min(QUERY_VECTORS * field.dimension)].to_vec();
                    probes.push(Probe { query, exact: Vec::new(), shown: Vec::new() });
                });
            }
            position = end;
        }
        let kept = |&k: &usize| {
            // Of the nearest rows of all, so many are of a source, on average: what else it has that is near
            // competes with them.
            let of_source = |source: &BuildSource| {
                let part = k as u64 * source.live_rows() / total.max(1);
                source.reader.kept(index, part.max(1) as usize)
            };
            sources.iter().try_fold(1.0_f32, |least, source| Some(least.min(of_source(source)?)))
        };
        Self {
            metric: field.metric,
            dimension: field.dimension,
            kind: field.kind,
            probes,
            known,
            sources: KS.iter().map(kept).collect(),
        }
    }

    /// Looks at a block of rows and their codes.
    pub(super) fn add(
        &mut self,
        block: &CodedBlock,
        (codec, primary, secondary): (&Codec, &[u8], &[u8]),
        tokens: Option<&TokenCodec>,
    ) {
        match tokens {
            Some(tokens) if self.kind == VectorKind::Multi => {
                self.add_documents(block, tokens, secondary);
            }
            _ => self.add_rows(block, codec, primary, secondary),
        }
    }

    fn add_rows(&mut self, block: &CodedBlock, codec: &Codec, primary: &[u8], secondary: &[u8]) {
        let (dimension, second) = (self.dimension, codec.secondary_stride());
        let stride = codec.primary_layout().stride();
        let rows = block.rows();
        let mut decoded = vec![0.0; rows * dimension];
        decoded.par_chunks_exact_mut(dimension).enumerate().for_each_init(
            Vec::new,
            |buffer, (row, out)| {
                let record = &secondary[row * second..][..second];
                codec.reconstruct(&primary[row * stride..][..stride], record, buffer);
                out.copy_from_slice(buffer);
            },
        );
        // Distances do not change when both sides are centred, products only all alike.
        let centred = |values: &[f32]| centred(values, codec.center());
        let (exact, shown) = (centred(block.values()), centred(&decoded));
        let queries: Vec<f32> = self
            .probes
            .iter()
            .flat_map(|probe| match self.metric {
                Metric::L2 => centred(&probe.query),
                Metric::Dot | Metric::Cosine => probe.query.clone(),
            })
            .collect();
        let scores = |rows: &[f32]| {
            let mut scores = products(rows, &queries, dimension);
            if self.metric == Metric::L2 {
                let rows = rows.chunks_exact(dimension);
                for (scores, row) in scores.chunks_exact_mut(self.probes.len()).zip(rows) {
                    let norm = kernels::dot(row, row) / 2.0;
                    scores.iter_mut().for_each(|score| *score -= norm);
                }
            }
            scores
        };
        if self.probes.is_empty() {
            return;
        }
        let (exact, shown) = (scores(&exact), scores(&shown));
        let count = self.probes.len();
        let of =
            |row: usize, query: usize| (shown[row * count + query], exact[row * count + query]);
        self.offer(block, of);
    }

    fn add_documents(&mut self, block: &CodedBlock, tokens: &TokenCodec, secondary: &[u8]) {
        let mut starts = vec![0];
        for row in 0..block.rows() {
            let vectors = block.row(row).len() / self.dimension;
            starts.push(starts[row] + tokens.document_bytes(vectors));
        }
        // Kernels read past the end of the last code.
        let mut codes = secondary.to_vec();
        codes.resize(codes.len() + TokenCodec::SLACK_BYTES, 0);
        let score = |query: &Vec<f32>| -> Vec<(f32, f32)> {
            let (coded, mut kernel) = (tokens.query(query), TokenScorer::default());
            let score = |row: usize| {
                let vectors = block.row(row);
                let shown =
                    kernel.score(&coded, &codes[starts[row]..], vectors.len() / self.dimension);
                (shown, max_sim(query, vectors, self.dimension, kernels::dot))
            };
            (0..block.rows()).map(score).collect()
        };
        let scores: Vec<Vec<(f32, f32)>> =
            self.probes.par_iter().map(|probe| score(&probe.query)).collect();
        self.offer(block, |row, query| scores[query][row]);
    }

    /// `of` gives the score by codes and the exact one of a row for a query.
    fn offer(&mut self, block: &CodedBlock, of: impl Fn(usize, usize) -> (f32, f32) + Sync) {
        let same: Vec<Option<&Vec<usize>>> =
            (0..block.rows()).map(|row| self.known.get(&digest(block.row(row)))).collect();
        let most = KS[KS.len() - 1];
        self.probes.par_iter_mut().enumerate().for_each(|(query, probe)| {
            for (row, same) in same.iter().enumerate() {
                if block.row(row).is_empty() || same.is_some_and(|same| same.contains(&query)) {
                    continue;
                }
                let (shown, exact) = of(row, query);
                probe.exact.push(exact);
                probe.shown.push((shown, exact));
            }
            probe.exact.sort_unstable_by(|a, b| b.total_cmp(a));
            probe.exact.truncate(most);
            probe.shown.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            probe.shown.truncate(most);
        });
    }

    /// What was measured; `None` if a source does not know what it keeps, or nothing was.
    pub fn finish(self) -> Option<Kept> {
        let groups = self.groups();
        let bound = |(&k, source): (&usize, &Option<f32>)| {
            let recall = |probe: &Probe| {
                let wanted = k.min(probe.exact.len());
                let threshold = *probe.exact.get(wanted.checked_sub(1)?)?;
                let shown = probe.shown[..wanted].iter();
                let found = shown.filter(|(_, exact)| *exact >= threshold).count();
                Some(found as f32 / wanted as f32)
            };
            let recalls: Vec<Option<f32>> = self.probes.iter().map(recall).collect();
            let of_group = |group: usize| {
                let members = recalls.iter().zip(&groups).filter(|(_, of)| **of == group);
                let recalls: Vec<f32> = members.filter_map(|(recall, _)| *recall).collect();
                (recalls.len() >= LEAST_OF_GROUP).then(|| mean_less_error(&recalls))
            };
            let worst = (0..GROUPS).filter_map(of_group).fold(1.0, f32::min);
            let recalls: Vec<f32> = recalls.into_iter().flatten().collect();
            let bound = if recalls.is_empty() { 1.0 } else { lower_bound(&recalls, k).min(worst) };
            Some((k, bound * (*source)?))
        };
        let bounds: Option<Vec<(usize, f32)>> = KS.iter().zip(&self.sources).map(bound).collect();
        bounds.map(|bounds| Kept { bounds })
    }

    /// The group of each query; those of multi fields are of one.
    fn groups(&self) -> Vec<usize> {
        if self.kind == VectorKind::Multi {
            return vec![0; self.probes.len()];
        }
        let directions: Vec<Vec<f32>> =
            self.probes.iter().map(|probe| directed(&probe.query)).collect();
        alike(&directions, GROUPS)
    }

    /// The section of what was measured.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn into_section(self) -> Result<Option<Vec<u8>>> {
        let Some(kept) = self.finish() else { return Ok(None) };
        let json = serde_json::to_vec(&kept).map_err(|error| {
            crate::error::Error::Internal(format!("cannot encode what is kept: {error}"))
        })?;
        Ok(Some(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_measured_numbers_of_hits_the_worse_counts() {
        let kept = Kept { bounds: vec![(1, 0.9), (10, 0.8), (100, 0.95)] };
        let of = [1, 5, 10, 50, 100, 1000].map(|hits| kept.of(hits).unwrap());
        assert_eq!(of, [0.8, 0.8, 0.8, 0.8, 0.95, 0.95]);
        assert_eq!(Kept { bounds: Vec::new() }.of(10), None);
    }
}
