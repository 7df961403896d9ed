//! Messages to the engine's types. Malformed input is rejected, with the path of its field.

use std::collections::BTreeMap;

use half::f16;
use half::slice::HalfFloatSliceExt;
use prost::bytes::Bytes;

use super::{compression, encoding, filter, fusion, index, memory, search, text};
use crate::proto;
use lanner::{
    CollectionConfig, Durability, ElementType, Filter, FusionRequest, FusionResponse, Include,
    InvalidInput, Metric, MultiVector, Payload, Point, PointId, QueryRequest, QueryResponse,
    SparseVector, TrainingQueries, Vector, VectorField, VectorKind, WriteReceipt,
};
use lanner::{PointBatchBuilder, Problem};

type Result<T> = std::result::Result<T, InvalidInput>;

pub(crate) fn missing(path: impl Into<String>, expected: &'static str) -> InvalidInput {
    InvalidInput::new(path, Problem::Missing { expected })
}

/// An id.
///
/// # Errors
/// If the id is not set.
pub fn point_id(id: Option<proto::PointId>, path: &str) -> Result<PointId> {
    match id.and_then(|id| id.id) {
        Some(proto::point_id::Id::Number(number)) => Ok(number.into()),
        Some(proto::point_id::Id::Text(text)) => Ok(text.into()),
        None => Err(missing(path, "a number or a text")),
    }
}

/// Ids.
///
/// # Errors
/// If one is not set.
pub fn point_ids(ids: Vec<proto::PointId>) -> Result<Vec<PointId>> {
    ids_at(ids, "ids")
}

/// Ids at a path.
pub(crate) fn ids_at(ids: Vec<proto::PointId>, path: &str) -> Result<Vec<PointId>> {
    let convert = |(index, id)| point_id(Some(id), &format!("{path}[{index}]"));
    ids.into_iter().enumerate().map(convert).collect()
}

/// A vector, multi-vector or sparse vector.
///
/// # Errors
/// As [`SparseVector::new`]; and if no values are set, the bytes are not a whole number of values, or the values not a whole
/// number of rows.
pub fn vector(vector: proto::Vector, path: &str) -> Result<Vector> {
    let values = match vector.values {
        Some(proto::vector::Values::Floats(floats)) => floats.values,
        Some(proto::vector::Values::F32(bytes)) => f32_values(&bytes, path)?,
        Some(proto::vector::Values::F16(bytes)) => f16_values(&bytes, path)?,
        Some(proto::vector::Values::Sparse(sparse)) => {
            if vector.rows.is_some() {
                let got = "a sparse vector with `rows`";
                return Err(InvalidInput::mismatch(path, "`rows` with a multi-vector only", got));
            }
            let sparse = SparseVector::new(sparse.indices, sparse.values);
            return sparse.map(Vector::from).map_err(|error| error.within(path));
        }
        None => return Err(missing(path, "`floats`, `f32`, `f16` or `sparse`")),
    };
    let Some(rows) = vector.rows else { return Ok(values.into()) };
    let rows = rows as usize;
    if rows == 0 || values.is_empty() {
        return Err(InvalidInput::new(path, Problem::EmptyMultiVector));
    }
    if !values.len().is_multiple_of(rows) {
        let got = format!("{} values in {rows} rows", values.len());
        return Err(InvalidInput::mismatch(path, "values that fill `rows` equal rows", got));
    }
    let dimension = values.len() / rows;
    MultiVector::from_flat(dimension, values)
        .map(Vector::from)
        .map_err(|error| InvalidInput::new(path, error.problem))
}

fn f32_values(bytes: &Bytes, path: &str) -> Result<Vec<f32>> {
    if !bytes.len().is_multiple_of(4) {
        return Err(InvalidInput::mismatch(path, "a multiple of 4 bytes in `f32`", bytes.len()));
    }
    Ok(bytemuck::pod_collect_to_vec(bytes))
}

fn f16_values(bytes: &Bytes, path: &str) -> Result<Vec<f32>> {
    if !bytes.len().is_multiple_of(2) {
        return Err(InvalidInput::mismatch(path, "a multiple of 2 bytes in `f16`", bytes.len()));
    }
    let halves: Vec<f16> = bytemuck::pod_collect_to_vec(bytes);
    Ok(halves.to_f32_vec())
}

/// Adds a point to a batch; a rejected point leaves the batch unchanged.
///
/// # Errors
/// If the point does not match the batch's collection.
pub fn push_point(builder: &mut PointBatchBuilder, message: proto::Point) -> Result<()> {
    builder.push(point(message)?)
}

/// A point.
///
/// # Errors
/// If id, payload or a vector is malformed.
pub fn point(message: proto::Point) -> Result<Point> {
    let mut point = Point::new(point_id(message.id, "id")?);
    point.payload = message.payload_json.as_deref().map(Payload::parse).transpose()?;
    for (name, value) in message.vectors {
        if value.reconstructed {
            point.reconstructed.insert(name.clone());
        }
        let value = vector(value, &format!("vectors.{name}"))?;
        point.vectors.insert(name, value);
    }
    Ok(point)
}

/// Parts of points to return.
pub fn include(include: Option<proto::Include>) -> Include {
    let include = include.unwrap_or_default();
    Include { payload: include.payload, vectors: include.vectors }
}

/// Durability of a write.
///
/// # Errors
/// If the value is unknown.
pub fn durability(number: i32) -> Result<Durability> {
    match proto::Durability::try_from(number) {
        Ok(proto::Durability::Unspecified | proto::Durability::Synced) => Ok(Durability::Synced),
        Ok(proto::Durability::Buffered) => Ok(Durability::Buffered),
        Err(_) => Err(InvalidInput::mismatch("durability", "a known durability", number)),
    }
}

/// Training queries by field name.
///
/// # Errors
/// If one is malformed.
pub fn training_queries(
    queries: impl IntoIterator<Item = (String, proto::TrainingQueries)>,
) -> Result<BTreeMap<String, TrainingQueries>> {
    let convert = |(name, value): (String, proto::TrainingQueries)| {
        let path = format!("training_queries.{name}");
        let vectors = value.vectors.ok_or_else(|| missing(&path, "`vectors`"))?;
        let vectors = match vector(vectors, &path)? {
            Vector::Multi(vectors) => vectors,
            // Without `rows`: one query.
            Vector::Single(vector) => MultiVector::from_rows(&[vector])?,
            Vector::Sparse(_) => {
                let got = "a sparse one";
                return Err(InvalidInput::mismatch(path, "vectors of a compressed field", got));
            }
        };
        if value.lengths.is_empty() {
            return Ok((name, vectors.into()));
        }
        let lengths = value.lengths.into_iter().map(|length| length as usize).collect();
        let queries = TrainingQueries::multi(vectors, lengths);
        Ok((name, queries.map_err(|error| error.within(path))?))
    };
    queries.into_iter().map(convert).collect()
}

/// A filter.
///
/// # Errors
/// If a part is not set or malformed.
pub fn filter(message: proto::Filter) -> Result<Filter> {
    filter::to_model(message)
}

/// The configuration of a collection.
///
/// # Errors
/// If the configuration is not set, or the kind, metric or element type of a field, or the type of
/// a payload path, is unknown or not set.
pub fn config(config: Option<proto::CollectionConfig>) -> Result<CollectionConfig> {
    let config = config.ok_or_else(|| missing("config", "a configuration"))?;
    let mut converted = CollectionConfig::new();
    for (name, value) in config.fields {
        let value = field(&value).map_err(|error| error.within(format!("fields.{name}")))?;
        converted = converted.with_field(name, value);
    }
    for (name, value) in config.text {
        let value =
            text::field_to_model(value).map_err(|error| error.within(format!("text.{name}")))?;
        converted = converted.with_text(name, value);
    }
    converted.payload = filter::paths_to_model(config.payload)?;
    Ok(converted)
}

fn field(field: &proto::VectorField) -> Result<VectorField> {
    let kind = match proto::VectorKind::try_from(field.kind) {
        Ok(proto::VectorKind::Single) => VectorKind::Single,
        Ok(proto::VectorKind::Multi) => VectorKind::Multi,
        Ok(proto::VectorKind::Sparse) => VectorKind::Sparse,
        _ => return Err(InvalidInput::mismatch("kind", "single, multi or sparse", field.kind)),
    };
    let metric = match proto::Metric::try_from(field.metric) {
        Ok(proto::Metric::Dot) => Metric::Dot,
        Ok(proto::Metric::Cosine) => Metric::Cosine,
        Ok(proto::Metric::L2) => Metric::L2,
        Ok(proto::Metric::Unspecified) if kind == VectorKind::Sparse => Metric::Dot,
        _ => return Err(InvalidInput::mismatch("metric", "dot, cosine or l2", field.metric)),
    };
    let element = match proto::ElementType::try_from(field.element) {
        Ok(proto::ElementType::Unspecified | proto::ElementType::F32) => ElementType::F32,
        Ok(proto::ElementType::F16) => ElementType::F16,
        Err(_) => return Err(InvalidInput::mismatch("element", "f32 or f16", field.element)),
    };
    let compression = compression::to_model(field.compression)?;
    let (index, memory) = (index::to_model(field.index)?, memory::to_model(field.memory)?);
    let dimension = field.dimension as usize;
    let plain = VectorField::of_kind(kind, dimension, metric);
    let plain = plain.compressed(compression).indexed(index).in_memory(memory);
    let encoding = encoding::to_model(field.encoding)?;
    let token_pooling = field.token_pooling.unwrap_or(1) as usize;
    let recent = field.recent_queries.map(|number| number as usize);
    let recent_queries = recent.unwrap_or(plain.recent_queries);
    Ok(VectorField { element, encoding, token_pooling, recent_queries, ..plain })
}

/// A query.
///
/// # Errors
/// If no query is set or its vector is malformed.
pub fn search(request: proto::SearchRequest) -> Result<QueryRequest> {
    search::to_request(request)
}

/// The response to a query.
///
/// # Errors
/// If a point is malformed.
pub fn response(response: proto::SearchResponse) -> Result<QueryResponse> {
    search::to_response(response)
}

/// A fusion request.
///
/// # Errors
/// If a query is malformed, at `queries[i]`.
pub fn fusion(request: proto::FuseRequest) -> Result<FusionRequest> {
    fusion::to_request(request)
}

/// A fusion response.
///
/// # Errors
/// If a point is malformed.
pub fn fused(response: proto::FuseResponse) -> Result<FusionResponse> {
    fusion::to_response(response)
}

/// A receipt.
///
/// # Errors
/// If the receipt is not set or its durability is unknown.
pub fn receipt(receipt: Option<proto::WriteReceipt>) -> Result<WriteReceipt> {
    let receipt = receipt.ok_or_else(|| missing("receipt", "a receipt"))?;
    let durability = durability(receipt.durability)?;
    Ok(WriteReceipt { sequence: receipt.sequence, affected: receipt.affected, durability })
}
