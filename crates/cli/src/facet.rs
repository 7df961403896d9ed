//! `lanner facet`.

use clap::Args;
use serde_json::{Value, json};

use super::error::Result;
use super::query::filter;
use super::target::Target;
use lanner::{FacetRequest, Filter, FilterValue};

/// Count how many points have each value of a payload path, the most frequent values first.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner facet docs lang --data db
  lanner facet docs tags --data db --limit 50 --filter '{\"field\": \"lang\", \"eq\": \"en\"}'

The path has to be declared (`lanner create --payload`, `lanner declare`). Counts are exact. A point counts once for each of
its different values; null is none. Among equal counts the smaller value comes first.")]
pub struct Facet {
    /// Collection to count in
    collection: String,
    /// Payload path
    path: String,
    #[command(flatten)]
    target: Target,
    /// Count only points that match, as in '{"field": "year", "gte": 2000}'
    #[arg(long, value_name = "JSON", value_parser = filter)]
    filter: Option<Filter>,
    /// Number of values
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Print counts as JSON lines
    #[arg(long)]
    json: bool,
}

impl Facet {
    pub fn run(self) -> Result<()> {
        let Self { collection, path, target, filter, limit, json: as_json } = self;
        let request = FacetRequest { path, filter, limit };
        let answer = target.open()?.facet(&collection, &request)?;
        for found in &answer.counts {
            let value = value_json(&found.value);
            match as_json {
                true => println!("{}", json!({ "value": value, "count": found.count })),
                false => println!("{:>10}  {value}", found.count),
            }
        }
        let shown = answer.counts.len() as u64;
        if shown < answer.values {
            eprintln!("{shown} of {} values", answer.values);
        }
        Ok(())
    }
}

/// A value of a payload as JSON.
pub fn value_json(value: &FilterValue) -> Value {
    match value {
        FilterValue::Text(text) => json!(text),
        FilterValue::Integer(number) => json!(number),
        FilterValue::Float(number) => json!(number),
        FilterValue::Boolean(value) => json!(value),
    }
}
