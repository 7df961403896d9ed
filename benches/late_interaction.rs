//! Multi-vector search from start to end, over a set of documents and queries with their exact
//! neighbours: seconds until everything is ready, bytes a document, and for each target recall the
//! share of the exact ten, nDCG@10 if there are judgements, rows re-ranked, and times of queries one by
//! one; first as queries that nothing was learned from, then after a recalibration with them.
//!
//!     cargo bench --bench late_interaction -- DIR [--targets 0.9,0.95,0.98] [--compression auto]
//!         [--index auto] [--documents N] [--keep FOLDER] [--once]
//!
//! DIR: corpus_tokens.i8.npy, queries_tokens.f32.npy, their offsets, groundtruth_maxsim_top100.i32.npy,
//! and corpus.ids, queries.ids, qrels/test.tsv if there are any; `benches/peers/run.sh tokens` makes such
//! folders. The database is made in FOLDER, if given, and asked again by the next run. One core:
//! RAYON_NUM_THREADS=1 under `taskset -c 0`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanner::{
    Collection, CollectionConfig, Compression, DatabaseOptions, Durability, Hit, IndexSettings,
    Metric, MultiVector, PointId, QueryRequest, QueryResponse, VectorField,
};
use lanner_eval::{
    IdList, Neighbours, NpyMatrix, Qrels, Run, evaluate, read_neighbours, read_offsets,
};

const BATCH: usize = 200;
const HITS: usize = 10;

fn main() {
    let Some(options) = Options::parse() else {
        println!("skipped: expected a folder of tokens");
        return;
    };
    let set = Set::open(&options);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = options.keep.as_deref().unwrap_or(temporary.path());
    let database = DatabaseOptions::new().open(folder).expect("a database");
    let collection = database.collection("c").unwrap_or_else(|_| {
        let field = VectorField { index: options.index, ..set.field() };
        let config = CollectionConfig::new().with_field("t", field.compressed(options.compression));
        let collection = database.create_collection("c", config).expect("a collection");
        let started = Instant::now();
        set.write(&collection);
        let written = started.elapsed();
        collection.optimize().expect("optimize");
        let (count, ready) = (set.documents.len(), started.elapsed());
        println!("{count} documents written in {written:.2?}, ready after {ready:.2?}");
        collection
    });
    let count = set.documents.len();
    let mut of_sections = BTreeMap::<String, u64>::new();
    for file in collection.info().segments.iter().flat_map(|segment| &segment.files) {
        for (section, bytes) in &file.sections {
            *of_sections.entry(section.clone()).or_default() += bytes;
        }
    }
    for (section, bytes) in of_sections.iter().filter(|(_, bytes)| **bytes > count as u64) {
        println!("  {section}: {} bytes a document", bytes / count as u64);
    }
    if let Some(ndcg) = set.exact_ndcg() {
        println!("exact: nDCG@10 {ndcg:.4}");
    }
    println!("| | target | of the exact ten | estimate | nDCG@10 | re-ranked | mean | p50 | p95 |");
    println!("|---|---|---|---|---|---|---|---|---|");
    set.ask(&collection, "first", &options.targets);
    if !options.once {
        collection.optimize().expect("optimize");
        set.ask(&collection, "recalibrated", &options.targets);
    }
}

struct Options {
    folder: PathBuf,
    targets: Vec<Option<f32>>,
    compression: Compression,
    index: IndexSettings,
    documents: usize,
    keep: Option<PathBuf>,
    once: bool,
}

impl Options {
    fn parse() -> Option<Self> {
        let mut options = Self {
            folder: PathBuf::new(),
            targets: vec![None, Some(0.9), Some(0.95), Some(0.98)],
            compression: Compression::default(),
            index: IndexSettings::default(),
            documents: usize::MAX,
            keep: None,
            once: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value");
            match argument.as_str() {
                "--targets" => {
                    let target = |text: &str| Some(text.parse().expect("a recall"));
                    options.targets = value().split(',').map(target).collect();
                }
                "--compression" => options.compression = value().parse().expect("a compression"),
                "--index" => options.index = value().parse().expect("index settings"),
                "--documents" => options.documents = value().parse().expect("a number"),
                "--keep" => options.keep = Some(value().into()),
                "--once" => options.once = true,
                // What cargo passes.
                "--bench" => {}
                folder => options.folder = folder.into(),
            }
        }
        options.folder.is_dir().then_some(options)
    }
}

/// Texts as their tokens.
struct Texts {
    dimension: usize,
    values: Vec<f32>,
    offsets: Vec<u64>,
}

impl Texts {
    fn read(folder: &Path, tokens: &str, offsets: &str, most: usize) -> Self {
        let mut matrix = NpyMatrix::open(&folder.join(tokens)).expect("tokens");
        let mut offsets = read_offsets(&folder.join(offsets)).expect("offsets");
        offsets.truncate(most.saturating_add(1));
        let mut values = Vec::new();
        let rows = offsets[offsets.len() - 1] as usize;
        matrix.read_rows(0..rows, &mut values).expect("tokens of all texts");
        Self { dimension: matrix.cols(), values, offsets }
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn get(&self, text: usize) -> MultiVector {
        let place = |at: usize| self.offsets[at] as usize * self.dimension;
        let values = self.values[place(text)..place(text + 1)].to_vec();
        MultiVector::from_flat(self.dimension, values).expect("tokens")
    }
}

struct Set {
    documents: Texts,
    queries: Texts,
    /// `None` for a part of the documents: the exact ten are then asked for.
    truth: Option<Neighbours>,
    judged: Option<(Qrels, IdList, IdList)>,
}

impl Set {
    fn open(options: &Options) -> Self {
        let folder = &options.folder;
        let (tokens, offsets) = ("corpus_tokens.i8.npy", "corpus_tokens_offsets.i64.npy");
        let documents = Texts::read(folder, tokens, offsets, options.documents);
        let (tokens, offsets) = ("queries_tokens.f32.npy", "queries_tokens_offsets.i64.npy");
        let queries = Texts::read(folder, tokens, offsets, usize::MAX);
        let whole = options.documents == usize::MAX;
        let truth = folder.join("groundtruth_maxsim_top100.i32.npy");
        let truth = whole.then(|| read_neighbours(&truth).expect("exact neighbours"));
        let ids = |name: &str| IdList::open(&folder.join(name)).ok();
        let judged = Qrels::open(&folder.join("qrels/test.tsv")).ok().filter(|_| whole);
        let judged =
            judged.and_then(|qrels| Some((qrels, ids("corpus.ids")?, ids("queries.ids")?)));
        Self { documents, queries, truth, judged }
    }

    fn field(&self) -> VectorField {
        VectorField::multi(self.documents.dimension, Metric::Dot)
    }

    fn write(&self, collection: &Collection) {
        for first in (0..self.documents.len()).step_by(BATCH) {
            let mut batch = collection.batch();
            for row in first..self.documents.len().min(first + BATCH) {
                let point = lanner::Point::new(row as u64);
                batch.push(point.with_vector("t", self.documents.get(row))).expect("a document");
            }
            collection.upsert_batch(batch.finish(), Durability::Buffered).expect("a write");
        }
    }

    fn request(&self, query: usize, target: Option<f32>) -> QueryRequest {
        let mut request = QueryRequest::new("t", self.queries.get(query)).limit(HITS);
        request.params.target_recall = target;
        request
    }

    fn ask(&self, collection: &Collection, when: &str, targets: &[Option<f32>]) {
        for &target in targets {
            let (mut times, mut found) = (Vec::new(), Vec::new());
            let (mut estimate, mut known) = (0.0, 0);
            for query in 0..self.queries.len() {
                let request = self.request(query, target);
                let started = Instant::now();
                let answer = collection.query(&request).expect("an answer");
                times.push(started.elapsed());
                if let Some(recall) = answer.estimated_recall {
                    (estimate, known) = (estimate + recall, known + 1);
                }
                found.push(numbers(&answer));
            }
            let (reranked, stages) = self.stages(collection, target);
            let mean = times.iter().sum::<Duration>() / times.len() as u32;
            times.sort();
            let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
            let target = target.map_or("default".into(), |target| target.to_string());
            println!(
                "| {when} | {target} | {:.4} | {:.4} of {known} | {} | {reranked:.0} | {mean:.2?} | {:.2?} | {:.2?} |",
                self.share(collection, &found),
                estimate / known.max(1) as f32,
                self.ndcg(&found).map_or("".into(), |ndcg| format!("{ndcg:.4}")),
                at(0.5),
                at(0.95)
            );
            println!("{stages}");
        }
    }

    /// Mean number of rows that re-ranking scored, and the mean time and rows of each stage of the
    /// queries that have it.
    fn stages(&self, collection: &Collection, target: Option<f32>) -> (f64, String) {
        let (mut reranked, mut sums) = (0, BTreeMap::<String, (u64, u64, u64)>::new());
        for query in 0..self.queries.len() {
            let request = self.request(query, target).explain();
            let answer = collection.query(&request).expect("an answer");
            let stages = answer.explanation.map_or(Vec::new(), |explanation| explanation.stages);
            let of_codes = stages.iter().find(|stage| stage.source == "secondary codes");
            reranked += of_codes.map_or(0, |stage| stage.rows);
            for stage in stages {
                let sum = sums.entry(format!("{} {}", stage.name, stage.source)).or_default();
                *sum = (sum.0 + 1, sum.1 + stage.rows, sum.2 + stage.micros);
            }
        }
        let line = |(stage, &(count, rows, micros)): (&String, &(u64, u64, u64))| {
            let mean = |sum: u64| sum as f64 / count as f64;
            format!("    {stage}: {count} queries, {:.0} rows, {:.0} µs", mean(rows), mean(micros))
        };
        (
            reranked as f64 / self.queries.len() as f64,
            sums.iter().map(line).collect::<Vec<_>>().join("\n"),
        )
    }

    /// Share of the exact ten among the hits.
    fn share(&self, collection: &Collection, found: &[Vec<u64>]) -> f64 {
        let mut shared = 0;
        for (query, found) in found.iter().enumerate() {
            let exact: Vec<u64> = match &self.truth {
                Some(truth) => truth.of(query)[..HITS].to_vec(),
                None => {
                    let request = self.request(query, None).exact();
                    numbers(&collection.query(&request).expect("an exact answer"))
                }
            };
            shared += found.iter().filter(|row| exact.contains(row)).count();
        }
        shared as f64 / (HITS * found.len()) as f64
    }

    /// nDCG@10 of the exact neighbours.
    fn exact_ndcg(&self) -> Option<f64> {
        let truth = self.truth.as_ref()?;
        let exact = |query| truth.of(query)[..HITS].to_vec();
        self.ndcg(&(0..self.queries.len()).map(exact).collect::<Vec<Vec<u64>>>())
    }

    fn ndcg(&self, found: &[Vec<u64>]) -> Option<f64> {
        let (qrels, documents, queries) = self.judged.as_ref()?;
        let mut run = Run::new();
        for (found, query) in found.iter().zip(queries.as_slice()) {
            let rank = |(rank, &row): (usize, &u64)| {
                (documents.as_slice()[row as usize].clone(), -(rank as f32))
            };
            let ranked = found.iter().enumerate().map(rank).collect();
            run.push(query, ranked).expect("a ranking");
        }
        Some(evaluate(&run, qrels).ndcg_10)
    }
}

/// The rows of the hits, which are their ids.
fn numbers(answer: &QueryResponse) -> Vec<u64> {
    let number = |hit: &Hit| match &hit.point.id {
        PointId::Number(number) => *number,
        id => panic!("{id} was not written"),
    };
    answer.hits.iter().map(number).collect()
}
