//! Filters and declared payload paths ↔ messages.

use std::collections::BTreeMap;

use super::{from_model as models, to_model as messages};
use crate::proto;
use crate::proto::field_filter::Test;
use crate::proto::filter::Condition;
use crate::proto::filter_value::Value;
use lanner::Problem;
use lanner::{Bounds, Filter, FilterValue, InvalidInput, PayloadType};

type Result<T> = std::result::Result<T, InvalidInput>;

fn missing(path: &str, expected: &'static str) -> InvalidInput {
    InvalidInput::new(path, Problem::Missing { expected })
}

/// A filter from its message.
///
/// # Errors
/// If a part is not set or its JSON is malformed. Depth is bounded by the decoder.
pub fn to_model(message: proto::Filter) -> Result<Filter> {
    read(message, "filter")
}

fn read(message: proto::Filter, path: &str) -> Result<Filter> {
    let list = |list: proto::FilterList, word: &str| -> Result<Vec<Filter>> {
        let read =
            |(at, filter): (usize, proto::Filter)| read(filter, &format!("{path}.{word}[{at}]"));
        list.filters.into_iter().enumerate().map(read).collect()
    };
    match message.condition {
        Some(Condition::All(filters)) => Ok(Filter::And(list(filters, "and")?)),
        Some(Condition::Any(filters)) => Ok(Filter::Or(list(filters, "or")?)),
        Some(Condition::Negated(filter)) => Ok(!read(*filter, &format!("{path}.not"))?),
        Some(Condition::Field(test)) => read_field(test, path),
        Some(Condition::Ids(ids)) => {
            let ids = ids
                .ids
                .into_iter()
                .enumerate()
                .map(|(at, id)| messages::point_id(Some(id), &format!("{path}.ids[{at}]")));
            Ok(Filter::Ids(ids.collect::<Result<_>>()?))
        }
        Some(Condition::Json(text)) => Filter::parse(&text).map_err(|mut error| {
            let inside = error.path.strip_prefix("filter").unwrap_or(&error.path);
            error.path = format!("{path}{inside}");
            error
        }),
        None => Err(missing(path, "a condition")),
    }
}

fn read_field(message: proto::FieldFilter, path: &str) -> Result<Filter> {
    let at = format!("{path}.{}", message.path);
    let field = message.path;
    let unless = |filter: Filter, holds: bool| if holds { filter } else { !filter };
    match message.test {
        Some(Test::Equals(wanted)) => Ok(Filter::Eq { value: value(wanted, &at)?, field }),
        Some(Test::NotEquals(wanted)) => Ok(Filter::ne(field, value(wanted, &at)?)),
        Some(Test::OneOf(wanted)) => Ok(Filter::In { values: values(wanted, &at)?, field }),
        Some(Test::NoneOf(wanted)) => Ok(Filter::none_of(field, values(wanted, &at)?)),
        Some(Test::Range(range)) => {
            let bound = |bound: Option<proto::FilterValue>| {
                bound.map(|bound| value(bound, &at)).transpose()
            };
            let proto::FilterRange { gt, gte, lt, lte } = range;
            let bounds =
                Bounds { gt: bound(gt)?, gte: bound(gte)?, lt: bound(lt)?, lte: bound(lte)? };
            Ok(Filter::Range { field, bounds })
        }
        Some(Test::Exists(holds)) => Ok(unless(Filter::Exists { field }, holds)),
        Some(Test::Match(text)) => Ok(Filter::Match { field, text }),
        Some(Test::IsNull(holds)) => Ok(unless(Filter::IsNull { field }, holds)),
        None => Err(missing(&at, "a test")),
    }
}

fn values(message: proto::FilterValues, path: &str) -> Result<Vec<FilterValue>> {
    message.values.into_iter().map(|wanted| value(wanted, path)).collect()
}

/// A value from its message.
///
/// # Errors
/// If the value is not set.
pub fn value(message: proto::FilterValue, path: &str) -> Result<FilterValue> {
    match message.value {
        Some(Value::Text(text)) => Ok(FilterValue::Text(text)),
        Some(Value::Integer(number)) => Ok(FilterValue::Integer(number)),
        Some(Value::Float(number)) => Ok(FilterValue::Float(number)),
        Some(Value::Boolean(value)) => Ok(FilterValue::Boolean(value)),
        None => Err(missing(path, "`text`, `integer`, `float` or `boolean`")),
    }
}

/// The message of a filter.
pub fn from_model(filter: &Filter) -> proto::Filter {
    let list = |filters: &[Filter]| proto::FilterList {
        filters: filters.iter().map(from_model).collect(),
    };
    let field = |path: &String, test| {
        Condition::Field(proto::FieldFilter { path: path.clone(), test: Some(test) })
    };
    let condition = match filter {
        Filter::And(filters) => Condition::All(list(filters)),
        Filter::Or(filters) => Condition::Any(list(filters)),
        Filter::Not(filter) => Condition::Negated(Box::new(from_model(filter))),
        Filter::Eq { field: path, value } => field(path, Test::Equals(value_message(value))),
        Filter::In { field: path, values } => {
            let values = values.iter().map(value_message).collect();
            field(path, Test::OneOf(proto::FilterValues { values }))
        }
        Filter::Range { field: path, bounds } => {
            let bound = |bound: &Option<FilterValue>| bound.as_ref().map(value_message);
            let Bounds { gt, gte, lt, lte } = bounds;
            let (gt, gte, lt, lte) = (bound(gt), bound(gte), bound(lt), bound(lte));
            field(path, Test::Range(proto::FilterRange { gt, gte, lt, lte }))
        }
        Filter::Exists { field: path } => field(path, Test::Exists(true)),
        Filter::IsNull { field: path } => field(path, Test::IsNull(true)),
        Filter::Match { field: path, text } => field(path, Test::Match(text.clone())),
        Filter::Ids(ids) => {
            let ids = ids.iter().map(models::point_id).collect();
            Condition::Ids(proto::FilterIds { ids })
        }
    };
    proto::Filter { condition: Some(condition) }
}

/// The message of a value.
pub fn value_message(value: &FilterValue) -> proto::FilterValue {
    let value = match value {
        FilterValue::Text(text) => Value::Text(text.clone()),
        FilterValue::Integer(number) => Value::Integer(*number),
        FilterValue::Float(number) => Value::Float(*number),
        FilterValue::Boolean(value) => Value::Boolean(*value),
    };
    proto::FilterValue { value: Some(value) }
}

/// The declared payload paths from their message.
///
/// # Errors
/// If a type is unknown or not set.
pub fn paths_to_model(paths: BTreeMap<String, i32>) -> Result<BTreeMap<String, PayloadType>> {
    let convert = |(path, number): (String, i32)| {
        let payload_type = type_to_model(&path, number)?;
        Ok((path, payload_type))
    };
    paths.into_iter().map(convert).collect()
}

/// The type of a declared payload path from its message.
///
/// # Errors
/// If the type is not set or unknown.
pub fn type_to_model(path: &str, number: i32) -> Result<PayloadType> {
    match proto::PayloadType::try_from(number) {
        Ok(proto::PayloadType::Keyword) => Ok(PayloadType::Keyword),
        Ok(proto::PayloadType::Integer) => Ok(PayloadType::Integer),
        Ok(proto::PayloadType::Float) => Ok(PayloadType::Float),
        Ok(proto::PayloadType::Boolean) => Ok(PayloadType::Boolean),
        Ok(proto::PayloadType::Datetime) => Ok(PayloadType::Datetime),
        Ok(proto::PayloadType::Unspecified) | Err(_) => {
            let expected = "keyword, integer, float, boolean or datetime";
            let problem = Problem::Mismatch { expected, got: number.to_string() };
            Err(InvalidInput::new(format!("payload.{path}"), problem))
        }
    }
}

/// The message of the declared payload paths.
pub fn paths_from_model(paths: &BTreeMap<String, PayloadType>) -> BTreeMap<String, i32> {
    let convert = |(path, payload_type): (&String, &PayloadType)| {
        (path.clone(), type_from_model(*payload_type).into())
    };
    paths.iter().map(convert).collect()
}

/// The message of a declared payload path's type.
pub fn type_from_model(payload_type: PayloadType) -> proto::PayloadType {
    match payload_type {
        PayloadType::Keyword => proto::PayloadType::Keyword,
        PayloadType::Integer => proto::PayloadType::Integer,
        PayloadType::Float => proto::PayloadType::Float,
        PayloadType::Boolean => proto::PayloadType::Boolean,
        PayloadType::Datetime => proto::PayloadType::Datetime,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_form_comes_back_as_it_was() {
        let filter = Filter::eq("lang", "en")
            .and(Filter::one_of("n", [1, 2]).or(Filter::one_of("x", [0.5])))
            .and(Filter::range("at", Bounds::new().gt("2024-05-01").lte("2024-06-01")))
            .and(Filter::range("x", Bounds::new().gte(0.25).lt(7)))
            .and(Filter::matches("d", "e f"))
            .and(!Filter::exists("a.b").and(Filter::is_null("c")).and(Filter::eq("open", true)))
            .and(Filter::Ids(vec![7.into(), "7".into()]));
        let message = from_model(&filter);
        assert_eq!(to_model(message).unwrap(), filter);
        let text = filter.to_json().to_string();
        let message = proto::Filter { condition: Some(Condition::Json(text)) };
        assert_eq!(to_model(message).unwrap(), filter);
    }

    #[test]
    fn negated_tests_are_negations() {
        let number = proto::FilterValue { value: Some(Value::Integer(3)) };
        let field = |test| {
            let field = proto::FieldFilter { path: "n".into(), test: Some(test) };
            to_model(proto::Filter { condition: Some(Condition::Field(field)) }).unwrap()
        };
        assert_eq!(field(Test::NotEquals(number.clone())), !Filter::eq("n", 3));
        let values = proto::FilterValues { values: vec![number] };
        assert_eq!(field(Test::NoneOf(values)), !Filter::one_of("n", [3]));
    }

    #[test]
    fn the_deepest_accepted_filter_passes_the_decoder() {
        let deepest = lanner::limits::MAX_FILTER_DEPTH;
        let nested = (1..deepest).fold(Filter::ids([1]), |filter, _| Filter::all([filter]));
        let bytes = from_model(&nested).encode_to_vec();
        let message = proto::Filter::decode(&*bytes).unwrap();
        assert_eq!(to_model(message).unwrap(), nested);
    }

    #[test]
    fn what_is_missing_or_malformed_is_named() {
        let field = |test| {
            let field = proto::FieldFilter { path: "year".into(), test };
            proto::Filter { condition: Some(Condition::Field(field)) }
        };
        let all = |filters| proto::Filter {
            condition: Some(Condition::All(proto::FilterList { filters })),
        };
        let json = |text: &str| proto::Filter { condition: Some(Condition::Json(text.into())) };
        let refused = |filter| to_model(filter).unwrap_err().to_string();
        let empty = proto::Filter { condition: None };
        assert_eq!(refused(all(vec![empty])), "filter.and[0]: expected a condition, got nothing");
        assert_eq!(refused(field(None)), "filter.year: expected a test, got nothing");
        let unset = Some(Test::Equals(proto::FilterValue { value: None }));
        assert!(refused(field(unset)).starts_with("filter.year: expected `text`, `integer`"));
        let nested = all(vec![json(r#"{"not": {"ids": [-1]}}"#)]);
        assert!(refused(nested).starts_with("filter.and[0].not.ids[0]: expected an unsigned"));
        let paths = [("a".to_owned(), 0)].into();
        assert_eq!(
            paths_to_model(paths).unwrap_err().to_string(),
            "payload.a: expected keyword, integer, float, boolean or datetime, got 0"
        );
    }
}
