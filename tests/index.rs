//! Indexes as users meet them: what they find, through filters and deletions, while they are built,
//! after they were opened again, and when they are damaged.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Random, exact_top_k, ids, matrix, shared_data};
use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, Filter,
    IndexKind, IndexSettings, IndexStatus, Metric, MultiVector, Payload, PayloadType, Point,
    PointId, QueryRequest, QueryResponse, Vector, VectorField,
};
use lanner_eval::{read_neighbours, recall_at};

const DIMENSION: usize = 48;
const CLUSTERS: usize = 60;

/// Points around seeded centres, as embeddings of texts lie around topics.
struct Topics {
    random: Random,
    centres: Vec<Vec<f32>>,
}

impl Topics {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let centres = (0..CLUSTERS).map(|_| random.vector(DIMENSION)).collect();
        Self { random, centres }
    }

    fn vector(&mut self) -> (usize, Vec<f32>) {
        let topic = self.random.below(CLUSTERS);
        let noise = self.random.vector(DIMENSION);
        let near = self.centres[topic].iter().zip(noise).map(|(c, n)| c + 0.7 * n);
        (topic, near.collect())
    }

    /// A point whose payload says its topic, and a number from 0 to 999 that has nothing to do
    /// with it.
    fn point(&mut self, id: u64) -> Point {
        let (topic, vector) = self.vector();
        let any = self.random.below(1000);
        let payload = Payload::parse(&format!("{{\"topic\":{topic},\"any\":{any}}}")).unwrap();
        Point::new(id).with_vector("v", vector).with_payload(payload)
    }
}

fn config(metric: Metric, index: &str) -> CollectionConfig {
    let field = VectorField::single(DIMENSION, metric).indexed(index.parse().unwrap());
    let mut config = CollectionConfig::new().with_field("v", field);
    for path in ["topic", "any"] {
        config.payload.insert(path.into(), PayloadType::Integer);
    }
    config
}

fn open(folder: &std::path::Path) -> Database {
    DatabaseOptions::new().index_rows(2_000).open(folder).unwrap()
}

fn write(collection: &Collection, points: impl Iterator<Item = Point>) {
    let points: Vec<Point> = points.collect();
    for batch in points.chunks(2_000) {
        collection.upsert(batch.iter().cloned()).unwrap();
    }
}

/// The kinds of the indexes that are there.
fn kinds(collection: &Collection) -> Vec<IndexKind> {
    let info = collection.info();
    let statuses = info.segments.iter().flat_map(|segment| segment.indexes.values());
    let kind = |status: &IndexStatus| match status {
        IndexStatus::Ready { report, .. } => Some(report.kind),
        _ => None,
    };
    statuses.filter_map(kind).collect()
}

/// Mean share of the exact answers' hits that the others found.
fn recall(exact: &[QueryResponse], found: &[QueryResponse]) -> f64 {
    let share = |(exact, found): (&QueryResponse, &QueryResponse)| {
        let (exact, found) = (ids(exact), ids(found));
        let hits = exact.iter().filter(|id| found.contains(id)).count();
        hits as f64 / exact.len().max(1) as f64
    };
    exact.iter().zip(found).map(share).sum::<f64>() / exact.len() as f64
}

/// Exact answers, and those of the indexes.
fn both(
    collection: &Collection,
    requests: &[QueryRequest],
) -> (Vec<QueryResponse>, Vec<QueryResponse>) {
    let ask =
        |requests: &[QueryRequest]| collection.query_batch(requests, Deadline::NEVER).unwrap();
    let exact: Vec<QueryRequest> = requests.iter().map(|request| request.clone().exact()).collect();
    (ask(&exact), ask(requests))
}

fn stages(collection: &Collection, request: &QueryRequest) -> Vec<(String, String)> {
    let answer = collection.query(&request.clone().explain()).unwrap();
    let stages = answer.explanation.unwrap().stages.into_iter();
    stages.map(|stage| (stage.name, stage.source)).collect()
}

#[test]
fn every_kind_finds_the_neighbours_at_its_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    for (metric, index, kind) in [
        (Metric::Cosine, "auto", None),
        (Metric::Cosine, "graph", Some(IndexKind::Graph)),
        (Metric::L2, "graph", Some(IndexKind::Graph)),
        (Metric::Dot, "graph", Some(IndexKind::Graph)),
        (Metric::L2, "ivf", Some(IndexKind::Ivf)),
        (Metric::Dot, "ivf:lists=50", Some(IndexKind::Ivf)),
    ] {
        let name = format!("{metric:?}-{index}").to_lowercase().replace([':', '='], "-");
        let collection = database.create_collection(&name, config(metric, index)).unwrap();
        let mut topics = Topics::new(1);
        write(&collection, (0..6_000).map(|id| topics.point(id)));
        collection.optimize().unwrap();
        let kinds = kinds(&collection);
        assert_eq!(kinds.len(), 1, "{name}: optimize waits for the index");
        assert!(kind.is_none_or(|kind| kinds == [kind]), "{name}: {kinds:?}");
        let requests: Vec<QueryRequest> =
            (0..100).map(|_| QueryRequest::new("v", topics.vector().1)).collect();
        let (exact, found) = both(&collection, &requests);
        let share = recall(&exact, &found);
        assert!(share >= 0.95, "{name}: recall {share}");
        assert!(exact.iter().all(|answer| answer.estimated_recall == Some(1.0)));
        let estimates: Vec<f32> =
            found.iter().filter_map(|answer| answer.estimated_recall).collect();
        // What few of the sample are as far from the rows as may be less certain.
        assert!(estimates.len() == 100 && estimates.iter().all(|e| (0.6..=1.0).contains(e)));
        let mean = estimates.iter().map(|&e| f64::from(e)).sum::<f64>() / 100.0;
        assert!((0.9..=share + 0.03).contains(&mean), "{name}: {mean} is expected of {share}");
        // The index was used, and `exact` leaves it out.
        let of_index = stages(&collection, &requests[0]);
        assert_eq!(of_index[0].0, "search", "{of_index:?}");
        assert!(of_index[0].1.starts_with(kinds[0].as_str()), "{of_index:?}");
        assert_eq!(stages(&collection, &requests[0].clone().exact())[0].1, "vectors");
    }
}

#[test]
fn filters_of_any_selectivity_find_what_matches_near_and_far() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection = database.create_collection("c", config(Metric::Cosine, "graph")).unwrap();
    let mut topics = Topics::new(2);
    write(&collection, (0..12_000).map(|id| topics.point(id)));
    collection.optimize().unwrap();
    let mut ways = BTreeMap::<String, u32>::new();
    for per_mille in [1, 5, 20, 100, 300, 500, 900] {
        // 0: nothing to do with the query. 1: the topics of the query. 2: only other topics.
        for related in 0..3 {
            let requests: Vec<QueryRequest> = (0..30)
                .map(|_| {
                    let (topic, vector) = topics.vector();
                    let any = Filter::range("any", Bounds::default().lt(per_mille));
                    let filter = match related {
                        0 => any,
                        1 => any.or(Filter::eq("topic", topic as i64)),
                        _ => any.and(!Filter::eq("topic", topic as i64)),
                    };
                    QueryRequest::new("v", vector).filter(filter)
                })
                .collect();
            let (exact, found) = both(&collection, &requests);
            let share = recall(&exact, &found);
            assert!(share >= 0.93, "{per_mille} ‰, related {related}: recall {share}");
            let filter = stages(&collection, &requests[0]).swap_remove(0);
            assert_eq!(filter.0, "filter");
            *ways.entry(filter.1).or_default() += 1;
        }
    }
    assert!(ways.contains_key("gathered") && ways.contains_key("traversed"), "{ways:?}");
}

#[test]
fn generations_of_writes_and_deletions_stay_within_a_fresh_build() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let streamed = database.create_collection("s", config(Metric::Cosine, "graph")).unwrap();
    let mut topics = Topics::new(3);
    let mut points = BTreeMap::<PointId, Point>::new();
    for generation in 0..4_u64 {
        // New points, and some of those before once more, elsewhere.
        let batch: Vec<Point> = (0..2_500).map(|i| topics.point(generation * 2_000 + i)).collect();
        points.extend(batch.iter().map(|point| (point.id.clone(), point.clone())));
        write(&streamed, batch.into_iter());
        let gone: Vec<PointId> =
            (0..300).map(|i| PointId::from(generation * 2_000 + 7 * i)).collect();
        streamed.delete(gone.clone(), Durability::Buffered).unwrap();
        points.retain(|id, _| !gone.contains(id));
        streamed.flush().unwrap();
        // Whether an index is there by now or not: what is gone or old is never found.
        for _ in 0..20 {
            let query = topics.vector().1;
            let answer = streamed.query(&QueryRequest::new("v", query.clone())).unwrap();
            let query = Vector::Single(query);
            for hit in &answer.hits {
                let point = points.get(&hit.point.id).expect("a deleted point was found");
                let score = common::similarity(Metric::Cosine, &query, &point.vectors["v"]);
                assert!((score - f64::from(hit.score)).abs() < 1e-4, "an old vector was found");
            }
        }
    }
    let requests: Vec<QueryRequest> =
        (0..100).map(|_| QueryRequest::new("v", topics.vector().1)).collect();
    streamed.optimize().unwrap();
    assert_eq!(kinds(&streamed), [IndexKind::Graph]);
    let (exact, found) = both(&streamed, &requests);
    let first = exact_top_k(&points, "v", Metric::Cosine, &query_of(&requests[0]), 10);
    assert_eq!(ids(&exact[0]), first.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    let fresh = database.create_collection("f", config(Metric::Cosine, "graph")).unwrap();
    write(&fresh, points.into_values());
    fresh.optimize().unwrap();
    let (exact_fresh, found_fresh) = both(&fresh, &requests);
    let (share, share_fresh) = (recall(&exact, &found), recall(&exact_fresh, &found_fresh));
    assert!(share >= share_fresh - 0.02, "streamed {share}, fresh {share_fresh}");
}

fn query_of(request: &QueryRequest) -> Vector {
    match &request.query {
        lanner::Query::Vector(vector) => vector.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_index_is_kept_over_a_restart_and_built_again_if_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut topics = Topics::new(4);
    let requests: Vec<QueryRequest> =
        (0..30).map(|_| QueryRequest::new("v", topics.vector().1)).collect();
    let ask = |collection: &Collection| -> Vec<Vec<PointId>> {
        let answers = collection.query_batch(&requests, Deadline::NEVER).unwrap();
        answers.iter().map(ids).collect()
    };
    let before = {
        let database = open(folder.path());
        let collection = database.create_collection("c", config(Metric::Cosine, "auto")).unwrap();
        write(&collection, (0..5_000).map(|id| topics.point(id)));
        collection.optimize().unwrap();
        ask(&collection)
    };
    let index_files = || -> Vec<std::path::PathBuf> {
        let folders = fs::read_dir(folder.path().join("collections/1")).unwrap();
        let files = folders.map(|entry| entry.unwrap().path().join("index.sec"));
        files.filter(|file| file.exists()).collect()
    };
    let [file] = <[_; 1]>::try_from(index_files()).unwrap();
    {
        let database = open(folder.path());
        let collection = database.collection("c").unwrap();
        assert_eq!(kinds(&collection).len(), 1, "it is there at once");
        assert_eq!(ask(&collection), before);
        collection.optimize().unwrap();
        assert_eq!(index_files(), std::slice::from_ref(&file), "and not built again");
    }
    let sound = fs::read(&file).unwrap();
    // The header, the report, and the end of the file.
    for at in [3, 80, sound.len() - 20] {
        let mut bytes = fs::read(&file).unwrap_or(sound.clone());
        bytes[at] ^= 0x40;
        let [path] = <[_; 1]>::try_from(index_files()).unwrap();
        fs::write(&path, &bytes[..]).unwrap();
        let database = open(folder.path());
        let collection = database.collection("c").unwrap();
        collection.optimize().unwrap();
        assert_eq!(ask(&collection), before, "byte {at}");
        assert_ne!(index_files(), [path], "byte {at}: a new one took its place");
    }
}

#[test]
fn merges_take_the_indexes_of_their_inputs_away() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection =
        database.create_collection("c", config(Metric::L2, "graph:degree=16")).unwrap();
    let mut topics = Topics::new(5);
    for part in 0..2_u64 {
        write(&collection, (0..2_500).map(|id| topics.point(part * 2_500 + id)));
        collection.optimize().unwrap();
    }
    let info = collection.info();
    assert_eq!((info.segments.len(), kinds(&collection)), (1, vec![IndexKind::Graph]));
    let folders = fs::read_dir(folder.path().join("collections/1")).unwrap();
    let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let numbered = names.filter(|name| name.parse::<u64>().is_ok());
    assert_eq!(numbered.count(), 2, "one segment and its index");
}

#[test]
fn only_what_is_large_and_compressed_is_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let flat = IndexSettings::new(IndexKind::Flat);
    let single = || VectorField::single(8, Metric::Dot);
    let encoding = "fde:repetitions=2:planes=2:block=4".parse().unwrap();
    let tokens = VectorField::multi(8, Metric::Dot).encoded(encoding);
    let config = CollectionConfig::new()
        .with_field("flat", single().indexed(flat))
        .with_field("plain", single().compressed("none".parse().unwrap()))
        .with_field("tokens", tokens.indexed(flat))
        .with_field("rare", single())
        .with_field("usual", single());
    let collection = database.create_collection("c", config).unwrap();
    let mut random = Random::new(6);
    let points = (0..3_000_u64).map(|id| {
        let mut point = Point::new(id)
            .with_vector("flat", random.vector(8))
            .with_vector("plain", random.vector(8))
            .with_vector("tokens", random.multi(8, 2))
            .with_vector("usual", random.vector(8));
        if id < 1_500 {
            point = point.with_vector("rare", random.vector(8));
        }
        point
    });
    write(&collection, points);
    collection.optimize().unwrap();
    let kind = |status: &IndexStatus| match status {
        IndexStatus::Ready { report, .. } => report.kind,
        other => panic!("{other:?}"),
    };
    let indexes = &collection.info().segments[0].indexes;
    // Queries for tokens learn by themselves how far to go.
    assert_eq!(indexes.keys().collect::<Vec<_>>(), ["flat", "rare", "usual"]);
    // What is scanned is calibrated all the same.
    for scanned in ["flat", "rare"] {
        assert_eq!(kind(&indexes[scanned]), IndexKind::Flat, "{scanned}");
    }
    assert_ne!(kind(&indexes["usual"]), IndexKind::Flat);
}

#[test]
fn what_a_search_cannot_be_asked_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection = database.create_collection("c", config(Metric::Dot, "auto")).unwrap();
    let request = || QueryRequest::new("v", vec![1.0; DIMENSION]);
    for (request, expected) in [
        (request().target_recall(0.4), "target_recall: expected 0.5 to 0.999, got 0.4"),
        (request().target_recall(1.0), "target_recall: expected 0.5 to 0.999, got 1"),
        (request().target_recall(f32::NAN), "target_recall: expected 0.5 to 0.999, got NaN"),
        (request().search_window(0), "search_window: expected 1 to 100000, got 0"),
    ] {
        assert_eq!(collection.query(&request).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_target_recall_is_reached_on_queries_that_were_held_out() {
    let Some(data) = shared_data("wn-deb-384") else { return };
    let base = matrix(&data.join("base.f16.npy"));
    for set in ["id", "ood_lemma", "ood_synopsis"] {
        let queries = matrix(&data.join(format!("queries_{set}.f32.npy")));
        let truth = data.join(format!("groundtruth_cosine_top100_{set}.i32.npy"));
        let truth = read_neighbours(&truth).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let config =
            CollectionConfig::new().with_field("v", VectorField::single(384, Metric::Cosine));
        let sample: Vec<Vec<f32>> = queries.iter().step_by(2).cloned().collect();
        let sample = MultiVector::from_rows(&sample).unwrap();
        let samples = BTreeMap::from([("v".to_owned(), sample.into())]);
        let collection = database.create_collection_with("c", config, &samples).unwrap();
        let points = base.iter().zip(0_u64..);
        let points: Vec<Point> =
            points.map(|(row, id)| Point::new(id).with_vector("v", row.clone())).collect();
        write(&collection, points.into_iter());
        collection.optimize().unwrap();
        assert_eq!(kinds(&collection).len(), 1);
        let held_out: Vec<usize> = (1..queries.len()).step_by(2).collect();
        for target in [0.9_f32, 0.95, 0.99] {
            let ask = |&query: &usize| {
                QueryRequest::new("v", queries[query].clone()).target_recall(target)
            };
            let requests: Vec<QueryRequest> = held_out.iter().map(ask).collect();
            let answers = collection.query_batch(&requests, Deadline::NEVER).unwrap();
            // For the others nothing was asked: they are left out of the mean.
            let mut found = vec![Vec::new(); queries.len()];
            for (&query, answer) in held_out.iter().zip(&answers) {
                let row = |id: PointId| match id {
                    PointId::Number(row) => row,
                    PointId::Text(_) => u64::MAX,
                };
                found[query] = ids(answer).into_iter().map(row).collect();
            }
            let share =
                recall_at(10, &truth, &found) * queries.len() as f64 / held_out.len() as f64;
            println!("{set}: target {target}, recall {share:.4}");
            assert!(share >= f64::from(target) - 0.01, "{set}: target {target}, recall {share}");
        }
    }
}
