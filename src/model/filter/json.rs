//! Filters as JSON: `{"and": […]}`, `{"or": […]}`, `{"not": {…}}`, `{"ids": […]}`, or an object
//! with `field` and a test: `eq`, `ne`, `in`, `nin`, `gt`, `gte`, `lt`, `lte`, `exists`, `null` or
//! `match`.
//! Short form: an object that maps paths to a value or tests: `{"lang": "en", "year": {"gte":
//! 2000}}`.
//!
//! Parsed by hand rather than derived, so that errors name the location in the filter.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{Bounds, Filter, FilterValue};
use crate::model::payload_column::shortened;
use crate::model::{InvalidInput, PointId, limits};

const FORMS: &str = "an object with one of `and`, `or`, `not`, `ids`, with `field` and one kind of \
                     test, or with payload paths and their values";
const COMBINATIONS: [&str; 4] = ["and", "or", "not", "ids"];
const BOUNDS: [&str; 4] = ["gt", "gte", "lt", "lte"];
const TESTS: [&str; 7] = ["eq", "ne", "in", "nin", "exists", "null", "match"];

type Result<T> = std::result::Result<T, InvalidInput>;

impl Filter {
    /// Reads a filter from JSON text.
    ///
    /// # Errors
    /// [`crate::model::Problem::Mismatch`] at the location, such as `filter.and[2].year`.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| InvalidInput::mismatch("filter", FORMS, error.to_string()))?;
        Self::from_json(&value)
    }

    /// Reads a filter from JSON.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_json(value: &Value) -> Result<Self> {
        read(value, "filter", 1)
    }

    /// The filter as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::And(filters) => json!({"and": filters}),
            Self::Or(filters) => json!({"or": filters}),
            Self::Not(filter) => json!({"not": filter}),
            Self::Eq { field, value } => json!({"field": field, "eq": value.to_json()}),
            Self::In { field, values } => {
                let values: Vec<Value> = values.iter().map(FilterValue::to_json).collect();
                json!({"field": field, "in": values})
            }
            Self::Range { field, bounds } => {
                let mut object = Map::from_iter([("field".to_owned(), json!(field))]);
                let all = [&bounds.gt, &bounds.gte, &bounds.lt, &bounds.lte];
                for (key, bound) in BOUNDS.into_iter().zip(all) {
                    object.extend(bound.iter().map(|bound| (key.to_owned(), bound.to_json())));
                }
                Value::Object(object)
            }
            Self::Exists { field } => json!({"field": field, "exists": true}),
            Self::IsNull { field } => json!({"field": field, "null": true}),
            Self::Match { field, text } => json!({"field": field, "match": text}),
            Self::Ids(ids) => json!({"ids": ids}),
        }
    }
}

impl FilterValue {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Integer(number) => json!(number),
            Self::Float(number) => json!(number),
            Self::Boolean(value) => json!(value),
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn read(value: &Value, path: &str, depth: usize) -> Result<Filter> {
    if depth > limits::MAX_FILTER_DEPTH {
        return Err(super::resolve::too_deep(path));
    }
    let object =
        value.as_object().ok_or_else(|| InvalidInput::mismatch(path, FORMS, shortened(value)))?;
    if object.contains_key("field") {
        return read_field(object, path);
    }
    if !object.is_empty() && !object.keys().any(|key| is_word(key)) {
        return read_paths(object, path);
    }
    let mut entries = object.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(InvalidInput::mismatch(path, FORMS, keys(object)));
    };
    let inside = format!("{path}.{key}");
    let list = || -> Result<Vec<Filter>> {
        let filters = array(value, &inside, "an array of filters")?.iter().enumerate();
        filters.map(|(at, filter)| read(filter, &format!("{inside}[{at}]"), depth + 1)).collect()
    };
    match key.as_str() {
        "and" => Ok(Filter::And(list()?)),
        "or" => Ok(Filter::Or(list()?)),
        "not" => Ok(Filter::Not(Box::new(read(value, &inside, depth + 1)?))),
        "ids" => {
            let ids = array(value, &inside, "an array of ids")?.iter().enumerate();
            let ids = ids.map(|(at, id)| read_id(id, &format!("{inside}[{at}]")));
            Ok(Filter::Ids(ids.collect::<Result<_>>()?))
        }
        _ => Err(InvalidInput::mismatch(path, FORMS, keys(object))),
    }
}

fn keys(object: &Map<String, Value>) -> String {
    let keys: Vec<String> = object.keys().map(|key| format!("`{key}`")).collect();
    if keys.is_empty() { "an empty object".into() } else { shorten(keys.join(", ")) }
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn array<'v>(value: &'v Value, path: &str, expected: &'static str) -> Result<&'v [Value]> {
    let array = value.as_array().map(Vec::as_slice);
    array.ok_or_else(|| InvalidInput::mismatch(path, expected, shortened(value)))
}

fn read_id(value: &Value, path: &str) -> Result<PointId> {
    let id = match value {
        Value::String(text) => Some(text.as_str().into()),
        other => other.as_u64().map(PointId::from),
    };
    id.ok_or_else(|| InvalidInput::mismatch(path, "an unsigned number or a text", shortened(value)))
}

/// True for keywords of the filter language, which cannot be payload paths in the short form.
fn is_word(key: &str) -> bool {
    COMBINATIONS.contains(&key) || is_test(key)
}

fn is_test(key: &str) -> bool {
    TESTS.contains(&key) || BOUNDS.contains(&key)
}

/// Reads a test of the values at the path in `field`.
fn read_field(object: &Map<String, Value>, path: &str) -> Result<Filter> {
    let field = &object["field"];
    let Some(field) = field.as_str() else {
        return Err(InvalidInput::mismatch(
            format!("{path}.field"),
            "a payload path",
            shortened(field),
        ));
    };
    let tests: Vec<&str> =
        object.keys().map(String::as_str).filter(|key| *key != "field").collect();
    read_tests(field, (object, &tests), &format!("{path}.{field}"))
}

/// Reads the short form: paths with a value or an object of tests each; all must hold.
fn read_paths(object: &Map<String, Value>, path: &str) -> Result<Filter> {
    let read = |(field, value): (&String, &Value)| {
        let at = format!("{path}.{}", shorten(field.clone()));
        match value {
            Value::Object(inside) => {
                let tests: Vec<&str> = inside.keys().map(String::as_str).collect();
                read_tests(field, (inside, &tests), &at)
            }
            Value::Array(values) => {
                let expected = match values.iter().any(Value::is_object) {
                    true => "a value or tests; for several conditions use `and`, `or` or `not`",
                    false => "a value or tests; for one of several use `in`",
                };
                Err(InvalidInput::mismatch(at, expected, shortened(value)))
            }
            value => Ok(Filter::eq(field, read_value(value, &at)?)),
        }
    };
    let mut filters = object.iter().map(read).collect::<Result<Vec<_>>>()?;
    match filters.len() {
        1 => Ok(filters.remove(0)),
        _ => Ok(Filter::And(filters)),
    }
}

/// Reads the tests of an object, applied to the values at the path `field`.
fn read_tests(
    field: &str,
    (object, tests): (&Map<String, Value>, &[&str]),
    at: &str,
) -> Result<Filter> {
    let field = field.to_owned();
    let values = |key: &str| -> Result<Vec<FilterValue>> {
        let values = array(&object[key], at, "an array of values")?.iter().enumerate();
        values.map(|(index, value)| read_value(value, &format!("{at}.{key}[{index}]"))).collect()
    };
    match *tests {
        ["eq"] => Ok(Filter::Eq { value: read_value(&object["eq"], at)?, field }),
        ["ne"] => Ok(!Filter::Eq { value: read_value(&object["ne"], at)?, field }),
        ["in"] => Ok(Filter::In { values: values("in")?, field }),
        ["nin"] => Ok(!Filter::In { values: values("nin")?, field }),
        ["exists"] => Ok(asked(Filter::Exists { field }, boolean(&object["exists"], at)?)),
        ["null"] => Ok(asked(Filter::IsNull { field }, boolean(&object["null"], at)?)),
        ["match"] => match object["match"].as_str() {
            Some(text) => Ok(Filter::Match { field, text: text.to_owned() }),
            None => Err(InvalidInput::mismatch(at, "words to match", shortened(&object["match"]))),
        },
        [_, ..] if tests.iter().all(|test| BOUNDS.contains(test)) => {
            let bound = |key| object.get(key).map(|value| read_value(value, at)).transpose();
            let (gt, gte, lt, lte) = (bound("gt")?, bound("gte")?, bound("lt")?, bound("lte")?);
            Ok(Filter::Range { field, bounds: Bounds { gt, gte, lt, lte } })
        }
        _ => {
            let got = match tests.iter().find(|test| !is_test(test)) {
                Some(unknown) => shorten(format!("`{unknown}`")),
                None => keys(object),
            };
            let expected = "one of `eq`, `ne`, `in`, `nin`, `exists`, `null`, `match`, or bounds \
                            (`gt`, `gte`, `lt`, `lte`)";
            Err(InvalidInput::mismatch(at, expected, got))
        }
    }
}

fn asked(filter: Filter, holds: bool) -> Filter {
    if holds { filter } else { !filter }
}

fn boolean(value: &Value, path: &str) -> Result<bool> {
    value.as_bool().ok_or_else(|| InvalidInput::mismatch(path, "true or false", shortened(value)))
}

fn read_value(value: &Value, path: &str) -> Result<FilterValue> {
    match value {
        Value::String(text) => Ok(FilterValue::Text(text.clone())),
        Value::Bool(value) => Ok(FilterValue::Boolean(*value)),
        Value::Number(number) => Ok(match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => FilterValue::Integer(number),
            (None, number) => FilterValue::Float(number.unwrap_or(f64::NAN)),
        }),
        Value::Null => {
            Err(InvalidInput::mismatch(path, "a value", "null; ask with `\"null\": true`"))
        }
        other => {
            Err(InvalidInput::mismatch(path, "a text, a number, true or false", shortened(other)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back_as_it_was() {
        let texts = [
            r#"{"and":[{"field":"lang","eq":"en"},{"field":"x","eq":true}]}"#,
            r#"{"or":[{"field":"year","gte":2000,"lt":2010},{"field":"p","gt":0.5,"lte":7}]}"#,
            r#"{"not":{"field":"tag","in":["a","b",3,-0.5,false]}}"#,
            r#"{"ids":[1,"a",18446744073709551615]}"#,
            r#"{"and":[{"field":"x","exists":true},{"field":"meta.y","null":true}]}"#,
            r#"{"or":[]}"#,
            r#"{"field":"title","match":"+learned \"index structures\""}"#,
        ];
        for text in texts {
            let filter = Filter::parse(text).unwrap();
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(filter.to_json(), expected);
            let by_serde: Filter = serde_json::from_str(text).unwrap();
            assert_eq!(by_serde, filter);
        }
        let absent = Filter::parse(r#"{"field":"x","exists":false}"#).unwrap();
        assert_eq!(absent, !Filter::exists("x"));
    }

    #[test]
    fn short_forms_are_those_that_they_stand_for() {
        let pairs = [
            (r#"{"year": 2000}"#, Filter::eq("year", 2000)),
            (r#"{"meta.open": true}"#, Filter::eq("meta.open", true)),
            (
                r#"{"lang": "en", "year": {"gte": 2000, "lt": 2010}}"#,
                Filter::all([
                    Filter::eq("lang", "en"),
                    Filter::range("year", Bounds::new().gte(2000).lt(2010)),
                ]),
            ),
            (r#"{"not": {"tag": {"exists": false}}}"#, !!Filter::exists("tag")),
            (r#"{"field": "year", "ne": 3}"#, Filter::ne("year", 3)),
            (r#"{"tag": {"nin": ["a", "b"]}}"#, Filter::none_of("tag", ["a", "b"])),
            (r#"{"field": "in", "eq": 1}"#, Filter::eq("in", 1)),
            (r#"{"title": {"match": "a b"}}"#, Filter::matches("title", "a b")),
        ];
        for (text, expected) in pairs {
            assert_eq!(Filter::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let cases = [
            ("{", "filter: expected an object with one of `and`"),
            ("[]", "filter: expected an object with one of `and`"),
            (
                "{}",
                "filter: expected an object with one of `and`, `or`, `not`, `ids`, with `field` and one kind of test, or with payload paths and their values, got an empty object",
            ),
            (r#"{"and":[],"or":[]}"#, "values, got `and`, `or`"),
            (
                r#"{"and":[{"or":[{"xor":[]}]}]}"#,
                "filter.and[0].or[0].xor: expected a value or tests; for one of several use `in`, got []",
            ),
            (
                r#"{"all": [{"year": 3}]}"#,
                "filter.all: expected a value or tests; for several conditions use `and`, `or` or `not`, got",
            ),
            (r#"{"fild":"year","eq":3}"#, "their values, got `eq`, `fild`"),
            (r#"{"year":{"field":"a","eq":1}}"#, "filter.year: expected one of `eq`, `ne`, `in`"),
            (r#"{"year":null}"#, "filter.year: expected a value, got null; ask with"),
            (r#"{"year":{}}"#, "filter.year: expected one of `eq`, `ne`"),
            (r#"{"and":{"field":"a","eq":1}}"#, "filter.and: expected an array of filters, got {"),
            (r#"{"not":[]}"#, "filter.not: expected an object"),
            (r#"{"ids":[1,-2]}"#, "filter.ids[1]: expected an unsigned number or a text, got -2"),
            (r#"{"field":3}"#, "filter.field: expected a payload path, got 3"),
            (r#"{"field":"a"}"#, "filter.a: expected one of `eq`, `ne`, `in`"),
            (
                r#"{"and":[{"field":"a","equals":1}]}"#,
                "filter.and[0].a: expected one of `eq`, `ne`, `in`, `nin`, `exists`, `null`, `match`, or bounds (`gt`, `gte`, `lt`, `lte`), got `equals`",
            ),
            (r#"{"field":"a","eq":1,"lt":2}"#, "`lte`), got `eq`, `field`, `lt`"),
            (r#"{"field":"a","eq":null}"#, "filter.a: expected a value, got null; ask with"),
            (
                r#"{"field":"a","eq":[1]}"#,
                "filter.a: expected a text, a number, true or false, got [1]",
            ),
            (r#"{"field":"a","in":[1,{}]}"#, "filter.a.in[1]: expected a text, a number"),
            (r#"{"field":"a","match":1}"#, "filter.a: expected words to match, got 1"),
            (r#"{"field":"a","exists":1}"#, "filter.a: expected true or false, got 1"),
        ];
        for (text, expected) in cases {
            let error = Filter::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn depth_is_bounded_while_reading() {
        let deep = |depth: usize| {
            format!("{}{}{}", "{\"not\":".repeat(depth), "{\"ids\":[1]}", "}".repeat(depth))
        };
        assert!(Filter::parse(&deep(limits::MAX_FILTER_DEPTH - 1)).is_ok());
        let error = Filter::parse(&deep(limits::MAX_FILTER_DEPTH)).unwrap_err().to_string();
        assert!(error.contains("expected at most 32 levels"), "{error}");
        assert!(Filter::parse(&deep(100_000)).is_err());
    }
}
