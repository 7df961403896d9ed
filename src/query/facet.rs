//! Facets: the number of points for each value of a payload path.
//!
//! Each segment counts its values in ascending order, and a merge adds up the counts, so that
//! memory holds the returned values and otherwise only the counts of one segment at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::Deadline;
use crate::error::Result;
use crate::model::{Filter, FilterValue, Key, MemoryBudget, check_range, limits};
use crate::segment::{Snapshot, ValueCounts};

/// Values counted between two checks of the deadline.
const CHECKED_VALUES: u64 = 4096;
/// Approximate memory to count a row, and of a returned value without its text.
const ROW_BYTES: u64 = 8;
const VALUE_BYTES: u64 = 128;

/// A facet request.
///
/// ```
/// use lanner::{FacetRequest, Filter};
///
/// let request = FacetRequest::new("lang").filter(Filter::eq("open", true)).limit(5);
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FacetRequest {
    /// A declared payload path. A point counts once for each of its distinct values; `null` is not
    /// a value.
    pub path: String,
    /// Restricts the count to matching points; all points if not set.
    pub filter: Option<Filter>,
    /// Number of values to return, 1 to 10,000.
    pub limit: usize,
}

impl FacetRequest {
    /// The ten most frequent values of a path.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), filter: None, limit: 10 }
    }

    /// Restricts the count to matching points.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Sets the number of values.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// The response to a [`FacetRequest`]; counts are exact.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetResponse {
    /// The most frequent values, by descending count, then ascending value.
    pub counts: Vec<ValueCount>,
    /// Number of distinct values, including those not returned.
    pub values: u64,
    /// Sequence number of the last write visible to the request.
    pub sequence: u64,
}

/// A value and its number of points.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueCount {
    /// The value; a datetime as RFC 3339 text in UTC.
    pub value: FilterValue,
    /// Number of points, at least 1.
    pub count: u64,
}

/// Counts the values of a path in a snapshot.
///
/// # Errors
/// [`crate::Error::Invalid`], as [`Deadline::check`], [`crate::Error::Exhausted`], or if a sealed file
/// is damaged.
pub(crate) fn facet(
    snapshot: &Snapshot,
    request: &FacetRequest,
    deadline: &Deadline,
    memory: &Arc<MemoryBudget>,
) -> Result<FacetResponse> {
    check_range("limit", 1, limits::MAX_FACET_VALUES, request.limit)?;
    let path = snapshot.indexed_path(&request.path, "path")?;
    let condition = request.filter.as_ref().map(|filter| filter.resolve(&snapshot.config));
    let condition = condition.transpose()?;
    let _held = memory.reserve("counts of values", ROW_BYTES * snapshot.count())?;
    deadline.check()?;
    let selected = snapshot.selected(condition.as_ref())?;
    let mut parts = Vec::with_capacity(selected.len());
    for (view, rows) in snapshot.views.iter().zip(&selected).filter(|(_, rows)| !rows.is_empty()) {
        deadline.check()?;
        parts.push(view.reader.value_counts(&path, rows)?);
    }
    let mut top = Top { limit: request.limit, counts: BinaryHeap::new() };
    let mut merged = Merged::new(parts)?;
    let mut values = 0;
    while let Some((key, count)) = merged.next()? {
        if values % CHECKED_VALUES == 0 {
            deadline.check()?;
        }
        values += 1;
        top.offer(key, count);
    }
    let mut counts = Vec::new();
    for Reverse((count, Reverse(key))) in top.counts.into_sorted_vec() {
        let text = if let Key::Term(term) = &key { term.len() as u64 } else { 0 };
        memory.spend("counts of the answer", VALUE_BYTES + 3 * text)?;
        counts.push(ValueCount { value: key.value(path.payload_type), count });
    }
    Ok(FacetResponse { counts, values, sequence: snapshot.sequence })
}

/// The values with the highest counts, the worst on top of the heap; ties prefer the smaller value.
struct Top {
    limit: usize,
    counts: BinaryHeap<Reverse<(u64, Reverse<Key>)>>,
}

impl Top {
    /// Offers a value; values must come in ascending order.
    fn offer(&mut self, key: Key, count: u64) {
        if self.counts.len() == self.limit {
            let least = self.counts.peek().map_or(0, |Reverse((least, _))| *least);
            // On a tie the smaller value is already in.
            if count <= least {
                return;
            }
            self.counts.pop();
        }
        self.counts.push(Reverse((count, Reverse(key))));
    }
}

/// Merges the counts of several segments, in ascending order of values.
struct Merged<'s> {
    parts: Vec<ValueCounts<'s>>,
    /// The next value of each part, its count, and the part's index.
    heads: BinaryHeap<Reverse<(Key, u64, usize)>>,
}

impl<'s> Merged<'s> {
    fn new(parts: Vec<ValueCounts<'s>>) -> Result<Self> {
        let mut merged = Self { heads: BinaryHeap::with_capacity(parts.len()), parts };
        (0..merged.parts.len()).try_for_each(|part| merged.advance(part))?;
        Ok(merged)
    }

    fn advance(&mut self, part: usize) -> Result<()> {
        if let Some(next) = self.parts[part].next() {
            let (key, count) = next?;
            self.heads.push(Reverse((key, count, part)));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Key, u64)>> {
        let Some(Reverse((key, mut sum, part))) = self.heads.pop() else { return Ok(None) };
        self.advance(part)?;
        while self.heads.peek().is_some_and(|Reverse((other, _, _))| *other == key)
            && let Some(Reverse((_, count, part))) = self.heads.pop()
        {
            sum += count;
            self.advance(part)?;
        }
        Ok(Some((key, sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(counts: &[(i64, u64)]) -> ValueCounts<'static> {
        let counts: Vec<_> = counts.iter().map(|&(key, n)| Ok((Key::Number(key), n))).collect();
        Box::new(counts.into_iter())
    }

    #[test]
    fn counts_of_segments_add_up_and_the_most_frequent_come_first() {
        let parts =
            vec![part(&[(1, 2), (3, 1), (9, 4)]), part(&[]), part(&[(1, 1), (9, 1), (10, 3)])];
        let (mut merged, mut all) = (Merged::new(parts).unwrap(), Vec::new());
        while let Some((Key::Number(key), count)) = merged.next().unwrap() {
            all.push((key, count));
        }
        assert_eq!(all, [(1, 3), (3, 1), (9, 5), (10, 3)]);
        for (limit, expected) in
            [(1, &[9][..]), (2, &[9, 1]), (3, &[9, 1, 10]), (9, &[9, 1, 10, 3])]
        {
            let mut top = Top { limit, counts: BinaryHeap::new() };
            all.iter().for_each(|&(key, count)| top.offer(Key::Number(key), count));
            let sorted = top.counts.into_sorted_vec().into_iter();
            let keys: Vec<Key> = sorted.map(|Reverse((_, Reverse(key)))| key).collect();
            assert_eq!(keys, expected.iter().map(|&key| Key::Number(key)).collect::<Vec<_>>());
        }
    }
}
