//! What the scenario tests share: seeded data and the exact oracle.
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod clusters;
pub mod disk;
pub mod filters;
pub mod images;
pub mod texts;
pub mod words;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use lanner::{Metric, MultiVector, Point, PointId, QueryResponse, Vector};
use lanner_eval::NpyMatrix;

/// SplitMix64 (Steele, Lea, Flood 2014): a small generator with a printable seed.
pub struct Random(u64);

impl Random {
    /// Starts from a seed, and prints it.
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Uniform in −1..1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// Of the standard normal distribution (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        let (radius, angle) = (uniform(), uniform());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    }

    pub fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.float()).collect()
    }

    pub fn multi(&mut self, dimension: usize, rows: usize) -> MultiVector {
        MultiVector::from_flat(dimension, self.vector(dimension * rows)).unwrap()
    }
}

fn rows(vector: &Vector) -> Vec<Vec<f64>> {
    let wide = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
    match vector {
        Vector::Single(values) => vec![wide(values)],
        Vector::Multi(multi) => multi.rows().map(wide).collect(),
        Vector::Sparse(_) => Vec::new(),
    }
}

/// The similarity in double precision, straight from the definition.
pub fn similarity(metric: Metric, query: &Vector, document: &Vector) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let pair = |q: &[f64], x: &[f64]| match metric {
        Metric::Dot => dot(q, x),
        Metric::Cosine => dot(q, x) / (dot(q, q) * dot(x, x)).sqrt(),
        Metric::L2 => -q.iter().zip(x).map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
    };
    if let (Vector::Sparse(query), Vector::Sparse(document)) = (query, document) {
        let value = |entry: &lanner::Entry| {
            let found = document.entries().binary_search_by_key(&entry.index, |e| e.index).ok()?;
            Some(f64::from(entry.value) * f64::from(document.entries()[found].value))
        };
        return query.entries().iter().filter_map(value).sum();
    }
    let document = rows(document);
    rows(query)
        .iter()
        .map(|q| document.iter().map(|x| pair(q, x)).fold(f64::NEG_INFINITY, f64::max))
        .sum()
}

/// The exact top k over all points, best first, by score and then by smaller id.
pub fn exact_top_k(
    points: &BTreeMap<PointId, Point>,
    field: &str,
    metric: Metric,
    query: &Vector,
    k: usize,
) -> Vec<(PointId, f64)> {
    let mut scored: Vec<(PointId, f64)> = points
        .values()
        .filter_map(|point| {
            let vector = point.vectors.get(field)?;
            Some((point.id.clone(), similarity(metric, query, vector)))
        })
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    scored.truncate(k);
    scored
}

/// The ids of the hits, best first.
pub fn ids(answer: &QueryResponse) -> Vec<PointId> {
    answer.hits.iter().map(|hit| hit.point.id.clone()).collect()
}

/// All rows of a matrix in a file of numpy.
pub fn matrix(path: &Path) -> Vec<Vec<f32>> {
    let mut matrix = NpyMatrix::open(path).unwrap();
    let (mut values, columns) = (Vec::new(), matrix.cols());
    matrix.read_rows(0..matrix.rows(), &mut values).unwrap();
    values.chunks_exact(columns).map(<[f32]>::to_vec).collect()
}

/// The folder of real data beside this checkout. Without it the test is skipped, says so past the
/// capture of the test harness, and is counted: `make test` prints the number from the file that
/// `LANNER_SKIPPED` names.
///
/// # Panics
/// If the data is missing and `LANNER_REQUIRE_DATA=1`, as in CI.
pub fn shared_data(folder: &str) -> Option<PathBuf> {
    // Beside the workspace, in which this may be compiled for any package.
    let parents = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut places = parents.map(|parent| parent.join("shared/data").join(folder));
    let found = places.find(|place| place.is_dir());
    if found.is_some() {
        return found;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let required = std::env::var_os("LANNER_REQUIRE_DATA").is_some_and(|value| value == "1");
    assert!(!required, "{test} needs ../shared/data/{folder}, and LANNER_REQUIRE_DATA is set");
    let message = format!("SKIPPED {test}: ../shared/data/{folder} is missing");
    // Unlike `eprintln!`, this is not captured when the test passes.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{message}").unwrap();
    if let Some(file) = std::env::var_os("LANNER_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{message}").unwrap();
    }
    None
}
