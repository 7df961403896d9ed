//! What a query sees: the segments at one moment, with their deleted rows.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SegmentReader;
use super::values::{OrderedRow, RowOrder, first_rows};
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, Condition, DeclaredPath, Elements, Include, Payload, Point, PointId,
};

/// A segment at one moment.
#[derive(Clone)]
pub struct View {
    /// The segment.
    pub reader: Arc<dyn SegmentReader>,
    /// The deleted rows.
    pub deleted: Arc<RoaringBitmap>,
}

impl View {
    /// Number of rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        u64::from(self.reader.rows()) - self.deleted.len()
    }

    /// True if evaluating a condition reads payloads.
    fn reads_payloads(&self, condition: &Condition) -> bool {
        condition.reads_payloads_where(&|path| self.reader.has_column(path))
    }

    /// As [`super::RowIds::page`], for matching rows. Only as many rows are checked as it takes to fill
    /// the page.
    fn checked_page(
        &self,
        after: Option<&PointId>,
        limit: usize,
        condition: &Condition,
    ) -> Result<Vec<(PointId, u32)>> {
        let filter = self.reader.filter(condition)?;
        let (mut found, mut after) = (Vec::new(), after.cloned());
        loop {
            let page = self.reader.page(after.as_ref(), &self.deleted, limit)?;
            let is_last = page.len() < limit;
            after = page.last().map(|(id, _)| id.clone());
            found.extend(page.into_iter().filter(|&(_, row)| filter.matches(row)));
            filter.check()?;
            if is_last || found.len() >= limit {
                return Ok(found);
            }
        }
    }
}

/// A row of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Index of the view.
    pub view: u32,
    /// Row within that segment.
    pub row: u32,
}

/// The collection at one moment. Immutable; writers publish a new one.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Sequence number of the last operation included.
    pub sequence: u64,
    /// The collection's settings at that moment.
    pub config: Arc<CollectionConfig>,
    /// The segments, oldest first.
    pub views: Vec<View>,
}

impl Snapshot {
    /// The ids of some rows of each view.
    pub fn ids<'s>(
        &'s self,
        rows: &'s [RoaringBitmap],
    ) -> impl Iterator<Item = Result<PointId>> + 's {
        let of_views = self.views.iter().zip(rows);
        of_views.flat_map(|(view, rows)| rows.iter().map(|row| view.reader.id(row)))
    }

    /// The declared path `name`, if every segment has a column for it; `at` is the location of the
    /// name in the request.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if it is not declared, [`Error::PathPending`] if its index is
    /// still being built.
    pub(crate) fn indexed_path(&self, name: &str, at: &str) -> Result<DeclaredPath> {
        let path = self.config.declared(name, at)?;
        let segments = self.views.iter().filter(|view| !view.reader.has_column(&path)).count();
        match segments {
            0 => Ok(path),
            _ => Err(Error::PathPending { path: name.to_owned(), segments }),
        }
    }

    /// True if evaluating a condition reads payloads.
    pub(crate) fn reads_payloads(&self, condition: &Condition) -> bool {
        self.views.iter().any(|view| view.reads_payloads(condition))
    }

    /// Number of points.
    pub fn count(&self) -> u64 {
        self.views.iter().map(View::live_rows).sum()
    }

    /// Runs `read` and returns its result only if everything it read could be read: unreadable data
    /// may lead to any result or error.
    ///
    /// # Errors
    /// As [`Self::check_pages`], and those of `read`.
    pub fn whole<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let read = read(self);
        self.check_pages()?;
        read
    }

    /// As [`SegmentReader::check_pages`], for all segments.
    pub fn check_pages(&self) -> Result<()> {
        self.views.iter().try_for_each(|view| view.reader.check_pages())
    }

    /// The live rows of each view that match a condition, which was resolved for this collection.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn matching(&self, condition: &Condition) -> Result<Vec<RoaringBitmap>> {
        let matching = |view: &View| Ok(view.reader.filter(condition)?.bitmap()? - &*view.deleted);
        self.views.iter().map(matching).collect()
    }

    /// The live rows of each view, optionally only those that match a condition.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn selected(&self, condition: Option<&Condition>) -> Result<Vec<RoaringBitmap>> {
        let live = |view: &View| {
            let mut live = RoaringBitmap::new();
            live.insert_range(0..view.reader.rows());
            live - &*view.deleted
        };
        match condition {
            Some(condition) => self.matching(condition),
            None => Ok(self.views.iter().map(live).collect()),
        }
    }

    /// The first points in the given order, optionally only those that match a condition.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn ordered(
        &self,
        order: &RowOrder<'_>,
        condition: Option<&Condition>,
    ) -> Result<Vec<(OrderedRow, Location)>> {
        let selected = self.selected(condition)?;
        let mut found = Vec::new();
        for (index, (view, rows)) in self.views.iter().zip(&selected).enumerate() {
            let locate = |row| Location { view: index as u32, row };
            let rows = first_rows(&*view.reader, rows, order)?.into_iter();
            found.extend(
                rows.map(|row| (locate(row.row), row)).map(|(location, row)| (row, location)),
            );
        }
        found.sort_unstable_by(|(a, _), (b, _)| {
            order.direction.compare(&a.key, &b.key).then_with(|| a.id.cmp(&b.id))
        });
        found.truncate(order.limit);
        Ok(found)
    }

    /// Location of the point with this id.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn find(&self, id: &PointId) -> Result<Option<Location>> {
        for (index, view) in self.views.iter().enumerate().rev() {
            if let Some(row) = view.reader.find(id)?
                && !view.deleted.contains(row)
            {
                return Ok(Some(Location { view: index as u32, row }));
            }
        }
        Ok(None)
    }

    /// The segment of a location.
    pub fn reader(&self, location: Location) -> &dyn SegmentReader {
        &*self.views[location.view as usize].reader
    }

    /// The first `limit` points with an id after `after`, in id order, optionally only those that
    /// match a condition.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn page(
        &self,
        after: Option<&PointId>,
        limit: usize,
        condition: Option<&Condition>,
    ) -> Result<Vec<(PointId, Location)>> {
        let mut found = Vec::new();
        for (index, view) in self.views.iter().enumerate() {
            let page = match condition {
                None => view.reader.page(after, &view.deleted, limit)?,
                Some(condition) if view.reads_payloads(condition) => {
                    view.checked_page(after, limit, condition)?
                }
                Some(condition) => {
                    let mut others = RoaringBitmap::new();
                    others.insert_range(0..view.reader.rows());
                    others -= view.reader.filter(condition)?.bitmap()?;
                    view.reader.page(after, &(others | &*view.deleted), limit)?
                }
            };
            let locate = |row| Location { view: index as u32, row };
            found.extend(page.into_iter().map(|(id, row)| (id, locate(row))));
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found.truncate(limit);
        Ok(found)
    }

    /// The payload at a location.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn payload(&self, location: Location) -> Result<Option<Payload>> {
        self.reader(location).payload(location.row)
    }

    /// The stored vectors of a field at a location, or their reconstruction if they were dropped;
    /// `None` if the point has none.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn elements(&self, location: Location, field: usize) -> Result<Option<Elements>> {
        let (reader, row) = (self.reader(location), location.row);
        reader.field(field).check_vector(row)?;
        let mut found = None;
        reader.field(field).visit(row..row + 1, &mut |_, view, range| {
            let present = !view.absent.contains(range.start as u32);
            found = present.then(|| view.row(range.start).to_owned());
        });
        Ok(found)
    }

    /// The point at a location, with the parts in `include`; `fields` are the collection's.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn point<'f>(
        &self,
        location: Location,
        fields: impl Iterator<Item = &'f String>,
        include: Include,
    ) -> Result<Point> {
        let reader = self.reader(location);
        let mut point = Point::new(reader.id(location.row)?);
        if include.payload {
            point.payload = reader.payload(location.row)?;
        }
        if include.vectors {
            for (index, name) in fields.enumerate() {
                reader.field(index).check_vector(location.row)?;
                if let Some(vector) = reader.field(index).vector(location.row) {
                    point.vectors.insert(name.clone(), vector);
                    if !reader.field(index).has_raw() {
                        point.reconstructed.insert(name.clone());
                    }
                }
            }
        }
        Ok(point)
    }
}
