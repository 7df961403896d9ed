//! Scrolls ordered by a payload path, and facets.

use std::sync::Arc;

use super::pages::PageRoom;
use super::{Collection, ScrollPage};
use crate::error::Result;
use crate::model::{
    Filter, Include, InvalidInput, Key, MemoryBudget, OrderBy, OrderPlace, Point, check_range,
    limits,
};
use crate::query::{self, Deadline, FacetRequest, FacetResponse};
use crate::segment::RowOrder;

/// A request for a page of points ordered by a payload path.
///
/// ```
/// use lanner::{Filter, OrderBy, OrderedScroll};
///
/// let request = OrderedScroll::new(OrderBy::descending("year"))
///     .filter(Filter::eq("lang", "en"))
///     .limit(20)
///     .with_payload();
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OrderedScroll {
    /// The order. Points without a value at its path are omitted.
    pub order_by: OrderBy,
    /// Restricts the page to matching points; all points if not set.
    pub filter: Option<Filter>,
    /// Start of the page: after this place, or at the first point if not set.
    pub after: Option<OrderPlace>,
    /// Number of points, 1 to 10,000.
    pub limit: usize,
    /// Parts of the points to return.
    pub include: Include,
}

impl OrderedScroll {
    /// The first hundred points in an order, ids only.
    pub fn new(order_by: OrderBy) -> Self {
        Self { order_by, filter: None, after: None, limit: 100, include: Include::NOTHING }
    }

    /// Restricts the page to matching points.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Starts after a place: `next` of the previous page.
    #[must_use]
    pub fn after(self, place: OrderPlace) -> Self {
        Self { after: Some(place), ..self }
    }

    /// Sets the number of points.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Also returns payloads.
    #[must_use]
    pub fn with_payload(mut self) -> Self {
        self.include.payload = true;
        self
    }

    /// Also returns vectors.
    #[must_use]
    pub fn with_vectors(mut self) -> Self {
        self.include.vectors = true;
        self
    }
}

/// One page of an [`OrderedScroll`].
#[derive(Debug, Clone, PartialEq)]
pub struct OrderedPage {
    /// Points in their order.
    pub points: Vec<Point>,
    /// Start of the next page (`after`); `None` on the last page.
    pub next: Option<OrderPlace>,
}

impl Collection {
    /// Up to `limit` points ordered by the values at a payload path, ties by ascending id. Across
    /// all pages of an unchanged collection, each point with a value appears once. A point whose
    /// value changes between two pages may appear twice or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the path is not declared, the filter does not match the
    /// collection's settings, `after` has a value of another type, or `limit` is out of range;
    /// [`crate::Error::PathPending`] if the path's index is being built; or if a sealed file is
    /// damaged.
    pub fn scroll_ordered(&self, request: &OrderedScroll) -> Result<OrderedPage> {
        self.scroll_ordered_within(request, &PageRoom::unlimited())
    }

    /// As [`Self::scroll_ordered`], limited by `room`.
    ///
    /// # Errors
    /// As [`Self::scroll_ordered`], and [`crate::Error::Exhausted`].
    pub fn scroll_ordered_within(
        &self,
        request: &OrderedScroll,
        room: &PageRoom,
    ) -> Result<OrderedPage> {
        check_range("limit", 1, limits::MAX_SCROLL_LIMIT, request.limit)?;
        let snapshot = self.snapshot();
        let path = snapshot.indexed_path(&request.order_by.path, "order_by")?;
        let condition = request.filter.as_ref().map(|filter| filter.resolve(&snapshot.config));
        let condition = condition.transpose()?;
        let after = request.after.as_ref();
        let after = after.map(|place| -> Result<_, InvalidInput> {
            place.id.validate().map_err(|error| error.within("after"))?;
            let scalar = path.payload_type.scalar(&place.value, "after.value")?;
            Ok((Key::from(scalar), &place.id))
        });
        let after = after.transpose()?;
        let order = RowOrder {
            path: &path,
            direction: request.order_by.direction,
            after: after.as_ref().map(|(key, id)| (key, *id)),
            limit: request.limit + 1,
        };
        let page = snapshot.whole(|snapshot| {
            let mut found = snapshot.ordered(&order, condition.as_ref())?;
            let mut keys = Vec::with_capacity(found.len());
            let mut places = Vec::with_capacity(found.len());
            for (row, location) in found.drain(..) {
                keys.push(row.key);
                places.push((row.id, location));
            }
            let page = self.filled(snapshot, &places, request.limit, request.include, room)?;
            Ok((page, keys))
        });
        let (ScrollPage { points, next }, keys) = self.0.noting_damage(page)?;
        let last = points.len().checked_sub(1).and_then(|last| keys.get(last));
        let next = next.zip(last);
        let next = next.map(|(id, key)| OrderPlace { value: key.value(path.payload_type), id });
        Ok(OrderedPage { points, next })
    }

    /// Counts the points for each value of a payload path, and returns the most frequent values.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] if the path is not declared, the filter does not match the
    /// collection's settings, or `limit` is out of range; [`crate::Error::PathPending`] if the
    /// path's index is being built; or if a sealed file is damaged.
    pub fn facet(&self, request: &FacetRequest) -> Result<FacetResponse> {
        self.facet_within(request, &Deadline::NEVER, &MemoryBudget::unlimited())
    }

    /// As [`Self::facet`], with a deadline and a memory budget.
    ///
    /// # Errors
    /// As [`Self::facet`], [`crate::Error::DeadlineExceeded`], [`crate::Error::QueryCancelled`] and
    /// [`crate::Error::Exhausted`].
    pub fn facet_within(
        &self,
        request: &FacetRequest,
        deadline: &Deadline,
        memory: &Arc<MemoryBudget>,
    ) -> Result<FacetResponse> {
        let counted =
            self.snapshot().whole(|snapshot| query::facet(snapshot, request, deadline, memory));
        self.0.noting_damage(counted)
    }
}
