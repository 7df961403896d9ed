//! `lanner beir`: retrieval quality and speed, judged the way BEIR does.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::credentials::CredentialArguments;
use super::error::{CliError, Result};
use super::fields;
use super::input::{Arrays, Column};
use super::jobs;
use super::output::{scratch, write_json};
use super::progress;
use super::query::ParamArguments;
use super::writing::write_all;
use lanner::{
    CollectionConfig, CollectionInfo, Compression, Durability, ElementType, Metric, PointId,
    Primary, QueryParams, QueryRequest, SegmentInfo, VectorField, VectorKind,
};
use lanner_client::Backend;
use lanner_client::Embedded;
use lanner_client::Remote;
use lanner_eval::{
    BeirDataset, IdList, Judge, LatencyRecorder, Report, Run, System, TableStyle, best, compare,
    comparison_table, prepare_run, save_per_query,
};

/// Measure retrieval quality and speed on a BEIR data set with given embeddings.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner beir --dataset nfcorpus --corpus-vectors corpus.npy --query-vectors queries.npy \\
      --tokens tokens.npy,offsets.npy --query-tokens qtokens.npy,qoffsets.npy --run run.trec

The folder has corpus.jsonl, queries.jsonl and qrels/<split>.tsv. Rows belong to the ids of
`corpus.ids` and `queries.ids` beside the vectors, else to the lines of the .jsonl files (of
queries.jsonl all, or the judged ones alone). Documents are sealed, merged and indexed before they are
searched, so that few are measured as many would be. Prints nDCG@10, MAP@100, MRR@10, Recall@10 and
@100 as trec_eval defines them, as far as --limit goes, indexing rate, latencies, queries per second,
and the bytes of a document that searches read from. With vectors and tokens
both are measured, tokens by their encodings (multi) and by exact MaxSim (multi-exact), and the run
files are FILE.single, FILE.multi and FILE.multi-exact. Each is then compared with --reference: p is the
two-sided p-value of a paired randomization test over the queries, exact for up to 16 queries that
differ, otherwise of 100,000 samples, and not corrected for several comparisons. Without --data and --server it works in a
temporary folder.")]
pub struct Beir {
    /// BEIR folder
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Judgements to use, the name of a file in qrels/ without .tsv
    #[arg(long, default_value = "test")]
    split: String,
    /// One vector a document, .npy
    #[arg(
        long,
        value_name = "FILE",
        requires = "query_vectors",
        required_unless_present = "tokens"
    )]
    corpus_vectors: Option<PathBuf>,
    /// One vector a query, .npy
    #[arg(long, value_name = "FILE", requires = "corpus_vectors")]
    query_vectors: Option<PathBuf>,
    /// Many vectors a document: .npy matrix and .npy offsets
    #[arg(long, value_name = "FILE,OFFSETS", requires = "query_tokens", value_parser = pair)]
    tokens: Option<(PathBuf, PathBuf)>,
    /// Many vectors a query: .npy matrix and .npy offsets
    #[arg(long, value_name = "FILE,OFFSETS", requires = "tokens", value_parser = pair)]
    query_tokens: Option<(PathBuf, PathBuf)>,
    /// Ids of the documents, one a line, in the order of rows
    #[arg(long, value_name = "FILE")]
    corpus_ids: Option<PathBuf>,
    /// Ids of the queries, one a line, in the order of rows
    #[arg(long, value_name = "FILE")]
    query_ids: Option<PathBuf>,
    /// How vectors are compared: dot, cosine or l2
    #[arg(long, default_value = "dot", value_parser = fields::metric)]
    metric: Metric,
    /// Store vectors in half precision
    #[arg(long)]
    half_precision: bool,
    /// How single vectors are compressed; see `lanner create --help`
    #[arg(long, default_value = "auto")]
    compression: Compression,
    /// How encodings and tokens are compressed; none measures exact MaxSim alone
    #[arg(long, value_name = "COMPRESSION", default_value = "auto")]
    token_compression: Compression,
    #[command(flatten)]
    params: ParamArguments,
    /// Documents to retrieve a query
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=9_999))]
    limit: u16,
    /// Database folder
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data: Option<PathBuf>,
    /// Address of a running server
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    #[command(flatten)]
    credentials: CredentialArguments,
    /// Collection to create; by default named after the folder
    #[arg(long)]
    collection: Option<String>,
    /// The collection is there already: only query it
    #[arg(long)]
    reuse: bool,
    /// Query what was written as it is: what is in memory is scanned exactly
    #[arg(long)]
    no_optimize: bool,
    /// Write a TREC run file
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// Write every measure of every query: tab-separated system, measure, query-id and value
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
    /// What the others are compared with: single, multi or multi-exact, or best, the one with the
    /// highest nDCG@10 [default: the first]
    #[arg(long, value_name = "SYSTEM")]
    reference: Option<String>,
    /// Write the report as JSON (an array if vectors and tokens are measured)
    #[arg(long, value_name = "FILE")]
    json_report: Option<PathBuf>,
}

impl Beir {
    pub fn run(self) -> Result<()> {
        let temporary = match (&self.data, &self.server) {
            (None, None) => Some(scratch()?),
            _ => None,
        };
        let backend: Box<dyn Backend> = match (&self.data, &self.server, &temporary) {
            (Some(folder), _, _) => Box::new(Embedded::open(folder)?),
            (_, Some(address), _) => {
                Box::new(Remote::connect(address, &self.credentials.credentials())?)
            }
            (_, _, Some(folder)) => Box::new(Embedded::open(folder.path())?),
            _ => return Err(CliError::Usage("give --data or --server".into())),
        };
        let experiment = self.experiment()?;
        // What cannot be written is known before the work.
        let modes: Vec<&str> = experiment.modes.iter().map(|mode| mode.name).collect();
        for path in self.run_paths(&modes) {
            let judged = experiment.dataset.queries().iter().map(|query| query.id.as_str());
            prepare_run(&path, judged, experiment.corpus_ids.1.iter().map(String::as_str))?;
        }
        if let Some(path) = &self.per_query {
            prepare_run(path, [], [])?;
        }
        let reference = Reference::new(self.reference.as_deref(), &modes)?;
        let mut systems = experiment.measure(&*backend)?;
        let at = reference.position(&systems);
        compare(&mut systems, at);
        self.report(&modes, &systems)
    }

    /// Prints the table of the systems and writes the files that were asked for.
    fn report(&self, modes: &[&str], systems: &[System]) -> Result<()> {
        let reports: Vec<Report> = systems.iter().map(|system| system.report.clone()).collect();
        println!("{}", comparison_table(&reports, TableStyle::Plain));
        if let Some(path) = &self.json_report {
            match reports.as_slice() {
                [report] => write_json(path, report)?,
                reports => write_json(path, reports)?,
            }
        }
        for (path, system) in self.run_paths(modes).iter().zip(systems) {
            system.run.save(path, "lanner")?;
        }
        if let Some(path) = &self.per_query {
            save_per_query(path, systems)?;
        }
        Ok(())
    }

    /// Where the runs of these modes go, if anywhere: several get the names of their modes.
    fn run_paths(&self, modes: &[&str]) -> Vec<PathBuf> {
        match (&self.run, modes) {
            (None, _) => Vec::new(),
            (Some(path), [_]) => vec![path.clone()],
            (Some(path), modes) => {
                modes.iter().map(|mode| format!("{}.{mode}", path.display()).into()).collect()
            }
        }
    }

    /// Whether a mode searches in another way than exactly, so that both are worth measuring.
    fn compares(&self, mode: &Mode) -> bool {
        mode.corpus.kind() == VectorKind::Multi
            && self.token_compression.primary != Primary::None
            && self.metric != Metric::L2
            && !self.params.params().exact
    }

    fn experiment(&self) -> Result<Experiment> {
        let mut modes = Vec::new();
        if let (Some(corpus), Some(queries)) = (&self.corpus_vectors, &self.query_vectors) {
            modes.push(Mode {
                name: "single",
                field: "text",
                corpus: Column::single("text", corpus)?,
                queries: Column::single("text", queries)?,
                exact: false,
            });
        }
        if let (Some((corpus, starts)), Some((queries, query_starts))) =
            (&self.tokens, &self.query_tokens)
        {
            modes.push(Mode {
                name: "multi",
                field: "tokens",
                corpus: Column::multi("tokens", corpus, starts)?,
                queries: Column::multi("tokens", queries, query_starts)?,
                exact: false,
            });
        }
        let compared = modes.last().filter(|mode| self.compares(mode)).map(Mode::exactly);
        modes.extend(compared.transpose()?);
        let dataset = BeirDataset::open(&self.dataset, &self.split)?;
        let name = match &self.collection {
            Some(name) => name.clone(),
            None => collection_name(&self.dataset),
        };
        let (corpus_ids, query_ids) = ids(&dataset, &modes, &self.corpus_ids, &self.query_ids)?;
        Ok(Experiment {
            folder: collection_name(&self.dataset),
            collection: name,
            dataset,
            corpus_ids,
            query_ids,
            metric: self.metric,
            element: if self.half_precision { ElementType::F16 } else { ElementType::F32 },
            limit: usize::from(self.limit),
            compression: self.compression,
            token_compression: self.token_compression,
            params: self.params.params(),
            reuse: self.reuse,
            optimize: !self.no_optimize,
            modes,
        })
    }
}

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

/// One kind of embeddings of a data set.
pub struct Mode {
    pub name: &'static str,
    pub field: &'static str,
    pub corpus: Column,
    pub queries: Column,
    /// Whether every document is scored by its vectors.
    pub exact: bool,
}

impl Mode {
    /// The same embeddings, searched exactly.
    fn exactly(&self) -> Result<Self> {
        let (corpus, queries) = (self.corpus.reopen()?, self.queries.reopen()?);
        Ok(Self { name: "multi-exact", field: self.field, corpus, queries, exact: true })
    }
}

/// The system that the others are compared with.
enum Reference {
    At(usize),
    /// The one with the highest nDCG@10.
    Best,
}

impl Reference {
    fn new(name: Option<&str>, modes: &[&str]) -> Result<Self> {
        let Some(name) = name else { return Ok(Self::At(0)) };
        match modes.iter().position(|mode| *mode == name) {
            Some(at) => Ok(Self::At(at)),
            None if name == "best" => Ok(Self::Best),
            None => Err(CliError::Usage(format!(
                "--reference: expected best or one of {}, got {name:?}",
                modes.join(", ")
            ))),
        }
    }

    fn position(&self, systems: &[System]) -> usize {
        match self {
            Self::At(at) => *at,
            Self::Best => best(systems),
        }
    }
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
            let exact = mode.exact || self.params.exact;
            if let Some(bytes) = searched_bytes(&info, mode.field, exact) {
                report = report.with_bytes(bytes);
            }
            system.report = report;
            systems.push(system);
        }
        Ok(systems)
    }

    fn ingest(&mut self, backend: &dyn Backend) -> Result<()> {
        let mut config = CollectionConfig::new();
        let mut columns = Vec::new();
        for mode in self.modes.iter_mut().filter(|mode| !mode.exact) {
            let field = VectorField {
                kind: mode.corpus.kind(),
                element: self.element,
                compression: match mode.corpus.kind() {
                    VectorKind::Multi => self.token_compression,
                    VectorKind::Single => self.compression,
                },
                ..VectorField::single(mode.corpus.dimension(), self.metric)
            };
            config = config.with_field(mode.field, field);
            columns.push(mode.corpus.reopen()?);
        }
        let (path, ids) = &self.corpus_ids;
        let ids = ids.iter().map(|id| PointId::from(id.as_str())).collect();
        let mut source = Arrays::new(columns, Some((path.clone(), ids)), None)?;
        backend.create(&self.collection, &config, &BTreeMap::new())?;
        write_all(backend, &self.collection, &mut source, 1000, Durability::Synced)?;
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
        let (path, ids) = &self.query_ids;
        if ids.len() != mode.queries.rows() {
            return Err(CliError::Usage(format!(
                "`{}` has {} rows, but `{}` has {} ids, of which {} are judged",
                mode.queries.path().display(),
                mode.queries.rows(),
                path.display(),
                ids.len(),
                self.dataset.queries().len()
            )));
        }
        let rows: HashMap<&str, usize> =
            ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        let judged: Vec<&str> = self
            .dataset
            .queries()
            .iter()
            .map(|query| query.id.as_str())
            .filter(|id| self.dataset.qrels().get(id).is_some())
            .collect();
        let bar = progress::bar("querying", judged.len() as u64);
        let mut run = Run::new();
        for id in judged {
            let row = *rows.get(id).ok_or_else(|| {
                CliError::Usage(format!("`{}` has no id {id:?}, which is judged", path.display()))
            })?;
            let vector = mode.queries.read(row..row + 1)?.swap_remove(0);
            // One more, since a document that is the query itself is not counted.
            let exact = mode.exact || self.params.exact;
            let request = QueryRequest {
                params: QueryParams { exact, ..self.params },
                ..QueryRequest::new(mode.field, vector).limit(self.limit + 1)
            };
            let started = Instant::now();
            let answer = backend.query(&self.collection, &request)?;
            latencies.record(started.elapsed());
            let hits = answer.hits.iter().map(|hit| (text(&hit.point.id), hit.score));
            run.push(id, hits.filter(|(found, _)| found != id).take(self.limit).collect())?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(run)
    }
}

/// Bytes of all documents that searches of a field read from; none if some are in memory.
fn searched_bytes(info: &CollectionInfo, field: &str, exact: bool) -> Option<u64> {
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
    let beside = |column: Option<&Column>, name: &str| {
        let path = column?.path().with_file_name(name);
        path.exists().then_some(path)
    };
    let corpus =
        corpus.clone().or_else(|| beside(modes.first().map(|mode| &mode.corpus), "corpus.ids"));
    let queries =
        queries.clone().or_else(|| beside(modes.first().map(|mode| &mode.queries), "queries.ids"));
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
            let rows = modes.first().map(|mode| mode.queries.rows());
            let ids = match rows == Some(judged.len()) {
                true => judged.iter().map(|query| query.id.clone()).collect(),
                false => dataset.query_ids().to_vec(),
            };
            ("queries.jsonl".into(), ids)
        }
    };
    Ok((corpus, queries))
}

/// The folder's name, as a collection can be called.
fn collection_name(folder: &Path) -> String {
    let name = folder
        .canonicalize()
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().to_lowercase()));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let name: String = name
        .unwrap_or_else(|| "beir".to_owned())
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(lanner::limits::MAX_NAME_BYTES)
        .collect();
    if name.is_empty() { "beir".to_owned() } else { name }
}

fn pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (first, second) =
        text.split_once(',').ok_or_else(|| format!("expected FILE,OFFSETS, got {text:?}"))?;
    Ok((first.into(), second.into()))
}
