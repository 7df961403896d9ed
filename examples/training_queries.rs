//! Queries that do not look like the rows, before and after an index has learned from a sample of them:
//! `cargo run --release --example training_queries` (half a minute).
//!
//! The vectors are generated: rows differ from each other in some directions, and queries in others,
//! as questions do from the passages that answer them. docs/indexes.md has measurements of real ones.

use std::time::Instant;

use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Metric, MultiVector, Point, PointId,
    QueryRequest, VectorField,
};

const DIMENSION: usize = 96;
/// Directions in which vectors differ, but for noise.
const PARTS: usize = 20;
const ROWS: u64 = 30_000;
const SAMPLE: u64 = 600;
const ASKED: u64 = 400;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // The second collection has to learn from the sample alone.
    let database = DatabaseOptions::new().learn_from_queries(false).open(folder.path())?;
    let sample: Vec<Vec<f32>> = (0..SAMPLE).map(query).collect();
    let asked: Vec<Vec<f32>> = (SAMPLE..SAMPLE + ASKED).map(query).collect();

    println!(
        "{:<28} {:>6} {:>7} {:>12} {:>9} {:>8}",
        "", "target", "recall", "estimated", "scored", "µs"
    );
    for (name, training) in [("unknown", &[][..]), ("trained", &sample)] {
        let collection = fill(&database, name, training)?;
        for target in [0.9, 0.95, 0.99] {
            let title = if training.is_empty() { "no sample" } else { "600 training queries" };
            print!("{title:<28} {target:>6}");
            measure(&collection, &asked, target)?;
        }
    }
    Ok(())
}

/// A collection of the rows whose maps, graph and calibration know these queries, if there are any.
fn fill(database: &Database, name: &str, training: &[Vec<f32>]) -> lanner::Result<Collection> {
    let field = VectorField::single(DIMENSION, Metric::Cosine);
    let field = field.compressed("auto".parse()?).indexed("graph".parse()?);
    let config = CollectionConfig::new().with_field("text", field);
    let collection = database.create_collection(name, config)?;
    if !training.is_empty() {
        collection.set_training_queries("text", MultiVector::from_rows(training)?)?;
    }
    let points = (0..ROWS).map(|id| Point::new(id).with_vector("text", row(id)));
    collection.upsert(points)?;
    collection.optimize()?;
    Ok(collection)
}

fn measure(collection: &Collection, asked: &[Vec<f32>], target: f32) -> lanner::Result<()> {
    let (mut hits, mut scored, mut estimated, mut micros) = (0, 0, 0.0, 0.0);
    for query in asked {
        let request = QueryRequest::new("text", query.clone());
        let exact = collection.query(&request.clone().exact())?;
        let exact: Vec<&PointId> = exact.hits.iter().map(|hit| &hit.point.id).collect();
        let request = request.target_recall(target).explain();
        let start = Instant::now();
        let answer = collection.query(&request)?;
        micros += start.elapsed().as_secs_f64() * 1e6;
        hits += answer.hits.iter().filter(|hit| exact.contains(&&hit.point.id)).count();
        estimated += answer.estimated_recall.unwrap_or_default();
        let stages = answer.explanation.map(|explanation| explanation.stages).unwrap_or_default();
        let search = stages.iter().filter(|stage| stage.name != "rerank");
        scored += search.map(|stage| stage.rows).sum::<u64>();
    }
    let count = asked.len();
    println!(
        " {:>7.3} {:>12.3} {:>9} {:>8.0}",
        hits as f64 / (10 * count) as f64,
        estimated / count as f32,
        scored / count as u64,
        micros / count as f64
    );
    Ok(())
}

/// Rows differ most in the last of a few directions.
fn row(number: u64) -> Vec<f32> {
    mixed(number, |part| 0.9_f32.powi((PARTS - part) as i32))
}

/// Queries differ most in the first of them.
fn query(number: u64) -> Vec<f32> {
    mixed(ROWS + number, |part| 0.9_f32.powi(part as i32))
}

fn mixed(number: u64, scale: impl Fn(usize) -> f32) -> Vec<f32> {
    let parts: Vec<f32> = (0..PARTS).map(|part| scale(part) * normal(1, number, part)).collect();
    let element = |at: usize| -> f32 {
        let mixed = parts.iter().zip(0..).map(|(part, direction)| part * normal(2, direction, at));
        mixed.sum::<f32>() + 0.1 * normal(3, number, at)
    };
    (0..DIMENSION).map(element).collect()
}

/// Nearly normal: the sum of four uniform numbers.
fn normal(seed: u64, row: u64, at: usize) -> f32 {
    let mut z = (seed << 40 ^ row).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at as u64) << 48;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let parts = (0..4).map(|part| (z >> (16 * part) & 0xffff) as f32 / 65_536.0 - 0.5);
    parts.sum::<f32>() * 3.0_f32.sqrt()
}
