//! `lanner export`, or `scroll`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use super::error::{CliError, Result};
#[cfg(feature = "parquet")]
use super::exchange::table::{Layout, PayloadForm, TableSink};
use super::exchange::{Format, LinesSink, MatrixArguments, MatrixSink, Sink};
use super::points::{as_json, id};
use super::progress;
use super::query::filter;
use super::target::Target;
use lanner::{
    CollectionConfig, Filter, FilterValue, Include, OrderBy, OrderPlace, OrderedScroll, Point,
    PointId,
};
use lanner_client::Backend;

/// Points of a page of an export; the server ends pages earlier that are full.
const PAGE: usize = 1_000;

/// Print all points, or those that match a filter, as JSON lines in the order of their ids, or of their
/// values at a payload path; or write them to a file that other programs read.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner export docs --data db > docs.jsonl
  lanner export docs --data db --output docs.parquet
  lanner export docs --data db --output old.arrow --filter '{\"field\": \"year\", \"lt\": 2000}'
  lanner export docs --data db --output text.npy --field text --ids text.ids
  lanner scroll docs --data db --order-by meta.year:desc --limit 20 --no-vectors

`lanner import` reads what is written here. Parquet and Arrow have a column `id`, a column for each field (lists of
fixed size, of f32 or f16 as the field has; lists of these for multi fields), and one for each payload key, with a
type if all its values have one; else JSON texts, marked as arrow.json. A key that has the name of another column is in
`payload.KEY`. Ids of both kinds are JSON texts, too. .npy and .fvecs hold the vectors of one single-vector field;
points without one are left out. A file has its name when it is whole, and replaces no other without --force.

--order-by leaves out points without a value at the path, which has to be declared; of several values of a
point the one that comes first counts, and equal values are ordered by id.
Numbers come before texts. Vectors that were dropped are written as their codes hold them, and named in
`reconstructed` of JSON lines. Points that are written meanwhile are printed if their id is still to come.")]
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
    /// Write to this file; its ending says in which format: .jsonl, .parquet, .arrow or .feather, .npy, .fvecs
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the file, whatever its ending
    #[arg(long, requires = "output")]
    format: Option<Format>,
    /// Replace the file if there is one
    #[arg(long, requires = "output")]
    force: bool,
    #[command(flatten)]
    matrix: MatrixArguments,
    /// How payloads are written into Parquet and Arrow
    #[cfg(feature = "parquet")]
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    payload_as: PayloadForm,
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
        match &self.output {
            Some(path) => self.write(&*backend, path),
            None => self.print(&*backend),
        }
    }

    fn print(&self, backend: &dyn Backend) -> Result<()> {
        if let Some(flag) = self.matrix.given() {
            return Err(CliError::Usage(format!("{flag} is for a file: give --output")));
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        let failed = |error: std::io::Error| CliError::Output { source: error };
        self.each_page(backend, self.include(), |points| {
            points.iter().try_for_each(|point| writeln!(out, "{}", as_json(point)).map_err(failed))
        })?;
        out.flush().map_err(failed)
    }

    fn write(&self, backend: &dyn Backend, path: &Path) -> Result<()> {
        let started = Instant::now();
        let config = backend.info(&self.collection)?.config;
        let mut sink = self.sink(backend, &config, path)?;
        let total = backend.count(&self.collection, self.filter.as_ref())?;
        let bar = progress::bar("exporting", total.min(self.limit.unwrap_or(u64::MAX)));
        self.each_page(backend, self.include(), |points| {
            bar.inc(points.len() as u64);
            sink.write(points)
        })?;
        let points = sink.finish()?;
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        println!("{points} points in {seconds:.1} s");
        let dropped = config.fields.iter().filter(|(_, field)| !field.compression.keep_raw);
        for (name, _) in dropped.filter(|_| !self.no_vectors) {
            eprintln!("vectors of `{name}` may be as their codes hold them");
        }
        Ok(())
    }

    fn sink(
        &self,
        backend: &dyn Backend,
        config: &CollectionConfig,
        path: &Path,
    ) -> Result<Box<dyn Sink>> {
        let format = match self.format {
            Some(format) => format,
            None => Format::of_output(path)?,
        };
        let is_matrix = matches!(format, Format::Npy | Format::Fvecs | Format::Bvecs);
        if let Some(flag) = self.matrix.given().filter(|_| !is_matrix) {
            return Err(CliError::Usage(format!("{flag} is for .npy and .fvecs")));
        }
        if is_matrix && self.no_vectors {
            return Err(CliError::Usage("--no-vectors leaves nothing of a matrix".into()));
        }
        if path.extension().is_some_and(|ending| ending == "gz" || ending == "zst") {
            let problem =
                "files are not compressed here: leave --output out, and pipe into gzip or zstd";
            return Err(CliError::Usage(problem.into()));
        }
        Ok(match format {
            Format::Jsonl => Box::new(LinesSink::create(path, self.force)?),
            Format::Npy | Format::Fvecs | Format::Bvecs => {
                Box::new(MatrixSink::create(path, format, self.force, config, &self.matrix)?)
            }
            #[cfg(feature = "parquet")]
            Format::Parquet | Format::Arrow => self.table(backend, config, path, format)?,
            #[cfg(not(feature = "parquet"))]
            Format::Parquet | Format::Arrow => {
                let _ = backend;
                return Err(super::exchange::without_tables());
            }
        })
    }

    /// Looks at all ids and payloads, which the columns follow from, and begins a table.
    #[cfg(feature = "parquet")]
    fn table(
        &self,
        backend: &dyn Backend,
        config: &CollectionConfig,
        path: &Path,
        format: Format,
    ) -> Result<Box<dyn Sink>> {
        let mut layout = Layout::default();
        let include = Include { vectors: false, ..self.include() };
        let spinner = progress::spinner("looking at payloads".into());
        self.each_page(backend, include, |points| {
            points.iter().try_for_each(|point| layout.add(point, self.payload_as))
        })?;
        spinner.finish_and_clear();
        let fields = config.fields.iter().filter(|_| !self.no_vectors);
        let columns = layout.columns(fields, self.payload_as)?;
        Ok(Box::new(TableSink::create(path, format, self.force, columns)?))
    }

    fn include(&self) -> Include {
        Include { payload: !self.no_payload, vectors: !self.no_vectors }
    }

    /// Hands all points to `take`, page by page.
    fn each_page(
        &self,
        backend: &dyn Backend,
        include: Include,
        mut take: impl FnMut(Vec<Point>) -> Result<()>,
    ) -> Result<()> {
        let (mut next, mut left) = (self.start()?, self.limit.unwrap_or(u64::MAX));
        while left > 0 {
            let limit = PAGE.min(usize::try_from(left).unwrap_or(PAGE));
            let page = self.page(backend, next, limit, include)?;
            left -= page.points.len() as u64;
            take(page.points)?;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(())
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

    fn page(
        &self,
        backend: &dyn Backend,
        next: Option<Next>,
        limit: usize,
        include: Include,
    ) -> Result<Page> {
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
}
