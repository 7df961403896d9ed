//! Searches and their responses ↔ messages.

use std::ops::Range;

use super::to_model::{ids_at, include, missing, point, point_id, vector};
use super::{filter, from_model, text};
use crate::proto::{self, rescore, search_request};
use lanner::{
    Explanation, Fragment, Highlight, Hit, InvalidInput, Query, QueryParams, QueryRequest,
    QueryResponse, Rescore, Stage,
};

type Result<T> = std::result::Result<T, InvalidInput>;

/// A search from its message.
pub fn to_request(request: proto::SearchRequest) -> Result<QueryRequest> {
    Ok(QueryRequest {
        field: request.field,
        query: to_query(request.query)?,
        filter: request.filter.map(filter::to_model).transpose()?,
        limit: request.limit as usize,
        offset: request.offset as usize,
        score_threshold: request.score_threshold,
        include: include(request.include),
        params: to_params(request.params),
        rescore: request.rescore.map(to_rescore).transpose()?,
        highlight: request.highlight.map(to_highlight),
        explain: request.explain,
    })
}

fn to_highlight(message: proto::Highlight) -> Highlight {
    let default = Highlight::default();
    let or = |value: Option<u32>, default| value.map_or(default, |value| value as usize);
    Highlight {
        fragments: or(message.fragments, default.fragments),
        length: or(message.length, default.length),
    }
}

fn to_query(query: Option<search_request::Query>) -> Result<Query> {
    use search_request::Query as Message;
    Ok(match query.ok_or_else(|| missing("query", "`vector`, `point`, `recommend` or `text`"))? {
        Message::Vector(value) => Query::Vector(vector(value, "vector")?),
        Message::Point(id) => Query::Point(point_id(Some(id), "point")?),
        Message::Recommend(examples) => Query::Recommend {
            positive: ids_at(examples.positive, "positive")?,
            negative: ids_at(examples.negative, "negative")?,
        },
        Message::Text(text) => Query::Text(text::to_model(text)?),
    })
}

fn to_rescore(message: proto::Rescore) -> Result<Rescore> {
    let query = message.query.map(|query| match query {
        rescore::Query::Vector(value) => search_request::Query::Vector(value),
        rescore::Query::Point(id) => search_request::Query::Point(id),
        rescore::Query::Recommend(examples) => search_request::Query::Recommend(examples),
        rescore::Query::Text(text) => search_request::Query::Text(text),
    });
    let query = to_query(query).map_err(|error| error.within("rescore"))?;
    Ok(Rescore { field: message.field, query, candidates: message.candidates as usize })
}

fn to_params(params: Option<proto::SearchParams>) -> QueryParams {
    let params = params.unwrap_or_default();
    let rerank = params.rerank.map(|rerank| rerank as usize);
    let search_window = params.search_window.map(|window| window as usize);
    let target_recall = params.target_recall;
    QueryParams { exact: params.exact, rerank, search_window, target_recall }
}

/// The response to a search from its message.
pub fn to_response(response: proto::SearchResponse) -> Result<QueryResponse> {
    let hits = to_hits(response.hits)?;
    let explanation = response.explanation.map(to_explanation);
    let (sequence, estimated_recall) = (response.sequence, response.estimated_recall);
    Ok(QueryResponse { hits, sequence, estimated_recall, explanation })
}

/// Hits from their messages.
pub fn to_hits(hits: Vec<proto::Hit>) -> Result<Vec<Hit>> {
    let hit = |hit: proto::Hit| {
        let found = hit.point.ok_or_else(|| missing("hits", "a point in each hit"))?;
        let fragments = hit.fragments.into_iter().map(to_fragment).collect();
        Ok(Hit { fragments, ..Hit::new(point(found)?, hit.score) })
    };
    hits.into_iter().map(hit).collect()
}

fn to_fragment(message: proto::Fragment) -> Fragment {
    let span = |span: proto::Span| span.start as usize..span.end as usize;
    let matches = message.matches.into_iter().map(span).collect();
    Fragment { path: message.path, text: message.text, matches }
}

/// An explanation from its message.
pub fn to_explanation(explanation: proto::Explanation) -> Explanation {
    let stage = |stage: proto::Stage| Stage {
        name: stage.name,
        source: stage.source,
        rows: stage.rows,
        bytes: stage.bytes,
        micros: stage.micros,
    };
    Explanation { stages: explanation.stages.into_iter().map(stage).collect() }
}

/// The message of a search.
pub fn from_request(request: &QueryRequest) -> proto::SearchRequest {
    proto::SearchRequest {
        field: request.field.clone(),
        limit: count(request.limit),
        offset: count(request.offset),
        include: Some(from_model::include(request.include)),
        query: Some(from_query(&request.query)),
        params: Some(proto::SearchParams {
            exact: request.params.exact,
            rerank: request.params.rerank.map(count),
            search_window: request.params.search_window.map(count),
            target_recall: request.params.target_recall,
        }),
        explain: request.explain,
        filter: request.filter.as_ref().map(filter::from_model),
        score_threshold: request.score_threshold,
        rescore: request.rescore.as_ref().map(from_rescore),
        highlight: request.highlight.map(from_highlight),
    }
}

fn from_highlight(highlight: Highlight) -> proto::Highlight {
    let Highlight { fragments, length } = highlight;
    proto::Highlight { fragments: Some(count(fragments)), length: Some(count(length)) }
}

/// A count, saturated to the range of messages; larger ones are rejected anyway.
pub fn count(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

fn from_query(query: &Query) -> search_request::Query {
    match query {
        Query::Vector(value) => search_request::Query::Vector(from_model::vector(value)),
        Query::Point(id) => search_request::Query::Point(from_model::point_id(id)),
        Query::Recommend { positive, negative } => {
            search_request::Query::Recommend(proto::RecommendQuery {
                positive: positive.iter().map(from_model::point_id).collect(),
                negative: negative.iter().map(from_model::point_id).collect(),
            })
        }
        Query::Text(text) => search_request::Query::Text(text::from_model(text)),
    }
}

fn from_rescore(rescore: &Rescore) -> proto::Rescore {
    let query = match from_query(&rescore.query) {
        search_request::Query::Vector(value) => rescore::Query::Vector(value),
        search_request::Query::Point(id) => rescore::Query::Point(id),
        search_request::Query::Recommend(examples) => rescore::Query::Recommend(examples),
        search_request::Query::Text(text) => rescore::Query::Text(text),
    };
    let (field, candidates) = (rescore.field.clone(), count(rescore.candidates));
    proto::Rescore { field, candidates, query: Some(query) }
}

/// The message of a response to a search.
pub fn from_response(response: &QueryResponse) -> proto::SearchResponse {
    let hits = from_hits(&response.hits);
    let explanation = response.explanation.as_ref().map(from_explanation);
    let (sequence, estimated_recall) = (response.sequence, response.estimated_recall);
    proto::SearchResponse { hits, sequence, estimated_recall, explanation }
}

/// The messages of hits.
pub fn from_hits(hits: &[Hit]) -> Vec<proto::Hit> {
    let span =
        |range: &Range<usize>| proto::Span { start: count(range.start), end: count(range.end) };
    let fragment = |fragment: &Fragment| proto::Fragment {
        path: fragment.path.clone(),
        text: fragment.text.clone(),
        matches: fragment.matches.iter().map(span).collect(),
    };
    let hit = |hit: &Hit| proto::Hit {
        score: hit.score,
        point: Some(from_model::point(&hit.point)),
        fragments: hit.fragments.iter().map(fragment).collect(),
    };
    hits.iter().map(hit).collect()
}

/// The message of an explanation.
pub fn from_explanation(explanation: &Explanation) -> proto::Explanation {
    let stage = |stage: &Stage| proto::Stage {
        name: stage.name.clone(),
        source: stage.source.clone(),
        rows: stage.rows,
        bytes: stage.bytes,
        micros: stage.micros,
    };
    proto::Explanation { stages: explanation.stages.iter().map(stage).collect() }
}
