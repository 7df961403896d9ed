//! Rows that are equal, or nearly.

use crate::promise::data::{Data, QUERIES, Recipe};
use crate::promise::shapes::{Plane, blurred, normals};

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::single("duplicates-50x60", |data| copies(data, 50, 60, 0.0)).dimension(32),
        Recipe::single("duplicates-100x200", |data| copies(data, 100, 200, 0.0))
            .dimension(32)
            .rows([0, 20_000]),
        Recipe::single("duplicates-near", |data| copies(data, 60, data.wanted / 60, 1e-4))
            .dimension(32),
        Recipe::single("boilerplate-300", boilerplate),
        Recipe::single("all-equal", all_equal).dimension(16).rows([1_500, 3_000]),
    ]
}

/// So many distinct vectors so many times, in random order.
fn copies(data: &mut Data, distinct: usize, times: usize, noise: f32) {
    let dimension = data.dimension();
    let vectors = normals(&mut data.random, dimension, distinct);
    let mut order: Vec<usize> = (0..distinct * times).map(|number| number % distinct).collect();
    for end in (1..order.len()).rev() {
        order.swap(end, data.random.below(end + 1));
    }
    for vector in order {
        let row = blurred(&mut data.random, &vectors[vector], noise);
        data.put_in(vector, &row);
    }
    let other = normals(&mut data.random, dimension, QUERIES);
    data.ask("other", &other);
    let near: Vec<Vec<f32>> = (0..QUERIES)
        .map(|query| blurred(&mut data.random, &vectors[query % distinct], 0.3))
        .collect();
    data.ask("near", &near);
}

/// One passage 300 times among real ones.
fn boilerplate(data: &mut Data) {
    let dimension = data.dimension();
    let plane = Plane::new(&mut data.random, dimension, 12, 0.3);
    let passage = plane.draw(&mut data.random);
    let period = data.wanted / 300;
    for number in 0..data.wanted {
        let row = match number % period {
            0 => passage.clone(),
            _ => plane.draw(&mut data.random),
        };
        data.put(&row);
    }
    let own = plane.draws(&mut data.random, QUERIES);
    data.ask("own", &own);
    // As far from the passage as half of the way to a row.
    let toward: Vec<Vec<f32>> = own
        .iter()
        .map(|query| query.iter().zip(&passage).map(|(q, p)| 0.5 * (q + p)).collect())
        .collect();
    data.ask("toward", &toward);
}

fn all_equal(data: &mut Data) {
    let dimension = data.dimension();
    let row = normals(&mut data.random, dimension, 1).remove(0);
    for _ in 0..data.wanted {
        data.put(&row);
    }
    let queries = normals(&mut data.random, dimension, QUERIES);
    data.ask("other", &queries);
}
