//! `lanner ingest`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, Result};
use super::input::{Arrays, Column, JsonLines, Source, read_ids};
use super::target::Target;
use super::writing::WriteArguments;

/// Write points from arrays with ids and payloads beside them, or from JSONL, replacing those of the
/// same ids. A file that holds whole points, such as Parquet, is read by `lanner import`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner ingest docs --data db --vectors text=corpus.npy --ids corpus.ids --payloads corpus.jsonl
  lanner ingest docs --server 127.0.0.1:7700 --tokens tokens=tokens.npy,offsets.npy --ids corpus.ids
  lanner ingest docs --data db --jsonl points.jsonl
  zcat points.jsonl.gz | lanner ingest docs --data db --jsonl -
  lanner ingest docs --data db --jsonl points.jsonl --skip-invalid refused.jsonl

Texts may be pipes, compressed by gzip or zstd; - is the standard input. Arrays are .npy, .fvecs or
.bvecs: of f32, f16, f64, i8 (which stands for value/127) or other integers, in any order. Offsets
are n + 1 integers from 0: point i has the rows offsets[i]..offsets[i + 1]. A line of JSONL is
{\"id\": 7, \"vectors\": {\"text\": [0.1, 0.2], \"tokens\": [[1, 0], [0, 1]]}, \"payload\": {\"a\": 1}}

Without --skip-invalid the first refused point ends the command; writes before it are stored. With it, a
line of FILE is {\"line\": 3, \"id\": 7, \"reason\": \"vectors.text: expected 2 dimensions, got 3\"}, with
`row` (from 0) for arrays, and no `id` where there is none; the command fails only if nothing is stored.")]
pub struct Ingest {
    /// Collection to write to
    collection: String,
    #[command(flatten)]
    target: Target,
    /// One vector a point, from a matrix: .npy, .fvecs or .bvecs
    #[arg(long, value_name = "FIELD=FILE", conflicts_with = "jsonl")]
    vectors: Vec<String>,
    /// Many vectors a point, from a matrix and .npy offsets
    #[arg(long, value_name = "FIELD=FILE,OFFSETS", conflicts_with = "jsonl")]
    tokens: Vec<String>,
    /// One sparse vector a point: a matrix as SciPy's `save_npz` writes it (CSR, one row a point)
    #[arg(long, value_name = "FIELD=FILE.npz", conflicts_with = "jsonl")]
    sparse: Vec<String>,
    /// Ids, one a line; without it points are numbered from 0
    #[arg(long, value_name = "FILE", conflicts_with = "jsonl")]
    ids: Option<PathBuf>,
    /// Read the ids as numbers instead of texts
    #[arg(long, requires = "ids")]
    numeric_ids: bool,
    /// Payloads, one JSON object a line
    #[arg(long, value_name = "FILE", conflicts_with = "jsonl")]
    payloads: Option<PathBuf>,
    /// Points as JSON lines
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    writing: WriteArguments,
}

impl Ingest {
    pub fn run(self) -> Result<()> {
        let mut source = self.source()?;
        let skipped = self.writing.skipped(self.inputs())?;
        let backend = self.target.open()?;
        self.writing.write(&*backend, &self.collection, &mut *source, skipped)
    }

    /// The files that are read.
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        let (vectors, tokens) = (self.vectors.iter(), self.tokens.iter());
        let vectors = vectors.chain(&self.sparse).filter_map(|argument| argument.split_once('='));
        let tokens = tokens.filter_map(|argument| argument.split_once('='));
        let tokens = tokens.flat_map(|(_, files)| files.split(','));
        let texts = [&self.ids, &self.payloads, &self.jsonl];
        let texts = texts.into_iter().flatten().map(PathBuf::as_path);
        vectors.map(|(_, file)| file).chain(tokens).map(Path::new).chain(texts)
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        if let Some(path) = &self.jsonl {
            return Ok(Box::new(JsonLines::open(path)?));
        }
        let mut columns = Vec::new();
        for argument in &self.vectors {
            let (field, file) = split(argument, '=', "FIELD=FILE")?;
            columns.push(Column::single(field, file.as_ref())?);
        }
        for argument in &self.tokens {
            let (field, files) = split(argument, '=', "FIELD=FILE,OFFSETS")?;
            let (file, offsets) = split(files, ',', "FIELD=FILE,OFFSETS")?;
            columns.push(Column::multi(field, file.as_ref(), offsets.as_ref())?);
        }
        for argument in &self.sparse {
            let (field, file) = split(argument, '=', "FIELD=FILE.npz")?;
            columns.push(Column::sparse(field, file.as_ref())?);
        }
        let ids = match &self.ids {
            Some(path) => Some((path.clone(), read_ids(path, self.numeric_ids)?)),
            None => None,
        };
        Ok(Box::new(Arrays::new(columns, ids, self.payloads.as_deref())?))
    }
}

fn split<'a>(argument: &'a str, at: char, expected: &str) -> Result<(&'a str, &'a str)> {
    argument
        .split_once(at)
        .ok_or_else(|| CliError::Usage(format!("expected {expected}, got {argument:?}")))
}
