//! Partial updates ↔ messages.

use super::{from_model, to_model};
use crate::proto;
use crate::proto::update_payloads_request::Update;
use lanner::{
    Durability, InvalidInput, Payload, PayloadUpdate, Point, PointId, Selection, UpdateReceipt,
};

type Result<T> = std::result::Result<T, InvalidInput>;

/// The selected points from their message.
///
/// # Errors
/// If an id or the filter is malformed, or both are given.
pub fn to_selection(ids: Vec<proto::PointId>, filter: Option<proto::Filter>) -> Result<Selection> {
    match filter {
        None => Ok(Selection::Ids(to_model::point_ids(ids)?)),
        Some(filter) if ids.is_empty() => Ok(Selection::Matching(to_model::filter(filter)?)),
        Some(_) => Err(InvalidInput::mismatch("ids", "no ids beside a filter", ids.len())),
    }
}

/// A payload update from its message.
///
/// # Errors
/// If the update is not set, or its JSON is not an object.
pub fn to_update(update: Option<Update>) -> Result<PayloadUpdate> {
    match update {
        Some(Update::SetJson(text)) => Ok(PayloadUpdate::Set(Payload::parse(&text)?)),
        Some(Update::MergeJson(text)) => Ok(PayloadUpdate::Merge(Payload::parse(&text)?)),
        Some(Update::Delete(delete)) => Ok(PayloadUpdate::Delete(delete.paths)),
        None => Err(to_model::missing("update", "`set_json`, `merge_json` or `delete`")),
    }
}

/// The message of a payload update.
pub fn from_update(
    collection: &str,
    points: &Selection,
    update: &PayloadUpdate,
    durability: Durability,
) -> proto::UpdatePayloadsRequest {
    let (ids, filter) = match points {
        Selection::Ids(ids) => (ids.iter().map(from_model::point_id).collect(), None),
        Selection::Matching(filter) => (Vec::new(), Some(from_model::filter(filter))),
    };
    let update = match update {
        PayloadUpdate::Set(payload) => Update::SetJson(payload.as_str().to_owned()),
        PayloadUpdate::Merge(patch) => Update::MergeJson(patch.as_str().to_owned()),
        PayloadUpdate::Delete(paths) => {
            Update::Delete(proto::PayloadPaths { paths: paths.clone() })
        }
    };
    proto::UpdatePayloadsRequest {
        collection: collection.to_owned(),
        ids,
        filter,
        update: Some(update),
        durability: from_model::durability(durability).into(),
    }
}

/// Points with new vectors from their messages.
///
/// # Errors
/// If an id is not set or a vector is malformed, at `points[i]`.
pub fn to_points(points: Vec<proto::PointVectors>) -> Result<Vec<Point>> {
    let convert = |(index, point): (usize, proto::PointVectors)| {
        let point = proto::Point { id: point.id, vectors: point.vectors, payload_json: None };
        to_model::point(point).map_err(|error| error.within(format!("points[{index}]")))
    };
    points.into_iter().enumerate().map(convert).collect()
}

/// The message of a point's id and vectors.
pub fn from_point(point: &Point) -> proto::PointVectors {
    let proto::Point { id, vectors, .. } = from_model::point(point);
    proto::PointVectors { id, vectors }
}

/// The receipt of an update from its message.
///
/// # Errors
/// If the receipt is not set or malformed.
pub fn to_receipt(
    receipt: Option<proto::WriteReceipt>,
    missing: Vec<proto::PointId>,
) -> Result<UpdateReceipt> {
    let missing = to_model::ids_at(missing, "missing")?;
    Ok(UpdateReceipt { write: to_model::receipt(receipt)?, missing })
}

/// The messages of ids.
pub fn from_missing(missing: &[PointId]) -> Vec<proto::PointId> {
    missing.iter().map(from_model::point_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanner::Filter;

    #[test]
    fn updates_come_back_as_they_were() {
        let payload = Payload::parse("{\"a\": null}").unwrap();
        let updates = [
            PayloadUpdate::Set(payload.clone()),
            PayloadUpdate::Merge(payload),
            PayloadUpdate::Delete(vec!["a.b".into(), "c".into()]),
        ];
        let selections = [
            Selection::Ids(vec![7.into(), "7".into()]),
            Selection::Matching(Filter::eq("lang", "en")),
        ];
        for (update, points) in updates.iter().flat_map(|u| selections.iter().map(move |s| (u, s)))
        {
            let message = from_update("c", points, update, Durability::Synced);
            assert_eq!(to_update(message.update).unwrap(), *update);
            assert_eq!(to_selection(message.ids, message.filter).unwrap(), *points);
        }
        let nothing = to_update(None).unwrap_err().to_string();
        assert_eq!(nothing, "update: expected `set_json`, `merge_json` or `delete`, got nothing");
    }
}
