//! LeanVec: learned linear maps to fewer dimensions (Tepper et al., TMLR 2024, arXiv 2312.16335).
//!
//! Two maps A, B of shape [d, D] such that ⟨A q, B x⟩ ≈ ⟨q, x⟩ for expected queries. With the
//! second moments K_Q and K_X of queries and base vectors (written for D × d matrices), the loss is
//! the mean of (⟨A q, B x⟩ − ⟨q, x⟩)²:
//!
//! f(A, B) = tr(B Aᵀ K_Q A Bᵀ K_X) − 2 tr(K_Q A Bᵀ K_X) + tr(K_Q K_X).
//!
//! - [`Method::Pca`]: A = B, the top eigenvectors of K_X (§3.1, *in-distribution*).
//! - [`Method::EigenSearch`]: A = B, the top eigenvectors of β K_Q + (1 − β) K_X, β by Brent (§3.2.2).
//! - [`Method::FrankWolfe`]: block-coordinate Frank–Wolfe over matrices of spectral norm ≤ 1
//!   (§3.2.1, Algorithm 1), started from the eigenvector search.
//! - [`Method::Sphering`]: the unconstrained optimum (GleanVec, arXiv 2410.22347, §3).
//!
//! For large dimensions, where second moments would not fit in memory, maps are learned within the
//! leading subspace of the vectors ([`Moments::sketched`]).
//!
//! The reduced space is then rotated by a fixed orthonormal matrix, the same for both maps, which
//! preserves inner products: it spreads the variance evenly over the dimensions, so that the range
//! of a vector, and with it the error of its codes, becomes smaller. The rotation is our addition
//! (docs/decisions/0004-rotated-reductions.md).

mod affine;
mod eigenvectors;
mod frank_wolfe;
mod linalg;
mod query_columns;
mod sketch;
mod sphering;
mod transport;

use std::sync::OnceLock;

pub(crate) use self::linalg::map_rows;
use self::linalg::{Matrix, columns_as_map, inner, map_back, product, second_moment};
use super::random::hash;
use crate::kernels;
pub use crate::model::ReductionMethod as Method;
pub use affine::AffineMap;
pub use query_columns::QueryColumns;
pub use transport::transport;

/// Failure to learn a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeanVecError {
    /// An eigenvalue iteration did not converge.
    #[error("the eigenvectors of a matrix of dimension {dimension} do not converge")]
    NoConvergence {
        /// Rows of the matrix.
        dimension: usize,
    },
    /// The training was cancelled.
    #[error("the training was cancelled")]
    Cancelled,
    /// The maps have more dimensions than the subspace they are learned in.
    #[error("expected at most {rank} dimensions, got {reduced}")]
    BeyondSubspace {
        /// Dimensions of the subspace.
        rank: usize,
        /// Dimensions of the maps.
        reduced: usize,
    },
}

/// Second moments, from which maps are learned.
#[derive(Debug)]
pub struct Moments {
    base: Matrix,
    queries: Option<Matrix>,
    /// Maps to all dimensions, whose first columns are the maps to fewer: the eigendecomposition is
    /// most of the work, and the ladder of dimensions shares it.
    pca: OnceLock<Result<Maps, LeanVecError>>,
    sphering: OnceLock<Result<Maps, LeanVecError>>,
    /// Orthonormal basis, shape [rank, dimension], of the subspace of the moments.
    subspace: Option<Vec<f32>>,
    /// D.
    dimension: usize,
}

impl Moments {
    /// From centred base vectors, shape [n, dimension], and queries, shape [m, dimension], m ≥ 0.
    pub fn new(base: &[f32], queries: &[f32], dimension: usize) -> Self {
        let queries = (!queries.is_empty()).then(|| second_moment(queries, dimension));
        let base = second_moment(base, dimension);
        let (pca, sphering) = (OnceLock::new(), OnceLock::new());
        Self { base, queries, pca, sphering, subspace: None, dimension }
    }

    /// Moments within a subspace, for dimensions whose full moments are too large: it captures as
    /// much of the base vectors as `rank` dimensions can, and of the queries as half of that can.
    /// `seed` initializes its iteration.
    pub fn sketched(
        base: &[f32],
        queries: &[f32],
        dimension: usize,
        rank: usize,
        seed: u64,
    ) -> Self {
        let rank = rank.min(dimension);
        let mut subspace = sketch::leading_subspace(base, dimension, rank, seed);
        if !queries.is_empty() {
            let of_queries = sketch::leading_subspace(queries, dimension, rank.div_ceil(2), seed);
            subspace = sketch::union(&[subspace, of_queries], dimension);
        }
        let inside = subspace.len() / dimension;
        let project = |rows: &[f32]| map_rows(rows, &subspace, dimension);
        let moments = Self::new(&project(base), &project(queries), inside);
        Self { subspace: Some(subspace), dimension, ..moments }
    }

    /// True if there were queries; otherwise only [`Method::Pca`] can be learned.
    pub fn has_queries(&self) -> bool {
        self.queries.is_some()
    }

    /// The maps before rotation; without queries, PCA for any method.
    fn maps(&self, method: Method, reduced: usize) -> Result<Maps, LeanVecError> {
        let base = &self.base;
        if reduced > base.nrows() {
            return Err(LeanVecError::BeyondSubspace { rank: base.nrows(), reduced });
        }
        match (method, &self.queries) {
            (Method::Pca, _) | (_, None) => {
                let full = self.pca.get_or_init(|| eigenvectors::pca(base));
                Ok(full.clone()?.first(reduced))
            }
            (Method::Sphering, Some(queries)) => {
                let full = self.sphering.get_or_init(|| sphering::solve(base, queries));
                Ok(full.clone()?.first(reduced))
            }
            (Method::EigenSearch, Some(queries)) => eigenvectors::search(base, queries, reduced),
            (Method::FrankWolfe, Some(queries)) => {
                let start = eigenvectors::search(base, queries, reduced)?;
                frank_wolfe::descend(base, queries, start)
            }
        }
    }
}

/// A learned pair of maps.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    dimension: usize,
    query_map: Vec<f32>,
    /// `None`: equal to `query_map`, whose rows are then orthonormal.
    base_map: Option<Vec<f32>>,
}

/// The maps as D × d matrices, before rounding and rotation.
#[derive(Debug, Clone)]
struct Maps {
    query: Matrix,
    /// `None`: equal to `query`.
    base: Option<Matrix>,
}

impl Maps {
    fn base(&self) -> &Matrix {
        self.base.as_ref().unwrap_or(&self.query)
    }

    /// The maps to the first `reduced` dimensions.
    fn first(&self, reduced: usize) -> Self {
        let first = |map: &Matrix| map.get(.., ..reduced).to_owned();
        Self { query: first(&self.query), base: self.base.as_ref().map(first) }
    }
}

impl Reduction {
    /// Learns maps to `reduced` dimensions; `seed` selects the rotation. Without queries, PCA for
    /// any method.
    ///
    /// # Errors
    /// If an eigenvalue iteration does not converge.
    pub fn learn(
        moments: &Moments,
        method: Method,
        reduced: usize,
        seed: u64,
    ) -> Result<Self, LeanVecError> {
        let maps = moments.maps(method, reduced)?;
        let rotation = rotation(reduced, seed);
        let rotated = |map: &Matrix| {
            let map = columns_as_map(&product(map.as_ref(), rotation.as_ref()));
            match &moments.subspace {
                None => map,
                Some(subspace) => map_back(&map, subspace, moments.dimension),
            }
        };
        Ok(Self {
            dimension: moments.dimension,
            query_map: rotated(&maps.query),
            base_map: maps.base.as_ref().map(rotated),
        })
    }

    /// From stored maps, each of shape [d, D], row-major; `None` if the shapes do not match.
    pub fn from_maps(
        dimension: usize,
        reduced: usize,
        query_map: Vec<f32>,
        base_map: Option<Vec<f32>>,
    ) -> Option<Self> {
        let expected = reduced.checked_mul(dimension);
        let fits = |map: &Vec<f32>| Some(map.len()) == expected;
        (fits(&query_map) && base_map.as_ref().is_none_or(fits)).then_some(Self {
            dimension,
            query_map,
            base_map,
        })
    }

    /// Dimension D of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Dimension d of the reduced vectors.
    pub fn reduced(&self) -> usize {
        self.query_map.len() / self.dimension
    }

    /// A, shape [d, D], row-major.
    pub fn query_map(&self) -> &[f32] {
        &self.query_map
    }

    /// B, shape [d, D], row-major, if it differs from A.
    pub fn base_map(&self) -> Option<&[f32]> {
        self.base_map.as_deref()
    }

    /// True if A = B, so that the maps are a projection and shrink distances alike.
    pub fn is_projection(&self) -> bool {
        self.base_map.is_none()
    }

    /// B x for each row, shape [n, d].
    pub fn map_base(&self, rows: &[f32]) -> Vec<f32> {
        map_rows(rows, self.base_map.as_ref().unwrap_or(&self.query_map), self.dimension)
    }

    /// A q, of d elements.
    pub fn map_query(&self, query: &[f32]) -> Vec<f32> {
        // For a single row, a matrix product would spend more time packing than multiplying.
        let mut mapped = vec![0.0; self.reduced()];
        kernels::matrix_vector(&self.query_map, query, &mut mapped);
        mapped
    }

    /// A by columns, for sparse queries.
    pub fn query_columns(&self) -> QueryColumns {
        QueryColumns::new(&self.query_map, self.dimension)
    }

    /// Aᵀ y for each reduced row y, shape [n, D]: the vector whose inner product with any query
    /// equals that of the mapped query and y.
    pub fn expand(&self, reduced: &[f32]) -> Vec<f32> {
        map_back(reduced, &self.query_map, self.dimension)
    }

    /// The loss f of these maps: the mean squared error of inner products over all pairs of base
    /// vectors and queries (of a sketch: of their parts in its subspace). Without queries, K_X
    /// stands in for K_Q.
    pub fn loss(&self, moments: &Moments) -> f64 {
        let inside = moments.base.nrows();
        let matrix = |map: &[f32]| {
            let projected = moments.subspace.as_ref().map(|s| map_rows(map, s, self.dimension));
            let map = projected.as_deref().unwrap_or(map);
            Matrix::from_fn(inside, self.reduced(), |i, j| f64::from(map[j * inside + i]))
        };
        let (query, base) = (matrix(&self.query_map), self.base_map.as_deref().map(matrix));
        let queries = moments.queries.as_ref().unwrap_or(&moments.base);
        loss(&moments.base, queries, &Maps { query, base })
    }
}

/// f(A, B), by traces of d × d matrices and inner products of D × d matrices.
fn loss(base: &Matrix, queries: &Matrix, maps: &Maps) -> f64 {
    let query_side = product(queries.as_ref(), maps.query.as_ref());
    let base_side = product(base.as_ref(), maps.base().as_ref());
    let quadratic = inner(
        &product(maps.query.transpose(), query_side.as_ref()),
        &product(maps.base().transpose(), base_side.as_ref()),
    );
    // Rounding must not make a tiny loss negative.
    (quadratic - 2.0 * inner(&query_side, &base_side) + inner(queries, base)).max(0.0)
}

/// The rotation as an orthonormal map, shape [dimension, dimension], row-major.
pub(crate) fn rotation_map(dimension: usize, seed: u64) -> Vec<f32> {
    columns_as_map(&rotation(dimension, seed))
}

/// The cosine transform (DCT-II) with random signs on its inputs: orthonormal, and it spreads any
/// vector evenly over its outputs (a fast Johnson–Lindenstrauss transform without sampling).
fn rotation(dimension: usize, seed: u64) -> Matrix {
    let n = dimension as f64;
    Matrix::from_fn(dimension, dimension, |input, output| {
        let sign = if hash(seed, input as u64) & 1 == 0 { 1.0 } else { -1.0 };
        let scale = if input == 0 { (1.0 / n).sqrt() } else { (2.0 / n).sqrt() };
        let angle = std::f64::consts::PI / n * (output as f64 + 0.5) * input as f64;
        sign * scale * angle.cos()
    })
}

#[cfg(test)]
mod tests;
