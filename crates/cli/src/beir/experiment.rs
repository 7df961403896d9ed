//! What is measured of a data set, and how.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

use super::super::error::{CliError, Result};
use super::super::input::{Arrays, Column, Source};
use super::super::writing::write_all;
use super::super::{jobs, progress};
use super::corpus::{Texts, WithTexts};
use lanner::{
    CollectionConfig, CollectionInfo, Compression, Durability, ElementType, FusionMethod,
    FusionRequest, Hit, Metric, PointId, QueryParams, QueryRequest, SegmentInfo, TextField,
    TextQuery, VectorField, VectorKind,
};
use lanner_client::Backend;
use lanner_eval::{BeirDataset, IdList, Judge, LatencyRecorder, Run, System};

/// The text field of title and text.
const WORDS: &str = "words";

/// A BEIR data set, embeddings, and what to do with them.
pub struct Experiment {
    pub folder: String,
    pub collection: String,
    pub dataset: BeirDataset,
    pub modes: Vec<Mode>,
    pub corpus_ids: (PathBuf, Vec<String>),
    pub query_ids: (PathBuf, Vec<String>),
    pub metric: Metric,
    pub element: ElementType,
    pub limit: usize,
    pub compression: Compression,
    pub token_compression: Compression,
    pub params: QueryParams,
    pub reuse: bool,
    pub optimize: bool,
}

/// A way to search a data set.
pub struct Mode {
    pub name: &'static str,
    pub by: By,
}

/// What is searched for.
pub enum By {
    /// The words of the questions.
    Words(TextField),
    /// Embeddings.
    Vectors(Box<Embeddings>),
    /// The words and some embeddings, fused.
    Fused(Vec<Embeddings>, FusionMethod),
}

/// Embeddings of documents and queries.
pub struct Embeddings {
    pub corpus: Column,
    pub queries: Column,
    /// Whether every document is scored by its vectors.
    exact: bool,
}

impl Embeddings {
    fn reopen(&self, exact: bool) -> Result<Self> {
        Ok(Self { corpus: self.corpus.reopen()?, queries: self.queries.reopen()?, exact })
    }
}

impl Mode {
    /// A search for words.
    pub fn words(field: TextField) -> Self {
        Self { name: "text", by: By::Words(field) }
    }

    /// A search by embeddings; `corpus` has the name of their field.
    pub fn vectors(name: &'static str, corpus: Column, queries: Column) -> Self {
        Self { name, by: By::Vectors(Box::new(Embeddings { corpus, queries, exact: false })) }
    }

    /// The same embeddings, searched exactly.
    ///
    /// # Errors
    /// If their files cannot be opened once more.
    pub fn exactly(&self, name: &'static str) -> Result<Self> {
        let [own] = self.embeddings() else { return Err(no_embeddings()) };
        Ok(Self { name, by: By::Vectors(Box::new(own.reopen(true)?)) })
    }

    /// The embeddings of some modes, fused with the words.
    ///
    /// # Errors
    /// If their files cannot be opened once more.
    pub fn fused(name: &'static str, modes: &[&Self], method: FusionMethod) -> Result<Self> {
        let own = modes.iter().flat_map(|mode| mode.embeddings());
        let own = own.map(|own| own.reopen(own.exact)).collect::<Result<_>>()?;
        Ok(Self { name, by: By::Fused(own, method) })
    }

    /// Its embeddings.
    pub fn embeddings(&self) -> &[Embeddings] {
        match &self.by {
            By::Words(_) => &[],
            By::Vectors(own) => std::slice::from_ref(&**own),
            By::Fused(own, _) => own,
        }
    }

    fn embeddings_mut(&mut self) -> &mut [Embeddings] {
        match &mut self.by {
            By::Words(_) => &mut [],
            By::Vectors(own) => std::slice::from_mut(&mut **own),
            By::Fused(own, _) => own,
        }
    }
}

fn no_embeddings() -> CliError {
    CliError::Usage("a search for words has no vectors".into())
}

impl Experiment {
    /// Ingests the documents, asks all judged queries one by one, and judges the answers.
    pub fn measure(mut self, backend: &dyn Backend) -> Result<Vec<System>> {
        let started = Instant::now();
        if !self.reuse {
            self.ingest(backend)?;
        }
        let indexing = (!self.reuse).then(|| started.elapsed());
        let documents = self.corpus_ids.1.len();
        let info = backend.info(&self.collection)?;
        let modes = std::mem::take(&mut self.modes);
        let judge = Judge {
            dataset: &self.folder,
            split: self.dataset.split(),
            qrels: self.dataset.qrels(),
            documents,
            depth: self.limit,
        };
        let mut systems = Vec::new();
        for mut mode in modes {
            let started = Instant::now();
            let mut latencies = LatencyRecorder::new();
            let run = self.ask(backend, &mut mode, &mut latencies)?;
            let elapsed = started.elapsed();
            let mut system = judge.judge(mode.name, run);
            let mut report = system.report.with_latencies(&latencies, elapsed);
            if let Some(indexing) = indexing {
                report = report.with_indexing(indexing);
            }
            if let Some(bytes) = self.searched_bytes(&info, &mode) {
                report = report.with_bytes(bytes);
            }
            system.report = report;
            systems.push(system);
        }
        Ok(systems)
    }

    fn config(&self) -> Result<(CollectionConfig, Vec<Column>)> {
        let (mut config, mut columns) = (CollectionConfig::new(), Vec::new());
        for mode in &self.modes {
            match &mode.by {
                By::Words(field) => config = config.with_text(WORDS, field.clone()),
                By::Vectors(own) if !own.exact => {
                    let field = VectorField {
                        kind: own.corpus.kind(),
                        element: self.element,
                        compression: match own.corpus.kind() {
                            VectorKind::Multi => self.token_compression,
                            VectorKind::Single | VectorKind::Sparse => self.compression,
                        },
                        ..VectorField::single(own.corpus.dimension(), self.metric)
                    };
                    config = config.with_field(own.corpus.field(), field);
                    columns.push(own.corpus.reopen()?);
                }
                By::Vectors(_) | By::Fused(..) => {}
            }
        }
        Ok((config, columns))
    }

    fn ingest(&self, backend: &dyn Backend) -> Result<()> {
        let (config, columns) = self.config()?;
        let (path, ids) = &self.corpus_ids;
        let mut source: Box<dyn Source> = if columns.is_empty() {
            Box::new(Texts::new(&self.dataset, ids)?)
        } else {
            let ids = ids.iter().map(|id| PointId::from(id.as_str())).collect();
            let arrays = Arrays::new(columns, Some((path.clone(), ids)), None)?;
            match config.text.is_empty() {
                true => Box::new(arrays),
                false => Box::new(WithTexts::new(&self.dataset, arrays)?),
            }
        };
        backend.create(&self.collection, &config, &BTreeMap::new())?;
        write_all(backend, &self.collection, &mut *source, 1000, Durability::Synced)?;
        if self.optimize {
            jobs::wait(backend, &backend.optimize(&self.collection)?)?;
        }
        Ok(())
    }

    fn ask(
        &self,
        backend: &dyn Backend,
        mode: &mut Mode,
        latencies: &mut LatencyRecorder,
    ) -> Result<Run> {
        let rows = mode.embeddings().iter().map(|own| self.rows(&own.queries));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let queries = self.dataset.queries().iter();
        let judged: Vec<_> =
            queries.filter(|query| self.dataset.qrels().get(&query.id).is_some()).collect();
        let bar = progress::bar("querying", judged.len() as u64);
        let mut run = Run::new();
        for query in judged {
            let id = query.id.as_str();
            let by_vector = |(own, rows): (&mut Embeddings, &HashMap<&str, usize>)| {
                let path = self.query_ids.0.display();
                let unknown =
                    || CliError::Usage(format!("`{path}` has no id {id:?}, which is judged"));
                let row = *rows.get(id).ok_or_else(unknown)?;
                let vector = own.queries.read(row..row + 1)?.swap_remove(0);
                let params = QueryParams { exact: own.exact || self.params.exact, ..self.params };
                let request = QueryRequest::new(own.corpus.field(), vector);
                Ok(QueryRequest { params, ..request.limit(self.limit + 1) })
            };
            let by_vectors = mode.embeddings_mut().iter_mut().zip(&rows).map(by_vector);
            let by_vectors = by_vectors.collect::<Result<Vec<_>>>()?;
            // A question without words finds nothing by them.
            let words = (!query.text.is_empty()).then(|| {
                QueryRequest::new(WORDS, TextQuery::words(&query.text)).limit(self.limit + 1)
            });
            let started = Instant::now();
            let found = self.answer(backend, &mode.by, words, by_vectors)?;
            latencies.record(started.elapsed());
            let hits = found.iter().map(|hit| (text(&hit.point.id), hit.score));
            run.push(id, hits.filter(|(found, _)| found != id).take(self.limit).collect())?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(run)
    }

    /// The hits of a question: one more than wanted, since a document that is the query itself is not
    /// counted.
    fn answer(
        &self,
        backend: &dyn Backend,
        by: &By,
        words: Option<QueryRequest>,
        vectors: Vec<QueryRequest>,
    ) -> Result<Vec<Hit>> {
        let wanted = match by {
            By::Words(_) => words,
            By::Vectors(_) => vectors.into_iter().next(),
            By::Fused(_, method) => {
                let queries = words.into_iter().chain(vectors);
                let plain = FusionRequest::new(queries).limit(self.limit + 1);
                let request = FusionRequest { method: *method, ..plain };
                return Ok(backend.fuse(&self.collection, &request)?.hits);
            }
        };
        match wanted {
            Some(request) => Ok(backend.query(&self.collection, &request)?.hits),
            None => Ok(Vec::new()),
        }
    }

    /// The row of each query by its id.
    fn rows(&self, queries: &Column) -> Result<HashMap<&str, usize>> {
        let (path, ids) = &self.query_ids;
        if ids.len() != queries.rows() {
            return Err(CliError::Usage(format!(
                "`{}` has {} rows, but `{}` has {} ids, of which {} are judged",
                queries.path().display(),
                queries.rows(),
                path.display(),
                ids.len(),
                self.dataset.queries().len()
            )));
        }
        Ok(ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect())
    }

    /// Bytes of all documents that a mode reads from; none if some are in memory.
    fn searched_bytes(&self, info: &CollectionInfo, mode: &Mode) -> Option<u64> {
        let of = |own: &Embeddings| {
            vector_bytes(info, own.corpus.field(), own.exact || self.params.exact)
        };
        let vectors = mode.embeddings().iter().map(of).sum::<Option<u64>>()?;
        match mode.by {
            By::Vectors(_) => Some(vectors),
            By::Words(_) | By::Fused(..) => Some(vectors + text_bytes(info)?),
        }
    }
}

/// Bytes of all documents that searches of a vector field read from; none if some are in memory.
fn vector_bytes(info: &CollectionInfo, field: &str, exact: bool) -> Option<u64> {
    let field = info.config.fields.keys().position(|name| name == field)?;
    let of_segment = |segment: &SegmentInfo| {
        if segment.number.is_none() && segment.rows > 0 {
            return None;
        }
        let section = |file: &str, section: &str| -> Option<u64> {
            let file =
                segment.files.iter().find(|listed| listed.name == format!("{file}-{field}.sec"));
            let sections = file.map(|file| file.sections.iter());
            sections?.find(|(name, _)| name == section).map(|(_, bytes)| *bytes)
        };
        // Vectors that were dropped are made of secondary codes.
        let vectors = section("field", "vectors").filter(|&bytes| bytes > 0);
        let secondary = section("secondary", "secondary");
        match section("codes", "primary").filter(|_| !exact) {
            Some(primary) => Some(primary + secondary.or(vectors)?),
            None => vectors.or(secondary).or((segment.rows == 0).then_some(0)),
        }
    };
    info.segments.iter().map(of_segment).sum()
}

/// Bytes of the indexes of words, of which there is one field; none if some rows are in memory.
fn text_bytes(info: &CollectionInfo) -> Option<u64> {
    let of_segment = |segment: &SegmentInfo| match segment.number {
        None if segment.rows > 0 => None,
        _ => {
            let own = segment.files.iter().filter(|file| file.name.starts_with("text-"));
            Some(own.map(|file| file.size_bytes).sum::<u64>())
        }
    };
    info.segments.iter().map(of_segment).sum()
}

fn text(id: &PointId) -> String {
    match id {
        PointId::Number(number) => number.to_string(),
        PointId::Text(text) => text.to_string(),
    }
}

type NamedIds = (PathBuf, Vec<String>);

/// The ids of documents and queries: from the given file, from the one beside the vectors, or in
/// the order of the data set.
pub fn ids(
    dataset: &BeirDataset,
    modes: &[Mode],
    corpus: &Option<PathBuf>,
    queries: &Option<PathBuf>,
) -> Result<(NamedIds, NamedIds)> {
    let embeddings = modes.iter().flat_map(Mode::embeddings).next();
    let beside = |column: Option<&Column>, name: &str| {
        let path = column?.path().with_file_name(name);
        path.exists().then_some(path)
    };
    let corpus = corpus.clone().or_else(|| beside(embeddings.map(|own| &own.corpus), "corpus.ids"));
    let queries =
        queries.clone().or_else(|| beside(embeddings.map(|own| &own.queries), "queries.ids"));
    let corpus = match corpus {
        Some(path) => (path.clone(), IdList::open(&path)?.into_vec()),
        None => {
            let ids = dataset.documents()?.map(|document| Ok(document?.id));
            ("corpus.jsonl".into(), ids.collect::<Result<_>>()?)
        }
    };
    let queries = match queries {
        Some(path) => (path.clone(), IdList::open(&path)?.into_vec()),
        None => {
            let judged = dataset.queries();
            let rows = embeddings.map(|own| own.queries.rows());
            let ids = match rows == Some(judged.len()) {
                true => judged.iter().map(|query| query.id.clone()).collect(),
                false => dataset.query_ids().to_vec(),
            };
            ("queries.jsonl".into(), ids)
        }
    };
    Ok((corpus, queries))
}
