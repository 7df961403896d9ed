//! Multi fields end to end: centroids or encodings find candidates, codes of tokens or the vectors
//! themselves re-rank them.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::texts::{DIMENSION, Texts};
use common::{Random, exact_top_k, shared_data};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, ErrorKind,
    Filter, FilterValue, Hit, Include, Metric, MultiVector, Payload, PayloadType, Point, PointId,
    QueryRequest, QueryResponse, TrainingQueries, Vector, VectorField,
};
use lanner_eval::{BeirDataset, IdList, Neighbours, Qrels, Run, evaluate, read_neighbours};

fn ingest(collection: &Collection, documents: &Texts) {
    for first in (0..documents.len()).step_by(500) {
        let mut batch = collection.batch();
        for index in first..documents.len().min(first + 500) {
            let point = Point::new(index as u64).with_vector("tokens", documents.multi(index));
            batch.push(point).unwrap();
        }
        collection.upsert_batch(batch.finish(), Durability::Buffered).unwrap();
    }
}

/// The hits of all queries: rows with scores.
fn hits(
    collection: &Collection,
    queries: &Texts,
    ask: impl Fn(QueryRequest) -> QueryRequest,
) -> Vec<Vec<(u32, f32)>> {
    let request = |query| ask(QueryRequest::new("tokens", queries.multi(query)));
    let requests: Vec<QueryRequest> = (0..queries.len()).map(request).collect();
    let answers = collection.query_batch(&requests, Deadline::NEVER).unwrap();
    let row = |hit: &lanner::Hit| (hit.point.id.to_string().parse().unwrap(), hit.score);
    answers.iter().map(|answer| answer.hits.iter().map(row).collect()).collect()
}

/// The share of the exact k best that was found for those queries that count.
fn recall(
    hits: &[Vec<(u32, f32)>],
    truth: &Neighbours,
    k: usize,
    counts: impl Fn(usize) -> bool,
) -> f64 {
    let queries = (0..hits.len()).filter(|&query| counts(query)).count();
    let found = |(query, hits): (usize, &Vec<(u32, f32)>)| {
        let exact = &truth.of(query)[..k];
        hits.iter().take(k).filter(|(row, _)| exact.contains(&u64::from(*row))).count()
    };
    let counted = hits.iter().enumerate().filter(|&(query, _)| counts(query));
    let found: usize = counted.map(found).sum();
    found as f64 / (k * queries) as f64
}

fn ndcg(data: &Path, hits: &[Vec<(u32, f32)>], qrels: &Qrels) -> f64 {
    let documents = IdList::open(&data.join("corpus.ids")).unwrap();
    let queries = IdList::open(&data.join("queries.ids")).unwrap();
    let mut run = Run::new();
    for (hits, query) in hits.iter().zip(queries.as_slice()) {
        let id = |&(row, score): &(u32, f32)| (documents.as_slice()[row as usize].clone(), score);
        run.push(query, hits.iter().map(id).collect()).unwrap();
    }
    evaluate(&run, qrels).ndcg_10
}

#[test]
fn real_tokens_are_found_by_their_centroids() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let (documents, queries) = (Texts::documents(&data), Texts::queries(&data));
    let truth = read_neighbours(&data.join("groundtruth_maxsim_top100.i32.npy")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let field = VectorField::multi(DIMENSION, Metric::Dot);
    let config = CollectionConfig::new().with_field("tokens", field);
    let collection = database.create_collection("nfcorpus", config).unwrap();
    // Half of the queries, to calibrate by; the others judge it.
    let (sample, held_out) = halves(&queries);
    collection.set_training_queries("tokens", sample).unwrap();
    let started = Instant::now();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(&done, &collection, &queries));
        ingest(&collection, &documents);
        let written = started.elapsed();
        collection.optimize().unwrap();
        done.store(true, Ordering::Relaxed);
        println!("written after {written:.1?}, ready after {:.1?}", started.elapsed());
        println!("{} queries were answered meanwhile", asking.join().unwrap());
    });
    let documents = documents.len() as u64;
    check_bytes(&collection, documents);
    check_budgets(&collection, &data, &queries, &truth);
    check_targets(&collection, &queries, &truth, held_out);
}

/// Asks one query after the other; each finds what was written by then.
fn ask_until(done: &AtomicBool, collection: &Collection, queries: &Texts) -> usize {
    let mut answered = 0;
    while !done.load(Ordering::Relaxed) {
        let written = collection.count().min(10) as usize;
        let request = QueryRequest::new("tokens", queries.multi(answered % queries.len()));
        assert!(collection.query(&request).unwrap().hits.len() >= written);
        answered += 1;
    }
    answered
}

fn check_bytes(collection: &Collection, documents: u64) {
    let segment = collection.info().segments.swap_remove(0);
    let section = |name: &str| -> u64 {
        let sections = segment.files.iter().flat_map(|file| &file.sections);
        sections.filter(|(section, _)| section == name).map(|(_, bytes)| bytes).sum()
    };
    let bytes = (section("primary") / documents, section("secondary") / documents);
    println!("{} + {} bytes a document", bytes.0, bytes.1);
    assert_eq!(bytes.0, 0, "what is scanned by centroids has no encodings");
}

fn check_budgets(collection: &Collection, data: &Path, queries: &Texts, truth: &Neighbours) {
    let qrels = BeirDataset::open(data, "test").unwrap().qrels().clone();
    for (budget, least) in [(100, 0.78), (500, 0.92), (1000, 0.96)] {
        let started = Instant::now();
        let found = hits(collection, queries, |request| request.limit(100).rerank(budget));
        let elapsed = started.elapsed() / queries.len() as u32;
        let (ten, ndcg) = (recall(&found, truth, 10, |_| true), ndcg(data, &found, &qrels));
        println!("budget {budget}: recall@10 {ten:.4}, nDCG@10 {ndcg:.4}, {elapsed:.0?} a query");
        assert!(ten >= least, "{ten} of the ten best among {budget}");
        assert!(budget < 500 || ndcg >= 0.325, "nDCG@10 {ndcg} with a budget of {budget}");
    }
    let exact = hits(collection, queries, |request| request.limit(100).exact());
    let ndcg = ndcg(data, &exact, &qrels);
    assert!((ndcg - 0.3292).abs() < 0.001, "{ndcg}");
    assert!(recall(&exact, truth, 10, |_| true) > 0.999);
}

fn check_targets(
    collection: &Collection,
    queries: &Texts,
    truth: &Neighbours,
    held_out: impl Fn(usize) -> bool,
) {
    for target in [0.9, 0.95, 0.98] {
        let found = hits(collection, queries, |request| request.target_recall(target));
        let got = recall(&found, truth, 10, &held_out);
        let first = QueryRequest::new("tokens", queries.multi(0)).target_recall(target);
        let answer = collection.query(&first.explain()).unwrap();
        let expected = answer.estimated_recall.unwrap();
        let stages = answer.explanation.unwrap().stages;
        println!("target {target}: held out {got:.4}, expected {expected:.4}, {:?}", stages[1]);
        assert_eq!(stages[0].source, "centroids");
        assert!(got >= f64::from(target) - 0.02, "target {target}: {got}");
        assert!(f64::from(expected) <= got + 0.03, "target {target}: {expected} for {got}");
    }
}

/// Every other query as a sample, and which are left.
fn halves(queries: &Texts) -> (TrainingQueries, impl Fn(usize) -> bool + use<>) {
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for query in (0..queries.len()).step_by(2) {
        values.extend_from_slice(queries.get(query));
        lengths.push(queries.get(query).len() / DIMENSION);
    }
    let vectors = MultiVector::from_flat(DIMENSION, values).unwrap();
    (TrainingQueries::multi(vectors, lengths).unwrap(), |query| query % 2 == 1)
}

/// Few dimensions, so that tests are fast.
const SMALL: usize = 16;

fn small(metric: Metric, compression: &str) -> VectorField {
    let encoding = "fde:repetitions=6:planes=3:block=8".parse().unwrap();
    VectorField::multi(SMALL, metric).encoded(encoding).compressed(compression.parse().unwrap())
}

/// Points whose tokens lie around one of some topics, of which a query asks for one; one in ten
/// has none.
struct Topics {
    random: Random,
    topics: Vec<Vec<f32>>,
}

impl Topics {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let topics = (0..40).map(|_| random.vector(SMALL)).collect();
        Self { random, topics }
    }

    fn tokens(&mut self, topic: usize, count: usize) -> MultiVector {
        let mut values = Vec::new();
        for _ in 0..count {
            let noise = self.random.vector(SMALL);
            let center = &self.topics[topic % self.topics.len()];
            values.extend(center.iter().zip(noise).map(|(center, noise)| center + 0.6 * noise));
        }
        MultiVector::from_flat(SMALL, values).unwrap()
    }

    fn point(&mut self, id: u64) -> Point {
        let payload = Payload::parse(&format!("{{\"part\":{}}}", id % 4)).unwrap();
        let point = Point::new(id).with_vector("other", vec![1.0]).with_payload(payload);
        if id.is_multiple_of(10) {
            return point;
        }
        let (topic, count) = (self.random.below(40), 1 + self.random.below(12));
        point.with_vector("tokens", self.tokens(topic, count))
    }
}

fn with_tokens(field: VectorField) -> CollectionConfig {
    CollectionConfig::new()
        .with_field("tokens", field)
        .with_field("other", VectorField::single(1, Metric::Dot))
        .with_payload("part", PayloadType::Integer)
}

/// Mean share of the exact ten best that are found, and that their scores are those.
fn compare(
    collection: &Collection,
    expected: &BTreeMap<PointId, Point>,
    topics: &mut Topics,
    tolerance: f64,
    ask: impl Fn(QueryRequest) -> QueryRequest,
) -> f64 {
    let metric = collection.config().fields["tokens"].metric;
    let (mut found, queries) = (0, 20);
    for topic in 0..queries {
        let query: Vector = topics.tokens(topic, 3).into();
        let exact = exact_top_k(expected, "tokens", metric, &query, 10);
        let answer = collection.query(&ask(QueryRequest::new("tokens", query.clone()))).unwrap();
        assert_eq!(answer.hits.len(), 10);
        for hit in &answer.hits {
            let point = &expected[&hit.point.id];
            let score = common::similarity(metric, &query, &point.vectors["tokens"]);
            assert!((f64::from(hit.score) - score).abs() < tolerance, "{} {score}", hit.score);
            found += usize::from(exact.iter().any(|(id, _)| *id == hit.point.id));
        }
    }
    found as f64 / (10 * queries) as f64
}

#[test]
fn every_code_of_tokens_reranks_filters_and_survives() {
    for (metric, compression, tolerance) in [
        (Metric::Dot, "auto", 0.2),
        (Metric::Cosine, "auto/lvq4", 0.3),
        (Metric::Dot, "auto/f16", 0.02),
        (Metric::Cosine, "lvq8:64/raw", 1e-4),
        (Metric::Dot, "lvq8/lvq8/drop-raw", 0.2),
        (Metric::L2, "auto", 1e-3),
    ] {
        println!("{metric:?} {compression}");
        let mut topics = Topics::new(3);
        let folder = tempfile::tempdir().unwrap();
        let encoded = metric != Metric::L2;
        let field = match encoded {
            true => small(metric, compression),
            false => VectorField::multi(SMALL, metric),
        };
        let mut expected = BTreeMap::new();
        {
            let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
            let collection = database.create_collection("c", with_tokens(field)).unwrap();
            let points: Vec<Point> = (0..2400).map(|id| topics.point(id)).collect();
            expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
            collection.upsert(points).unwrap();
            collection.optimize().unwrap();
            // Replaced and deleted, in memory and in the sealed segment.
            let points: Vec<Point> = (2300..2450).map(|id| topics.point(id)).collect();
            expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
            collection.upsert(points).unwrap();
            let gone: Vec<PointId> = (0..2450_u64).step_by(7).map(PointId::from).collect();
            expected.retain(|id, _| !gone.contains(id));
            collection.delete(gone, Durability::Synced).unwrap();
        }
        let database = Database::open(folder.path()).unwrap();
        let collection = database.collection("c").unwrap();
        let centroids = &collection.info().segments[0].centroids;
        assert_eq!(centroids.contains_key("tokens"), encoded);
        let deep = |request: QueryRequest| request.rerank(600);
        let all = compare(&collection, &expected, &mut topics, tolerance, deep);
        let default = compare(&collection, &expected, &mut topics, tolerance, |request| request);
        println!("recall {all} of 600, {default} by default");
        // Four bits an element are few for 16 dimensions.
        let floor = if compression.ends_with("lvq4") { 0.75 } else { 0.95 };
        assert!(all >= floor && default >= floor - 0.05, "{compression}: {all} {default}");
        let drop_raw = compression.ends_with("drop-raw");
        let exact = if drop_raw { 0.2 } else { 1e-3 };
        let got = compare(&collection, &expected, &mut topics, exact, QueryRequest::exact);
        assert!(got >= if drop_raw { 0.97 } else { 0.999 }, "{compression}: {got}");
        let mut part = expected.clone();
        part.retain(|_, point| point.payload.as_ref().unwrap().as_str() == "{\"part\":1}");
        let filter = || Filter::eq("part", FilterValue::from(1_i64));
        let filtered = |request: QueryRequest| request.rerank(600).filter(filter());
        let got = compare(&collection, &part, &mut topics, tolerance, filtered);
        assert!(got >= floor, "{compression} filtered: {got}");
        returned(&collection, &expected, if drop_raw { 0.05 } else { 1e-6 });
    }
}

/// The vectors that come back are those that were written, as far as they were kept.
fn returned(collection: &Collection, expected: &BTreeMap<PointId, Point>, tolerance: f32) {
    for (id, point) in expected.iter().step_by(97) {
        let got =
            collection.get(std::slice::from_ref(id), Include::ALL).unwrap().remove(0).unwrap();
        assert_eq!(got.vectors.len(), point.vectors.len());
        let Some(tokens) = point.vectors.get("tokens") else { continue };
        let mut tokens = tokens.as_ref().values().to_vec();
        if collection.config().fields["tokens"].metric == Metric::Cosine {
            tokens.chunks_exact_mut(SMALL).for_each(|token| {
                lanner::internals::kernels::normalize(token);
            });
        }
        let got = got.vectors["tokens"].as_ref().values().to_vec();
        assert_eq!(got.len(), tokens.len());
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance;
        assert!(got.iter().zip(&tokens).all(close), "{got:?} {tokens:?}");
    }
}

#[test]
fn indexes_over_encodings_find_what_scans_find() {
    for kind in ["graph:degree=16", "ivf"] {
        let mut topics = Topics::new(6);
        let folder = tempfile::tempdir().unwrap();
        let options = DatabaseOptions::new().threads(2).index_rows(1000);
        let database = options.open(folder.path()).unwrap();
        let field = small(Metric::Dot, "auto").indexed(kind.parse().unwrap());
        let collection = database.create_collection("c", with_tokens(field)).unwrap();
        let points: Vec<Point> = (0..3000).map(|id| topics.point(id)).collect();
        let mut expected: BTreeMap<PointId, Point> =
            points.iter().map(|point| (point.id.clone(), point.clone())).collect();
        collection.upsert(points).unwrap();
        collection.optimize().unwrap();
        let gone: Vec<PointId> = (0..3000_u64).step_by(9).map(PointId::from).collect();
        expected.retain(|id, _| !gone.contains(id));
        collection.delete(gone, Durability::Synced).unwrap();
        let request = QueryRequest::new("tokens", topics.tokens(1, 3)).search_window(50).explain();
        let stages = collection.query(&request).unwrap().explanation.unwrap().stages;
        assert_eq!(stages[0].name, "search", "{stages:?}");
        assert!(stages[0].source.starts_with(&kind[..3]), "{stages:?}");
        let search = |request: QueryRequest| request.search_window(300).rerank(400);
        let got = compare(&collection, &expected, &mut topics, 0.2, search);
        let default = compare(&collection, &expected, &mut topics, 0.2, |request| request);
        println!("{kind}: recall {got}, {default} by default");
        assert!(got >= 0.93 && default >= 0.9, "{kind}: {got} {default}");
    }
}

#[test]
fn recall_holds_while_points_come_and_go() {
    let mut topics = Topics::new(5);
    let folder = tempfile::tempdir().unwrap();
    let options = DatabaseOptions::new().threads(2).seal_bytes(300 << 10);
    let database = options.open(folder.path()).unwrap();
    let config = with_tokens(small(Metric::Dot, "auto"));
    let collection = database.create_collection("c", config).unwrap();
    let mut expected = BTreeMap::new();
    for generation in 0..4_u64 {
        for part in 0..4 {
            let first = generation * 800 + part * 300;
            let points: Vec<Point> = (first..first + 300).map(|id| topics.point(id)).collect();
            expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
            collection.upsert(points).unwrap();
            let gone: Vec<PointId> = (0..60)
                .map(|_| PointId::from(topics.random.below(first as usize + 300) as u64))
                .collect();
            expected.retain(|id, _| !gone.contains(id));
            collection.delete(gone, Durability::Buffered).unwrap();
        }
        let got = compare(&collection, &expected, &mut topics, 0.2, |request| request);
        println!("generation {generation}: recall {got}");
        assert!(got >= 0.9, "generation {generation}: {got}");
    }
    let streamed = compare(&collection, &expected, &mut topics, 0.2, |request| request.rerank(500));
    collection.optimize().unwrap();
    let built = compare(&collection, &expected, &mut topics, 0.2, |request| request.rerank(500));
    assert!(streamed >= built - 0.02, "{streamed} {built}");
}

/// Large enough for lists by centroid. A token is near one of 3,000 places, and those of a point are
/// near some of the ten places of its subject.
#[test]
fn lists_by_centroid_find_candidates_and_know_what_they_miss() {
    const POINTS: u64 = 17_000;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = with_tokens(VectorField::multi(SMALL, Metric::Cosine));
    let collection = database.create_collection("docs", config).unwrap();
    let mut random = Random::new(19);
    let places: Vec<Vec<f32>> = (0..3000).map(|_| random.vector(SMALL)).collect();
    let mut near_a_subject = |tokens: usize| {
        let (subject, mut values) = (random.below(600), Vec::new());
        for _ in 0..tokens {
            let place = &places[(subject * 7 + random.below(10) * 301) % 3000];
            let noise = random.vector(SMALL);
            values.extend(place.iter().zip(noise).map(|(place, noise)| place + 0.4 * noise));
        }
        MultiVector::from_flat(SMALL, values).unwrap()
    };
    let mut batch = collection.batch();
    for id in 0..POINTS {
        let payload = Payload::parse(&format!("{{\"part\":{}}}", id % 4)).unwrap();
        let point = Point::new(id).with_vector("tokens", near_a_subject(6)).with_payload(payload);
        batch.push(point).unwrap();
    }
    collection.upsert_batch(batch.finish(), Durability::Buffered).unwrap();
    collection.optimize().unwrap();
    let gone: Vec<PointId> = (0..POINTS).step_by(9).map(PointId::Number).collect();
    collection.delete(gone.clone(), Durability::Buffered).unwrap();
    assert!(collection.info().segments[0].codecs.is_empty(), "no encodings");
    let mut query = |tokens: usize| QueryRequest::new("tokens", near_a_subject(tokens));
    let source = |request: &QueryRequest| {
        let answer = collection.query(&request.clone().explain()).unwrap();
        answer.explanation.unwrap().stages.into_iter().find(|stage| stage.rows > 0).unwrap()
    };
    for target in [0.9, 0.98] {
        let (mut found, mut promised, mut by_lists, mut rows) = (0, 0.0, 0, 0);
        let queries = 60;
        for _ in 0..queries {
            let request = query(5).target_recall(target);
            let answer = collection.query(&request).unwrap();
            let exact = collection.query(&request.clone().exact()).unwrap();
            let hits = |answer: &QueryResponse| -> Vec<PointId> {
                answer.hits.iter().map(|hit| hit.point.id.clone()).collect()
            };
            let (got, exact) = (hits(&answer), hits(&exact));
            assert!(got.iter().all(|id| !gone.contains(id)));
            found += exact.iter().filter(|id| got.contains(id)).count();
            promised += f64::from(answer.estimated_recall.unwrap());
            let stage = source(&request);
            if stage.source == "lists of centroids" {
                by_lists += 1;
                rows += stage.rows;
            }
        }
        let (got, promised) = (found as f64 / (10 * queries) as f64, promised / queries as f64);
        println!("target {target}: {got:.3} found, {promised:.3} promised, {by_lists} by lists");
        assert!(got >= f64::from(target) - 0.01 && promised <= got + 0.01, "{got} {promised}");
        assert!(by_lists > queries / 2 && rows / by_lists as u64 * 2 < POINTS, "{by_lists} {rows}");
    }
    // Too few tokens to know what is missed, and filters: a scan.
    assert_eq!(source(&query(2)).source, "centroids");
    let part = Filter::eq("part", FilterValue::from(1_i64));
    let filtered = query(5).filter(part);
    assert!(source(&filtered).source != "lists of centroids");
    assert_eq!(collection.query(&filtered).unwrap().hits.len(), 10);
}

#[test]
fn similar_tokens_are_replaced_by_their_mean_when_points_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = with_tokens(VectorField::multi(2, Metric::Cosine).pooled(2));
    let collection = database.create_collection("c", config).unwrap();
    let tokens = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9], [0.8, 0.0]];
    let tokens = MultiVector::from_rows(&tokens).unwrap();
    let one = MultiVector::from_rows(&[[3.0, 4.0]]).unwrap();
    collection
        .upsert([
            Point::new(1).with_vector("tokens", tokens),
            Point::new(2).with_vector("tokens", one),
        ])
        .unwrap();
    for _ in 0..2 {
        let points = collection.get(&[1.into(), 2.into()], Include::ALL).unwrap();
        let vectors = |index: usize| {
            points[index].as_ref().unwrap().vectors["tokens"].as_ref().values().to_vec()
        };
        assert_eq!(vectors(0).len(), 2 * 2, "five tokens became two");
        assert_eq!(vectors(1), [0.6, 0.8], "one stays");
        collection.flush().unwrap();
    }
    // A query's tokens stay as they are.
    let query = MultiVector::from_rows(&[[0.6, 0.8], [0.6, 0.8]]).unwrap();
    let answer = collection.query(&QueryRequest::new("tokens", query)).unwrap();
    assert!((answer.hits[0].score - 2.0).abs() < 1e-6);
}

#[test]
fn bad_tokens_are_refused_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = with_tokens(VectorField::multi(2, Metric::Cosine));
    let collection = database.create_collection("c", config).unwrap();
    let flat = |dimension, values: Vec<f32>| MultiVector::from_flat(dimension, values).unwrap();
    for (tokens, expected) in [
        (flat(2, vec![]), "at least one vector"),
        (flat(3, vec![1.0; 3]), "expected 2 dimensions, got 3"),
        (flat(2, vec![1.0, 0.0, 0.0, 0.0]), "non-zero"),
        (flat(2, vec![1.0, f32::NAN]), "finite"),
        (flat(2, vec![1.0; 2 * 16_385]), "expected 1 to 16384, got 16385"),
    ] {
        let good = Point::new(1).with_vector("tokens", flat(2, vec![1.0; 4]));
        let error = collection.upsert([good, Point::new(2).with_vector("tokens", tokens.clone())]);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("points[1].vectors.tokens"), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        let error = collection.query(&QueryRequest::new("tokens", tokens)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(collection.count(), 0);
    }
    assert!(MultiVector::from_rows(&[vec![1.0, 2.0], vec![1.0]]).is_err(), "ragged");
    for (encoding, expected) in [
        ("fde:planes=31", "fields.tokens.encoding.simhash_projections: expected 0 to 20, got 31"),
        ("fde:block=0:planes=20", "expected 1 to 1048576, got 41943040"),
        ("fde:block=2:carve=7", "fields.tokens.encoding.ball_carving: expected a cosine"),
    ] {
        let field = VectorField::multi(2, Metric::Dot).encoded(encoding.parse().unwrap());
        let error = database.create_collection("d", with_tokens(field)).err().unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(database.collections().len(), 1);
}

#[test]
fn documents_of_one_token_and_of_equal_tokens_are_searched() {
    let mut random = Random::new(8);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = with_tokens(small(Metric::Dot, "auto"));
    let collection = database.create_collection("c", config).unwrap();
    let points = (0..1500_u64).map(|id| {
        let token = random.vector(SMALL);
        let copies = [1, 1, 30][id as usize % 3];
        Point::new(id)
            .with_vector("tokens", MultiVector::from_flat(SMALL, token.repeat(copies)).unwrap())
    });
    let expected: BTreeMap<PointId, Point> =
        points.map(|point| (point.id.clone(), point)).collect();
    collection.upsert(expected.values().cloned()).unwrap();
    collection.optimize().unwrap();
    let mut topics = Topics::new(9);
    let got = compare(&collection, &expected, &mut topics, 0.2, |request| request.rerank(700));
    assert!(got >= 0.95, "{got}");
}

/// Late-interaction models give all tokens a large common mean. It adds the same to each product of a
/// query's token, and changes no ranking.
#[test]
fn a_common_mean_of_all_tokens_costs_no_recall() {
    let mean: Vec<f32> =
        (0..SMALL).map(|at| if at % 3 == 0 { 0.8 / 6_f32.sqrt() } else { 0.0 }).collect();
    for (index, index_rows) in [("flat", 10_000), ("graph:degree=16", 1000)] {
        let mut recalls = Vec::new();
        for share in [0.0, 1.0] {
            let mut topics = Topics::new(12);
            let mut shifted = |topic: usize, count: usize| {
                let mut values = topics.tokens(topic, count).values().to_vec();
                for token in values.chunks_exact_mut(SMALL) {
                    lanner::internals::kernels::normalize(token);
                    token.iter_mut().zip(&mean).for_each(|(value, mean)| *value += share * mean);
                }
                MultiVector::from_flat(SMALL, values).unwrap()
            };
            let folder = tempfile::tempdir().unwrap();
            let options = DatabaseOptions::new().threads(2).index_rows(index_rows);
            let database = options.open(folder.path()).unwrap();
            let field = small(Metric::Dot, "auto").indexed(index.parse().unwrap());
            let collection = database.create_collection("c", with_tokens(field)).unwrap();
            let points = (0..3000_usize)
                .map(|id| Point::new(id as u64).with_vector("tokens", shifted(id * 7, 2 + id % 9)));
            let expected: BTreeMap<PointId, Point> =
                points.map(|point| (point.id.clone(), point)).collect();
            collection.upsert(expected.values().cloned()).unwrap();
            collection.optimize().unwrap();
            let (mut found, mut estimated, queries) = (0, 0.0, 60);
            for topic in 0..queries {
                let query: Vector = shifted(topic, 1 + topic % 6).into();
                let exact = exact_top_k(&expected, "tokens", Metric::Dot, &query, 10);
                let request = QueryRequest::new("tokens", query).target_recall(0.95);
                let answer = collection.query(&request).unwrap();
                let is_exact = |hit: &&Hit| exact.iter().any(|(id, _)| *id == hit.point.id);
                found += answer.hits.iter().filter(is_exact).count();
                estimated += answer.estimated_recall.unwrap();
            }
            let recall = found as f32 / (10 * queries) as f32;
            let estimated = estimated / queries as f32;
            println!("{index}, {share} of the mean: recall {recall}, estimated {estimated}");
            assert!(recall >= 0.95 && estimated <= recall + 0.01, "{recall}, {estimated}");
            recalls.push(recall);
        }
        assert!(recalls[1] >= recalls[0] - 0.02, "{index}: {recalls:?}");
    }
}

/// Documents of 1 and of 3,000 tokens beside each other, and queries of 1 and of 1,100, of which more
/// are compared with documents than with centroids.
#[test]
fn documents_and_queries_of_any_length_are_found() {
    let mut topics = Topics::new(14);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection =
        database.create_collection("c", with_tokens(small(Metric::Dot, "auto"))).unwrap();
    let length = |id: u64| if id.is_multiple_of(400) { 3000 } else { 1 + (id % 3) as usize };
    let points = (0..1600_u64)
        .map(|id| Point::new(id).with_vector("tokens", topics.tokens(id as usize, length(id))));
    let expected: BTreeMap<PointId, Point> =
        points.map(|point| (point.id.clone(), point)).collect();
    collection.upsert(expected.values().cloned()).unwrap();
    collection.optimize().unwrap();
    for tokens in [1, 40, 1100] {
        let query: Vector = topics.tokens(3, tokens).into();
        let exact = exact_top_k(&expected, "tokens", Metric::Dot, &query, 10);
        let request = || QueryRequest::new("tokens", query.clone());
        let same = |answer: QueryResponse| {
            let is_exact = |hit: &&Hit| exact.iter().any(|(id, _)| *id == hit.point.id);
            answer.hits.iter().filter(is_exact).count()
        };
        let found = same(collection.query(&request()).unwrap());
        assert!(found >= 9, "{found} of ten for {tokens} tokens");
        assert_eq!(same(collection.query(&request().exact()).unwrap()), 10, "{tokens} tokens");
    }
}
