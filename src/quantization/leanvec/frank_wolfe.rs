//! Block-coordinate Frank–Wolfe for the query-aware maps (LeanVec §3.2.1, Algorithm 1).
//!
//! Over the convex hull of matrices with orthonormal columns (spectral norm ≤ 1), the linear
//! problem of each step is solved by the polar factor U Vᵀ of −∇. Where the paper starts from zero,
//! we start from the eigenvector search and return the best pair seen, so the result is never worse
//! than the start.

use super::linalg::{Matrix, inner, polar_factor, product};
use super::{LeanVecError, Maps, loss};

/// Maximum number of steps.
const STEPS: usize = 500;
/// Stops when a step changes the loss by a smaller share than this.
const TOLERANCE: f64 = 1e-3;
/// Exponent of the step size 1 / (t + 1)^a.
const DECAY: f64 = 0.999;

/// Improves the maps until the loss converges.
pub fn descend(base: &Matrix, queries: &Matrix, start: Maps) -> Result<Maps, LeanVecError> {
    let mut query = start.query.clone();
    let mut map = start.base().clone();
    let mut best = (loss(base, queries, &start), start);
    let mut previous = None;
    for step in 0..STEPS {
        let size = 1.0 / ((step + 1) as f64).powf(DECAY);
        query = blend(&query, &polar(&descent(queries, base, &query, &map))?, size);
        map = blend(&map, &polar(&descent(base, queries, &map, &query))?, size);
        let maps = Maps { query: query.clone(), base: Some(map.clone()) };
        let value = loss(base, queries, &maps);
        if value < best.0 {
            best = (value, maps);
        }
        if previous.replace(value).is_some_and(|p: f64| (p - value).abs() <= TOLERANCE * p) {
            break;
        }
    }
    Ok(best.1)
}

/// −∇/2 with respect to `own`, whose moment is `own_moment`: K_o K_p P − K_o O (Pᵀ K_p P).
fn descent(own_moment: &Matrix, partner_moment: &Matrix, own: &Matrix, partner: &Matrix) -> Matrix {
    let partner_side = product(partner_moment.as_ref(), partner.as_ref());
    let own_side = product(own_moment.as_ref(), own.as_ref());
    let small = product(partner.transpose(), partner_side.as_ref());
    product(own_moment.as_ref(), partner_side.as_ref()) - product(own_side.as_ref(), small.as_ref())
}

/// U Vᵀ of the singular value decomposition G = U Σ Vᵀ. (Going via GᵀG would be cheaper, but the
/// small singular values of a gradient are below the rounding error of their squares.)
fn polar(matrix: &Matrix) -> Result<Matrix, LeanVecError> {
    let norm = inner(matrix, matrix).sqrt();
    if norm == 0.0 {
        return Ok(matrix.clone());
    }
    // Scaled first: entries are fourth powers of the data.
    polar_factor(&(matrix * faer::Scale(1.0 / norm)))
}

fn blend(from: &Matrix, to: &Matrix, size: f64) -> Matrix {
    from * faer::Scale(1.0 - size) + to * faer::Scale(size)
}
