//! Which segments are merged: pure functions of what there is.

/// A segment with this share of deleted rows is rewritten.
pub const REWRITE_DELETED_SHARE: f64 = 0.2;
/// So many segments of one size class are merged into one.
const MERGE_FAN_IN: usize = 8;
/// The smallest class is so many times smaller than what is usually sealed: what queries wait for is
/// sealed early.
const SMALLEST_CLASS: u64 = 64;

/// What a merge depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSize {
    /// Its number.
    pub number: u64,
    /// Bytes of its live rows.
    pub live_bytes: u64,
    /// Share of its rows that is deleted.
    pub deleted_share: f64,
}

/// The sizes that merges work towards, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergePolicy {
    /// Segments are about as large as this when they are sealed.
    pub seal_bytes: u64,
    /// Merges do not make segments larger than this.
    pub segment_bytes: u64,
}

impl MergePolicy {
    /// Segments worth merging in the background: one with many deleted rows, or enough of one size
    /// class, the smallest first.
    pub fn next(&self, segments: &[SegmentSize]) -> Option<Vec<u64>> {
        if let Some(worn) = segments.iter().find(|size| size.deleted_share >= REWRITE_DELETED_SHARE)
        {
            return Some(vec![worn.number]);
        }
        (0..u64::BITS).find_map(|class| {
            let of_class = segments.iter().filter(|size| self.class(size.live_bytes) == class);
            let members: Vec<&SegmentSize> = of_class.take(MERGE_FAN_IN).collect();
            let total: u64 = members.iter().map(|size| size.live_bytes).sum();
            (members.len() == MERGE_FAN_IN && total <= self.segment_bytes)
                .then(|| members.into_iter().map(|size| size.number).collect())
        })
    }

    /// The merges that leave as few segments as the size limit allows, in their order.
    pub fn fewest(&self, segments: &[SegmentSize]) -> Vec<Vec<u64>> {
        let mut groups: Vec<(u64, Vec<u64>)> = Vec::new();
        for size in segments {
            match groups.last_mut() {
                Some((total, members)) if *total + size.live_bytes <= self.segment_bytes => {
                    *total += size.live_bytes;
                    members.push(size.number);
                }
                _ => groups.push((size.live_bytes, vec![size.number])),
            }
        }
        groups.into_iter().map(|(_, members)| members).collect()
    }

    /// 2 up to one and a half times the size at which segments are sealed; one more or less for each
    /// factor of [`MERGE_FAN_IN`].
    fn class(&self, bytes: u64) -> u32 {
        let usual = self.seal_bytes.saturating_add(self.seal_bytes / 2);
        let mut limit = (usual / SMALLEST_CLASS).max(1);
        let mut class = 0;
        while bytes > limit {
            limit = limit.saturating_mul(MERGE_FAN_IN as u64);
            class += 1;
        }
        class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: MergePolicy = MergePolicy { seal_bytes: 100, segment_bytes: 5000 };

    fn sizes(of: &[(u64, f64)]) -> Vec<SegmentSize> {
        let size = |(number, &(live_bytes, deleted_share)): (u64, &(u64, f64))| SegmentSize {
            number,
            live_bytes,
            deleted_share,
        };
        (0..).zip(of).map(size).collect()
    }

    #[test]
    fn what_is_merged_in_the_background() {
        let alike = |bytes, count| vec![(bytes, 0.0); count];
        let mixed = [alike(1000, 3), alike(100, 8), alike(900, 5)].concat();
        for (what, segments, expected) in [
            ("nothing", vec![], None),
            ("too few", alike(100, 7), None),
            ("enough, and no more than that", alike(100, 9), Some((0..8).collect())),
            ("the smaller class first", mixed, Some((3..11).collect())),
            ("small ones with their like", [alike(10, 7), alike(100, 7)].concat(), None),
            ("small ones", [alike(100, 7), alike(10, 8)].concat(), Some((7..15).collect())),
            ("they would be too large", alike(700, 8), None),
            ("one that is worn", vec![(100, 0.1), (5000, 0.2)], Some(vec![1])),
            ("one without rows", vec![(0, 1.0)], Some(vec![0])),
        ] {
            assert_eq!(POLICY.next(&sizes(&segments)), expected, "{what}");
        }
    }

    #[test]
    fn as_few_segments_as_possible() {
        let groups = |bytes: &[u64]| {
            let of: Vec<(u64, f64)> = bytes.iter().map(|&bytes| (bytes, 0.0)).collect();
            POLICY.fewest(&sizes(&of))
        };
        assert!(groups(&[]).is_empty());
        assert_eq!(groups(&[100, 200, 4700]), [vec![0, 1, 2]]);
        assert_eq!(groups(&[100, 200, 4701]), [vec![0, 1], vec![2]]);
        assert_eq!(groups(&[9000, 1, 1]), [vec![0], vec![1, 2]], "one may be larger by itself");
    }
}
