//! Merge policy: selects segments to merge, as pure functions of their sizes.

/// Share of deleted rows at which a segment is rewritten.
pub const REWRITE_DELETED_SHARE: f64 = 0.2;
/// Number of segments of one size class that are merged into one.
const MERGE_FAN_IN: usize = 8;
/// Fan-in of classes below the usual size of a sealed segment: early-sealed segments are small,
/// every segment adds to the cost of a query, and small ones are quick to merge.
const SMALL_FAN_IN: usize = 4;
/// Number of small classes.
const SMALL_CLASSES: u32 = 3;

/// Properties of a segment that decide merges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSize {
    /// Its number.
    pub number: u64,
    /// Bytes of its live rows.
    pub live_bytes: u64,
    /// Share of deleted rows.
    pub deleted_share: f64,
}

/// Target sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergePolicy {
    /// Approximate size of a newly sealed segment.
    pub seal_bytes: u64,
    /// Maximum size of a merged segment.
    pub segment_bytes: u64,
}

impl MergePolicy {
    /// Segments worth merging in the background: enough of one size class, smallest class first, or
    /// one with many deleted rows. Small ones come before the latter, since merging them takes
    /// little.
    pub fn next(&self, segments: &[SegmentSize]) -> Option<Vec<u64>> {
        let of_class = |class: u32| {
            let of_class = segments.iter().filter(|size| self.class(size.live_bytes) == class);
            let members: Vec<&SegmentSize> = of_class.take(fan_in(class)).collect();
            let total: u64 = members.iter().map(|size| size.live_bytes).sum();
            (members.len() == fan_in(class) && total <= self.segment_bytes)
                .then(|| members.into_iter().map(|size| size.number).collect())
        };
        let worn = || segments.iter().find(|size| size.deleted_share >= REWRITE_DELETED_SHARE);
        (0..SMALL_CLASSES)
            .find_map(of_class)
            .or_else(|| worn().map(|size| vec![size.number]))
            .or_else(|| (SMALL_CLASSES..u64::BITS).find_map(of_class))
    }

    /// The merges that leave as few segments as the size limit allows, keeping their order.
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

    /// Size class: [`SMALL_CLASSES`] up to one and a half times the sealing size; one more or less
    /// for each factor of the [fan-in](fan_in).
    fn class(&self, bytes: u64) -> u32 {
        let usual = self.seal_bytes.saturating_add(self.seal_bytes / 2).max(1);
        let mut class = SMALL_CLASSES;
        let mut smaller = usual / SMALL_FAN_IN as u64;
        while class > 0 && bytes <= smaller {
            class -= 1;
            smaller /= SMALL_FAN_IN as u64;
        }
        let mut limit = usual;
        while bytes > limit {
            class += 1;
            limit = limit.saturating_mul(MERGE_FAN_IN as u64);
        }
        class
    }
}

/// Number of segments of a class that are merged into one.
fn fan_in(class: u32) -> usize {
    if class < SMALL_CLASSES { SMALL_FAN_IN } else { MERGE_FAN_IN }
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
            ("small ones with their like", [alike(30, 3), alike(100, 7)].concat(), None),
            ("four small ones", [alike(100, 7), alike(30, 5)].concat(), Some((7..11).collect())),
            ("smaller ones first", [alike(30, 4), alike(5, 4)].concat(), Some((4..8).collect())),
            ("what is sealed when it is full", alike(60, 4), None),
            ("they would be too large", alike(700, 8), None),
            ("one that is worn", vec![(100, 0.1), (5000, 0.2)], Some(vec![1])),
            ("one without rows", vec![(0, 1.0)], Some(vec![0])),
            (
                "small ones before it",
                [vec![(5000, 0.2)], alike(30, 4)].concat(),
                Some((1..5).collect()),
            ),
            ("it before others", [alike(100, 8), vec![(5000, 0.2)]].concat(), Some(vec![8])),
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
