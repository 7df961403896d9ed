//! What encodings and token codes keep of exact MaxSim, on real tokens (`nfcorpus`): floors for
//! quality, never for time.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use common::shared_data;
use common::texts::{DIMENSION, Texts};
use lanner::internals::fde::{FdeEncoder, FdeSettings, SparseFde};
use lanner::internals::kernels::codes::CodeKernel;
use lanner::internals::kernels::products::{Panels, ProductKernel};
use lanner::internals::{TokenCode, TokenCodec, TokenScorer, pool_tokens};
use lanner_eval::{BeirDataset, IdList, Neighbours, Qrels, Run, evaluate, read_neighbours};

use lanner::internals::{Centroids, Codec, Training, TrainingSample, train};
use lanner::{Metric, VectorField};
use rayon::prelude::*;

/// Token centroids of a collection of this size.
const CENTROIDS: usize = 4096;
/// Candidates at which the share of the exact ten best is reported.
const CANDIDATES: [usize; 7] = [10, 20, 50, 100, 200, 500, 1000];

fn truth(data: &Path) -> Neighbours {
    read_neighbours(&data.join("groundtruth_maxsim_top100.i32.npy")).unwrap()
}

/// Share of the exact ten best among the first candidates, for each number of them.
fn curve(scores: &[Vec<f32>], truth: &Neighbours) -> [f64; CANDIDATES.len()] {
    let mut found = [0; CANDIDATES.len()];
    for (query, scores) in scores.iter().enumerate() {
        for &row in &truth.of(query)[..10] {
            let own = scores[row as usize];
            let before = scores.iter().filter(|&&score| score > own).count();
            for (found, candidates) in found.iter_mut().zip(CANDIDATES) {
                *found += usize::from(before < candidates);
            }
        }
    }
    found.map(|found| found as f64 / (10 * scores.len()) as f64)
}

/// The encodings of all documents, and those of the queries.
fn encoded(data: &Path, settings: FdeSettings) -> (Vec<f32>, Vec<SparseFde>) {
    let (documents, queries) = (Texts::documents(data), Texts::queries(data));
    let encoder = FdeEncoder::new(settings, DIMENSION).unwrap();
    let mut encodings = vec![0.0; documents.len() * encoder.dimension()];
    encodings.par_chunks_mut(encoder.dimension()).enumerate().for_each(|(document, out)| {
        encoder.encode_document(documents.get(document), out).unwrap();
    });
    let sparse = |query| encoder.sparse_query(queries.get(query)).unwrap();
    (encodings, (0..queries.len()).map(sparse).collect())
}

fn exhaustive(encodings: &[f32], queries: &[SparseFde]) -> Vec<Vec<f32>> {
    let dimension = FdeSettings::default().dimension(DIMENSION).unwrap();
    let scan = |query: &SparseFde| {
        encodings.chunks_exact(dimension).map(|document| query.dot(document)).collect()
    };
    queries.par_iter().map(scan).collect()
}

#[test]
fn encodings_find_the_documents_of_exact_max_sim() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let truth = truth(&data);
    let (encodings, queries) = encoded(&data, FdeSettings::default());
    let full = curve(&exhaustive(&encodings, &queries), &truth);
    println!("candidates {CANDIDATES:?}\nfull       {full:.4?}");
    assert!(full[3] >= 0.81, "{} among 100", full[3]);
    assert!(full[2] >= 0.72, "{} among 50", full[2]);
    for (code, bytes, most) in [("lvq8:632", 640, 0.05), ("lvq4:632", 324, 0.05)] {
        let start = Instant::now();
        let codec = reduced(code, &encodings);
        let trained = start.elapsed();
        let records = codec.primary_records(&encodings);
        assert_eq!(codec.primary_layout().stride(), bytes);
        println!("{code}: trained in {trained:.1?}, all encoded after {:.1?}", start.elapsed());
        let got = curve(&coded(&codec, &records, &queries), &truth);
        println!("{code} {got:.4?}");
        assert!(got[3] >= full[3] - most, "{code}: {} among 100, without {}", got[3], full[3]);
    }
}

/// A codec over the encodings, learned from all of them.
fn reduced(code: &str, encodings: &[f32]) -> Codec {
    let dimension = FdeSettings::default().dimension(DIMENSION).unwrap();
    let field = VectorField::single(dimension, Metric::Dot).compressed(code.parse().unwrap());
    let ends = [encodings.len() / field.dimension];
    let sample = TrainingSample {
        rows: encodings,
        ends: &ends,
        queries: &[],
        held_out_queries: &[],
        seed: 42,
    };
    match train(&field, sample).unwrap() {
        Training::Codec(trained) => trained.codec,
        Training::NoCodes { ladder } => panic!("no codes: {ladder:#?}"),
    }
}

fn coded(codec: &Codec, records: &[u8], queries: &[SparseFde]) -> Vec<Vec<f32>> {
    let columns = codec.reduction().unwrap().query_columns();
    let kernel = CodeKernel::detect();
    let scan = |query: &SparseFde| {
        let mut scores = vec![0.0; records.len() / codec.primary_layout().stride()];
        let query = codec.sparse_query(&columns, query.blocks());
        codec.score_rows(kernel, &query, records, &mut scores);
        scores
    };
    queries.par_iter().map(scan).collect()
}

/// nDCG@10 of MaxSim by a function of query, document and room for scratch.
struct Judge {
    documents: Texts,
    queries: Texts,
    qrels: Qrels,
    truth: Neighbours,
    document_ids: IdList,
    query_ids: IdList,
}

impl Judge {
    fn new(data: &Path) -> Self {
        let dataset = BeirDataset::open(data, "test").unwrap();
        Self {
            documents: Texts::documents(data),
            queries: Texts::queries(data),
            qrels: dataset.qrels().clone(),
            truth: truth(data),
            document_ids: IdList::open(&data.join("corpus.ids")).unwrap(),
            query_ids: IdList::open(&data.join("queries.ids")).unwrap(),
        }
    }

    /// nDCG@10, and the share of the exact ten; `score(query)` gives the scores of all documents.
    fn judge(&self, score: impl Fn(usize) -> Vec<f32> + Send + Sync) -> (f64, f64) {
        let scores: Vec<Vec<f32>> = (0..self.queries.len()).into_par_iter().map(score).collect();
        let mut run = Run::new();
        for (scores, id) in scores.iter().zip(self.query_ids.as_slice()) {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            let hit = |&row: &usize| (self.document_ids.as_slice()[row].clone(), scores[row]);
            let hits: Vec<(String, f32)> = order[..100].iter().map(hit).collect();
            run.push(id, hits).unwrap();
        }
        (evaluate(&run, &self.qrels).ndcg_10, curve(&scores, &self.truth)[0])
    }

    fn judge_codes(&self, codec: &TokenCodec) -> (f64, f64) {
        let mut starts = vec![0];
        let mut bytes = Vec::new();
        for document in 0..self.documents.len() {
            let tokens = self.documents.get(document);
            bytes.resize(starts[document] + codec.document_bytes(tokens.len() / DIMENSION), 0);
            codec.encode(tokens, None, &mut bytes[starts[document]..]);
            starts.push(bytes.len());
        }
        bytes.resize(bytes.len() + TokenCodec::SLACK_BYTES, 0);
        self.judge(|query| {
            let (query, mut scorer) =
                (codec.query(self.queries.get(query), None), TokenScorer::default());
            let score = |document: usize| {
                let tokens =
                    self.documents.offsets[document + 1] - self.documents.offsets[document];
                scorer.score(&query, &bytes[starts[document]..], tokens)
            };
            (0..self.documents.len()).map(score).collect()
        })
    }

    fn ndcg_of_floats(&self, documents: &Texts) -> f64 {
        let kernel = ProductKernel::detect();
        let of_floats = self.judge(|query| {
            let panels = Panels::from_rows(self.queries.get(query), DIMENSION);
            (0..documents.len()).map(|row| kernel.max_sim(&panels, documents.get(row))).collect()
        });
        of_floats.0
    }
}

#[test]
fn token_codes_keep_the_ranking() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let judge = Judge::new(&data);
    let exact = judge.ndcg_of_floats(&judge.documents);
    println!("f32: nDCG@10 {exact:.5}");
    assert!((exact - 0.3292).abs() < 0.001, "{exact}");
    let cancelled = AtomicBool::new(false);
    let tokens = judge.documents.tokens.chunks_exact(DIMENSION).step_by(7);
    let tokens: Vec<f32> = tokens.flatten().copied().collect();
    let centroids = Centroids::train(&tokens, DIMENSION, CENTROIDS, 1, &cancelled).unwrap();
    let centroids = Arc::new(centroids);
    // Few roundings change the order near the top, and each changes nDCG by up to 0.001.
    for (code, most, least) in [
        (TokenCode::F16, 0.0005, 0.998),
        (TokenCode::Lvq8, 0.001, 0.99),
        (TokenCode::Residual8, 0.001, 0.995),
        (TokenCode::Residual4, 0.005, 0.955),
        (TokenCode::Lvq4, 0.005, 0.92),
        (TokenCode::Residual2, 0.01, 0.87),
    ] {
        let codec = TokenCodec::residual(code, centroids.clone());
        let (got, ten) = judge.judge_codes(&codec);
        let bytes = codec.token_bytes();
        println!("{code:?}: nDCG@10 {got:.5}, {ten:.4} of the exact ten, {bytes} bytes a token");
        assert!((got - exact).abs() < most, "{code:?}: {got} {exact}");
        assert!(ten > least, "{code:?}: {ten} of the exact ten");
    }
    for factor in [2, 3] {
        let pool = |document: usize| pool_tokens(judge.documents.get(document), DIMENSION, factor);
        let pooled: Vec<Vec<f32>> = (0..judge.documents.len()).into_par_iter().map(pool).collect();
        let mut offsets = vec![0];
        for document in &pooled {
            offsets.push(offsets[offsets.len() - 1] + document.len() / DIMENSION);
        }
        let got = judge.ndcg_of_floats(&Texts { tokens: pooled.concat(), offsets });
        println!("pooled by {factor}: nDCG@10 {got:.5}");
        assert!(got > exact - 0.02, "pooled by {factor}: {got} {exact}");
    }
}
