//! Seeded vectors in clusters, as embeddings are: what indexes are made for.

use std::collections::BTreeMap;

use lanner::{Collection, Deadline, Point, PointId, QueryRequest, QueryResponse};

use super::Random;

/// Where vectors lie.
pub struct Clusters {
    centers: Vec<Vec<f32>>,
}

impl Clusters {
    pub fn new(random: &mut Random, clusters: usize, dimension: usize) -> Self {
        Self { centers: (0..clusters).map(|_| random.vector(dimension)).collect() }
    }

    /// A vector of one of the clusters; its later elements differ less from the centre.
    pub fn vector(&self, random: &mut Random) -> Vec<f32> {
        let center = &self.centers[random.below(self.centers.len())];
        let noise =
            |(i, value): (usize, &f32)| value + random.float() * 1.5 / (1.0 + i as f32 / 8.0);
        center.iter().enumerate().map(noise).collect()
    }

    pub fn vectors(&self, random: &mut Random, count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|_| self.vector(random)).collect()
    }

    /// Points of these ids, with a vector in the field `v`.
    pub fn points(&self, random: &mut Random, ids: std::ops::Range<u64>) -> Vec<Point> {
        ids.map(|id| Point::new(id).with_vector("v", self.vector(random))).collect()
    }
}

/// Writes points in batches.
pub fn fill(collection: &Collection, points: &[Point]) {
    for points in points.chunks(1000) {
        collection.upsert(points.to_vec()).unwrap();
    }
}

pub fn by_id(points: &[Point]) -> BTreeMap<PointId, Point> {
    points.iter().map(|point| (point.id.clone(), point.clone())).collect()
}

/// Answers to all requests, in their order.
pub fn answers(collection: &Collection, requests: &[QueryRequest]) -> Vec<QueryResponse> {
    let parts = requests.chunks(100);
    parts.flat_map(|part| collection.query_batch(part, Deadline::NEVER).unwrap()).collect()
}

/// Mean share of hits that are as good as the last of the exact ones, `ask` making the request
/// from one for the ten nearest.
pub fn recall(
    collection: &Collection,
    queries: &[Vec<f32>],
    ask: impl Fn(QueryRequest) -> QueryRequest,
) -> f64 {
    let requests = || queries.iter().map(|query| QueryRequest::new("v", query.clone()));
    let exact = answers(collection, &requests().map(QueryRequest::exact).collect::<Vec<_>>());
    let found = answers(collection, &requests().map(ask).collect::<Vec<_>>());
    let share = |(found, exact): (&QueryResponse, &QueryResponse)| {
        let least = exact.hits.last().unwrap().score;
        let good = found.hits.iter().filter(|hit| hit.score >= least).count();
        good as f64 / exact.hits.len() as f64
    };
    found.iter().zip(&exact).map(share).sum::<f64>() / queries.len() as f64
}

/// The sources of the stages of this name.
pub fn sources(answer: &QueryResponse, stage: &str) -> Vec<String> {
    let stages = answer.explanation.as_ref().unwrap().stages.iter();
    stages.filter(|found| found.name == stage).map(|found| found.source.clone()).collect()
}

/// Number of rows that searches of indexes scored, of an explained answer.
pub fn rows_scored(answer: &QueryResponse) -> u64 {
    let stages = &answer.explanation.as_ref().unwrap().stages;
    stages.iter().filter(|stage| stage.name == "search").map(|stage| stage.rows).sum()
}
