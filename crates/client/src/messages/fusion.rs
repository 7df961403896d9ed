//! Fusion requests and responses ↔ messages.

use super::search::{count, from_explanation, from_hits, to_explanation, to_hits};
use super::to_model::include;
use super::{from_model, to_model};
use crate::proto;
use lanner::{FusionRequest, FusionResponse, InvalidInput};

/// A fusion request from its message.
pub fn to_request(message: proto::FuseRequest) -> Result<FusionRequest, InvalidInput> {
    let convert = |(index, query)| {
        to_model::search(query).map_err(|error| error.within(format!("queries[{index}]")))
    };
    let queries: Vec<_> =
        message.queries.into_iter().enumerate().map(convert).collect::<Result<_, _>>()?;
    let default = FusionRequest::new(queries);
    Ok(FusionRequest {
        weights: Some(message.weights).filter(|weights| !weights.is_empty()),
        limit: message.limit as usize,
        offset: message.offset as usize,
        k: message.k.unwrap_or(default.k),
        include: include(message.include),
        explain: message.explain,
        queries: default.queries,
    })
}

/// The message of a fusion request to a collection.
pub fn from_request(collection: &str, request: &FusionRequest) -> proto::FuseRequest {
    proto::FuseRequest {
        collection: collection.to_owned(),
        queries: request.queries.iter().map(from_model::search).collect(),
        weights: request.weights.clone().unwrap_or_default(),
        limit: count(request.limit),
        offset: count(request.offset),
        k: Some(request.k),
        include: Some(from_model::include(request.include)),
        explain: request.explain,
    }
}

/// A fusion response from its message.
pub fn to_response(message: proto::FuseResponse) -> Result<FusionResponse, InvalidInput> {
    Ok(FusionResponse {
        hits: to_hits(message.hits)?,
        sequence: message.sequence,
        explanations: message.explanations.into_iter().map(to_explanation).collect(),
    })
}

/// The message of a fusion response.
pub fn from_response(response: &FusionResponse) -> proto::FuseResponse {
    proto::FuseResponse {
        hits: from_hits(&response.hits),
        sequence: response.sequence,
        explanations: response.explanations.iter().map(from_explanation).collect(),
    }
}
