//! The similarity of one query with a row of its field.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::index::{Depth, Margin, Trace, length, nearness};
use crate::kernels;
use crate::kernels::products::{Panels, ProductKernel};
use crate::model::{
    Entry, InvalidInput, Metric, Problem, Score, SparseVector, VectorField, VectorKind, VectorRef,
    prepare_vector,
};
use crate::multivector::{CentroidQuery, TokenCodec, TokenQuery, max_sim};
use crate::quantization::{Codec, SecondaryQuery};

/// The vectors of a row, ready to be compared.
#[derive(Clone, Copy)]
pub enum Row<'r> {
    /// Shape [n, dimension], n ≥ 1 (n = 1 in a single-vector field).
    Values(&'r [f32]),
    /// A sparse vector.
    Entries(&'r [Entry]),
}

/// Most dimensions of a table of a sparse query: 1 MiB.
const MOST_TABLE: usize = 1 << 18;

/// A query, prepared for token codecs: segments with the same centroids share one.
#[derive(Debug, Default)]
struct TokenQueries(Mutex<Vec<(Arc<TokenCodec>, Arc<TokenQuery>)>>);

impl TokenQueries {
    fn of(&self, codec: &Arc<TokenCodec>, prepare: impl Fn() -> TokenQuery) -> Arc<TokenQuery> {
        // What is locked is complete at any time.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, query)) = known.iter().find(|(own, _)| Arc::ptr_eq(own, codec)) {
            return query.clone();
        }
        let query = Arc::new(prepare());
        known.push((codec.clone(), query.clone()));
        query
    }
}

impl Clone for TokenQueries {
    fn clone(&self) -> Self {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Self(Mutex::new(known.clone()))
    }
}

/// A validated query vector with its metric.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    dimension: usize,
    /// The query of a sparse field; `query` has its values.
    sparse: Option<SparseVector>,
    /// Its values by dimension, once many rows are scored; empty if dimensions are too large.
    table: OnceLock<Vec<f32>>,
    /// Shape [m, dimension]; m = 1 for a single vector. Scaled to length 1 under cosine.
    query: Vec<f32>,
    /// The vectors of a multi-vector query as columns, for metrics based on products.
    columns: Option<(ProductKernel, Panels)>,
    /// The query prepared for the token codecs seen so far.
    tokens: TokenQueries,
    /// The query prepared for secondary codes of single vectors, lazily; `None` if the codes have
    /// to be decoded.
    secondary: OnceLock<Option<SecondaryQuery>>,
}

impl Scorer {
    /// Checks `vector` against `field`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] at `vector` if kind, dimension or values are wrong.
    pub fn new(field: &VectorField, vector: VectorRef<'_>) -> Result<Self> {
        if let VectorRef::Sparse(entries) = vector
            && field.kind == VectorKind::Sparse
        {
            return Self::sparse(entries);
        }
        let query = prepare_vector(field, vector)
            .map_err(|problem| InvalidInput::new("vector", problem))?;
        let (metric, dimension) = (field.metric, field.dimension);
        let columns = (field.kind == VectorKind::Multi && metric != Metric::L2)
            .then(|| (ProductKernel::detect(), Panels::from_rows(&query, dimension)));
        let (tokens, secondary) = (TokenQueries::default(), OnceLock::new());
        let (sparse, table) = (None, OnceLock::new());
        Ok(Self { metric, dimension, sparse, table, query, columns, tokens, secondary })
    }

    /// # Errors
    /// [`crate::Error::Invalid`] at `vector` if it is not a sparse vector, or has no entries.
    fn sparse(entries: &[Entry]) -> Result<Self> {
        let sparse = SparseVector::from_entries(entries.to_vec());
        let sparse = sparse.map_err(|error| error.within("vector"))?;
        if sparse.is_empty() {
            let problem = Problem::Missing { expected: "at least one entry above 0" };
            return Err(InvalidInput::new("vector", problem).into());
        }
        Ok(Self {
            metric: Metric::Dot,
            dimension: 1,
            query: sparse.values().collect(),
            sparse: Some(sparse),
            table: OnceLock::new(),
            columns: None,
            tokens: TokenQueries::default(),
            secondary: OnceLock::new(),
        })
    }

    /// The entries of a sparse query.
    pub fn entries(&self) -> Option<&[Entry]> {
        self.sparse.as_ref().map(SparseVector::entries)
    }

    /// The query as compared: shape [m, dimension], scaled to length 1 under cosine.
    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// Length of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Nearness of a score, independent of the query's length; higher is nearer. See
    /// [`crate::index::nearness`].
    pub fn nearness(&self, score: Score) -> f32 {
        nearness(self.metric, &self.query, self.dimension, score.0)
    }

    /// A depth whose margin is in scores of this query.
    pub fn depth(&self, depth: Depth) -> Depth {
        let scaled = |margin: Margin| Margin {
            gap: margin.gap * length(self.metric, &self.query, self.dimension),
            ..margin
        };
        Depth { margin: depth.margin.map(scaled), ..depth }
    }

    /// A trace of a search for this query, for margins from these ranks.
    pub fn trace(&self, ranks: &[usize]) -> Trace {
        Trace::new(ranks, length(self.metric, &self.query, self.dimension))
    }

    /// The query prepared for token codes; `known`: the query prepared for the codec's centroids, if
    /// it is.
    pub fn tokens(
        &self,
        codec: &Arc<TokenCodec>,
        known: Option<&CentroidQuery>,
    ) -> Arc<TokenQuery> {
        self.tokens.of(codec, || codec.query(&self.query, known))
    }

    /// The query prepared for secondary codes; `None` if these have to be decoded. The codecs of a
    /// field differ in their centre, not in the format of their secondary codes.
    pub fn secondary(&self, codec: &Codec) -> Option<&SecondaryQuery> {
        self.secondary.get_or_init(|| codec.secondary_query(&self.query)).as_ref()
    }

    /// Prepares for scoring many rows.
    pub fn prepare_scan(&self) {
        let Some(sparse) = &self.sparse else { return };
        self.table.get_or_init(|| {
            let dimensions = sparse.indices().last().map_or(0, |last| last as usize + 1);
            let mut table = vec![0.0; if dimensions <= MOST_TABLE { dimensions } else { 0 }];
            for entry in sparse.entries() {
                if let Some(value) = table.get_mut(entry.index as usize) {
                    *value = entry.value;
                }
            }
            table
        });
    }

    /// Similarity with a row.
    #[inline]
    pub fn score(&self, row: Row<'_>) -> Score {
        match (row, &self.sparse) {
            (Row::Values(row), _) => self.score_values(row),
            (Row::Entries(row), Some(query)) => Score(match self.table.get() {
                Some(table) if !table.is_empty() => kernels::sparse::dot_by_table(table, row),
                _ => kernels::sparse::dot(query.entries(), row),
            }),
            (Row::Entries(_), None) => Score(f32::NEG_INFINITY),
        }
    }

    /// Similarity with a row of shape [n, dimension], n ≥ 1 (n = 1 in a single-vector field).
    #[inline]
    fn score_values(&self, row: &[f32]) -> Score {
        let score = match (&self.columns, self.metric) {
            (Some((kernel, columns)), _) => kernel.max_sim(columns, row),
            (None, Metric::Dot | Metric::Cosine) => {
                max_sim(&self.query, row, self.dimension, kernels::dot)
            }
            (None, Metric::L2) => {
                max_sim(&self.query, row, self.dimension, |q, x| -kernels::l2_squared(q, x))
            }
        };
        // Sums of huge values can overflow to ∞ − ∞: such a row ranks last.
        Score(if score.is_nan() { f32::NEG_INFINITY } else { score })
    }
}
