//! Partial updates: writes that keep the unnamed parts of points.
//!
//! Rows are immutable, so an update is an upsert of whole points that are read under the writer
//! lock: no concurrent write is lost. Unchanged vectors are copied as stored.

use std::collections::{HashMap, HashSet};

use super::{Collection, Durability, WriteReceipt};
use crate::error::Result;
use crate::model::{
    Condition, Elements, FieldColumn, InvalidInput, Payload, PayloadUpdate, Point, PointBatch,
    PointId, Selection, check_range, limits,
};
use crate::segment::{Location, RowFilter, Snapshot};

/// Approximate bytes of points per write, during which other writers wait.
const WRITE_BYTES: usize = 8 << 20;

/// The result of a partial update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateReceipt {
    /// Receipt of its last write, with the total number of updated points.
    pub write: WriteReceipt,
    /// The requested ids without a point.
    pub missing: Vec<PointId>,
}

impl Collection {
    /// Changes the payloads of points, and keeps their vectors as stored. Ids without a point are
    /// skipped and reported. With a filter, points are updated that match at the time of the call
    /// and still match when they are written: no concurrent write is lost or overlooked.
    ///
    /// Many points are updated by several atomic writes of about 8 MiB: if one fails, the earlier
    /// ones remain applied. Dropped vectors
    /// ([`Compression::drop_raw`](crate::Compression::drop_raw)) are carried over from their codes,
    /// as in a merge; while such a point is in memory, it is not marked as reconstructed.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for no ids, too many or malformed ones, a filter or an update that
    /// does not match the collection's settings, and, as `point ID.payload`, if a payload becomes
    /// too long; otherwise as [`Self::upsert_batch`], and if a sealed file is damaged.
    pub fn update_payloads(
        &self,
        points: &Selection,
        update: &PayloadUpdate,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        update.validate(&self.0.intake.load())?;
        let change = |snapshot: &Snapshot, location, id: &PointId| {
            let payload = snapshot.payload(location)?;
            let payload = update.apply(payload.as_ref());
            let payload = payload.map_err(|error| error.within(format!("point {id}")))?;
            let fields = 0..self.0.fields.len();
            let vectors = fields.map(|field| snapshot.elements(location, field));
            Ok(Parts { vectors: vectors.collect::<Result<_>>()?, payload })
        };
        match points {
            Selection::Ids(ids) => {
                check_range("ids", 1, limits::MAX_BATCH_POINTS, ids.len())?;
                for (index, id) in ids.iter().enumerate() {
                    id.validate().map_err(|error| error.within(format!("ids[{index}]")))?;
                }
                let mut seen = HashSet::new();
                let mut distinct = ids.iter().filter(|id| seen.insert(*id)).cloned().map(Ok);
                self.update(&mut distinct, None, &change, durability)
            }
            Selection::Matching(filter) => {
                let snapshot = self.snapshot();
                let condition = filter.resolve(&snapshot.config)?;
                let matching = self.matching(&snapshot, &condition)?;
                let mut ids = snapshot.ids(&matching);
                let updated = self.update(&mut ids, Some(&condition), &change, durability)?;
                // Points deleted by others meanwhile were not requested by id.
                Ok(UpdateReceipt { missing: Vec::new(), ..updated })
            }
        }
    }

    /// Replaces the vectors of points in the fields that each point names. Its other vectors and
    /// its payload are kept; see [`Self::update_payloads`], also for missing ids and several
    /// writes. A field without a vector gets its first one.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for the first invalid point, as `points[i]`: as [`Self::upsert`],
    /// and for a payload or a repeated id; otherwise as [`Self::update_payloads`].
    pub fn update_vectors(
        &self,
        points: impl IntoIterator<Item = Point>,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        let changes = self.vector_changes(points)?;
        let rows: HashMap<&PointId, usize> = changes.ids.iter().zip(0..).collect();
        let change = |snapshot: &Snapshot, location, id: &PointId| {
            let vector = |(field, column): (usize, &FieldColumn)| {
                let (view, row) = (column.view(), rows[id]);
                match view.absent.contains(row as u32) {
                    true => snapshot.elements(location, field),
                    false => Ok(Some(view.row(row).to_owned())),
                }
            };
            let vectors = changes.fields.iter().enumerate().map(vector).collect::<Result<_>>()?;
            Ok(Parts { vectors, payload: snapshot.payload(location)? })
        };
        self.update(&mut changes.ids.iter().cloned().map(Ok), None, &change, durability)
    }

    /// The new vectors, validated and prepared like those of any write.
    fn vector_changes(&self, points: impl IntoIterator<Item = Point>) -> Result<PointBatch> {
        let mut changes = self.batch();
        let mut seen = HashSet::new();
        for (index, point) in points.into_iter().enumerate() {
            let refuse = |part: &str, expected, got: String| {
                Err(InvalidInput::mismatch(format!("points[{index}].{part}"), expected, got))
            };
            if point.payload.is_some() {
                refuse("payload", "vectors alone", "a payload".into())?;
            }
            if !seen.insert(point.id.clone()) {
                refuse("id", "each id once", format!("{} twice", point.id))?;
            }
            changes.push(point).map_err(|error| error.within(format!("points[{index}]")))?;
        }
        check_range("points", 1, limits::MAX_BATCH_POINTS, changes.len())?;
        Ok(changes.finish())
    }

    /// Rewrites the points with these ids by `change`, in as many writes as needed; with a
    /// condition, only those that match it.
    fn update(
        &self,
        ids: &mut dyn Iterator<Item = Result<PointId>>,
        condition: Option<&Condition>,
        change: &Change<'_>,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        let sequence = self.snapshot().sequence;
        let mut write = WriteReceipt { sequence, affected: 0, durability };
        let mut missing = Vec::new();
        let mut ids = ids.peekable();
        while ids.peek().is_some() {
            let written = self.0.rewrite(durability, |snapshot| {
                self.changed(snapshot, &mut ids, condition, change, &mut missing)
            });
            if let Some(written) = self.0.noting_damage(written)? {
                write = WriteReceipt { affected: write.affected + written.affected, ..written };
            }
        }
        Ok(UpdateReceipt { write, missing })
    }

    /// The next points in their new form, as many as fit into one write.
    fn changed(
        &self,
        snapshot: &Snapshot,
        ids: &mut dyn Iterator<Item = Result<PointId>>,
        condition: Option<&Condition>,
        change: &Change<'_>,
        missing: &mut Vec<PointId>,
    ) -> Result<PointBatch> {
        let prepare = |condition| {
            let filters = snapshot.views.iter().map(|view| view.reader.filter(condition));
            filters.collect::<Result<Vec<RowFilter<'_>>>>()
        };
        let filters = condition.map(prepare).transpose()?;
        let mut batch = self.batch();
        let mut bytes = 0;
        for id in ids.take(limits::MAX_BATCH_POINTS) {
            let id = id?;
            let Some(location) = snapshot.find(&id)? else {
                missing.push(id);
                continue;
            };
            let matches = |filters: &Vec<RowFilter<'_>>| {
                filters[location.view as usize].matches(location.row)
            };
            if !filters.as_ref().is_none_or(matches) {
                continue;
            }
            let parts = change(snapshot, location, &id)?;
            bytes += parts.size_bytes();
            batch
                .push_stored(id.clone(), parts.vectors, parts.payload)
                .map_err(|error| error.within(format!("point {id}")))?;
            if bytes >= WRITE_BYTES {
                break;
            }
        }
        filters.iter().flatten().try_for_each(RowFilter::check)?;
        Ok(batch.finish())
    }
}

/// Computes the new parts of a point from the snapshot, its location and its id.
type Change<'c> = dyn Fn(&Snapshot, Location, &PointId) -> Result<Parts> + 'c;

/// A point to be written, without its id.
struct Parts {
    /// One for each field, if present.
    vectors: Vec<Option<Elements>>,
    payload: Option<Payload>,
}

impl Parts {
    fn size_bytes(&self) -> usize {
        let vectors = self.vectors.iter().flatten();
        let vectors: usize = vectors.map(|vector| vector.as_ref().as_bytes().len()).sum();
        vectors + self.payload.as_ref().map_or(0, |payload| payload.as_str().len())
    }
}
