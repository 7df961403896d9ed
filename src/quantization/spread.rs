//! Robust centre of a sample, and its outliers.
//!
//! One damaged row of 1e10 moves the mean of thousands so far that codes around it retain nothing
//! of the others. So the centre is the mean of the rows that are not far from the coordinate-wise
//! median; without outliers that is the mean itself.

/// Most rows from which the coordinate-wise median is taken.
const MEDIAN_ROWS: usize = 1024;
/// Quantile of distances from the median that counts as usual.
const USUAL_SHARE: f64 = 0.75;
/// Outliers are farther from the median than this many times the usual distance.
const FAR: f64 = 8.0;

/// Centre and inliers of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Mean of the inliers.
    pub center: Vec<f32>,
    /// True for each row that is not an outlier.
    pub inside: Vec<bool>,
}

impl Spread {
    /// Analyzes rows of shape [n, dimension], n ≥ 1.
    pub fn of(rows: &[f32], dimension: usize) -> Self {
        let median = median(rows, dimension);
        let distances: Vec<f64> =
            rows.chunks_exact(dimension).map(|row| distance(row, &median)).collect();
        let mut sorted = distances.clone();
        let usual = ((sorted.len() - 1) as f64 * USUAL_SHARE) as usize;
        let usual = *sorted.select_nth_unstable_by(usual, f64::total_cmp).1;
        let limit = usual * FAR * FAR;
        let inside: Vec<bool> = distances.iter().map(|&distance| distance <= limit).collect();
        let center = mean(inliers(rows, &inside, dimension), dimension);
        Self { center, inside }
    }

    /// The inliers, centred: shape [m, dimension].
    pub fn centred(&self, rows: &[f32]) -> Vec<f32> {
        let dimension = self.center.len();
        let mut centred = Vec::with_capacity(rows.len());
        for row in inliers(rows, &self.inside, dimension) {
            centred.extend(row.iter().zip(&self.center).map(|(value, center)| value - center));
        }
        centred
    }

    /// The inliers: shape [m, dimension].
    pub fn inliers(&self, rows: &[f32]) -> Vec<f32> {
        inliers(rows, &self.inside, self.center.len()).flatten().copied().collect()
    }
}

/// Subtracts `center` from rows of shape [n, dimension].
pub fn centred(rows: &[f32], center: &[f32]) -> Vec<f32> {
    rows.iter().zip(center.iter().cycle()).map(|(value, center)| value - center).collect()
}

fn inliers<'r>(
    rows: &'r [f32],
    inside: &[bool],
    dimension: usize,
) -> impl Iterator<Item = &'r [f32]> {
    rows.chunks_exact(dimension).zip(inside).filter(|&(_, &inside)| inside).map(|(row, _)| row)
}

fn median(rows: &[f32], dimension: usize) -> Vec<f32> {
    let count = rows.len() / dimension;
    let chosen: Vec<usize> = match count <= MEDIAN_ROWS {
        true => (0..count).collect(),
        false => (0..MEDIAN_ROWS).map(|index| index * count / MEDIAN_ROWS).collect(),
    };
    let mut values = vec![0.0_f32; chosen.len()];
    let middle = |element: usize| {
        for (value, &row) in values.iter_mut().zip(&chosen) {
            *value = rows[row * dimension + element];
        }
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    (0..dimension).map(middle).collect()
}

/// The mean of rows.
pub fn mean<'r>(rows: impl Iterator<Item = &'r [f32]>, dimension: usize) -> Vec<f32> {
    let (mut sums, mut count) = (vec![0.0_f64; dimension], 0_u64);
    for row in rows {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
        count += 1;
    }
    sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}

/// ‖a − b‖² in double precision.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::random::hash;
    use super::*;

    fn rows(n: usize, dimension: usize) -> Vec<f32> {
        let value = |i: usize| (hash(1, i as u64) >> 40) as f32 / (1 << 24) as f32 + 2.0;
        (0..n * dimension).map(value).collect()
    }

    #[test]
    fn without_outliers_the_centre_is_the_mean_of_all_rows() {
        let rows = rows(3000, 5);
        let spread = Spread::of(&rows, 5);
        assert_eq!(spread.center, mean(rows.chunks_exact(5), 5));
        assert!(spread.inside.iter().all(|&inside| inside));
        assert_eq!(spread.inliers(&rows), rows);
    }

    #[test]
    fn outliers_do_not_move_the_centre() {
        let clean = Spread::of(&rows(3000, 5), 5).center;
        for magnitude in [1e3, 1e10, 1e18, -1e18] {
            // A tenth of them, spread over the sample.
            let mut rows = rows(3000, 5);
            rows.chunks_exact_mut(5).step_by(10).for_each(|row| row[2] = magnitude);
            let spread = Spread::of(&rows, 5);
            assert_eq!(spread.inside.iter().filter(|&&inside| !inside).count(), 300);
            for (center, clean) in spread.center.iter().zip(&clean) {
                assert!((center - clean).abs() < 0.02, "{magnitude}: {center} {clean}");
            }
            assert_eq!(spread.centred(&rows).len(), 2700 * 5);
        }
    }

    #[test]
    fn rows_that_are_mostly_equal_have_their_centre_there() {
        let mut equal = vec![0.5; 400];
        equal[0..4].copy_from_slice(&[7.0, 8.0, 9.0, 1e9]);
        assert_eq!(Spread::of(&equal, 4).center, [0.5; 4]);
        assert_eq!(Spread::of(&[3.0, 4.0], 2).center, [3.0, 4.0]);
    }
}
