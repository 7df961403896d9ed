//! Sparse fields find and score what the dot product of a scan says, over sealed segments and memory,
//! with deletions, updates and filters, and beside other fields.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, Entry,
    ErrorKind, Filter, FusionRequest, GroupRequest, Metric, MultiVector, Payload, PayloadType,
    Point, PointId, Query, QueryRequest, QueryResponse, SparseVector, Vector, VectorField,
};

/// Dimensions, the frequent ones first, and the last possible one.
const DIMENSIONS: usize = 400;

fn index(number: usize) -> u32 {
    if number == 0 { u32::MAX } else { number as u32 * 7 }
}

/// A vector of few entries; of one in twenty there are none.
fn vector(random: &mut Random, most: usize) -> SparseVector {
    let number = if random.below(20) == 0 { 0 } else { 1 + random.below(most) };
    let mut entries = BTreeMap::new();
    for _ in 0..number {
        let at = random.below(DIMENSIONS) * random.below(DIMENSIONS) / DIMENSIONS;
        // Few values, so that there are ties.
        entries.insert(index(at), (1 + random.below(8)) as f32 / 4.0);
    }
    let entry = |(index, value)| Entry { index, value };
    SparseVector::from_entries(entries.into_iter().map(entry).collect()).unwrap()
}

/// Σ of the products where both have an entry, in double precision.
fn score(a: &SparseVector, b: &SparseVector) -> f32 {
    let b: BTreeMap<u32, f32> = b.entries().iter().map(|e| (e.index, e.value)).collect();
    let product = |e: &Entry| b.get(&e.index).map(|value| f64::from(e.value) * f64::from(*value));
    a.entries().iter().filter_map(product).sum::<f64>() as f32
}

fn config() -> CollectionConfig {
    CollectionConfig::new()
        .with_field("s", VectorField::sparse())
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_payload("n", PayloadType::Integer)
}

struct Fixture {
    folder: tempfile::TempDir,
    database: Option<Database>,
    random: Random,
    vectors: BTreeMap<u64, SparseVector>,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
        database.create_collection("c", config()).unwrap();
        let random = Random::new(seed);
        Self { folder, database: Some(database), random, vectors: BTreeMap::new() }
    }

    fn collection(&self) -> Collection {
        self.database.as_ref().unwrap().collection("c").unwrap()
    }

    fn write(&mut self, ids: impl IntoIterator<Item = u64>) {
        let mut points = Vec::new();
        for id in ids {
            let payload = Payload::parse(&format!("{{\"n\": {}, \"m\": {}}}", id % 50, id % 3));
            let point = Point::new(id).with_payload(payload.unwrap());
            let point = point.with_vector("v", vec![id as f32, 1.0]);
            // One in ten has no sparse vector.
            points.push(match self.random.below(10) {
                0 => {
                    self.vectors.remove(&id);
                    point
                }
                _ => {
                    let vector = vector(&mut self.random, 25);
                    self.vectors.insert(id, vector.clone());
                    point.with_vector("s", vector)
                }
            });
        }
        self.collection().upsert(points).unwrap();
    }

    fn delete(&mut self, ids: impl IntoIterator<Item = u64>) {
        let ids: Vec<u64> = ids.into_iter().collect();
        ids.iter().for_each(|id| drop(self.vectors.remove(id)));
        let ids: Vec<PointId> = ids.into_iter().map(PointId::from).collect();
        self.collection().delete(ids, Durability::Synced).unwrap();
    }

    fn queries(&mut self) -> Vec<SparseVector> {
        let query = |_| loop {
            let query = vector(&mut self.random, 40);
            if !query.is_empty() {
                return query;
            }
        };
        (0..30).map(query).collect()
    }

    /// The best points with a number that `allows` it.
    fn expected(&self, query: &SparseVector, allows: impl Fn(u64) -> bool) -> Vec<(u64, f32)> {
        let scored = self.vectors.iter().filter(|(id, _)| allows(**id));
        let mut scored: Vec<(u64, f32)> =
            scored.map(|(&id, vector)| (id, score(query, vector))).collect();
        scored.retain(|(_, score)| *score > 0.0);
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        scored
    }

    /// Compares all queries with the definition: bit for bit, ties by id.
    fn check(&self, queries: &[SparseVector]) {
        let collection = self.collection();
        for query in queries {
            for (limit, offset) in [(10, 0), (3, 8), (500, 0)] {
                let all = self.expected(query, |_| true);
                let few = self.expected(query, |id| id % 50 == 7);
                let most = self.expected(query, |id| id % 3 != 0);
                let cases = [
                    (None, all),
                    (Some(Filter::eq("n", 7)), few),
                    (Some(!Filter::eq("m", 0)), most),
                ];
                for (filter, expected) in cases {
                    let request = QueryRequest::new("s", Query::Vector(query.clone().into()));
                    let request = request.limit(limit).offset(offset);
                    let request = QueryRequest { filter, ..request };
                    let expected: Vec<_> = expected.into_iter().skip(offset).take(limit).collect();
                    for request in [request.clone(), request.exact()] {
                        let answer = collection.query(&request).unwrap();
                        assert_eq!(hits(&answer), expected, "{request:?}");
                        assert_eq!(answer.estimated_recall, Some(1.0));
                    }
                }
            }
        }
    }
}

fn hits(answer: &QueryResponse) -> Vec<(u64, f32)> {
    let id = |id: &PointId| match id {
        PointId::Number(number) => *number,
        PointId::Text(text) => panic!("{text} is no number"),
    };
    answer.hits.iter().map(|hit| (id(&hit.point.id), hit.score)).collect()
}

#[test]
fn answers_are_exact_whatever_segments_there_are() {
    let mut fixture = Fixture::new(71);
    let queries = fixture.queries();
    fixture.check(&queries);
    fixture.write(0..1500);
    fixture.check(&queries);
    fixture.collection().flush().unwrap();
    fixture.check(&queries);
    fixture.write(1000..2000);
    fixture.delete((0..2000).step_by(7));
    fixture.check(&queries);
    fixture.collection().flush().unwrap();
    fixture.check(&queries);
    fixture.collection().optimize().unwrap();
    fixture.check(&queries);
    let segments = fixture.collection().info().segments;
    assert_eq!(segments.len(), 1);
    assert!(segments[0].files.iter().any(|file| file.name == "inverted-0.sec"));
    fixture.write(500..600);
    fixture.database = None;
    fixture.database = Some(Database::open(fixture.folder.path()).unwrap());
    fixture.check(&queries);
}

#[test]
fn vectors_come_back_as_they_were_written() {
    let mut fixture = Fixture::new(5);
    fixture.write(0..300);
    fixture.collection().flush().unwrap();
    fixture.write(200..400);
    let check = |fixture: &Fixture| {
        let ids: Vec<PointId> = (0_u64..400).map(PointId::from).collect();
        let found = fixture.collection().get(&ids, lanner::Include::ALL).unwrap();
        let found: Vec<Point> = found.into_iter().flatten().collect();
        assert_eq!(found.len(), 400);
        for (id, point) in (0_u64..).zip(found) {
            let expected = fixture.vectors.get(&id).cloned().map(Vector::Sparse);
            assert_eq!(point.vectors.get("s"), expected.as_ref(), "{id}");
            assert!(point.reconstructed.is_empty());
        }
    };
    check(&fixture);
    fixture.collection().optimize().unwrap();
    check(&fixture);
    // An update keeps what it does not name, and replaces what it does.
    let new = SparseVector::new([3, 1], [0.5, 4.0]).unwrap();
    let updates = [7_u64, 8].map(|id| Point::new(id).with_vector("s", new.clone()));
    fixture.collection().update_vectors(updates, Durability::Synced).unwrap();
    fixture.vectors.extend([(7, new.clone()), (8, new)]);
    let dense = Point::new(9).with_vector("v", vec![0.0, 0.0]);
    fixture.collection().update_vectors([dense], Durability::Synced).unwrap();
    check(&fixture);
    fixture.collection().flush().unwrap();
    check(&fixture);
}

#[test]
fn the_index_scores_few_rows_and_says_so() {
    let mut fixture = Fixture::new(11);
    fixture.write(0..5000);
    fixture.collection().flush().unwrap();
    let query = SparseVector::new((1..30).map(index), (1..30).map(|n| n as f32 / 8.0)).unwrap();
    let request = QueryRequest::new("s", Query::Vector(query.into())).explain();
    let answer = fixture.collection().query(&request).unwrap();
    let stages = answer.explanation.unwrap().stages;
    assert_eq!(stages.len(), 1);
    let stage = &stages[0];
    assert_eq!(
        (stage.name.as_str(), stage.source.as_str()),
        ("search", "inverted index, 29 dimensions")
    );
    assert!(stage.rows >= 10 && stage.rows < 500, "{} rows", stage.rows);
    assert!(stage.bytes > 0);
    let answer = fixture.collection().query(&request.exact()).unwrap();
    let stages = answer.explanation.unwrap().stages;
    assert_eq!((stages[0].name.as_str(), stages[0].source.as_str()), ("scan", "vectors"));
    assert_eq!(stages[0].rows, 5000);
}

#[test]
fn thresholds_points_and_batches_work_as_for_other_fields() {
    let mut fixture = Fixture::new(23);
    fixture.write(0..1200);
    fixture.collection().flush().unwrap();
    fixture.write(1200..1500);
    let collection = fixture.collection();
    let queries = fixture.queries();
    let requests: Vec<QueryRequest> = queries
        .iter()
        .map(|query| QueryRequest::new("s", Query::Vector(query.clone().into())).limit(20))
        .collect();
    let answers = collection.query_batch(&requests, Deadline::NEVER).unwrap();
    for ((query, request), answer) in queries.iter().zip(&requests).zip(&answers) {
        let expected = fixture.expected(query, |_| true);
        assert_eq!(hits(answer), expected.iter().copied().take(20).collect::<Vec<_>>());
        let Some(&(_, middle)) = expected.get(4) else { continue };
        let answer = collection.query(&request.clone().score_threshold(middle)).unwrap();
        let good: Vec<_> = expected.into_iter().filter(|hit| hit.1 >= middle).take(20).collect();
        assert_eq!(hits(&answer), good);
    }
    // A point as the query is no hit of its own.
    let (&id, own) = fixture.vectors.iter().find(|(_, vector)| vector.len() > 5).unwrap();
    let request = QueryRequest::new("s", Query::Point(id.into()));
    let expected = fixture.expected(own, |other| other != id);
    assert_eq!(hits(&collection.query(&request).unwrap()), expected[..10]);
}

#[test]
fn sparse_vectors_are_a_first_or_a_second_stage_and_are_fused() {
    let mut fixture = Fixture::new(31);
    fixture.write(0..600);
    fixture.collection().flush().unwrap();
    let collection = fixture.collection();
    let query = fixture.queries().remove(0);
    let sparse = || Query::Vector(query.clone().into());
    let all = fixture.expected(&query, |_| true);

    let request = QueryRequest::new("s", sparse()).limit(5).rescore("v", vec![1.0, 0.0], 20);
    let mut best: Vec<u64> = all.iter().take(20).map(|hit| hit.0).collect();
    best.sort_by(|a, b| b.cmp(a));
    let found: Vec<u64> = hits(&collection.query(&request).unwrap()).iter().map(|h| h.0).collect();
    assert_eq!(found, best[..5]);

    let request = QueryRequest::new("v", vec![1.0, 0.0]).limit(5).rescore("s", sparse(), 50);
    let found = hits(&collection.query(&request).unwrap());
    let scores: BTreeMap<u64, f32> = all.iter().copied().collect();
    let mut expected: Vec<(u64, f32)> = (550..600)
        .filter(|id| fixture.vectors.contains_key(id))
        .map(|id| (id, scores.get(&id).copied().unwrap_or(0.0)))
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    assert_eq!(found, expected[..5]);

    let queries = [("s", sparse()), ("v", vec![1.0, 0.0].into())];
    let queries = queries.map(|(field, query)| QueryRequest::new(field, query).limit(50));
    let fused = collection.fuse(&FusionRequest::new(queries).limit(10)).unwrap();
    assert_eq!(fused.hits.len(), 10);
    let groups = GroupRequest::new(QueryRequest::new("s", sparse()).limit(4), "n").group_size(2);
    let groups = collection.query_groups(&groups).unwrap().groups;
    let mut seen = BTreeSet::new();
    let first = all.iter().filter(|(id, _)| seen.insert(id % 50)).take(4);
    let first: Vec<f32> = first.map(|hit| hit.1).collect();
    assert_eq!(groups.iter().map(|group| group.hits[0].score).collect::<Vec<_>>(), first);
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let fixture = Fixture::new(1);
    let collection = fixture.collection();
    let refused = |query: Query| {
        let error = collection.query(&QueryRequest::new("s", query)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    assert_eq!(
        refused(Query::Vector(SparseVector::default().into())),
        "vector: expected at least one entry above 0, got nothing"
    );
    assert_eq!(
        refused(vec![1.0, 2.0].into()),
        "vector: expected a sparse vector, got a single vector"
    );
    let recommend = Query::Recommend { positive: vec![1.into()], negative: Vec::new() };
    assert_eq!(
        refused(recommend),
        "field: expected a single-vector field to recommend from, got a sparse field"
    );
    let write = |point: Point| collection.upsert([point]).unwrap_err().to_string();
    let multi = MultiVector::from_flat(2, vec![1.0, 2.0]).unwrap();
    assert_eq!(
        write(Point::new(1).with_vector("s", multi)),
        "points[0].vectors.s: expected a sparse vector, got a multi vector"
    );
    let sparse = SparseVector::new([1], [1.0]).unwrap();
    assert_eq!(
        write(Point::new(1).with_vector("v", sparse.clone())),
        "points[0].vectors.v: expected a single vector, got a sparse vector"
    );
    let mut batch = collection.batch();
    let unsorted = [Entry { index: 5, value: 1.0 }, Entry { index: 5, value: 2.0 }];
    let vectors = [("s", lanner::VectorRef::Sparse(&unsorted))];
    let error = batch.push_parts(1.into(), vectors, None).unwrap_err();
    assert_eq!(error.to_string(), "vectors.s.indices: expected each index once, got 5 twice");
    assert_eq!(collection.info().points, 0);

    let settings = |field: VectorField| {
        let config = CollectionConfig::new().with_field("s", field);
        config.validate().map_err(|error| error.to_string())
    };
    assert_eq!(settings(VectorField::sparse()), Ok(()));
    let field = VectorField { dimension: 3, ..VectorField::sparse() };
    assert_eq!(
        settings(field).unwrap_err(),
        "fields.s.dimension: expected none for a sparse field, whose indices may be any of 32 bits, got 3"
    );
    let field = VectorField { metric: Metric::Cosine, ..VectorField::sparse() };
    assert_eq!(
        settings(field).unwrap_err(),
        "fields.s.metric: expected dot for a sparse field, got cosine"
    );
    assert!(settings(VectorField::sparse().half_precision()).is_err());
    assert!(settings(VectorField::sparse().pooled(2)).is_err());
    let graph = "graph".parse().unwrap();
    assert!(settings(VectorField::sparse().indexed(graph)).unwrap_err().contains("inverted index"));
}

#[test]
fn many_rows_fill_several_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("s", VectorField::sparse());
    let collection = database.create_collection("c", config).unwrap();
    // More than 65,536 rows; the best are in the last chunk.
    let point = |id: u64| {
        let entries = [(id % 97) as u32, 100 + (id % 89) as u32, 1000];
        let values = [1.0, 1.0, (1 + id / 10_000) as f32];
        Point::new(id).with_vector("s", SparseVector::new(entries, values).unwrap())
    };
    for first in (0..140_000).step_by(20_000) {
        collection.upsert((first..first + 20_000).map(point)).unwrap();
    }
    collection.optimize().unwrap();
    assert_eq!(collection.info().segments.len(), 1);
    let query = SparseVector::new([5, 111, 1000], [1.0, 1.0, 1.0]).unwrap();
    let answer = collection.query(&QueryRequest::new("s", Query::Vector(query.into()))).unwrap();
    let value = |id: u64| u64::from(id % 97 == 5) + u64::from(id % 89 == 11) + 1 + id / 10_000;
    let mut expected: Vec<u64> = (0..140_000).collect();
    expected.sort_by_key(|&id| (u64::MAX - value(id), id));
    let found: Vec<u64> = hits(&answer).iter().map(|hit| hit.0).collect();
    assert_eq!(found, expected[..10]);
}
