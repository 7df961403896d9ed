//! `lanner beir`: retrieval quality and speed, judged the way BEIR does.

mod corpus;
mod experiment;

use std::path::{Path, PathBuf};

use clap::Args;
pub use experiment::{Experiment, Mode, ids};

use super::credentials::CredentialArguments;
use super::error::{CliError, Result};
use super::fields;
use super::input::Column;
use super::output::{scratch, write_json};
use super::query::ParamArguments;
use lanner::{Analyzer, Compression, ElementType, FusionMethod, Metric, Primary, TextField};
use lanner_client::Backend;
use lanner_client::Embedded;
use lanner_client::Remote;
use lanner_eval::{
    BeirDataset, Report, System, TableStyle, best, compare, comparison_table, prepare_run,
    save_per_query,
};

/// Measure retrieval quality and speed on a BEIR data set with given embeddings.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner beir --dataset nfcorpus --text
  lanner beir --dataset nfcorpus --corpus-vectors corpus.npy --query-vectors queries.npy \\
      --tokens tokens.npy,offsets.npy --query-tokens qtokens.npy,qoffsets.npy --run run.trec
  lanner beir --dataset nfcorpus --text --corpus-vectors corpus.npy --query-vectors queries.npy

The folder has corpus.jsonl, queries.jsonl and qrels/<split>.tsv. Rows belong to the ids of
`corpus.ids` and `queries.ids` beside the vectors, else to the lines of the .jsonl files (of
queries.jsonl all, or the judged ones alone). Documents are sealed, merged and indexed before they are
searched, so that few are measured as many would be. Prints nDCG@10, MAP@100, MRR@10, Recall@10 and
@100 as trec_eval defines them, as far as --limit goes, indexing rate, latencies, queries per second,
and the bytes of a document that searches read from. With vectors and tokens
both are measured, tokens by their encodings (multi) and by exact MaxSim (multi-exact), and the run
files are FILE.single, FILE.multi and FILE.multi-exact. With --text words are measured (text), and
fused with vectors, with tokens and with both (text+single, text+multi, text+single+multi). Each is then compared with --reference:
p is the two-sided p-value of a paired randomization test over the queries, exact for up to 16 queries
that differ, otherwise of 100,000 samples, and not corrected for several comparisons. Without --data
and --server it works in a temporary folder.")]
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
        required_unless_present_any = ["tokens", "text"]
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
    /// Search the words of title and text by BM25; with vectors or tokens also both together
    #[arg(long)]
    text: bool,
    /// How texts become words; see `lanner create --help`
    #[arg(long, default_value = "english", requires = "text")]
    analyzer: Analyzer,
    /// How soon further occurrences of a word stop to count
    #[arg(long, default_value_t = 0.9, requires = "text")]
    k1: f32,
    /// How much the length of a document counts
    #[arg(long, default_value_t = 0.4, requires = "text")]
    b: f32,
    /// How words are put together with vectors or tokens: rrf, min-max, z-score or
    /// theoretical-min-max
    #[arg(long, default_value = "min-max", requires = "text", value_parser = fusion)]
    fusion: FusionMethod,
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
    /// What the others are compared with: the name of another, such as text or multi, or best, the one with the
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

    fn modes(&self) -> Result<Vec<Mode>> {
        let mut modes = Vec::new();
        let words =
            || TextField::new(["title", "text"]).analyzed(self.analyzer).bm25(self.k1, self.b);
        if self.text {
            modes.push(Mode::words(words()));
        }
        if let (Some(corpus), Some(queries)) = (&self.corpus_vectors, &self.query_vectors) {
            let (corpus, queries) =
                (Column::single("text", corpus)?, Column::single("text", queries)?);
            modes.push(Mode::vectors("single", corpus, queries));
        }
        if let (Some((corpus, starts)), Some((queries, query_starts))) =
            (&self.tokens, &self.query_tokens)
        {
            let corpus = Column::multi("tokens", corpus, starts)?;
            let queries = Column::multi("tokens", queries, query_starts)?;
            let multi = Mode::vectors("multi", corpus, queries);
            // Worth measuring both if one searches in another way than exactly.
            let differs = self.token_compression.primary != Primary::None
                && self.metric != Metric::L2
                && !self.params.params().exact;
            let exact = differs.then(|| multi.exactly("multi-exact")).transpose()?;
            modes.push(multi);
            modes.extend(exact);
        }
        if self.text {
            let hybrids: [(_, &[_]); 3] = [
                ("text+single", &["single"]),
                ("text+multi", &["multi"]),
                ("text+single+multi", &["single", "multi"]),
            ];
            for (name, of) in hybrids {
                let parts = of.iter().filter_map(|of| modes.iter().find(|mode| mode.name == *of));
                let parts: Vec<&Mode> = parts.collect();
                if parts.len() == of.len() {
                    let fused = Mode::fused(name, &parts, self.fusion)?;
                    modes.push(fused);
                }
            }
        }
        Ok(modes)
    }

    fn experiment(&self) -> Result<Experiment> {
        let modes = self.modes()?;
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

/// Reads how rankings are fused.
fn fusion(text: &str) -> Result<FusionMethod, String> {
    if text == "rrf" {
        return Ok(FusionMethod::default());
    }
    match text.parse() {
        Ok(normalization) => Ok(FusionMethod::Scores { normalization }),
        Err(_) => {
            Err(format!("expected rrf, min-max, z-score or theoretical-min-max, got {text:?}"))
        }
    }
}

fn pair(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (first, second) =
        text.split_once(',').ok_or_else(|| format!("expected FILE,OFFSETS, got {text:?}"))?;
    Ok((first.into(), second.into()))
}
