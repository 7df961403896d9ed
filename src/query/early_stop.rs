//! When re-ranking may end: a stage of a query knows by how much the scores of its candidates differ
//! from those of the stage before, and so how many of the rest may still belong to the hits.
//!
//! Candidates are re-ranked in batches, best first. With μ and σ the mean and the deviation of the
//! differences so far (σ of those above the mean, if it is larger than that of all), a candidate with the
//! score s reaches the k-th best score θ if its difference is z = (θ − s − μ) / σ deviations above μ. Most
//! differences are about normal, but some documents are not like the others, so that one in a hundred
//! is taken to have wider deviations (the contaminated normal distribution of Tukey, 1960). Both tails are
//! bounded by exp(−z²/2) · min(1/2, 1 / (z·√(2π))) (Gordon, Annals of Mathematical Statistics 12, 1941).
//! Re-ranking ends when the sum over the rest is small enough. Nothing is assumed about queries or
//! calibrated with others, so that this holds alike for long and short, usual and unusual queries, and
//! under filters.
//!
//! Differences of queries with few vectors have longer tails, the differences of the best candidates
//! say little about one hit, and among many rows are more that are not like the others; σ is widened
//! accordingly ([`EarlyStop::new`]). The constants were chosen on three sets, so that groups of queries
//! by length do not find less than they are told (decision 26).

use super::top_k::BestScores;
use crate::model::Score;

/// Size of the first batch: at least this, and this multiple of the hits.
const FIRST: (usize, usize) = (64, 2);
/// Size of a small first batch beyond the hits: one for this many of them, and at least this.
const FEW: (usize, usize) = (4, 6);
/// Each batch extends the candidates re-ranked so far by one in this many.
const GROWTH: usize = 4;
/// Widening of σ for one vector (less for more).
const OF_ONE_VECTOR: f64 = 0.5;
/// Widening for one hit (less for more).
const OF_ONE_HIT: f64 = 0.25;
/// Share of the differences that have wider deviations, how much wider these are, and how much more
/// for each doubling of the rows beyond some.
const OF_OTHERS: f64 = 0.01;
const WIDER: f64 = 1.5;
const OF_DOUBLING: f64 = 0.1;
const FEW_ROWS: f64 = 4096.0;
/// Candidates farther from the threshold, in deviations, do not count.
const FARTHEST: f64 = 6.0;
/// 1 / √(2π).
const DENSITY: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

/// Decides how many candidates of one query to re-rank.
#[derive(Debug, Clone)]
pub struct EarlyStop {
    hits: usize,
    first: usize,
    widening: f64,
    /// How much wider the deviations of some differences are.
    wider: f64,
    best: BestScores,
    differences: Vec<f64>,
}

impl EarlyStop {
    /// For the `hits` best of `rows` rows, and a query of `vectors` vectors.
    pub fn new(hits: usize, vectors: usize, rows: u64) -> Self {
        let wider = WIDER + OF_DOUBLING * (rows as f64 / FEW_ROWS).max(1.0).log2();
        let of_vectors = OF_ONE_VECTOR / vectors.max(1) as f64;
        let of_hits = OF_ONE_HIT / hits.max(1) as f64;
        let best = BestScores::new(hits);
        let widening = 1.0 + of_vectors + of_hits;
        let first = FIRST.0.max(FIRST.1 * hits);
        Self { hits, first, widening, wider, best, differences: Vec::new() }
    }

    /// Starts with smaller batches, for differences that are small and costly to learn.
    #[must_use]
    pub fn with_small_batches(self) -> Self {
        Self { first: self.hits + (self.hits / FEW.0).max(FEW.1), ..self }
    }

    /// Takes notice of the score of a row that needs no re-ranking.
    pub fn offer(&mut self, score: Score) {
        self.best.offer(score);
    }

    /// Takes notice of a re-ranked candidate: its score in the stage before, and its own.
    pub fn learn(&mut self, before: f32, score: Score) {
        self.offer(score);
        let difference = f64::from(score.0) - f64::from(before);
        if difference.is_finite() {
            self.differences.push(difference);
        }
    }

    /// Mean and deviation of the differences.
    fn distribution(&self) -> (f64, f64) {
        let count = self.differences.len() as f64;
        let mean = self.differences.iter().sum::<f64>() / count;
        let (mut squares, mut above, mut squares_above) = (0.0, 0.0, 0.0);
        for difference in &self.differences {
            let square = (difference - mean).powi(2);
            squares += square;
            if *difference > mean {
                above += 1.0;
                squares_above += square;
            }
        }
        let variance = (squares / (count - 1.0)).max(squares_above / f64::max(above - 1.0, 1.0));
        (mean, variance.sqrt())
    }

    /// Size of the next batch, after `done` candidates.
    pub fn batch(&self, done: usize) -> usize {
        match done {
            0 => self.first,
            done => done / GROWTH + 1,
        }
    }

    /// Expected number of hits among candidates that were not re-ranked, by their scores in the
    /// stage before and the number of candidates with each. Counts no further once there are more than
    /// `tolerated`.
    pub fn missed(&self, rest: impl Iterator<Item = (f32, usize)>, tolerated: f64) -> f64 {
        let Some(worst) = self.best.worst().filter(|_| self.differences.len() >= 2) else {
            return rest.map(|(_, count)| count).sum::<usize>() as f64;
        };
        let (mean, deviation) = self.distribution();
        let (reach, deviation) = (f64::from(worst.0) - mean, deviation * self.widening);
        let of = |score: f32| {
            let gap = reach - f64::from(score);
            if gap <= 0.0 {
                // Half, if differences are as likely above their mean as below.
                return 0.5;
            }
            let far = gap / deviation;
            (1.0 - OF_OTHERS) * tail(far) + OF_OTHERS * tail(far / self.wider)
        };
        let mut missed = 0.0;
        for (score, count) in rest {
            missed += of(score) * count as f64;
            if missed > tolerated {
                break;
            }
        }
        missed
    }
}

/// At least the probability of a normal value that is `far` deviations above the mean, or more.
fn tail(far: f64) -> f64 {
    if far < FARTHEST { (-0.5 * far * far).exp() * (DENSITY / far).min(0.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    /// About normal, with mean 0 and deviation 1.
    fn noise(seed: u64, at: u64) -> f32 {
        let uniform = |part| (hash(seed + part, at) >> 40) as f32 / (1 << 24) as f32;
        ((0..12).map(uniform).sum::<f32>()) - 6.0
    }

    /// Candidates as (score before, score), best before first; `tail`: noise of the difference.
    fn candidates(count: u64, seed: u64, tail: impl Fn(f32) -> f32) -> Vec<(f32, f32)> {
        let one = |at| {
            let before = noise(seed, at);
            (before, before + 0.7 + tail(noise(seed + 100, at)))
        };
        let mut all: Vec<(f32, f32)> = (0..count).map(one).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all
    }

    /// Number of candidates re-ranked, estimated and true number of hits missed.
    fn run(all: &[(f32, f32)], hits: usize, vectors: usize, tolerated: f64) -> (usize, f64, usize) {
        let mut stop = EarlyStop::new(hits, vectors, all.len() as u64);
        let mut done = 0;
        loop {
            let end = all.len().min(done + stop.batch(done));
            all[done..end].iter().for_each(|&(before, score)| stop.learn(before, Score(score)));
            done = end;
            let missed =
                stop.missed(all[done..].iter().map(|candidate| (candidate.0, 1)), tolerated);
            if missed <= tolerated || done == all.len() {
                let mut scores: Vec<f32> = all.iter().map(|candidate| candidate.1).collect();
                scores.sort_by(|a, b| b.total_cmp(a));
                let found = all[..done].iter().filter(|one| one.1 >= scores[hits - 1]).count();
                return (done, missed, hits - found);
            }
        }
    }

    #[test]
    fn no_more_is_missed_than_expected() {
        for (name, tail) in [
            ("normal", (|noise| 0.3 * noise) as fn(f32) -> f32),
            ("wide", |noise| 0.8 * noise),
            ("long upper tail", |noise| 0.25 * noise + 0.05 * noise.max(0.0).powi(2)),
            ("none", |_| 0.0),
        ] {
            for (hits, vectors, share) in [(10, 8, 0.05), (100, 3, 0.02), (1, 1, 0.05)] {
                let (mut expected, mut missed, mut done) = (0.0, 0, 0);
                let rounds = 200;
                for seed in 0..rounds {
                    let all = candidates(3000, seed * 1000, tail);
                    let of = run(&all, hits, vectors, share * hits as f64);
                    (done, expected, missed) = (done + of.0, expected + of.1, missed + of.2);
                }
                let most = expected + 3.0 * (expected + 1.0).sqrt();
                let case =
                    format!("{name}, {hits} of {done}: {missed} missed, {expected} expected");
                assert!(missed as f64 <= most, "{case}");
                assert!((done as u64) < rounds * 3000 / 2 || name == "wide", "{case}");
            }
        }
    }

    fn missed(stop: &EarlyStop, rest: impl Iterator<Item = f32>) -> f64 {
        stop.missed(rest.map(|score| (score, 1)), f64::INFINITY)
    }

    #[test]
    fn scores_count_as_often_as_they_occur() {
        let mut stop = EarlyStop::new(2, 4, 10);
        (0..9).for_each(|at| stop.learn(at as f32, Score(at as f32 + 0.3 * (at % 2) as f32)));
        let [one, three] = [1, 3].map(|count| stop.missed([(6.9, count)].into_iter(), 9.0));
        assert!(one > 0.0 && (three - 3.0 * one).abs() < 1e-9, "{one} {three}");
    }

    #[test]
    fn nothing_is_known_before_there_are_hits_and_differences() {
        let mut stop = EarlyStop::new(2, 4, 10);
        assert_eq!(missed(&stop, [1.0, 2.0].into_iter()), 2.0);
        stop.offer(Score(3.0));
        stop.offer(Score(4.0));
        assert_eq!(missed(&stop, [1.0, 2.0].into_iter()), 2.0, "no differences");
        stop.learn(2.5, Score(3.5));
        stop.learn(2.0, Score(3.0));
        assert_eq!(missed(&stop, [1.0, 2.0].into_iter()), 0.0, "all differ by 1: 2 and 3 of 3.5");
        assert_eq!(missed(&stop, [2.6].into_iter()), 0.5);
        // A row without vectors scores −∞ in both stages.
        stop.learn(f32::NEG_INFINITY, Score(f32::NEG_INFINITY));
        assert_eq!(missed(&stop, [2.0, f32::NEG_INFINITY].into_iter()), 0.0);
    }

    #[test]
    fn batches_grow() {
        let stop = EarlyStop::new(10, 4, 10);
        assert_eq!([stop.batch(0), stop.batch(64), stop.batch(97)], [64, 17, 25]);
        assert_eq!(EarlyStop::new(100, 4, 10).batch(0), 200);
        assert_eq!(EarlyStop::new(10, 4, 10).with_small_batches().batch(0), 16);
    }
}
