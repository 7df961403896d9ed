//! Settings of collections: as Python gives them, and as it shows them.

use std::str::FromStr;

use lanner::{
    CollectionConfig, CollectionInfo, ElementType, InvalidInput, PayloadType, TextField,
    VectorField, VectorKind,
};
use lanner_client::info_json;
use serde_json::{Map, Value, json};

type Result<T> = std::result::Result<T, InvalidInput>;

/// The `kind` of text fields.
const TEXT: &str = "text";

/// The configuration of a collection from its JSON: `fields` with their settings, and `payload`.
pub fn config(text: &str) -> Result<CollectionConfig> {
    let malformed = |got: String| InvalidInput::mismatch("fields", "settings of fields", got);
    let settings: Value =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let mut config = CollectionConfig::new();
    for (name, settings) in object(&settings["fields"]) {
        let within = |error: InvalidInput| error.within(format!("fields.{name}"));
        config = match settings["kind"] == TEXT {
            true => config.with_text(name, checked(name, text_field(settings).map_err(within)?)?),
            false => config.with_field(name, vector_field(settings).map_err(within)?),
        };
    }
    for (path, name) in object(&settings["payload"]) {
        config = config.with_payload(path, payload_type(path, name.clone())?);
    }
    Ok(config)
}

/// The type of a payload path, from its name.
pub fn payload_type(path: &str, name: impl Into<Value>) -> Result<PayloadType> {
    let (expected, name) = ("keyword, integer, float, boolean or datetime", name.into());
    let refused = |_| InvalidInput::mismatch(format!("payload.{path}"), expected, &name);
    serde_json::from_value(name.clone()).map_err(refused)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn vector_field(settings: &Value) -> Result<VectorField> {
    let metric = named(settings, "metric", "cosine, dot or l2")?;
    let dimension = number(settings, "dimension")?;
    let kind: VectorKind = named(settings, "kind", "single, multi or sparse")?;
    let plain = VectorField::of_kind(kind, dimension, metric);
    let element: ElementType = named(settings, "element", "f32 or f16")?;
    let field = plain
        .compressed(parsed(settings, "compression")?)
        .indexed(parsed(settings, "index")?)
        .in_memory(parsed(settings, "memory")?)
        .encoded(parsed(settings, "encoding")?)
        .pooled(number(settings, "token_pooling")?)
        .keeping_queries(number(settings, "recent_queries")?);
    Ok(VectorField { element, ..field })
}

fn text_field(settings: &Value) -> Result<TextField> {
    let path = |(path, weight): (&String, &Value)| {
        let at = format!("paths.{path}");
        Ok((path.clone(), float(weight, &at)?))
    };
    let paths = object(&settings["paths"]).map(path).collect::<Result<Vec<_>>>()?;
    Ok(TextField::weighted(paths)
        .analyzed(parsed(settings, "analyzer")?)
        .bm25(float(&settings["k1"], "k1")?, float(&settings["b"], "b")?))
}

/// Checks a text field by itself: its errors are at `fields`, where Python has fields of all kinds.
fn checked(name: &str, field: TextField) -> Result<TextField> {
    let alone = CollectionConfig::new().with_text(name, field.clone());
    let path = |error: &InvalidInput| error.path.replacen("text", "fields", 1);
    alone.validate().map_err(|error| InvalidInput { path: path(&error), ..error })?;
    Ok(field)
}

fn float(value: &Value, name: &str) -> Result<f32> {
    let number = value.as_f64().map(|number| number as f32);
    number.ok_or_else(|| InvalidInput::mismatch(name, "a number", value))
}

fn number(settings: &Value, name: &str) -> Result<usize> {
    let value = &settings[name];
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| InvalidInput::mismatch(name, "an integer from 0", value))
}

fn named<T: serde::de::DeserializeOwned>(
    settings: &Value,
    name: &str,
    expected: &'static str,
) -> Result<T> {
    let value = &settings[name];
    serde_json::from_value(value.clone()).map_err(|_| InvalidInput::mismatch(name, expected, value))
}

fn parsed<T: FromStr<Err = InvalidInput>>(settings: &Value, name: &str) -> Result<T> {
    let value = &settings[name];
    let text = value.as_str().ok_or_else(|| InvalidInput::mismatch(name, "a text", value))?;
    text.parse()
}

/// What a collection consists of, as JSON, with its settings as Python gives them.
pub fn describe(info: &CollectionInfo) -> String {
    let mut described = info_json(info);
    let vectors = info.config.fields.iter().map(|(name, field)| (name, vector_settings(field)));
    let texts = info.config.text.iter().map(|(name, field)| (name, text_settings(field)));
    let fields: Map<_, _> =
        vectors.chain(texts).map(|(name, settings)| (name.clone(), settings)).collect();
    let payload: Map<_, _> = info
        .config
        .payload
        .iter()
        .map(|(path, payload_type)| (path.clone(), json!(payload_type.as_str())))
        .collect();
    described["fields"] = Value::Object(fields);
    described["payload"] = Value::Object(payload);
    described.to_string()
}

fn text_settings(field: &TextField) -> Value {
    json!({
        "kind": TEXT,
        "paths": field.paths,
        "analyzer": field.analyzer.to_string(),
        "k1": field.k1,
        "b": field.b,
    })
}

fn vector_settings(field: &VectorField) -> Value {
    json!({
        "kind": field.kind,
        "dimension": field.dimension,
        "metric": field.metric,
        "element": field.element,
        "compression": field.compression.to_string(),
        "index": field.index.to_string(),
        "memory": field.memory.to_string(),
        "encoding": field.encoding.to_string(),
        "token_pooling": field.token_pooling,
        "recent_queries": field.recent_queries,
    })
}
