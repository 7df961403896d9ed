//! Compressed collections: two-phase search finds what the exact one does, whatever happens to
//! the segments, and points say when their vectors are reconstructed.

mod common;

use common::{Random, ids, shared_data};
use lanner::{
    Collection, CollectionConfig, Compression, Database, DatabaseOptions, Durability, ElementType,
    ErrorKind, Include, IndexKind, IndexSettings, Metric, MultiVector, Point, PointId,
    QueryRequest, ReductionMethod, VectorField,
};
use lanner_eval::{NpyMatrix, read_neighbours};

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];
const DIMENSION: usize = 24;

/// A vector whose later elements are smaller, so that it can be reduced.
fn vector(random: &mut Random) -> Vec<f32> {
    let mut vector = random.vector(DIMENSION);
    vector.iter_mut().enumerate().for_each(|(i, value)| *value /= 1.0 + i as f32 / 4.0);
    vector
}

fn config(metric: Metric, compression: &str) -> CollectionConfig {
    let field = VectorField::single(DIMENSION, metric).compressed(compression.parse().unwrap());
    CollectionConfig::new()
        .with_field("v", field)
        .with_field("other", VectorField::single(1, Metric::Dot))
}

/// Points of these ids; every tenth has no vector.
fn fill(collection: &Collection, ids: std::ops::Range<u64>, random: &mut Random) {
    collection
        .upsert(ids.map(|id| match id % 10 {
            3 => Point::new(id).with_vector("other", vec![1.0]),
            _ => Point::new(id).with_vector("v", vector(random)),
        }))
        .unwrap();
}

/// Mean share of the exact ten nearest that a two-phase query finds.
fn recall(collection: &Collection, random: &mut Random) -> f64 {
    let queries: Vec<Vec<f32>> = (0..50).map(|_| vector(random)).collect();
    recall_of(collection, queries)
}

fn recall_of(collection: &Collection, queries: Vec<Vec<f32>>) -> f64 {
    let (mut found, count) = (0, queries.len());
    for query in queries {
        let query = QueryRequest::new("v", query);
        let coded = collection.query(&query.clone().rerank(50).explain()).unwrap();
        let stages = coded.explanation.as_ref().unwrap().stages.clone();
        assert!(stages.iter().any(|stage| stage.source.starts_with("codes")), "{stages:?}");
        assert!(stages.iter().any(|stage| stage.name == "rerank"), "{stages:?}");
        let exact = ids(&collection.query(&query.exact()).unwrap());
        found += ids(&coded).iter().filter(|id| exact.contains(id)).count();
    }
    found as f64 / (10 * count) as f64
}

#[test]
fn two_phases_find_what_one_exact_phase_does() {
    for metric in METRICS {
        for compression in
            ["auto", "lvq8", "lvq4", "lvq4x4", "lvq4x8/drop-raw", "lvq8:12", "lvq8:16/f16/drop-raw"]
        {
            let mut random = Random::new(1);
            let folder = tempfile::tempdir().unwrap();
            let database = Database::open(folder.path()).unwrap();
            let collection = database.create_collection("c", config(metric, compression)).unwrap();
            fill(&collection, 0..2000, &mut random);
            collection.flush().unwrap();
            // Some in memory, some rewritten there, some gone; too few for a merge.
            fill(&collection, 1900..2500, &mut random);
            collection.delete((0..100).map(PointId::from).collect(), Durability::Synced).unwrap();
            let recall = recall(&collection, &mut random);
            assert!(recall >= 0.97, "{metric:?} {compression}: {recall}");
        }
    }
}

#[test]
fn scores_are_those_of_the_vectors_if_they_are_kept() {
    let mut random = Random::new(2);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config(Metric::Cosine, "lvq4:16")).unwrap();
    fill(&collection, 0..2000, &mut random);
    let query = QueryRequest::new("v", vector(&mut random)).limit(5);
    let before = collection.query(&query).unwrap();
    collection.flush().unwrap();
    let after = collection.query(&query.clone().rerank(200)).unwrap();
    assert_eq!(before.hits, after.hits, "exact in memory, re-ranked by vectors when sealed");
}

#[test]
fn dropped_vectors_are_reconstructed_and_say_so() {
    for (compression, tolerance) in
        [("lvq4:12/drop-raw", 0.01), ("auto/f16/drop-raw", 0.001), ("lvq4x8/drop-raw", 0.001)]
    {
        let mut random = Random::new(3);
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let collection = database.create_collection("c", config(Metric::Dot, compression)).unwrap();
        let written: Vec<Vec<f32>> = (0..1200).map(|_| vector(&mut random)).collect();
        let point = |(id, v): (usize, &Vec<f32>)| Point::new(id as u64).with_vector("v", v.clone());
        collection.upsert(written.iter().enumerate().map(point)).unwrap();
        let get = |id: u64| collection.get(&[id.into()], Include::ALL).unwrap().pop().flatten();
        assert!(get(7).unwrap().reconstructed.is_empty(), "in memory it is as it came");

        // Codes of codes: merging must not add up errors.
        for round in 0..4 {
            collection.delete(vec![(1000 + round).into()], Durability::Synced).unwrap();
            collection.optimize().unwrap();
            for id in [0, 7, 999] {
                let point = get(id).unwrap();
                assert!(point.reconstructed.contains("v"), "{compression}");
                let got = point.vectors["v"].as_ref().values().to_vec();
                let error = |(a, b): (&f32, &f32)| (a - b).abs();
                let worst = got.iter().zip(&written[id as usize]).map(error).fold(0.0, f32::max);
                assert!(worst <= tolerance, "{compression}, round {round}: {worst}");
            }
        }
        // A point is its own nearest, by itself and by its vector, also exactly.
        let query = QueryRequest::new("v", PointId::from(7)).limit(3);
        assert!(!ids(&collection.query(&query).unwrap()).contains(&7.into()));
        let scores = |request: &QueryRequest| -> Vec<f32> {
            collection.query(request).unwrap().hits.iter().map(|hit| hit.score).collect()
        };
        assert_eq!(scores(&query.clone().exact()), scores(&query.rerank(500)));
    }
}

#[test]
fn small_segments_stay_as_they_are() {
    let mut random = Random::new(4);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config(Metric::Dot, "lvq8/drop-raw")).unwrap();
    fill(&collection, 0..500, &mut random);
    collection.flush().unwrap();
    assert!(collection.info().segments[0].codecs.is_empty());
    let answer = collection.query(&QueryRequest::new("v", vector(&mut random)).explain()).unwrap();
    let stages = answer.explanation.unwrap().stages;
    assert_eq!((stages.len(), stages[0].source.as_str()), (1, "vectors"));
    // Together they are enough.
    fill(&collection, 500..1500, &mut random);
    collection.optimize().unwrap();
    assert_eq!(collection.info().segments[0].codecs["v"].dimension, DIMENSION);
    // A small one stays as it is also where there is a codec already.
    fill(&collection, 1500..1700, &mut random);
    collection.flush().unwrap();
    assert!(collection.info().segments[1].codecs.is_empty());
}

#[test]
fn segments_share_a_codec_until_the_data_drifts() {
    let mut random = Random::new(5);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config(Metric::L2, "lvq8:8")).unwrap();
    let losses = |collection: &Collection| -> Vec<f64> {
        collection.info().segments.iter().map(|segment| segment.codecs["v"].loss).collect()
    };
    fill(&collection, 0..2000, &mut random);
    collection.flush().unwrap();
    fill(&collection, 2000..4000, &mut random);
    collection.flush().unwrap();
    let shared = losses(&collection);
    assert_eq!((shared.len(), shared[0]), (2, shared[1]), "the second segment did not train");
    collection.optimize().unwrap();
    assert_eq!(losses(&collection), shared[..1], "more of the same does not train anew");

    // Vectors whose last elements are the large ones: sealed with a codec of their own, and merged
    // with a new one.
    let reversed = |random: &mut Random| vector(random).into_iter().rev().collect::<Vec<f32>>();
    let points =
        (4000..6000).map(|id| Point::new(id as u64).with_vector("v", reversed(&mut random)));
    collection.upsert(points).unwrap();
    collection.flush().unwrap();
    let own = losses(&collection);
    assert!(own[0] == shared[0] && own[1] != shared[0], "{own:?}");
    collection.optimize().unwrap();
    let report = &collection.info().segments[0].codecs["v"];
    assert!(report.loss != shared[0] && report.trained_rows > 4000, "{report:?}");
}

#[test]
fn segments_may_have_codecs_of_their_own() {
    let mut random = Random::new(8);
    let folder = tempfile::tempdir().unwrap();
    // Too small for merges.
    let database = DatabaseOptions::new().segment_bytes(1000).open(folder.path()).unwrap();
    let collection = database.create_collection("c", config(Metric::Dot, "lvq8:20")).unwrap();
    fill(&collection, 0..2000, &mut random);
    collection.flush().unwrap();
    let reversed = |random: &mut Random| vector(random).into_iter().rev().collect::<Vec<f32>>();
    let points = (2000..4000_u64).map(|id| Point::new(id).with_vector("v", reversed(&mut random)));
    collection.upsert(points).unwrap();
    collection.flush().unwrap();
    let queries: Vec<Vec<f32>> = (0..100).map(|_| vector(&mut random)).collect();
    collection.train("v", MultiVector::from_rows(&queries).unwrap()).unwrap();
    let info = collection.info();
    let losses: Vec<f64> = info.segments.iter().map(|segment| segment.codecs["v"].loss).collect();
    assert!(losses.len() == 2 && losses[0] != losses[1], "{losses:?}");
    // Nearest in the one segment, and in the other.
    let plain = recall(&collection, &mut random);
    let other = recall_of(&collection, (0..50).map(|_| reversed(&mut random)).collect());
    assert!(plain >= 0.97 && other >= 0.97, "{plain} {other}");
}

#[test]
fn training_queries_are_kept_and_teach_the_codec() {
    let mut random = Random::new(6);
    let folder = tempfile::tempdir().unwrap();
    let open = || Database::open(folder.path()).unwrap();
    // Queries are large where the points are small.
    let queries: Vec<Vec<f32>> =
        (0..300).map(|_| vector(&mut random).into_iter().rev().collect()).collect();
    let queries = MultiVector::from_rows(&queries).unwrap();
    let report = |collection: &Collection| {
        let info = collection.info();
        let segment = info.segments.iter().find(|segment| segment.number.is_some()).unwrap();
        segment.codecs["v"].clone()
    };
    {
        let database = open();
        let collection = database.create_collection("c", config(Metric::Dot, "lvq8:8")).unwrap();
        fill(&collection, 0..2000, &mut random);
        collection.flush().unwrap();
        assert_eq!(report(&collection).reduction, Some(ReductionMethod::Pca));
        collection.train("v", &queries).unwrap();
        let trained = report(&collection);
        assert_eq!(trained.reduction, Some(ReductionMethod::Sphering), "{trained:?}");
        assert_eq!(trained.trained_queries, 200, "a third judges");
        assert!(trained.ladder[0].query_recall.is_some());
    }
    let database = open();
    let collection = database.collection("c").unwrap();
    assert_eq!(report(&collection).trained_queries, 200);
    // A later training has them still.
    fill(&collection, 2000..20_000, &mut random);
    collection.optimize().unwrap();
    let grown = report(&collection);
    assert!(grown.trained_rows > 10_000 && grown.trained_queries == 200, "{grown:?}");

    let with_queries = [("v".to_owned(), queries.into())].into();
    let config = config(Metric::Dot, "lvq8:8");
    let second = database.create_collection_with("d", config, &with_queries).unwrap();
    fill(&second, 0..2000, &mut random);
    second.flush().unwrap();
    assert_eq!(report(&second).trained_queries, 200);
}

#[test]
fn bad_compression_and_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let refused = |error: lanner::Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        error.to_string()
    };
    let create = |compression| {
        refused(database.create_collection("c", config(Metric::Dot, compression)).err().unwrap())
    };
    assert_eq!(create("lvq8:25"), "fields.v.compression.dimension: expected 1 to 24, got 25");
    assert!(create("none/drop-raw").starts_with("fields.v.compression.keep_raw: expected true"));

    let config = config(Metric::Cosine, "auto")
        .with_field("exact", VectorField::single(2, Metric::Dot).compressed(Compression::none()))
        .with_field("tokens", VectorField::multi(2, Metric::Dot));
    let queries = |rows: &[Vec<f32>]| MultiVector::from_rows(rows).unwrap();
    let two = queries(&[vec![1.0, 0.0]]);
    let with = [("v".to_owned(), two.clone().into())].into();
    let error = database.create_collection_with("c", config.clone(), &with).err().unwrap();
    assert_eq!(refused(error), "training_queries.v.queries[0]: expected 24 dimensions, got 2");
    assert!(database.collections().is_empty(), "nothing was created");

    let collection = database.create_collection("c", config).unwrap();
    let train =
        |field, queries: &MultiVector| refused(collection.train(field, queries).unwrap_err());
    assert!(train("nope", &two).contains("no such vector field"));
    assert!(train("exact", &two).starts_with("field: expected one that is compressed"));
    assert!(train("tokens", &two).starts_with("lengths: expected the number of vectors"));
    assert!(
        train("v", &queries(&[vec![0.0; 24]]))
            .contains("queries[0]: expected a vector of non-zero")
    );
    assert!(train("v", &queries(&vec![vec![1.0; 24]; 10_001])).contains("expected 1 to 10000"));

    let query = |rerank| {
        let request = QueryRequest::new("exact", vec![1.0, 0.0]).rerank(rerank);
        refused(collection.query(&request).unwrap_err())
    };
    assert_eq!(query(9), "rerank: expected 10 to 100000, got 9");
    assert_eq!(query(100_001), "rerank: expected 10 to 100000, got 100001");
}

#[test]
fn degenerate_vectors_are_searched_correctly() {
    let mut random = Random::new(7);
    let cases: [(&str, Vec<Vec<f32>>); 5] = [
        ("duplicates", vec![vec![1.0, 2.0, 3.0]; 1100]),
        ("dimension 1", (0..1100).map(|i| vec![i as f32]).collect()),
        ("constant dimensions", (0..1100).map(|i| vec![0.0, i as f32, 5.0]).collect()),
        (
            "huge values",
            (0..1100).map(|_| random.vector(4).iter().map(|x| x * 1e38).collect()).collect(),
        ),
        ("dimension 4096", (0..1030).map(|_| random.vector(4096)).collect()),
    ];
    for (name, vectors) in cases {
        for metric in METRICS {
            // The maps of 4,096 dimensions take minutes.
            let compressions: &[&str] =
                if vectors[0].len() > 1000 { &["lvq4"] } else { &["auto", "lvq8:1", "lvq4"] };
            for compression in compressions {
                let folder = tempfile::tempdir().unwrap();
                let database = DatabaseOptions::new().open(folder.path()).unwrap();
                let field = VectorField::single(vectors[0].len(), metric)
                    .compressed(compression.parse().unwrap());
                let config = CollectionConfig::new().with_field("v", field);
                let collection = database.create_collection("c", config).unwrap();
                let points =
                    vectors.iter().enumerate().filter(|(_, v)| v.iter().any(|&x| x != 0.0));
                let points =
                    points.map(|(id, v)| Point::new(id as u64).with_vector("v", v.clone()));
                let written = collection.upsert(points);
                if name == "huge values" && metric != Metric::Cosine {
                    let error = written.unwrap_err().to_string();
                    assert!(error.contains("length up to 1e18"), "{error}");
                    continue;
                }
                written.unwrap();
                collection.flush().unwrap();
                let coded = !collection.info().segments[0].codecs.is_empty();
                assert!(coded || *compression == "auto", "{name}: only `auto` may find none");
                let query = QueryRequest::new("v", vectors[500].clone()).limit(5).rerank(1100);
                let coded = collection.query(&query).unwrap();
                let exact = collection.query(&query.exact()).unwrap();
                assert!(coded.hits.iter().all(|hit| !hit.score.is_nan()), "{name} {metric:?}");
                assert_eq!(coded.hits, exact.hits, "{name} {metric:?} {compression}");
            }
        }
    }
}

#[test]
fn automatic_codes_keep_the_neighbours_of_real_queries_in_600_bytes() {
    let Some(data) = shared_data("wn-deb-384") else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    for compression in ["auto", "auto/lvq8/drop-raw"] {
        let field =
            VectorField::single(384, Metric::Cosine).compressed(compression.parse().unwrap());
        let flat = IndexSettings::new(IndexKind::Flat);
        let field = VectorField { element: ElementType::F32, index: flat, ..field };
        let name = if compression == "auto" { "raw" } else { "dropped" };
        let config = CollectionConfig::new().with_field("v", field);
        let collection = database.create_collection(name, config).unwrap();
        let mut base = NpyMatrix::open(&data.join("base.f16.npy")).unwrap();
        let mut values = Vec::new();
        for first in (0..base.rows()).step_by(1000) {
            base.read_rows(first..first + 1000, &mut values).unwrap();
            let rows = values.chunks_exact(384).enumerate();
            let point = |(i, row): (usize, &[f32])| {
                Point::new((first + i) as u64).with_vector("v", row.to_vec())
            };
            collection.upsert(rows.map(point)).unwrap();
        }
        collection.optimize().unwrap();
        let info = collection.info();
        let bytes = info.segments[0].size_bytes as f64 / 40_000.0;
        let report = &info.segments[0].codecs["v"];
        println!("{compression}: {bytes} bytes a point, {:#?}", report.ladder);
        assert!(compression == "auto" || bytes <= 600.0, "{bytes} bytes a point");

        for kind in ["id", "ood_lemma", "ood_synopsis"] {
            let path = |prefix: &str, suffix: &str| data.join(format!("{prefix}_{kind}.{suffix}"));
            let truth = read_neighbours(&path("groundtruth_cosine_top100", "i32.npy")).unwrap();
            let mut queries = NpyMatrix::open(&path("queries", "f32.npy")).unwrap();
            queries.read_rows(0..queries.rows(), &mut values).unwrap();
            let requests: Vec<QueryRequest> = values
                .chunks_exact(384)
                .map(|row| QueryRequest::new("v", row.to_vec()).rerank(50))
                .collect();
            let answers = collection.query_batch(&requests, lanner::Deadline::NEVER).unwrap();
            let found: usize = answers
                .iter()
                .enumerate()
                .map(|(query, answer)| {
                    let exact = &truth.of(query)[..10];
                    let is_exact = |id: &PointId| exact.iter().any(|&row| *id == row.into());
                    ids(answer).iter().filter(|id| is_exact(id)).count()
                })
                .sum();
            let recall = found as f64 / (10 * requests.len()) as f64;
            println!("{compression} {kind}: recall@10 {recall:.4}");
            assert!(recall >= 0.99, "{compression} {kind}: {recall}");
        }
    }
}
