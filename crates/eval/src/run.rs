//! Ranked results of many queries, in the order in which they are judged.
//!
//! trec_eval ignores the rank a system printed and orders by score, so a run whose ties stand in
//! another order is judged on a ranking it does not show. [`Run`] therefore always keeps
//! trec_eval's order ([`evaluation_order`]): what is stored and written is what is judged.

use std::cmp::Ordering;
use std::collections::HashMap;

use thiserror::Error;

/// The results of a query were refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RunError {
    /// The query already has results.
    #[error("query {query:?} already has results")]
    DuplicateQuery {
        /// Query id.
        query: String,
    },
    /// A document appears twice in the results of one query.
    #[error("query {query:?}: document {document:?} appears twice")]
    DuplicateDocument {
        /// Query id.
        query: String,
        /// Document id.
        document: String,
    },
    /// A score is infinite or not a number, and so has no place in a ranking.
    #[error("query {query:?}, document {document:?}: expected a finite score, got {score}")]
    NotFinite {
        /// Query id.
        query: String,
        /// Document id.
        document: String,
        /// The score.
        score: f32,
    },
}

/// One result: a document id and its score (higher is better).
pub type Hit = (String, f32);

/// Order of results: score descending, then document id descending (bytewise).
///
/// This is `comp_sim_docno` of trec_eval's `form_res_rels.c`. Both scores must be finite.
pub fn evaluation_order(a: &Hit, b: &Hit) -> Ordering {
    let by_score = b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal);
    by_score.then_with(|| b.0.cmp(&a.0))
}

/// Ranked results of a set of queries, which stay in the order they were added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    queries: Vec<(String, Vec<Hit>)>,
    positions: HashMap<String, usize>,
}

impl Run {
    /// An empty run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the results of one query, in any order; they are kept in [`evaluation_order`].
    ///
    /// # Errors
    /// [`RunError`]; the run is then unchanged.
    pub fn push(&mut self, query: &str, mut hits: Vec<Hit>) -> Result<(), RunError> {
        if self.positions.contains_key(query) {
            return Err(RunError::DuplicateQuery { query: query.to_owned() });
        }
        if let Some((_, second)) = first_repeat(&hits) {
            return Err(RunError::DuplicateDocument {
                query: query.to_owned(),
                document: hits.swap_remove(second).0,
            });
        }
        if let Some((document, score)) = hits.iter().find(|(_, score)| !score.is_finite()) {
            return Err(RunError::NotFinite {
                query: query.to_owned(),
                document: document.clone(),
                score: *score,
            });
        }
        hits.sort_by(evaluation_order);
        self.positions.insert(query.to_owned(), self.queries.len());
        self.queries.push((query.to_owned(), hits));
        Ok(())
    }

    /// Results of one query, best first; `None` when the query was never added.
    pub fn get(&self, query: &str) -> Option<&[Hit]> {
        let &position = self.positions.get(query)?;
        Some(&self.queries.get(position)?.1)
    }

    /// Queries in insertion order, each with its results, best first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Hit])> {
        self.queries.iter().map(|(query, hits)| (query.as_str(), hits.as_slice()))
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether no query was added.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

/// Positions of the two earliest hits with one document id, earliest by the second.
pub(super) fn first_repeat(hits: &[Hit]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_by(|&a, &b| hits[a].0.cmp(&hits[b].0).then(a.cmp(&b)));
    order
        .windows(2)
        .filter(|pair| hits[pair[0]].0 == hits[pair[1]].0)
        .map(|pair| (pair[0], pair[1]))
        .min_by_key(|&(_, second)| second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(list: &[(&str, f32)]) -> Vec<Hit> {
        list.iter().map(|&(id, score)| (id.to_owned(), score)).collect()
    }

    #[test]
    fn hits_are_ordered_by_score_then_by_id_both_descending() {
        let mut run = Run::new();
        let given =
            [("d9", 1.0), ("d10", 1.0), ("é", -0.0), ("z", 0.0), ("low", -2.5), ("top", 7.0)];
        run.push("q", hits(&given)).expect("run");
        let order: Vec<&str> = run.get("q").expect("q").iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(order, ["top", "d9", "d10", "é", "z", "low"]);
    }

    #[test]
    fn queries_keep_insertion_order() {
        let mut run = Run::new();
        for query in ["z", "a", "m"] {
            run.push(query, hits(&[(query, 1.0)])).expect("run");
        }
        let order: Vec<&str> = run.iter().map(|(query, _)| query).collect();
        assert_eq!(order, ["z", "a", "m"]);
        assert_eq!(run.get("m").expect("m")[0].0, "m");
        assert!(run.get("x").is_none());
    }

    #[test]
    fn refused_results_leave_the_run_unchanged() {
        let mut run = Run::new();
        run.push("q", hits(&[("a", 1.0)])).expect("run");
        let query = || "q".to_owned();
        let again = run.push("q", Vec::new());
        assert_eq!(again, Err(RunError::DuplicateQuery { query: query() }));
        let twice = run.push("r", hits(&[("a", 1.0), ("b", 2.0), ("a", 3.0)]));
        assert!(
            matches!(twice, Err(RunError::DuplicateDocument { document, .. }) if document == "a")
        );
        for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let refused = run.push("r", hits(&[("a", 1.0), ("b", score)]));
            assert!(
                matches!(refused, Err(RunError::NotFinite { document, .. }) if document == "b")
            );
        }
        assert_eq!(run.len(), 1);
        assert!(run.get("r").is_none());
    }

    #[test]
    fn the_earliest_repeat_is_found() {
        let list = hits(&[("z", 0.0), ("a", 0.0), ("z", 0.0), ("z", 0.0), ("a", 0.0)]);
        assert_eq!(first_repeat(&list), Some((0, 2)));
        assert_eq!(first_repeat(&list[..2]), None);
    }
}
