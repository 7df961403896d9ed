//! Journal records: one write, as bytes.
//!
//! A record holds exactly the rows applied to memory (scaled, rounded, in columns), so that a
//! replay rebuilds the same rows. Values at declared paths are read from the payloads again.
//! Encoded with postcard; vectors are little-endian bytes.

use std::sync::Arc;

use half::f16;
use lanner_storage::StorageError;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, ElementType, Elements, Entry, FieldColumn, Payload, PointBatch, PointId,
    PointIdRef, StoredElement, VectorField,
};

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Writes points, replacing those with the same ids.
    Upsert(PointBatch),
    /// Deletes points by id.
    Delete(Vec<PointId>),
}

#[derive(Serialize, Deserialize)]
enum Record<'a> {
    Upsert {
        #[serde(borrow)]
        ids: Vec<PointIdRef<'a>>,
        #[serde(borrow)]
        payloads: Vec<Option<&'a str>>,
        #[serde(borrow)]
        columns: Vec<Column<'a>>,
    },
    Delete {
        #[serde(borrow)]
        ids: Vec<PointIdRef<'a>>,
    },
}

#[derive(Serialize, Deserialize)]
struct Column<'a> {
    #[serde(borrow)]
    elements: &'a serde_bytes::Bytes,
    offsets: Option<&'a serde_bytes::Bytes>,
    absent: serde_bytes::ByteBuf,
}

impl Operation {
    /// Encodes the operation.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let internal = |error: &dyn std::fmt::Display| {
            Error::Internal(format!("cannot encode a journal record: {error}"))
        };
        let (record, size_bytes) = match self {
            Self::Upsert(points) => {
                let columns = points.fields.iter().map(column).collect::<std::io::Result<_>>();
                let record = Record::Upsert {
                    ids: points.ids.iter().map(PointId::as_ref).collect(),
                    payloads: points
                        .payloads
                        .iter()
                        .map(|payload| payload.as_ref().map(Payload::as_str))
                        .collect(),
                    columns: columns.map_err(|error| internal(&error))?,
                };
                (record, points.size_bytes())
            }
            Self::Delete(ids) => {
                (Record::Delete { ids: ids.iter().map(PointId::as_ref).collect() }, 16 * ids.len())
            }
        };
        postcard::to_extend(&record, Vec::with_capacity(size_bytes + 64))
            .map_err(|error| internal(&error))
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if the bytes are not a record of a collection with `config`.
    pub fn decode(config: &Arc<CollectionConfig>, sequence: u64, bytes: &[u8]) -> Result<Self> {
        let corrupted = |detail: String| StorageError::Corrupted {
            path: "catalog".into(),
            section: "journal".into(),
            detail: format!("record {sequence}: {detail}"),
        };
        let record = postcard::from_bytes::<Record<'_>>(bytes)
            .map_err(|error| corrupted(error.to_string()))?;
        match record {
            Record::Upsert { ids, payloads, columns } => {
                let fits = payloads.len() == ids.len() && columns.len() == config.fields.len();
                let fields: Option<Vec<_>> = config
                    .fields
                    .values()
                    .zip(columns)
                    .map(|(field, column)| decode_column(field, &column, ids.len()))
                    .collect();
                let fields = fields
                    .filter(|_| fits)
                    .ok_or_else(|| corrupted("columns do not fit the collection".into()))?;
                let payloads =
                    payloads.into_iter().map(|text| text.map(Payload::from_stored)).collect();
                let ids = ids.into_iter().map(PointId::from).collect();
                PointBatch::from_columns(config, ids, payloads, fields)
                    .map(Self::Upsert)
                    .map_err(|error| corrupted(error.to_string()).into())
            }
            Record::Delete { ids } => {
                Ok(Self::Delete(ids.into_iter().map(PointId::from).collect()))
            }
        }
    }
}

fn column(column: &FieldColumn) -> std::io::Result<Column<'_>> {
    let view = column.view();
    let mut absent = Vec::with_capacity(view.absent.serialized_size());
    view.absent.serialize_into(&mut absent)?;
    Ok(Column {
        elements: serde_bytes::Bytes::new(view.elements.as_bytes()),
        offsets: view.offsets.map(|offsets| serde_bytes::Bytes::new(bytemuck::cast_slice(offsets))),
        absent: serde_bytes::ByteBuf::from(absent),
    })
}

fn decode_column(field: &VectorField, column: &Column<'_>, rows: usize) -> Option<FieldColumn> {
    let elements = match field.stored_element() {
        StoredElement::Value(ElementType::F32) => Elements::F32(copy::<f32>(column.elements)?),
        StoredElement::Value(ElementType::F16) => Elements::F16(copy::<f16>(column.elements)?),
        StoredElement::Entry => Elements::Entries(copy::<Entry>(column.elements)?),
    };
    let offsets = match column.offsets {
        Some(bytes) => Some(copy::<u64>(bytes)?),
        None => None,
    };
    let absent = RoaringBitmap::deserialize_from(column.absent.as_slice()).ok()?;
    FieldColumn::from_parts(field, elements, offsets, absent, rows)
}

/// Copies bytes of any alignment into numbers; `None` if the last number is incomplete.
fn copy<T: bytemuck::Pod>(bytes: &[u8]) -> Option<Vec<T>> {
    bytes.len().is_multiple_of(size_of::<T>()).then(|| bytemuck::pod_collect_to_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, MultiVector, Point, PointBatchBuilder};

    fn config() -> CollectionConfig {
        CollectionConfig::new()
            .with_field("text", VectorField::single(2, Metric::Cosine))
            .with_field("tokens", VectorField::multi(2, Metric::Dot).half_precision())
    }

    fn operation() -> Operation {
        let config = config();
        let mut builder = PointBatchBuilder::new(&config);
        let tokens = MultiVector::from_flat(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let payload = Payload::parse("{\"a\": 1}").unwrap();
        builder.push(Point::new(7).with_vector("text", vec![3.0, 4.0])).unwrap();
        builder.push(Point::new("x").with_vector("tokens", tokens).with_payload(payload)).unwrap();
        Operation::Upsert(builder.finish())
    }

    #[test]
    fn operations_come_back_as_they_were() {
        let delete = Operation::Delete(vec![1.into(), "x".into()]);
        for operation in [operation(), delete] {
            let bytes = operation.encode().unwrap();
            assert_eq!(Operation::decode(&Arc::new(config()), 1, &bytes).unwrap(), operation);
        }
    }

    #[test]
    fn truncated_records_and_other_collections_are_corruption() {
        let (bytes, config) = (operation().encode().unwrap(), Arc::new(config()));
        for len in 0..bytes.len() {
            let error = Operation::decode(&config, 9, &bytes[..len]).unwrap_err().to_string();
            assert!(error.contains("journal") && error.contains("record 9"), "{error}");
        }
        let other = CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot));
        assert!(Operation::decode(&Arc::new(other), 1, &bytes).is_err());
    }
}
