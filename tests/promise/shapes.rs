//! Where vectors lie: on planes, in groups.

use crate::common::Random;

/// A random plane through a centre, with noise around it, as embeddings of one kind of text lie.
pub struct Plane {
    basis: Vec<Vec<f32>>,
    center: Vec<f32>,
    noise: f32,
}

impl Plane {
    pub fn new(random: &mut Random, dimension: usize, rank: usize, noise: f32) -> Self {
        let basis = (0..rank).map(|_| normal(random, dimension)).collect();
        Self { basis, center: vec![0.0; dimension], noise }
    }

    /// The same around a centre so far from the origin, in multiples of the spread of an element.
    pub fn away(mut self, random: &mut Random, distance: f32) -> Self {
        let spread = (self.basis.len() as f32).sqrt();
        self.center.iter_mut().for_each(|x| *x = distance * spread * random.normal());
        self
    }

    pub fn draw(&self, random: &mut Random) -> Vec<f32> {
        let mut row = self.center.clone();
        for direction in &self.basis {
            let weight = random.normal();
            row.iter_mut().zip(direction).for_each(|(x, d)| *x += weight * d);
        }
        row.iter_mut().for_each(|x| *x += self.noise * random.normal());
        row
    }

    pub fn draws(&self, random: &mut Random, count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|_| self.draw(random)).collect()
    }
}

/// Groups of vectors around centres.
pub struct Groups {
    pub centers: Vec<Vec<f32>>,
    pub spread: f32,
}

impl Groups {
    pub fn new(random: &mut Random, count: usize, dimension: usize, spread: f32) -> Self {
        Self { centers: (0..count).map(|_| normal(random, dimension)).collect(), spread }
    }

    pub fn near(&self, random: &mut Random, group: usize) -> Vec<f32> {
        self.centers[group].iter().map(|x| x + self.spread * random.normal()).collect()
    }

    pub fn draw(&self, random: &mut Random) -> (usize, Vec<f32>) {
        let group = random.below(self.centers.len());
        (group, self.near(random, group))
    }

    /// The group whose centre is the farthest from that of another.
    pub fn farthest(&self, group: usize) -> usize {
        let distance = |other: &usize| {
            let pairs = self.centers[*other].iter().zip(&self.centers[group]);
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        let others = 0..self.centers.len();
        others.max_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap()
    }
}

pub fn normal(random: &mut Random, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|_| random.normal()).collect()
}

pub fn normals(random: &mut Random, dimension: usize, count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|_| normal(random, dimension)).collect()
}

pub fn scaled(row: &[f32], factor: f32) -> Vec<f32> {
    row.iter().map(|x| x * factor).collect()
}

/// The same with noise of this standard deviation.
pub fn blurred(random: &mut Random, row: &[f32], noise: f32) -> Vec<f32> {
    row.iter().map(|x| x + noise * random.normal()).collect()
}

/// The vector whose only element that is not 0 is this.
pub fn one_hot(dimension: usize, element: usize) -> Vec<f32> {
    let mut row = vec![0.0; dimension];
    row[element % dimension] = 1.0;
    row
}
