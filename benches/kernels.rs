//! The kernels against their scalar twins, on vectors that stay in the cache.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use lanner::kernels;
use lanner::multivector::max_sim;

fn values(len: usize, step: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * step).sin()).collect()
}

fn pairs(criterion: &mut Criterion) {
    println!("instruction sets: {}", kernels::instruction_sets().join(", "));
    type Kernel = fn(&[f32], &[f32]) -> f32;
    let kernels: [(&str, Kernel, Kernel); 2] = [
        ("dot", kernels::dot, kernels::scalar::dot),
        ("l2_squared", kernels::l2_squared, kernels::scalar::l2_squared),
    ];
    for (name, simd, scalar) in kernels {
        let mut group = criterion.benchmark_group(name);
        for dimension in [128, 384, 768, 1536] {
            let (a, b) = (values(dimension, 0.1), values(dimension, 0.3));
            group.throughput(Throughput::Bytes(4 * dimension as u64));
            group.bench_function(BenchmarkId::new("simd", dimension), |bencher| {
                bencher.iter(|| simd(black_box(&a), black_box(&b)));
            });
            group.bench_function(BenchmarkId::new("scalar", dimension), |bencher| {
                bencher.iter(|| scalar(black_box(&a), black_box(&b)));
            });
        }
    }
}

fn widening(criterion: &mut Criterion) {
    let halves: Vec<f16> = values(384, 0.1).into_iter().map(f16::from_f32).collect();
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("widen");
    group.throughput(Throughput::Bytes(2 * halves.len() as u64));
    group.bench_function("384", |bencher| {
        bencher.iter(|| kernels::widen(black_box(&halves), &mut out));
    });
}

fn multivectors(criterion: &mut Criterion) {
    let (query, document) = (values(5 * 128, 0.1), values(96 * 128, 0.3));
    let mut group = criterion.benchmark_group("max_sim");
    // Multiplications and additions.
    group.throughput(Throughput::Elements(2 * 5 * 96 * 128));
    group.bench_function("5x96x128", |bencher| {
        bencher.iter(|| max_sim(black_box(&query), black_box(&document), 128, kernels::dot));
    });
}

criterion_group!(benches, pairs, widening, multivectors);
criterion_main!(benches);
