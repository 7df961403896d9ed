//! A collection behaves like a map, through any mixture of writes, deletions, flushes, merges
//! and reopenings.

use std::collections::BTreeMap;

use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Include, Metric,
    MultiVector, Payload, Point, PointId, Query, QueryRequest, SparseVector, TextField, TextQuery,
    Vector, VectorField,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<(u8, u8)>),
    Delete(Vec<u8>),
    Flush,
    Optimize,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || proptest::collection::vec(0_u8..40, 1..8);
    prop_oneof![
        6 => proptest::collection::vec((0_u8..40, any::<u8>()), 1..12).prop_map(Step::Upsert),
        4 => ids().prop_map(Step::Delete),
        1 => Just(Step::Flush),
        1 => Just(Step::Optimize),
        2 => Just(Step::Reopen),
    ]
}

fn id(number: u8) -> PointId {
    // Both kinds of ids, so that their order and files are exercised, too.
    if number.is_multiple_of(3) { format!("id-{number}").into() } else { u64::from(number).into() }
}

/// A point whose every part tells its version; some parts are missing in some versions.
fn point(number: u8, version: u8) -> Point {
    let value = f32::from(version);
    let mut point = Point::new(id(number)).with_vector("v", vec![value, 1.0]);
    if !version.is_multiple_of(4) {
        let rows = usize::from(version % 4);
        let tokens = MultiVector::from_flat(1, vec![value; rows]).unwrap();
        point = point.with_vector("tokens", tokens);
    }
    if !version.is_multiple_of(3) {
        point = point.with_vector("w", sparse(version));
    }
    if !version.is_multiple_of(5) {
        let payload = format!("{{\"version\": {version}, \"words\": \"{} all\"}}", word(version));
        let payload = Payload::parse(&payload).unwrap();
        point = point.with_payload(payload);
    }
    point
}

/// All have one dimension in common, and higher versions the higher values.
fn sparse(version: u8) -> SparseVector {
    let values = [1.0, f32::from(version) + 0.5];
    SparseVector::new([u32::from(version), 1000], values).unwrap()
}

/// A word of the text of a version.
fn word(version: u8) -> &'static str {
    ["one", "two", "three"][usize::from(version % 3)]
}

fn open(folder: &std::path::Path) -> (Database, Collection) {
    // So small that segments seal and merge in the background after a few steps.
    let database = DatabaseOptions::new().threads(1).seal_bytes(700).open(folder).unwrap();
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_field("tokens", VectorField::multi(1, Metric::Dot))
        .with_field("w", VectorField::sparse())
        .with_text("words", TextField::new(["words"]));
    let collection = match database.collection("c") {
        Ok(collection) => collection,
        Err(_) => database.create_collection("c", config).unwrap(),
    };
    (database, collection)
}

fn check(collection: &Collection, expected: &BTreeMap<PointId, Point>) {
    assert_eq!(collection.count(), expected.len() as u64);
    let page = collection.scroll(None, 1000, Include::ALL).unwrap();
    assert_eq!(page.points, expected.values().cloned().collect::<Vec<_>>());
    let ids: Vec<PointId> = (0..40).map(id).collect();
    let found = collection.get(&ids, Include::ALL).unwrap();
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found.as_ref(), expected.get(id));
    }
    let answer = collection.query(&QueryRequest::new("v", vec![1.0, 0.0]).limit(100)).unwrap();
    let mut best: Vec<(f32, PointId)> = expected
        .values()
        .map(|point| (point.vectors["v"].as_ref().values()[0], point.id.clone()))
        .collect();
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let got: Vec<_> = answer.hits.into_iter().map(|hit| (hit.score, hit.point.id)).collect();
    assert_eq!(got, best);
    let query = SparseVector::new([1000], [2.0]).unwrap();
    let query = QueryRequest::new("w", Query::Vector(query.into())).limit(100);
    let answer = collection.query(&query).unwrap();
    let value = |point: &Point| match point.vectors.get("w")? {
        Vector::Sparse(vector) => vector.values().last(),
        _ => None,
    };
    let mut best: Vec<(f32, PointId)> = expected
        .values()
        .filter_map(|point| Some((2.0 * value(point)?, point.id.clone())))
        .collect();
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let got: Vec<_> = answer.hits.into_iter().map(|hit| (hit.score, hit.point.id)).collect();
    assert_eq!(got, best);
    // Texts of one length with a word once: all score alike, and ids decide.
    for version in 0..3 {
        let query = QueryRequest::new("words", TextQuery::words(word(version))).limit(100);
        let answer = collection.query(&query).unwrap();
        let has = |point: &&Point| {
            let payload = point.payload.as_ref();
            payload.is_some_and(|payload| payload.as_str().contains(word(version)))
        };
        let with: Vec<PointId> =
            expected.values().filter(has).map(|point| point.id.clone()).collect();
        let score = answer.hits.first().map(|hit| hit.score);
        assert!(answer.hits.iter().all(|hit| Some(hit.score) == score));
        let got: Vec<PointId> = answer.hits.into_iter().map(|hit| hit.point.id).collect();
        assert_eq!(got, with, "{}", word(version));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_is_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = BTreeMap::new();
        let mut opened = Some(open(folder.path()));
        for step in steps {
            let collection = opened.as_ref().unwrap().1.clone();
            match step {
                Step::Upsert(points) => {
                    let points: Vec<Point> =
                        points.into_iter().map(|(number, version)| point(number, version)).collect();
                    let count = points.len() as u64;
                    expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
                    prop_assert_eq!(collection.upsert(points).unwrap().affected, count);
                }
                Step::Delete(numbers) => {
                    let ids: Vec<PointId> = numbers.into_iter().map(id).collect();
                    let before = expected.len();
                    expected.retain(|id, _| !ids.contains(id));
                    let receipt = collection.delete(ids, Durability::Buffered).unwrap();
                    prop_assert_eq!(receipt.affected, (before - expected.len()) as u64);
                }
                Step::Flush => collection.flush().unwrap(),
                Step::Optimize => {
                    collection.optimize().unwrap();
                    let info = collection.info();
                    prop_assert!(info.segments.len() <= 1);
                    prop_assert!(info.segments.iter().all(|segment| segment.deleted == 0));
                }
                Step::Reopen => {
                    drop(collection);
                    drop(opened.take());
                    opened = Some(open(folder.path()));
                }
            }
            check(&opened.as_ref().unwrap().1, &expected);
        }
    }
}

/// How vectors of the second model are found.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Exact,
    Target(f32),
}

/// Points enough for codes and an index, in fields of both kinds, with payloads that filters find by a column
/// and by reading.
mod coded {
    use lanner::{Filter, PayloadType};

    use super::*;

    const DIMENSION: usize = 8;
    /// Ids are below this.
    const IDS: u64 = 160;

    /// Values that tell the version, and are spread over all directions.
    fn values(id: u64, version: u8, count: usize) -> Vec<f32> {
        let seed = id * 31 + u64::from(version) * 7;
        (0..count as u64).map(|i| ((seed * 13 + i * i * 5 + i) as f32).sin()).collect()
    }

    pub fn point(id: u64, version: u8) -> Point {
        let mut point = Point::new(id).with_vector("v", values(id, version, DIMENSION));
        if !version.is_multiple_of(4) {
            let tokens = values(id + 1, version, DIMENSION * usize::from(version % 4));
            point = point.with_vector("tokens", MultiVector::from_flat(DIMENSION, tokens).unwrap());
        }
        let payload = format!("{{\"n\": {}, \"plain\": {}}}", version % 8, id % 5);
        point.with_payload(Payload::parse(&payload).unwrap())
    }

    pub fn open(folder: &std::path::Path) -> (Database, Collection) {
        let options =
            DatabaseOptions::new().threads(1).seal_bytes(9_000).coded_rows(24).index_rows(60);
        let database = options.open(folder).unwrap();
        let config = CollectionConfig::new()
            .with_field("v", VectorField::single(DIMENSION, Metric::Cosine))
            .with_field("w", VectorField::single(2, Metric::L2))
            .with_field("tokens", VectorField::multi(DIMENSION, Metric::Dot))
            .with_payload("n", PayloadType::Integer);
        let collection = match database.collection("c") {
            Ok(collection) => collection,
            Err(_) => database.create_collection("c", config).unwrap(),
        };
        (database, collection)
    }

    /// A filter, and which points it allows.
    type Allowed<'f> = (Option<Filter>, &'f dyn Fn(&Point) -> bool);

    /// The score of a point in a field.
    fn score(point: &Point, field: &str, query: &[f32]) -> Option<f32> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let length = |values: &[f32]| dot(values, values).sqrt();
        let vector = point.vectors.get(field)?.as_ref();
        let rows = vector.values().chunks_exact(query.len());
        let of = |row: &[f32]| match field {
            "v" => dot(row, query) / length(row) / length(query),
            _ => dot(row, query),
        };
        rows.map(of).reduce(f32::max)
    }

    fn number(point: &Point, key: &str) -> u64 {
        let text = point.payload.as_ref().unwrap().as_str();
        serde_json::from_str::<serde_json::Value>(text).unwrap()[key].as_u64().unwrap()
    }

    /// Answers by vectors are those of the model; those by codes hold nothing else, in its order, with its
    /// scores.
    pub fn check(collection: &Collection, expected: &BTreeMap<u64, Point>, seed: u64) {
        assert_eq!(collection.count(), expected.len() as u64);
        let query = values(seed, 3, DIMENSION);
        let filters: [Allowed<'_>; 3] = [
            (None, &|_| true),
            (Some(Filter::eq("n", 3)), &|point| number(point, "n") == 3),
            (Some(!Filter::eq("plain", 2)), &|point| number(point, "plain") != 2),
        ];
        for (field, (filter, allows)) in
            ["v", "tokens"].into_iter().flat_map(|field| filters.iter().map(move |f| (field, f)))
        {
            let scored = expected.values().filter(|point| allows(point));
            let mut best: Vec<(f32, u64)> = scored
                .filter_map(|point| {
                    let PointId::Number(id) = point.id else { unreachable!() };
                    Some((score(point, field, &query)?, id))
                })
                .collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for ask in [Ask::Exact, Ask::Target(0.9)] {
                check_answer(collection, (field, filter.as_ref(), &query), &best, ask);
            }
        }
    }

    fn check_answer(
        collection: &Collection,
        (field, filter, query): (&str, Option<&Filter>, &[f32]),
        best: &[(f32, u64)],
        ask: Ask,
    ) {
        let vector: lanner::Vector = match field {
            "tokens" => MultiVector::from_flat(DIMENSION, query.to_vec()).unwrap().into(),
            _ => query.to_vec().into(),
        };
        let mut request = QueryRequest::new(field, vector).limit(10);
        request.filter = filter.cloned();
        match ask {
            Ask::Exact => request.params.exact = true,
            Ask::Target(recall) => request.params.target_recall = Some(recall),
        }
        let answer = collection.query(&request).unwrap();
        let wanted = best.len().min(10);
        let least = best[..wanted].last().map_or(f32::INFINITY, |last| last.0 - 1e-5);
        // Tokens are re-ranked by codes of eight bits.
        let tolerance = match (field, ask) {
            ("tokens", Ask::Target(_)) => 0.05,
            _ => 1e-5,
        };
        let told = format!("{field} {filter:?} {ask:?}: {:?} of {best:?}", answer.hits);
        assert_eq!(answer.hits.len(), wanted, "{told}");
        assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score), "{told}");
        for hit in &answer.hits {
            let PointId::Number(id) = hit.point.id else { unreachable!() };
            let (score, _) = best.iter().find(|(_, other)| *other == id).expect(&told);
            assert!((hit.score - score).abs() < tolerance, "{told}");
        }
        let found = answer.hits.iter().filter(|hit| hit.score >= least).count();
        if matches!(ask, Ask::Exact) {
            assert_eq!((found, answer.estimated_recall), (wanted, Some(1.0)), "{told}");
        }
    }

    pub fn upsert(
        collection: &Collection,
        expected: &mut BTreeMap<u64, Point>,
        from: u8,
        version: u8,
    ) {
        let ids = (0..40).map(|step| (u64::from(from) + step * 3) % IDS);
        let points: Vec<Point> = ids.map(|id| point(id, version)).collect();
        expected.extend(points.iter().map(|point| {
            let PointId::Number(id) = point.id else { unreachable!() };
            (id, point.clone())
        }));
        collection.upsert(points).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn codes_and_indexes_of_small_segments_find_what_the_map_holds(
        steps in proptest::collection::vec((0_u8..9, any::<u8>(), any::<u8>()), 4..16),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = BTreeMap::new();
        let mut opened = Some(coded::open(folder.path()));
        for (step, a, b) in steps {
            let collection = opened.as_ref().unwrap().1.clone();
            match step {
                0..4 => coded::upsert(&collection, &mut expected, a, b),
                4..6 => {
                    let doomed = |id: &u64| *id % 7 == u64::from(a % 7);
                    let ids: Vec<PointId> = (0..256_u64).filter(doomed).map(PointId::from).collect();
                    expected.retain(|id, _| !doomed(id));
                    collection.delete(ids, Durability::Buffered).unwrap();
                }
                6 => collection.flush().unwrap(),
                7 => {
                    collection.optimize().unwrap();
                    let info = collection.info();
                    let rows = expected.len();
                    let coded = info.segments.iter().all(|segment| !segment.codecs.is_empty());
                    prop_assert!(coded || rows < 24, "{} rows without codes", rows);
                }
                _ => {
                    drop(collection);
                    drop(opened.take());
                    opened = Some(coded::open(folder.path()));
                }
            }
            coded::check(&opened.as_ref().unwrap().1, &expected, u64::from(b));
        }
    }
}
