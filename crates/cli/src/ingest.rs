//! `lanner ingest`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::error::{CliError, Result};
use super::input::{Arrays, Column, Entry, JsonLines, Source, read_ids};
use super::progress;
use super::skipped::Skipped;
use super::target::Target;
use lanner::Durability;
use lanner_client::{Backend, Refused, Writer};

/// Write points from .npy or JSONL files, replacing those of the same ids.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner ingest docs --data db --vectors text=corpus.npy --ids corpus.ids --payloads corpus.jsonl
  lanner ingest docs --server 127.0.0.1:7700 --tokens tokens=tokens.npy,offsets.npy --ids corpus.ids
  lanner ingest docs --data db --jsonl points.jsonl
  zcat points.jsonl.gz | lanner ingest docs --data db --jsonl -
  lanner ingest docs --data db --jsonl points.jsonl --skip-invalid refused.jsonl

Texts may be pipes, compressed by gzip or zstd; - is the standard input.
Arrays are of f32, f16, f64, i8 (which stands for value/127) or other integers, in any order. Offsets
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
    /// One vector a point, from a .npy matrix
    #[arg(long, value_name = "FIELD=FILE", conflicts_with = "jsonl")]
    vectors: Vec<String>,
    /// Many vectors a point, from a .npy matrix and .npy offsets
    #[arg(long, value_name = "FIELD=FILE,OFFSETS", conflicts_with = "jsonl")]
    tokens: Vec<String>,
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
    /// Skip points that are refused, and write each with the reason to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    skip_invalid: Option<PathBuf>,
    /// Points a write
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Do not wait for the disk: a loss of power may take the last writes
    #[arg(long)]
    buffered: bool,
}

impl Ingest {
    pub fn run(self) -> Result<()> {
        let mut source = self.source()?;
        let skipped = self.skip_invalid.as_deref().map(|path| Skipped::create(path, self.inputs()));
        let mut skipped = skipped.transpose()?;
        let durability = if self.buffered { Durability::Buffered } else { Durability::Synced };
        let backend = self.target.open()?;
        let started = Instant::now();
        let (name, batch) = (&self.collection, self.batch as usize);
        let stored =
            ingest_valid(&*backend, name, &mut *source, batch, durability, skipped.as_mut())?;
        let seconds = started.elapsed().as_secs_f64();
        let rate = stored as f64 / seconds;
        match skipped.as_ref().map_or(0, |skipped| skipped.count) {
            0 if stored == 0 => {
                Err(CliError::Usage("the input holds no points: nothing was stored".into()))
            }
            refused if stored == 0 => Err(CliError::NothingStored { refused }),
            0 => {
                println!("{stored} points in {seconds:.1} s ({rate:.0} points/s)");
                Ok(())
            }
            refused => {
                println!(
                    "{stored} points in {seconds:.1} s ({rate:.0} points/s), {refused} skipped"
                );
                Ok(())
            }
        }
    }

    /// The files that are read.
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        let (vectors, tokens) = (self.vectors.iter(), self.tokens.iter());
        let vectors = vectors.filter_map(|argument| argument.split_once('='));
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

/// Writes all points of a source; returns how many.
pub fn ingest(
    backend: &dyn Backend,
    collection: &str,
    source: &mut dyn Source,
    batch: usize,
    durability: Durability,
) -> Result<u64> {
    ingest_valid(backend, collection, source, batch, durability, None)
}

/// As [`ingest`]; with a file for them, points that are refused are reported there and skipped.
fn ingest_valid(
    backend: &dyn Backend,
    collection: &str,
    source: &mut dyn Source,
    batch: usize,
    durability: Durability,
    mut skipped: Option<&mut Skipped>,
) -> Result<u64> {
    let total = source.total();
    let mut writer = backend.writer(collection, durability)?;
    let bar = match total {
        Some(total) => progress::bar("ingesting", total),
        None => progress::count("ingesting"),
    };
    loop {
        let entries = source.next(batch);
        let written = entries.and_then(|entries| write(&mut *writer, entries, &mut skipped));
        match written {
            Ok(0) => break,
            Ok(count) => bar.inc(count as u64),
            Err(source) => {
                bar.abandon();
                let stored = writer.stored();
                return Err(CliError::Stopped { stored, total, source: Box::new(source) });
            }
        }
    }
    bar.finish_and_clear();
    Ok(writer.stored())
}

/// Writes the points of a batch; returns the number of its entries.
fn write(
    writer: &mut dyn Writer,
    entries: Vec<Entry>,
    skipped: &mut Option<&mut Skipped>,
) -> Result<usize> {
    let count = entries.len();
    let (mut points, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for Entry { place, point } in entries {
        match (point, &mut *skipped) {
            (Ok(point), _) => {
                points.push(point);
                places.push(place);
            }
            (Err(malformed), None) => return Err(malformed.error),
            (Err(malformed), Some(skipped)) => {
                skipped.report(place, malformed.id.as_ref(), &malformed.error.reason())?;
            }
        }
    }
    let Some(skipped) = skipped else {
        if !points.is_empty() {
            writer.write(points)?;
        }
        return Ok(count);
    };
    let mut refused = Vec::new();
    let written = writer.write_valid(points, &mut refused);
    // Also what was refused before a failure.
    for Refused { index, id, reason } in &refused {
        skipped.report(places[*index], Some(id), reason)?;
    }
    skipped.flush()?;
    written?;
    Ok(count)
}
