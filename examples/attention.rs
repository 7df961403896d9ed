//! Decoding over a long context with an index of its keys: `cargo run --release --example attention`.
//!
//! The tensors are generated: a head whose queries and keys lie far from each other, with few
//! directions that matter. `benches/attention/run.sh` measures tensors of a real model.

use std::time::Instant;

use lanner::attention::{
    Attention, KeyIndex, KeyIndexSettings, Partial, Request, Rows, Searcher, Target, Tensors,
    sparse_attention,
};

const D: usize = 64;
const PREFILL: usize = 32_768;
const STEPS: usize = 64;
/// Tokens that are always attended to: the first, and those since the last this many.
const FIRST: usize = 4;
const RECENT: usize = 64;

fn main() -> lanner::Result<()> {
    let n = PREFILL + STEPS;
    let (keys, queries) = (head(1, n, 1.0), head(2, n, -1.0));
    let values: Vec<f32> = head(3, n, 0.5);
    let rows = |values| Rows::f32(values, D);

    // After the prefill: an index of its keys, built from its queries.
    let start = Instant::now();
    let prefill = PREFILL * D;
    let settings = KeyIndexSettings::default();
    let index = KeyIndex::build(rows(&keys[..prefill])?, rows(&queries[..prefill])?, settings)?;
    println!(
        "{PREFILL} keys of dimension {D}: built in {:.0?}, {} lists, {} bytes a key",
        start.elapsed(),
        index.lists(),
        index.memory_bytes() / PREFILL
    );

    let (mut searcher, mut output) = (Searcher::new(), Attention::new());
    let (mut worst, mut covered, mut sparse_us, mut full_us) = (0.0_f32, 1.0_f32, 0.0, 0.0);
    for token in PREFILL..n {
        // The key of the token joins the cache and the index; its query attends to 2% of them.
        let end = (token + 1) * D;
        index.append(rows(&keys[token * D..end])?)?;
        let query = &queries[token * D..end];
        let static_ranges = [0..FIRST, token + 1 - RECENT..token + 1];
        let request = Request::new(Target::Keys(PREFILL / 50)).excluding(&static_ranges);
        let tensors = Tensors {
            queries: rows(query)?,
            keys: rows(&keys[..end])?,
            values: rows(&values[..end])?,
        };
        let start = Instant::now();
        sparse_attention(&index, tensors, &request, &mut searcher, &mut output)?;
        sparse_us += start.elapsed().as_secs_f64() * 1e6;

        let start = Instant::now();
        let exact = full_attention(query, &keys[..end], &values[..end]);
        full_us += start.elapsed().as_secs_f64() * 1e6;
        worst = worst.max(relative_error(output.output(0), &exact));
        covered = covered.min(output.coverage(0).estimate);
    }
    let steps = STEPS as f64;
    println!("{STEPS} steps: {:.0} µs a step, {:.0} in full", sparse_us / steps, full_us / steps);
    println!("largest relative error {worst:.4}, least share of attention covered {covered:.4}");

    // Another continuation of the same prefix shares its memory.
    let fork = index.fork();
    fork.append(rows(&keys[..D])?)?;
    println!("{} keys, and {} in a fork", index.len(), fork.len());
    Ok(())
}

fn full_attention(query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
    let mut all = Partial::new(D);
    for (key, value) in keys.chunks_exact(D).zip(values.chunks_exact(D)) {
        let product: f32 = key.iter().zip(query).map(|(k, q)| k * q).sum();
        all.push(product / (D as f32).sqrt(), value);
    }
    let mut output = vec![0.0; D];
    all.write(&mut output);
    output
}

fn relative_error(got: &[f32], exact: &[f32]) -> f32 {
    let difference: f32 = got.iter().zip(exact).map(|(a, b)| (a - b) * (a - b)).sum();
    let size: f32 = exact.iter().map(|b| b * b).sum();
    (difference / size).sqrt()
}

/// Vectors around a mean, which vary along a few directions that all heads share.
fn head(seed: u64, n: usize, mean: f32) -> Vec<f32> {
    const DIRECTIONS: usize = 6;
    let mut rows = Vec::with_capacity(n * D);
    for row in 0..n as u64 {
        let parts: [f32; DIRECTIONS] =
            std::array::from_fn(|part| 5.0 * normal(seed, row, part) / (part + 1) as f32);
        rows.extend((0..D).map(|at| {
            let mixed: f32 = parts.iter().zip(0..).map(|(x, part)| x * normal(0, part, at)).sum();
            mean * (1.0 + 0.5 * normal(seed, u64::MAX, at))
                + 0.5 * mixed
                + 0.3 * normal(seed, row, DIRECTIONS + at)
        }));
    }
    rows
}

/// Nearly normal: the sum of four uniform numbers.
fn normal(seed: u64, row: u64, at: usize) -> f32 {
    let mut z = seed ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (at as u64) << 48;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let parts = (0..4).map(|part| (z >> (16 * part) & 0xffff) as f32 / 65_536.0 - 0.5);
    parts.sum::<f32>() * 3.0_f32.sqrt()
}
