//! `lanner get`, `delete`, `count`.

use std::io::{BufWriter, Write};

use clap::Args;
use serde_json::{Map, Value, json};

use super::error::{CliError, Result};
use super::query::filter;
use super::target::Target;
use lanner::{
    Durability, Filter, FilterValue, Include, OrderBy, OrderPlace, OrderedScroll, Point, PointId,
    Vector,
};
use lanner_client::Backend;

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
#[command(after_help = ID_HELP)]
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

/// Points of a page of an export; the server ends pages earlier that are full.
const PAGE: usize = 1_000;

/// Print all points, or those that match a filter, as JSON lines in the order of their ids, or of their
/// values at a payload path.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner export docs --data db > docs.jsonl
  lanner ingest copy --data other --jsonl docs.jsonl
  lanner scroll docs --data db --order-by meta.year:desc --limit 20 --no-vectors

--order-by leaves out points without a value at the path, which has to be declared; of several values of a
point the one that comes first counts, and equal values are ordered by id.
Numbers come before texts. Vectors that were dropped are printed as their codes hold them, and named in
`reconstructed`. Points that are written meanwhile are printed if their id is still to come.")]
pub struct Export {
    /// Collection to read from
    collection: String,
    #[command(flatten)]
    target: Target,
    /// Print only points that match, as in '{\"field\": \"year\", \"gte\": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Filter>,
    /// Order points by their values at a payload path: `PATH`, `PATH:asc` or `PATH:desc`
    #[arg(long, value_name = "PATH", value_parser = order)]
    order_by: Option<OrderBy>,
    /// Print points with a greater id only; with --order-by those after the point of this id and
    /// --after-value
    #[arg(long, value_name = "ID", value_parser = id)]
    after: Option<PointId>,
    /// The value that the point --after is ordered by, as JSON
    #[arg(long, value_name = "JSON", value_parser = value, requires_all = ["order_by", "after"])]
    after_value: Option<FilterValue>,
    /// Print so many points at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Leave vectors out
    #[arg(long)]
    no_vectors: bool,
    /// Leave payloads out
    #[arg(long)]
    no_payload: bool,
}

/// A page of an export, and where the next one starts.
struct Page {
    points: Vec<Point>,
    next: Option<Next>,
}

enum Next {
    ById(PointId),
    InOrder(OrderPlace),
}

impl Export {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        let (mut next, mut left) = (self.start()?, self.limit.unwrap_or(u64::MAX));
        let mut out = BufWriter::new(std::io::stdout().lock());
        let failed = |error: std::io::Error| CliError::Output { source: error };
        while left > 0 {
            let limit = PAGE.min(usize::try_from(left).unwrap_or(PAGE));
            let page = self.page(&*backend, next, limit)?;
            for point in &page.points {
                writeln!(out, "{}", as_json(point)).map_err(failed)?;
            }
            left -= page.points.len() as u64;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        out.flush().map_err(failed)
    }

    fn start(&self) -> Result<Option<Next>> {
        let Some(id) = self.after.clone() else { return Ok(None) };
        match (&self.order_by, self.after_value.clone()) {
            (None, _) => Ok(Some(Next::ById(id))),
            (Some(_), Some(value)) => Ok(Some(Next::InOrder(OrderPlace { value, id }))),
            (Some(_), None) => {
                let give =
                    "give --after-value, too: the value that the point --after is ordered by";
                Err(CliError::Usage(give.into()))
            }
        }
    }

    fn page(&self, backend: &dyn Backend, next: Option<Next>, limit: usize) -> Result<Page> {
        let include = Include { payload: !self.no_payload, vectors: !self.no_vectors };
        let Some(order_by) = self.order_by.clone() else {
            let after = match &next {
                Some(Next::ById(id)) => Some(id),
                _ => None,
            };
            let filter = self.filter.as_ref();
            let page = backend.scroll(&self.collection, filter, after, limit, include)?;
            return Ok(Page { points: page.points, next: page.next.map(Next::ById) });
        };
        let after = match next {
            Some(Next::InOrder(place)) => Some(place),
            _ => None,
        };
        let filter = self.filter.clone();
        let request = OrderedScroll { order_by, filter, after, limit, include };
        let page = backend.scroll_ordered(&self.collection, &request)?;
        Ok(Page { points: page.points, next: page.next.map(Next::InOrder) })
    }
}

/// Reads an order: a path, and a direction after a colon.
fn order(text: &str) -> Result<OrderBy, String> {
    match text.rsplit_once(':') {
        None | Some((_, "asc")) => Ok(OrderBy::ascending(text.trim_end_matches(":asc"))),
        Some((path, "desc")) => Ok(OrderBy::descending(path)),
        Some((_, other)) => Err(format!("expected asc or desc after the colon, got {other:?}")),
    }
}

/// Reads a value of a payload as JSON.
fn value(text: &str) -> Result<FilterValue, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match &value {
        Value::String(text) => Ok(FilterValue::Text(text.clone())),
        Value::Bool(value) => Ok(FilterValue::Boolean(*value)),
        Value::Number(number) => {
            let integer = number.as_i64().map(FilterValue::Integer);
            let value = integer.or_else(|| number.as_f64().map(FilterValue::Float));
            value.ok_or_else(|| format!("expected a number of 64 bits, got {number}"))
        }
        other => Err(format!("expected a text, a number, true or false, got {other}")),
    }
}

/// Delete points by id, or those that match a filter.
#[derive(Args)]
#[command(after_help = ID_HELP)]
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

/// A point as JSON, the way `ingest --jsonl` reads it.
pub fn as_json(point: &Point) -> Value {
    let vector = |vector: &Vector| match vector {
        Vector::Single(values) => json!(values),
        Vector::Multi(multi) => json!(multi.rows().collect::<Vec<_>>()),
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
    fn orders_are_a_path_and_a_direction() {
        assert_eq!(order("meta.year").unwrap(), OrderBy::ascending("meta.year"));
        assert_eq!(order("a:b:asc").unwrap(), OrderBy::ascending("a:b"));
        assert_eq!(order("a:b:desc").unwrap(), OrderBy::descending("a:b"));
        assert!(order("year:down").unwrap_err().contains("got \"down\""));
        assert_eq!(value("7").unwrap(), 7.into());
        assert_eq!(value("7.5").unwrap(), 7.5.into());
        assert_eq!(value("\"x\"").unwrap(), "x".into());
        assert!(value("[1]").is_err() && value("x").is_err());
    }

    #[test]
    fn ids_of_digits_are_numbers_unless_quoted() {
        assert_eq!(id("7").unwrap(), 7.into());
        assert_eq!(id("\"7\"").unwrap(), "7".into());
        assert_eq!(id("MED-10").unwrap(), "MED-10".into());
        assert_eq!(id("-7").unwrap(), "-7".into());
        assert!(id("\"7").is_err());
    }
}
