//! `lanner bench`: recall and speed of compressions and indexes on given vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tempfile::TempDir;

use super::error::{CliError, Result};
use super::fields;
use super::input::{Arrays, Column};
use super::load;
use super::output::{scratch, write_json, write_text};
use super::progress;
use super::train;
use super::writing::write_all;
use lanner::limits;
use lanner::{
    CodecReport, Collection, CollectionConfig, CollectionInfo, Compression, Database,
    DatabaseOptions, Deadline, Durability, IndexKind, IndexSettings, IndexStatus, Metric,
    MultiVector, PointId, Primary, QueryParams, QueryRequest, SegmentOptions, VectorField,
};
use lanner_client::Embedded;
use lanner_eval::{
    LatencyRecorder, Load, Neighbours, SweepPoint, TableStyle, VectorFile, load_table,
    read_neighbours, recall_at, recall_qps_svg, sweep_table,
};

const COLLECTION: &str = "bench";
const FIELD: &str = "v";
/// Queries that are answered together where only the answers matter.
const BATCH: usize = 256;
/// Of so many queries, half is asked before the others are measured: a database learns from 256 first.
const LEAST_TO_LEARN: usize = 512;

/// Measure recall and speed of compressions and indexes on given vectors.
#[derive(Args)]
#[command(after_help = "\
Writes the vectors into a temporary database for each compression and index, and asks all queries
for each target recall, and for each search window with each number of candidates to re-rank: one
at a time and all in one call (or --batch of them), on one core and on all, and with --clients from
so many at once, in this process and over gRPC on a port of this machine. Of several runs the fastest
counts. Recall is against --ground-truth, or an exact scan.

A database learns from the queries that come how far to search, and searches further before it has.
Of 512 queries or more, without --training-queries, every other one is asked first, and the others are
measured; --unlearned measures all of them as the first that come.

Example:
  lanner bench --base base.npy --queries queries.npy --metric cosine \\
      --compression none --compression auto --compression lvq4:192/lvq8/drop-raw \\
      --index graph --index flat --target-recall 0.9,0.95,0.99 --search-window 8,16,32 \\
      --rerank 20,50 --markdown table.md --svg plot.svg")]
pub struct Bench {
    /// Vectors to search, one a row: .npy, .fvecs or .bvecs
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Vectors to search with, in the same formats
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Rows of the base nearest to each query, best first: .ivecs, or .npy of integers
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
    /// Queries to train compression on; others than those that are measured
    #[arg(long, value_name = "FILE")]
    training_queries: Option<PathBuf>,
    /// Measure all queries as the first that come, instead of half of them after the others
    #[arg(long)]
    unlearned: bool,
    /// How vectors are compared: dot, cosine or l2
    #[arg(long, default_value = "cosine", value_parser = fields::metric)]
    metric: Metric,
    /// Compressions to measure; see `lanner create --help`
    #[arg(long, default_values = ["none", "auto", "lvq8", "lvq4"])]
    compression: Vec<Compression>,
    /// Indexes to measure; see `lanner create --help`
    #[arg(long, default_values = ["auto"])]
    index: Vec<IndexSettings>,
    /// Rows from which a segment gets an index
    #[arg(long, value_name = "N", default_value_t = SegmentOptions::default().index_rows)]
    index_rows: u32,
    /// Recalls to ask indexes for
    #[arg(long, value_name = "R,R…", value_delimiter = ',', default_value = "0.9,0.95,0.98,0.99")]
    target_recall: Vec<f32>,
    /// How far to search indexes: rows of a graph that are expanded, or lists that are scanned
    #[arg(long, value_name = "N,N…", value_delimiter = ',')]
    search_window: Vec<usize>,
    /// Numbers of candidates to re-rank
    #[arg(long, value_name = "N,N…", value_delimiter = ',', default_value = "20,50")]
    rerank: Vec<usize>,
    /// Neighbours that count
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Runs of each measurement, of which the fastest counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Queries of a call where they are asked together; all of them if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,
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
    /// Those that are measured.
    queries: Vec<Vec<f32>>,
    /// Those that are asked before.
    first_queries: Vec<Vec<f32>>,
    training: Option<MultiVector>,
    truth: Option<Neighbours>,
    cores: usize,
}

/// A way to ask.
struct Setting {
    name: String,
    params: QueryParams,
}

/// What one way to ask gave.
#[derive(Default)]
struct Asked {
    /// For all queries, one at a time.
    seconds: f64,
    /// For all queries, together.
    batch_seconds: f64,
    estimated_recall: f64,
    latencies: LatencyRecorder,
    found: Vec<Vec<u64>>,
}

/// A way to ask, and what it gave on one core, on all, and for many clients.
type Measured<'s> = (((&'s Setting, Asked), Asked), Option<Load>);

impl Experiment {
    fn new(arguments: Bench) -> Result<Self> {
        let base = VectorFile::open(&arguments.base)?;
        let mut matrix = VectorFile::open(&arguments.queries)?;
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
        let all = values.chunks_exact(dimension).map(<[f32]>::to_vec);
        let learns = !arguments.unlearned && training.is_none() && all.len() >= LEAST_TO_LEARN;
        let is_measured = |query: usize| !learns || query.is_multiple_of(2);
        let truth = truth.map(|truth| truth.of_queries(is_measured));
        let (mut queries, mut first_queries) = (Vec::new(), Vec::new());
        for (number, query) in all.enumerate() {
            if is_measured(number) { queries.push(query) } else { first_queries.push(query) }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { arguments, dimension, rows, queries, first_queries, training, truth, cores })
    }

    fn measure(&mut self) -> Result<Vec<SweepPoint>> {
        let truth = match self.truth.take() {
            Some(truth) => truth,
            None => self.exact_neighbours()?,
        };
        let mut points = Vec::new();
        for &compression in &self.arguments.compression {
            let none = [IndexSettings::default()];
            let indexes = match compression.primary {
                Primary::None => &none[..],
                _ => &self.arguments.index,
            };
            for &index in indexes {
                points.extend(self.measure_index(compression, index, &truth)?);
            }
        }
        Ok(points)
    }

    /// Writes the base into a database of its own; returns it with the time it took.
    fn build(&self, compression: Compression, index: IndexSettings) -> Result<(TempDir, Duration)> {
        let folder = scratch()?;
        let field = VectorField::single(self.dimension, self.arguments.metric);
        let field = field.compressed(compression).indexed(index);
        let config = CollectionConfig::new().with_field(FIELD, field);
        let database = self.options(self.cores).open(folder.path())?;
        let queries = self.training.iter().filter(|_| compression.primary != Primary::None);
        let queries = queries.map(|queries| (FIELD.to_owned(), queries.into())).collect();
        let collection = database.create_collection_with(COLLECTION, config, &queries)?;
        let column = Column::single(FIELD, &self.arguments.base)?;
        let mut source = Arrays::new(vec![column], None, None)?;
        let started = Instant::now();
        let backend = Embedded::new(database);
        write_all(&backend, COLLECTION, &mut source, 1000, Durability::Buffered)?;
        let spinner = progress::spinner(format!("{compression} {index}: training, encoding"));
        collection.optimize()?;
        let built = started.elapsed();
        // Without codes there is nothing to learn.
        if compression.primary != Primary::None {
            for query in &self.first_queries {
                let limit = self.arguments.k;
                collection.query(&QueryRequest::new(FIELD, query.clone()).limit(limit))?;
            }
            // Waits for the calibration with these queries.
            collection.optimize()?;
        }
        spinner.finish_and_clear();
        Ok((folder, built))
    }

    fn options(&self, threads: usize) -> DatabaseOptions {
        DatabaseOptions::new().threads(threads).index_rows(self.arguments.index_rows)
    }

    /// For a measurement: what is measured by is not learned from, and nothing is calibrated beside it.
    fn open(&self, folder: &Path, threads: usize) -> Result<Database> {
        Ok(self.options(threads).learn_from_queries(false).open(folder)?)
    }

    fn exact_neighbours(&self) -> Result<Neighbours> {
        let (folder, _) = self.build(Compression::none(), IndexSettings::default())?;
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
        index: IndexSettings,
        truth: &Neighbours,
    ) -> Result<Vec<SweepPoint>> {
        let (folder, build) = self.build(compression, index)?;
        let info = self.open(folder.path(), self.cores)?.collection(COLLECTION)?.info();
        let settings = self.settings(compression, &info);
        let runs = settings.len() * usize::from(self.arguments.runs) * 4;
        let bar = progress::bar("measuring", (runs * self.queries.len()) as u64);
        let before = resident_bytes();
        let single = self.ask_all(folder.path(), 1, &settings, &bar)?;
        let resident_bytes = resident_bytes().saturating_sub(before);
        let all = self.ask_all(folder.path(), self.cores, &settings, &bar)?;
        bar.finish_and_clear();
        let database = Arc::new(self.open(folder.path(), self.cores)?);
        let loads = self.load_all(&database, &settings)?;
        let bytes: u64 = info.segments.iter().map(|segment| segment.size_bytes).sum();
        let codecs = info.segments.iter().filter_map(|segment| segment.codecs.get(FIELD));
        let chosen = codecs.filter_map(CodecReport::chosen).next_back();
        let name = self.name(compression, index, &info);
        let point = |(((setting, single), all), load): Measured<'_>| SweepPoint {
            index: name.clone(),
            setting: setting.name.clone(),
            k: self.arguments.k,
            recall: recall_at(self.arguments.k, truth, &single.found),
            estimated_recall: single.estimated_recall,
            qps_single: self.queries.len() as f64 / single.seconds,
            qps_all: self.queries.len() as f64 / all.seconds,
            qps_batch_single: self.queries.len() as f64 / single.batch_seconds,
            qps_batch_all: self.queries.len() as f64 / all.batch_seconds,
            cores: self.cores,
            latency_ms: single.latencies.percentiles_ms().unwrap_or_default(),
            bytes_per_vector: bytes as f64 / self.rows.max(1) as f64,
            code_bytes: chosen.map_or(4 * self.dimension, |chosen| chosen.bytes) as f64,
            resident_bytes,
            build_seconds: build.as_secs_f64(),
            load,
        };
        Ok(settings.iter().zip(single).zip(all).zip(loads).map(point).collect())
    }

    /// For each setting what many clients at once get, if that is asked for.
    fn load_all(
        &self,
        database: &Arc<Database>,
        settings: &[Setting],
    ) -> Result<Vec<Option<Load>>> {
        let Some(clients) = self.arguments.clients.map(usize::from) else {
            return Ok(vec![None; settings.len()]);
        };
        let measure = |setting: &Setting| {
            let requests = self.requests(setting.params);
            load::measure(database, COLLECTION, &requests, clients, self.arguments.runs).map(Some)
        };
        settings.iter().map(measure).collect()
    }

    fn requests(&self, params: QueryParams) -> Vec<QueryRequest> {
        let request = |query: &Vec<f32>| {
            let request = QueryRequest::new(FIELD, query.clone()).limit(self.arguments.k);
            QueryRequest { params, ..request }
        };
        self.queries.iter().map(request).collect()
    }

    /// The index, with what was chosen where it was left open.
    fn name(
        &self,
        compression: Compression,
        index: IndexSettings,
        info: &CollectionInfo,
    ) -> String {
        let codecs = info.segments.iter().filter_map(|segment| segment.codecs.get(FIELD));
        let chosen = codecs.filter_map(CodecReport::chosen).next_back();
        let mut name = compression.to_string();
        if compression.primary == Primary::Auto
            && let Some(chosen) = chosen
        {
            name = format!("{name} ({})", chosen.code);
        }
        match (kinds(info).last(), index.kind()) {
            (Some(kind), IndexKind::Auto) => format!("{name} auto ({kind})"),
            (Some(_), _) => format!("{name} {index}"),
            (None, _) => name,
        }
    }

    /// The ways to ask that make sense.
    fn settings(&self, compression: Compression, info: &CollectionInfo) -> Vec<Setting> {
        let Bench { rerank, search_window, target_recall, .. } = &self.arguments;
        if compression.primary == Primary::None {
            return vec![Setting { name: "exact".into(), params: QueryParams::default() }];
        }
        let reranked = |&rerank: &usize| Setting {
            name: format!("rerank {rerank}"),
            params: QueryParams { rerank: Some(rerank), ..QueryParams::default() },
        };
        if kinds(info).next().is_none() {
            return rerank.iter().map(reranked).collect();
        }
        let searched = |&window: &usize| {
            rerank.iter().map(reranked).map(move |Setting { name, params }| Setting {
                name: format!("window {window}, {name}"),
                params: QueryParams { search_window: Some(window), ..params },
            })
        };
        let targeted = |&recall: &f32| Setting {
            name: format!("target {recall}"),
            params: QueryParams { target_recall: Some(recall), ..QueryParams::default() },
        };
        let targets = target_recall.iter().map(targeted);
        targets.chain(search_window.iter().flat_map(searched)).collect()
    }

    /// For each setting, the fastest of some runs of all queries.
    fn ask_all(
        &self,
        folder: &Path,
        threads: usize,
        settings: &[Setting],
        bar: &ProgressBar,
    ) -> Result<Vec<Asked>> {
        let database = self.open(folder, threads)?;
        let collection = database.collection(COLLECTION)?;
        let mut asked: Vec<Option<Asked>> = settings.iter().map(|_| None).collect();
        // All settings in turn, several times: a disturbance does not hit all runs of one.
        for _ in 0..self.arguments.runs {
            for (setting, best) in settings.iter().zip(&mut asked) {
                let mut run = self.ask(&collection, threads, setting.params)?;
                bar.inc(2 * self.queries.len() as u64);
                if let Some(best) = best {
                    run.batch_seconds = run.batch_seconds.min(best.batch_seconds);
                    best.batch_seconds = run.batch_seconds;
                }
                if best.as_ref().is_none_or(|best| run.seconds < best.seconds) {
                    *best = Some(run);
                }
            }
        }
        Ok(asked.into_iter().flatten().collect())
    }

    /// Asks all queries, one at a time from each of so many threads, and then together.
    fn ask(&self, collection: &Collection, threads: usize, params: QueryParams) -> Result<Asked> {
        let requests = self.requests(params);
        let started = Instant::now();
        let share = requests.len().div_ceil(threads);
        let parts: Vec<Result<Asked>> = std::thread::scope(|scope| {
            let ask = |requests| move || ask_in_turn(collection, requests);
            let workers: Vec<_> =
                requests.chunks(share).map(|requests| scope.spawn(ask(requests))).collect();
            let lost = || Err(CliError::Usage("a measuring thread panicked".into()));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| lost())).collect()
        });
        let mut asked = Asked { seconds: started.elapsed().as_secs_f64(), ..Asked::default() };
        for part in parts {
            let part = part?;
            asked.latencies.merge(part.latencies);
            asked.found.extend(part.found);
            asked.estimated_recall += part.estimated_recall / requests.len().max(1) as f64;
        }
        let batch = self.arguments.batch.map_or(limits::MAX_BATCH_QUERIES, usize::from);
        let started = Instant::now();
        for requests in requests.chunks(batch) {
            collection.query_batch(requests, Deadline::NEVER)?;
        }
        asked.batch_seconds = started.elapsed().as_secs_f64();
        Ok(asked)
    }
}

/// The kinds of the indexes that were built.
fn kinds(info: &CollectionInfo) -> impl Iterator<Item = &'static str> {
    let built = info.segments.iter().filter_map(|segment| segment.indexes.get(FIELD));
    built.filter_map(|status| match status {
        IndexStatus::Ready { report, .. } => Some(report.kind.as_str()),
        _ => None,
    })
}

fn ask_in_turn(collection: &Collection, requests: &[QueryRequest]) -> Result<Asked> {
    let mut asked = Asked::default();
    for request in requests {
        let started = Instant::now();
        let answer = collection.query(request)?;
        asked.latencies.record(started.elapsed());
        // Not known is nothing that could be relied on.
        asked.estimated_recall += f64::from(answer.estimated_recall.unwrap_or(0.0));
        asked.found.push(answer.hits.iter().map(|hit| row(&hit.point.id)).collect());
    }
    Ok(asked)
}

/// Memory of this process that is resident now; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kilobytes.map_or(0, |kilobytes: u64| kilobytes << 10)
}

/// Points are called by the number of their row.
fn row(id: &PointId) -> u64 {
    match id {
        PointId::Number(row) => *row,
        PointId::Text(_) => u64::MAX,
    }
}
