//! The sample that calibrates an index: given queries not used to train the codes, recent queries,
//! and rows of the segment.

use std::collections::{HashMap, HashSet};

use super::request::{Query, QueryRequest};
use crate::error::Result;
use crate::field::FieldCodes;
use crate::index::{LEAST_OF_GROUP, alike, apart, directed, far_query};
use crate::model::{MultiVector, PreparedQueries, Vector, VectorField, VectorKind, prepare_vector};
use crate::quantization::{digest, hash, is_held_out, stratified};
use crate::segment::SegmentReader;

/// Maximum number of given and recent queries; fewer for multi-vectors.
const QUERIES: u64 = 768;
const MULTI_QUERIES: u64 = 192;
/// A smaller number of queries is filled up with rows, which then count as queries.
const LEAST_QUERIES: usize = 128;
/// Segments with fewer rows get half as many sample queries.
const SMALL: usize = 4_000;
/// Number of multi-vector queries synthesised far from the rows (for single vectors, half the size
/// of the sample).
const MULTI_FAR: u64 = 64;
/// Rows added to a sufficient number of queries: they do not count as queries, but guard against
/// losing such rows.
const ROWS_BESIDE: u64 = 192;
/// If the codes have a larger error for one kind of rows, up to this many rows of that kind are
/// added, found among `LOOKED_AT` rows.
const LOSSY_BESIDE: u64 = 48;
const LOOKED_AT: u64 = 768;
/// Vectors of a multi-vector row that form a query. One in `SHORT` rows gives a query of one
/// vector: short queries are harder for encodings, and form a group of their own.
const QUERY_VECTORS: u64 = 4;
const SHORT: usize = 4;
/// Numbers of groups of similar queries, coarse and fine; each group has to reach the target.
const GROUPS: [usize; 2] = [3, 8];
/// Groups of rows are numbered from here, above all groups of queries.
const BEHIND: usize = 64;
const SEED: u64 = 7;

/// The sample that calibrates an index.
#[derive(Default)]
pub struct CalibrationSample {
    pub(super) requests: Vec<QueryRequest>,
    /// For each query, the row it was taken from, if any; hidden from its own search.
    pub(super) hidden: Vec<Option<u32>>,
    /// For each query, its groups of similar queries.
    pub(super) groups: Vec<[usize; 2]>,
    /// For each query, whether it represents the expected queries.
    pub(super) counts: Vec<bool>,
    /// Queries from this index on are synthesised far from the rows.
    pub(super) far: usize,
    pub(super) from_user: bool,
}

/// The known queries of a field.
#[derive(Default)]
pub struct KnownQueries {
    /// Given by the user; some of them train the codes.
    pub given: Option<PreparedQueries>,
    /// Recently executed queries.
    pub recent: Option<PreparedQueries>,
}

impl CalibrationSample {
    /// Samples the known queries, except those used for training, and the listed rows of the
    /// segment. A row of a multi field contributes a few of its vectors.
    ///
    /// # Errors
    /// If the stored queries are incomplete, or an id cannot be read.
    pub fn new(
        name: &str,
        (index, field): (usize, &VectorField),
        (reader, rows): (&dyn SegmentReader, &[u32]),
        known: &KnownQueries,
    ) -> Result<Self> {
        let most = match field.kind {
            VectorKind::Single if rows.len() < SMALL => QUERIES / 2,
            VectorKind::Single | VectorKind::Sparse => QUERIES,
            VectorKind::Multi => MULTI_QUERIES,
        };
        let mut vectors: Vec<Vector> = Vec::new();
        let sources = [(&known.given, true), (&known.recent, false)];
        let sources =
            sources.into_iter().filter_map(|(queries, given)| Some((queries.as_ref()?, given)));
        for (queries, given) in sources.clone() {
            let usable: Vec<usize> =
                (0..queries.len()).filter(|&query| !given || is_held_out(query)).collect();
            for chosen in
                stratified(usable.len() as u64, most / sources.clone().count() as u64, SEED)
            {
                let values = queries.get(usable[chosen as usize], field.dimension).to_vec();
                vectors.push(match field.kind {
                    VectorKind::Single | VectorKind::Sparse => values.into(),
                    VectorKind::Multi => MultiVector::from_flat(field.dimension, values)?.into(),
                });
            }
        }
        let queries = vectors.len();
        let enough = queries >= LEAST_QUERIES.min(most as usize);
        let chosen = match enough {
            true => rows_beside((index, field), (reader, rows), ROWS_BESIDE.min(most / 4)),
            false => stratified(rows.len() as u64, most - queries as u64, SEED),
        };
        let mut sample = Self { hidden: vec![None; queries], from_user: enough, ..Self::default() };
        // Duplicate rows count as one query.
        let mut known = HashSet::new();
        for chosen in chosen {
            let row = rows[chosen as usize];
            let Some(vector) = reader.field(index).vector(row) else { continue };
            if !known.insert(digest(vector.as_ref().values())) {
                continue;
            }
            vectors.push(match vector {
                Vector::Multi(vectors) => {
                    let short = !enough && sample.hidden.len().is_multiple_of(SHORT);
                    let count = if short { 1 } else { QUERY_VECTORS };
                    some_vectors(&vectors, count)?.into()
                }
                single => single,
            });
            sample.hidden.push(Some(row));
        }
        sample.far = vectors.len();
        let far = if field.kind == VectorKind::Single { most / 2 } else { MULTI_FAR };
        for (number, chosen) in (0..).zip(stratified(rows.len() as u64, far, SEED + 1)) {
            let other = hash(SEED, number) % rows.len() as u64;
            let pair = (rows[chosen as usize], rows[other as usize]);
            vectors.extend(made_up((index, field), reader, pair, number)?);
            sample.hidden.resize(vectors.len(), None);
        }
        sample.counts = (0..vectors.len())
            .map(|query| query < queries || !enough && query < sample.far)
            .collect();
        let levels = GROUPS.map(|groups| group(&vectors, queries, groups));
        sample.groups =
            (0..vectors.len()).map(|query| levels.each_ref().map(|l| l[query])).collect();
        let request = |vector: Vector| QueryRequest {
            query: Query::Vector(vector),
            ..QueryRequest::new(name, Vec::new())
        };
        // How it is scored with codes depends on the index under calibration.
        let exact = |vector| request(vector).exact();
        sample.requests = vectors.into_iter().map(exact).collect();
        Ok(sample)
    }

    /// For each query, the rows hidden from its search: the row it was taken from, and all rows
    /// with the same code.
    pub(super) fn copies_of_hidden(&self, codes: &FieldCodes) -> Vec<Vec<u32>> {
        let mut hidden = vec![Vec::new(); self.hidden.len()];
        let mut wanted: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (query, row) in self.hidden.iter().enumerate() {
            if let Some(row) = row {
                wanted.entry(codes.record(*row)).or_default().push(query);
            }
        }
        if wanted.is_empty() {
            return hidden;
        }
        for row in 0..codes.rows() {
            for &query in wanted.get(codes.record(row)).into_iter().flatten() {
                hidden[query].push(row);
            }
        }
        hidden
    }
}

/// Positions of some of the listed rows: evenly spaced, plus some of the kind with the larger
/// coding error.
fn rows_beside(
    (index, field): (usize, &VectorField),
    (reader, rows): (&dyn SegmentReader, &[u32]),
    wanted: u64,
) -> Vec<u64> {
    let mut chosen = stratified(rows.len() as u64, wanted, SEED);
    let codes = reader.field(index).codes().filter(|codes| !codes.is_multi());
    let Some(codec) = codes.and_then(FieldCodes::codec) else { return chosen };
    let (mut looked_at, mut values) = (Vec::new(), Vec::new());
    for position in stratified(rows.len() as u64, LOOKED_AT, SEED) {
        let Some(vector) = reader.field(index).vector(rows[position as usize]) else { continue };
        let Ok(prepared) = prepare_vector(field, vector.as_ref()) else { continue };
        values.extend_from_slice(&prepared);
        looked_at.push(position);
    }
    let losses = codec.losses(&values);
    let Some(from) = apart(&losses, LEAST_OF_GROUP) else { return chosen };
    let lossy = looked_at.into_iter().zip(losses).filter(|(_, loss)| *loss >= from);
    let lossy: Vec<u64> = lossy.map(|(position, _)| position).collect();
    let some = stratified(lossy.len() as u64, LOSSY_BESIDE, SEED);
    chosen.extend(some.into_iter().map(|at| lossy[at as usize]));
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// A [query far](far_query) from the rows, synthesised from two of them; for a multi field, from a
/// few of their vectors.
fn made_up(
    (index, field): (usize, &VectorField),
    reader: &dyn SegmentReader,
    (row, other): (u32, u32),
    number: u64,
) -> Result<Option<Vector>> {
    let Some(row) = reader.field(index).vector(row) else { return Ok(None) };
    let other = reader.field(index).vector(other);
    let other = other.as_ref().map_or(&[][..], |other| other.as_ref().values());
    match &row {
        Vector::Single(row) => Ok(far_query(field, row, other, number).map(Vector::from)),
        Vector::Multi(row) => {
            let row = some_vectors(row, QUERY_VECTORS)?;
            let far = far_query(field, row.values(), other, number);
            let far = far.map(|far| MultiVector::from_flat(field.dimension, far));
            Ok(far.transpose()?.map(Vector::from))
        }
        Vector::Sparse(_) => Ok(None),
    }
}

fn some_vectors(vectors: &MultiVector, count: u64) -> Result<MultiVector> {
    let chosen = stratified(vectors.rows().len() as u64, count, SEED);
    let row = |index: u64| &vectors.values()[index as usize * vectors.dimension()..];
    let row = |index: u64| row(index)[..vectors.dimension()].iter().copied();
    let values = chosen.into_iter().flat_map(row).collect();
    Ok(MultiVector::from_flat(vectors.dimension(), values)?)
}

/// Groups similar vectors: single vectors by [direction](alike), multi-vectors by their number of
/// vectors. The rows after the first `queries` vectors are grouped separately.
fn group(vectors: &[Vector], queries: usize, groups: usize) -> Vec<usize> {
    let (queries, rows) = vectors.split_at(queries);
    let of = |vectors: &[Vector]| {
        // A few vectors form one group.
        let groups = if vectors.len() < LEAST_QUERIES { 1 } else { groups };
        let single = |vector: &Vector| match vector {
            Vector::Single(values) => Some(directed(values)),
            Vector::Multi(_) | Vector::Sparse(_) => None,
        };
        let points: Option<Vec<Vec<f32>>> = vectors.iter().map(single).collect();
        points.map_or_else(|| vectors.iter().map(length_group).collect(), |p| alike(&p, groups))
    };
    let of_rows = of(rows).into_iter().map(|group| BEHIND + group);
    of(queries).into_iter().chain(of_rows).collect()
}

/// Groups lengths within a factor of two.
fn length_group(vector: &Vector) -> usize {
    match vector {
        Vector::Single(_) | Vector::Sparse(_) => 0,
        Vector::Multi(vectors) => vectors.rows().len().max(1).ilog2() as usize,
    }
}
