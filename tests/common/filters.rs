//! The oracle of filters: straight from the JSON of a payload, without columns.

use lanner::{Bounds, Filter, FilterValue, PointId};
use serde_json::Value;

/// Whether a point matches. Datetimes are compared as texts, so use one format and time zone.
pub fn matches(filter: &Filter, id: &PointId, payload: &Value) -> bool {
    match filter {
        Filter::And(filters) => filters.iter().all(|filter| matches(filter, id, payload)),
        Filter::Or(filters) => filters.iter().any(|filter| matches(filter, id, payload)),
        Filter::Not(filter) => !matches(filter, id, payload),
        Filter::Eq { field, value } => any(payload, field, |found| equal(found, value)),
        Filter::In { field, values } => {
            any(payload, field, |found| values.iter().any(|value| equal(found, value)))
        }
        Filter::Range { field, bounds } => any(payload, field, |found| within(found, bounds)),
        Filter::Exists { field } => any(payload, field, |found| !found.is_null()),
        Filter::IsNull { field } => any(payload, field, Value::is_null),
        Filter::Ids(ids) => ids.contains(id),
        // tests/text.rs has an oracle of its own.
        Filter::Match { .. } => unreachable!("no test of these filters has words"),
    }
}

fn any(payload: &Value, path: &str, test: impl Fn(&Value) -> bool) -> bool {
    let mut found = vec![payload];
    for key in path.split('.') {
        let objects = found.into_iter().flat_map(elements);
        found = objects.filter_map(|value| value.get(key)).collect();
    }
    found.into_iter().flat_map(elements).any(test)
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

fn equal(found: &Value, value: &FilterValue) -> bool {
    compare(found, value) == Some(std::cmp::Ordering::Equal)
}

fn within(found: &Value, bounds: &Bounds) -> bool {
    let holds = |bound: &Option<FilterValue>, test: fn(std::cmp::Ordering) -> bool| {
        bound.as_ref().is_none_or(|bound| compare(found, bound).is_some_and(test))
    };
    holds(&bounds.gt, |order| order.is_gt())
        && holds(&bounds.gte, |order| order.is_ge())
        && holds(&bounds.lt, |order| order.is_lt())
        && holds(&bounds.lte, |order| order.is_le())
}

fn compare(found: &Value, value: &FilterValue) -> Option<std::cmp::Ordering> {
    match value {
        FilterValue::Text(text) => Some(found.as_str()?.cmp(text)),
        FilterValue::Integer(number) => found.as_f64()?.partial_cmp(&(*number as f64)),
        FilterValue::Float(number) => found.as_f64()?.partial_cmp(number),
        FilterValue::Boolean(value) => Some(found.as_bool()?.cmp(value)),
    }
}
