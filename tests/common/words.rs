//! Single words as queries among real texts, whose distribution they do not share.

use lanner::{
    Collection, CollectionConfig, Database, Metric, MultiVector, Point, PointId, QueryRequest,
    VectorField,
};
use lanner_eval::{Neighbours, read_neighbours};

use super::clusters::rows_scored;
use super::{ids, matrix, shared_data};

/// What queries found, and what it took.
pub struct Measured {
    /// Mean share of the ten nearest rows that were found.
    pub recall: f64,
    /// Mean number of rows that the index scored.
    pub scored: f64,
}

/// Texts and words: the even words train, the odd ones are measured.
pub struct Words {
    texts: Vec<Vec<f32>>,
    words: Vec<Vec<f32>>,
    nearest: Neighbours,
}

impl Words {
    /// `None` without the real data, see [`shared_data`].
    pub fn read() -> Option<Self> {
        let data = shared_data("wn-deb-384")?;
        let nearest = data.join("groundtruth_cosine_top100_ood_lemma.i32.npy");
        Some(Self {
            texts: matrix(&data.join("base.f16.npy")),
            words: matrix(&data.join("queries_ood_lemma.f32.npy")),
            nearest: read_neighbours(&nearest).unwrap(),
        })
    }

    /// A collection `c` of the texts in field `v`, trained, with its index.
    pub fn collection(&self, database: &Database, code: &str, index: &str) -> Collection {
        let field = VectorField::single(384, Metric::Cosine).indexed(index.parse().unwrap());
        let field = field.compressed(code.parse().unwrap());
        let config = CollectionConfig::new().with_field("v", field);
        let collection = database.create_collection("c", config).unwrap();
        let half: Vec<Vec<f32>> = self.words.iter().step_by(2).cloned().collect();
        let training = MultiVector::from_rows(&half).unwrap();
        collection.set_training_queries("v", training).unwrap();
        let points = self.texts.iter().zip(0_u64..);
        let points: Vec<Point> =
            points.map(|(row, id)| Point::new(id).with_vector("v", row.clone())).collect();
        for batch in points.chunks(10_000) {
            collection.upsert(batch.to_vec()).unwrap();
        }
        collection.optimize().unwrap();
        collection
    }

    /// Asks for the ten nearest texts, `ask` setting how far to search.
    pub fn measure(
        &self,
        collection: &Collection,
        ask: impl Fn(QueryRequest) -> QueryRequest,
    ) -> Measured {
        let (mut hits, mut rows, mut asked) = (0, 0, 0);
        for query in (1..self.words.len()).step_by(2) {
            let request = QueryRequest::new("v", self.words[query].clone()).limit(10);
            let answer = collection.query(&ask(request.explain())).unwrap();
            let best = &self.nearest.of(query)[..10];
            let is_best = |id: &PointId| best.iter().any(|&row| *id == PointId::from(row));
            hits += ids(&answer).iter().filter(|id| is_best(id)).count();
            rows += rows_scored(&answer);
            asked += 1;
        }
        let recall = hits as f64 / (10 * asked) as f64;
        Measured { recall, scored: rows as f64 / f64::from(asked) }
    }
}
