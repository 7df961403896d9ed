//! The kernels against their scalar twins, on vectors that stay in the cache, and scans of codes
//! that do not fit it, against a plain read of as many bytes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use lanner::internals::kernels;
use lanner::internals::kernels::codes::{CodeBits, CodeKernel, CodeLayout, CodeQuery};
use lanner::internals::max_sim;

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

/// Every implementation on rows that stay in the cache: what each SIMD path earns.
fn codes_in_cache(criterion: &mut Criterion) {
    for (name, bits) in [("lvq8", CodeBits::Eight), ("lvq4", CodeBits::Four)] {
        for dimension in [160, 384, 1536] {
            let (layout, records, query) = codes(bits, dimension, 64);
            let mut group = criterion.benchmark_group(format!("codes/{name}/{dimension}"));
            group.throughput(Throughput::Elements(64));
            let mut sums = vec![0; 64];
            for kernel in CodeKernel::available() {
                group.bench_function(kernel.name(), |bencher| {
                    bencher.iter(|| {
                        kernel.dot_rows(&layout, black_box(&records), &query, &mut sums);
                    });
                });
            }
        }
    }
}

/// Pseudo-random records and a query.
fn codes(bits: CodeBits, dimension: usize, rows: usize) -> (CodeLayout, Vec<u8>, CodeQuery) {
    let layout = CodeLayout::new(bits, dimension, 8);
    let bytes = layout.section_bytes(rows);
    let records = (0..bytes as u64).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let query = CodeQuery::new(&layout, &values(dimension, 0.1));
    (layout, records, query)
}

/// Scans of 384 dimensions larger than any cache, one core.
fn scans_out_of_cache(criterion: &mut Criterion) {
    const DIMENSION: usize = 384;
    const BYTES: usize = 512 << 20;
    let mut group = criterion.benchmark_group("scan/384");
    group.sample_size(10);
    let floats = values(BYTES / 4, 0.1);
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("plain read", |bencher| {
        bencher.iter(|| bytemuck::cast_slice::<f32, u64>(&floats).iter().fold(0, |a, b| a ^ b));
    });
    let query = values(DIMENSION, 0.3);
    group.bench_function("f32", |bencher| {
        bencher.iter(|| {
            let rows = floats.chunks_exact(DIMENSION);
            rows.fold(0.0_f32, |best, row| best.max(kernels::dot(&query, row)))
        });
    });
    drop(floats);
    for (name, bits) in [("lvq8", CodeBits::Eight), ("lvq4", CodeBits::Four)] {
        let rows = BYTES / CodeLayout::new(bits, DIMENSION, 8).stride();
        let (layout, records, query) = codes(bits, DIMENSION, rows);
        group.throughput(Throughput::Bytes(records.len() as u64));
        let mut sums = vec![0; 256];
        for kernel in CodeKernel::available() {
            group.bench_function(format!("{name}/{}", kernel.name()), |bencher| {
                bencher.iter(|| {
                    for first in (0..rows - 256).step_by(256) {
                        let records = &records[first * layout.stride()..];
                        kernel.dot_rows(&layout, records, &query, &mut sums);
                        black_box(&sums);
                    }
                });
            });
        }
    }
}

criterion_group!(benches, pairs, widening, multivectors, codes_in_cache, scans_out_of_cache);
criterion_main!(benches);
