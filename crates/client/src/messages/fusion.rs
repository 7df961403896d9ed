//! Fusion requests and responses ↔ messages.

use super::search::{count, from_explanation, from_hits, to_explanation, to_hits};
use super::to_model::include;
use super::{from_model, to_model};
use crate::proto;
use lanner::{FusionMethod, FusionRequest, FusionResponse, InvalidInput, Normalization};

/// A fusion request from its message.
pub fn to_request(message: proto::FuseRequest) -> Result<FusionRequest, InvalidInput> {
    let convert = |(index, query)| {
        to_model::search(query).map_err(|error| error.within(format!("queries[{index}]")))
    };
    let queries: Vec<_> =
        message.queries.into_iter().enumerate().map(convert).collect::<Result<_, _>>()?;
    Ok(FusionRequest {
        queries,
        weights: Some(message.weights).filter(|weights| !weights.is_empty()),
        limit: message.limit as usize,
        offset: message.offset as usize,
        method: method(message.k, message.normalization)?,
        include: include(message.include),
        explain: message.explain,
    })
}

/// The method that `k` and `normalization` select.
fn method(k: Option<f32>, normalization: i32) -> Result<FusionMethod, InvalidInput> {
    let normalization = match proto::Normalization::try_from(normalization) {
        Ok(proto::Normalization::Unspecified) => {
            return Ok(k.map_or_else(FusionMethod::default, |k| FusionMethod::Rrf { k }));
        }
        Ok(proto::Normalization::MinMax) => Normalization::MinMax,
        Ok(proto::Normalization::ZScore) => Normalization::ZScore,
        Ok(proto::Normalization::TheoreticalMinMax) => Normalization::TheoreticalMinMax,
        Err(_) => {
            let expected = "a known normalization";
            return Err(InvalidInput::mismatch("normalization", expected, normalization));
        }
    };
    match k {
        None => Ok(FusionMethod::Scores { normalization }),
        Some(k) => Err(InvalidInput::mismatch("k", "no `k` with a `normalization`", k)),
    }
}

fn from_normalization(normalization: Normalization) -> proto::Normalization {
    match normalization {
        Normalization::MinMax => proto::Normalization::MinMax,
        Normalization::ZScore => proto::Normalization::ZScore,
        Normalization::TheoreticalMinMax => proto::Normalization::TheoreticalMinMax,
    }
}

/// The message of a fusion request to a collection.
pub fn from_request(collection: &str, request: &FusionRequest) -> proto::FuseRequest {
    let (k, normalization) = match request.method {
        FusionMethod::Rrf { k } => (Some(k), proto::Normalization::Unspecified),
        FusionMethod::Scores { normalization } => (None, from_normalization(normalization)),
    };
    proto::FuseRequest {
        collection: collection.to_owned(),
        queries: request.queries.iter().map(from_model::search).collect(),
        weights: request.weights.clone().unwrap_or_default(),
        limit: count(request.limit),
        offset: count(request.offset),
        k,
        include: Some(from_model::include(request.include)),
        explain: request.explain,
        normalization: normalization.into(),
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
