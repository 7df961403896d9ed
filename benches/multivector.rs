//! Multi-vectors: encoding, and MaxSim over tokens in every form, on one core.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lanner::internals::fde::{FdeEncoder, FdeSettings};
use lanner::internals::kernels;
use lanner::internals::kernels::centroids::{CentroidKernel, RUN, Run};
use lanner::internals::kernels::max_sim::{
    CentroidProducts, MaxSimKernel, MaxSimQuery, TokenBits, TokenLayout,
};
use lanner::internals::kernels::products::{Panels, ProductKernel};
use lanner::internals::{Centroids, TokenCode, TokenCodec, TokenScorer, max_sim, pool_tokens};

const DIMENSION: usize = 128;
const DOCUMENT_TOKENS: usize = 96;
const DOCUMENTS: usize = 1000;

/// Unit tokens.
fn tokens(count: usize, step: f32) -> Vec<f32> {
    let mut values: Vec<f32> =
        (0..count * DIMENSION).map(|i| ((i * i) as f32 * step).sin()).collect();
    for token in values.chunks_exact_mut(DIMENSION) {
        kernels::normalize(token);
    }
    values
}

const CODES: [TokenCode; 6] = [
    TokenCode::F16,
    TokenCode::Lvq8,
    TokenCode::Residual8,
    TokenCode::Lvq4,
    TokenCode::Residual4,
    TokenCode::Residual2,
];
const CENTROIDS: usize = 16_384;

/// A codec with centroids of some tokens.
fn codec(code: TokenCode) -> TokenCodec {
    let centroids = Centroids::from_values(&tokens(CENTROIDS, 0.37), DIMENSION).unwrap();
    TokenCodec::residual(code, Arc::new(centroids))
}

/// Products of a query's tokens with all centroids.
fn products(tokens: usize) -> CentroidProducts {
    let runs = usize::div_ceil(tokens, RUN);
    let value = |at: usize| (at * 7919 % 32_749) as i16;
    let row = |at: usize| Run(std::array::from_fn(|lane| value(at * RUN + lane)));
    let mut table: Vec<Run> = (0..CENTROIDS * runs).map(row).collect();
    table.resize(table.len() + runs, Run::of(0));
    CentroidProducts { table: table.into(), runs, step: 1e-4, lowest: vec![0.0; tokens] }
}

fn encodings(criterion: &mut Criterion) {
    let encoder = FdeEncoder::new(FdeSettings::default(), DIMENSION).unwrap();
    let mut out = vec![0.0; encoder.dimension()];
    let (query, document) = (tokens(32, 0.13), tokens(DOCUMENT_TOKENS, 0.37));
    let mut group = criterion.benchmark_group("fde/20x32x16");
    group.throughput(Throughput::Elements(1));
    group.bench_function("query of 32, sparse", |bencher| {
        bencher.iter(|| encoder.sparse_query(black_box(&query)).unwrap());
    });
    group.bench_function("query of 32, dense", |bencher| {
        bencher.iter(|| encoder.encode_query(black_box(&query), &mut out).unwrap());
    });
    group.bench_function("query of 5, sparse", |bencher| {
        bencher.iter(|| encoder.sparse_query(black_box(&query[..5 * DIMENSION])).unwrap());
    });
    group.bench_function("document of 96", |bencher| {
        bencher.iter(|| encoder.encode_document(black_box(&document), &mut out).unwrap());
    });
    let reduced = FdeSettings { final_projection: Some(1280), ..FdeSettings::default() };
    let encoder = FdeEncoder::new(reduced, DIMENSION).unwrap();
    let mut out = vec![0.0; encoder.dimension()];
    group.bench_function("document of 96, projected to 1280", |bencher| {
        bencher.iter(|| encoder.encode_document(black_box(&document), &mut out).unwrap());
    });
}

fn storing(criterion: &mut Criterion) {
    let document = tokens(DOCUMENT_TOKENS, 0.37);
    let mut group = criterion.benchmark_group("tokens of a document");
    group.throughput(Throughput::Elements(1));
    for code in CODES {
        let codec = codec(code);
        let mut bytes = vec![0; codec.document_bytes(DOCUMENT_TOKENS)];
        group.bench_function(format!("encode {code:?}"), |bencher| {
            bencher.iter(|| codec.encode(black_box(&document), None, &mut bytes));
        });
    }
    group.bench_function("pool by 2", |bencher| {
        bencher.iter(|| pool_tokens(black_box(&document), DIMENSION, 2));
    });
}

/// The best of some runs.
fn fastest(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..30).map(time).min().unwrap_or_default()
}

/// Products of 8-bit integers a second: the kernel's multiplications on registers alone.
fn peak() -> Option<f64> {
    let kernel = MaxSimKernel::detect();
    let mut products = kernel.multiply_registers(1)?;
    let elapsed = fastest(|| products = kernel.multiply_registers(1 << 18).unwrap_or(0));
    Some(products as f64 / elapsed.as_secs_f64())
}

/// MaxSim of 1,000 documents that do not fit the second-level cache, by every kernel.
fn documents(_: &mut Criterion) {
    let peak = peak();
    println!("register peak: {:.0} G products/s", peak.unwrap_or(0.0) / 1e9);
    let documents = tokens(DOCUMENTS * DOCUMENT_TOKENS, 0.37);
    for queries in [5, 32] {
        let query = tokens(queries, 0.13);
        let products = (queries * documents.len()) as f64;
        let report = |name: &str, elapsed: Duration| {
            let rate = products / elapsed.as_secs_f64();
            let share = peak.map_or(0.0, |peak| 100.0 * rate / peak);
            let ms = elapsed.as_secs_f64() * 1e3;
            println!("{queries} tokens, {name}: {ms:.3} ms, {:.1} G/s, {share:.1}%", rate / 1e9);
        };
        let rows = || documents.chunks_exact(DOCUMENT_TOKENS * DIMENSION);
        let plain =
            || -> f32 { rows().map(|rows| max_sim(&query, rows, DIMENSION, kernels::dot)).sum() };
        report("f32, pair by pair", fastest(|| _ = black_box(plain())));
        let panels = Panels::from_rows(&query, DIMENSION);
        for kernel in ProductKernel::available() {
            let run = || -> f32 { rows().map(|rows| kernel.max_sim(&panels, rows)).sum() };
            report(&format!("f32, {}", kernel.name()), fastest(|| _ = black_box(run())));
        }
        for code in CODES {
            let codec = codec(code);
            let bytes = store(&codec, &documents);
            let (prepared, mut scorer) = (codec.query(&query, None), TokenScorer::default());
            let stride = codec.document_bytes(DOCUMENT_TOKENS);
            let run = || -> f32 {
                let starts = (0..DOCUMENTS).map(|document| document * stride);
                starts.map(|at| scorer.score(&prepared, &bytes[at..], DOCUMENT_TOKENS)).sum()
            };
            let mut run = run;
            report(&format!("{code:?}"), fastest(|| _ = black_box(run())));
        }
        each_kernel(&query, &documents, report);
    }
}

/// The table of a query, and distinct centroids of 1,000 documents in it, by every kernel.
fn centroids(_: &mut Criterion) {
    for (tokens, distinct) in [(8, 26), (5, 55), (16, 55), (32, 117)] {
        let runs = usize::div_ceil(tokens, RUN);
        let mut table = vec![Run::of(0); CENTROIDS * runs];
        let product = |at: usize| (at * 7919 % 32_749) as f32;
        let products: Vec<f32> = (0..CENTROIDS * tokens).map(product).collect();
        let least = vec![0.0; tokens];
        // Documents of half to three halves of the distinct centroids.
        let len = |document: usize| distinct / 2 + document * 40_503 % (distinct + 1);
        let list = |document: usize| {
            let number = |at: usize| (at * 40_503 % CENTROIDS) as u16;
            let mut list: Vec<u16> =
                (0..len(document)).map(|at| number(document * 1_000 + at)).collect();
            list.sort_unstable();
            list
        };
        let lists: Vec<Vec<u16>> = (0..DOCUMENTS).map(list).collect();
        let read = lists.iter().map(Vec::len).sum::<usize>();
        let mut sums = vec![0; DOCUMENTS];
        for kernel in CentroidKernel::available() {
            let fill = fastest(|| kernel.fill(&products, (&least, 1.0), &mut table, runs));
            let mut run = || {
                let lists = lists.iter().map(Vec::as_slice);
                kernel.sums_of_greatest(black_box(&table), runs, lists, &mut sums);
            };
            let elapsed = fastest(&mut run).as_secs_f64();
            let rate =
                |rows: usize, seconds| (rows * runs * size_of::<Run>()) as f64 / seconds / 1e9;
            // All rows in their order: the bandwidth of the second-level cache, as prefetched.
            let in_order: Vec<u16> = (0..CENTROIDS as u16).collect();
            let mut whole = || {
                let lists = std::iter::once(&in_order[..]);
                kernel.sums_of_greatest(black_box(&table), runs, lists, &mut sums);
            };
            let peak = rate(CENTROIDS, fastest(&mut whole).as_secs_f64());
            println!(
                "{tokens} tokens, {distinct} centroids, {}: table {:.0} µs; {:.1} ns a document, \
                 {:.2} ns a centroid, {:.0} GB/s of {peak:.0} in order",
                kernel.name(),
                fill.as_secs_f64() * 1e6,
                elapsed * 1e9 / DOCUMENTS as f64,
                elapsed * 1e9 / read as f64,
                rate(read, elapsed)
            );
        }
    }
}

/// Products of queries with all centroids, by every kernel.
fn products_with_all(_: &mut Criterion) {
    let value = |at: usize| (at * 7919 % 2003) as f32 / 1000.0 - 1.0;
    let values: Vec<f32> = (0..CENTROIDS * DIMENSION).map(value).collect();
    let centroids = Centroids::from_values(&values, DIMENSION).expect("centroids");
    let layout = TokenLayout::new(TokenBits::Eight, DIMENSION);
    for tokens in [5, 32] {
        let query = MaxSimQuery::new(&layout, &values[7..][..tokens * DIMENSION]);
        let mut products = vec![0.0; tokens * CENTROIDS];
        for kernel in MaxSimKernel::available() {
            let run = || kernel.products(&query, centroids.codes(), CENTROIDS, &mut products);
            let elapsed = fastest(run).as_secs_f64();
            let count = (tokens * CENTROIDS * DIMENSION) as f64;
            println!(
                "products of {tokens} tokens with {CENTROIDS} centroids, {}: {:.0} µs, {:.0} G/s",
                kernel.name(),
                elapsed * 1e6,
                count / elapsed / 1e9
            );
        }
    }
}

/// Codes by every kernel, out of the cache and in it.
fn each_kernel(query: &[f32], documents: &[f32], report: impl Fn(&str, Duration)) {
    for (code, bits) in [
        (TokenCode::Lvq8, TokenBits::Eight),
        (TokenCode::Lvq4, TokenBits::Four),
        (TokenCode::Residual8, TokenBits::Eight),
        (TokenCode::Residual4, TokenBits::Four),
        (TokenCode::Residual2, TokenBits::Two),
    ] {
        let codec = codec(code);
        let bytes = store(&codec, documents);
        let mut query = MaxSimQuery::new(&TokenLayout::new(bits, DIMENSION), query);
        if code.is_residual() {
            let products = products(query.len());
            query = query.with_centroids(products);
        }
        let stride = codec.document_bytes(DOCUMENT_TOKENS);
        for kernel in MaxSimKernel::available() {
            for (place, distance) in [("", stride), (" in cache", 0)] {
                let run = || -> f32 {
                    let starts = (0..DOCUMENTS).map(|document| document * distance);
                    starts.map(|at| kernel.score(&query, &bytes[at..], DOCUMENT_TOKENS)).sum()
                };
                let name = format!("{code:?} {}{place}", kernel.name());
                report(&name, fastest(|| _ = black_box(run())));
            }
        }
    }
}

/// All documents, each of 96 tokens, one after the other.
fn store(codec: &TokenCodec, documents: &[f32]) -> Vec<u8> {
    let stride = codec.document_bytes(DOCUMENT_TOKENS);
    let mut bytes = vec![0; DOCUMENTS * stride + TokenCodec::SLACK_BYTES];
    let rows = documents.chunks_exact(DOCUMENT_TOKENS * DIMENSION);
    for (rows, bytes) in rows.zip(bytes.chunks_exact_mut(stride)) {
        codec.encode(rows, None, bytes);
    }
    bytes
}

criterion_group!(benches, centroids, products_with_all, encodings, storing, documents);
criterion_main!(benches);
