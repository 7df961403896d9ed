//! `lanner query`.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::error::{CliError, Result};
use super::facet::value_json;
use super::fuse::FuseArguments;
use super::input::{self, sparse_row};
use super::points;
use super::target::Target;
use lanner::{
    CollectionConfig, Explanation, Filter, Fragment, GroupRequest, Highlight, Hit, HitGroup,
    MultiVector, PointId, Query as Search, QueryParams, QueryRequest, Rescore, TextQuery,
    VectorKind,
};
use lanner_eval::{SparseMatrix, VectorFile};

/// Find the points most similar to a vector, to points, or to words. Higher scores are better.
#[derive(Args)]
#[command(after_help = r#"Examples:
  lanner query docs --data db --vector '[0.1, 0.2, 0.3]'
  lanner query docs --data db --field tokens --vector '[[1, 0], [0, 1]]' --limit 3
  lanner query docs --server 127.0.0.1:7700 --field text --npy queries.npy --row 4
  lanner query docs --data db --field text --point MED-10
  lanner query docs --data db --field splade --vector '{"indices": [17, 2054], "values": [0.7, 1.3]}'
  lanner query docs --data db --text 'why is the sky blue' --highlight
  lanner query docs --data db --field text --positive MED-10,MED-14 --negative MED-301
  lanner query docs --data db --field text --npy queries.npy --row 4 \
      --rescore-field tokens --rescore-npy query_tokens.npy --rescore-row 20..31 --candidates 200
  lanner query docs --data db --vector '[0.1, 0.2, 0.3]' \
      --filter '{"and": [{"field": "lang", "eq": "en"}, {"field": "meta.year", "gte": 2000}]}'
  lanner query docs --data db --field text --npy queries.npy --row 4 \
      --fuse '{"field": "tokens", "npy": "query_tokens.npy", "row": "20..31", "weight": 2}'
  lanner query docs --data db --text 'why is the sky blue'
  lanner query docs --data db --match '+sky "blue light"~2 -ocean scatter*'
  lanner query docs --data db --text 'why is the sky blue' --fuse '{"field": "text", "point": 7}'
  lanner query passages --data db --vector '[0.1, 0.2, 0.3]' --group-by document --group-size 2

Filters on payload paths, fast where they are declared: {"year": {"gte": 2000}, "lang": "en"}, or
{"field": F, …} with eq, ne, in, nin, gt, gte, lt, lte, exists or null, or match (words in the path
of a text field, or in a text field);
{"and": […]}, {"or": […]}, {"not": {…}}, {"ids": […]}."#)]
pub struct Query {
    /// Collection to search
    collection: String,
    #[command(flatten)]
    target: Target,
    /// Vector or text field; may be left out if the collection has one only
    #[arg(long)]
    field: Option<String>,
    #[command(flatten)]
    query: QueryArguments,
    /// Number of hits
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Number of best hits to leave out
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Find only points that match, as in '{"field": "year", "gte": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Filter>,
    /// Print only hits that score so much or more (in the field of --rescore-field, if given)
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    score_threshold: Option<f32>,
    #[command(flatten)]
    params: ParamArguments,
    /// Find the best groups of points that share a value at this payload path; --limit is their number
    #[arg(long, value_name = "PATH", conflicts_with_all = ["fuse", "rescore_field", "offset"])]
    group_by: Option<String>,
    /// Hits of each group
    #[arg(long, value_name = "N", default_value_t = 3, requires = "group_by")]
    group_size: usize,
    /// Show parts of the texts of hits around the words found, at most N of each path (1 if not given)
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    highlight: Option<usize>,
    /// Characters of such a part
    #[arg(long, value_name = "N", default_value_t = 200, requires = "highlight")]
    highlight_length: usize,
    /// Say on stderr what was read and how long it took
    #[arg(long)]
    explain: bool,
    /// Print hits as JSON lines
    #[arg(long)]
    json: bool,
    /// Leave payloads out
    #[arg(long)]
    no_payload: bool,
    /// Print vectors, too, in JSON lines that `ingest --jsonl` reads
    #[arg(long)]
    with_vectors: bool,
    #[command(flatten)]
    rescore: RescoreArguments,
    #[command(flatten)]
    fuse: FuseArguments,
}

/// How to search a compressed field.
#[derive(Args, Debug, Clone, Copy)]
pub struct ParamArguments {
    /// Compare with every vector itself, not with codes
    #[arg(long, conflicts_with = "rerank")]
    exact: bool,
    /// Candidates of a scan or an index that are compared with something better [default: what
    /// the target recall takes; of a scan four times the hits, at least 50]
    #[arg(long, value_name = "N")]
    rerank: Option<usize>,
    /// How far an index is searched: rows of a graph, or lists [default: as far as the target
    /// recall takes]
    #[arg(long, value_name = "N", conflicts_with = "exact")]
    search_window: Option<usize>,
    /// Share of the exact nearest points that an index has to find, 0.5 to 0.999 [default: 0.98]
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["exact", "search_window"])]
    target_recall: Option<f32>,
}

impl ParamArguments {
    pub fn params(self) -> QueryParams {
        let Self { exact, rerank, search_window, target_recall } = self;
        QueryParams { exact, rerank, search_window, target_recall }
    }
}

/// What to search for.
#[derive(Args)]
pub struct QueryArguments {
    /// A JSON array of numbers, of arrays of numbers for a multi field, or for a sparse field an
    /// object of the arrays `indices` and `values`
    #[arg(long, value_name = "JSON", required_unless_present_any = ["npy", "point", "positive", "text", "match"],
          conflicts_with_all = ["npy", "point", "positive", "text", "match"])]
    pub vector: Option<String>,
    /// A .npy matrix with the vector; with all vectors for a multi field; .npz for a sparse field
    #[arg(long, value_name = "FILE", conflicts_with_all = ["point", "positive", "text", "match"])]
    pub npy: Option<PathBuf>,
    /// Row of the matrix; for a multi field the rows, as in 3..8
    #[arg(long, value_name = "N", requires = "npy", value_parser = rows)]
    pub row: Option<Range<usize>>,
    /// Id of a point whose vector to search with
    #[arg(long, value_name = "ID", value_parser = points::id,
          conflicts_with_all = ["positive", "text", "match"])]
    pub point: Option<PointId>,
    /// Ids of points that hits should be like, in a single-vector field
    #[arg(long, value_name = "ID,ID…", value_parser = points::id, value_delimiter = ',')]
    pub positive: Vec<PointId>,
    /// Ids of points that hits should be unlike
    #[arg(long, value_name = "ID,ID…", value_parser = points::id, value_delimiter = ',',
          requires = "positive")]
    pub negative: Vec<PointId>,
    /// Words, of which hits have at least one, in a text field
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["positive", "match"])]
    pub text: Option<String>,
    /// The same with operators: +required -excluded "a phrase"~2 begin* changed~1
    #[arg(
        long = "match",
        id = "match",
        value_name = "QUERY",
        conflicts_with = "positive",
        allow_hyphen_values = true
    )]
    pub matched: Option<String>,
}

impl Query {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        let config = backend.info(&self.collection)?.config;
        let field = match self.query.is_of_words() {
            true => text_field(&config, self.field.as_deref())?,
            false => field(&config, self.field.as_deref())?,
        };
        let request = QueryRequest {
            query: self.query.resolve(&config, &field, "--")?,
            field,
            filter: self.filter,
            limit: self.limit,
            offset: self.offset,
            score_threshold: self.score_threshold,
            include: lanner::Include { payload: !self.no_payload, vectors: self.with_vectors },
            params: self.params.params(),
            rescore: self.rescore.resolve(&config)?,
            highlight: self
                .highlight
                .map(|fragments| Highlight { fragments, length: self.highlight_length }),
            explain: self.explain,
        };
        let json = self.json || self.with_vectors;
        if let Some(path) = self.group_by {
            let request = GroupRequest::new(request, path).group_size(self.group_size);
            let answer = backend.query_groups(&self.collection, &request)?;
            answer.groups.iter().for_each(|group| print_group(group, json));
            answer.explanation.iter().for_each(print_stages);
        } else if self.fuse.fuse.is_empty() {
            let answer = backend.query(&self.collection, &request)?;
            print_hits(&answer.hits, json);
            answer.explanation.iter().for_each(print_stages);
        } else {
            let request = self.fuse.request(&config, request)?;
            let answer = backend.fuse(&self.collection, &request)?;
            print_hits(&answer.hits, json);
            for (explanation, query) in answer.explanations.iter().zip(&request.queries) {
                eprintln!("search of {}", query.field);
                print_stages(explanation);
            }
        }
        Ok(())
    }
}

/// A group as a line with its value before its hits, or as JSON lines with its value in each.
fn print_group(group: &HitGroup, json: bool) {
    let value = value_json(&group.value);
    if !json {
        println!("{value}");
        return print_hits(&group.hits, false);
    }
    for hit in &group.hits {
        let mut line = hit_json(hit);
        line["group"] = value.clone();
        println!("{line}");
    }
}

fn print_hits(hits: &[Hit], json: bool) {
    for (rank, hit) in hits.iter().enumerate() {
        if json {
            println!("{}", hit_json(hit));
        } else {
            let payload = hit.point.payload.as_ref().map_or("", |payload| payload.as_str());
            println!("{:>3}  {:>10.5}  {}  {payload}", rank + 1, hit.score, hit.point.id);
            hit.fragments.iter().for_each(|fragment| println!("{:>17}{}", "", marked(fragment)));
        }
    }
}

fn hit_json(hit: &Hit) -> serde_json::Value {
    let mut line = points::as_json(&hit.point);
    line["score"] = json!(hit.score);
    if !hit.fragments.is_empty() {
        let json = |fragment: &Fragment| {
            let matches: Vec<[usize; 2]> =
                fragment.matches.iter().map(|range| [range.start, range.end]).collect();
            json!({"path": fragment.path, "text": fragment.text, "matches": matches})
        };
        line["fragments"] = hit.fragments.iter().map(json).collect();
    }
    line
}

/// A fragment in one line, with asterisks around what matched.
fn marked(fragment: &Fragment) -> String {
    let (mut line, mut end) = (format!("{}: ", fragment.path), 0);
    let part = |range: Range<usize>| fragment.text.get(range).unwrap_or_default();
    for range in &fragment.matches {
        line += &format!("{}*{}*", part(end..range.start), part(range.clone()));
        end = range.end;
    }
    line += part(end..fragment.text.len());
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn print_stages(explanation: &Explanation) {
    for stage in &explanation.stages {
        eprintln!(
            "{:<7} {} rows of {}, {}, {} µs",
            stage.name,
            HumanCount(stage.rows),
            stage.source,
            HumanBytes(stage.bytes),
            HumanCount(stage.micros)
        );
    }
}

/// The vector field of a search, or the only one.
pub fn field(config: &CollectionConfig, name: Option<&str>) -> Result<String> {
    let none = "give --text or --match: the collection has text fields alone";
    only(config.fields.keys(), name, none, "the collection has")
}

/// The text field of a search, or the only one.
pub fn text_field(config: &CollectionConfig, name: Option<&str>) -> Result<String> {
    let none = "the collection has no text field: `lanner create --text` makes one";
    only(config.text.keys(), name, none, "the collection has the text fields")
}

/// The named field, or the only one of `fields`; `none` and `several` say what is wrong otherwise.
fn only<'c>(
    fields: impl Iterator<Item = &'c String>,
    name: Option<&str>,
    none: &str,
    several: &str,
) -> Result<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = fields.map(String::as_str).collect();
    match names.as_slice() {
        [name] => Ok((*name).to_owned()),
        [] => Err(CliError::Usage(none.to_owned())),
        names => {
            let names = names.join(", ");
            Err(CliError::Usage(format!("give --field; {several}: {names}")))
        }
    }
}

impl QueryArguments {
    /// Whether words are searched for.
    pub fn is_of_words(&self) -> bool {
        self.text.is_some() || self.matched.is_some()
    }

    /// What is searched for in a field; `prefix` begins the names of flags in errors.
    pub fn resolve(self, config: &CollectionConfig, field: &str, prefix: &str) -> Result<Search> {
        if let Some(words) = self.text {
            return Ok(TextQuery::words(words).into());
        }
        if let Some(text) = self.matched {
            return Ok(TextQuery::parse(&text)?.into());
        }
        if let Some(id) = self.point {
            return Ok(Search::Point(id));
        }
        if !self.positive.is_empty() {
            let Self { positive, negative, .. } = self;
            return Ok(Search::Recommend { positive, negative });
        }
        let Self { vector, npy, row, .. } = self;
        VectorSource { vector, npy, row, prefix }.read(config, field)
    }
}

/// Order the candidates of the query by another field.
#[derive(Args)]
#[command(next_help_heading = "Second stage")]
struct RescoreArguments {
    /// Field that the candidates are scored in again; hits are the best by that score
    #[arg(long, value_name = "FIELD", requires_all = ["candidates", "rescore"])]
    rescore_field: Option<String>,
    /// What they are scored with: a JSON array of numbers, or of arrays for a multi field
    #[arg(long, value_name = "JSON", group = "rescore", requires = "rescore_field")]
    rescore_vector: Option<String>,
    /// A .npy matrix with that vector; with all vectors for a multi field
    #[arg(long, value_name = "FILE", group = "rescore", requires = "rescore_field")]
    rescore_npy: Option<PathBuf>,
    /// Row of the matrix; for a multi field the rows, as in 3..8
    #[arg(long, value_name = "N", requires = "rescore_npy", value_parser = rows)]
    rescore_row: Option<Range<usize>>,
    /// Id of a point whose vector is used; it is left out of the hits
    #[arg(long, value_name = "ID", value_parser = points::id, group = "rescore",
          requires = "rescore_field")]
    rescore_point: Option<PointId>,
    /// Words that they are scored with, in a text field
    #[arg(long, value_name = "WORDS", group = "rescore", requires = "rescore_field")]
    rescore_text: Option<String>,
    /// Number of candidates
    #[arg(long, value_name = "N", requires = "rescore_field")]
    candidates: Option<usize>,
}

impl RescoreArguments {
    fn resolve(self, config: &CollectionConfig) -> Result<Option<Rescore>> {
        let (Some(field), Some(candidates)) = (self.rescore_field, self.candidates) else {
            return Ok(None);
        };
        let query = match (self.rescore_point, self.rescore_text) {
            (Some(id), _) => Search::Point(id),
            (None, Some(words)) => TextQuery::words(words).into(),
            (None, None) => {
                let (vector, npy, row) = (self.rescore_vector, self.rescore_npy, self.rescore_row);
                VectorSource { vector, npy, row, prefix: "--rescore-" }.read(config, &field)?
            }
        };
        Ok(Some(Rescore { field, query, candidates }))
    }
}

/// Where a vector is read from.
struct VectorSource<'p> {
    /// JSON.
    vector: Option<String>,
    npy: Option<PathBuf>,
    row: Option<Range<usize>>,
    /// How the flags begin that say so.
    prefix: &'p str,
}

impl VectorSource<'_> {
    fn read(self, config: &CollectionConfig, field: &str) -> Result<Search> {
        let prefix = self.prefix;
        if let Some(text) = self.vector {
            let value = serde_json::from_str(&text).map_err(|error| error.to_string());
            let vector = value.and_then(|value| input::vector(&value));
            return vector
                .map(Search::Vector)
                .map_err(|detail| CliError::Usage(format!("{prefix}vector: {detail}")));
        }
        let path = self.npy.unwrap_or_default();
        let kind = config.field(field)?.1.kind;
        if kind == VectorKind::Sparse {
            let matrix = SparseMatrix::open(&path)?;
            let row = self.row.unwrap_or(0..1).start;
            if row >= matrix.rows() {
                let (path, rows) = (path.display(), matrix.rows());
                let problem = format!("{prefix}row: `{path}` has {rows} rows, got {row}");
                return Err(CliError::Usage(problem));
            }
            return Ok(sparse_row(&path, &matrix, row)?.into());
        }
        let mut matrix = VectorFile::open(&path)?;
        let range = self.row.unwrap_or(match kind {
            VectorKind::Single | VectorKind::Sparse => 0..1,
            VectorKind::Multi => 0..matrix.rows(),
        });
        if range.end > matrix.rows() || range.is_empty() {
            let (path, rows) = (path.display(), matrix.rows());
            let asked = format!("{}..{}", range.start, range.end);
            let problem = format!("{prefix}row: `{path}` has {rows} rows, got {asked}");
            return Err(CliError::Usage(problem));
        }
        let mut values = Vec::new();
        matrix.read_rows(range, &mut values)?;
        Ok(match kind {
            VectorKind::Single | VectorKind::Sparse => values.into(),
            VectorKind::Multi => MultiVector::from_flat(matrix.cols(), values)?.into(),
        })
    }
}

/// Reads a filter as JSON.
pub fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| error.to_string())
}

/// Reads a row, or a range of rows.
pub fn rows(text: &str) -> Result<Range<usize>, String> {
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| format!("expected a row or a range like 3..8, got {text:?}"))
    };
    match text.split_once("..") {
        Some((start, end)) => Ok(number(start)?..number(end)?),
        None => number(text).map(|row| row..row.saturating_add(1)),
    }
}
