//! Re-ranks the candidates that codes found, in up to two stages: by secondary codes, and for
//! multi-vectors whose vectors are kept, the best of these by vectors.

use super::Deadline;
use super::early_stop::EarlyStop;
use super::plan::{Access, Plan, ViewPlan};
use super::rescore::{rescore_rows, score_vectors};
use super::top_k::{Candidate, TopK};
use crate::error::Result;
use crate::field::{FieldCodes, FieldQuery, TokenStore};
use crate::index::DEFAULT_TARGET_RECALL;
use crate::model::Score;
use crate::segment::{Location, Snapshot, View};

/// Share of the hits that may be missed because of the scores by token codes, relative to that
/// because of the scores by centroids.
const BY_CODES: f32 = 0.1;

/// What is tolerated where the number of candidates to re-rank is set by hand.
const BY_HAND: f32 = 1.0 - DEFAULT_TARGET_RECALL;
/// Less than what may be missed with all candidates re-ranked.
const NOTHING: f64 = -1.0;
/// Candidates are sorted this many batches at a time.
const SORTED: usize = 4;

/// The best hits of a query.
pub struct Ranking<'s> {
    /// Best first.
    pub best: Vec<Candidate<'s>>,
    /// Number of rows with final scores, or with scores by secondary codes.
    pub candidates: u64,
    /// Number of these that were scored by vectors once more.
    pub by_vectors: u64,
    /// Expected number of hits among the candidates that were not re-ranked.
    pub missed: f64,
}

/// Re-ranks the candidates of all pools; see [`Plan::pool`].
///
/// # Errors
/// If a row is damaged, or as [`Deadline::check`].
pub fn rerank<'s>(
    snapshot: &'s Snapshot,
    plan: &Plan<'_>,
    pools: Vec<TopK<'s>>,
    deadline: &Deadline,
) -> Result<Ranking<'s>> {
    let mut pools = pools.into_iter();
    let exact = pools.next().map(TopK::into_sorted).unwrap_or_default();
    let candidates = exact.len() as u64;
    let mut ranking = Ranking { best: exact, candidates, by_vectors: 0, missed: 0.0 };
    if plan.is_exact() {
        return Ok(ranking);
    }
    let exact = std::mem::take(&mut ranking.best);
    let mut top = TopK::new(plan.bound.hits(), snapshot);
    let scorer = &plan.bound.scorer;
    let vectors = scorer.query().len() / scorer.dimension().max(1);
    let coded = snapshot.views.iter().zip(&plan.views);
    let coded: Vec<u64> = coded
        .filter(|(_, own)| own.access.codes().is_some())
        .map(|(view, _)| u64::from(view.reader.rows()))
        .collect();
    let rows = coded.iter().sum();
    let mut stop = EarlyStop::new(plan.bound.hits(), vectors, rows);
    for candidate in exact {
        top.offer(candidate.score, candidate.location);
        stop.offer(candidate.score);
    }
    for (number, (view, pool)) in (0..).zip(snapshot.views.iter().zip(pools)) {
        let own = &plan.views[number as usize];
        if own.access.codes().is_none() {
            continue;
        }
        let site = Site { view, plan, own, views: coded.len(), deadline };
        let mut offer = |row, score| top.offer(score, Location { view: number, row });
        if own.tolerated.is_some() || site.tokens().is_some() {
            let mut found = pool.into_scored_rows();
            site.by_stages(&mut found, &mut stop, &mut ranking, &mut offer)?;
            continue;
        }
        let found = pool.into_sorted();
        let rows: Vec<u32> = found.iter().map(|found| found.location.row).collect();
        ranking.candidates += rows.len() as u64;
        view.reader.field(plan.bound.field).check_rescored(&rows)?;
        rescore_rows(&*view.reader, plan.bound.field, &rows, scorer, &mut offer);
    }
    ranking.best = top.into_sorted();
    Ok(ranking)
}

/// A view whose candidates are re-ranked in stages.
struct Site<'p> {
    view: &'p View,
    plan: &'p Plan<'p>,
    own: &'p ViewPlan<'p>,
    /// Number of views that share what may be missed.
    views: usize,
    deadline: &'p Deadline,
}

impl<'p> Site<'p> {
    fn tokens(&self) -> Option<&'p TokenStore> {
        self.view.reader.field(self.plan.bound.field).codes().and_then(FieldCodes::tokens)
    }

    /// Re-ranks all candidates, or as many as the plan requires. `known` has noticed the final scores
    /// so far.
    fn by_stages(
        &self,
        found: &mut [(f32, u32)],
        known: &mut EarlyStop,
        ranking: &mut Ranking<'_>,
        offer: &mut dyn FnMut(u32, Score),
    ) -> Result<()> {
        let (field, scorer) = (self.plan.bound.field, &self.plan.bound.scorer);
        let (reader, hits) = (&*self.view.reader, self.plan.bound.hits());
        let mut by_codes = Vec::new();
        let left_out = self.left_out(found.len());
        let tolerated = |share: f32| f64::from(share) * hits as f64 / self.views.max(1) as f64;
        let most = self.own.tolerated.map_or(NOTHING, tolerated);
        let mut stop = known.clone();
        let tokens = self.tokens();
        if let Some(tokens) = tokens {
            // Once, from what the candidates were found by.
            let centroids = self.own.access.scan().and_then(FieldQuery::centroids);
            scorer.tokens(tokens.codec(), centroids);
        }
        ranking.missed += descend(found, left_out, &mut stop, most, &mut |rows, each| {
            self.deadline.check()?;
            reader.field(field).check_rescored(rows)?;
            rescore_rows(reader, field, rows, scorer, &mut |row, score| {
                each(score);
                by_codes.push((score.0, row));
            });
            Ok(())
        })?;
        ranking.candidates += by_codes.len() as u64;
        if tokens.is_none() || !reader.field(field).has_raw() {
            for (score, row) in by_codes {
                known.offer(Score(score));
                offer(row, Score(score));
            }
            return Ok(());
        }
        let most = tolerated(BY_CODES * self.own.tolerated.unwrap_or(BY_HAND));
        let mut scored = Vec::new();
        let mut stop = known.clone().with_small_batches();
        ranking.missed += descend(&mut by_codes, 0, &mut stop, most, &mut |rows, each| {
            rows.iter().try_for_each(|&row| reader.field(field).check_vector(row))?;
            score_vectors(reader, field, rows, scorer, &mut |row, score| {
                each(score);
                scored.push((row, score));
            });
            Ok(())
        })?;
        ranking.by_vectors += scored.len() as u64;
        for (row, score) in scored {
            known.offer(score);
            offer(row, score);
        }
        Ok(())
    }

    /// Number of rows that a scan scored, but did not keep as candidates; at most, of lists.
    fn left_out(&self, kept: usize) -> usize {
        let is_index = matches!(self.own.access, Access::Index { .. } | Access::Inverted(_));
        if is_index || kept < self.own.access.budget() {
            return 0;
        }
        let scored = self.own.rows.scored(self.view.reader.rows());
        usize::try_from(scored).unwrap_or(usize::MAX).saturating_sub(kept)
    }
}

/// Buckets of scores: few next to the candidates, and narrow next to the differences of scores.
const BUCKETS: usize = 1024;

/// The number of candidates by score, so that a look at all of them is quick. A score counts as the
/// upper end of its bucket.
struct Histogram {
    most: f32,
    width: f32,
    counts: Vec<usize>,
}

impl Histogram {
    fn of(candidates: &[(f32, u32)]) -> Self {
        let finite = candidates.iter().map(|candidate| candidate.0).filter(|s| s.is_finite());
        let (least, most) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |range, score| {
            (range.0.min(score), range.1.max(score))
        });
        let width = (most / BUCKETS as f32 - least / BUCKETS as f32).max(f32::MIN_POSITIVE);
        let mut all = Self { most, width, counts: vec![0; BUCKETS] };
        for &(score, _) in candidates {
            let bucket = all.bucket(score);
            all.counts[bucket] += 1;
        }
        all
    }

    /// Scores of −∞, of rows without vectors, are in the last bucket.
    fn bucket(&self, score: f32) -> usize {
        (((self.most - score) / self.width) as usize).min(BUCKETS - 1)
    }

    fn remove(&mut self, score: f32) {
        let bucket = self.bucket(score);
        self.counts[bucket] -= 1;
    }

    fn iter(&self) -> impl Iterator<Item = (f32, usize)> {
        let score = |bucket: usize| self.most - bucket as f32 * self.width;
        let counts = self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0);
        counts.map(move |(bucket, count)| (score(bucket), count))
    }
}

/// Scores rows, and calls its second argument with the score of each, in order.
type ScoreRows<'f> = &'f mut dyn FnMut(&[u32], &mut dyn FnMut(Score)) -> Result<()>;

/// Re-ranks candidates, best first, until no more than `tolerated` hits are expected to be missed;
/// returns that number. `left_out` further candidates score no better than the worst.
fn descend(
    candidates: &mut [(f32, u32)],
    left_out: usize,
    stop: &mut EarlyStop,
    tolerated: f64,
    score: ScoreRows<'_>,
) -> Result<f64> {
    let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let worst = candidates.iter().map(|candidate| candidate.0).fold(f32::INFINITY, f32::min);
    let mut counts = Histogram::of(candidates);
    let (mut done, mut sorted, mut rows) = (0, 0, Vec::new());
    loop {
        let batch = stop.batch(done).min(candidates.len() - done);
        while sorted < done + batch {
            let rest = &mut candidates[sorted..];
            let more = (SORTED * batch).min(rest.len());
            if more < rest.len() {
                rest.select_nth_unstable_by(more, better);
            }
            rest[..more].sort_unstable_by(better);
            sorted += more;
        }
        let (batch, rest) = candidates[done..].split_at_mut(batch);
        batch.iter().for_each(|&(score, _)| counts.remove(score));
        // The order of memory: neighbours share pages.
        batch.sort_unstable_by_key(|&(_, row)| row);
        rows.clear();
        rows.extend(batch.iter().map(|&(_, row)| row));
        let mut before = batch.iter();
        score(&rows, &mut |score| {
            if let Some(&(before, _)) = before.next() {
                stop.learn(before, score);
            }
        })?;
        done += batch.len();
        let left_out = std::iter::once((worst, left_out));
        let missed = match rest.len() > BUCKETS {
            true => stop.missed(left_out.chain(counts.iter()), tolerated),
            false => stop.missed(left_out.chain(rest.iter().map(|rest| (rest.0, 1))), tolerated),
        };
        if rest.is_empty() || missed <= tolerated {
            return Ok(missed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_score_counts_as_less_than_it_is() {
        let scores: Vec<(f32, u32)> =
            (0..5000_u32).map(|at| ((at * 37 % 977) as f32 / 50.0 - 7.0, at)).collect();
        let mut counts = Histogram::of(&scores);
        scores[..1000].iter().for_each(|&(score, _)| counts.remove(score));
        let above = |least: f32| {
            let rest = scores[1000..].iter().filter(|(score, _)| *score >= least).count();
            let counted: usize = counts.iter().filter(|(s, _)| *s >= least).map(|of| of.1).sum();
            let nearly = scores[1000..].iter().filter(|(s, _)| *s >= least - counts.width);
            (rest, counted, nearly.count())
        };
        for least in [-8.0, -3.3, 0.0, 5.1, 12.4, 13.0] {
            let (rest, counted, nearly) = above(least);
            assert!(rest <= counted && counted <= nearly, "{least}: {rest} {counted} {nearly}");
        }
        for scores in [
            vec![],
            vec![(f32::NEG_INFINITY, 0)],
            vec![(1.0, 0), (1.0, 1), (f32::NEG_INFINITY, 2)],
            vec![(f32::MAX, 0), (-f32::MAX, 1)],
        ] {
            let counts = Histogram::of(&scores);
            assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), scores.len());
        }
    }
}
