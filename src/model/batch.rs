//! Columnar batches of validated points, shared by the journal, the mutable segment and the
//! kernels, so that a vector is copied only once between request and scan.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::invalid::check_range;
use super::{
    CollectionConfig, DeclaredPath, Elements, ElementsRef, InvalidInput, Metric, Payload,
    PayloadColumn, PayloadType, Point, PointId, Problem, Secondary, SparseVector, TextField,
    VectorField, VectorKind, VectorRef, VectorsView, limits, read_new, read_paths,
};
use crate::kernels;

/// The largest finite half-precision number.
const LARGEST_HALF: f32 = 65504.0;

/// The column of one vector field over the rows of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldColumn {
    /// As [`VectorField::stride`].
    stride: usize,
    elements: Elements,
    offsets: Option<Vec<u64>>,
    absent: RoaringBitmap,
}

impl FieldColumn {
    /// An empty column for `field`.
    pub(crate) fn new(field: &VectorField) -> Self {
        Self {
            stride: field.stride(),
            elements: Elements::new(field.stored_element()),
            offsets: field.has_offsets().then(|| vec![0]),
            absent: RoaringBitmap::new(),
        }
    }

    /// A column from its parts; `None` if they do not match the field, each other or `rows`.
    pub(crate) fn from_parts(
        field: &VectorField,
        elements: Elements,
        offsets: Option<Vec<u64>>,
        absent: RoaringBitmap,
        rows: usize,
    ) -> Option<Self> {
        let vectors = match (&offsets, field.has_offsets()) {
            (Some(offsets), true) => {
                let ordered = offsets.first() == Some(&0) && offsets.is_sorted();
                (ordered && offsets.len() == rows + 1).then(|| offsets[rows])?
            }
            (None, false) => rows as u64,
            _ => return None,
        };
        let stride = field.stride();
        let expected = usize::try_from(vectors).ok()?.checked_mul(stride)?;
        let fits = elements.as_ref().len() == expected;
        fits.then_some(Self { stride, elements, offsets, absent })
    }

    /// The vectors.
    pub fn view(&self) -> VectorsView<'_> {
        VectorsView {
            dimension: self.stride,
            elements: self.elements.as_ref(),
            offsets: self.offsets.as_deref(),
            absent: &self.absent,
        }
    }

    /// Appends the rows of another column of the same field; this one has `rows` rows.
    fn append(&mut self, rows: u32, other: &Self) {
        if let (Some(offsets), Some(other)) = (&mut self.offsets, &other.offsets) {
            let last = offsets[offsets.len() - 1];
            offsets.extend(other[1..].iter().map(|offset| last + offset));
        }
        self.elements.extend(other.elements.as_ref());
        self.absent.extend(other.absent.iter().map(|row| rows + row));
    }

    fn push(&mut self, row: u32, values: Option<ElementsRef<'_>>) {
        match (values, &mut self.offsets) {
            (Some(values), Some(offsets)) => {
                let last = offsets[offsets.len() - 1];
                offsets.push(last + (values.len() / self.stride) as u64);
                self.elements.extend(values);
            }
            (Some(values), None) => self.elements.extend(values),
            (None, offsets) => {
                self.absent.insert(row);
                match offsets {
                    Some(offsets) => offsets.push(offsets[offsets.len() - 1]),
                    None => self.elements.extend_from_f32(&vec![0.0; self.stride]),
                }
            }
        }
    }
}

/// Points validated against a collection, in columns.
#[derive(Debug, Clone, PartialEq)]
pub struct PointBatch {
    pub(crate) ids: Vec<PointId>,
    pub(crate) payloads: Vec<Option<Payload>>,
    pub(crate) fields: Vec<FieldColumn>,
    /// Configuration the points were validated against.
    config: Arc<CollectionConfig>,
    /// Values at the declared payload paths, in the order of `config.payload`.
    paths: Vec<PayloadColumn>,
}

impl PointBatch {
    /// A batch from matching columns. Values at the declared paths are read from the payloads.
    ///
    /// # Errors
    /// If a payload value does not have the type of its declared path.
    pub(crate) fn from_columns(
        config: &Arc<CollectionConfig>,
        ids: Vec<PointId>,
        payloads: Vec<Option<Payload>>,
        fields: Vec<FieldColumn>,
    ) -> Result<Self, InvalidInput> {
        let paths = read_columns(config, &ids, &payloads)?;
        Ok(Self { ids, payloads, fields, config: config.clone(), paths })
    }

    /// Revalidates the points against the collection's current configuration.
    ///
    /// # Errors
    /// If the points belong to another collection, or, at `point ID.payload.PATH`, if a payload
    /// value does not have the type of its declared path. The batch is then unchanged.
    pub(crate) fn fit(&mut self, config: &Arc<CollectionConfig>) -> Result<(), InvalidInput> {
        if Arc::ptr_eq(&self.config, config) || self.config == *config {
            return Ok(());
        }
        if self.config.fields != config.fields {
            let expected = "a batch that was built for this collection";
            return Err(InvalidInput::mismatch("points", expected, "one of other fields"));
        }
        self.paths = read_columns(config, &self.ids, &self.payloads)?;
        self.config = config.clone();
        Ok(())
    }

    /// The column of a declared path, if the points were validated against it.
    pub(crate) fn column(&self, path: &DeclaredPath) -> Option<&PayloadColumn> {
        let mut declared = self.config.payload.iter();
        let is_it = |(name, payload_type): (&String, &PayloadType)| {
            **name == *path.name && *payload_type == path.payload_type
        };
        self.paths.get(declared.position(is_it)?)
    }

    /// Keeps only the columns of paths that `config` also declares.
    fn keep_paths(&mut self, config: &CollectionConfig) {
        let mut kept = CollectionConfig::clone(&self.config);
        kept.payload.retain(|name, kind| config.payload.get(name) == Some(kind));
        let paths = self.config.payload.keys().zip(std::mem::take(&mut self.paths));
        let is_kept = |(name, _): &(&String, _)| kept.payload.contains_key(*name);
        self.paths = paths.filter(is_kept).map(|(_, column)| column).collect();
        self.config = Arc::new(kept);
    }

    /// Concatenates batches of one collection, in order; `None` without batches. Keeps the columns
    /// of the paths that all of them were validated against.
    pub(crate) fn concat(batches: &[&Self]) -> Option<Self> {
        let (first, others) = batches.split_first()?;
        let mut all = Self::clone(first);
        let fits = |batch: &&&Self, config: &Arc<CollectionConfig>| {
            Arc::ptr_eq(&batch.config, config) || batch.config.payload == config.payload
        };
        others.iter().filter(|other| !fits(other, &first.config)).for_each(|other| {
            all.keep_paths(&other.config);
        });
        for other in others {
            let rows = all.len() as u32;
            all.ids.extend_from_slice(&other.ids);
            all.payloads.extend_from_slice(&other.payloads);
            for (column, other) in all.fields.iter_mut().zip(&other.fields) {
                column.append(rows, other);
            }
            for (path, column) in all.config.declared_paths().zip(&mut all.paths) {
                if let Some(other) = other.column(&path) {
                    column.append(other);
                }
            }
        }
        all.ids.shrink_to_fit();
        all.payloads.shrink_to_fit();
        all.fields.iter_mut().for_each(|column| column.elements.shrink_to_fit());
        Some(all)
    }

    /// Settings of the collection's text fields, by name.
    pub(crate) fn text_fields(&self) -> impl Iterator<Item = &TextField> {
        self.config.text.values()
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True if there are no points.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let lists = |field: &FieldColumn| field.offsets.as_ref().map_or(0, |list| 8 * list.len());
        let offsets: usize = self.fields.iter().map(lists).sum();
        let texts: usize = self.ids.iter().map(PointId::text_bytes).sum();
        let vectors: usize =
            self.fields.iter().map(|column| column.elements.as_ref().as_bytes().len()).sum();
        let payloads: usize =
            self.payloads.iter().flatten().map(|payload| payload.as_str().len()).sum();
        let paths: usize = self.paths.iter().map(PayloadColumn::size_bytes).sum();
        let rows = self.ids.len() * size_of::<PointId>()
            + self.payloads.len() * size_of::<Option<Payload>>();
        let columns = self.fields.len() * size_of::<FieldColumn>()
            + self.paths.len() * size_of::<PayloadColumn>();
        vectors + offsets + payloads + paths + rows + texts + columns + size_of::<Self>()
    }
}

fn empty_paths(config: &CollectionConfig) -> Vec<PayloadColumn> {
    config.payload.values().map(|&payload_type| PayloadColumn::new(payload_type)).collect()
}

/// Reads the values at the declared paths, in the order of `config.payload`.
fn read_columns(
    config: &CollectionConfig,
    ids: &[PointId],
    payloads: &[Option<Payload>],
) -> Result<Vec<PayloadColumn>, InvalidInput> {
    let mut paths = empty_paths(config);
    for (id, payload) in ids.iter().zip(payloads) {
        let row = read_paths(config, payload.as_ref());
        let row = row.map_err(|error| error.within(format!("point {id}")))?;
        paths.iter_mut().zip(row).for_each(|(path, values)| path.push(values));
    }
    Ok(paths)
}

/// Pools the vectors of one point: `[n, dim] -> [m, dim]`, `m <= n`. The input is validated and
/// prepared.
pub type Pool = fn(&VectorField, Vec<f32>) -> Vec<f32>;

/// Builds a [`PointBatch`] point by point. A rejected point leaves the batch unchanged, so that the
/// caller can report it and continue.
#[derive(Debug)]
pub struct PointBatchBuilder {
    batch: PointBatch,
    scratch: Vec<Option<Elements>>,
    /// Identity by default.
    pool: Pool,
}

impl PointBatchBuilder {
    /// An empty batch for a collection with this configuration.
    pub fn new(config: &CollectionConfig) -> Self {
        Self::checking(Arc::new(config.clone()))
    }

    /// As [`Self::new`], for a shared configuration.
    pub(crate) fn checking(config: Arc<CollectionConfig>) -> Self {
        let fields = config.fields.values().map(FieldColumn::new).collect();
        let (ids, payloads, paths) = (Vec::new(), Vec::new(), empty_paths(&config));
        let scratch = vec![None; config.fields.len()];
        let batch = PointBatch { ids, payloads, fields, config, paths };
        Self { batch, scratch, pool: |_, values| values }
    }

    /// Sets the function that pools the vectors of fields with token pooling.
    #[must_use]
    pub fn pooled_by(self, pool: Pool) -> Self {
        Self { pool, ..self }
    }

    /// Adds a point.
    ///
    /// # Errors
    /// As [`Self::push_parts`].
    pub fn push(&mut self, point: Point) -> Result<(), InvalidInput> {
        let vectors = point.vectors.iter().map(|(name, vector)| (name.as_str(), vector.as_ref()));
        self.push_parts(point.id, vectors, point.payload)
    }

    /// Adds a point from borrowed vectors. Under the cosine metric, vectors are normalized to
    /// length 1.
    ///
    /// # Errors
    /// If the id is malformed, a field is unknown or given twice, there is no vector, the batch is
    /// full, a vector has the wrong kind, dimension or values, or a payload value does not have the
    /// type of its declared path. The batch is then unchanged.
    pub fn push_parts<'v>(
        &mut self,
        id: PointId,
        vectors: impl IntoIterator<Item = (&'v str, VectorRef<'v>)>,
        payload: Option<Payload>,
    ) -> Result<(), InvalidInput> {
        check_range("points", 1, limits::MAX_BATCH_POINTS, self.batch.len() + 1)?;
        id.validate()?;
        self.scratch.fill(None);
        for (name, vector) in vectors {
            let (index, field) = self.batch.config.field(name)?;
            let at = || format!("vectors.{name}");
            let elements = if let VectorRef::Sparse(entries) = vector
                && field.kind == VectorKind::Sparse
            {
                let sparse = SparseVector::from_entries(entries.to_vec());
                Elements::Entries(sparse.map_err(|error| error.within(at()))?.into_entries())
            } else {
                let values = prepare_vector(field, vector)
                    .and_then(|values| check_coded(field, &values).map(|()| values))
                    .map_err(|error| InvalidInput::new(at(), error))?;
                let pools = field.token_pooling > 1;
                Elements::F32(if pools { (self.pool)(field, values) } else { values })
            };
            if self.scratch[index].replace(elements).is_some() {
                let problem =
                    Problem::Mismatch { expected: "each field once", got: "two vectors".into() };
                return Err(InvalidInput::new(at(), problem));
            }
        }
        // Text fields have their text in the payload.
        if self.batch.config.text.is_empty() && self.scratch.iter().all(Option::is_none) {
            let problem = Problem::Missing { expected: "at least one vector" };
            return Err(InvalidInput::new("vectors", problem));
        }
        self.append(id, payload)
    }

    /// Adds a point with vectors that are already in stored form, one entry per field: they are
    /// neither validated nor normalized.
    ///
    /// # Errors
    /// If a payload value does not have the type of its declared path. The batch is then unchanged.
    pub(crate) fn push_stored(
        &mut self,
        id: PointId,
        vectors: Vec<Option<Elements>>,
        payload: Option<Payload>,
    ) -> Result<(), InvalidInput> {
        self.scratch = vectors;
        self.append(id, payload)
    }

    /// Adds a point with the vectors in `scratch`.
    fn append(&mut self, id: PointId, payload: Option<Payload>) -> Result<(), InvalidInput> {
        let paths = read_new(&self.batch.config, payload.as_ref())?;
        let row = self.batch.len() as u32;
        for (path, values) in self.batch.paths.iter_mut().zip(paths) {
            path.push(values);
        }
        for (column, values) in self.batch.fields.iter_mut().zip(&self.scratch) {
            column.push(row, values.as_ref().map(Elements::as_ref));
        }
        self.batch.ids.push(id);
        self.batch.payloads.push(payload);
        Ok(())
    }

    /// Number of points so far.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// True if there are no points.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The finished batch.
    pub fn finish(self) -> PointBatch {
        self.batch
    }
}

/// Validates a vector against its single or multi field and returns its values in stored form:
/// normalized to length 1 under cosine.
///
/// # Errors
/// The problem, if kind, dimension or values are wrong.
pub(crate) fn prepare_vector(
    field: &VectorField,
    vector: VectorRef<'_>,
) -> Result<Vec<f32>, Problem> {
    if vector.kind() != field.kind || field.kind == VectorKind::Sparse {
        let (expected, got) = (field.kind.as_str(), vector.kind().as_str());
        return Err(Problem::WrongKind { expected, got });
    }
    if vector.dimension() != field.dimension {
        return Err(Problem::Dimension { expected: field.dimension, got: vector.dimension() });
    }
    let values = vector.values();
    let rows = values.len() / field.dimension;
    if !values.len().is_multiple_of(field.dimension) {
        return Err(Problem::NotAMultiple { dimension: field.dimension, got: values.len() });
    }
    if rows == 0 {
        return Err(Problem::EmptyMultiVector);
    }
    if rows > limits::MAX_MULTI_VECTORS {
        return Err(Problem::OutOfRange { min: 1, max: limits::MAX_MULTI_VECTORS, got: rows });
    }
    check_values(field, values)?;
    let mut values = values.to_vec();
    if field.metric == Metric::Cosine {
        for (row, vector) in values.chunks_exact_mut(field.dimension).enumerate() {
            if !kernels::normalize(vector) {
                return Err(Problem::ZeroVector { row });
            }
        }
    }
    Ok(values)
}

fn check_values(field: &VectorField, values: &[f32]) -> Result<(), Problem> {
    // Cosine vectors are normalized before they are rounded, so any finite value fits.
    let half = field.element == super::ElementType::F16 && field.metric != Metric::Cosine;
    let largest = if half { LARGEST_HALF } else { f32::MAX };
    // No early exit, so that the loop vectorizes.
    if values.iter().fold(true, |fit, value| fit & (value.abs() <= largest)) {
        return check_lengths(field, values);
    }
    for (position, &value) in values.iter().enumerate() {
        if !value.is_finite() {
            return Err(Problem::NotFinite { position, value });
        }
        if value.abs() > largest {
            return Err(Problem::ExceedsHalfPrecision { position, value });
        }
    }
    Ok(())
}

/// Half-precision secondary codes must be able to hold the values, too.
fn check_coded(field: &VectorField, values: &[f32]) -> Result<(), Problem> {
    if field.compression.resolved_secondary() != Secondary::F16 {
        return Ok(());
    }
    match values.iter().position(|value| value.abs() > LARGEST_HALF) {
        Some(position) => Err(Problem::ExceedsHalfPrecision { position, value: values[position] }),
        None => Ok(()),
    }
}

/// Scores of long vectors would overflow; cosine vectors are normalized.
fn check_lengths(field: &VectorField, values: &[f32]) -> Result<(), Problem> {
    if field.metric == Metric::Cosine {
        return Ok(());
    }
    let most = match field.kind {
        VectorKind::Single | VectorKind::Sparse => limits::MAX_LENGTH,
        VectorKind::Multi => limits::MAX_MULTI_LENGTH,
    };
    for (row, vector) in values.chunks_exact(field.dimension).enumerate() {
        // A sum of squares that overflows is also too large.
        if kernels::dot(vector, vector) <= most * most {
            continue;
        }
        let squares = vector.iter().map(|&value| f64::from(value) * f64::from(value));
        let got = squares.sum::<f64>().sqrt();
        return Err(Problem::TooLong { most, got, row });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ElementsRef, MultiVector, Vector};

    fn config() -> CollectionConfig {
        CollectionConfig::new()
            .with_field("text", VectorField::single(2, Metric::Cosine))
            .with_field("tokens", VectorField::multi(2, Metric::Dot).half_precision())
    }

    fn refused(point: Point) -> String {
        let config = config();
        let mut builder = PointBatchBuilder::new(&config);
        builder.push(Point::new(1).with_vector("text", vec![3.0, 4.0])).unwrap();
        let error = builder.push(point).unwrap_err().to_string();
        assert_eq!(builder.finish().len(), 1, "a refused point leaves nothing behind");
        error
    }

    #[test]
    fn columns_hold_scaled_vectors_and_mark_what_is_absent() {
        let config = config();
        let mut builder = PointBatchBuilder::new(&config);
        builder.push(Point::new(1).with_vector("text", vec![3.0, 4.0])).unwrap();
        let tokens = MultiVector::from_flat(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        builder.push(Point::new("b").with_vector("tokens", tokens.clone())).unwrap();
        let batch = builder.finish();
        let text = batch.fields[0].view();
        assert_eq!(text.elements, ElementsRef::F32(&[0.6, 0.8, 0.0, 0.0]));
        assert!(text.absent.contains(1) && !text.absent.contains(0));
        let view = batch.fields[1].view();
        assert_eq!(view.offsets, Some(&[0, 0, 2][..]));
        assert_eq!((view.vector(0), view.vector(1)), (None, Some(Vector::Multi(tokens))));
    }

    /// Two points with these payloads, validated against a configuration.
    fn checked(config: &CollectionConfig, payloads: [&str; 2]) -> PointBatch {
        let mut builder = PointBatchBuilder::new(config);
        for (id, payload) in (0_u64..).zip(payloads) {
            let point = Point::new(id).with_vector("text", vec![3.0, 4.0]);
            builder.push(point.with_payload(Payload::parse(payload).unwrap())).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn a_batch_is_checked_against_what_was_declared_since() {
        let before = config().with_payload("m", PayloadType::Keyword);
        let now = Arc::new(before.clone().with_payload("n", PayloadType::Integer));
        let path = now.declared_path("n").unwrap();
        let mut batch = checked(&before, [r#"{"m": "a", "n": 3}"#, r#"{"n": [1, null]}"#]);
        assert!(batch.column(&path).is_none());
        batch.fit(&now).unwrap();
        let mut values = Vec::new();
        (0..2).for_each(|row| {
            batch.column(&path).unwrap().visit(row, &mut |value| values.push(format!("{value:?}")));
        });
        assert_eq!(values, ["Number(3)", "Number(1)"]);
        assert_eq!(batch, checked(&now, [r#"{"m": "a", "n": 3}"#, r#"{"n": [1, null]}"#]));
        let other = DeclaredPath { payload_type: PayloadType::Float, ..path };
        assert!(batch.column(&other).is_none(), "a path of another type is another one");

        let mut batch = checked(&before, [r#"{"n": 3}"#, r#"{"n": "x"}"#]);
        let unchanged = batch.clone();
        let expected = "point 1.payload.n: expected an integer of 64 bits with a sign, got \"x\"";
        assert_eq!(batch.fit(&now).unwrap_err().to_string(), expected);
        assert_eq!(batch, unchanged);
        let other = CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot));
        let expected = "points: expected a batch that was built for this collection, \
                        got one of other fields";
        assert_eq!(batch.fit(&Arc::new(other)).unwrap_err().to_string(), expected);
    }

    #[test]
    fn batches_are_joined_by_the_paths_that_all_were_checked_against() {
        let payloads = [r#"{"k": "a", "m": 1, "n": 3}"#, r#"{"m": 2}"#];
        let both = config()
            .with_payload("m", PayloadType::Integer)
            .with_payload("n", PayloadType::Integer);
        let other = config()
            .with_payload("k", PayloadType::Keyword)
            .with_payload("m", PayloadType::Integer);
        let parts = [checked(&both, payloads), checked(&other, payloads), checked(&both, payloads)];
        let joined = PointBatch::concat(&parts.iter().collect::<Vec<_>>()).unwrap();
        let column = |name: &str| both.declared_path(name).and_then(|path| joined.column(&path));
        assert_eq!(column("m").map(PayloadColumn::rows), Some(6));
        assert!(column("n").is_none());
        let mut values = Vec::new();
        (0..6).for_each(|row| {
            column("m").unwrap().visit(row, &mut |value| values.push(format!("{value:?}")));
        });
        assert_eq!(values, ["Number(1)", "Number(2)"].repeat(3));
    }

    #[test]
    fn each_refusal_names_the_field_what_was_expected_and_what_came() {
        let long = MultiVector::from_flat(2, vec![1.0, 1.0, 3e38, 3e38]).unwrap();
        let config = CollectionConfig::new()
            .with_field("dot", VectorField::single(2, Metric::Dot))
            .with_field("multi", VectorField::multi(2, Metric::L2));
        let push = |point: Point| PointBatchBuilder::new(&config).push(point);
        let refused_by = |point| push(point).unwrap_err().to_string();
        assert_eq!(
            refused_by(Point::new(1).with_vector("multi", long)),
            "vectors.multi: expected vectors of a length up to 1e15, got 4.243e38 in vector 1"
        );
        assert_eq!(
            refused_by(Point::new(1).with_vector("dot", vec![0.0, -2e18])),
            "vectors.dot: expected vectors of a length up to 1e18, got 2.000e18 in vector 0"
        );
        assert_eq!(push(Point::new(1).with_vector("dot", vec![1e18, 0.0])), Ok(()));
        let huge = MultiVector::from_flat(2, vec![1.0, 70000.0]).unwrap();
        let none = MultiVector::from_flat(2, vec![]).unwrap();
        let cases = [
            (
                Point::new(2).with_vector("text", vec![1.0]),
                "vectors.text: expected 2 dimensions, got 1",
            ),
            (
                Point::new(2).with_vector("text", vec![f32::NAN, 1.0]),
                "vectors.text: expected finite values, got NaN at position 0",
            ),
            (
                Point::new(2).with_vector("text", vec![1.0, f32::INFINITY]),
                "vectors.text: expected finite values, got inf at position 1",
            ),
            (
                Point::new(2).with_vector("text", vec![0.0, 0.0]),
                "vectors.text: expected a vector of non-zero length under the cosine metric, \
                 got all zeros in vector 0",
            ),
            (
                Point::new(2).with_vector("tokens", vec![1.0, 1.0]),
                "vectors.tokens: expected a multi vector, got a single vector",
            ),
            (
                Point::new(2).with_vector("tokens", huge),
                "vectors.tokens: expected values within ±65504 (the field stores f16), \
                 got 70000 at position 1",
            ),
            (
                Point::new(2).with_vector("tokens", none),
                "vectors.tokens: expected at least one vector, got none",
            ),
            (
                Point::new(2).with_vector("nope", vec![1.0]),
                "field \"nope\": no such vector field; the collection has: text, tokens",
            ),
            (Point::new(2), "vectors: expected at least one vector, got nothing"),
            (
                Point::new("").with_vector("text", vec![1.0, 1.0]),
                "id: expected a text id of 1 to 512 bytes, got 0 bytes",
            ),
        ];
        for (point, expected) in cases {
            assert_eq!(refused(point), expected);
        }
    }
}
