//! Responses limited in size, and deletes by filter.

use std::sync::Arc;

use super::record::Operation;
use super::{Collection, Durability, ScrollPage, WriteReceipt};
use crate::error::Result;
use crate::model::{Filter, Include, MemoryBudget, Point, PointId, check_range, limits};
use crate::segment::{Location, Snapshot};

/// Limits of a response's size and memory.
#[derive(Debug, Clone)]
pub struct PageRoom {
    /// Size in bytes at which the response ends; one point always fits.
    pub bytes: u64,
    /// Number of copies of a point in memory until it is sent.
    pub copies: u64,
    /// Memory budget, spent for good.
    pub memory: Arc<MemoryBudget>,
}

impl PageRoom {
    /// No limits.
    pub(super) fn unlimited() -> Self {
        Self { bytes: u64::MAX, copies: 1, memory: MemoryBudget::unlimited() }
    }
}

/// Points by id, as many as fit.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPoints {
    /// In the order of the ids; `None` where there is none.
    pub points: Vec<Option<Point>>,
    /// Position of the first id not looked up; `None` if all were.
    pub next: Option<usize>,
}

/// The remaining room while points are added.
struct Filling<'r> {
    room: &'r PageRoom,
    bytes: u64,
}

impl Filling<'_> {
    fn is_full(&self) -> bool {
        self.bytes >= self.room.bytes
    }

    fn add(&mut self, point: Point) -> Result<Point> {
        let bytes = point.size_bytes();
        self.bytes += bytes;
        self.room.memory.spend("points of the answer", self.room.copies * bytes)?;
        Ok(point)
    }
}

impl Collection {
    /// As [`Self::get`], limited by `room`.
    ///
    /// # Errors
    /// As [`Self::get`], and [`crate::Error::Exhausted`].
    pub fn get_within(
        &self,
        ids: &[PointId],
        include: Include,
        room: &PageRoom,
    ) -> Result<FoundPoints> {
        check_range("ids", 1, limits::MAX_SCROLL_LIMIT, ids.len())?;
        let found = self.snapshot().whole(|snapshot| self.found(snapshot, ids, include, room));
        self.0.noting_damage(found)
    }

    fn found(
        &self,
        snapshot: &Snapshot,
        ids: &[PointId],
        include: Include,
        room: &PageRoom,
    ) -> Result<FoundPoints> {
        let mut filling = Filling { room, bytes: 0 };
        let mut points = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            if filling.is_full() {
                return Ok(FoundPoints { points, next: Some(index) });
            }
            let point = match snapshot.find(id)? {
                None => None,
                Some(location) => {
                    let point = snapshot.point(location, self.0.fields.keys(), include)?;
                    Some(filling.add(point)?)
                }
            };
            points.push(point);
        }
        Ok(FoundPoints { points, next: None })
    }

    /// As [`Self::scroll_where`], limited by `room`.
    ///
    /// # Errors
    /// As [`Self::scroll_where`], and [`crate::Error::Exhausted`].
    pub fn scroll_within(
        &self,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
        room: &PageRoom,
    ) -> Result<ScrollPage> {
        check_range("limit", 1, limits::MAX_SCROLL_LIMIT, limit)?;
        let snapshot = self.snapshot();
        let condition = filter.map(|filter| filter.resolve(&snapshot.config)).transpose()?;
        let page = snapshot.whole(|snapshot| {
            let page = snapshot.page(after, limit + 1, condition.as_ref())?;
            self.filled(snapshot, &page, limit, include, room)
        });
        self.0.noting_damage(page)
    }

    /// The first `limit` points of a page that may have one more, as many as fit.
    pub(super) fn filled(
        &self,
        snapshot: &Snapshot,
        page: &[(PointId, Location)],
        limit: usize,
        include: Include,
        room: &PageRoom,
    ) -> Result<ScrollPage> {
        let mut filling = Filling { room, bytes: 0 };
        let mut points = Vec::<Point>::new();
        for &(_, location) in page {
            if points.len() == limit || filling.is_full() {
                let next = points.last().map(|point| point.id.clone());
                return Ok(ScrollPage { points, next });
            }
            let point = snapshot.point(location, self.0.fields.keys(), include)?;
            points.push(filling.add(point)?);
        }
        Ok(ScrollPage { points, next: None })
    }

    /// Deletes the points that match a filter at the time of the call. The journal records their
    /// ids, so that a replay deletes the same points. A point that another thread replaces
    /// meanwhile is deleted, too.
    ///
    /// Many points are deleted by several writes of 100,000 each: if one fails, the earlier ones
    /// remain applied. The receipt is that of the last write, with the total number of deleted
    /// points.
    ///
    /// # Errors
    /// As [`Self::upsert_batch`], and [`crate::Error::Invalid`] if the filter does not match the
    /// collection's settings.
    pub fn delete_where(&self, filter: &Filter, durability: Durability) -> Result<WriteReceipt> {
        let snapshot = self.snapshot();
        let condition = filter.resolve(&snapshot.config)?;
        let matching = self.matching(&snapshot, &condition)?;
        let mut ids_left = snapshot.ids(&matching);
        let mut receipt = WriteReceipt { sequence: snapshot.sequence, affected: 0, durability };
        loop {
            let next = ids_left.by_ref().take(limits::MAX_BATCH_POINTS);
            let ids: Vec<PointId> = snapshot.whole(|_| next.collect())?;
            if ids.is_empty() {
                return Ok(receipt);
            }
            let written = self.0.write(Operation::Delete(ids), durability)?;
            receipt = WriteReceipt { affected: receipt.affected + written.affected, ..written };
        }
    }
}
