//! Errors in a caller's input, with their location.

/// Rejected input: the location (`points[3].vectors.text`) and the problem.
///
/// Nothing of a rejected request is applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidInput {
    /// The rejected field, as a path from the root of the request.
    pub path: String,
    /// The problem.
    pub problem: Problem,
}

impl InvalidInput {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, problem: Problem) -> Self {
        Self { path: path.into(), problem }
    }

    /// A number outside `min..=max` at `path`.
    pub fn out_of_range(path: impl Into<String>, min: usize, max: usize, got: usize) -> Self {
        Self::new(path, Problem::OutOfRange { min, max, got })
    }

    /// An unexpected value at `path`.
    pub fn mismatch(path: impl Into<String>, expected: &'static str, got: impl ToString) -> Self {
        Self::new(path, Problem::Mismatch { expected, got: got.to_string() })
    }

    /// The same problem with its path prefixed by `parent`.
    #[must_use]
    pub fn within(mut self, parent: impl std::fmt::Display) -> Self {
        self.path = format!("{parent}.{}", self.path);
        self
    }
}

/// Checks that `got` lies in `min..=max`.
///
/// # Errors
/// [`Problem::OutOfRange`] at `path`.
pub(crate) fn check_range(
    path: &str,
    min: usize,
    max: usize,
    got: usize,
) -> Result<(), InvalidInput> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(InvalidInput::out_of_range(path, min, max, got))
}

/// The kinds of invalid input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The vector does not have the field's dimension.
    #[error("expected {expected} dimensions, got {got}")]
    Dimension {
        /// The field's dimension.
        expected: usize,
        /// The vector's dimension.
        got: usize,
    },
    /// A value is NaN or infinite.
    #[error("expected finite values, got {value} at position {position}")]
    NotFinite {
        /// Index of the value in the flat vector.
        position: usize,
        /// The value.
        value: f32,
    },
    /// A finite value outside the range of half precision.
    #[error(
        "expected values within ±65504 (the field stores f16), got {value} at position {position}"
    )]
    ExceedsHalfPrecision {
        /// Index of the value in the flat vector.
        position: usize,
        /// The value.
        value: f32,
    },
    /// A vector so long that its scores would overflow.
    #[error("expected vectors of a length up to {most:e}, got {got:.3e} in vector {row}")]
    TooLong {
        /// The greatest allowed norm.
        most: f32,
        /// Norm of the vector.
        got: f64,
        /// Row of the multi-vector (0 for a single vector).
        row: usize,
    },
    /// The cosine of a zero vector is undefined.
    #[error(
        "expected a vector of non-zero length under the cosine metric, got all zeros in vector {row}"
    )]
    ZeroVector {
        /// Row of the multi-vector (0 for a single vector).
        row: usize,
    },
    /// A multi-vector without vectors.
    #[error("expected at least one vector, got none")]
    EmptyMultiVector,
    /// The rows of a multi-vector differ in length.
    #[error(
        "expected vectors of equal dimension, got {got} in vector {row} and {expected} in vector 0"
    )]
    Ragged {
        /// Dimension of the first row.
        expected: usize,
        /// Dimension of the row that differs.
        got: usize,
        /// The row that differs.
        row: usize,
    },
    /// A flat multi-vector whose length is not a multiple of its dimension.
    #[error("expected a multiple of {dimension} values, got {got}")]
    NotAMultiple {
        /// The dimension.
        dimension: usize,
        /// Number of values.
        got: usize,
    },
    /// A single vector where a multi-vector belongs, or the reverse.
    #[error("expected a {expected} vector, got a {got} vector")]
    WrongKind {
        /// Kind of the field.
        expected: &'static str,
        /// Kind of the value.
        got: &'static str,
    },
    /// The payload path is already declared with another type.
    #[error("the path is declared with the type {declared}, not {got}")]
    DeclaredOtherwise {
        /// The declared type.
        declared: &'static str,
        /// The requested type.
        got: &'static str,
    },
    /// The collection has no such vector field.
    #[error("no such vector field; the collection has: {known}")]
    UnknownField {
        /// The collection's fields, comma separated.
        known: String,
    },
    /// The collection has no such text field.
    #[error("no such text field; the collection has: {known}")]
    UnknownTextField {
        /// The collection's text fields, comma separated.
        known: String,
    },
    /// The operation needs a declared payload path.
    #[error(
        "the path is not declared; the collection declares: {known}; paths are declared when a \
         collection is created"
    )]
    UndeclaredPath {
        /// The declared paths with their types, comma separated.
        known: String,
    },
    /// A number outside its bounds.
    #[error("expected {min} to {max}, got {got}")]
    OutOfRange {
        /// Smallest accepted value.
        min: usize,
        /// Largest accepted value.
        max: usize,
        /// The value.
        got: usize,
    },
    /// A number outside its bounds, which need not be whole.
    #[error("expected {min} to {max}, got {got}")]
    NumberOutOfRange {
        /// Smallest accepted value.
        min: f32,
        /// Largest accepted value.
        max: f32,
        /// The value.
        got: f32,
    },
    /// A setting that only others have.
    #[error("a setting of {owners}, not of {kind}")]
    OtherKind {
        /// The kinds that have it.
        owners: String,
        /// The kind it was given for.
        kind: &'static str,
    },
    /// A name outside the pattern.
    #[error("expected a name of the form [a-z0-9_-]{{1,64}}, got {got:?}")]
    Name {
        /// The name, truncated.
        got: String,
    },
    /// A value of the wrong type or shape.
    #[error("expected {expected}, got {got}")]
    Mismatch {
        /// What was expected.
        expected: &'static str,
        /// The actual value.
        got: String,
    },
    /// A required part is missing.
    #[error("expected {expected}, got nothing")]
    Missing {
        /// What was expected.
        expected: &'static str,
    },
}
