//! Columnar points, so that matrices are written without a value per point.

use std::collections::BTreeMap;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use prost::bytes::Bytes;

use crate::cut::cut;
use crate::messages::from_model;
use crate::proto::{self, vector::Values};
use lanner::{Entry, InvalidInput, Payload, PointBatchBuilder, PointId, VectorKind, VectorRef};

type Result<T> = std::result::Result<T, InvalidInput>;

/// Points to write, in columns. Each column has one entry per point.
#[derive(Debug)]
pub struct PointColumns<'a> {
    /// Ids; of repeated ids, the last wins.
    pub ids: Vec<PointId>,
    /// Vectors, one column per field that has any.
    pub vectors: Vec<VectorColumn<'a>>,
    /// Payloads; empty if no point has one.
    pub payloads: Vec<Option<Payload>>,
    /// Index of the first point in the caller's input, for error messages.
    pub first: usize,
}

/// Vectors of one field.
#[derive(Debug)]
pub struct VectorColumn<'a> {
    field: &'a str,
    kind: VectorKind,
    dimension: usize,
    values: MatrixValues<'a>,
    rows: Rows,
    /// Presence of each point's vector; `None` if all points have one.
    present: Option<Vec<bool>>,
}

/// Borrowed vector elements, row-major.
#[derive(Debug, Clone, Copy)]
pub enum MatrixValues<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// Entries of sparse vectors.
    Entries(&'a [Entry]),
}

/// Rows of a point.
#[derive(Debug)]
enum Rows {
    /// One row per point; the number of points.
    One(usize),
    /// Point i has the rows `offsets[i]..offsets[i + 1]`.
    Between(Vec<usize>),
}

impl<'a> MatrixValues<'a> {
    fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    fn slice(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[range]),
            Self::F16(values) => Self::F16(&values[range]),
            Self::Entries(entries) => Self::Entries(&entries[range]),
        }
    }

    fn bytes(self) -> &'a [u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
            Self::Entries(entries) => bytemuck::cast_slice(entries),
        }
    }

    fn element_bytes(self) -> usize {
        match self {
            Self::F32(_) => 4,
            Self::F16(_) => 2,
            Self::Entries(_) => size_of::<Entry>(),
        }
    }
}

impl<'a> VectorColumn<'a> {
    /// One vector per point: a matrix of shape `[points, dimension]`. `present` tells which points
    /// have a vector.
    ///
    /// # Errors
    /// If the values do not match the rows.
    pub fn single(
        field: &'a str,
        dimension: usize,
        values: MatrixValues<'a>,
        present: Option<Vec<bool>>,
    ) -> Result<Self> {
        let rows = match &present {
            Some(present) => {
                let mut offsets = vec![0];
                let mut row = 0;
                offsets.extend(present.iter().map(|&present| {
                    row += usize::from(present);
                    row
                }));
                Rows::Between(offsets)
            }
            None => Rows::One(values.len() / dimension.max(1)),
        };
        Self { field, kind: VectorKind::Single, dimension, values, rows, present }.checked()
    }

    /// Several vectors per point: a matrix of shape `[vectors, dimension]`; point i has the rows
    /// `offsets[i]..offsets[i + 1]`.
    ///
    /// # Errors
    /// If the offsets do not ascend from 0 to the number of rows.
    pub fn multi(
        field: &'a str,
        dimension: usize,
        values: MatrixValues<'a>,
        offsets: Vec<usize>,
        present: Option<Vec<bool>>,
    ) -> Result<Self> {
        let rows = Rows::Between(offsets);
        Self { field, kind: VectorKind::Multi, dimension, values, rows, present }.checked()
    }

    /// A sparse vector per point; point i has the entries `offsets[i]..offsets[i + 1]`, in any order.
    ///
    /// # Errors
    /// If the offsets do not ascend from 0 to the number of entries.
    pub fn sparse(
        field: &'a str,
        entries: &'a [Entry],
        offsets: Vec<usize>,
        present: Option<Vec<bool>>,
    ) -> Result<Self> {
        let (values, rows) = (MatrixValues::Entries(entries), Rows::Between(offsets));
        let kind = VectorKind::Sparse;
        Self { field, kind, dimension: 1, values, rows, present }.checked()
    }

    fn checked(self) -> Result<Self> {
        let rows = self.values.len().checked_div(self.dimension).unwrap_or(0);
        let fits = match &self.rows {
            Rows::One(points) => *points == rows,
            Rows::Between(offsets) => {
                offsets.first() == Some(&0) && offsets.last() == Some(&rows) && offsets.is_sorted()
            }
        };
        let points = self.points();
        let marked = self.present.as_ref().is_none_or(|present| present.len() == points);
        if fits && marked && rows * self.dimension == self.values.len() {
            return Ok(self);
        }
        let got = format!("{} values of {} dimensions", self.values.len(), self.dimension);
        let expected = "values that fill the rows of the points, by ascending offsets from 0";
        Err(InvalidInput::mismatch(format!("vectors.{}", self.field), expected, got))
    }

    fn points(&self) -> usize {
        match &self.rows {
            Rows::One(points) => *points,
            Rows::Between(offsets) => offsets.len().saturating_sub(1),
        }
    }

    /// Rows of a range of points.
    fn rows(&self, points: Range<usize>) -> Range<usize> {
        match &self.rows {
            Rows::One(_) => points,
            Rows::Between(offsets) => offsets[points.start]..offsets[points.end],
        }
    }

    fn is_present(&self, point: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present[point])
    }

    /// Elements of a range of points.
    fn elements(&self, points: Range<usize>) -> MatrixValues<'a> {
        let rows = self.rows(points);
        self.values.slice(rows.start * self.dimension..rows.end * self.dimension)
    }

    /// Widens the vector of a point to f32 in `scratch`, if it is half precision.
    fn widen(&self, point: usize, scratch: &mut Vec<f32>) {
        if let MatrixValues::F16(values) = self.elements(point..point + 1) {
            scratch.resize(values.len(), 0.0);
            values.convert_to_f32_slice(scratch);
        }
    }

    /// The vector of a point, if it has one; call [`Self::widen`] first.
    fn vector<'v>(&'v self, point: usize, scratch: &'v [f32]) -> Option<(&'v str, VectorRef<'v>)> {
        if !self.is_present(point) {
            return None;
        }
        let values = match self.elements(point..point + 1) {
            MatrixValues::F32(values) => values,
            MatrixValues::F16(_) => scratch,
            MatrixValues::Entries(entries) => {
                return Some((self.field, VectorRef::Sparse(entries)));
            }
        };
        let vector = match self.kind {
            VectorKind::Single | VectorKind::Sparse => VectorRef::Single(values),
            VectorKind::Multi => VectorRef::Multi { dimension: self.dimension, values },
        };
        Some((self.field, vector))
    }
}

impl PointColumns<'_> {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True if there are no points.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds the points to a batch.
    ///
    /// # Errors
    /// As [`PointBatchBuilder::push`], at `points[i]`.
    pub fn fill(&self, batch: &mut PointBatchBuilder) -> Result<()> {
        self.check()?;
        let mut scratches = vec![Vec::new(); self.vectors.len()];
        for (at, id) in self.ids.iter().enumerate() {
            for (column, scratch) in self.vectors.iter().zip(&mut scratches) {
                column.widen(at, scratch);
            }
            let columns = self.vectors.iter().zip(&scratches);
            let vectors = columns.filter_map(|(column, scratch)| column.vector(at, scratch));
            let payload = self.payloads.get(at).cloned().flatten();
            batch
                .push_parts(id.clone(), vectors, payload)
                .map_err(|error| error.within(format!("points[{}]", self.first + at)))?;
        }
        Ok(())
    }

    /// Checks that each column has one entry per point.
    ///
    /// # Errors
    /// At the column with another number of entries.
    pub fn check(&self) -> Result<()> {
        let points = self.len();
        let expected = "an entry for each id";
        if let Some(column) = self.vectors.iter().find(|column| column.points() != points) {
            let got = format!("{} for {points} ids", column.points());
            return Err(InvalidInput::mismatch(format!("vectors.{}", column.field), expected, got));
        }
        if !self.payloads.is_empty() && self.payloads.len() != points {
            let got = format!("{} for {points} ids", self.payloads.len());
            return Err(InvalidInput::mismatch("payloads", expected, got));
        }
        Ok(())
    }

    /// Splits the points into parts of at most `most_bytes` bytes, unless a single point is larger.
    pub(crate) fn parts(&self, most_bytes: usize) -> Vec<Range<usize>> {
        let size = |at: usize| {
            let vectors =
                self.vectors.iter().map(|column| column.elements(at..at + 1).bytes().len());
            let payload = self.payloads.get(at).and_then(Option::as_ref);
            vectors.sum::<usize>() + payload.map_or(0, |text| text.as_str().len())
        };
        cut((0..self.len()).map(size), most_bytes)
    }

    /// A range of points as messages.
    pub(crate) fn messages(&self, range: Range<usize>) -> Vec<proto::Point> {
        // One copy per column; the vectors of the messages are slices of it. Entries are not:
        // a message holds their dimensions and weights apart.
        let blocks: Vec<Bytes> = self
            .vectors
            .iter()
            .map(|column| match column.elements(range.clone()) {
                MatrixValues::Entries(_) => Bytes::new(),
                values => Bytes::copy_from_slice(values.bytes()),
            })
            .collect();
        let message = |at: usize| {
            let columns = self.vectors.iter().zip(&blocks);
            let vectors =
                columns.filter(|(column, _)| column.is_present(at)).map(|(column, block)| {
                    (column.field.to_owned(), vector_message(column, block, range.start, at))
                });
            proto::Point {
                id: Some(from_model::point_id(&self.ids[at])),
                vectors: vectors.collect::<BTreeMap<_, _>>(),
                payload_json: self
                    .payloads
                    .get(at)
                    .and_then(Option::as_ref)
                    .map(|payload| payload.as_str().to_owned()),
            }
        };
        range.clone().map(message).collect()
    }
}

/// The vector of a point as a slice of a block that starts with the vector of point `first`.
fn vector_message(
    column: &VectorColumn<'_>,
    block: &Bytes,
    first: usize,
    at: usize,
) -> proto::Vector {
    let row_bytes = column.dimension * column.values.element_bytes();
    let rows = column.rows(at..at + 1);
    let before = column.rows(first..at).len();
    let bytes = || block.slice(before * row_bytes..(before + rows.len()) * row_bytes);
    let values = match column.elements(at..at + 1) {
        MatrixValues::F32(_) => Values::F32(bytes()),
        MatrixValues::F16(_) => Values::F16(bytes()),
        MatrixValues::Entries(entries) => return from_model::sparse(entries),
    };
    let multi = column.kind == VectorKind::Multi;
    let rows = multi.then(|| u32::try_from(rows.len()).unwrap_or(u32::MAX));
    proto::Vector { values: Some(values), rows, reconstructed: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_model;
    use lanner::{CollectionConfig, Metric, MultiVector, Point, VectorField};

    fn config() -> CollectionConfig {
        CollectionConfig::new()
            .with_field("text", VectorField::single(2, Metric::Dot))
            .with_field("tokens", VectorField::multi(2, Metric::Dot))
    }

    #[test]
    fn columns_are_the_points_that_they_stand_for() {
        let text = [1.0, 2.0, 5.0, 6.0];
        let tokens: Vec<f16> = [1.0, 0.0, 0.0, 1.0, 2.0, 2.0].map(f16::from_f32).to_vec();
        let present = vec![true, false, true];
        let columns = PointColumns {
            ids: vec![7.into(), "b".into(), 9.into()],
            vectors: vec![
                VectorColumn::single("text", 2, MatrixValues::F32(&text), Some(present)).unwrap(),
                VectorColumn::multi("tokens", 2, MatrixValues::F16(&tokens), vec![0, 1, 3, 3], {
                    Some(vec![true, true, false])
                })
                .unwrap(),
            ],
            payloads: vec![Some(Payload::parse("{\"a\":1}").unwrap()), None, None],
            first: 0,
        };
        let multi = |values: &[f32]| MultiVector::from_flat(2, values.to_vec()).unwrap();
        let expected = [
            Point::new(7)
                .with_vector("text", vec![1.0, 2.0])
                .with_vector("tokens", multi(&[1.0, 0.0]))
                .with_payload(Payload::parse("{\"a\":1}").unwrap()),
            Point::new("b").with_vector("tokens", multi(&[0.0, 1.0, 2.0, 2.0])),
            Point::new(9).with_vector("text", vec![5.0, 6.0]),
        ];
        let config = config();
        let (mut batch, mut same) =
            (PointBatchBuilder::new(&config), PointBatchBuilder::new(&config));
        columns.fill(&mut batch).unwrap();
        expected.iter().for_each(|point| same.push(point.clone()).unwrap());
        assert_eq!(batch.finish(), same.finish());
        // Messages have the same content whatever the size of the parts.
        for most_bytes in [1, 20, 1000] {
            let parts = columns.parts(most_bytes);
            assert_eq!(parts.len() == 1, most_bytes == 1000);
            let messages = parts.into_iter().flat_map(|part| columns.messages(part));
            let points: Vec<Point> = messages.map(|m| to_model::point(m).unwrap()).collect();
            assert_eq!(points, expected);
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        let values = [0.0; 6];
        let refused = |offsets: Vec<usize>| {
            let column = VectorColumn::multi("m", 2, MatrixValues::F32(&values), offsets, None);
            column.unwrap_err().to_string()
        };
        for offsets in [vec![], vec![0, 2], vec![1, 3], vec![0, 2, 1, 3], vec![0, 4]] {
            assert!(refused(offsets).starts_with("vectors.m: expected values that fill"));
        }
        let single = |dimension, present| {
            VectorColumn::single("s", dimension, MatrixValues::F32(&values), present)
        };
        assert!(single(4, None).is_err() && single(0, None).is_err());
        assert!(single(2, Some(vec![true, true])).is_err());
        let column = single(3, None).unwrap();
        let (ids, payloads) = (vec![1.into()], Vec::new());
        let columns = PointColumns { ids, vectors: vec![column], payloads, first: 0 };
        assert_eq!(
            columns.check().unwrap_err().to_string(),
            "vectors.s: expected an entry for each id, got 2 for 1 ids"
        );
    }

    #[test]
    fn a_refused_point_is_named_by_its_place() {
        let values = [1.0, 2.0, f32::NAN, 1.0];
        let columns = PointColumns {
            ids: vec![1.into(), 2.into()],
            vectors: vec![
                VectorColumn::single("text", 2, MatrixValues::F32(&values), None).unwrap(),
            ],
            payloads: Vec::new(),
            first: 100,
        };
        let error = columns.fill(&mut PointBatchBuilder::new(&config())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "points[101].vectors.text: expected finite values, got NaN at position 0"
        );
    }
}
