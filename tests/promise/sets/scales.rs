//! Outliers, and data whose scale or place is not that of unit vectors.

use lanner::Metric;

use crate::promise::data::{Data, QUERIES, Recipe, UNSCALED};
use crate::promise::shapes::{Plane, blurred, normals, scaled};

pub fn recipes() -> Vec<Recipe> {
    const L2: &[Metric] = &[Metric::L2];
    const PRODUCTS: &[Metric] = &[Metric::Dot, Metric::Cosine];
    vec![
        Recipe::single("outlier-1e4", |data| outlier(data, 1e4)).metrics(UNSCALED),
        Recipe::single("outlier-1e10", |data| outlier(data, 1e10)).metrics(L2).large(),
        Recipe::single("outlier-1e10-products", |data| outlier(data, 1e10))
            .metrics(PRODUCTS)
            .large(),
        Recipe::single("outlier-1e17", |data| outlier(data, 1e17)).metrics(UNSCALED).large(),
        Recipe::single("outlier-healed", outlier_healed).metrics(UNSCALED).central().large(),
        Recipe::single("outliers-1%-1e6", outliers).large(),
        Recipe::single("norms-1e±3", norms),
        Recipe::single("dimension-x1000", one_dimension),
        Recipe::single("far-1e4", |data| far(data, 1e4, 1)).metrics(L2),
        Recipe::single("far-1e6", |data| far(data, 1e6, 1)).metrics(L2).large(),
        Recipe::single("far-1e6-no-structure", far_without_structure)
            .dimension(64)
            .metrics(L2)
            .large(),
        Recipe::single("far-1e5-all", |data| far(data, 1e5, 48)).metrics(L2).large(),
        Recipe::single("tiny-1e-12", |data| sized(data, 1e-12)),
        Recipe::single("huge-1e12", |data| sized(data, 1e12)).large(),
        Recipe::single("no-structure", no_structure).dimension(64),
    ]
}

/// Rows like `plain`'s.
fn ordinary(data: &mut Data, count: usize) -> Vec<Vec<f32>> {
    let dimension = data.dimension();
    let mut random = crate::common::Random::new(77);
    let plane = Plane::new(&mut random, dimension, 12, 0.3);
    plane.draws(&mut data.random, count)
}

/// A row whose only element is so large.
fn bad_row(data: &Data, magnitude: f32) -> Vec<f32> {
    let mut row = vec![0.0; data.dimension()];
    row[0] = magnitude;
    row
}

fn ask_own(data: &mut Data) {
    let queries = ordinary(data, QUERIES);
    data.ask("own", &queries);
}

fn outlier(data: &mut Data, magnitude: f32) {
    let mut rows = ordinary(data, data.wanted);
    rows[data.wanted / 2] = bad_row(data, magnitude);
    data.put_all(&rows);
    ask_own(data);
}

/// The bad row is replaced by a good one, and as many good rows come after it.
fn outlier_healed(data: &mut Data) {
    let mut rows = ordinary(data, data.wanted);
    let good = std::mem::replace(&mut rows[700], bad_row(data, 1e10));
    data.put_all(&rows[..data.wanted / 2]);
    data.seal();
    data.replace(700, &good);
    data.put_all(&rows[data.wanted / 2..]);
    ask_own(data);
}

fn outliers(data: &mut Data) {
    let mut rows = ordinary(data, data.wanted);
    for row in rows.iter_mut().step_by(100) {
        *row = scaled(row, 1e6);
    }
    data.put_all(&rows);
    ask_own(data);
}

/// Norms from a thousandth to a thousand, evenly by their logarithm.
fn norms(data: &mut Data) {
    let spread = |data: &mut Data, rows: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        let mut scale = |row: &Vec<f32>| scaled(row, 10_f32.powf(3.0 * data.random.float()));
        rows.iter().map(&mut scale).collect()
    };
    let rows = ordinary(data, data.wanted);
    let rows = spread(data, rows);
    data.put_all(&rows);
    let queries = ordinary(data, QUERIES);
    let queries = spread(data, queries);
    data.ask("same-norms", &queries);
    ask_own(data);
}

fn one_dimension(data: &mut Data) {
    let stretch = |mut rows: Vec<Vec<f32>>| {
        rows.iter_mut().for_each(|row| row[5] *= 1000.0);
        rows
    };
    let rows = stretch(ordinary(data, data.wanted));
    data.put_all(&rows);
    let queries = stretch(ordinary(data, QUERIES));
    data.ask("own", &queries);
    ask_near(data, &rows);
}

/// Queries a little beside rows.
fn ask_near(data: &mut Data, rows: &[Vec<f32>]) {
    let chosen = rows.iter().step_by(rows.len() / QUERIES).take(QUERIES);
    let queries: Vec<Vec<f32>> = chosen.map(|row| blurred(&mut data.random, row, 0.1)).collect();
    data.ask("near", &queries);
}

/// Adds so much to the first elements.
fn moved(mut rows: Vec<Vec<f32>>, distance: f32, dimensions: usize) -> Vec<Vec<f32>> {
    for row in &mut rows {
        row[..dimensions].iter_mut().for_each(|x| *x += distance);
    }
    rows
}

fn far(data: &mut Data, distance: f32, dimensions: usize) {
    let rows = moved(ordinary(data, data.wanted), distance, dimensions);
    data.put_all(&rows);
    let queries = moved(ordinary(data, QUERIES), distance, dimensions);
    data.ask("own", &queries);
}

fn far_without_structure(data: &mut Data) {
    let dimension = data.dimension();
    let mut draw = |count| moved(normals(&mut data.random, dimension, count), 1e6, 1);
    let (rows, queries) = (draw(data.wanted), draw(QUERIES));
    data.put_all(&rows);
    data.ask("own", &queries);
}

fn sized(data: &mut Data, factor: f32) {
    let resize = |rows: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        rows.iter().map(|row| scaled(row, factor)).collect()
    };
    let rows = resize(ordinary(data, data.wanted));
    data.put_all(&rows);
    let queries = resize(ordinary(data, QUERIES));
    data.ask("own", &queries);
}

fn no_structure(data: &mut Data) {
    let dimension = data.dimension();
    let rows = normals(&mut data.random, dimension, data.wanted);
    data.put_all(&rows);
    let queries = normals(&mut data.random, dimension, QUERIES);
    data.ask("own", &queries);
    ask_near(data, &rows);
}
