//! `lanner get`, `delete`, `count`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::error::{CliError, Result};
use super::query::filter;
use super::target::Target;
use lanner::{Durability, Filter, Include, Point, PointId, Vector};

/// Reads an id of the command line: digits are a number, anything else a text; a text of digits
/// goes in double quotes.
pub fn id(text: &str) -> Result<PointId, String> {
    if text.starts_with('"') {
        return serde_json::from_str::<String>(text)
            .map(PointId::from)
            .map_err(|error| format!("expected a quoted text, got {text}: {error}"));
    }
    Ok(text.parse::<u64>().map_or_else(|_| text.into(), PointId::from))
}

const ID_HELP: &str = "\
Ids of digits are numbers, others texts; write '\"7\"' for the text 7.";

/// Print points by id, as JSON lines.
#[derive(Args)]
#[command(after_help = format!("Example:\n  lanner get books 7 moby-dick --data db --with-vectors\n\n{ID_HELP}"))]
pub struct Get {
    /// Collection to read from
    collection: String,
    /// Ids of the points
    #[arg(required = true, value_parser = id)]
    ids: Vec<PointId>,
    #[command(flatten)]
    target: Target,
    /// Print vectors, too
    #[arg(long)]
    with_vectors: bool,
}

impl Get {
    pub fn run(self) -> Result<()> {
        let include = Include { payload: true, vectors: self.with_vectors };
        let points = self.target.open()?.get(&self.collection, &self.ids, include)?;
        for point in &points {
            println!("{}", as_json(point));
        }
        match self.ids.iter().find(|id| points.iter().all(|point| point.id != **id)) {
            Some(id) => Err(CliError::Engine(lanner::Error::PointNotFound { id: id.clone() })),
            None => Ok(()),
        }
    }
}

/// Delete points by id, or those that match a filter.
#[derive(Args)]
#[command(after_help = format!("\
Examples:
  lanner delete books 7 moby-dick --data db
  lanner delete books --filter '{{\"year\": {{\"lt\": 1900}}}}' --data db

{ID_HELP}"))]
pub struct Delete {
    /// Collection to delete from
    collection: String,
    /// Ids of the points; those without a point are skipped
    #[arg(required_unless_present = "filter", value_parser = id)]
    ids: Vec<PointId>,
    #[command(flatten)]
    target: Target,
    /// Delete the points that match, as in '{"field": "year", "lt": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter, conflicts_with = "ids")]
    filter: Option<Filter>,
}

impl Delete {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        let receipt = match &self.filter {
            Some(filter) => backend.delete_where(&self.collection, filter, Durability::Synced)?,
            None => backend.delete(&self.collection, self.ids, Durability::Synced)?,
        };
        println!("deleted {}", receipt.affected);
        Ok(())
    }
}

/// Count the points of a collection.
#[derive(Args)]
#[command(after_help = "Example:\n  lanner count books --filter '{\"lang\": \"en\"}' --data db")]
pub struct Count {
    /// Collection to count
    collection: String,
    #[command(flatten)]
    target: Target,
    /// Count only points that match, as in '{"field": "year", "gte": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Filter>,
}

impl Count {
    pub fn run(self) -> Result<()> {
        println!("{}", self.target.open()?.count(&self.collection, self.filter.as_ref())?);
        Ok(())
    }
}

/// A point as JSON, the way `ingest --jsonl` and `import` read it.
pub fn as_json(point: &Point) -> Value {
    let vector = |vector: &Vector| match vector {
        Vector::Single(values) => json!(values),
        Vector::Multi(multi) => json!(multi.rows().collect::<Vec<_>>()),
        Vector::Sparse(sparse) => json!({
            "indices": sparse.indices().collect::<Vec<_>>(),
            "values": sparse.values().collect::<Vec<_>>(),
        }),
    };
    let mut object = Map::new();
    object.insert("id".to_owned(), json!(point.id));
    if !point.vectors.is_empty() {
        let vectors: Map<_, _> =
            point.vectors.iter().map(|(name, v)| (name.clone(), vector(v))).collect();
        object.insert("vectors".to_owned(), vectors.into());
    }
    if !point.reconstructed.is_empty() {
        object.insert("reconstructed".to_owned(), json!(point.reconstructed));
    }
    if let Some(payload) = &point.payload {
        object.insert("payload".to_owned(), payload.to_map().into());
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_digits_are_numbers_unless_quoted() {
        assert_eq!(id("7").unwrap(), 7.into());
        assert_eq!(id("\"7\"").unwrap(), "7".into());
        assert_eq!(id("MED-10").unwrap(), "MED-10".into());
        assert_eq!(id("-7").unwrap(), "-7".into());
        assert!(id("\"7").is_err());
    }
}
