//! Tests of rows at paths without a column, which read payloads: undeclared paths, and paths
//! declared after a segment was sealed, until it is rewritten.
//!
//! Selectivity is only known from a sample. Single rows are tested on demand, all rows in parallel.
//! Read errors are recorded, to be returned by [`PayloadReads::check`] afterwards.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::SegmentReader;
use super::row_filter::{Cardinality, GoOn};
use crate::error::{Error, Result};
use crate::model::{Condition, DeclaredPath, Payload, Scalar, object, read_path};

/// Rows to sample for the selectivity estimate.
const SAMPLE_ROWS: u32 = 200;
/// Rows to test between two calls of `go_on`.
const BLOCK_ROWS: usize = 1024;

/// The rows whose payloads satisfy a condition.
#[derive(Clone)]
pub(super) struct PayloadRows<'s> {
    pub reader: &'s dyn SegmentReader,
    /// Tests payloads only.
    pub condition: Condition,
    pub reads: Arc<PayloadReads>,
    pub sampled: OnceLock<Cardinality>,
}

impl fmt::Debug for PayloadRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadRows").field(&self.condition).finish()
    }
}

/// Counters of payload reads, and the first error.
#[derive(Debug, Default)]
pub(super) struct PayloadReads {
    rows: AtomicU64,
    bytes: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl PayloadReads {
    /// Number of payloads read, and their bytes.
    pub fn count(&self) -> (u64, u64) {
        // Relaxed: the counters order nothing else.
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Returns the error of a failed payload read, once.
    pub fn check(&self) -> Result<()> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    fn note(&self, payload: &Payload) {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(payload.as_str().len() as u64, Ordering::Relaxed);
    }

    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }
}

impl PayloadRows<'_> {
    /// True if the payload of a row satisfies the condition; false if it cannot be read, see
    /// [`PayloadReads::check`].
    pub fn matches(&self, row: u32) -> bool {
        let payload = match self.reader.payload(row) {
            Ok(payload) => payload,
            Err(error) => {
                self.reads.fail(error);
                return false;
            }
        };
        payload.iter().for_each(|payload| self.reads.note(payload));
        self.condition.holds(&object(payload.as_ref()))
    }

    /// Estimated number of matching rows, from an even sample.
    pub fn cardinality(&self) -> Cardinality {
        *self.sampled.get_or_init(|| {
            let rows = self.reader.rows();
            let sample = rows.min(SAMPLE_ROWS);
            let row = |number: u32| u64::from(number) * u64::from(rows) / u64::from(sample.max(1));
            let matching = (0..sample).filter(|&number| self.matches(row(number) as u32)).count();
            let (all, matching) = (u64::from(rows), matching as u64);
            let expected = all * matching / u64::from(sample.max(1));
            let most = all - (u64::from(sample) - matching);
            Cardinality { least: matching, expected: expected.clamp(matching, most), most }
        })
    }
}

/// Visits the values of rows at a declared path, converted as for columns; `None` stands for
/// `null`.
///
/// # Errors
/// If a payload cannot be read, or a value does not have the declared type.
pub(super) fn visit_payloads(
    reader: &dyn SegmentReader,
    path: &DeclaredPath,
    rows: impl Iterator<Item = u32>,
    visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
) -> Result<()> {
    for row in rows {
        let Some(payload) = reader.payload(row)? else { continue };
        let values = read_path(&path.name, path.payload_type, &object(Some(&payload)));
        let values = match values {
            Ok(values) => values,
            Err(error) => {
                let place = format!("point {}.payload", reader.id(row)?);
                return Err(error.within(place).into());
            }
        };
        values.visit(&mut |scalar| visit(row, Some(scalar)));
        if values.has_null() {
            visit(row, None);
        }
    }
    Ok(())
}

/// The rows that match.
///
/// # Errors
/// The error of `go_on`.
pub(super) fn select(
    rows: &[u32],
    matches: impl Fn(u32) -> bool + Sync,
    go_on: GoOn<'_>,
) -> Result<RoaringBitmap> {
    let block = |rows: &[u32]| -> Result<Vec<u32>> {
        go_on()?;
        Ok(rows.iter().copied().filter(|&row| matches(row)).collect())
    };
    let found: Vec<Vec<u32>> = rows.par_chunks(BLOCK_ROWS).map(block).collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CollectionConfig, Metric, PayloadType, Point, PointBatchBuilder, VectorField,
    };
    use crate::segment::{MutableReader, MutableSegment, RowPayloads};

    fn reader(config: &CollectionConfig, payloads: &[&str]) -> MutableReader {
        let mut batch = PointBatchBuilder::new(config);
        for (id, payload) in (0_u64..).zip(payloads) {
            let point = Point::new(id).with_vector("v", vec![1.0]);
            batch.push(point.with_payload(Payload::parse(payload).unwrap())).unwrap();
        }
        let segment = Arc::new(MutableSegment::default());
        segment.append(batch.finish());
        MutableReader::new(segment, payloads.len() as u32)
    }

    #[test]
    fn payloads_say_what_a_column_does() {
        let field = VectorField::single(1, Metric::Dot);
        let config = CollectionConfig::new().with_field("v", field);
        let payloads = [r#"{"n": [3, null, 1, 3]}"#, "{}", r#"{"n": null}"#, r#"{"n": [4]}"#];
        let declared = config.clone().with_payload("n", PayloadType::Integer);
        let path = declared.declared_path("n").unwrap();
        let shown = |row: u32, value: Option<Scalar<'_>>| format!("{row} {value:?}");
        let (mut of_column, mut of_payloads) = (Vec::new(), Vec::new());
        let deleted = RoaringBitmap::from([3]);
        let with = reader(&declared, &payloads);
        with.visit_path(&path, &deleted, &mut |row, value| of_column.push(shown(row, value)))
            .unwrap();
        let without = reader(&config, &payloads);
        visit_payloads(&without, &path, 0..3, &mut |row, value| {
            of_payloads.push(shown(row, value));
        })
        .unwrap();
        assert_eq!(of_payloads, of_column);
        assert_eq!(of_payloads.len(), 4, "{of_payloads:?}");
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
        let path = config.clone().with_payload("a.n", PayloadType::Integer);
        let path = path.declared_path("a.n").unwrap();
        let reader = reader(&config, &["{}", r#"{"a": {"n": true}}"#]);
        let error = visit_payloads(&reader, &path, 0..2, &mut |_, _| {}).unwrap_err();
        let expected = "point 1.payload.a.n: expected an integer of 64 bits with a sign, got true";
        assert_eq!(error.to_string(), expected);
    }
}
