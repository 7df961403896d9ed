//! Summary of the recalls of a sample of queries: means, their errors, and lower confidence bounds.

use std::collections::BTreeMap;

/// Standard errors below the mean of a lower bound: one-sided 97.7% confidence.
const CONFIDENCE: f32 = 2.0;
/// Assumed correlation between the neighbours of one query in being missed (intraclass correlation)
/// if nothing was missed, so that it cannot be measured. Chosen conservatively.
const WITHIN_QUERY: f32 = 0.3;

/// Recall of one sample query.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Recall at k.
    pub recall: f32,
    /// The query's groups of similar queries, coarse and fine.
    pub groups: [usize; 2],
    /// Whether it is of the kind with the larger coding error.
    pub lossy: bool,
    /// Cluster of copies: queries with the same number are copies of each other and count as one
    /// observation.
    pub kin: usize,
    /// Whether it represents the expected queries. If not, it only guards the recall of its group.
    pub counts: bool,
}

/// Summary of the recalls of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// See [`super::CalibrationPoint::recall`].
    pub recall: f32,
    /// See [`super::CalibrationPoint::error`].
    pub error: f32,
    /// See [`super::CalibrationPoint::worst`].
    pub worst: f32,
    /// See [`super::CalibrationPoint::rows`].
    pub rows: f32,
    /// See [`super::CalibrationPoint::expected`].
    pub expected: f32,
}

/// Minimum size of a group to be considered.
pub const LEAST_OF_GROUP: usize = 16;
/// Recall below which a group is considered weak.
const LITTLE: f32 = 0.85;

impl Summary {
    /// For recall at k. Every other query, with its copies, selects; the rest estimate.
    pub fn of(found: &[Measured], k: usize) -> Self {
        let mut order: Vec<Option<usize>> = vec![None; 1 + most_kin(found)];
        let mut distinct = 0;
        for measured in found.iter().filter(|measured| measured.counts) {
            order[measured.kin].get_or_insert_with(|| {
                distinct += 1;
                distinct - 1
            });
        }
        let half = |parity: usize| {
            let counts = found.iter().filter(|measured| measured.counts);
            let of_half = counts.filter(|one| order[one.kin].is_some_and(|at| at % 2 == parity));
            of_half.copied().collect::<Vec<Measured>>()
        };
        let choosing = half(0);
        let (recall, error) = mean_and_shortfall(&choosing, k);
        let reporting = half(1);
        let reporting = if reporting.is_empty() { &choosing } else { &reporting };
        let worst = [0, 1].map(|level| worst_group(found, level));
        let (queries, rows): (Vec<Measured>, Vec<Measured>) =
            found.iter().partition(|measured| measured.counts);
        let kinds = worst_kind(&queries, 1.0).min(worst_kind(&rows, 0.0));
        let worst = worst[0].min(worst[1]).min(kinds);
        let rows = if rows.is_empty() { 1.0 } else { mean_and_error(&rows).0 };
        Self { recall, error, worst, rows, expected: wilson(reporting, k, CONFIDENCE) }
    }

    /// For a few similar queries: halves would be too small, so that all select and all estimate.
    pub fn of_few(found: &[Measured], k: usize) -> Self {
        let (recall, error) = mean_and_shortfall(found, k);
        Self { recall, error, worst: 1.0, rows: 1.0, expected: wilson(found, k, CONFIDENCE) }
    }
}

/// The recall of the worst group, plus its standard error, since a low value may be chance; without
/// it for a group of very low recall, which is not.
fn worst_group(found: &[Measured], level: usize) -> f32 {
    let mut groups: BTreeMap<usize, Vec<Measured>> = BTreeMap::new();
    for measured in found {
        groups.entry(measured.groups[level]).or_default().push(*measured);
    }
    let groups = groups.values().filter(|of_group| of_group.len() >= LEAST_OF_GROUP);
    let of_group = |of_group: &Vec<Measured>| {
        let (mean, error) = mean_and_error(of_group);
        if mean + error < LITTLE { mean } else { mean + error }
    };
    groups.map(of_group).fold(1.0, f32::min)
}

/// The recall of the worse kind less `errors` standard errors; 1 if there is only one kind. Kinds
/// are split by coding error, so a low recall is unlikely to be chance.
fn worst_kind(found: &[Measured], errors: f32) -> f32 {
    let of = |lossy| found.iter().filter(|one| one.lossy == lossy).copied().collect();
    let kinds: [Vec<Measured>; 2] = [of(false), of(true)];
    let apart = kinds.iter().all(|kind| kind.len() >= LEAST_OF_GROUP);
    let of_kind = |kind: &Vec<Measured>| {
        let (mean, error) = mean_and_error(kind);
        mean - errors * error
    };
    kinds.iter().filter(|_| apart).map(of_kind).fold(1.0, f32::min)
}

/// The mean, and its distance to the lower end of its interval of one standard error.
fn mean_and_shortfall(found: &[Measured], k: usize) -> (f32, f32) {
    let (mean, _) = mean_and_error(found);
    (mean, (mean - wilson(found, k, 1.0)).max(0.0))
}

/// A mean and its standard error, where copies of one query are one observation (cluster-robust, as
/// in Liang and Zeger, 1986).
fn mean_and_error(found: &[Measured]) -> (f32, f32) {
    let count = found.len().max(1) as f32;
    let mean = found.iter().map(|measured| measured.recall).sum::<f32>() / count;
    let mut off = vec![0.0; 1 + most_kin(found)];
    found.iter().for_each(|measured| off[measured.kin] += measured.recall - mean);
    (mean, off.iter().map(|off| off * off).sum::<f32>().sqrt() / count)
}

fn most_kin(found: &[Measured]) -> usize {
    found.iter().map(|measured| measured.kin).max().unwrap_or(0)
}

/// Number of queries that are not copies of each other.
fn distinct(found: &[Measured]) -> usize {
    let mut seen = vec![false; 1 + most_kin(found)];
    found.iter().filter(|measured| !std::mem::replace(&mut seen[measured.kin], true)).count()
}

/// The lower end of Wilson's score interval (1927) for the mean of recalls at k. The number of
/// trials is the one that explains the observed variance, but at most that of k correlated rows per
/// query, so that even a sample without misses gets a bound below 1.
pub fn lower_bound(recalls: &[f32], k: usize) -> f32 {
    wilson(&all_different(recalls), k, CONFIDENCE)
}

/// The mean of recalls less its standard error.
pub fn mean_less_error(recalls: &[f32]) -> f32 {
    let (mean, error) = mean_and_error(&all_different(recalls));
    mean - error
}

/// Recalls of queries that are not copies of each other.
fn all_different(recalls: &[f32]) -> Vec<Measured> {
    let own = |(kin, &recall)| Measured { recall, groups: [0; 2], lossy: false, kin, counts: true };
    recalls.iter().enumerate().map(own).collect()
}

/// Wilson's lower bound, `errors` standard errors below the mean.
fn wilson(found: &[Measured], k: usize, errors: f32) -> f32 {
    if found.is_empty() {
        return 0.0;
    }
    let (mean, error) = mean_and_error(found);
    let count = distinct(found) as f32;
    let rows = k as f32 / (1.0 + WITHIN_QUERY * (k as f32 - 1.0));
    let most = count * rows.max(1.0);
    let seen = if error > 0.0 { mean * (1.0 - mean) / (error * error) } else { most };
    let trials = seen.clamp(1.0, most);
    let square = errors * errors;
    let center = mean + square / (2.0 * trials);
    let half = errors * (mean * (1.0 - mean) / trials + square / (4.0 * trials * trials)).sqrt();
    ((center - half) / (1.0 + square / trials)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_queries_chooses_and_half_reports() {
        let found = |index: usize| Measured {
            recall: if index.is_multiple_of(2) { 1.0 } else { 0.9 },
            groups: [index / 2 % 2, 0],
            lossy: false,
            kin: index,
            counts: true,
        };
        let found: Vec<Measured> = (0..400).map(found).collect();
        let summary = Summary::of(&found, 10);
        assert!(summary.recall == 1.0 && (0.0001..0.002).contains(&summary.error), "{summary:?}");
        assert!((0.87..0.9).contains(&summary.expected), "{summary:?}");
        assert!((0.95..0.96).contains(&summary.worst), "{summary:?}");
        let mut rows = found.clone();
        rows.iter_mut().skip(200).for_each(|row| (row.counts, row.recall) = (false, 0.0));
        let summary = Summary::of(&rows, 10);
        assert_eq!(summary.recall, 1.0, "they do not count");
        assert!(summary.worst < 0.6 && summary.rows == 0.0, "but are not forgotten: {summary:?}");
        let few = Summary::of(&found[..3], 10);
        assert!(few.worst == 1.0 && few.expected < 0.8, "{few:?}");
        let few = Summary::of_few(&found[..40], 10);
        assert!((few.recall - 0.95).abs() < 1e-6 && (0.008..0.03).contains(&few.error), "{few:?}");
        assert!(few.expected < 0.94, "{few:?}");
    }

    #[test]
    fn a_kind_of_which_codes_keep_less_is_measured_by_itself() {
        // A twentieth of the queries, spread over all groups.
        let found = |lossy: fn(usize) -> bool| -> Vec<Measured> {
            let one = |index: usize| {
                let recall = if index.is_multiple_of(20) { 0.5 } else { 1.0 };
                let groups = [index % 3, index % 7];
                Measured { recall, groups, lossy: lossy(index), kin: index, counts: true }
            };
            (0..800).map(one).collect()
        };
        let of = |lossy| Summary::of(&found(lossy), 10).worst;
        assert_eq!(of(|index| index.is_multiple_of(20)), 0.5);
        assert!(of(|_| false) > 0.95 && of(|_| true) > 0.95, "all are of one kind");
        assert!(of(|index| index < 10) > 0.95, "ten say nothing");
        let half = of(|index| index < 400);
        assert!((0.95..0.974).contains(&half), "a mean less its standard error: {half}");
        // Rows that are not queries, all of one kind, with full recall.
        let mut beside = found(|index| index.is_multiple_of(20));
        beside.iter_mut().for_each(|row| row.counts = false);
        let queries = found(|_| false).into_iter();
        beside.extend(queries.map(|query| Measured { recall: 1.0, ..query }));
        let summary = Summary::of(&beside, 10);
        assert!(summary.recall == 1.0 && summary.worst == 0.5, "{summary:?}");
    }

    #[test]
    fn copies_of_a_query_say_one_thing() {
        // Sixty queries, six with recall 0, each present ten times, interleaved or consecutive.
        let found = |kin: fn(usize) -> usize| -> Vec<Measured> {
            let one = |index: usize| {
                let recall = f32::from(!kin(index).is_multiple_of(10));
                Measured { recall, groups: [0; 2], lossy: false, kin: kin(index), counts: true }
            };
            (0..600).map(one).collect()
        };
        let once: Vec<Measured> = found(|index| index)[..60].to_vec();
        let alone = Summary::of_few(&once, 1);
        for copies in [found(|index| index % 60), found(|index| index / 10)] {
            let few = Summary::of_few(&copies, 1);
            assert!((few.error - alone.error).abs() < 1e-4, "{few:?} {alone:?}");
            assert!((few.expected - alone.expected).abs() < 1e-4, "{few:?} {alone:?}");
            // Copies of a query fall into the same half: all six with recall 0 are in the selecting one.
            let halves = Summary::of(&copies, 1);
            assert!((halves.recall - 0.8).abs() < 1e-6, "{halves:?}");
            assert!(halves.expected > 0.85, "{halves:?}");
        }
    }

    #[test]
    fn bounds_leave_room_for_what_was_not_seen() {
        assert_eq!(lower_bound(&[], 10), 0.0);
        let all = |count: usize, k| lower_bound(&vec![1.0; count], k);
        assert!(all(7, 1) < 0.75 && all(7, 10) < 0.9, "{} {}", all(7, 1), all(7, 10));
        assert!(all(192, 10) > 0.99 && all(192, 10) < 0.997, "{}", all(192, 10));
        assert!(all(192, 1) > 0.97 && all(192, 1) < 0.985, "{}", all(192, 1));
        // One query in ten has recall 0: that is 100 trials, not 1,000.
        let some: Vec<f32> = (0..100).map(|i| f32::from(i % 10 > 0)).collect();
        let bound = lower_bound(&some, 10);
        assert!((0.82..0.85).contains(&bound), "{bound}");
        assert!(lower_bound(&[0.0; 50], 10) == 0.0);
    }
}
