//! Partitions the sample queries far from the rows by distance: the overall mean says little about
//! them.

use super::FARTHEST;

/// Share of the sample queries considered outside; synthesised queries start there.
const OUTSIDE_SHARE: f64 = 0.0075;
/// Number of zones of the synthesised queries, by distance.
const ZONES: usize = 4;
/// Minimum number of queries of a zone.
pub const LEAST_OF_ZONE: usize = 12;

/// Queries far from the rows for one k, by distance.
pub struct Far {
    /// Number of nearest neighbours.
    pub k: usize,
    /// Nearness below which a query belongs to a zone.
    pub below: f32,
    /// From near to far.
    pub zones: Vec<Members>,
}

/// The queries of a zone.
pub struct Members {
    /// Their minimum nearness.
    pub at_least: f32,
    /// Whether they are of the sample, rather than synthesised.
    pub usual: bool,
    /// Their indices.
    pub queries: Vec<usize>,
}

impl Far {
    /// From the nearness of each query's k-th nearest row. Queries before `far` belong to the
    /// sample, those that count represent the expected ones.
    pub fn new(k: usize, nearness: &[f32], counts: &[bool], far: usize) -> Self {
        let by_nearness = |queries: &mut Vec<usize>| {
            // Queries without neighbours are neither near nor far.
            queries.retain(|&query| nearness[query].is_finite());
            queries.sort_unstable_by(|&a, &b| nearness[b].total_cmp(&nearness[a]));
        };
        let mut usual: Vec<usize> = (0..far).filter(|&query| counts[query]).collect();
        by_nearness(&mut usual);
        let start = |share: f64| usual.len() - (usual.len() as f64 * share) as usize;
        let nearness_from = |at: usize| {
            let last = usual.get(at.saturating_sub(1)).or(usual.last());
            last.map_or(f32::MIN, |&query| nearness[query])
        };
        let zone = |queries: &[usize], at_least, usual| {
            let enough = queries.len() >= LEAST_OF_ZONE;
            enough.then(|| Members { at_least, usual, queries: queries.to_vec() })
        };
        let outside_below = nearness_from(start(OUTSIDE_SHARE));
        let [far_from, farthest_from] = FARTHEST.map(start);
        let mut zones: Vec<Members> = [
            zone(&usual[far_from..farthest_from], nearness_from(farthest_from), true),
            zone(&usual[farthest_from..], outside_below, true),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut outside: Vec<usize> = (far..nearness.len()).collect();
        by_nearness(&mut outside);
        outside.retain(|&query| nearness[query] < outside_below);
        let size = outside.len().div_ceil(ZONES).max(LEAST_OF_ZONE);
        zones.extend(outside.chunks(size).filter_map(|queries| {
            zone(queries, queries.last().map_or(f32::MIN, |&query| nearness[query]), false)
        }));
        let any_usual = zones.first().is_some_and(|zone| zone.usual);
        let below = if any_usual { nearness_from(far_from) } else { outside_below };
        Self { k, below, zones }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The range of the members' nearness, in thousandths.
    fn range(zone: &Members, nearness: &[f32]) -> (i32, i32) {
        let of = zone.queries.iter().map(|&query| (nearness[query] * 1000.0).round() as i32);
        (of.clone().min().unwrap(), of.max().unwrap())
    }

    #[test]
    fn the_farthest_quarter_and_twelfth_are_zones_before_made_up_queries() {
        // A shuffled thousand queries, as many that do not count, one without neighbours, and a
        // hundred synthesised ones: from 0.05 to −0.05, in between.
        let mut nearness: Vec<f32> = (0..1000).map(|at| (at * 7 % 1000) as f32 / 1000.0).collect();
        nearness.extend(vec![-9.0; 1000]);
        nearness.push(f32::NEG_INFINITY);
        let mut counts = vec![true; 1000];
        counts.extend(vec![false; 1000]);
        counts.push(true);
        let far = nearness.len();
        nearness.extend((0..100).map(|at| 0.0492 - at as f32 / 1000.0));
        counts.extend(vec![false; 100]);

        let zones = Far::new(10, &nearness, &counts, far);
        assert_eq!(zones.below, 0.25);
        let ranges: Vec<_> = zones.zones.iter().map(|zone| range(zone, &nearness)).collect();
        assert_eq!(ranges[..2], [(80, 249), (0, 79)]);
        let (usual, made_up) = zones.zones.split_at(2);
        assert!(usual.iter().all(|zone| zone.usual) && made_up.iter().all(|zone| !zone.usual));
        assert_eq!(usual[0].at_least, 0.08);
        // The last zone may extend beyond its threshold: synthesised queries count there, too.
        assert_eq!(usual[1].at_least, 0.007);
        assert_eq!((made_up.len(), ranges[2].1, ranges[ranges.len() - 1].0), (ZONES, 6, -50));
        for (zone, range) in made_up.iter().zip(&ranges[2..]) {
            assert_eq!((zone.at_least * 1000.0).round() as i32, range.0);
        }
    }

    #[test]
    fn few_queries_are_no_zone() {
        let nearness: Vec<f32> = (0..40).map(|at| at as f32).collect();
        let zones = Far::new(1, &nearness, &[true; 40], 40);
        assert!(zones.zones.is_empty());
        assert_eq!(Far::new(1, &[], &[], 0).below, f32::MIN);
    }
}
