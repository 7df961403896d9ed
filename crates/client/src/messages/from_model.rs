//! The engine's types to messages; cannot fail.

use super::{compression, encoding, filter, fusion, index, memory, search, text};
use crate::proto;
use lanner::{
    CollectionConfig, CollectionInfo, Durability, ElementType, Entry, Filter, FusionRequest,
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

/// A vector, as little-endian `f32` bytes; a sparse vector as its entries.
pub fn vector(vector: &Vector) -> proto::Vector {
    if let Vector::Sparse(vector) = vector {
        return sparse(vector.entries());
    }
    let view = vector.as_ref();
    let bytes = bytemuck::cast_slice::<f32, u8>(view.values()).to_vec();
    let rows = match vector {
        Vector::Single(_) | Vector::Sparse(_) => None,
        Vector::Multi(multi) => Some(multi.rows().len() as u32),
    };
    let values = Some(proto::vector::Values::F32(bytes.into()));
    proto::Vector { values, rows, reconstructed: false }
}

/// The entries of a sparse vector.
pub fn sparse(entries: &[Entry]) -> proto::Vector {
    let indices = entries.iter().map(|entry| entry.index).collect();
    let values = entries.iter().map(|entry| entry.value).collect();
    let values = proto::vector::Values::Sparse(proto::SparseValues { indices, values });
    proto::Vector { values: Some(values), rows: None, reconstructed: false }
}

/// Training queries.
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

/// Durability of a write.
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
    let texts = config.text.iter();
    let text = texts.map(|(name, field)| (name.clone(), text::field_from_model(field))).collect();
    proto::CollectionConfig { fields: fields.collect(), payload, text }
}

fn field(field: &VectorField) -> proto::VectorField {
    let kind = match field.kind {
        VectorKind::Single => proto::VectorKind::Single,
        VectorKind::Multi => proto::VectorKind::Multi,
        VectorKind::Sparse => proto::VectorKind::Sparse,
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

/// The description of a collection.
pub fn info(info: &CollectionInfo) -> proto::CollectionInfo {
    proto::CollectionInfo {
        name: info.name.clone(),
        config: Some(config(&info.config)),
        points: info.points,
        sequence: info.sequence,
        segments: info.segments.iter().map(segment).collect(),
        background_error: info.background_error.clone(),
        training_failures: info.training_failures.clone().into_iter().collect(),
        pending_paths: info
            .pending_paths
            .iter()
            .map(|(path, n)| (path.clone(), *n as u64))
            .collect(),
    }
}

fn segment(segment: &SegmentInfo) -> proto::SegmentInfo {
    let section = |(name, size_bytes): &(String, u64)| proto::SectionInfo {
        name: name.clone(),
        size_bytes: *size_bytes,
    };
    let file = |file: &lanner::SegmentFile| proto::SegmentFile {
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
        centroids: segment
            .centroids
            .iter()
            .map(|(name, report)| (name.clone(), compression::from_centroids(report)))
            .collect(),
    }
}

/// A filter.
pub fn filter(filter: &Filter) -> proto::Filter {
    filter::from_model(filter)
}

/// Parts of points to return.
pub fn include(include: Include) -> proto::Include {
    proto::Include { payload: include.payload, vectors: include.vectors }
}

/// A query.
pub fn search(request: &QueryRequest) -> proto::SearchRequest {
    search::from_request(request)
}

/// The response to a query.
pub fn response(response: &QueryResponse) -> proto::SearchResponse {
    search::from_response(response)
}

/// A fusion request to a collection.
pub fn fusion(collection: &str, request: &FusionRequest) -> proto::FuseRequest {
    fusion::from_request(collection, request)
}

/// A fusion response.
pub fn fused(response: &FusionResponse) -> proto::FuseResponse {
    fusion::from_response(response)
}
