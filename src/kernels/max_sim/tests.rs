use proptest::prelude::*;

use super::*;
use crate::kernels::centroids::{RUN, Run};

const BITS: [TokenBits; 3] = [TokenBits::Two, TokenBits::Four, TokenBits::Eight];

/// Pseudo-random bytes.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 56) as u8
    }

    fn signed(&mut self) -> i8 {
        (self.next() as i8).max(-127)
    }
}

/// A document of random codes at an odd offset, with random slack, and its unpacked content.
struct Sample {
    layout: TokenLayout,
    bytes: Vec<u8>,
    codes: Vec<u8>,
    constants: Vec<TokenConstants>,
}

impl Sample {
    fn new(bits: TokenBits, dimension: usize, tokens: usize, random: &mut Bytes) -> Self {
        let layout = TokenLayout::new(bits, dimension);
        let codes: Vec<u8> = (0..tokens * dimension).map(|_| random.next() & bits.max()).collect();
        let constants: Vec<TokenConstants> = (0..tokens)
            .map(|_| TokenConstants {
                step: f32::from(random.next()) / 64.0,
                low: f32::from(random.signed()) / 16.0,
            })
            .collect();
        let len = layout.document_bytes(tokens);
        let mut bytes: Vec<u8> =
            (0..1 + len + TokenLayout::SLACK_BYTES).map(|_| random.next()).collect();
        layout.pack(&codes, &constants, &mut bytes[1..1 + len]);
        Self { layout, bytes, codes, constants }
    }

    fn tokens(&self) -> usize {
        self.constants.len()
    }

    fn document(&self) -> &[u8] {
        &self.bytes[1..]
    }

    /// Reference implementation over unpacked codes.
    fn oracle(&self, query: &[i8], scales: &[f32]) -> f32 {
        let dimension = self.layout.dimension();
        let mut score = 0.0;
        for (query, scale) in query.chunks_exact(dimension).zip(scales) {
            let total: i32 = query.iter().map(|&q| i32::from(q)).sum();
            let best = self
                .codes
                .chunks_exact(dimension)
                .zip(&self.constants)
                .map(|(codes, constants)| {
                    let sum: i32 =
                        codes.iter().zip(query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
                    constants.step * sum as f32 + constants.low * total as f32
                })
                .fold(f32::NEG_INFINITY, f32::max);
            score += scale * best;
        }
        score
    }
}

/// Products of all pairs, by all kernels.
fn check_products(bits: TokenBits, dimension: usize, tokens: usize, queries: usize, seed: u64) {
    let mut random = Bytes(seed | 1);
    let sample = Sample::new(bits, dimension, tokens, &mut random);
    let query: Vec<i8> = (0..queries * dimension).map(|_| random.signed()).collect();
    let made = MaxSimQuery::from_integers(&sample.layout, &query);
    let mut expected = Vec::new();
    for query in query.chunks_exact(dimension) {
        let total: i32 = query.iter().map(|&q| i32::from(q)).sum();
        for (codes, constants) in sample.codes.chunks_exact(dimension).zip(&sample.constants) {
            let sum: i32 =
                codes.iter().zip(query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
            expected.push(constants.step * sum as f32 + constants.low * total as f32);
        }
    }
    for kernel in MaxSimKernel::available() {
        let mut got = vec![f32::NAN; queries * tokens];
        kernel.products(&made, sample.document(), tokens, &mut got);
        assert_eq!(got, expected, "{} {bits:?} {dimension} {tokens} {queries}", kernel.name());
    }
}

fn check(bits: TokenBits, dimension: usize, tokens: usize, queries: usize, seed: u64) {
    let mut random = Bytes(seed | 1);
    let sample = Sample::new(bits, dimension, tokens, &mut random);
    let query: Vec<i8> = (0..queries * dimension).map(|_| random.signed()).collect();
    let made = MaxSimQuery::from_integers(&sample.layout, &query);
    let expected = sample.oracle(&query, made.scales());
    for kernel in MaxSimKernel::available() {
        let got = kernel.score(&made, sample.document(), tokens);
        let name = kernel.name();
        assert_eq!(got, expected, "{name} {bits:?} {dimension} {tokens} {queries} seed {seed}");
    }
}

/// As [`check`], for residual codes: with centroids, some of which do not exist.
fn check_residual(bits: TokenBits, dimension: usize, tokens: usize, queries: usize, seed: u64) {
    const CENTROIDS: usize = 9;
    let mut random = Bytes(seed | 1);
    let mut sample = Sample::new(bits, dimension, tokens, &mut random);
    for constants in &mut sample.constants {
        let centroid = u32::from(random.next()) % (CENTROIDS as u32 + 3);
        *constants = TokenConstants::of_residual(constants.step, centroid);
    }
    let len = sample.layout.document_bytes(tokens);
    sample.layout.pack(&sample.codes, &sample.constants, &mut sample.bytes[1..1 + len]);
    let query: Vec<i8> = (0..queries * dimension).map(|_| random.signed()).collect();
    let runs = queries.div_ceil(RUN).max(1);
    let mut run =
        || Run(std::array::from_fn(|_| i16::from_le_bytes([random.next(), random.next()])));
    let mut table: Vec<Run> = (0..CENTROIDS * runs).map(|_| run()).collect();
    table.resize(table.len() + runs, Run::of(0));
    let lowest: Vec<f32> = (0..queries).map(|token| token as f32 * 0.25 - 1.0).collect();
    let products = CentroidProducts { table: table.clone().into(), runs, step: 0.01, lowest };
    let lowest: f32 = products.lowest.iter().sum();
    let made = MaxSimQuery::from_integers(&sample.layout, &query).with_centroids(products);
    let mut expected = 0.0;
    for (token, query) in query.chunks_exact(dimension).enumerate() {
        let total: i32 = query.iter().map(|&q| i32::from(q)).sum();
        let score = |(codes, constants): (&[u8], &TokenConstants)| {
            let sum: i32 =
                codes.iter().zip(query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
            let shifted = sum as f32 - f32::from(bits.max()) / 2.0 * total as f32;
            let row = table.get(constants.centroid() as usize * runs + token / RUN);
            let value = row.map_or(0, |row| row[token % RUN]);
            constants.step * shifted + f32::from(value) * 0.01
        };
        let documents = sample.codes.chunks_exact(dimension).zip(&sample.constants);
        expected += documents.map(score).fold(f32::NEG_INFINITY, f32::max);
    }
    for kernel in MaxSimKernel::available() {
        let got = kernel.score(&made, sample.document(), tokens);
        let name = kernel.name();
        let expected = expected + lowest;
        assert_eq!(got, expected, "{name} {bits:?} {dimension} {tokens} {queries} seed {seed}");
    }
}

#[test]
fn every_kernel_equals_the_definition_for_every_number_of_tokens() {
    for bits in BITS {
        for tokens in 0..=70 {
            for queries in 0..=17 {
                let dimension = 1 + (tokens * 7 + queries) % 40;
                check(bits, dimension, tokens, queries, 1 + tokens as u64);
                check_residual(bits, dimension, tokens, queries, 1 + tokens as u64);
            }
        }
    }
}

#[test]
fn products_with_long_documents_are_computed_in_parts() {
    for tokens in [PART_TOKENS - 1, PART_TOKENS, PART_TOKENS + 1, 2 * PART_TOKENS + 37] {
        for queries in [1, 5, 13] {
            check_products(TokenBits::Eight, 33, tokens, queries, 7);
        }
    }
}

proptest! {
    #[test]
    fn every_kernel_equals_the_definition(
        bits in prop::sample::select(&BITS[..]),
        dimension in 1_usize..300,
        tokens in 0_usize..120,
        queries in 0_usize..40,
        seed in any::<u64>(),
    ) {
        check(bits, dimension, tokens, queries, seed);
        check_residual(bits, dimension, tokens, queries, seed);
        check_products(bits, dimension, tokens, queries, seed);
    }

    #[test]
    fn packing_loses_nothing(
        bits in prop::sample::select(&BITS[..]),
        dimension in 1_usize..100,
        tokens in 0_usize..70,
        seed in any::<u64>(),
    ) {
        let sample = Sample::new(bits, dimension, tokens, &mut Bytes(seed));
        let unpacked = sample.layout.unpack(sample.document(), sample.tokens());
        prop_assert_eq!(unpacked, (sample.codes.clone(), sample.constants.clone()));
    }
}

#[test]
fn rounded_queries_score_like_the_decoded_tokens() {
    let mut random = Bytes(7);
    let sample = Sample::new(TokenBits::Eight, 50, 20, &mut random);
    let query: Vec<f32> = (0..3 * 50).map(|_| f32::from(random.signed()) * 0.01).collect();
    let decoded = sample.codes.iter().zip(0..).map(|(&code, i)| {
        let constants = sample.constants[i / 50];
        constants.low + constants.step * f32::from(code)
    });
    let decoded: Vec<f32> = decoded.collect();
    let exact: f32 = query
        .chunks_exact(50)
        .map(|q| {
            let similarities = decoded.chunks_exact(50).map(|p| crate::kernels::scalar::dot(q, p));
            similarities.fold(f32::NEG_INFINITY, f32::max)
        })
        .sum();
    let made = MaxSimQuery::new(&sample.layout, &query);
    let got = MaxSimKernel::detect().score(&made, sample.document(), 20);
    assert!((got - exact).abs() < 0.01 * exact.abs(), "{got} {exact}");
}

#[test]
fn the_largest_sums_do_not_overflow() {
    let dimension = crate::kernels::codes::MAX_CODE_DIMENSION;
    let layout = TokenLayout::new(TokenBits::Eight, dimension);
    let constants = [TokenConstants { step: 1.0, low: 0.0 }];
    let mut bytes = vec![0; layout.document_bytes(1) + TokenLayout::SLACK_BYTES];
    layout.pack(&vec![255; dimension], &constants, &mut bytes[..layout.document_bytes(1)]);
    for sign in [1_i8, -1] {
        let query = MaxSimQuery::from_integers(&layout, &vec![127 * sign; dimension]);
        for kernel in MaxSimKernel::available() {
            let got = kernel.score(&query, &bytes, 1);
            let expected = (255 * 127 * i32::from(sign) * 65_536) as f32;
            assert_eq!(got, expected, "{}", kernel.name());
        }
    }
}

#[test]
fn not_a_number_never_wins() {
    let layout = TokenLayout::new(TokenBits::Eight, 4);
    let (bad, good) =
        (TokenConstants { step: f32::NAN, low: 0.0 }, TokenConstants { step: 1.0, low: -3.0 });
    for tokens in [2, 16, 17, 40] {
        let mut constants = vec![bad; tokens];
        constants[tokens / 2] = good;
        let mut bytes = vec![0; layout.document_bytes(tokens) + TokenLayout::SLACK_BYTES];
        let len = layout.document_bytes(tokens);
        layout.pack(&vec![1; tokens * 4], &constants, &mut bytes[..len]);
        let query = MaxSimQuery::from_integers(&layout, &[1, 1, 1, 0]);
        for kernel in MaxSimKernel::available() {
            assert_eq!(kernel.score(&query, &bytes, tokens), 3.0 - 9.0, "{}", kernel.name());
        }
        layout.pack(&vec![1; tokens * 4], &vec![bad; tokens], &mut bytes[..len]);
        for kernel in MaxSimKernel::available() {
            assert_eq!(kernel.score(&query, &bytes, tokens), f32::NEG_INFINITY);
        }
    }
}

#[test]
fn empty_documents_lose_and_empty_queries_score_nothing() {
    let layout = TokenLayout::new(TokenBits::Four, 4);
    let bytes = [0; TokenLayout::SLACK_BYTES + 20];
    for kernel in MaxSimKernel::available() {
        let query = MaxSimQuery::new(&layout, &[1.0; 4]);
        assert_eq!(kernel.score(&query, &bytes, 0), f32::NEG_INFINITY);
        assert_eq!(kernel.score(&MaxSimQuery::new(&layout, &[]), &bytes, 1), 0.0);
    }
}

#[test]
#[should_panic(expected = "a document and slack")]
fn documents_without_slack_are_refused() {
    let layout = TokenLayout::new(TokenBits::Eight, 8);
    let query = MaxSimQuery::from_integers(&layout, &[1; 8]);
    MaxSimKernel::detect().score(&query, &[0; 100], 3);
}
