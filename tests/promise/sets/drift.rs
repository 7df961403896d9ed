//! Data of one kind (to compare with), of kinds that follow each other, and of mixed kinds.

use crate::promise::data::{Data, QUERIES, Recipe};
use crate::promise::shapes::{Groups, Plane, normal, scaled};

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::single("plain", plain).central(),
        Recipe::single("drift-plane", plane).rows([2_600, 12_000]).central(),
        Recipe::single("drift-reversed", reversed).dimension(24).central(),
        Recipe::single("drift-scale", scale).central(),
        Recipe::single("drift-shift", shift),
        Recipe::single("drift-few", few),
        Recipe::single("drift-four", four).rows([4_800, 12_000]),
        Recipe::single("mixture-half", mixture_half),
        Recipe::single("mixture-rare", mixture_rare),
        Recipe::single("mixture-spread", mixture_spread),
    ]
}

const RANK: usize = 12;
const NOISE: f32 = 0.3;

fn new_plane(data: &mut Data) -> Plane {
    let dimension = data.dimension();
    Plane::new(&mut data.random, dimension, RANK, NOISE)
}

/// Writes so many rows of a plane.
fn put(data: &mut Data, plane: &Plane, count: usize) {
    let rows = plane.draws(&mut data.random, count);
    data.put_all(&rows);
}

fn ask(data: &mut Data, name: &'static str, plane: &Plane) {
    let queries = plane.draws(&mut data.random, QUERIES);
    data.ask(name, &queries);
}

fn plain(data: &mut Data) {
    let plane = new_plane(data);
    put(data, &plane, data.wanted);
    ask(data, "own", &plane);
}

/// One kind, and then another.
fn two_kinds(data: &mut Data, old: &Plane, new: &Plane, share_of_new: f32) {
    let later = (data.wanted as f32 * share_of_new) as usize;
    put(data, old, data.wanted - later);
    data.seal();
    put(data, new, later);
    ask(data, "old", old);
    ask(data, "new", new);
}

fn plane(data: &mut Data) {
    let (old, new) = (new_plane(data), new_plane(data));
    two_kinds(data, &old, &new, 0.5);
}

fn few(data: &mut Data) {
    let (old, new) = (new_plane(data), new_plane(data));
    two_kinds(data, &old, &new, 0.1);
}

fn shift(data: &mut Data) {
    let old = new_plane(data);
    let new = new_plane(data).away(&mut data.random, 20.0);
    two_kinds(data, &old, &new, 0.5);
}

/// The large elements become the small ones.
fn reversed(data: &mut Data) {
    let old = |data: &mut Data| -> Vec<f32> {
        let row = data.random.vector(data.dimension());
        row.iter().enumerate().map(|(i, x)| x / (1.0 + i as f32 / 4.0)).collect()
    };
    let new = |data: &mut Data| old(data).into_iter().rev().collect::<Vec<f32>>();
    for number in 0..data.wanted {
        if number == data.wanted / 2 {
            data.seal();
        }
        let row = if number < data.wanted / 2 { old(data) } else { new(data) };
        data.put(&row);
    }
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| old(data)).collect();
    data.ask("old", &queries);
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| new(data)).collect();
    data.ask("new", &queries);
}

/// Another plane at thirty times the scale, as of a model that does not normalise.
fn scale(data: &mut Data) {
    let (old, new) = (new_plane(data), new_plane(data));
    put(data, &old, data.wanted / 2);
    data.seal();
    let draw = |data: &mut Data, count| -> Vec<Vec<f32>> {
        new.draws(&mut data.random, count).iter().map(|row| scaled(row, 30.0)).collect()
    };
    let rows = draw(data, data.wanted / 2);
    data.put_all(&rows);
    let queries = draw(data, QUERIES);
    data.ask("new", &queries);
    ask(data, "old", &old);
}

fn four(data: &mut Data) {
    let planes: Vec<Plane> = (0..4).map(|_| new_plane(data)).collect();
    for plane in &planes {
        put(data, plane, data.wanted / 4);
        data.seal();
    }
    ask(data, "second", &planes[1]);
    ask(data, "last", &planes[3]);
}

/// Two kinds by turns; every `period`-th row is of the second.
fn mixture(data: &mut Data, period: usize) {
    let (common, rare) = (new_plane(data), new_plane(data));
    for number in 0..data.wanted {
        let plane = if number % period == 0 { &rare } else { &common };
        put(data, plane, 1);
    }
    ask(data, "first", &common);
    ask(data, "second", &rare);
}

fn mixture_half(data: &mut Data) {
    mixture(data, 2);
}

fn mixture_rare(data: &mut Data) {
    mixture(data, 20);
}

/// Groups as dense as 0.01 and as wide as 3 beside each other.
fn mixture_spread(data: &mut Data) {
    let dimension = data.dimension();
    let mut groups = Groups::new(&mut data.random, 30, dimension, 1.0);
    let mut draw = |data: &mut Data| {
        let group = data.random.below(30);
        groups.spread = 0.01 * 300_f32.powf(group as f32 / 29.0);
        (group, groups.near(&mut data.random, group))
    };
    for _ in 0..data.wanted {
        let (group, row) = draw(data);
        data.put_in(group, &row);
    }
    let own: Vec<Vec<f32>> = (0..QUERIES).map(|_| draw(data).1).collect();
    data.ask("own", &own);
    let between: Vec<Vec<f32>> =
        (0..QUERIES).map(|_| normal(&mut data.random, dimension)).collect();
    data.ask("between", &between);
}
