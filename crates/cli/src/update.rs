//! `lanner update`.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, Result};
use super::input::{Entry, JsonLines, Source};
use super::points::id;
use super::query::filter;
use super::target::Target;
use lanner::{Durability, Filter, Payload, PayloadUpdate, PointId, Selection};
use lanner_client::Backend;

/// Points of one request that replaces vectors.
const BATCH: usize = 1_000;
/// Ids without a point that are printed.
const SHOWN: usize = 10;

/// Change payloads or vectors of points, and keep all else that they hold.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner update books 7 8 --data db --merge '{\"stock\": {\"sold\": 2}, \"note\": null}'
  lanner update books --filter '{\"lang\": \"en\"}' --data db --delete draft,meta.tmp
  echo '{\"id\": 7, \"vectors\": {\"text\": [0.1, 0.2]}}' | lanner update books --data db --vectors -

--merge is a JSON Merge Patch (RFC 7386): members replace those of the same name, objects are merged,
null removes. --vectors replaces the vectors of the fields that a line names.
Ids of digits are numbers, others texts; write '\"7\"' for the text 7. Ids without a point are skipped.")]
#[command(group(clap::ArgGroup::new("change").required(true).args(["set", "merge", "delete", "vectors"])))]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "filter", "vectors"])))]
pub struct Update {
    /// Collection to write to
    collection: String,
    /// Ids of the points
    #[arg(value_parser = id)]
    ids: Vec<PointId>,
    #[command(flatten)]
    target: Target,
    /// Change the points that match, as in '{"field": "year", "lt": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Filter>,
    /// Replace the whole payload
    #[arg(long, value_name = "JSON", value_parser = payload)]
    set: Option<Payload>,
    /// Merge into the payload
    #[arg(long, value_name = "JSON", value_parser = payload)]
    merge: Option<Payload>,
    /// Remove these paths from the payload
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    delete: Vec<String>,
    /// Replace vectors by those of JSON lines with id and vectors; - is the standard input
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
}

fn payload(text: &str) -> Result<Payload, String> {
    Payload::parse(text).map_err(|error| error.to_string())
}

impl Update {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        if let Some(path) = &self.vectors {
            return self.update_vectors(&*backend, JsonLines::open(path)?);
        }
        let update = match (self.set, self.merge) {
            (Some(payload), _) => PayloadUpdate::Set(payload),
            (None, Some(patch)) => PayloadUpdate::Merge(patch),
            (None, None) => PayloadUpdate::Delete(self.delete),
        };
        let points = match self.filter {
            Some(filter) => Selection::Matching(filter),
            None => Selection::Ids(self.ids),
        };
        let updated =
            backend.update_payloads(&self.collection, &points, &update, Durability::Synced)?;
        report(updated.write.affected, &updated.missing);
        Ok(())
    }

    fn update_vectors(&self, backend: &dyn Backend, mut lines: JsonLines) -> Result<()> {
        let (mut affected, mut missing) = (0, Vec::new());
        loop {
            let points = lines.next(BATCH).and_then(|entries| {
                entries.into_iter().map(Entry::into_point).collect::<Result<Vec<_>>>()
            });
            let updated = points.and_then(|points| match points.is_empty() {
                true => Ok(None),
                false => Ok(Some(backend.update_vectors(
                    &self.collection,
                    points,
                    Durability::Synced,
                )?)),
            });
            match updated {
                Ok(Some(updated)) => {
                    affected += updated.write.affected;
                    missing.extend(updated.missing);
                }
                Ok(None) => break,
                Err(source) => {
                    let (stored, source) = (affected, Box::new(source));
                    return Err(CliError::Stopped { stored, total: None, source });
                }
            }
        }
        report(affected, &missing);
        Ok(())
    }
}

fn report(affected: u64, missing: &[PointId]) {
    println!("updated {affected}");
    if !missing.is_empty() {
        let shown: Vec<String> = missing.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = if missing.len() > SHOWN { ", …" } else { "" };
        println!("without a point {}: {}{more}", missing.len(), shown.join(", "));
    }
}
