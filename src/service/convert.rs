//! Messages ↔ the engine's types.
//!
//! [`to_model`] refuses what is malformed, naming the field; [`from_model`] cannot fail. Both are
//! public, because clients written in Rust need the reverse of what the server does.

/// Messages to the engine's types.
pub mod to_model {
    use std::collections::BTreeMap;

    use half::f16;
    use half::slice::HalfFloatSliceExt;
    use prost::bytes::Bytes;

    use super::super::{compression, encoding, filter, fusion, index, memory, proto, search};
    use crate::model::{PointBatchBuilder, Problem};
    use crate::{
        CollectionConfig, Durability, ElementType, Filter, FusionRequest, FusionResponse, Include,
        InvalidInput, Metric, MultiVector, Payload, Point, PointId, QueryRequest, QueryResponse,
        TrainingQueries, Vector, VectorField, VectorKind, WriteReceipt,
    };

    type Result<T> = std::result::Result<T, InvalidInput>;

    pub(in crate::service) fn missing(
        path: impl Into<String>,
        expected: &'static str,
    ) -> InvalidInput {
        InvalidInput::new(path, Problem::Missing { expected })
    }

    /// An id.
    ///
    /// # Errors
    /// If it is not set.
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
    pub(in crate::service) fn ids_at(ids: Vec<proto::PointId>, path: &str) -> Result<Vec<PointId>> {
        let convert = |(index, id)| point_id(Some(id), &format!("{path}[{index}]"));
        ids.into_iter().enumerate().map(convert).collect()
    }

    /// A vector or multi-vector.
    ///
    /// # Errors
    /// If no values are set, bytes are no whole number of values, or values no whole number of
    /// rows.
    pub fn vector(vector: proto::Vector, path: &str) -> Result<Vector> {
        let values = match vector.values {
            Some(proto::vector::Values::Floats(floats)) => floats.values,
            Some(proto::vector::Values::F32(bytes)) => f32_values(&bytes, path)?,
            Some(proto::vector::Values::F16(bytes)) => f16_values(&bytes, path)?,
            None => return Err(missing(path, "`floats`, `f32` or `f16`")),
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
            return Err(InvalidInput::mismatch(
                path,
                "a multiple of 4 bytes in `f32`",
                bytes.len(),
            ));
        }
        Ok(bytemuck::pod_collect_to_vec(bytes))
    }

    fn f16_values(bytes: &Bytes, path: &str) -> Result<Vec<f32>> {
        if !bytes.len().is_multiple_of(2) {
            return Err(InvalidInput::mismatch(
                path,
                "a multiple of 2 bytes in `f16`",
                bytes.len(),
            ));
        }
        let halves: Vec<f16> = bytemuck::pod_collect_to_vec(bytes);
        Ok(halves.to_f32_vec())
    }

    /// Adds a point to a batch; a refused point leaves the batch as it was.
    ///
    /// # Errors
    /// If the point does not fit the batch's collection.
    pub fn push_point(builder: &mut PointBatchBuilder<'_>, message: proto::Point) -> Result<()> {
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

    /// Which parts of points to return.
    pub fn include(include: Option<proto::Include>) -> Include {
        let include = include.unwrap_or_default();
        Include { payload: include.payload, vectors: include.vectors }
    }

    /// When a write is acknowledged.
    ///
    /// # Errors
    /// For an unknown number.
    pub fn durability(number: i32) -> Result<Durability> {
        match proto::Durability::try_from(number) {
            Ok(proto::Durability::Unspecified | proto::Durability::Synced) => {
                Ok(Durability::Synced)
            }
            Ok(proto::Durability::Buffered) => Ok(Durability::Buffered),
            Err(_) => Err(InvalidInput::mismatch("durability", "a known durability", number)),
        }
    }

    /// Queries to train on, by field.
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
    /// If a part of it is not set or malformed.
    pub fn filter(message: proto::Filter) -> Result<Filter> {
        filter::to_model(message)
    }

    /// The configuration of a collection.
    ///
    /// # Errors
    /// If it is not set, or a field's kind, metric or element, or the type of a payload path is
    /// unknown or not set.
    pub fn config(config: Option<proto::CollectionConfig>) -> Result<CollectionConfig> {
        let config = config.ok_or_else(|| missing("config", "a configuration"))?;
        let mut converted = CollectionConfig::new();
        for (name, value) in config.fields {
            let value = field(&value).map_err(|error| error.within(format!("fields.{name}")))?;
            converted = converted.with_field(name, value);
        }
        converted.payload = filter::paths_to_model(config.payload)?;
        Ok(converted)
    }

    fn field(field: &proto::VectorField) -> Result<VectorField> {
        let kind = match proto::VectorKind::try_from(field.kind) {
            Ok(proto::VectorKind::Single) => VectorKind::Single,
            Ok(proto::VectorKind::Multi) => VectorKind::Multi,
            _ => return Err(InvalidInput::mismatch("kind", "single or multi", field.kind)),
        };
        let metric = match proto::Metric::try_from(field.metric) {
            Ok(proto::Metric::Dot) => Metric::Dot,
            Ok(proto::Metric::Cosine) => Metric::Cosine,
            Ok(proto::Metric::L2) => Metric::L2,
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
        let plain = match kind {
            VectorKind::Single => VectorField::single(dimension, metric),
            VectorKind::Multi => VectorField::multi(dimension, metric),
        };
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

    /// The answer to a query.
    ///
    /// # Errors
    /// If a point in it is malformed.
    pub fn response(response: proto::SearchResponse) -> Result<QueryResponse> {
        search::to_response(response)
    }

    /// Queries to be fused.
    ///
    /// # Errors
    /// If one is malformed, as `queries[i]`.
    pub fn fusion(request: proto::FuseRequest) -> Result<FusionRequest> {
        fusion::to_request(request)
    }

    /// The answer to queries that were fused.
    ///
    /// # Errors
    /// If a point in it is malformed.
    pub fn fused(response: proto::FuseResponse) -> Result<FusionResponse> {
        fusion::to_response(response)
    }

    /// A receipt.
    ///
    /// # Errors
    /// If it is not set or its durability is unknown.
    pub fn receipt(receipt: Option<proto::WriteReceipt>) -> Result<WriteReceipt> {
        let receipt = receipt.ok_or_else(|| missing("receipt", "a receipt"))?;
        let durability = durability(receipt.durability)?;
        Ok(WriteReceipt { sequence: receipt.sequence, affected: receipt.affected, durability })
    }
}

/// The engine's types to messages.
pub mod from_model {
    use super::super::{compression, encoding, filter, fusion, index, memory, proto, search};
    use crate::{
        CollectionConfig, CollectionInfo, Durability, ElementType, Filter, FusionRequest,
        FusionResponse, Include, Metric, Point, PointId, QueryRequest, QueryResponse, SegmentInfo,
        TrainingQueries, Vector, VectorField, VectorKind, WriteReceipt,
    };

    /// An id.
    pub fn point_id(id: &PointId) -> proto::PointId {
        let id = match id {
            PointId::Number(number) => proto::point_id::Id::Number(*number),
            PointId::Text(text) => proto::point_id::Id::Text(text.to_string()),
        };
        proto::PointId { id: Some(id) }
    }

    /// A vector, as little-endian `f32` bytes.
    pub fn vector(vector: &Vector) -> proto::Vector {
        let view = vector.as_ref();
        let bytes = bytemuck::cast_slice::<f32, u8>(view.values()).to_vec();
        let rows = match vector {
            Vector::Single(_) => None,
            Vector::Multi(multi) => Some(multi.rows().len() as u32),
        };
        let values = Some(proto::vector::Values::F32(bytes.into()));
        proto::Vector { values, rows, reconstructed: false }
    }

    /// Queries to train on.
    pub fn training_queries(queries: &TrainingQueries) -> proto::TrainingQueries {
        let lengths = queries.lengths().unwrap_or_default();
        proto::TrainingQueries {
            vectors: Some(vector(&queries.vectors().clone().into())),
            lengths: lengths.iter().map(|&length| length as u32).collect(),
        }
    }

    /// A point.
    pub fn point(point: &Point) -> proto::Point {
        proto::Point {
            id: Some(point_id(&point.id)),
            vectors: point
                .vectors
                .iter()
                .map(|(name, value)| {
                    let reconstructed = point.reconstructed.contains(name);
                    (name.clone(), proto::Vector { reconstructed, ..vector(value) })
                })
                .collect(),
            payload_json: point.payload.as_ref().map(|payload| payload.as_str().to_owned()),
        }
    }

    /// When a write is acknowledged.
    pub fn durability(durability: Durability) -> proto::Durability {
        match durability {
            Durability::Synced => proto::Durability::Synced,
            Durability::Buffered => proto::Durability::Buffered,
        }
    }

    /// A receipt.
    pub fn receipt(receipt: &WriteReceipt) -> proto::WriteReceipt {
        proto::WriteReceipt {
            sequence: receipt.sequence,
            affected: receipt.affected,
            durability: durability(receipt.durability).into(),
        }
    }

    /// The configuration of a collection.
    pub fn config(config: &CollectionConfig) -> proto::CollectionConfig {
        let fields = config.fields.iter().map(|(name, value)| (name.clone(), field(value)));
        let payload = filter::paths_from_model(&config.payload);
        proto::CollectionConfig { fields: fields.collect(), payload }
    }

    fn field(field: &VectorField) -> proto::VectorField {
        let kind = match field.kind {
            VectorKind::Single => proto::VectorKind::Single,
            VectorKind::Multi => proto::VectorKind::Multi,
        };
        let metric = match field.metric {
            Metric::Dot => proto::Metric::Dot,
            Metric::Cosine => proto::Metric::Cosine,
            Metric::L2 => proto::Metric::L2,
        };
        let element = match field.element {
            ElementType::F32 => proto::ElementType::F32,
            ElementType::F16 => proto::ElementType::F16,
        };
        proto::VectorField {
            dimension: field.dimension as u32,
            kind: kind.into(),
            metric: metric.into(),
            element: element.into(),
            compression: Some(compression::from_model(&field.compression)),
            index: Some(index::from_model(&field.index)),
            memory: memory::from_model(field.memory),
            encoding: encoding::from_model(&field.encoding),
            token_pooling: (field.token_pooling != 1).then_some(field.token_pooling as u32),
            recent_queries: Some(field.recent_queries as u32),
        }
    }

    /// What a collection consists of.
    pub fn info(info: &CollectionInfo) -> proto::CollectionInfo {
        proto::CollectionInfo {
            name: info.name.clone(),
            config: Some(config(&info.config)),
            points: info.points,
            sequence: info.sequence,
            segments: info.segments.iter().map(segment).collect(),
            background_error: info.background_error.clone(),
            training_failures: info.training_failures.clone().into_iter().collect(),
        }
    }

    fn segment(segment: &SegmentInfo) -> proto::SegmentInfo {
        let section = |(name, size_bytes): &(String, u64)| proto::SectionInfo {
            name: name.clone(),
            size_bytes: *size_bytes,
        };
        let file = |file: &crate::segment::SegmentFile| proto::SegmentFile {
            name: file.name.clone(),
            size_bytes: file.size_bytes,
            sections: file.sections.iter().map(section).collect(),
            memory: memory::from_file(file.memory),
        };
        proto::SegmentInfo {
            number: segment.number,
            rows: segment.rows,
            deleted: segment.deleted,
            size_bytes: segment.size_bytes,
            files: segment.files.iter().map(file).collect(),
            codecs: segment
                .codecs
                .iter()
                .map(|(name, report)| (name.clone(), compression::from_report(report)))
                .collect(),
            indexes: segment
                .indexes
                .iter()
                .map(|(name, status)| (name.clone(), index::from_status(status)))
                .collect(),
        }
    }

    /// A filter.
    pub fn filter(filter: &Filter) -> proto::Filter {
        filter::from_model(filter)
    }

    /// Which parts of points to return.
    pub fn include(include: Include) -> proto::Include {
        proto::Include { payload: include.payload, vectors: include.vectors }
    }

    /// A query.
    pub fn search(request: &QueryRequest) -> proto::SearchRequest {
        search::from_request(request)
    }

    /// The answer to a query.
    pub fn response(response: &QueryResponse) -> proto::SearchResponse {
        search::from_response(response)
    }

    /// Queries to be fused, for a collection.
    pub fn fusion(collection: &str, request: &FusionRequest) -> proto::FuseRequest {
        fusion::from_request(collection, request)
    }

    /// The answer to queries that were fused.
    pub fn fused(response: &FusionResponse) -> proto::FuseResponse {
        fusion::from_response(response)
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::proto::{self, vector::Values};
    use super::{from_model, to_model};
    use crate::{MultiVector, Payload, Point, Vector};

    fn refused(values: Option<Values>, rows: Option<u32>) -> String {
        let message = proto::Vector { values, rows, reconstructed: false };
        to_model::vector(message, "vectors.v").unwrap_err().to_string()
    }

    #[test]
    fn all_forms_of_a_vector_are_the_same_vector() {
        let values = [1.0_f32, -2.5, 0.25];
        let bytes = bytemuck::cast_slice::<f32, u8>(&values).to_vec();
        let halves = values.map(f16::from_f32);
        let half_bytes = bytemuck::cast_slice::<f16, u8>(&halves).to_vec();
        let floats = proto::FloatValues { values: values.to_vec() };
        for form in
            [Values::Floats(floats), Values::F32(bytes.into()), Values::F16(half_bytes.into())]
        {
            let message = proto::Vector { values: Some(form), rows: None, reconstructed: false };
            assert_eq!(to_model::vector(message, "v").unwrap(), Vector::from(values.to_vec()));
        }
    }

    #[test]
    fn points_come_back_as_they_were() {
        let point = Point::new("x")
            .with_vector("v", vec![1.0, 2.0])
            .with_vector("m", MultiVector::from_flat(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap())
            .with_payload(Payload::parse("{\"a\": 1}").unwrap());
        assert_eq!(to_model::point(from_model::point(&point)).unwrap(), point);
    }

    #[test]
    fn malformed_vectors_are_refused_by_name() {
        let floats = |n: usize| Some(Values::Floats(proto::FloatValues { values: vec![1.0; n] }));
        let cases = [
            (refused(None, None), "expected `floats`, `f32` or `f16`, got nothing"),
            (
                refused(Some(Values::F32(vec![0; 7].into())), None),
                "expected a multiple of 4 bytes in `f32`, got 7",
            ),
            (
                refused(Some(Values::F16(vec![0; 7].into())), None),
                "expected a multiple of 2 bytes in `f16`, got 7",
            ),
            (refused(floats(4), Some(0)), "expected at least one vector, got none"),
            (refused(floats(0), Some(2)), "expected at least one vector, got none"),
            (
                refused(floats(5), Some(2)),
                "expected values that fill `rows` equal rows, got 5 values in 2 rows",
            ),
        ];
        for (got, expected) in cases {
            assert_eq!(got, format!("vectors.v: {expected}"));
        }
    }
}
