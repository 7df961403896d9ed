//! A data set: what is written, in which order, and what is asked.

use std::collections::BTreeMap;

use lanner::{Bounds, Filter, Metric, MultiVector, Payload, Vector, VectorKind};

use crate::common::Random;

/// Queries of a set: enough that a recall at 1 has a standard error of 0.01 at 0.98.
pub const QUERIES: usize = 200;

/// Vectors of one dimension, or several of them a row.
pub struct Rows {
    pub dimension: usize,
    values: Vec<f32>,
    ends: Vec<usize>,
}

impl Rows {
    pub fn new(dimension: usize) -> Self {
        Self { dimension, values: Vec::new(), ends: Vec::new() }
    }

    pub fn push(&mut self, row: &[f32]) -> u32 {
        assert!(!row.is_empty() && row.len().is_multiple_of(self.dimension));
        self.values.extend_from_slice(row);
        self.ends.push(self.values.len());
        self.ends.len() as u32 - 1
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The elements of a row, shape [tokens, dimension].
    pub fn get(&self, row: usize) -> &[f32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start..self.ends[row]]
    }

    pub fn vector(&self, row: usize, kind: VectorKind) -> Vector {
        let values = self.get(row).to_vec();
        if kind == VectorKind::Single {
            return values.into();
        }
        MultiVector::from_flat(self.dimension, values).unwrap().into()
    }
}

/// What the payload of a row says.
#[derive(Clone, Copy, Default)]
pub struct Facts {
    pub cluster: i64,
    /// Position in the order of a coordinate.
    pub rank: i64,
}

impl Facts {
    pub fn payload(self) -> Payload {
        let Self { cluster, rank } = self;
        Payload::parse(&format!("{{\"cluster\":{cluster},\"rank\":{rank}}}")).unwrap()
    }
}

/// A filter that goes with the query.
#[derive(Clone, Copy)]
pub enum Keep {
    All,
    Cluster(i64),
    NotCluster(i64),
    RankFrom(i64),
}

impl Keep {
    pub fn keeps(self, facts: Facts) -> bool {
        match self {
            Self::All => true,
            Self::Cluster(cluster) => facts.cluster == cluster,
            Self::NotCluster(cluster) => facts.cluster != cluster,
            Self::RankFrom(rank) => facts.rank >= rank,
        }
    }

    pub fn filter(self) -> Option<Filter> {
        match self {
            Self::All => None,
            Self::Cluster(cluster) => Some(Filter::eq("cluster", cluster)),
            Self::NotCluster(cluster) => Some(!Filter::eq("cluster", cluster)),
            Self::RankFrom(rank) => Some(Filter::range("rank", Bounds::new().gte(rank))),
        }
    }
}

/// A write, or a place where the segment in memory may be sealed.
#[derive(Clone, Copy)]
pub enum Write {
    Put { id: u32, row: u32 },
    Delete { id: u32 },
    Seal,
}

/// Queries of one kind.
pub struct Questions {
    pub name: &'static str,
    pub rows: Rows,
    /// The filter of each.
    pub keep: Vec<Keep>,
}

pub struct Data {
    pub random: Random,
    pub kind: VectorKind,
    /// All vectors that are ever written, and their payloads.
    pub rows: Rows,
    pub facts: Vec<Facts>,
    /// The writes up to where segments are sealed, indexed or merged.
    pub before: Vec<Write>,
    /// The writes after that.
    pub after: Vec<Write>,
    pub questions: Vec<Questions>,
    /// Number of rows that the grid would like.
    pub wanted: usize,
    settled: bool,
    ids: u32,
}

impl Data {
    pub fn new(kind: VectorKind, dimension: usize, wanted: usize, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            kind,
            rows: Rows::new(dimension),
            facts: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            questions: Vec::new(),
            wanted,
            settled: false,
            ids: 0,
        }
    }

    pub fn dimension(&self) -> usize {
        self.rows.dimension
    }

    fn write(&mut self, write: Write) {
        let writes = if self.settled { &mut self.after } else { &mut self.before };
        writes.push(write);
    }

    /// Writes a new point.
    pub fn put(&mut self, row: &[f32]) -> u32 {
        self.put_in(0, row)
    }

    /// Writes a new point of a cluster.
    pub fn put_in(&mut self, cluster: usize, row: &[f32]) -> u32 {
        let id = self.ids;
        self.ids += 1;
        self.replace_in(cluster, id, row);
        id
    }

    pub fn replace(&mut self, id: u32, row: &[f32]) {
        self.replace_in(0, id, row);
    }

    fn replace_in(&mut self, cluster: usize, id: u32, row: &[f32]) {
        let row = self.rows.push(row);
        self.facts.push(Facts { cluster: cluster as i64, rank: 0 });
        self.write(Write::Put { id, row });
    }

    pub fn put_all(&mut self, rows: &[Vec<f32>]) {
        for row in rows {
            self.put(row);
        }
    }

    pub fn delete(&mut self, id: u32) {
        self.write(Write::Delete { id });
    }

    /// Some states seal the segment in memory here.
    pub fn seal(&mut self) {
        self.write(Write::Seal);
    }

    /// What is written from here on comes after sealing, indexing or merging.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// The row of each point in the end.
    pub fn live(&self) -> BTreeMap<u32, u32> {
        let mut live = BTreeMap::new();
        for write in self.before.iter().chain(&self.after) {
            match *write {
                Write::Put { id, row } => live.insert(id, row),
                Write::Delete { id } => live.remove(&id),
                Write::Seal => None,
            };
        }
        live
    }

    /// Sets the rank of all rows by the value of a coordinate.
    pub fn rank_by(&mut self, coordinate: usize) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| {
            self.rows.get(a)[coordinate].total_cmp(&self.rows.get(b)[coordinate])
        });
        for (rank, row) in order.into_iter().enumerate() {
            self.facts[row].rank = rank as i64;
        }
    }

    /// Asks these queries.
    pub fn ask(&mut self, name: &'static str, queries: &[Vec<f32>]) {
        let all = queries.iter().map(|query| (query.clone(), Keep::All)).collect::<Vec<_>>();
        self.ask_where(name, &all);
    }

    /// Asks queries with filters.
    pub fn ask_where(&mut self, name: &'static str, queries: &[(Vec<f32>, Keep)]) {
        let mut rows = Rows::new(self.dimension());
        for (query, _) in queries {
            rows.push(query);
        }
        let keep = queries.iter().map(|&(_, keep)| keep).collect();
        self.questions.push(Questions { name, rows, keep });
    }
}

/// How a data set is made.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub name: &'static str,
    pub kind: VectorKind,
    pub dimension: usize,
    pub metrics: &'static [Metric],
    /// Number of rows of the coarse grid (0: the data set is not part of it) and of the whole one.
    pub rows: [usize; 2],
    /// Whether the coarse grid has an index and a merge of it, instead of one of them.
    pub is_central: bool,
    /// Whether `f16` cannot hold its values: fields that store it refuse them.
    pub is_large: bool,
    pub make: fn(&mut Data),
}

pub const ALL: &[Metric] = &[Metric::L2, Metric::Cosine, Metric::Dot];
pub const UNSCALED: &[Metric] = &[Metric::L2, Metric::Dot];

impl Recipe {
    pub fn single(name: &'static str, make: fn(&mut Data)) -> Self {
        Self {
            name,
            kind: VectorKind::Single,
            dimension: 48,
            metrics: ALL,
            rows: [2_600, 8_000],
            is_central: false,
            is_large: false,
            make,
        }
    }

    pub fn multi(name: &'static str, make: fn(&mut Data)) -> Self {
        Self {
            kind: VectorKind::Multi,
            dimension: 16,
            metrics: &[Metric::Dot, Metric::Cosine],
            rows: [1_200, 3_000],
            ..Self::single(name, make)
        }
    }

    pub fn dimension(self, dimension: usize) -> Self {
        Self { dimension, ..self }
    }

    pub fn metrics(self, metrics: &'static [Metric]) -> Self {
        Self { metrics, ..self }
    }

    pub fn rows(self, rows: [usize; 2]) -> Self {
        Self { rows, ..self }
    }

    pub fn central(self) -> Self {
        Self { is_central: true, ..self }
    }

    pub fn large(self) -> Self {
        Self { is_large: true, ..self }
    }

    /// Follows from the name (FNV-1a), so that new data sets change no other.
    pub fn seed(&self) -> u64 {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    }

    pub fn data(&self, long: bool) -> Data {
        let mut data =
            Data::new(self.kind, self.dimension, self.rows[usize::from(long)], self.seed());
        (self.make)(&mut data);
        assert!(!data.questions.is_empty(), "{} asks nothing", self.name);
        data
    }
}
