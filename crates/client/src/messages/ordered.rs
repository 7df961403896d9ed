//! Ordered scrolls and facets ↔ messages.

use super::search::count;
use super::to_model::{include, missing, point, point_id};
use super::{filter, from_model};
use crate::proto;
use lanner::{
    Direction, FacetRequest, FacetResponse, InvalidInput, OrderBy, OrderPlace, OrderedPage,
    OrderedScroll, ValueCount,
};

type Result<T> = std::result::Result<T, InvalidInput>;

/// Default page size of a scroll.
pub const SCROLL_LIMIT: usize = 100;

/// An ordered scroll from its message.
pub fn to_request(
    message: proto::ScrollPointsRequest,
    order_by: proto::OrderBy,
) -> Result<OrderedScroll> {
    let direction = match proto::Direction::try_from(order_by.direction) {
        Ok(proto::Direction::Unspecified | proto::Direction::Ascending) => Direction::Ascending,
        Ok(proto::Direction::Descending) => Direction::Descending,
        Err(_) => {
            let (path, expected) = ("order_by.direction", "a known direction");
            return Err(InvalidInput::mismatch(path, expected, order_by.direction));
        }
    };
    Ok(OrderedScroll {
        order_by: OrderBy { path: order_by.path, direction },
        filter: message.filter.map(filter::to_model).transpose()?,
        after: to_place(message.after, message.after_value, "after")?,
        limit: if message.limit == 0 { SCROLL_LIMIT } else { message.limit as usize },
        include: include(message.include),
    })
}

/// A place from its id and value, which must both be set or both not.
fn to_place(
    id: Option<proto::PointId>,
    value: Option<proto::FilterValue>,
    name: &str,
) -> Result<Option<OrderPlace>> {
    match (id, value) {
        (None, None) => Ok(None),
        (id, Some(value)) => Ok(Some(OrderPlace {
            id: point_id(id, name)?,
            value: filter::value(value, &format!("{name}_value"))?,
        })),
        (Some(_), None) => {
            Err(missing(format!("{name}_value"), "the value of the point, in a scroll in an order"))
        }
    }
}

/// The message of an ordered scroll of a collection.
pub fn from_request(collection: &str, request: &OrderedScroll) -> proto::ScrollPointsRequest {
    let direction = match request.order_by.direction {
        Direction::Ascending => proto::Direction::Ascending,
        Direction::Descending => proto::Direction::Descending,
    };
    let (path, direction) = (request.order_by.path.clone(), direction.into());
    proto::ScrollPointsRequest {
        collection: collection.to_owned(),
        after: request.after.as_ref().map(|place| from_model::point_id(&place.id)),
        limit: count(request.limit),
        include: Some(from_model::include(request.include)),
        filter: request.filter.as_ref().map(filter::from_model),
        order_by: Some(proto::OrderBy { path, direction }),
        after_value: request.after.as_ref().map(|place| filter::value_message(&place.value)),
    }
}

/// A page of an ordered scroll from its message.
pub fn to_page(message: proto::ScrollPointsResponse) -> Result<OrderedPage> {
    let points = message.points.into_iter().map(point).collect::<Result<_>>()?;
    Ok(OrderedPage { points, next: to_place(message.next, message.next_value, "next")? })
}

/// The message of a page of an ordered scroll.
pub fn from_page(page: &OrderedPage) -> proto::ScrollPointsResponse {
    proto::ScrollPointsResponse {
        points: page.points.iter().map(from_model::point).collect(),
        next: page.next.as_ref().map(|place| from_model::point_id(&place.id)),
        next_value: page.next.as_ref().map(|place| filter::value_message(&place.value)),
    }
}

/// A facet request from its message.
pub fn to_facet(message: proto::FacetPointsRequest) -> Result<FacetRequest> {
    Ok(FacetRequest {
        path: message.path,
        filter: message.filter.map(filter::to_model).transpose()?,
        limit: message.limit as usize,
    })
}

/// The message of a facet request to a collection.
pub fn from_facet(collection: &str, request: &FacetRequest) -> proto::FacetPointsRequest {
    proto::FacetPointsRequest {
        collection: collection.to_owned(),
        path: request.path.clone(),
        filter: request.filter.as_ref().map(filter::from_model),
        limit: count(request.limit),
    }
}

/// Facet counts from their message.
pub fn to_counts(message: proto::FacetPointsResponse) -> Result<FacetResponse> {
    let count = |found: proto::ValueCount| {
        let value = found.value.ok_or_else(|| missing("counts.value", "a value"))?;
        Ok(ValueCount { value: filter::value(value, "counts.value")?, count: found.count })
    };
    let counts = message.counts.into_iter().map(count).collect::<Result<_>>()?;
    Ok(FacetResponse { counts, values: message.values, sequence: message.sequence })
}

/// The message of facet counts.
pub fn from_counts(response: &FacetResponse) -> proto::FacetPointsResponse {
    let count = |found: &ValueCount| proto::ValueCount {
        value: Some(filter::value_message(&found.value)),
        count: found.count,
    };
    proto::FacetPointsResponse {
        counts: response.counts.iter().map(count).collect(),
        values: response.values,
        sequence: response.sequence,
    }
}
