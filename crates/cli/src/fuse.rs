//! `lanner query --fuse`: other searches whose rankings become one with that of the first.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::error::{CliError, Result};
use super::query::{QueryArguments, field, rows, text_field};
use lanner::{
    CollectionConfig, Filter, FusionMethod, FusionRequest, Normalization, PointId, Query,
    QueryRequest,
};

/// Hits of each search that count, unless more are wanted of all together.
const HITS: usize = 100;

/// Fuse the rankings of several searches.
#[derive(Args)]
#[command(next_help_heading = "Fusion")]
pub struct FuseArguments {
    /// Another search, whose ranking is fused with that of the first, by reciprocal ranks if
    /// --fuse-scores is not given; may be repeated. Keys: field; vector, npy (with row), point, positive
    /// (with negative), text or match; weight; limit (its hits that count); filter (in place of --filter)
    #[arg(long, value_name = "JSON", value_parser = search,
          conflicts_with_all = ["score_threshold", "rescore_field"])]
    pub fuse: Vec<FusedSearch>,
    /// How much the first search counts [default: 1]
    #[arg(long, value_name = "WEIGHT", requires = "fuse")]
    fuse_weight: Option<f32>,
    /// Hits of a search that count, if it does not say [default: 100, at least --limit and --offset]
    #[arg(long, value_name = "N", requires = "fuse")]
    fuse_hits: Option<usize>,
    /// The larger, the less the first few ranks stand out [default: 60]
    #[arg(long, value_name = "K", requires = "fuse", conflicts_with = "fuse_scores")]
    fuse_k: Option<f32>,
    /// Add weighted scores instead of reciprocal ranks, normalized by min-max, z-score or
    /// theoretical-min-max (fields under cosine, and words)
    #[arg(long, value_name = "NORMALIZATION", requires = "fuse")]
    fuse_scores: Option<Normalization>,
}

/// A search beside the first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusedSearch {
    field: Option<String>,
    vector: Option<Value>,
    npy: Option<PathBuf>,
    /// A number, or a text like `3..8`.
    row: Option<Value>,
    point: Option<PointId>,
    #[serde(default)]
    positive: Vec<PointId>,
    #[serde(default)]
    negative: Vec<PointId>,
    text: Option<String>,
    #[serde(rename = "match")]
    matched: Option<String>,
    weight: Option<f32>,
    limit: Option<usize>,
    filter: Option<Value>,
}

fn search(text: &str) -> Result<FusedSearch, String> {
    let search: FusedSearch = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let ways = [
        search.vector.is_some(),
        search.npy.is_some(),
        search.point.is_some(),
        !search.positive.is_empty(),
        search.text.is_some(),
        search.matched.is_some(),
    ];
    match ways.iter().filter(|&&given| given).count() {
        1 => Ok(search),
        got => {
            let ways = "vector, npy, point, positive, text and match";
            Err(format!("expected one of {ways}, got {got} of them"))
        }
    }
}

impl FuseArguments {
    /// The first search and the others; `first` says what is wanted of all together.
    pub fn request(self, config: &CollectionConfig, first: QueryRequest) -> Result<FusionRequest> {
        let (limit, offset, include) = (first.limit, first.offset, first.include);
        let hits = self.fuse_hits.unwrap_or(HITS.max(limit.saturating_add(offset)));
        let highlight = first.highlight;
        let first = QueryRequest { limit: hits, offset: 0, highlight: None, ..first };
        let mut weights = vec![self.fuse_weight.unwrap_or(1.0)];
        let mut queries = vec![first];
        for (index, search) in self.fuse.into_iter().enumerate() {
            weights.push(search.weight.unwrap_or(1.0));
            queries.push(search.request(
                config,
                &queries[0],
                &format!("--fuse {}: ", index + 1),
            )?);
        }
        // Of the searches with words; without any, the first says that there are none.
        let has_words = |request: &QueryRequest| matches!(request.query, Query::Text(_));
        let none = !queries.iter().any(has_words);
        for (index, query) in queries.iter_mut().enumerate() {
            let shows = has_words(query) || (none && index == 0);
            query.highlight = highlight.filter(|_| shows);
        }
        let explain = queries[0].explain;
        let method = match (self.fuse_scores, self.fuse_k) {
            (Some(normalization), _) => FusionMethod::Scores { normalization },
            (None, Some(k)) => FusionMethod::Rrf { k },
            (None, None) => FusionMethod::default(),
        };
        let plain = FusionRequest::new(queries).weights(weights).limit(limit).offset(offset);
        Ok(FusionRequest { include, explain, method, ..plain })
    }
}

impl FusedSearch {
    /// As the first search, with what is said here in its place.
    fn request(
        self,
        config: &CollectionConfig,
        first: &QueryRequest,
        prefix: &str,
    ) -> Result<QueryRequest> {
        let usage = |detail: String| CliError::Usage(format!("{prefix}{detail}"));
        let field = match self.text.is_some() || self.matched.is_some() {
            true => text_field(config, self.field.as_deref())?,
            false => field(config, self.field.as_deref())?,
        };
        let row = self.row.map(|row| match row {
            Value::String(row) => rows(&row),
            row => rows(&row.to_string()),
        });
        let filter = self.filter.map(|filter| Filter::parse(&filter.to_string())).transpose();
        let filter = filter.map_err(|error| usage(error.to_string()))?;
        let arguments = QueryArguments {
            vector: self.vector.map(|vector| vector.to_string()),
            npy: self.npy,
            row: row.transpose().map_err(usage)?,
            point: self.point,
            positive: self.positive,
            negative: self.negative,
            text: self.text,
            matched: self.matched,
        };
        Ok(QueryRequest {
            query: arguments.resolve(config, &field, prefix)?,
            field,
            limit: self.limit.unwrap_or(first.limit),
            filter: filter.or_else(|| first.filter.clone()),
            ..first.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_says_what_it_searches_for_once() {
        assert!(search(r#"{"field": "v", "vector": [1, 2], "weight": 2}"#).is_ok());
        assert!(search(r#"{"positive": [1, "a"], "negative": [2]}"#).is_ok());
        let refused = |text: &str| search(text).unwrap_err();
        assert!(search(r#"{"text": "a b"}"#).is_ok() && search(r#"{"match": "+a"}"#).is_ok());
        assert!(refused("{}").ends_with("got 0 of them"));
        assert!(refused(r#"{"vector": [1], "point": 7}"#).ends_with("got 2 of them"));
        assert!(refused(r#"{"vector": [1], "weigth": 7}"#).contains("unknown field `weigth`"));
    }
}
