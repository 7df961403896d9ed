//! What BM25 needs to know of all texts of a collection.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, TERMINATED};

use super::cursor::postings;
use super::index::{Dictionary, Totals};
use super::steps::Steps;
use super::terms::{Leaf, Pattern};
use super::{TextPart, TextTerms};
use crate::error::Result;
use crate::model::Occur;

/// A row is looked up in postings instead of the other way round if this many postings come to one.
const LOOKUP_SHARE: u64 = 16;

/// Statistics of the live rows of a collection, so that scores do not depend on how these are spread
/// over segments, nor on rows that were deleted and not yet merged away.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Mean length of the texts of live rows that have one.
    pub average: f64,
    /// The inverse document frequency of each term or phrase of the query, times the number of times
    /// that the query has it.
    pub weights: Vec<f32>,
}

impl Statistics {
    /// Statistics for a query over parts with their hidden rows.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn new<'p>(
        terms: &TextTerms,
        parts: impl Iterator<Item = (&'p TextPart, &'p RoaringBitmap)> + Clone,
        steps: &Steps<'_>,
    ) -> Result<Self> {
        let totals = parts.clone().fold(Totals::default(), |sum, (part, hidden)| {
            let Totals { rows, length } = part.index.totals(hidden);
            Totals { rows: sum.rows + rows, length: sum.length + length }
        });
        let mut known = HashMap::new();
        let mut idf = |term: &str| -> Result<f64> {
            if let Some(&idf) = known.get(term) {
                return Ok(idf);
            }
            let n = frequency(term, parts.clone(), steps)?.min(totals.rows) as f64;
            // As in Lucene.
            let idf = ((totals.rows as f64 - n + 0.5) / (n + 0.5)).ln_1p();
            known.insert(term.to_owned(), idf);
            Ok(idf)
        };
        let mut weights = Vec::with_capacity(terms.leaves.len());
        for leaf in &terms.leaves {
            let weight = match leaf.occur {
                Occur::Excluded => 0.0,
                _ => of_leaf(leaf, &mut idf)? * f64::from(leaf.count),
            };
            weights.push(weight as f32);
        }
        let average = totals.length.max(0.0) / totals.rows.max(1) as f64;
        Ok(Self { average, weights })
    }
}

/// The inverse document frequency of a leaf: of a phrase the sum over its terms, of words that count as
/// one that of the most frequent.
fn of_leaf(leaf: &Leaf, idf: &mut dyn FnMut(&str) -> Result<f64>) -> Result<f64> {
    match &leaf.pattern {
        Pattern::Term(term) => idf(term),
        Pattern::Phrase { terms, .. } => {
            terms.iter().try_fold(0.0, |sum, (_, term)| Ok(sum + idf(term)?))
        }
        Pattern::Any(terms) => {
            let least =
                terms.iter().try_fold(f64::INFINITY, |least, (term, _)| -> Result<f64> {
                    Ok(least.min(idf(term)?))
                })?;
            Ok(if least.is_finite() { least } else { 0.0 })
        }
        Pattern::Prefix(_) | Pattern::Fuzzy { .. } => Ok(0.0),
    }
}

/// Number of live rows with a term: at the path where most have it, as in Lucene's
/// `CombinedFieldQuery`.
fn frequency<'p>(
    term: &str,
    parts: impl Iterator<Item = (&'p TextPart, &'p RoaringBitmap)> + Clone,
    steps: &Steps<'_>,
) -> Result<u64> {
    let paths = parts.clone().next().map_or(0, |(part, _)| part.index.dictionaries().len());
    let mut most = 0;
    for path in 0..paths {
        let mut rows = 0;
        for (part, hidden) in parts.clone() {
            if let Some(dictionary) = part.index.dictionaries().nth(path) {
                rows += live_frequency(dictionary, term, hidden, steps)?;
            }
        }
        most = most.max(rows);
    }
    Ok(most)
}

fn live_frequency(
    dictionary: Dictionary<'_>,
    term: &str,
    hidden: &RoaringBitmap,
    steps: &Steps<'_>,
) -> Result<u64> {
    let Some(mut list) = postings(dictionary, term, IndexRecordOption::Basic, &mut 0)? else {
        return Ok(0);
    };
    let all = u64::from(list.doc_freq());
    if hidden.is_empty() {
        return Ok(all);
    }
    let mut gone = 0;
    if hidden.len() * LOOKUP_SHARE < all {
        for row in hidden {
            steps.step()?;
            if list.doc() < row {
                list.seek(row);
            }
            gone += u64::from(list.doc() == row);
        }
    } else {
        while list.doc() != TERMINATED {
            steps.step()?;
            gone += u64::from(hidden.contains(list.doc()));
            list.advance();
        }
    }
    Ok(all - gone)
}
