//! Builds collections, brings them to a state, and asks them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, Metric, Payload,
    PayloadType, Point, PointId, QueryRequest, QueryResponse, VectorField, VectorKind,
};

use super::cell::{Ask, Demand, Measured, Outcome, Setting, State, estimate};
use super::data::{Data, Questions, Recipe, Write};
use super::oracle::Truth;

pub const FIELD: &str = "v";
/// Segments of so many rows have an index.
const INDEX_ROWS: u32 = 1_024;

/// Which queries come before the cells are measured, so that what can be learned from them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// None, and those that are measured are not learned from either: a cell does not depend on
    /// those before it, nor on what the background has done between the two.
    None,
    /// All, once.
    All,
    /// Those of the first kind, so often that nothing is learned again while cells are measured.
    First,
}

/// Cells of one collection.
pub struct Plan {
    pub setting: Setting,
    pub rehearsal: Rehearsal,
    pub cells: Vec<Cell>,
}

/// What is asked of a collection.
pub struct Cell {
    /// Position of the questions in the data set.
    pub questions: usize,
    pub k: usize,
    pub ask: Ask,
    pub name: String,
}

/// A data set with the exact answers, which are found once for each metric.
pub struct Bench<'a> {
    pub recipe: &'a Recipe,
    pub data: Data,
    live: BTreeMap<u32, u32>,
    truths: BTreeMap<(String, usize), Truth>,
    /// What was read for the answers: sources of scans and searches.
    pub sources: BTreeSet<String>,
}

impl<'a> Bench<'a> {
    pub fn new(recipe: &'a Recipe, data: Data) -> Self {
        let live = data.live();
        Self { recipe, data, live, truths: BTreeMap::new(), sources: BTreeSet::new() }
    }

    /// Takes exact answers that the data set brings.
    pub fn know(&mut self, questions: usize, metric: Metric, best: Vec<Vec<u32>>) {
        let asked = (&self.data, &self.data.questions[questions]);
        let truth = Truth::from_rows(asked, metric, best);
        self.truths.insert((format!("{metric:?}"), questions), truth);
    }

    fn truth(&mut self, questions: usize, metric: Metric) {
        let Self { data, live, truths, .. } = self;
        let key = (format!("{metric:?}"), questions);
        truths
            .entry(key)
            .or_insert_with(|| Truth::new(data, live, &data.questions[questions], metric));
    }

    /// Builds a collection and measures its cells.
    pub fn run(&mut self, plan: &Plan) -> Vec<Outcome> {
        let folder = tempfile::tempdir().unwrap();
        let learns = plan.rehearsal != Rehearsal::None;
        let built = build(&self.data, self.recipe, &plan.setting, learns, folder.path())
            .and_then(|built| self.rehearse(plan, &built.1).map(|()| built));
        let mut outcomes = Vec::new();
        for cell in &plan.cells {
            self.truth(cell.questions, plan.setting.metric);
            let measured = match &built {
                Ok((_database, collection)) => self.measure(collection, plan.setting.metric, cell),
                Err(error) => Err(error.clone()),
            };
            outcomes.push(Outcome {
                data: self.recipe.name,
                seed: self.recipe.seed(),
                name: cell.name.clone(),
                demand: demand(plan, cell, self.recipe.name == "plain"),
                measured,
            });
        }
        outcomes
    }

    fn rehearse(&self, plan: &Plan, collection: &Collection) -> Result<(), String> {
        let kinds = &self.data.questions[..];
        let (kinds, times) = match plan.rehearsal {
            Rehearsal::None => return Ok(()),
            Rehearsal::All => (kinds, 1),
            Rehearsal::First => (&kinds[..1], 24),
        };
        for questions in kinds {
            let query =
                |query| QueryRequest::new(FIELD, questions.rows.vector(query, self.data.kind));
            let requests: Vec<QueryRequest> = (0..questions.rows.len()).map(query).collect();
            for _ in 0..times {
                ask(collection, &requests)?;
            }
        }
        // Waits for the work in the background.
        collection.optimize().map_err(|error| format!("optimize: {error}"))
    }

    fn measure(
        &mut self,
        collection: &Collection,
        metric: Metric,
        cell: &Cell,
    ) -> Result<Measured, String> {
        let questions = &self.data.questions[cell.questions];
        let kind = self.data.kind;
        let request = |query: usize| {
            let request = QueryRequest::new(FIELD, questions.rows.vector(query, kind));
            let filter = questions.keep[query].filter();
            cell.ask.request(QueryRequest { filter, ..request.limit(cell.k) })
        };
        let mut requests: Vec<QueryRequest> = (0..questions.rows.len()).map(request).collect();
        requests[0].explain = true;
        let answers = ask(collection, &requests)?;
        let truth = &self.truths[&(format!("{metric:?}"), cell.questions)];
        let (mut recalls, mut known) = (Vec::new(), Vec::new());
        for (query, answer) in answers.iter().enumerate() {
            let rows = self.rows(questions, query, answer)?;
            let recall = truth.recall(&self.data, questions, query, cell.k, &rows)?;
            recalls.push(recall);
            known.extend(estimate(answer).map(|estimate| f64::from(estimate) - recall));
        }
        self.sources.extend(sources(&answers[0]));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let flattery = (!known.is_empty()).then(|| mean(&known));
        let distinct = truth.distinct;
        Ok(Measured { recall: mean(&recalls), flattery, known: known.len(), distinct })
    }

    /// The rows of hits.
    ///
    /// # Errors
    /// If one was deleted or does not match the filter, or a score is no number.
    fn rows(
        &self,
        questions: &Questions,
        query: usize,
        answer: &QueryResponse,
    ) -> Result<Vec<u32>, String> {
        let row = |hit: &lanner::Hit| {
            let row = match hit.point.id {
                PointId::Number(id) => self.live.get(&(id as u32)).copied(),
                PointId::Text(_) => None,
            };
            let row =
                row.ok_or_else(|| format!("query {query}: {:?} is no point", hit.point.id))?;
            if !questions.keep[query].keeps(self.data.facts[row as usize]) {
                return Err(format!("query {query}: {:?} does not match", hit.point.id));
            }
            if !hit.score.is_finite() {
                return Err(format!("query {query}: score {}", hit.score));
            }
            Ok(row)
        };
        answer.hits.iter().map(row).collect()
    }
}

fn demand(plan: &Plan, cell: &Cell, is_easy: bool) -> Demand {
    match Demand::of(&plan.setting, cell.ask, is_easy) {
        Demand::Recall(target) if plan.rehearsal == Rehearsal::All => Demand::CloseRecall(target),
        demand => demand,
    }
}

fn ask(collection: &Collection, requests: &[QueryRequest]) -> Result<Vec<QueryResponse>, String> {
    let answers = collection.query_batch(requests, Deadline::NEVER);
    answers.map_err(|error| format!("query: {error}"))
}

/// What was scanned or searched, without its parameters: `vectors`, `codes`, `graph`, `ivf`.
fn sources(answer: &QueryResponse) -> impl Iterator<Item = String> {
    let stages = answer.explanation.iter().flat_map(|explanation| &explanation.stages);
    let read = stages.filter(|stage| ["scan", "search"].contains(&stage.name.as_str()));
    read.filter_map(|stage| stage.source.split(' ').next().map(str::to_owned))
}

fn config(data: &Data, setting: &Setting, learns: bool) -> CollectionConfig {
    let dimension = data.dimension();
    let field = if data.kind == VectorKind::Single {
        VectorField::single(dimension, setting.metric)
    } else if setting.metric == Metric::L2 || dimension >= 100 {
        VectorField::multi(dimension, setting.metric)
    } else {
        // Smaller than the default, so that a collection is built in a second.
        let encoding = "fde:repetitions=4:planes=3".parse().unwrap();
        VectorField::multi(dimension, setting.metric).encoded(encoding)
    };
    let field = field.compressed(setting.compression.parse().unwrap());
    let mut field = field.indexed(setting.index.as_str().parse().unwrap());
    if !learns {
        field.recent_queries = 0;
    }
    CollectionConfig::new()
        .with_field(FIELD, field)
        .with_payload("cluster", PayloadType::Integer)
        .with_payload("rank", PayloadType::Integer)
}

fn options(state: State) -> DatabaseOptions {
    let options = DatabaseOptions::new().seal_bytes(1 << 30);
    match state {
        // Segments that may not grow are not merged.
        State::Sealed => options.index_rows(u32::MAX).segment_bytes(1),
        _ => options.index_rows(INDEX_ROWS),
    }
}

/// Writes a data set into a new collection, which may learn from the queries that come, and brings
/// it to the state of the setting.
pub fn build(
    data: &Data,
    recipe: &Recipe,
    setting: &Setting,
    learns: bool,
    folder: &Path,
) -> Result<(Database, Collection), String> {
    let failed = |error: lanner::Error| format!("building {}: {error}", recipe.name);
    let database = options(setting.state).open(folder).map_err(failed)?;
    let collection =
        database.create_collection("c", config(data, setting, learns)).map_err(failed)?;
    let has_seals = data.before.iter().any(|write| matches!(write, Write::Seal));
    let half = data.before.len().div_ceil(2);
    let parts: Vec<&[Write]> = match setting.state {
        State::Memory | State::Indexed => vec![&data.before[..]],
        _ if has_seals => data.before.split(|write| matches!(write, Write::Seal)).collect(),
        State::Sealed => vec![&data.before[..]],
        State::Merged | State::Reopened => data.before.chunks(half.max(1)).collect(),
    };
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        write(&collection, data, part).map_err(failed)?;
        if setting.state != State::Memory {
            collection.flush().map_err(failed)?;
        }
    }
    if setting.state.has_index() {
        collection.optimize().map_err(failed)?;
    }
    write(&collection, data, &data.after).map_err(failed)?;
    if setting.state == State::Reopened {
        drop((collection, database));
        let database = options(setting.state).open(folder).map_err(failed)?;
        let collection = database.collection("c").map_err(failed)?;
        return Ok((database, collection));
    }
    Ok((database, collection))
}

fn write(collection: &Collection, data: &Data, writes: &[Write]) -> lanner::Result<()> {
    const BATCH: usize = 1_000;
    let is_put = |write: &Write| matches!(write, Write::Put { .. });
    let alike = writes.chunk_by(|a, b| is_put(a) == is_put(b));
    for batch in alike.flat_map(|writes| writes.chunks(BATCH)) {
        let points = batch.iter().filter_map(|write| match *write {
            Write::Put { id, row } => Some(point(data, id, row)),
            _ => None,
        });
        let points: Vec<Point> = points.collect();
        if !points.is_empty() {
            let mut builder = collection.batch();
            for point in points {
                builder.push(point)?;
            }
            collection.upsert_batch(builder.finish(), Durability::Buffered)?;
            continue;
        }
        let ids = batch.iter().filter_map(|write| match *write {
            Write::Delete { id } => Some(PointId::from(u64::from(id))),
            _ => None,
        });
        let ids: Vec<PointId> = ids.collect();
        if !ids.is_empty() {
            collection.delete(ids, Durability::Buffered)?;
        }
    }
    Ok(())
}

fn point(data: &Data, id: u32, row: u32) -> Point {
    let payload: Payload = data.facts[row as usize].payload();
    Point::new(u64::from(id))
        .with_vector(FIELD, data.rows.vector(row as usize, data.kind))
        .with_payload(payload)
}
