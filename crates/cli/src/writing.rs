//! Writes the points of a source: what `ingest` and `import` have in common.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::error::{CliError, Result};
use super::input::{Entry, Place, Source};
use super::progress;
use super::skipped::Skipped;
use lanner::Durability;
use lanner_client::{Backend, Refused, Writer};

/// How points are written.
#[derive(Args)]
pub struct WriteArguments {
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

impl WriteArguments {
    /// Creates the file of refused points, unless it is one of the inputs.
    pub fn skipped<'p>(&self, inputs: impl Iterator<Item = &'p Path>) -> Result<Option<Skipped>> {
        self.skip_invalid.as_deref().map(|path| Skipped::create(path, inputs)).transpose()
    }

    /// Writes all points of a source, and prints how many.
    ///
    /// # Errors
    /// If a point is refused and not skipped, or no point is stored.
    pub fn write(
        &self,
        backend: &dyn Backend,
        collection: &str,
        source: &mut dyn Source,
        mut skipped: Option<Skipped>,
    ) -> Result<()> {
        let durability = if self.buffered { Durability::Buffered } else { Durability::Synced };
        let (started, batch) = (Instant::now(), self.batch as usize);
        let stored = write_valid(backend, collection, source, batch, durability, skipped.as_mut())?;
        let seconds = started.elapsed().as_secs_f64();
        let rate = stored as f64 / seconds;
        match skipped.map_or(0, |skipped| skipped.count) {
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
}

/// Writes all points of a source; returns how many.
pub fn write_all(
    backend: &dyn Backend,
    collection: &str,
    source: &mut dyn Source,
    batch: usize,
    durability: Durability,
) -> Result<u64> {
    write_valid(backend, collection, source, batch, durability, None)
}

/// As [`write_all`]; with a file for them, points that are refused are reported there and skipped.
fn write_valid(
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
        Some(total) => progress::bar("writing", total),
        None => progress::count("writing"),
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
            writer.write(points).map_err(|error| at(&places, error.into()))?;
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

/// The error, with the places of the batch that was refused.
fn at(places: &[Place], source: CliError) -> CliError {
    match (places.first(), places.last()) {
        (Some(&first), Some(&last)) => {
            CliError::Batch { first, last: last.number(), source: Box::new(source) }
        }
        _ => source,
    }
}
