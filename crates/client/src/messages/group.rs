//! Group requests and responses ↔ messages.

use super::search::{count, from_explanation, from_hits, to_explanation, to_hits};
use super::to_model::missing;
use super::{filter, from_model, to_model};
use crate::proto;
use lanner::{GroupRequest, GroupResponse, HitGroup, InvalidInput, Problem};

type Result<T> = std::result::Result<T, InvalidInput>;

/// A group request from its message.
pub fn to_request(message: proto::QueryGroupsRequest) -> Result<GroupRequest> {
    let missing = || InvalidInput::new("search", Problem::Missing { expected: "a search" });
    let query = to_model::search(message.search.ok_or_else(missing)?)?;
    Ok(GroupRequest::new(query, message.group_by).group_size(message.group_size as usize))
}

/// The message of a group request to a collection.
pub fn from_request(collection: &str, request: &GroupRequest) -> proto::QueryGroupsRequest {
    proto::QueryGroupsRequest {
        collection: collection.to_owned(),
        search: Some(from_model::search(&request.query)),
        group_by: request.path.clone(),
        group_size: count(request.group_size),
    }
}

/// A group response from its message.
pub fn to_response(message: proto::QueryGroupsResponse) -> Result<GroupResponse> {
    let group = |group: proto::HitGroup| {
        let value = group.value.ok_or_else(|| missing("groups.value", "a value"))?;
        Ok(HitGroup { value: filter::value(value, "groups.value")?, hits: to_hits(group.hits)? })
    };
    Ok(GroupResponse {
        groups: message.groups.into_iter().map(group).collect::<Result<_>>()?,
        sequence: message.sequence,
        estimated_recall: message.estimated_recall,
        explanation: message.explanation.map(to_explanation),
    })
}

/// The message of a group response.
pub fn from_response(response: &GroupResponse) -> proto::QueryGroupsResponse {
    let group = |group: &HitGroup| proto::HitGroup {
        value: Some(filter::value_message(&group.value)),
        hits: from_hits(&group.hits),
    };
    proto::QueryGroupsResponse {
        groups: response.groups.iter().map(group).collect(),
        sequence: response.sequence,
        estimated_recall: response.estimated_recall,
        explanation: response.explanation.as_ref().map(from_explanation),
    }
}
