//! The settings of a text field.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Analyzer;
use crate::model::payload_column::visit_leaves;
use crate::model::payload_type::validate_path;
use crate::model::{CollectionConfig, InvalidInput, Problem, check_range, limits};

/// A field of text, searched by words and scored by BM25 (Robertson and Zaragoza, "The Probabilistic
/// Relevance Framework: BM25 and Beyond", 2009).
///
/// Its text is what the payload has at some paths, so that points carry nothing beside their payload.
///
/// ```
/// use lanner::{Analyzer, Language, TextField};
///
/// let field = TextField::new(["title", "text"]).analyzed(Analyzer::Language(Language::English));
/// let title_first = TextField::weighted([("title", 2.0), ("text", 1.0)]).bm25(1.2, 0.75);
/// # let _ = (field, title_first);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextField {
    /// The payload paths with their weights, 0.001 to 1,000: how many occurrences one at that path
    /// stands for. With several paths the score is BM25F (Robertson, Zaragoza and Taylor, CIKM 2004):
    /// occurrences and lengths are summed with these weights before they are saturated.
    pub paths: BTreeMap<String, f32>,
    /// How texts become terms.
    #[serde(default)]
    pub analyzer: Analyzer,
    /// How soon further occurrences of a word stop to count, 0 to 10; 0.9 as in Anserini.
    #[serde(default = "k1")]
    pub k1: f32,
    /// How much the length of a text counts, 0 (not) to 1; 0.4 as in Anserini.
    #[serde(default = "b")]
    pub b: f32,
}

fn k1() -> f32 {
    0.9
}

fn b() -> f32 {
    0.4
}

impl fmt::Display for TextField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (path, &weight)) in self.paths.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{path}")?;
            if weight != 1.0 {
                write!(f, "^{weight}")?;
            }
        }
        write!(f, ":{}:k1={}:b={}", self.analyzer, self.k1, self.b)
    }
}

/// Reads `title^2,text:english:k1=0.9:b=0.4`: paths with their weights, and an analyzer and parameters
/// that may be left out.
impl FromStr for TextField {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let number = |at: &str, text: &str| {
            let wrong = |_| InvalidInput::mismatch(at, "a number", format!("{text:?}"));
            text.parse::<f32>().map_err(wrong)
        };
        let (paths, settings) = text.split_once(':').unwrap_or((text, ""));
        let path = |path: &str| match path.split_once('^') {
            Some((path, weight)) => Ok((path.to_owned(), number("weight", weight)?)),
            None => Ok((path.to_owned(), 1.0)),
        };
        let paths = paths.split(',').map(path).collect::<Result<Vec<_>, InvalidInput>>()?;
        let mut field = Self::weighted(paths);
        let mut analyzer = Vec::new();
        for part in settings.split(':').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("k1", value)) => field.k1 = number("k1", value)?,
                Some(("b", value)) => field.b = number("b", value)?,
                Some(_) => {
                    let expected = "an analyzer, k1=NUMBER or b=NUMBER";
                    return Err(InvalidInput::mismatch("text", expected, format!("{part:?}")));
                }
                None => analyzer.push(part),
            }
        }
        if !analyzer.is_empty() {
            field.analyzer = analyzer.join(":").parse()?;
        }
        field.validate()?;
        Ok(field)
    }
}

/// Most paths of a text field.
const MAX_TEXT_PATHS: usize = 16;
/// Smallest and largest weight of a path.
const MIN_WEIGHT: f32 = 0.001;
const MAX_WEIGHT: f32 = 1_000.0;
/// Largest k1.
const MAX_K1: f32 = 10.0;

impl TextField {
    /// The text at these payload paths, with equal weights, k1 = 0.9 and b = 0.4.
    pub fn new<P: Into<String>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self::weighted(paths.into_iter().map(|path| (path, 1.0)))
    }

    /// The text at these payload paths, with these weights.
    pub fn weighted<P: Into<String>>(paths: impl IntoIterator<Item = (P, f32)>) -> Self {
        let paths = paths.into_iter().map(|(path, weight)| (path.into(), weight)).collect();
        Self { paths, analyzer: Analyzer::default(), k1: k1(), b: b() }
    }

    /// The same field, analyzed like this.
    #[must_use]
    pub fn analyzed(self, analyzer: Analyzer) -> Self {
        Self { analyzer, ..self }
    }

    /// The same field, with these parameters of BM25.
    #[must_use]
    pub fn bm25(self, k1: f32, b: f32) -> Self {
        Self { k1, b, ..self }
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidInput> {
        check_range("paths", 1, MAX_TEXT_PATHS, self.paths.len())?;
        for (path, &weight) in &self.paths {
            validate_path(path)?;
            if !(MIN_WEIGHT..=MAX_WEIGHT).contains(&weight) {
                let at = format!("paths.{path}");
                return Err(InvalidInput::mismatch(at, "a weight of 0.001 to 1000", weight));
            }
        }
        let within = |path: &str, most: f32, got: f32| match (0.0..=most).contains(&got) {
            true => Ok(()),
            false => {
                Err(InvalidInput::new(path, Problem::NumberOutOfRange { min: 0.0, max: most, got }))
            }
        };
        within("k1", MAX_K1, self.k1)?;
        within("b", 1.0, self.b)
    }

    /// Index of a path, in the order of names.
    pub(crate) fn path(&self, name: &str) -> Option<usize> {
        self.paths.keys().position(|path| path == name)
    }

    /// Visits the texts of a payload: index of the path, text.
    pub(crate) fn visit_texts(&self, payload: &Value, visit: &mut dyn FnMut(usize, &str)) {
        for (index, path) in self.paths.keys().enumerate() {
            let parts: Vec<&str> = path.split('.').collect();
            let leaf = &mut |value: &Value| -> ControlFlow<()> {
                if let Some(text) = value.as_str() {
                    visit(index, text);
                }
                ControlFlow::Continue(())
            };
            let _ = visit_leaves(payload, &parts, leaf);
        }
    }
}

/// Checks that a payload has nothing but text, lists of text and `null` at the paths of text fields.
///
/// # Errors
/// [`Problem::Mismatch`] at `payload.PATH`.
pub(crate) fn check_texts(config: &CollectionConfig, object: &Value) -> Result<(), InvalidInput> {
    for path in config.text.values().flat_map(|field| field.paths.keys()) {
        let parts: Vec<&str> = path.split('.').collect();
        let check = &mut |value: &Value| match value {
            Value::String(_) | Value::Null => ControlFlow::Continue(()),
            other => ControlFlow::Break(other.to_string()),
        };
        if let ControlFlow::Break(got) = visit_leaves(object, &parts, check) {
            let got: String = got.chars().take(80).collect();
            let at = format!("payload.{path}");
            return Err(InvalidInput::mismatch(at, "text or a list of texts", got));
        }
    }
    Ok(())
}

/// Checks the text fields of a collection; their names are apart from those of vector fields.
///
/// # Errors
/// [`InvalidInput`] at `text.NAME`.
pub(crate) fn validate_all(config: &CollectionConfig) -> Result<(), InvalidInput> {
    check_range("text", 0, limits::MAX_FIELDS, config.text.len())?;
    for (name, field) in &config.text {
        crate::model::validate_name("text", name)?;
        if config.fields.contains_key(name) {
            let expected = "names that no vector field has";
            return Err(InvalidInput::mismatch("text", expected, format!("{name:?}")));
        }
        field.validate().map_err(|error| error.within(format!("text.{name}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Payload, object};

    fn check(field: TextField) -> Result<(), String> {
        field.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn settings_have_bounds() {
        assert_eq!(check(TextField::weighted([("a.b", 1000.0)]).bm25(10.0, 1.0)), Ok(()));
        let none: [&str; 0] = [];
        assert_eq!(check(TextField::new(none)).unwrap_err(), "paths: expected 1 to 16, got 0");
        for weight in [0.0, -1.0, f32::NAN, 1001.0] {
            let error = check(TextField::weighted([("a", weight)])).unwrap_err();
            assert_eq!(error, format!("paths.a: expected a weight of 0.001 to 1000, got {weight}"));
        }
        for (k1, b, at) in [(-0.1, 0.4, "k1"), (f32::NAN, 0.4, "k1"), (0.9, 1.1, "b")] {
            let error = check(TextField::new(["a"]).bm25(k1, b)).unwrap_err();
            assert!(error.starts_with(&format!("{at}: expected 0 to")), "{error}");
        }
    }

    #[test]
    fn fields_are_read_as_they_are_written() {
        let field = TextField::weighted([("a.b", 2.5), ("c", 1.0)]).bm25(1.2, 0.75);
        let field = field.analyzed(Analyzer::Ngram { min: 2, max: 3 });
        assert_eq!(field.to_string(), "a.b^2.5,c:ngram:2-3:k1=1.2:b=0.75");
        assert_eq!(field.to_string().parse(), Ok(field));
        assert_eq!("text".parse(), Ok(TextField::new(["text"])));
        let error = |text: &str| text.parse::<TextField>().unwrap_err().to_string();
        assert!(error("a:klingon").starts_with("analyzer: expected standard"));
        assert_eq!(error("a^x"), "weight: expected a number, got \"x\"");
        assert!(error("a:k2=1").starts_with("text: expected an analyzer, k1=NUMBER"));
        assert!(error("a:b=2").starts_with("b: expected 0 to 1"));
        assert!(error("").contains("expected"));
    }

    #[test]
    fn texts_are_found_at_their_paths_and_nothing_else_is_allowed_there() {
        let config = CollectionConfig::new().with_text("words", TextField::new(["a.b", "c"]));
        let payload =
            Payload::parse(r#"{"a": [{"b": "x"}, {"b": ["y", null]}], "c": "z"}"#).unwrap();
        let read = |payload: &Payload| object(Some(payload));
        let texts = read(&payload);
        assert_eq!(check_texts(&config, &texts), Ok(()));
        let mut found = Vec::new();
        let mut note = |path, text: &str| found.push((path, text.to_owned()));
        config.text["words"].visit_texts(&texts, &mut note);
        assert_eq!(found, [(0, "x".into()), (0, "y".into()), (1, "z".into())]);
        let wrong = Payload::parse(r#"{"a": {"b": 5}}"#).unwrap();
        let error = check_texts(&config, &read(&wrong)).unwrap_err();
        assert_eq!(error.to_string(), "payload.a.b: expected text or a list of texts, got 5");
    }
}
