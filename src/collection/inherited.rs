//! Index reuse in merges: a merged segment starts from the graph of its largest source, since
//! inserting the other rows into it is cheaper than a new build.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use roaring::RoaringBitmap;

use super::indexer::present;
use super::state::SealedSlot;
use crate::index::graph::{Adjacency, Earlier, NO_ROW};
use crate::index::{BuildProgress, IndexView};
use crate::segment::{SealedSegment, SegmentReader};

/// A source segment of a merge.
#[derive(Debug)]
pub(super) struct Inherited {
    segment: Arc<SealedSegment>,
    /// Rows dropped by the merge.
    deleted: Arc<RoaringBitmap>,
    /// Row of the merged segment that its first live row became.
    first: u32,
}

impl Inherited {
    /// The source with the most vectors in a field, if it has a sound graph. The merged segment
    /// consists of the live rows of the sources, in order.
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
        match self.segment.field(field).index()?.searched()? {
            (IndexView::Graph(graph, _), _) => Some(graph),
            (IndexView::Ivf(_), _) => None,
        }
    }

    /// The graph, and the new number of each of its rows.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::Collection;
    use crate::model::{CollectionConfig, Metric, Point, VectorField};
    use crate::{Database, DatabaseOptions};

    /// Two segments of `rows` rows with indexes, kept separate; a tenth of the first one's rows is
    /// deleted.
    fn segments(index: &str, rows: [u64; 2]) -> (tempfile::TempDir, Database, Collection) {
        let folder = tempfile::tempdir().unwrap();
        let options = DatabaseOptions::new().index_rows(1000).segment_bytes(1);
        let database = options.open(folder.path()).unwrap();
        let field = VectorField::single(4, Metric::L2).compressed("lvq8".parse().unwrap());
        let field = field.indexed(index.parse().unwrap());
        let config = CollectionConfig::new().with_field("v", field);
        let collection = database.create_collection("c", config).unwrap();
        let vector =
            |id: u64| (1..5).map(|at| (id * at * 7919 % 4001) as f32).collect::<Vec<f32>>();
        let mut first = 0;
        for rows in rows {
            let ids = first..first + rows;
            collection.upsert(ids.map(|id| Point::new(id).with_vector("v", vector(id)))).unwrap();
            collection.flush().unwrap();
            first += rows;
        }
        collection.optimize().unwrap();
        // Too few in each to trigger a rewrite.
        let gone = (0..first).step_by(10).map(Into::into).collect();
        collection.delete(gone, crate::Durability::Buffered).unwrap();
        (folder, database, collection)
    }

    fn inherited(collection: &Collection) -> (Vec<SealedSlot>, Option<Inherited>) {
        let sources = collection.0.lock().segments.sealed.clone();
        let found = Inherited::of(&sources, 0, &BuildProgress::default());
        (sources, found)
    }

    #[test]
    fn rows_of_the_largest_source_keep_their_order_behind_those_before() {
        for (rows, largest) in [([1200, 2500], 1), ([2500, 1200], 0)] {
            let (_folder, _database, collection) = segments("graph", rows);
            let (sources, found) = inherited(&collection);
            assert_eq!(sources.len(), 2);
            let found = found.unwrap();
            let earlier = found.graph(0).unwrap();
            assert_eq!(earlier.graph.rows(), sources[largest].segment.rows());
            let before = sources[..largest].iter().map(|source| source.source().live_rows());
            let mut next = before.sum::<u64>() as u32;
            for (row, &place) in earlier.places.iter().enumerate() {
                if sources[largest].deleted.contains(row as u32) {
                    assert_eq!(place, NO_ROW);
                } else {
                    assert_eq!(place, next);
                    next += 1;
                }
            }
            let deleted: u64 = sources.iter().map(|source| source.deleted.len()).sum();
            assert_eq!(deleted, 370);
        }
    }

    #[test]
    fn lists_are_not_inherited() {
        let (_folder, _database, collection) = segments("ivf", [1200, 2500]);
        assert!(inherited(&collection).1.is_none());
    }
}
