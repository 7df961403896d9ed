//! What the index of a merged segment takes over from the largest of its sources: inserting the rows
//! of the others into its graph is less work than a new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

use super::indexer::present;
use super::state::SealedSlot;
use crate::index::graph::{Adjacency, Earlier, NO_ROW};
use crate::index::{BuildProgress, IndexView};
use crate::segment::{SealedSegment, SegmentReader};

/// A segment that became a part of another.
#[derive(Debug)]
pub(super) struct Inherited {
    segment: Arc<SealedSegment>,
    /// The rows that were left out.
    deleted: Arc<RoaringBitmap>,
    /// The row of the new segment that its first live row became.
    first: u32,
}

impl Inherited {
    /// The source with the most vectors in a field, if it has a sound graph of them. The live rows of the
    /// sources, in order, are those of the new segment.
    pub fn of(sources: &[SealedSlot], field: usize, progress: &BuildProgress) -> Option<Self> {
        let mut first = 0;
        let place = |slot: &SealedSlot| {
            let inherited =
                Self { segment: slot.segment.clone(), deleted: slot.deleted.clone(), first };
            first += slot.source().live_rows() as u32;
            inherited
        };
        let sources: Vec<Self> = sources.iter().map(place).collect();
        let largest = sources.into_iter().max_by_key(|source| source.live_vectors(field))?;
        largest.graph_of(field)?;
        let go_on = &mut |_| !progress.cancelled.load(Ordering::Relaxed);
        let damage = largest.segment.index_damage(go_on);
        damage.iter().all(|(damaged, _)| *damaged != field).then_some(largest)
    }

    fn live_vectors(&self, field: usize) -> u64 {
        let deleted = |row: &&u32| self.deleted.contains(**row);
        let present = present(&self.segment, field);
        (present.len() - present.iter().filter(deleted).count()) as u64
    }

    fn graph_of(&self, field: usize) -> Option<Adjacency<'_>> {
        match self.segment.index(field)?.searched()? {
            (IndexView::Graph(graph, _), _) => Some(graph),
            (IndexView::Ivf(_), _) => None,
        }
    }

    /// The graph, and where its rows are now.
    pub fn graph(&self, field: usize) -> Option<Earlier<'_>> {
        let graph = self.graph_of(field)?;
        let (mut places, mut next) = (vec![NO_ROW; self.segment.rows() as usize], self.first);
        for (row, place) in places.iter_mut().enumerate() {
            if !self.deleted.contains(row as u32) {
                *place = next;
                next += 1;
            }
        }
        Some(Earlier { graph, places })
    }
}
