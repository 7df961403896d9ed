//! The second stage of a query: rescores the candidates of one field in another.
//!
//! The typical case is retrieval by one vector per point, followed by late interaction over tokens
//! (ColBERT re-ranking, arXiv 2004.12832, §3.5), but the fields may be of either kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use rayon::prelude::*;

use super::Deadline;
use super::bound::{Resolved, resolve};
use super::executor::{TASK_BYTES, micros};
use super::explain::vectors_of;
use super::request::{QueryRequest, Rescore, Stage};
use super::rescore::{rescore_rows, widen};
use super::scorer::Scorer;
use super::text::Words;
use super::top_k::{Candidate, TopK};
use crate::error::Result;
use crate::model::{CollectionConfig, Score};
use crate::segment::{Location, SegmentReader, Snapshot, View};

/// A validated [`super::Rescore`].
pub struct SecondStage {
    /// Maximum number of first-stage candidates to score.
    pub candidates: usize,
    by: By,
}

/// What the candidates are scored by.
enum By {
    Vectors(Box<ByVectors>),
    Words(Words),
}

/// Scores by a vector field.
struct ByVectors {
    /// Index of the field.
    field: usize,
    scorer: Scorer,
    candidates: usize,
    /// Score vectors even where there are secondary codes.
    exact: bool,
}

/// Rows of one view that are scored together, in ascending order.
struct Task {
    view: usize,
    rows: Vec<u32>,
}

impl SecondStage {
    /// Validates the second stage of a request, if it has one; adds the points that its query is
    /// made from to `exclude`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] inside of `rescore`, or [`crate::Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &QueryRequest,
        exclude: &mut BTreeSet<Location>,
    ) -> Result<Option<Self>> {
        let Some(Rescore { field, query, candidates }) = &request.rescore else { return Ok(None) };
        let candidates = *candidates;
        if config.text.contains_key(field) {
            let words = Words::new(config, field, query);
            let by = By::Words(words.map_err(|error| error.within("rescore"))?);
            return Ok(Some(Self { candidates, by }));
        }
        let resolved = resolve(snapshot, config, field, query);
        let resolved = resolved.map_err(|error| error.within("rescore"))?;
        let Resolved { field, scorer, examples } = resolved;
        exclude.extend(examples);
        let exact = request.params.exact;
        let by = By::Vectors(Box::new(ByVectors { field, scorer, candidates, exact }));
        Ok(Some(Self { candidates, by }))
    }

    /// Whether the candidates of any one view fit into a single task.
    pub fn is_light(&self, snapshot: &Snapshot) -> bool {
        match &self.by {
            By::Vectors(by) => by.is_light(snapshot),
            By::Words(_) => true,
        }
    }

    /// Rescores the first of `found`, which are sorted best first; on the current rayon pool if
    /// that is much work. Returns the hits that `request` needs, best first, and the stages for the
    /// explanation.
    ///
    /// # Errors
    /// As [`Deadline::check`], and if a sealed file is damaged.
    pub fn rescore<'s>(
        &self,
        snapshot: &'s Snapshot,
        request: &QueryRequest,
        found: Vec<Candidate<'s>>,
        deadline: &Deadline,
    ) -> Result<(Vec<Candidate<'s>>, Vec<Stage>)> {
        let mut top = TopK::new(request.offset + request.limit, snapshot);
        let locations = found.iter().take(self.candidates).map(|found| found.location);
        let stages = match &self.by {
            By::Vectors(by) => by.rescore(snapshot, locations.collect(), &mut top, deadline)?,
            By::Words(words) => {
                let (scored, stage) = words.score(snapshot, &locations.collect(), deadline)?;
                scored.into_iter().for_each(|(location, score)| top.offer(score, location));
                vec![stage]
            }
        };
        Ok((top.into_sorted(), stages))
    }
}

impl ByVectors {
    fn is_light(&self, snapshot: &Snapshot) -> bool {
        snapshot.views.iter().all(|view| self.candidates <= self.task_rows(view))
    }

    /// Offers the scores of these rows to `top`, and returns the stages for the explanation.
    fn rescore<'s>(
        &self,
        snapshot: &'s Snapshot,
        locations: Vec<Location>,
        top: &mut TopK<'s>,
        deadline: &Deadline,
    ) -> Result<Vec<Stage>> {
        let started = Instant::now();
        let tasks = self.tasks(snapshot, locations);
        let score = |task: &Task| -> Result<Vec<(u32, Score)>> {
            deadline.check()?;
            self.score(&*snapshot.views[task.view].reader, &task.rows)
        };
        let scored: Vec<Vec<(u32, Score)>> = match self.is_light(snapshot) {
            true => tasks.iter().map(score).collect::<Result<_>>()?,
            false => tasks.par_iter().map(score).collect::<Result<_>>()?,
        };
        let mut rows = vec![0; snapshot.views.len()];
        for (task, scored) in tasks.iter().zip(scored) {
            rows[task.view] += scored.len() as u64;
            for (row, score) in scored {
                top.offer(score, Location { view: task.view as u32, row });
            }
        }
        Ok(self.stages(snapshot, &rows, micros(started)))
    }

    fn tasks(&self, snapshot: &Snapshot, mut locations: Vec<Location>) -> Vec<Task> {
        locations.sort_unstable();
        let of_view = |part: &[Location]| {
            let view = part[0].view as usize;
            let rows: Vec<u32> = part.iter().map(|location| location.row).collect();
            let rows = rows.chunks(self.task_rows(&snapshot.views[view]));
            rows.map(|rows| Task { view, rows: rows.to_vec() }).collect::<Vec<_>>()
        };
        locations.chunk_by(|a, b| a.view == b.view).flat_map(of_view).collect()
    }

    /// Number of rows per task, of about the same work as a task of a scan.
    fn task_rows(&self, view: &View) -> usize {
        let rows = u64::from(view.reader.rows()).max(1);
        let row_bytes = view.reader.field(self.field).vector_bytes() / rows;
        let queries = (self.scorer.query().len() / self.scorer.dimension()) as u64;
        (TASK_BYTES / (row_bytes * queries).max(1)).clamp(4, 4096) as usize
    }

    /// The scores of those rows that have a vector in the field.
    fn score(&self, reader: &dyn SegmentReader, rows: &[u32]) -> Result<Vec<(u32, Score)>> {
        let (field, scorer) = (self.field, &self.scorer);
        let rows: Vec<u32> =
            rows.iter().copied().filter(|&row| has_vector(reader, field, row)).collect();
        let mut scored = Vec::with_capacity(rows.len());
        if !self.exact {
            reader.field(field).check_rescored(&rows)?;
            rescore_rows(reader, field, &rows, scorer, &mut |row, score| scored.push((row, score)));
            return Ok(scored);
        }
        rows.iter().try_for_each(|&row| reader.field(field).check_vector(row))?;
        let mut buffer = Vec::new();
        reader.field(field).visit_rows(&rows, &mut |row, elements| {
            scored.push((row, scorer.score(widen(elements, &mut buffer))));
        });
        Ok(scored)
    }

    /// The stages for the explanation, one per kind of source; `rows` holds the number of rows
    /// scored in each view.
    fn stages(&self, snapshot: &Snapshot, rows: &[u64], micros: u64) -> Vec<Stage> {
        let mut sources = BTreeMap::<String, (u64, u64)>::new();
        for (view, &rows) in snapshot.views.iter().zip(rows).filter(|&(_, &rows)| rows > 0) {
            let codes = view.reader.field(self.field).codes().filter(|_| !self.exact);
            let (source, bytes) = match codes.filter(|codes| codes.has_secondary()) {
                Some(codes) => {
                    ("secondary codes".into(), rows * codes.secondary_row_bytes() as u64)
                }
                None => {
                    let all = u64::from(view.reader.rows()).max(1);
                    let bytes = view.reader.field(self.field).vector_bytes() * rows / all;
                    (vectors_of(view, self.field), bytes)
                }
            };
            let sum = sources.entry(source).or_default();
            *sum = (sum.0 + rows, sum.1 + bytes);
        }
        let stage =
            |(source, (rows, bytes))| Stage { name: "rescore".into(), source, rows, bytes, micros };
        sources.into_iter().map(stage).collect()
    }
}

/// Whether a row has a vector in a field.
fn has_vector(reader: &dyn SegmentReader, field: usize, row: u32) -> bool {
    if let Some(absent) = reader.field(field).absent() {
        return !absent.contains(row);
    }
    // Fields with codes list their absent rows; visiting vectors might reconstruct them from codes.
    if reader.field(field).codes().is_some() {
        return true;
    }
    let mut found = false;
    reader.field(field).visit(row..row + 1, &mut |_, vectors, range| {
        found = !vectors.absent.contains(range.start as u32);
    });
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::error::Error;
    use crate::model::{Metric, MultiVector, Point, PointBatchBuilder, VectorField};
    use crate::segment::{MutableReader, MutableSegment};

    const POINTS: u64 = 600;

    fn multi(value: f32, rows: usize) -> MultiVector {
        MultiVector::from_flat(1, vec![value; rows]).unwrap()
    }

    /// Every other point has tokens, 75 on average; later ones score higher.
    fn snapshot(config: &CollectionConfig) -> Snapshot {
        let mut builder = PointBatchBuilder::new(config);
        for id in 0..POINTS {
            let point = Point::new(id).with_vector("v", vec![1.0]);
            let tokens = (id % 2 == 0).then(|| multi(id as f32, id as usize / 2 + 1));
            let point = match tokens {
                Some(tokens) => point.with_vector("m", tokens),
                None => point,
            };
            builder.push(point).unwrap();
        }
        let segment = Arc::new(MutableSegment::default());
        segment.append(builder.finish());
        let reader = Arc::new(MutableReader::new(segment, POINTS as u32));
        let views = vec![View { reader, deleted: Arc::default() }];
        Snapshot { sequence: 1, views, ..Snapshot::default() }
    }

    fn all(snapshot: &Snapshot) -> Vec<Candidate<'_>> {
        let mut top = TopK::new(POINTS as usize, snapshot);
        (0..POINTS as u32).for_each(|row| top.offer(Score(1.0), Location { view: 0, row }));
        top.into_sorted()
    }

    #[test]
    fn work_is_cut_into_tasks_and_stops_at_the_deadline() {
        let config = CollectionConfig::new()
            .with_field("m", VectorField::multi(1, Metric::Dot))
            .with_field("v", VectorField::single(1, Metric::Dot));
        let snapshot = snapshot(&config);
        // Half a megabyte is 17 rows of 300 bytes for 100 query tokens.
        for (tokens, tasks) in [(1, 1), (100, 36), (1800, 150)] {
            let request = QueryRequest::new("v", vec![1.0]).limit(3);
            let request = request.rescore("m", multi(1.0, tokens), POINTS as usize);
            let stage = SecondStage::new(&snapshot, &config, &request, &mut BTreeSet::new());
            let stage = stage.unwrap().unwrap();
            let locations = all(&snapshot).iter().map(|candidate| candidate.location).collect();
            let By::Vectors(by) = &stage.by else { panic!("a vector field") };
            let cut = by.tasks(&snapshot, locations);
            assert_eq!(cut.len(), tasks);
            assert_eq!(stage.is_light(&snapshot), tasks == 1);
            let rows: Vec<u32> = cut.into_iter().flat_map(|task| task.rows).collect();
            assert_eq!(rows, (0..POINTS as u32).collect::<Vec<_>>());

            let ask =
                |deadline: Deadline| stage.rescore(&snapshot, &request, all(&snapshot), &deadline);
            let (best, stages) = ask(Deadline::NEVER).unwrap();
            let rows: Vec<u32> = best.iter().map(|candidate| candidate.location.row).collect();
            assert_eq!((rows, stages[0].rows), (vec![598, 596, 594], POINTS / 2));
            let late = ask(Deadline::after(Duration::ZERO));
            assert!(matches!(late, Err(Error::DeadlineExceeded)));
        }
    }
}
