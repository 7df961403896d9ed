//! Which documents a query looks at by lists of documents by centroid, and how many hits it misses.
//!
//! Each token of the query probes the centroids with the largest products, and the documents with a
//! token near one of them are candidates. A hit is missed if no token reaches it. Tokens reach hits
//! more or less independently, as catches of a capture–recapture study catch animals: if most hits
//! are reached by several tokens, few are reached by none. With f₁ hits reached by one token and f₂ by
//! two, the estimate is f₁ · (f₁ − 1) / (2 · (f₂ + 1)) (Chao, Biometrics 43, 1987, in the
//! bias-corrected form of 2005), plus a little for each hit reached by one token only. Tokens with the
//! same nearest centroid count as one.

use super::centroids::CentroidQuery;
use crate::kernels::centroids::{RUN, Run};

/// Centroids that each token probes, or a few more.
const PROBES: usize = 32;
/// Tokens with different nearest centroids that a query needs, so that hits can be reached twice.
const LEAST_GROUPS: usize = 3;
/// Expected misses for each hit that only one token reaches.
const OF_ONE: f64 = 0.08;
/// Centroids whose largest products are compared first.
const BLOCK: usize = 16;

/// The centroids that the tokens of a query probe.
#[derive(Debug, Clone)]
pub struct Probes {
    /// The least product, as a value of the table, of the centroids that each token probes.
    least: Vec<Run>,
    /// For each token, the number of its group.
    groups: Vec<u32>,
    /// Number of groups.
    count: u32,
}

/// How often hits were reached, and so how many were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Recaptures {
    once: u32,
    twice: u32,
}

impl Recaptures {
    /// Takes notice of a hit that so many tokens reach.
    pub fn note(&mut self, reached: u32) {
        self.once += u32::from(reached == 1);
        self.twice += u32::from(reached == 2);
    }

    /// Expected number of hits that no token reaches.
    pub fn missed(self) -> f64 {
        let (once, twice) = (f64::from(self.once), f64::from(self.twice));
        once * (once - 1.0).max(0.0) / (2.0 * (twice + 1.0)) + OF_ONE * once
    }
}

impl CentroidQuery {
    /// The centroids to probe, found when they are first needed; `None` if the query has too few
    /// different tokens to know what it misses.
    pub fn probes(&self) -> Option<&Probes> {
        self.probes.get_or_init(|| self.find_probes()).as_ref()
    }

    fn find_probes(&self) -> Option<Probes> {
        let (rows, runs, tokens) = (self.rows(), self.runs(), self.tokens());
        let count = rows.len() / runs;
        let mut probes = Probes {
            least: vec![Run::of(i16::MAX); runs],
            groups: Vec::with_capacity(tokens),
            count: 0,
        };
        let blocks = count.div_ceil(BLOCK);
        let mut nearest = Vec::with_capacity(tokens);
        let mut largest = vec![Run::of(0); blocks];
        let mut column = Vec::with_capacity(blocks);
        for run in 0..runs {
            for (block, largest) in largest.iter_mut().enumerate() {
                *largest = Run::of(0);
                let of_block = rows[block * BLOCK * runs..].iter().skip(run).step_by(runs);
                for row in of_block.take(BLOCK) {
                    largest
                        .iter_mut()
                        .zip(row.iter())
                        .for_each(|(most, value)| *most = (*most).max(*value));
                }
            }
            for token in 0..RUN.min(tokens - run * RUN) {
                column.clear();
                column.extend(largest.iter().map(|values| values[token]));
                let most = column.iter().copied().max().unwrap_or(0);
                let block = column.iter().position(|&value| value == most).unwrap_or(0);
                let of_block = (block * BLOCK..count.min((block + 1) * BLOCK))
                    .find(|centroid| rows[centroid * runs + run][token] == most);
                nearest.push(of_block.unwrap_or(0));
                let last = PROBES.min(column.len()) - 1;
                column.select_nth_unstable_by(last, |a, b| b.cmp(a));
                probes.least[run][token] = column[last];
            }
        }
        let mut known: Vec<usize> = Vec::new();
        for centroid in nearest {
            let group = known.iter().position(|&known| known == centroid).unwrap_or(known.len());
            if group == known.len() {
                known.push(centroid);
            }
            probes.groups.push(group as u32);
        }
        probes.count = known.len() as u32;
        (known.len() >= LEAST_GROUPS).then_some(probes)
    }

    /// The centroids that some token probes, ascending.
    pub fn probed<'q>(&'q self, probes: &'q Probes) -> impl Iterator<Item = u16> + 'q {
        let runs = self.runs();
        let reaches = move |row: &[Run]| {
            let mut any = false;
            for (values, least) in row.iter().zip(&probes.least) {
                for (value, least) in values.iter().zip(least.iter()) {
                    any |= value >= least;
                }
            }
            any
        };
        let rows = self.rows().chunks_exact(runs).enumerate();
        rows.filter(move |(_, row)| reaches(row)).map(|(centroid, _)| centroid as u16)
    }

    /// Number of tokens, different from each other, that reach a document with these centroids.
    pub fn reached(&self, probes: &Probes, centroids: &[u16]) -> u32 {
        let (rows, runs) = (self.rows(), self.runs());
        let mut by = vec![false; probes.count as usize];
        for (token, &group) in probes.groups.iter().enumerate() {
            let (run, at) = (token / RUN, token % RUN);
            let least = probes.least[run][at];
            let reaches = |&centroid: &u16| rows[usize::from(centroid) * runs + run][at] >= least;
            if !by[group as usize] && centroids.iter().any(reaches) {
                by[group as usize] = true;
            }
        }
        by.into_iter().map(u32::from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::quantization::{Centroids, hash};

    const DIMENSION: usize = 12;

    fn values(seed: u64, count: usize) -> Vec<f32> {
        let value = |at| (hash(seed, at) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..(count * DIMENSION) as u64).map(value).collect()
    }

    #[test]
    fn each_token_probes_its_nearest_centroids() {
        let centroids = Centroids::from_values(&values(1, 1000), DIMENSION).unwrap();
        for tokens in [3, 16, 20, 33] {
            let query = values(2, tokens);
            let asked = CentroidQuery::new(&centroids, &query);
            let probes = asked.probes().unwrap();
            let probed: Vec<u16> = asked.probed(probes).collect();
            assert!(probed.is_sorted());
            for token in query.chunks_exact(DIMENSION) {
                let product = |at: usize| {
                    kernels::scalar::dot(token, &centroids.values()[at * DIMENSION..][..DIMENSION])
                };
                let mut order: Vec<usize> = (0..1000).collect();
                order.sort_by(|&a, &b| product(b).total_cmp(&product(a)));
                let found = |count: usize| {
                    order[..count].iter().filter(|&&at| probed.contains(&(at as u16))).count()
                };
                // Products are rounded: those at the end may change places.
                assert_eq!(found(PROBES - 2), PROBES - 2);
                assert_eq!(asked.reached(probes, &[order[0] as u16]).min(1), 1);
            }
            // Blocks seldom hold two of the nearest.
            assert!(probed.len() <= tokens * PROBES * 3 / 2, "{} of {tokens}", probed.len());
            let reached = |list: &[u16]| asked.reached(probes, list);
            assert_eq!(reached(&[]), 0);
            let rest: Vec<u16> = (0..1000).filter(|at| !probed.contains(at)).collect();
            assert_eq!((reached(&rest), reached(&probed)), (0, probes.count));
        }
    }

    #[test]
    fn equal_tokens_count_once_and_few_are_not_enough() {
        let centroids = Centroids::from_values(&values(1, 1000), DIMENSION).unwrap();
        let two = values(2, 2);
        assert!(CentroidQuery::new(&centroids, &two).probes().is_none());
        let repeated = [&*two, &*two, &*two].concat();
        assert!(CentroidQuery::new(&centroids, &repeated).probes().is_none());
        let asked = [&*repeated, &*values(3, 1)].concat();
        let asked = CentroidQuery::new(&centroids, &asked);
        let probes = asked.probes().unwrap();
        let all: Vec<u16> = (0..1000).collect();
        assert_eq!(asked.reached(probes, &all), 3);
        // All centroids equal: all are probed.
        let equal = Centroids::from_values(&[1.0; 100 * DIMENSION], DIMENSION).unwrap();
        assert!(CentroidQuery::new(&equal, &values(4, 9)).probes().is_none());
    }

    #[test]
    fn what_is_missed_follows_from_what_is_reached_once() {
        let missed = |reached: &[u32]| {
            let mut recaptures = Recaptures::default();
            reached.iter().for_each(|&reached| recaptures.note(reached));
            recaptures.missed()
        };
        assert_eq!(missed(&[2, 3, 9]), 0.0);
        assert!((missed(&[1, 2, 3]) - OF_ONE).abs() < 1e-9);
        assert!((missed(&[1, 1, 1, 1, 2, 2]) - 2.0 - 4.0 * OF_ONE).abs() < 1e-9);
        // Hits that each token reaches with probability p, independently.
        for (tokens, p) in [(4, 0.5), (6, 0.4), (3, 0.6)] {
            let (mut expected, mut truly) = (0.0, 0.0);
            for round in 0..500 {
                let mut recaptures = Recaptures::default();
                for hit in 0..10 {
                    let reaches = |token: u64| {
                        let uniform = hash(round, hit * 100 + token) >> 11;
                        (uniform as f64 / (1_u64 << 53) as f64) < p
                    };
                    match (0..tokens).filter(|&token| reaches(token)).count() {
                        0 => truly += 1.0,
                        reached => recaptures.note(reached as u32),
                    }
                }
                expected += recaptures.missed();
            }
            assert!(truly <= expected && expected < 3.0 * truly, "{truly} missed, {expected}");
        }
    }
}
