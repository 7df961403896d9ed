//! Orders of writes: sorted, rewritten, deleted.

use crate::promise::data::{Data, QUERIES, Recipe};
use crate::promise::shapes::{Groups, Plane};

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::single("sorted-coordinate", sorted_coordinate),
        Recipe::single("sorted-clusters", sorted_clusters),
        Recipe::single("updates", updates).rows([2_400, 6_000]),
        Recipe::single("deletes-60%", deletes).rows([4_000, 8_000]),
        Recipe::single("deletes-own-cluster", deletes_own).dimension(32).rows([3_000, 12_000]),
    ]
}

fn plane(data: &mut Data) -> Plane {
    let dimension = data.dimension();
    Plane::new(&mut data.random, dimension, 12, 0.3)
}

/// In three parts, by the value of an element.
fn sorted_coordinate(data: &mut Data) {
    let plane = plane(data);
    let mut rows = plane.draws(&mut data.random, data.wanted);
    rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
    for part in rows.chunks(data.wanted.div_ceil(2)) {
        data.put_all(part);
        data.seal();
    }
    let queries = plane.draws(&mut data.random, QUERIES);
    data.ask("own", &queries);
}

fn sorted_clusters(data: &mut Data) {
    let dimension = data.dimension();
    let groups = Groups::new(&mut data.random, 20, dimension, 0.5);
    for number in 0..data.wanted {
        if number == data.wanted / 2 {
            data.seal();
        }
        let group = number * 20 / data.wanted;
        let row = groups.near(&mut data.random, group);
        data.put_in(group, &row);
    }
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| groups.draw(&mut data.random).1).collect();
    data.ask("own", &queries);
}

/// Every point is replaced twice, and a fifth of them once more after everything is in its state;
/// by vectors of another kind.
fn updates(data: &mut Data) {
    let (first, second) = (plane(data), plane(data));
    let rows = first.draws(&mut data.random, data.wanted);
    data.put_all(&rows);
    data.seal();
    for id in (0..data.wanted as u32).rev() {
        let row = first.draw(&mut data.random);
        data.replace(id, &row);
    }
    data.seal();
    for id in 0..data.wanted as u32 {
        let plane = if id % 2 == 0 { &first } else { &second };
        let row = plane.draw(&mut data.random);
        data.replace(id, &row);
    }
    data.settle();
    for id in (0..data.wanted as u32).step_by(5) {
        let row = second.draw(&mut data.random);
        data.replace(id, &row);
    }
    let queries = first.draws(&mut data.random, QUERIES);
    data.ask("first", &queries);
    let queries = second.draws(&mut data.random, QUERIES);
    data.ask("second", &queries);
}

/// A fifth goes before, and half of the rest after everything is in its state.
fn deletes(data: &mut Data) {
    let plane = plane(data);
    let rows = plane.draws(&mut data.random, data.wanted);
    data.put_all(&rows);
    data.seal();
    let ids = 0..data.wanted as u32;
    ids.clone().filter(|id| id % 5 == 0).for_each(|id| data.delete(id));
    data.settle();
    ids.filter(|id| id % 5 != 0 && id % 2 == 0).for_each(|id| data.delete(id));
    let queries = plane.draws(&mut data.random, QUERIES);
    data.ask("own", &queries);
}

/// Queries lie where all points were deleted, which were too few for anything to be rewritten.
fn deletes_own(data: &mut Data) {
    const GROUPS: usize = 40;
    let dimension = data.dimension();
    let groups = Groups::new(&mut data.random, GROUPS, dimension, 0.3);
    for number in 0..data.wanted {
        let row = groups.near(&mut data.random, number % GROUPS);
        data.put_in(number % GROUPS, &row);
    }
    data.settle();
    let gone = |number: usize| number % GROUPS < 3;
    (0..data.wanted).filter(|&id| gone(id)).for_each(|id| data.delete(id as u32));
    let queries: Vec<Vec<f32>> =
        (0..QUERIES).map(|query| groups.near(&mut data.random, query % 3)).collect();
    data.ask("deleted-cluster", &queries);
}
