//! Recall of the secondary codes where the raw vectors are dropped.
//!
//! It can only be measured while the vectors are there, which is when the codes are written: a
//! sample of the rows serves as queries and is compared with each block of rows, by vectors and by
//! codes. Merging segments whose vectors were already dropped multiplies the losses.
//!
//! Losses matter more to queries far from the rows, for which all rows score alike. Some synthetic
//! far queries are added: if their recall is nearly as high, it holds for real queries at that
//! distance; if not, it is unknown there.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::writer::CodedBlock;
use crate::error::Result;
use crate::field::FieldSource;
use crate::index::{
    Far, LEAST_OF_GROUP, alike, directed, far_query, lower_bound, mean_less_error, nearness,
};
use crate::kernels;
use crate::model::{Metric, VectorField, VectorKind};
use crate::multivector::{TokenCodec, TokenScorer, max_sim};
use crate::quantization::{Codec, centred, digest, products, stratified};

/// Numbers of nearest rows at which recall is measured.
const KS: [usize; 3] = [1, 10, 100];
/// Number of rows that serve as queries; in a multi field, with the number of vectors of each.
const QUERIES: u64 = 256;
const MULTI_QUERIES: u64 = 32;
const QUERY_VECTORS: usize = 4;
/// If synthetic queries have less recall than this, real ones at the same distance may have much
/// less: it depends on their position.
const SURE: f32 = 0.95;
/// Number of rows per synthetic far query.
const ROWS_A_FAR_QUERY: usize = 2;
const SEED: u64 = 11;
/// Groups of similar queries, the worst of which counts.
const GROUPS: usize = 3;

/// Recall of all secondary codes among the exact k nearest rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Lower confidence bounds for each k: over all queries, but at most the mean of the worst
    /// group of similar queries, less its standard error.
    bounds: Vec<(usize, f32)>,
    /// Recall for queries far from the rows, for each k.
    #[serde(default)]
    far: Vec<KeptFar>,
}

/// Recall for queries whose k-th nearest row is farther than for most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptFar {
    k: usize,
    /// A query belongs to a zone if the nearness of its k-th row is below this.
    below: f32,
    /// From near to far.
    zones: Vec<KeptZone>,
}

/// Recall for queries at similar distances from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct KeptZone {
    /// Lower bound of the nearness in this zone.
    at_least: f32,
    /// True if the queries are rows, false if they are synthetic.
    usual: bool,
    /// Mean recall, less its standard error.
    share: f32,
}

impl Kept {
    /// Recall for `hits` hits: the lower one of the measured k on either side; if the nearness of the
    /// last hit is known, at most that of queries at the same distance. `None` if unknown.
    pub fn of(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        let above = self.bounds.partition_point(|&(k, _)| k <= hits);
        let around = &self.bounds[above.saturating_sub(1)..(above + 1).min(self.bounds.len())];
        let least = around.iter().map(|&(_, bound)| bound).reduce(f32::min)?;
        let Some(zone) = nearness.and_then(|nearness| self.zone(hits, nearness)) else {
            return Some(least);
        };
        (zone.usual || zone.share >= SURE).then_some(least.min(zone.share))
    }

    fn zone(&self, hits: usize, nearness: f32) -> Option<&KeptZone> {
        // For fewer hits than measured, use the zones of the next k, whose rows are farther.
        let far = self.far.iter().find(|far| far.k >= hits).or(self.far.last())?;
        let own = far.zones.iter().find(|zone| nearness >= zone.at_least);
        own.or(far.zones.last()).filter(|_| nearness < far.below)
    }
}

/// A query with its best rows so far.
struct Probe {
    /// Shape [m, dimension]; m = 1 in a single field.
    query: Vec<f32>,
    /// The best exact scores.
    exact: Vec<f32>,
    /// The best scores by codes, each with its exact score.
    shown: Vec<(f32, f32)>,
    /// Under l2, its squared distance from the centre.
    square: f32,
}

impl Probe {
    fn new(query: Vec<f32>) -> Self {
        Self { query, exact: Vec::new(), shown: Vec::new(), square: 0.0 }
    }

    /// Recall of the codes among its exact k nearest rows; `None` if there are none.
    fn recall(&self, k: usize) -> Option<f32> {
        let wanted = k.min(self.exact.len());
        let threshold = *self.exact.get(wanted.checked_sub(1)?)?;
        let found = self.shown[..wanted].iter().filter(|(_, exact)| *exact >= threshold).count();
        Some(found as f32 / wanted as f32)
    }
}

/// Measures recall while codes are written.
pub struct KeptMeter<'s> {
    metric: Metric,
    dimension: usize,
    kind: VectorKind,
    probes: Vec<Probe>,
    /// Index of the first synthetic far probe.
    far: usize,
    /// Probes by digest of their row, to exclude duplicates of the query.
    known: HashMap<u64, Vec<usize>>,
    sources: Vec<FieldSource<'s>>,
}

impl<'s> KeptMeter<'s> {
    /// A meter for the rows of these sources.
    pub fn new(field: &VectorField, sources: &[FieldSource<'s>]) -> Self {
        let total = FieldSource::total(sources);
        let most = if field.kind == VectorKind::Single { QUERIES } else { MULTI_QUERIES };
        let mut chosen = stratified(total, most, SEED).into_iter().peekable();
        let (mut probes, mut known) = (Vec::new(), HashMap::<u64, Vec<usize>>::new());
        let mut position = 0;
        for source in sources {
            let end = position + source.live.count();
            let mut live = source.live.iter();
            while let Some(next) = chosen.next_if(|&next| next < end) {
                let Some(row) = live.nth((next - position) as usize) else { break };
                position = next + 1;
                source.reader.visit(row..row + 1, &mut |_, view, range| {
                    if view.absent.contains(range.start as u32) {
                        return;
                    }
                    let values = view.row(range.start).to_f32();
                    known.entry(digest(&values)).or_default().push(probes.len());
                    let query =
                        values[..values.len().min(QUERY_VECTORS * field.dimension)].to_vec();
                    probes.push(Probe::new(query));
                });
            }
            position = end;
        }
        let far = probes.len();
        let made_up = |number: usize| {
            let (row, other) =
                (&probes[number * ROWS_A_FAR_QUERY], &probes[(number * 7 + 1) % far]);
            far_query(field, &row.query, &other.query, number as u64)
        };
        let made_up: Vec<Vec<f32>> = (0..far / ROWS_A_FAR_QUERY).filter_map(made_up).collect();
        probes.extend(made_up.into_iter().map(Probe::new));
        Self {
            metric: field.metric,
            dimension: field.dimension,
            kind: field.kind,
            probes,
            far,
            known,
            sources: sources.to_vec(),
        }
    }

    /// Adds a block of rows and their codes.
    pub(super) fn add(
        &mut self,
        block: &CodedBlock,
        (codec, primary, secondary): (Option<&Codec>, &[u8], &[u8]),
        tokens: Option<&TokenCodec>,
    ) {
        match (tokens, codec) {
            (Some(tokens), _) => self.add_documents(block, tokens, secondary),
            (None, Some(codec)) => self.add_rows(block, codec, primary, secondary),
            (None, None) => {}
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
        // Centring both sides leaves distances unchanged and shifts all products of a query alike.
        let centred = |values: &[f32]| centred(values, codec.center());
        let (exact, shown) = (centred(block.values()), centred(&decoded));
        let mut queries: Vec<f32> = Vec::with_capacity(self.probes.len() * dimension);
        for probe in &mut self.probes {
            if self.metric == Metric::L2 {
                let centred = centred(&probe.query);
                probe.square = kernels::dot(&centred, &centred);
                queries.extend(centred);
            } else {
                queries.extend_from_slice(&probe.query);
            }
        }
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
            let (coded, mut kernel) = (tokens.query(query, None), TokenScorer::default());
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

    /// `of(query, row)` returns the score by codes and the exact score.
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

    /// The result; `None` if nothing was measured or the recall of a source is unknown.
    pub fn finish(self) -> Option<Kept> {
        let groups = self.groups();
        let (mut bounds, mut far) = (Vec::new(), Vec::new());
        for k in KS {
            let recalls: Vec<Option<f32>> =
                self.probes.iter().map(|probe| probe.recall(k)).collect();
            let of_group = |group: usize| {
                let members = recalls.iter().zip(&groups).filter(|(_, of)| **of == group);
                let recalls: Vec<f32> = members.filter_map(|(recall, _)| *recall).collect();
                (recalls.len() >= LEAST_OF_GROUP).then(|| mean_less_error(&recalls))
            };
            let worst = (0..GROUPS).filter_map(of_group).fold(1.0, f32::min);
            let all: Vec<f32> = recalls[..self.far].iter().copied().flatten().collect();
            let bound = if all.is_empty() { 1.0 } else { lower_bound(&all, k).min(worst) };
            bounds.push((k, bound * self.kept_by_sources(k, None)?));
            far.push(self.zones(k, &recalls)?);
        }
        Some(Kept { bounds, far })
    }

    /// Recall for queries far from the rows.
    fn zones(&self, k: usize, recalls: &[Option<f32>]) -> Option<KeptFar> {
        let nearness: Vec<f32> = self.probes.iter().map(|probe| self.nearness(probe, k)).collect();
        let far = Far::new(k, &nearness, &vec![true; self.far], self.far);
        let mut zones: Vec<KeptZone> = Vec::new();
        for zone in far.zones {
            let found: Vec<f32> = zone.queries.iter().filter_map(|&query| recalls[query]).collect();
            let of_sources = self.kept_by_sources(k, Some(zone.at_least))?;
            // Recall never rises with distance.
            let nearer = zones.last().map_or(1.0, |zone| zone.share);
            let share = nearer.min(mean_less_error(&found) * of_sources);
            zones.push(KeptZone { at_least: zone.at_least, usual: zone.usual, share });
        }
        Some(KeptFar { k, below: far.below, zones })
    }

    /// Nearness of the k-th row of a probe.
    fn nearness(&self, probe: &Probe, k: usize) -> f32 {
        let Some(&score) = k.min(probe.exact.len()).checked_sub(1).map(|last| &probe.exact[last])
        else {
            return f32::NEG_INFINITY;
        };
        let score = match self.metric {
            Metric::L2 => 2.0 * score - probe.square,
            Metric::Dot | Metric::Cosine => score,
        };
        nearness(self.metric, &probe.query, self.dimension, score)
    }

    /// Recall of the worst source; `None` if one is unknown. A source holds, on average, its share
    /// of the k nearest rows; its other near rows compete with them.
    fn kept_by_sources(&self, k: usize, nearness: Option<f32>) -> Option<f32> {
        let total = FieldSource::total(&self.sources);
        let of_source = |source: &FieldSource<'_>| {
            let part = k as u64 * source.live.count() / total.max(1);
            let coded = source.reader.coded();
            coded.map_or(Some(1.0), |coded| coded.kept(part.max(1) as usize, nearness))
        };
        self.sources.iter().try_fold(1.0_f32, |least, source| Some(least.min(of_source(source)?)))
    }

    /// The group of each query; multi fields have a single group.
    fn groups(&self) -> Vec<usize> {
        let probes = &self.probes[..self.far];
        if self.kind == VectorKind::Multi {
            return vec![0; probes.len()];
        }
        let directions: Vec<Vec<f32>> = probes.iter().map(|probe| directed(&probe.query)).collect();
        alike(&directions, GROUPS)
    }

    /// The recall as a section of the file.
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
        let bounds = vec![(1, 0.9), (10, 0.8), (100, 0.95)];
        let kept = Kept { bounds, far: Vec::new() };
        let of = [1, 5, 10, 50, 100, 1000].map(|hits| kept.of(hits, None).unwrap());
        assert_eq!(of, [0.8, 0.8, 0.8, 0.8, 0.95, 0.95]);
        assert_eq!(Kept { bounds: Vec::new(), far: Vec::new() }.of(10, Some(0.0)), None);
    }

    #[test]
    fn less_is_kept_for_queries_that_are_far_from_the_rows() {
        let zone = |at_least, usual, share| KeptZone { at_least, usual, share };
        let far = |k, below: f32| KeptFar {
            k,
            below,
            zones: vec![
                zone(below - 0.2, true, 0.7),
                zone(below - 0.3, false, 0.96),
                zone(below - 0.4, false, 0.94),
            ],
        };
        let kept =
            Kept { bounds: vec![(1, 0.9), (10, 0.98)], far: vec![far(1, 0.8), far(10, 0.6)] };
        let of = |hits, nearness| kept.of(hits, Some(nearness));
        let of_zones = [0.61, 0.59, 0.41, 0.39].map(|nearness| of(10, nearness).unwrap());
        assert_eq!(of_zones, [0.98, 0.7, 0.7, 0.96]);
        // Too little is known about queries so far away.
        assert_eq!([of(10, 0.29), of(10, -9.0)], [None, None]);
        // Unmeasured numbers of hits use the next k, or the last.
        assert_eq!([of(5, 0.59), of(20, 0.59), of(1, 0.59)].map(Option::unwrap), [0.7, 0.7, 0.9]);
    }
}
