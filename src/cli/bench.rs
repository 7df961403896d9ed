//! `lanner bench`: recall and speed of compressions and re-ranking budgets on given vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tempfile::TempDir;

use super::embedded::Embedded;
use super::error::{CliError, Result};
use super::fields;
use super::ingest::ingest;
use super::input::{Arrays, Column};
use super::load;
use super::output::{scratch, write_json, write_text};
use super::progress;
use super::train;
use crate::evaluation::{
    Answered, LatencyRecorder, Load, Neighbours, NpyMatrix, SweepPoint, TableStyle, load_table,
    read_neighbours, recall_at, recall_qps_svg, sweep_table,
};
use crate::{
    CodecReport, Collection, CollectionConfig, Compression, Database, DatabaseOptions, Deadline,
    Durability, Metric, MultiVector, PointId, Primary, QueryRequest, VectorField,
};

const COLLECTION: &str = "bench";
const FIELD: &str = "v";
/// Queries that are answered together where only the answers matter.
const BATCH: usize = 256;

/// Measure recall and speed of compressions on given vectors.
#[derive(Args)]
#[command(after_help = "\
Writes the vectors into a temporary database for each compression, and asks all queries for each
number of candidates that are re-ranked: one at a time on one core, then on all cores, and with
--clients from so many at once, in this process and over gRPC on a port of this machine. Of several
runs the fastest counts. Recall is against --ground-truth, or an exact scan.

Example:
  lanner bench --base base.npy --queries queries.npy --metric cosine \\
      --compression none --compression auto --compression lvq4:192/lvq8/drop-raw \\
      --rerank 20,50,100 --markdown table.md --svg plot.svg")]
pub struct Bench {
    /// Vectors to search, .npy, one a row
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Vectors to search with, .npy, one a row
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Rows of the base nearest to each query, best first: .npy of integers
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
    /// Queries to train compression on, .npy; others than those that are measured
    #[arg(long, value_name = "FILE")]
    training_queries: Option<PathBuf>,
    /// How vectors are compared: dot, cosine or l2
    #[arg(long, default_value = "cosine", value_parser = fields::metric)]
    metric: Metric,
    /// Compressions to measure; see `lanner create --help`
    #[arg(long, default_values = ["none", "auto", "lvq8", "lvq4"])]
    compression: Vec<Compression>,
    /// Numbers of candidates to re-rank
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_value = "10,20,50,100,200")]
    rerank: Vec<usize>,
    /// Neighbours that count
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Runs of each measurement, of which the fastest counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Measure also so many clients at once, as threads and as connections to a gRPC server
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: Option<u16>,
    /// Write the measurements as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a plot of recall against queries per second as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Bench {
    pub fn run(self) -> Result<()> {
        let mut experiment = Experiment::new(self)?;
        let points = experiment.measure()?;
        println!("{}", sweep_table(&points, TableStyle::Plain));
        if let Some(table) = load_table(&points, TableStyle::Plain) {
            println!("{table}");
        }
        let arguments = &experiment.arguments;
        if let Some(path) = &arguments.json {
            write_json(path, &points)?;
        }
        if let Some(path) = &arguments.markdown {
            let load = load_table(&points, TableStyle::Markdown);
            let load = load.map_or_else(String::new, |table| format!("\n{table}"));
            write_text(path, &(sweep_table(&points, TableStyle::Markdown) + &load))?;
        }
        if let Some(path) = &arguments.svg {
            let name = arguments.base.file_name().unwrap_or_default().to_string_lossy();
            let plot = recall_qps_svg(&name, &points);
            write_text(path, &plot.map_err(|error| CliError::Usage(error.to_string()))?)?;
        }
        Ok(())
    }
}

/// The data, and what is asked of it.
struct Experiment {
    arguments: Bench,
    dimension: usize,
    rows: usize,
    queries: Vec<Vec<f32>>,
    training: Option<MultiVector>,
    truth: Option<Neighbours>,
    cores: usize,
}

/// What one way to ask gave.
struct Asked {
    seconds: f64,
    latencies: LatencyRecorder,
    found: Vec<Vec<u64>>,
}

/// A number of candidates, and what asking on one core, on all, and from many clients gave.
type Measured = (((Option<usize>, Asked), Asked), Option<Load>);

impl Experiment {
    fn new(arguments: Bench) -> Result<Self> {
        let base = NpyMatrix::open(&arguments.base)?;
        let mut matrix = NpyMatrix::open(&arguments.queries)?;
        let mut values = Vec::new();
        matrix.read_rows(0..matrix.rows(), &mut values)?;
        let (dimension, rows) = (base.cols(), base.rows());
        if matrix.cols() != dimension || matrix.rows() == 0 {
            let got = format!("[{}, {}]", matrix.rows(), matrix.cols());
            let detail = format!("expected queries of shape [n, {dimension}], got {got}");
            return Err(CliError::Usage(detail));
        }
        let truth = arguments.ground_truth.as_deref().map(read_neighbours).transpose()?;
        let least = *arguments.rerank.iter().min().unwrap_or(&arguments.k);
        if arguments.k == 0 || arguments.k > rows || least < arguments.k {
            let detail = format!(
                "expected k from 1 to {rows} and no rerank below it, got k = {} and rerank {least}",
                arguments.k
            );
            return Err(CliError::Usage(detail));
        }
        if let Some(truth) = &truth
            && (truth.queries() != matrix.rows() || truth.per_query() < arguments.k)
        {
            let detail = format!(
                "expected at least {} neighbours for {} queries in the ground truth, got {} for {}",
                arguments.k,
                matrix.rows(),
                truth.per_query(),
                truth.queries()
            );
            return Err(CliError::Usage(detail));
        }
        let training =
            arguments.training_queries.as_deref().map(train::read_queries).transpose()?;
        let queries = values.chunks_exact(dimension).map(<[f32]>::to_vec).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { arguments, dimension, rows, queries, training, truth, cores })
    }

    fn measure(&mut self) -> Result<Vec<SweepPoint>> {
        let truth = match self.truth.take() {
            Some(truth) => truth,
            None => self.exact_neighbours()?,
        };
        let mut points = Vec::new();
        for compression in self.arguments.compression.clone() {
            points.extend(self.measure_index(compression, &truth)?);
        }
        Ok(points)
    }

    /// Writes the base into a database of its own; returns it with the time it took.
    fn build(&self, compression: Compression) -> Result<(TempDir, Duration)> {
        let folder = scratch()?;
        let field = VectorField::single(self.dimension, self.arguments.metric);
        let config = CollectionConfig::new().with_field(FIELD, field.compressed(compression));
        let database = Database::open(folder.path())?;
        let queries = self.training.iter().filter(|_| compression.primary != Primary::None);
        let queries = queries.map(|queries| (FIELD.to_owned(), queries.clone())).collect();
        let collection = database.create_collection_with(COLLECTION, config, &queries)?;
        let column = Column::single(FIELD, &self.arguments.base)?;
        let mut source = Arrays::new(vec![column], None, None)?;
        let started = Instant::now();
        let backend = Embedded::new(database);
        ingest(&backend, COLLECTION, &mut source, 1000, Durability::Buffered)?;
        let spinner = progress::spinner(format!("{compression}: training, encoding"));
        collection.optimize()?;
        spinner.finish_and_clear();
        Ok((folder, started.elapsed()))
    }

    fn exact_neighbours(&self) -> Result<Neighbours> {
        let (folder, _) = self.build(Compression::none())?;
        let database = Database::open(folder.path())?;
        let collection = database.collection(COLLECTION)?;
        let bar = progress::bar("exact neighbours", self.queries.len() as u64);
        let mut rows = Vec::new();
        for queries in self.queries.chunks(BATCH) {
            let request = |query: &Vec<f32>| {
                QueryRequest::new(FIELD, query.clone()).limit(self.arguments.k).exact()
            };
            let requests: Vec<QueryRequest> = queries.iter().map(request).collect();
            for answer in collection.query_batch(&requests, Deadline::NEVER)? {
                rows.extend(answer.hits.iter().map(|hit| row(&hit.point.id)));
            }
            bar.inc(queries.len() as u64);
        }
        bar.finish_and_clear();
        Ok(Neighbours::new(self.arguments.k, rows))
    }

    fn measure_index(
        &self,
        compression: Compression,
        truth: &Neighbours,
    ) -> Result<Vec<SweepPoint>> {
        let (folder, build) = self.build(compression)?;
        let reranks: Vec<Option<usize>> = match compression.primary {
            Primary::None => vec![None],
            _ => self.arguments.rerank.iter().copied().map(Some).collect(),
        };
        let bar = progress::bar(
            "measuring",
            (reranks.len() * usize::from(self.arguments.runs) * 2 * self.queries.len()) as u64,
        );
        let single = self.ask_all(folder.path(), 1, &reranks, &bar)?;
        let all = self.ask_all(folder.path(), self.cores, &reranks, &bar)?;
        let loads = self.load_all(folder.path(), &reranks)?;
        bar.finish_and_clear();
        let database = Database::open(folder.path())?;
        let info = database.collection(COLLECTION)?.info();
        let bytes: u64 = info.segments.iter().map(|segment| segment.size_bytes).sum();
        let mut index = compression.to_string();
        let codecs = info.segments.iter().filter_map(|segment| segment.codecs.get(FIELD));
        let chosen = codecs.filter_map(CodecReport::chosen).next_back();
        if compression.primary == Primary::Auto
            && let Some(chosen) = chosen
        {
            index = format!("{index} ({})", chosen.code);
        }
        let scanned = chosen.map_or(4 * self.dimension, |chosen| chosen.bytes);
        let point = |(((rerank, single), all), load): Measured| SweepPoint {
            index: index.clone(),
            setting: rerank.map_or("exact".into(), |rerank| format!("rerank {rerank}")),
            k: self.arguments.k,
            recall: recall_at(self.arguments.k, truth, &single.found),
            qps_single: self.queries.len() as f64 / single.seconds,
            qps_all: self.queries.len() as f64 / all.seconds,
            cores: self.cores,
            latency_ms: single.latencies.percentiles_ms().unwrap_or_default(),
            bytes_per_vector: bytes as f64 / self.rows.max(1) as f64,
            scanned_bytes_per_vector: scanned as f64,
            build_seconds: build.as_secs_f64(),
            load,
        };
        Ok(reranks.into_iter().zip(single).zip(all).zip(loads).map(point).collect())
    }

    /// For each number of candidates, the fastest of some runs of many clients.
    fn load_all(&self, folder: &Path, reranks: &[Option<usize>]) -> Result<Vec<Option<Load>>> {
        let Some(clients) = self.arguments.clients.map(usize::from) else {
            return Ok(vec![None; reranks.len()]);
        };
        let database = Arc::new(Database::open(folder)?);
        let collection = database.collection(COLLECTION)?;
        let mut loads = Vec::new();
        for &rerank in reranks {
            let request = |query: &Vec<f32>| self.request(query, rerank);
            let requests: Vec<QueryRequest> = self.queries.iter().map(request).collect();
            let mut best = Load { clients, ..Load::default() };
            for _ in 0..self.arguments.runs {
                let faster = |best: &mut Answered, run: Answered| {
                    if run.qps > best.qps {
                        *best = run;
                    }
                };
                faster(&mut best.in_process, load::in_process(&collection, &requests, clients)?);
                let served = load::served(database.clone(), COLLECTION, &requests, clients)?;
                faster(&mut best.served, served);
            }
            loads.push(Some(best));
        }
        Ok(loads)
    }

    fn request(&self, query: &[f32], rerank: Option<usize>) -> QueryRequest {
        let mut request = QueryRequest::new(FIELD, query.to_vec()).limit(self.arguments.k);
        request.params.rerank = rerank;
        request
    }

    /// For each number of candidates, the fastest of some runs of all queries.
    fn ask_all(
        &self,
        folder: &Path,
        threads: usize,
        reranks: &[Option<usize>],
        bar: &ProgressBar,
    ) -> Result<Vec<Asked>> {
        let database = DatabaseOptions::new().threads(threads).open(folder)?;
        let collection = database.collection(COLLECTION)?;
        let mut asked = Vec::new();
        for &rerank in reranks {
            let mut best: Option<Asked> = None;
            for _ in 0..self.arguments.runs {
                let run = self.ask(&collection, threads, rerank)?;
                bar.inc(self.queries.len() as u64);
                if best.as_ref().is_none_or(|best| run.seconds < best.seconds) {
                    best = Some(run);
                }
            }
            asked.extend(best);
        }
        Ok(asked)
    }

    /// Asks all queries, one at a time from each of so many threads.
    fn ask(&self, collection: &Collection, threads: usize, rerank: Option<usize>) -> Result<Asked> {
        let started = Instant::now();
        let share = self.queries.len().div_ceil(threads);
        let parts: Vec<Result<(LatencyRecorder, Vec<Vec<u64>>)>> = std::thread::scope(|scope| {
            let ask = |queries| move || self.ask_in_turn(collection, queries, rerank);
            let workers: Vec<_> =
                self.queries.chunks(share).map(|queries| scope.spawn(ask(queries))).collect();
            let lost = || Err(CliError::Usage("a measuring thread panicked".into()));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| lost())).collect()
        });
        let seconds = started.elapsed().as_secs_f64();
        let mut asked = Asked { seconds, latencies: LatencyRecorder::new(), found: Vec::new() };
        for part in parts {
            let (latencies, found) = part?;
            asked.latencies.merge(latencies);
            asked.found.extend(found);
        }
        Ok(asked)
    }

    fn ask_in_turn(
        &self,
        collection: &Collection,
        queries: &[Vec<f32>],
        rerank: Option<usize>,
    ) -> Result<(LatencyRecorder, Vec<Vec<u64>>)> {
        let (mut latencies, mut found) = (LatencyRecorder::new(), Vec::new());
        for query in queries {
            let request = self.request(query, rerank);
            let started = Instant::now();
            let answer = collection.query(&request)?;
            latencies.record(started.elapsed());
            found.push(answer.hits.iter().map(|hit| row(&hit.point.id)).collect());
        }
        Ok((latencies, found))
    }
}

/// Points are called by the number of their row.
fn row(id: &PointId) -> u64 {
    match id {
        PointId::Number(row) => *row,
        PointId::Text(_) => u64::MAX,
    }
}
