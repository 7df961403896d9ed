//! Queries on text fields: BM25 over the indexes of all segments, with the statistics of all live rows.
//!
//! Every row that matches is found, so there is nothing to calibrate, and no recall to lose.

use std::collections::BTreeSet;
use std::time::Instant;

use roaring::RoaringBitmap;

use super::Deadline;
use super::bound::{check_request, hits, least};
use super::executor::micros;
use super::request::{Explanation, Hit, Query, QueryRequest, QueryResponse, Stage};
use super::second_stage::SecondStage;
use super::top_k::{Candidate, TopK};
use crate::error::Result;
use crate::field::text::{Bm25, Scored, Statistics, Steps, TextPart, TextSearch, TextTerms};
use crate::model::{CollectionConfig, Condition, InvalidInput, Score, TextField, limits};
use crate::segment::{Location, RowFilter, Snapshot};

/// A validated query on a text field.
pub struct BoundText<'r> {
    request: &'r QueryRequest,
    words: Words,
    /// Minimum score of a hit.
    least: Score,
    second: Option<SecondStage>,
    /// The points that the query of the second stage is made from.
    exclude: BTreeSet<Location>,
    /// The request's filter, validated.
    pub condition: Option<Condition>,
}

/// Words to find in a text field.
pub struct Words {
    /// Index of the field.
    field: usize,
    settings: TextField,
    terms: TextTerms,
}

impl Words {
    /// Resolves a field and the words to find in it.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`].
    pub fn new(config: &CollectionConfig, field: &str, query: &Query) -> Result<Self> {
        let (field, settings) = config.text_field(field)?;
        let Query::Text(text) = query else {
            let expected = "words, for a text field";
            return Err(InvalidInput::mismatch("query", expected, "a vector or points").into());
        };
        let terms = TextTerms::new(settings, text)?;
        Ok(Self { field, settings: settings.clone(), terms })
    }

    /// Opens the field in all segments, and finds what scores need to know of them.
    fn prepare(&self, snapshot: &Snapshot, steps: &Steps<'_>) -> Result<Prepared> {
        let mut parts = Vec::with_capacity(snapshot.views.len());
        for (index, view) in (0..).zip(&snapshot.views) {
            steps.check()?;
            for part in view.reader.texts(self.field)? {
                let hidden = part.hidden(&view.deleted);
                parts.push((index, part, hidden));
            }
        }
        let terms = self.terms.clone().expanded(
            parts.iter().map(|(_, part, _)| part),
            None,
            limits::MAX_EXPANSIONS,
            steps,
        )?;
        let statistics =
            Statistics::new(&terms, parts.iter().map(|(_, part, hidden)| (part, hidden)), steps)?;
        let bm25 = Bm25::new(&self.settings, statistics);
        Ok(Prepared { parts, terms, bm25 })
    }

    /// Scores those of the given rows that match.
    ///
    /// # Errors
    /// If a sealed file is damaged, and as [`Deadline::check`].
    pub fn score(
        &self,
        snapshot: &Snapshot,
        rows: &BTreeSet<Location>,
        deadline: &Deadline,
    ) -> Result<(Vec<(Location, Score)>, Stage)> {
        let started = Instant::now();
        let go_on = &|| deadline.check();
        let steps = &Steps::new(go_on);
        let prepared = self.prepare(snapshot, steps)?;
        let mut found = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for (view, part, _) in &prepared.parts {
            deadline.check()?;
            let at = |row| Location { view: *view, row };
            let own = rows.range(at(part.first_row)..at(part.first_row.saturating_add(part.rows)));
            let own: Vec<u32> = own.map(|location| location.row - part.first_row).collect();
            if own.is_empty() {
                continue;
            }
            let search = TextSearch::new(&part.index, &prepared.terms, &prepared.bm25, steps)?;
            bytes += search.bytes();
            search.score(&own, &mut |row, score| {
                found.push((at(part.first_row + row), Score(score)));
            });
        }
        let scored = Scored { rows: rows.len() as u64, bytes };
        let stage = self.stage("rescore", scored, micros(started));
        Ok((found, stage))
    }

    fn stage(&self, name: &str, scored: Scored, micros: u64) -> Stage {
        let (analyzer, terms) = (self.settings.analyzer, self.terms.len());
        let word = if terms == 1 { "word" } else { "words" };
        let source = format!("text {analyzer}, {terms} {word}");
        Stage { name: name.into(), source, rows: scored.rows, bytes: scored.bytes, micros }
    }
}

/// The indexes of all segments, and a query prepared for them.
struct Prepared {
    /// Index of the view, part of it, and the part's hidden rows.
    parts: Vec<(u32, TextPart, RoaringBitmap)>,
    terms: TextTerms,
    bm25: Bm25,
}

impl<'r> BoundText<'r> {
    /// Validates a request on a text field.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] or [`crate::Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &'r QueryRequest,
    ) -> Result<Self> {
        check_request(request)?;
        let least = least(request.score_threshold)?;
        let words = Words::new(config, &request.field, &request.query)?;
        let mut exclude = BTreeSet::new();
        let second = SecondStage::new(snapshot, config, request, &mut exclude)?;
        let condition = request.filter.as_ref().map(|filter| filter.resolve(config)).transpose()?;
        Ok(Self { request, words, least, second, exclude, condition })
    }

    /// Whether all of its work can be done on the caller's thread.
    pub fn is_light(&self, snapshot: &Snapshot) -> bool {
        self.second.as_ref().is_none_or(|second| second.is_light(snapshot))
    }

    /// Executes the query.
    ///
    /// # Errors
    /// If a sealed file is damaged, and as [`Deadline::check`].
    pub fn answer(
        &self,
        snapshot: &Snapshot,
        config: &CollectionConfig,
        deadline: &Deadline,
    ) -> Result<QueryResponse> {
        let started = Instant::now();
        let filters = self.filters(snapshot)?;
        let filtered = micros(started);
        let (mut best, scored) = self.search(snapshot, &filters, deadline)?;
        let searched = micros(started) - filtered;
        best.retain(|candidate| !self.exclude.contains(&candidate.location));
        let mut stages = Vec::new();
        if self.request.explain {
            stages.extend(filter_stage(&filters, filtered));
            stages.push(self.words.stage("search", scored, searched));
        }
        if let Some(second) = &self.second {
            let (rescored, of_second) = second.rescore(snapshot, self.request, best, deadline)?;
            best = rescored;
            stages.extend(of_second);
        }
        let QueryRequest { limit, offset, include, explain, .. } = *self.request;
        let good = best.into_iter().filter(|candidate| candidate.score >= self.least);
        let hit = |Candidate { score, location, .. }: Candidate<'_>| {
            let point = snapshot.point(location, config.fields.keys(), include)?;
            Ok(Hit::new(point, score.0))
        };
        let hits = good.skip(offset).take(limit).map(hit).collect::<Result<_>>()?;
        Ok(QueryResponse {
            hits,
            sequence: snapshot.sequence,
            estimated_recall: Some(1.0),
            explanation: explain.then_some(Explanation { stages }),
        })
    }

    /// The filter prepared for each view, if there is one.
    fn filters<'s>(&self, snapshot: &'s Snapshot) -> Result<Vec<RowFilter<'s>>> {
        let Some(condition) = &self.condition else { return Ok(Vec::new()) };
        snapshot.views.iter().map(|view| view.reader.filter(condition)).collect()
    }

    fn search<'s>(
        &self,
        snapshot: &'s Snapshot,
        filters: &[RowFilter<'_>],
        deadline: &Deadline,
    ) -> Result<(Vec<Candidate<'s>>, Scored)> {
        let go_on = &|| deadline.check();
        let steps = &Steps::new(go_on);
        let prepared = self.words.prepare(snapshot, steps)?;
        let mut top = TopK::new(hits(self.request, self.exclude.len()), snapshot);
        // The threshold of the request is for the scores of the second stage, if there is one.
        let least = if self.second.is_some() { f32::NEG_INFINITY } else { self.least.0 };
        let mut sum = Scored::default();
        for (view, part, hidden) in &prepared.parts {
            deadline.check()?;
            let filter = filters.get(*view as usize);
            let search = TextSearch::new(&part.index, &prepared.terms, &prepared.bm25, steps)?;
            let threshold = least.max(top.threshold().0);
            let scored = search.search(threshold, &mut |row, score| {
                let here = part.first_row + row;
                if !hidden.contains(row) && filter.is_none_or(|filter| filter.matches(here)) {
                    top.offer(Score(score), Location { view: *view, row: here });
                }
                Ok(least.max(top.threshold().0))
            })?;
            sum = Scored { rows: sum.rows + scored.rows, bytes: sum.bytes + scored.bytes };
        }
        filters.iter().try_for_each(RowFilter::check)?;
        Ok((top.into_sorted(), sum))
    }
}

/// How the filter was applied: to the rows that scored well enough.
fn filter_stage(filters: &[RowFilter<'_>], micros: u64) -> Option<Stage> {
    let rows = filters.iter().map(|filter| filter.cardinality().expected).sum();
    let (name, source) = ("filter".into(), "checked".into());
    (!filters.is_empty()).then_some(Stage { name, source, rows, bytes: 0, micros })
}
