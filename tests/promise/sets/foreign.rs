//! Queries that are not like the rows.

use crate::promise::data::{Data, QUERIES, Recipe};
use crate::promise::shapes::{Plane, normals, one_hot, scaled};

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::single("low-rank", low_rank),
        Recipe::single("low-rank-cone", cone),
        Recipe::single("decaying", decaying).dimension(64),
        Recipe::single("words", words).dimension(64),
    ]
}

/// Opposed to rows, on another plane, single elements, and of other norms.
fn ask_foreign(data: &mut Data, own: &[Vec<f32>]) {
    let dimension = data.dimension();
    data.ask("own", own);
    let opposed: Vec<Vec<f32>> = own.iter().map(|query| scaled(query, -1.0)).collect();
    data.ask("opposed", &opposed);
    let other = Plane::new(&mut data.random, dimension, 6, 0.01);
    let other = other.draws(&mut data.random, QUERIES);
    data.ask("other-plane", &other);
    let words: Vec<Vec<f32>> = (0..QUERIES).map(|query| one_hot(dimension, query)).collect();
    data.ask("one-hot", &words);
    for (name, factor) in [("norm-x1000", 1e3), ("norm-/1000", 1e-3)] {
        let scaled: Vec<Vec<f32>> = own.iter().map(|query| scaled(query, factor)).collect();
        data.ask(name, &scaled);
    }
}

/// Nearly all of the energy lies in four of the dimensions.
fn low_rank(data: &mut Data) {
    let dimension = data.dimension();
    let plane = Plane::new(&mut data.random, dimension, 4, 0.02);
    let rows = plane.draws(&mut data.random, data.wanted);
    data.put_all(&rows);
    let own = plane.draws(&mut data.random, QUERIES);
    ask_foreign(data, &own);
}

/// The same, all on one side of the origin, as the embeddings of many models are.
fn cone(data: &mut Data) {
    let dimension = data.dimension();
    let plane = Plane::new(&mut data.random, dimension, 4, 0.02).away(&mut data.random, 2.0);
    let rows = plane.draws(&mut data.random, data.wanted);
    data.put_all(&rows);
    let own = plane.draws(&mut data.random, QUERIES);
    ask_foreign(data, &own);
}

/// Elements that become smaller and smaller.
fn decaying(data: &mut Data) {
    let dimension = data.dimension();
    let mut draw = |count: usize| {
        let mut rows = normals(&mut data.random, dimension, count);
        for row in &mut rows {
            row.iter_mut().enumerate().for_each(|(i, x)| *x *= 0.93_f32.powi(i as i32));
        }
        rows
    };
    let (rows, own) = (draw(data.wanted), draw(QUERIES));
    data.put_all(&rows);
    ask_foreign(data, &own);
}

/// Texts are sums of a few directions, of which the first are common and the last rare; queries
/// are texts, or a single direction.
fn words(data: &mut Data) {
    const WORDS: usize = 400;
    let dimension = data.dimension();
    let words = normals(&mut data.random, dimension, WORDS);
    let text = |data: &mut Data, length: usize| {
        let mut text = vec![0.0_f32; dimension];
        for _ in 0..length {
            let rarity = (data.random.float() * 0.5 + 0.5).powi(2);
            let word = &words[(rarity * WORDS as f32) as usize % WORDS];
            text.iter_mut().zip(word).for_each(|(x, w)| *x += w);
        }
        scaled(&text, 1.0 / (length as f32).sqrt())
    };
    for _ in 0..data.wanted {
        let length = 3 + data.random.below(10);
        let row = text(data, length);
        data.put(&row);
    }
    let texts: Vec<Vec<f32>> = (0..QUERIES).map(|_| text(data, 6)).collect();
    data.ask("texts", &texts);
    let single: Vec<Vec<f32>> = (0..QUERIES).map(|query| words[2 * query].clone()).collect();
    data.ask("words", &single);
}
