//! `lanner create`, `list`, `drop`, `inspect`, `flush`, `optimize`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::error::{CliError, Result};
use super::fields::{FieldArgument, word};
use super::target::Target;
use super::train::{self, ForField};
use super::{index, jobs};
use lanner::{
    CentroidReport, CodecReport, CollectionConfig, CollectionInfo, Compression, Encoding,
    IndexSettings, InvalidInput, Memory, PayloadType, TextField, VectorKind,
};
use lanner_client::info_json;

/// What `lanner create --help` ends with.
fn create_help() -> String {
    [CREATE_HELP, &index::settings_help(), MEMORY_HELP].concat()
}

const CREATE_HELP: &str = "\
Examples:
  lanner create docs --data db --field text:single:384:cosine
  lanner create docs --server 127.0.0.1:7700 --field text:single:384:cosine --field tokens:multi:128:dot:f16

  lanner create docs --data db --field text:single:384:cosine --compression auto/lvq8/drop-raw
  lanner create docs --data db --field text:single:384:cosine --payload lang=keyword,meta.year=integer
  lanner create docs --data db --text words:title^2,text:english
  lanner create docs --data db --field splade:sparse

Kinds: single (one vector a point), multi (many, scored by MaxSim), sparse (few values among many
dimensions, compared by the dot product; NAME:sparse is all of its settings but memory). Metrics: dot,
cosine, l2. Elements: f32 (default), f16.

Text fields are searched by words (BM25, k1=0.9 and b=0.4 by default) in what payloads have at some
paths; title^2 counts twice. Analyzers: standard (default), cjk, ngram:MIN-MAX, or a language, which
reduces words to their stems and leaves out stop words: arabic, danish, dutch, english, finnish,
french, german, greek, hungarian, italian, norwegian, portuguese, romanian, russian, spanish,
swedish, tamil, turkish.

Payload types: keyword, integer, float, boolean, datetime. Points with a value of another type at a
declared path are refused. `lanner declare` declares more later; other paths are filtered by reading
payloads, which is slower.

Encoding, of multi fields: auto (default), or fde (MUVERA) with repetitions=20, planes=5, block=16,
final=N, seed=N, carve=COSINE, empty, google after colons, as in fde:repetitions=10:block=8.

Compression: auto (default: the smallest codes that keep the neighbours,
as measured), none, or a code (lvq8, lvq4, lvq4x4, lvq4x8); lvq8 and lvq4 with [:dimension
[:reduction]], reductions being pca, eigen_search, frank_wolfe and sphering. After slashes: what
re-ranks (raw, lvq8, lvq4, f16), and drop-raw to keep the codes alone. For a multi field, which is
compressed like this only if it is named, the code is that of its encodings, and what re-ranks are
its vectors (residual8, residual4, residual2: a centroid and the rest; residual4 if not said):
tokens=lvq8:632/residual8/drop-raw.

Index, of compressed fields, in segments of 10,000 rows and more: auto (default: what calibration
finds to be the least work), graph, ivf, or flat. After colons settings, as in graph:degree=32:
";

const MEMORY_HELP: &str = "
Memory: pinned (what queries look for candidates in is locked in memory), cached (default: the
system keeps what is used), cold (nothing is read ahead).";

/// Create a collection.
#[derive(Args)]
#[command(after_help = create_help())]
pub struct Create {
    /// Name, [a-z0-9_-]{1,64}
    name: String,
    #[command(flatten)]
    target: Target,
    /// A vector field; repeat for more
    #[arg(
        long,
        value_name = "NAME:KIND:DIM:METRIC[:ELEMENT]|NAME:sparse",
        required_unless_present = "text"
    )]
    field: Vec<FieldArgument>,
    /// A text field, searched by words: the payload paths of its text; repeat for more
    #[arg(long, value_name = "NAME:PATH,…[:ANALYZER][:k1=N][:b=N]", value_parser = text_field)]
    text: Vec<(String, TextField)>,
    /// Payload paths to index for filters, separated by commas, as in lang=keyword,meta.year=integer
    #[arg(long, value_name = "PATH=TYPE", value_delimiter = ',', value_parser = payload_path)]
    payload: Vec<(String, PayloadType)>,
    /// How fields are compressed; without FIELD= all single-vector fields
    #[arg(long, value_name = "[FIELD=]COMPRESSION")]
    compression: Vec<ForField<Compression>>,
    /// What stays in memory: pinned, cached or cold; without FIELD= of all fields
    #[arg(long, value_name = "[FIELD=]MEMORY")]
    memory: Vec<ForField<Memory>>,
    /// How the vectors of multi fields become the one that candidates are found by
    #[arg(long, value_name = "[FIELD=]ENCODING")]
    encoding: Vec<ForField<Encoding>>,
    /// Multi fields: so many similar vectors of a point are replaced by their mean
    #[arg(long, value_name = "[FIELD=]N")]
    token_pooling: Vec<ForField<usize>>,
    /// Queries that come are kept to calibrate searches by them: so many at most, 0 keeps none
    /// [default: 1024]
    #[arg(long, value_name = "[FIELD=]N")]
    recent_queries: Vec<ForField<usize>>,
    /// How fields are indexed; without FIELD= all
    #[arg(long, value_name = "[FIELD=]INDEX")]
    index: Vec<ForField<IndexSettings>>,
    /// Queries of the kind that will come, to train compression and to calibrate indexes on: a .npy
    /// matrix, a query a row; for a multi field all vectors, and the .npy offsets of queries
    #[arg(long, value_name = "[FIELD=]FILE[,OFFSETS]")]
    training_queries: Vec<ForField<PathBuf>>,
}

impl Create {
    pub fn run(self) -> Result<()> {
        let mut config = CollectionConfig::new();
        for argument in self.field {
            config = config.with_field(argument.name, argument.field);
        }
        config.text.extend(self.text);
        config.payload.extend(self.payload);
        let (single, multi) = (&[VectorKind::Single], &[VectorKind::Multi]);
        let dense = &[VectorKind::Single, VectorKind::Multi];
        let all = &[VectorKind::Single, VectorKind::Multi, VectorKind::Sparse];
        train::apply(&mut config, &self.encoding, multi, |field, value| field.encoding = value)?;
        train::apply(&mut config, &self.token_pooling, multi, |f, n| f.token_pooling = n)?;
        train::apply(&mut config, &self.recent_queries, dense, |f, n| f.recent_queries = n)?;
        train::apply(&mut config, &self.compression, single, |field, value| {
            field.compression = value
        })?;
        train::apply(&mut config, &self.index, dense, |field, value| field.index = value)?;
        train::apply(&mut config, &self.memory, all, |field, value| field.memory = value)?;
        let queries = train::training_queries(&config, &self.training_queries)?;
        // Before a folder is made a database for nothing.
        lanner::validate_name("name", &self.name)?;
        config.validate()?;
        self.target.open_or_create()?.create(&self.name, &config, &queries)?;
        println!("created {}", self.name);
        Ok(())
    }
}

/// Reads `words:title^2,text:english`.
fn text_field(text: &str) -> Result<(String, TextField), String> {
    let (name, field) = text
        .split_once(':')
        .ok_or_else(|| format!("expected name:paths, as in words:title,text, got {text:?}"))?;
    let field = field.parse().map_err(|error: InvalidInput| error.to_string())?;
    Ok((name.to_owned(), field))
}

/// Reads `path=type`.
pub fn payload_path(text: &str) -> Result<(String, PayloadType), String> {
    let (path, payload_type) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("expected path=type, as in lang=keyword, got {text:?}"))?;
    let expected = "keyword, integer, float, boolean or datetime";
    Ok((path.to_owned(), word("type", expected, payload_type)?))
}

/// List the collections.
#[derive(Args)]
#[command(after_help = "Example:\n  lanner list --server 127.0.0.1:7700")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

impl List {
    pub fn run(self) -> Result<()> {
        let mut unusable = 0;
        for (name, found) in self.target.open()?.list()? {
            match found {
                Ok(points) => println!("{name}  {} points", HumanCount(points)),
                Err(reason) => {
                    unusable += 1;
                    println!("{name}  unusable: {reason}");
                }
            }
        }
        match unusable {
            0 => Ok(()),
            1 => Err(CliError::Usage("a collection is unusable".into())),
            many => Err(CliError::Usage(format!("{many} collections are unusable"))),
        }
    }
}

/// Delete a collection with all its points.
#[derive(Args)]
#[command(after_help = "Example:\n  lanner drop books --data db --yes")]
pub struct Drop {
    /// Collection to delete
    name: String,
    #[command(flatten)]
    target: Target,
    /// Do not ask, as on a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Drop {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        if !self.yes && std::io::stdin().is_terminal() {
            let points = backend.count(&self.name, None);
            let points = points.map_or("all its".into(), |points| HumanCount(points).to_string());
            eprint!("delete {} with {points} points? [y/N] ", self.name);
            let mut answer = String::new();
            let read = std::io::stdin().read_line(&mut answer);
            if read.is_err() || !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
                return Err(CliError::Usage(format!("{} was not deleted", self.name)));
            }
        }
        backend.drop_collection(&self.name)?;
        println!("deleted {}", self.name);
        Ok(())
    }
}

/// Move everything written so far into sealed segments.
#[derive(Args)]
#[command(after_help = "Example:\n  lanner flush books --server 127.0.0.1:7700")]
pub struct Flush {
    /// Collection to flush
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Flush {
    pub fn run(self) -> Result<()> {
        Ok(self.target.open()?.flush(&self.name)?)
    }
}

/// Merge segments into as few as the size limit allows, drop deleted rows, and build what indexes
/// are missing.
#[derive(Args)]
#[command(after_help = "Example:\n  lanner optimize books --server 127.0.0.1:7700 --no-wait")]
pub struct Optimize {
    /// Collection to optimize
    name: String,
    #[command(flatten)]
    target: Target,
    /// Do not wait: the server goes on by itself (see `lanner jobs`)
    #[arg(long, requires = "server")]
    no_wait: bool,
}

impl Optimize {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open_for_job(!self.no_wait)?;
        let job = backend.optimize(&self.name)?;
        jobs::wait_or_name(&*backend, &job, !self.no_wait)
    }
}

/// Show what a collection consists of: configuration, segments, files, sections.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner inspect docs --data db
  lanner inspect docs --data db --verify
  lanner inspect docs --server localhost:7700 --verify --no-wait

--verify reads all files and fails if a section is not what was written. Opening a collection
checks everything but vectors, codes and payloads.")]
pub struct Inspect {
    /// Collection to describe
    name: String,
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Compare everything in the files with its checksum
    #[arg(long)]
    verify: bool,
    /// Do not wait for --verify: print the number of its job
    #[arg(long, requires = "verify")]
    no_wait: bool,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open_for_job(!self.no_wait)?;
        let info = backend.info(&self.name)?;
        if self.json {
            println!("{:#}", info_json(&info));
        } else {
            print(&info);
        }
        if !self.verify {
            return Ok(());
        }
        let files = info.segments.iter().flat_map(|segment| &segment.files);
        let size_bytes = files.map(|file| file.size_bytes).sum();
        let job = backend.verify(&self.name)?;
        jobs::wait_or_name(&*backend, &job, !self.no_wait)?;
        if !self.no_wait {
            eprintln!("verified {}: no damage", HumanBytes(size_bytes));
        }
        Ok(())
    }
}

fn print(info: &CollectionInfo) {
    println!("{}: {} points, {} writes", info.name, HumanCount(info.points), info.sequence);
    for (name, field) in &info.config.fields {
        if field.kind == VectorKind::Sparse {
            println!("  field {name}: sparse vectors, {}", field.memory);
            continue;
        }
        let settings = json!(field);
        let word = |key: &str| settings[key].as_str().unwrap_or("?").to_owned();
        println!(
            "  field {name}: {} vectors of {} dimensions, {}, {}, compression {}, index {}, {}",
            word("kind"),
            field.dimension,
            word("metric"),
            word("element"),
            field.compression,
            field.index,
            field.memory
        );
        if field.kind == VectorKind::Multi {
            println!("    encoding {}, token pooling {}", field.encoding, field.token_pooling);
        }
    }
    for (name, field) in &info.config.text {
        println!("  text {name}: {field}");
    }
    for (path, payload_type) in &info.config.payload {
        let pending = match info.pending_paths.get(path) {
            Some(segments) => {
                format!(", index being built (segments left: {segments})")
            }
            None => String::new(),
        };
        println!("  payload {path}: {}{pending}", payload_type.as_str());
    }
    for segment in &info.segments {
        let title = match segment.number {
            Some(number) => format!("segment {number}"),
            None => "in memory".to_owned(),
        };
        println!(
            "  {title}: {} rows, {} deleted, {}",
            HumanCount(segment.rows),
            HumanCount(segment.deleted),
            HumanBytes(segment.size_bytes)
        );
        for (name, report) in &segment.codecs {
            print_codec(name, report);
        }
        for (name, report) in &segment.centroids {
            print_centroids(name, report);
        }
        for (name, status) in &segment.indexes {
            index::print(name, status);
        }
        for file in &segment.files {
            let size = HumanBytes(file.size_bytes).to_string();
            println!("    {:<14} {size:>12}  {}", file.name, file.memory.as_str());
            for (section, size) in &file.sections {
                println!("      {section:<16} {:>8}", HumanBytes(*size).to_string());
            }
        }
    }
    if let Some(error) = &info.background_error {
        println!("  background work failed: {error}");
    }
    for (field, failure) in &info.training_failures {
        println!("  training of {field}: {failure}");
    }
}

/// What vectors have in common is mentioned above this share of their squared length.
const COMMON: f64 = 0.25;

/// How near vectors are to their centroids.
fn print_centroids(field: &str, report: &CentroidReport) {
    let common = match report.common > COMMON {
        true => format!("; {:.0}% of a vector is common to all", 100.0 * report.common),
        false => String::new(),
    };
    println!(
        "    {field}: {} centroids of {} vectors, {:.0}% of a vector is left{common}",
        HumanCount(report.count as u64),
        HumanCount(report.trained_vectors as u64),
        100.0 * report.loss,
    );
}

/// What was chosen, and the codes that were tried before it.
fn print_codec(field: &str, report: &CodecReport) {
    println!(
        "    {field}: trained on {} rows and {} queries, loses {:.2}% of the variance",
        HumanCount(report.trained_rows as u64),
        HumanCount(report.trained_queries as u64),
        100.0 * report.loss
    );
    println!("      {:<24} {:>6}   top 10 among 20 / 50 candidates", "code", "bytes");
    for (index, rung) in report.ladder.iter().enumerate() {
        let recall = |recall: Option<[f32; 2]>| {
            recall.map(|[first, second]| format!("{first:.4} / {second:.4}"))
        };
        let rows = recall(rung.recall).unwrap_or_else(|| "not measured".into());
        let queries = recall(rung.query_recall).map(|text| format!(", of training queries {text}"));
        let mark = if index + 1 == report.ladder.len() { "←" } else { "" };
        let queries = queries.unwrap_or_default();
        println!("      {:<24} {:>6}   {rows}{queries} {mark}", rung.code, rung.bytes);
    }
}
