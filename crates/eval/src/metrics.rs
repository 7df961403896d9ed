//! Ranking quality, computed as trec_eval computes it.
//!
//! Follows trec_eval (`m_ndcg_cut.c`, `m_map_cut.c`, `m_recall.c`, `m_recip_rank.c`,
//! `form_res_rels.c`), which pytrec_eval wraps and BEIR's `EvaluateRetrieval` calls, so that
//! numbers compare with published ones to the last printed digit:
//!
//! - Relevant means judged above 0. Documents judged 0 or below, or not at all, gain nothing.
//! - Ties are broken by document id, descending ([`evaluation_order`](super::evaluation_order)).
//! - A document whose id equals the query's id is dropped from the results first, as BEIR does for
//!   the data sets whose queries are documents (ArguAna, Quora). It stays in the judgements.
//! - The mean is over every query of the judgements. One with no relevant document counts as 0 in
//!   every metric: pytrec_eval returns zeros for it and BEIR divides by it.
//!
//! One deviation: pytrec_eval skips a judged query that is missing from the run, which rewards a
//! system for failing. Here it counts as 0 (trec_eval's `-c`). Runs with results for every query
//! score the same under both rules. Queries of the run without judgements are ignored by all.

use super::qrels::{Judgements, Qrels};
use super::run::{Hit, Run};

/// Mean quality over the judged queries; every metric is within 0..=1, higher is better.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Normalised discounted cumulative gain of the first 10 results, with linear gain.
    pub ndcg_10: f64,
    /// Mean average precision of the first 100 results.
    pub map_100: f64,
    /// Mean reciprocal rank of the first relevant document within the first 10 results.
    pub mrr_10: f64,
    /// Share of the relevant documents within the first 10 results.
    pub recall_10: f64,
    /// Share of the relevant documents within the first 100 results.
    pub recall_100: f64,
    /// Number of judged queries: the divisor of the means. With 0 every metric is 0.
    pub queries: usize,
}

/// A measure of one ranking, within 0..=1; higher is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// See [`Metrics::ndcg_10`].
    Ndcg10,
    /// Average precision; see [`Metrics::map_100`].
    Map100,
    /// Reciprocal rank; see [`Metrics::mrr_10`].
    Mrr10,
    /// See [`Metrics::recall_10`].
    Recall10,
    /// See [`Metrics::recall_100`].
    Recall100,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ndcg10, Self::Map100, Self::Mrr10, Self::Recall10, Self::Recall100];

    /// Its name for a single query, in the notation of ir_measures: `nDCG@10`, `AP@100`, `RR@10`,
    /// `R@10` or `R@100`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndcg10 => "nDCG@10",
            Self::Map100 => "AP@100",
            Self::Mrr10 => "RR@10",
            Self::Recall10 => "R@10",
            Self::Recall100 => "R@100",
        }
    }

    /// Number of results that it looks at.
    pub fn depth(self) -> usize {
        match self {
            Self::Ndcg10 | Self::Mrr10 | Self::Recall10 => 10,
            Self::Map100 | Self::Recall100 => 100,
        }
    }

    /// Its value for one ranking.
    pub fn of(self, ranking: &JudgedRanking) -> f64 {
        let depth = self.depth();
        match self {
            Self::Ndcg10 => ranking.ndcg(depth),
            Self::Map100 => ranking.average_precision(depth),
            Self::Mrr10 => ranking.reciprocal_rank(depth),
            Self::Recall10 | Self::Recall100 => ranking.recall(depth),
        }
    }
}

/// The value of every measure for every judged query of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMetrics {
    /// In the order of the judgements.
    queries: Vec<String>,
    /// Shape [measures, queries], in the order of [`Measure::ALL`].
    values: [Vec<f64>; Measure::ALL.len()],
}

impl QueryMetrics {
    /// Judges `run` for each query of `qrels`; a query that is missing from the run gets 0.
    pub fn new(run: &Run, qrels: &Qrels) -> Self {
        let judge = |(query, judgements)| {
            JudgedRanking::new(query, run.get(query).unwrap_or_default(), judgements)
        };
        let rankings: Vec<JudgedRanking> = qrels.iter().map(judge).collect();
        let of_all = |measure: Measure| rankings.iter().map(|r| measure.of(r)).collect();
        let queries = qrels.iter().map(|(query, _)| query.to_owned()).collect();
        Self { queries, values: Measure::ALL.map(of_all) }
    }

    /// Ids of the judged queries, ascending (bytewise).
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Value of a measure for each query: shape `[queries]`, in the order of [`Self::queries`].
    pub fn values(&self, measure: Measure) -> &[f64] {
        &self.values[measure as usize]
    }

    /// The mean of each measure over all queries.
    pub fn mean(&self) -> Metrics {
        let queries = self.queries.len();
        let mean = |measure| match queries {
            0 => 0.0,
            // From +0.0, unlike `Sum`: an average of zeros has no sign.
            _ => self.values(measure).iter().fold(0.0, |sum, value| sum + value) / queries as f64,
        };
        Metrics {
            ndcg_10: mean(Measure::Ndcg10),
            map_100: mean(Measure::Map100),
            mrr_10: mean(Measure::Mrr10),
            recall_10: mean(Measure::Recall10),
            recall_100: mean(Measure::Recall100),
            queries,
        }
    }
}

/// Judges `run`: the mean of each metric over all queries of `qrels`.
pub fn evaluate(run: &Run, qrels: &Qrels) -> Metrics {
    QueryMetrics::new(run, qrels).mean()
}

/// The results of one query reduced to what the metrics see: gains in rank order.
///
/// Every metric is 0 for a query without relevant documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedRanking {
    /// Gain of each result, best result first; 0 when not relevant.
    gains: Vec<u32>,
    /// Gains of all relevant documents, in descending order.
    ideal: Vec<u32>,
}

impl JudgedRanking {
    /// Judges `hits`, which must be in evaluation order as [`Run`] keeps them.
    pub fn new(query: &str, hits: &[Hit], judgements: &Judgements) -> Self {
        let gain = |judgement: &i32| u32::try_from(*judgement).unwrap_or(0);
        let gains = hits
            .iter()
            .filter(|(document, _)| document != query)
            .map(|(document, _)| judgements.get(document).map_or(0, gain))
            .collect();
        let mut ideal: Vec<u32> = judgements.values().map(gain).filter(|&g| g > 0).collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        Self { gains, ideal }
    }

    /// Discounted cumulative gain of the first `k` results over that of the best possible ranking
    /// of all judged documents (trec_eval `ndcg_cut_k`: gain = judgement, discount log2(rank + 1)).
    pub fn ndcg(&self, k: usize) -> f64 {
        let ideal = discounted_gain(&self.ideal, k);
        if ideal == 0.0 {
            return 0.0;
        }
        discounted_gain(&self.gains, k) / ideal
    }

    /// Sum of the precisions at the relevant results among the first `k`, over the number of
    /// relevant documents (trec_eval `map_cut_k`).
    pub fn average_precision(&self, k: usize) -> f64 {
        let mut found = 0_u32;
        let mut sum = 0.0;
        for (index, &gain) in self.gains.iter().take(k).enumerate() {
            if gain > 0 {
                found += 1;
                sum += f64::from(found) / (index + 1) as f64;
            }
        }
        self.over_relevant(sum)
    }

    /// 1 / rank of the first relevant result among the first `k`, or 0 (trec_eval `recip_rank` of a
    /// run cut at `k`).
    pub fn reciprocal_rank(&self, k: usize) -> f64 {
        let mut first = self.gains.iter().take(k);
        first.position(|&gain| gain > 0).map_or(0.0, |index| 1.0 / (index + 1) as f64)
    }

    /// Relevant results among the first `k` over the number of relevant documents (trec_eval
    /// `recall_k`).
    pub fn recall(&self, k: usize) -> f64 {
        let found = self.gains.iter().take(k).filter(|&&gain| gain > 0).count();
        self.over_relevant(found as f64)
    }

    fn over_relevant(&self, value: f64) -> f64 {
        if self.ideal.is_empty() {
            return 0.0;
        }
        value / self.ideal.len() as f64
    }
}

fn discounted_gain(gains: &[u32], k: usize) -> f64 {
    let first = gains.iter().take(k).enumerate();
    first.map(|(index, &gain)| f64::from(gain) / ((index + 2) as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Query, then each judged document with its judgement.
    const QRELS: &[(&str, &str)] = &[
        // Graded, with ties between relevant and other documents.
        ("q1", "d1 2, d2 1, d3 0, d4 3, d7 -1, d9 1"),
        // Missing from the run.
        ("q2", "d1 1, d5 2"),
        // A query that is itself a document, and judged relevant to itself.
        ("d3", "d3 2, d6 1, d8 1"),
        // Judged, with no relevant document.
        ("q4", "d1 0, d2 -1"),
        // More than ten results.
        ("q5", "d1 1, d8 2, e4 1, e1 3"),
    ];

    /// Query, then each result with its score.
    const RUN: &[(&str, &str)] = &[
        ("q1", "d5 0.9, d1 0.5, d2 0.5, d3 0.5, d4 0.25, d6 0.25, d7 0.95, d8 0.125"),
        ("d3", "d3 1, d1 0.75, d6 0.5, d2 0.5, d8 0.25, d4 0.25, d5 0.25, d7 0.125"),
        ("q4", "d1 0.125, d2 0.25, d3 0.375, d4 0.5, d5 0.625, d6 0.75, d7 0.875, d8 1"),
        (
            "q5",
            "d1 -0.125, d2 -0.25, d3 -0.375, d4 -0.5, d5 -0.625, d6 -0.75, d7 -0.875, d8 -1, \
             e1 -3, e2 -4, e3 -5, e4 -6",
        ),
        ("unjudged", "d1 1"),
    ];

    fn pairs<T: std::str::FromStr>(list: &str) -> impl Iterator<Item = (&str, T)> {
        list.split(", ").map(|pair| {
            let (id, number) = pair.split_once(' ').expect("two columns");
            (id, number.parse().ok().expect("number"))
        })
    }

    fn qrels() -> Qrels {
        let mut qrels = Qrels::default();
        for (query, list) in QRELS {
            for (document, judgement) in pairs(list) {
                assert!(qrels.insert(query, document, judgement));
            }
        }
        qrels
    }

    fn run() -> Run {
        let mut run = Run::new();
        for (query, list) in RUN {
            let hits = pairs(list).map(|(document, score)| (document.to_owned(), score));
            run.push(query, hits.collect()).expect("run");
        }
        run
    }

    fn assert_close(got: [f64; 5], expected: [f64; 5], name: &str) {
        for (got, expected) in got.into_iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{name}: expected {expected}, got {got}");
        }
    }

    // The numbers of the two tests below were printed by pytrec_eval (pytrec-eval-terrier 0.5.11):
    // `RelevanceEvaluator(qrels, {"ndcg_cut.10", "map_cut.100", "recall.10,100"})` on the run above
    // without the result "d3" of query "d3" and with an empty result for "q2"; `recip_rank` on the
    // same run cut to the ten best by (score, id).

    #[test]
    fn means_agree_with_pytrec_eval() {
        let metrics = evaluate(&run(), &qrels());
        let got = [
            metrics.ndcg_10,
            metrics.map_100,
            metrics.mrr_10,
            metrics.recall_10,
            metrics.recall_100,
        ];
        let expected = [
            0.25032231980180664,
            0.21642857142857141,
            0.35,
            0.4333333333333333,
            0.4833333333333333,
        ];
        assert_close(got, expected, "mean");
        assert_eq!(metrics.queries, 5);
    }

    #[test]
    fn each_query_agrees_with_pytrec_eval() {
        let (run, qrels) = (run(), qrels());
        for (query, expected) in [
            ("q1", [0.42452900564507623, 0.26964285714285713, 0.25, 0.75, 0.75]),
            ("q2", [0.0; 5]),
            (
                "d3",
                [
                    0.3390706260445078,
                    0.3333333333333333,
                    0.5,
                    0.6666666666666666,
                    0.6666666666666666,
                ],
            ),
            ("q4", [0.0; 5]),
            ("q5", [0.48801196731944896, 0.47916666666666663, 1.0, 0.75, 1.0]),
        ] {
            let hits = run.get(query).unwrap_or_default();
            let judged = JudgedRanking::new(query, hits, qrels.get(query).expect("judged"));
            assert_close(Measure::ALL.map(|measure| measure.of(&judged)), expected, query);
            let all = QueryMetrics::new(&run, &qrels);
            let at = all.queries().iter().position(|id| id == query).expect("judged");
            let listed = Measure::ALL.map(|measure| all.values(measure)[at]);
            assert_close(listed, expected, query);
        }
    }

    #[test]
    fn each_metric_is_cut_at_its_rank() {
        let mut judgements = Judgements::new();
        judgements.insert("relevant".to_owned(), 1);
        let judged_at = |rank: usize| {
            let hits: Vec<Hit> = (1..=rank)
                .map(|i| {
                    let id = if i == rank { "relevant".to_owned() } else { format!("d{i}") };
                    (id, -(i as f32))
                })
                .collect();
            JudgedRanking::new("q", &hits, &judgements)
        };
        let all = |judged: &JudgedRanking, k: usize| {
            [
                judged.ndcg(k),
                judged.average_precision(k),
                judged.reciprocal_rank(k),
                judged.recall(k),
            ]
        };
        for k in [1, 10, 100] {
            assert!(all(&judged_at(k), k).iter().all(|&value| value > 0.0));
            assert_eq!(all(&judged_at(k + 1), k), [0.0; 4]);
        }
        assert_eq!(all(&judged_at(1), 0), [0.0; 4]);
    }

    #[test]
    fn nothing_judged_gives_zero_and_not_nan() {
        assert_eq!(evaluate(&run(), &Qrels::default()), Metrics::default());
    }
}
