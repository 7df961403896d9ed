//! Sphering: the unconstrained maps of least loss (GleanVec, arXiv 2410.22347, §3).
//!
//! With S = K_Q^(1/2) the loss is that of the best rank-d approximation of S x, so B = V_dᵀ S and
//! A = V_dᵀ S⁻¹ with the top eigenvectors V_d of S K_X S.
//!
//! A sample of queries says little about directions it does not reach, which S⁻¹ would amplify
//! most. So K_Q is first mixed with K_X ([`SHRINKAGE`], scaled to the same trace), and its
//! eigenvalues have a floor.

use super::linalg::{Matrix, eigen, power, product, trace};
use super::{LeanVecError, Maps};

/// Share of K_X in the moment of the queries. Measured on held-out queries (docs/quantization.md):
/// recall rises from 0 to 0.2, and is the same or lower at 0.5.
const SHRINKAGE: f64 = 0.2;
/// Smallest eigenvalue, as a share of the largest.
const FLOOR: f64 = 1e-6;

/// The maps to all dimensions, most important first.
pub fn solve(base: &Matrix, queries: &Matrix) -> Result<Maps, LeanVecError> {
    let scale = if trace(base) > 0.0 { trace(queries) / trace(base) } else { 0.0 };
    let mixed = queries * faer::Scale(1.0 - SHRINKAGE) + base * faer::Scale(SHRINKAGE * scale);
    let parts = eigen(&mixed)?;
    let floor = parts.0[0] * FLOOR;
    if floor <= 0.0 {
        // All queries are zero, and the base has no variance: any projection will do.
        return Ok(Maps { query: parts.1, base: None });
    }
    let (root, inverse) = (power(&parts, 0.5, floor), power(&parts, -0.5, floor));
    let sphered = product(product(root.as_ref(), base.as_ref()).as_ref(), root.as_ref());
    let (_, top) = eigen(&sphered)?;
    Ok(Maps {
        query: product(inverse.as_ref(), top.as_ref()),
        base: Some(product(root.as_ref(), top.as_ref())),
    })
}
