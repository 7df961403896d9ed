//! Multi fields end to end: encodings find candidates, codes of tokens or the vectors themselves
//! re-rank them.

mod common;

use std::path::Path;
use std::time::Instant;

use common::shared_data;
use common::texts::{DIMENSION, Texts};
use lanner::evaluation::{BeirDataset, IdList, Neighbours, Qrels, Run, evaluate, read_neighbours};
use lanner::{
    Collection, CollectionConfig, Database, Deadline, Durability, Metric, Point, QueryRequest,
    VectorField,
};

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

fn recall(hits: &[Vec<(u32, f32)>], truth: &Neighbours, k: usize) -> f64 {
    let found = |(query, hits): (usize, &Vec<(u32, f32)>)| {
        let exact = &truth.of(query)[..k];
        hits.iter().take(k).filter(|(row, _)| exact.contains(&u64::from(*row))).count()
    };
    let found: usize = hits.iter().enumerate().map(found).sum();
    found as f64 / (k * hits.len()) as f64
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
fn real_tokens_are_found_by_their_encodings() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let Some(data) = shared_data("nfcorpus") else { return };
    let (documents, queries) = (Texts::documents(&data), Texts::queries(&data));
    let truth = read_neighbours(&data.join("groundtruth_maxsim_top100.i32.npy")).unwrap();
    let qrels = BeirDataset::open(&data, "test").unwrap().qrels().clone();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let field = VectorField::multi(DIMENSION, Metric::Dot);
    let config = CollectionConfig::new().with_field("tokens", field);
    let collection = database.create_collection("nfcorpus", config).unwrap();
    let started = Instant::now();
    ingest(&collection, &documents);
    println!("written after {:.1?}", started.elapsed());
    collection.optimize().unwrap();
    println!("ready after {:.1?}", started.elapsed());
    for segment in collection.info().segments {
        println!("{:?} {:?}", segment.files, segment.indexes);
    }
    let first = QueryRequest::new("tokens", queries.multi(0)).explain();
    let answer = collection.query(&first).unwrap();
    println!("{:?} {}", answer.explanation, answer.estimated_recall);
    for budget in [100, 200, 500, 1000, 2000] {
        let started = Instant::now();
        let found = hits(&collection, &queries, |request| request.limit(100).rerank(budget));
        let elapsed = started.elapsed() / queries.len() as u32;
        let (ten, ndcg) = (recall(&found, &truth, 10), ndcg(&data, &found, &qrels));
        println!("budget {budget}: recall@10 {ten:.4}, nDCG@10 {ndcg:.4}, {elapsed:?} a query");
    }
    for target in [0.8, 0.9, 0.95, 0.98, 0.99] {
        let found = hits(&collection, &queries, |request| request.target_recall(target));
        let answer = collection.query(&first.clone().target_recall(target)).unwrap();
        let explanation = answer.explanation.unwrap();
        let rows = explanation.stages.last().unwrap().rows;
        println!(
            "target {target}: {:.4}, expected {}, {rows} re-ranked",
            recall(&found, &truth, 10),
            answer.estimated_recall
        );
    }
    let started = Instant::now();
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for query in (0..queries.len()).step_by(2) {
        values.extend_from_slice(queries.get(query));
        lengths.push(queries.get(query).len() / DIMENSION);
    }
    let sample = lanner::MultiVector::from_flat(DIMENSION, values).unwrap();
    collection.train("tokens", lanner::TrainingQueries::multi(sample, lengths).unwrap()).unwrap();
    println!("trained {:.1?}", started.elapsed());
    for segment in collection.info().segments {
        println!("{:?}", segment.codecs);
    }
    for budget in [100, 200, 500, 1000, 2000] {
        let found = hits(&collection, &queries, |request| request.limit(100).rerank(budget));
        let half = |query: usize| -> f64 {
            let found: Vec<_> = (0..queries.len())
                .filter(|q| q % 2 == query)
                .map(|q| {
                    let exact = &truth.of(q)[..10];
                    found[q]
                        .iter()
                        .take(10)
                        .filter(|(row, _)| exact.contains(&u64::from(*row)))
                        .count() as f64
                        / 10.0
                })
                .collect();
            found.iter().sum::<f64>() / found.len() as f64
        };
        println!(
            "budget {budget}: recall@10 trained {:.4} held out {:.4} ndcg {:.4}",
            half(0),
            half(1),
            ndcg(&data, &found, &qrels)
        );
    }
    for target in [0.8, 0.9, 0.95, 0.98, 0.99] {
        let found = hits(&collection, &queries, |request| request.target_recall(target));
        let answer = collection.query(&first.clone().target_recall(target)).unwrap();
        let explanation = answer.explanation.unwrap();
        let rows = explanation.stages.last().unwrap().rows;
        println!(
            "target {target}: {:.4}, expected {}, {rows} re-ranked",
            recall(&found, &truth, 10),
            answer.estimated_recall
        );
    }
    let exact = hits(&collection, &queries, |request| request.limit(100).exact());
    println!("exact {:.4} {:.4}", recall(&exact, &truth, 10), ndcg(&data, &exact, &qrels));
}
