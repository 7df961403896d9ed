//! Payload updates: the points to change, and the change.
//!
//! Payloads are edited as text: a merge (JSON Merge Patch, RFC 7386) or a deletion splits only the
//! objects on its path into members, so that everything untouched keeps its order and every digit.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::payload_type::validate_path;
use super::{
    CollectionConfig, Filter, InvalidInput, Payload, PointId, check_range, limits, read_new,
};

/// Selects the points that a write changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// The points with these ids.
    Ids(Vec<PointId>),
    /// The points that match this filter.
    Matching(Filter),
}

/// A change to payloads.
///
/// ```
/// use lanner::{Payload, PayloadUpdate};
///
/// let before = Payload::parse(r#"{"title": "Emma", "stock": {"shelf": 3, "sold": 1}}"#)?;
/// let patch = PayloadUpdate::Merge(Payload::parse(r#"{"stock": {"sold": 2}, "title": null}"#)?);
/// assert_eq!(patch.apply(Some(&before))?.unwrap().as_str(), r#"{"stock":{"shelf":3,"sold":2}}"#);
/// let delete = PayloadUpdate::Delete(vec!["stock.shelf".into()]);
/// assert_eq!(delete.apply(Some(&before))?.unwrap().as_str(), r#"{"title":"Emma","stock":{"sold":1}}"#);
/// # Ok::<(), lanner::InvalidInput>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum PayloadUpdate {
    /// Replaces the whole payload.
    Set(Payload),
    /// JSON Merge Patch (RFC 7386): members replace those of the same name, objects are merged
    /// recursively, and `null` deletes.
    Merge(Payload),
    /// Deletes the members at these paths, such as `meta.year`. Arrays on the path apply to all of
    /// their elements.
    Delete(Vec<String>),
}

impl PayloadUpdate {
    /// Checks the update against a collection.
    ///
    /// # Errors
    /// [`InvalidInput`] at `payload.PATH` if a value does not have the declared type or is no text for a
    /// text field, at `paths` if
    /// there are none or more than 64, and at `paths[i]` if a path is malformed.
    pub(crate) fn validate(&self, config: &CollectionConfig) -> Result<(), InvalidInput> {
        match self {
            // A merged value at a declared path comes from one of the two payloads.
            Self::Set(payload) | Self::Merge(payload) => read_new(config, Some(payload)).map(drop),
            Self::Delete(paths) => {
                check_range("paths", 1, limits::MAX_PATHS, paths.len())?;
                paths.iter().enumerate().try_for_each(|(index, path)| {
                    validate_path(path).map_err(|error| {
                        InvalidInput::new(format!("paths[{index}]"), error.problem)
                    })
                })
            }
        }
    }

    /// Applies the update to a payload.
    ///
    /// # Errors
    /// [`InvalidInput`] at `payload` if the result is too long.
    pub fn apply(&self, payload: Option<&Payload>) -> Result<Option<Payload>, InvalidInput> {
        let before = payload.map(Payload::as_str);
        match self {
            Self::Set(payload) => Ok(Some(payload.clone())),
            Self::Merge(patch) => Payload::parse(&merged(before, patch.as_str())).map(Some),
            Self::Delete(paths) => {
                let Some(before) = before else { return Ok(None) };
                let mut text = Cow::Borrowed(before);
                for path in paths {
                    let parts: Vec<&str> = path.split('.').collect();
                    text = without(&text, &parts).into();
                }
                Payload::parse(&text).map(Some)
            }
        }
    }
}

/// The members of a JSON object in order, with unparsed values.
#[derive(Default)]
struct Members<'t> {
    /// `None` marks a removed member.
    members: Vec<Option<(String, Cow<'t, str>)>>,
    places: HashMap<String, usize>,
}

impl<'t> Members<'t> {
    /// The members of an object; `None` if the text is not an object.
    fn read(text: &'t str) -> Option<Self> {
        if is_object(text) { serde_json::from_str(text).ok() } else { None }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let member = self.members[*self.places.get(name)?].as_ref();
        member.map(|(_, value)| &**value)
    }

    fn insert(&mut self, name: &str, value: Cow<'t, str>) {
        let member = Some((name.to_owned(), value));
        match self.places.get(name) {
            Some(&place) => self.members[place] = member,
            None => {
                self.places.insert(name.to_owned(), self.members.len());
                self.members.push(member);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(place) = self.places.remove(name) {
            self.members[place] = None;
        }
    }

    fn into_text(self) -> String {
        let member = |(name, value): (String, Cow<'_, str>)| {
            format!("{}:{value}", serde_json::Value::String(name))
        };
        let members: Vec<String> = self.members.into_iter().flatten().map(member).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Members::default();
                // The last of duplicate names wins, as everywhere.
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.insert(&name, Cow::Borrowed(value.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Applies a merge patch to a value, if there is one.
fn merged(target: Option<&str>, patch: &str) -> String {
    let Some(changes) = Members::read(patch) else { return patch.to_owned() };
    let mut members = target.and_then(Members::read).unwrap_or_default();
    for (name, change) in changes.members.iter().flatten() {
        if change == "null" {
            members.remove(name);
        } else {
            let value = merged(members.get(name), change);
            members.insert(name, value.into());
        }
    }
    members.into_text()
}

/// Removes the members at the end of a path from a value.
fn without(text: &str, parts: &[&str]) -> String {
    let Some((name, rest)) = parts.split_first() else { return text.to_owned() };
    if let Some(mut members) = Members::read(text) {
        if rest.is_empty() {
            members.remove(name);
        } else if let Some(inside) = members.get(name).map(|value| without(value, rest)) {
            members.insert(name, inside.into());
        }
        return members.into_text();
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) => {
            let elements: Vec<String> =
                elements.into_iter().map(|element| without(element.get(), parts)).collect();
            format!("[{}]", elements.join(","))
        }
        // Not an object: the path does not exist.
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::model::PayloadType;

    fn apply(update: &PayloadUpdate, before: &str) -> String {
        let before = Payload::parse(before).unwrap();
        update.apply(Some(&before)).unwrap().unwrap().as_str().to_owned()
    }

    fn merge(before: &str, patch: &str) -> String {
        apply(&PayloadUpdate::Merge(Payload::parse(patch).unwrap()), before)
    }

    fn delete(before: &str, paths: &[&str]) -> String {
        apply(&PayloadUpdate::Delete(paths.iter().map(|&path| path.to_owned()).collect()), before)
    }

    /// RFC 7386, section 2, word by word.
    fn oracle(target: Option<&Value>, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = target.and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let merged = oracle(target.get(name), value);
                target.insert(name.clone(), merged);
            }
        }
        target.into()
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            2 => Just(Value::Null),
            2 => (-3_i64..3).prop_map(|number| json!(number)),
            1 => Just(json!("te\"xt\n")),
            1 => Just(json!([1, null, {"a": null}])),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let members = proptest::collection::vec(("[abc]", inner), 0..4);
            members.prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        proptest::collection::vec(("[abc]", value()), 0..4)
            .prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #[test]
        fn merges_are_those_of_the_rfc(target in object(), patch in object()) {
            let (target, patch): (Value, Value) = (target.into(), patch.into());
            let merged = merge(&target.to_string(), &patch.to_string());
            let merged: Value = serde_json::from_str(&merged).unwrap();
            prop_assert_eq!(merged, oracle(Some(&target), &patch));
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (before, patch, after) in cases {
            assert_eq!(merge(before, patch), after, "{before} {patch}");
        }
        let patch = PayloadUpdate::Merge(Payload::parse(r#"{"a":{"b":null,"c":1}}"#).unwrap());
        assert_eq!(patch.apply(None).unwrap().unwrap().as_str(), r#"{"a":{"c":1}}"#);
    }

    #[test]
    fn what_is_not_touched_keeps_its_order_and_every_digit() {
        let before =
            r#"{"z": 1.10000000000000000000001, "a": {"n": 98765432109876543210987, "k": 0}}"#;
        assert_eq!(
            merge(before, r#"{"a": {"k": 1e400}}"#.replace("400", "2").as_str()),
            r#"{"z":1.10000000000000000000001,"a":{"n":98765432109876543210987,"k":1e2}}"#
        );
    }

    #[test]
    fn paths_are_removed_also_from_elements_of_arrays() {
        let before = r#"{"a":[{"b":1,"c":2},{"b":3},4,[{"b":5}]],"d":{"b":6},"b":7}"#;
        assert_eq!(
            delete(before, &["a.b", "d.b", "x.y", "b.c"]),
            r#"{"a":[{"c":2},{},4,[{}]],"d":{},"b":7}"#
        );
        assert_eq!(delete(before, &["a", "b", "d"]), "{}");
        let nothing = PayloadUpdate::Delete(vec!["a".into()]);
        assert_eq!(nothing.apply(None).unwrap(), None);
    }

    #[test]
    fn updates_that_do_not_fit_are_refused_by_place() {
        let config = CollectionConfig::new().with_payload("meta.year", PayloadType::Integer);
        let refused = |update: PayloadUpdate| update.validate(&config).unwrap_err().to_string();
        let payload = Payload::parse(r#"{"meta": {"year": "x"}}"#).unwrap();
        for update in [PayloadUpdate::Set(payload.clone()), PayloadUpdate::Merge(payload)] {
            let error = refused(update);
            assert!(error.starts_with("payload.meta.year: expected an integer"), "{error}");
        }
        let paths = |paths: &[&str]| {
            refused(PayloadUpdate::Delete(paths.iter().map(|&path| path.into()).collect()))
        };
        assert_eq!(paths(&[]), "paths: expected 1 to 64, got 0");
        assert!(paths(&["a", "b."]).starts_with("paths[1]: expected paths of at most 256 bytes"));
        let long = |name: &str| {
            let text = "x".repeat(limits::MAX_PAYLOAD_BYTES / 2);
            Payload::parse(&format!("{{\"{name}\":\"{text}\"}}")).unwrap()
        };
        let error = PayloadUpdate::Merge(long("a")).apply(Some(&long("b"))).unwrap_err();
        assert!(error.to_string().starts_with("payload: expected at most 1048576 bytes"));
    }
}
