use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::kernels::scalar;
use crate::multivector::max_sim;
use crate::quantization::hash;

fn google(planes: usize, seed: u64) -> FdeSettings {
    FdeSettings {
        repetitions: 1,
        simhash_projections: planes,
        inner_projection: None,
        fill_empty_cells: false,
        seed,
        generator: Generator::Google,
        ..FdeSettings::default()
    }
}

fn query(settings: FdeSettings, tokens: &[f32], dimension: usize) -> Vec<f32> {
    let encoder = FdeEncoder::new(settings, dimension).unwrap();
    let mut out = vec![f32::NAN; encoder.dimension()];
    encoder.encode_query(tokens, &mut out).unwrap();
    out
}

fn document(settings: FdeSettings, tokens: &[f32], dimension: usize) -> Vec<f32> {
    let encoder = FdeEncoder::new(settings, dimension).unwrap();
    let mut out = vec![f32::NAN; encoder.dimension()];
    encoder.encode_document(tokens, &mut out).unwrap();
    out
}

/// Pseudo-random unit tokens.
fn tokens(count: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let mut values: Vec<f32> = (0..count * dimension).map(value).collect();
    for token in values.chunks_exact_mut(dimension) {
        crate::kernels::normalize(token);
    }
    values
}

#[test]
fn a_query_of_the_reference() {
    let mut tokens = [0.0; 18];
    for (row, (axis, sign)) in
        (0..6).zip([(0, 1.0), (1, 1.0), (2, 1.0), (0, -1.0), (1, -1.0), (2, -1.0)])
    {
        tokens[row * 3 + axis] = sign;
    }
    let expected = [-1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0];
    assert_eq!(query(google(2, 42), &tokens, 3), expected);
}

#[test]
fn documents_of_the_reference() {
    let tokens = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0];
    let expected = [-2.5, -3.5, -4.5, 0.0, 0.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0];
    assert_eq!(document(google(2, 7), &tokens, 3), expected);
    let filled = FdeSettings { fill_empty_cells: true, ..google(3, 7) };
    let expected = [
        [-1.0, -2.0, -3.0],
        [-2.5, -3.5, -4.5],
        [-1.0, -2.0, -3.0],
        [1.0, 2.0, 3.0],
        [4.0, 5.0, 6.0],
        [1.0, 2.0, 3.0],
        [-1.0, -2.0, -3.0],
        [1.0, 2.0, 3.0],
    ];
    assert_eq!(document(filled, &tokens, 3), expected.concat());
}

#[test]
fn a_projected_query_of_the_reference() {
    let mut tokens = [0.0; 100];
    (0..10).for_each(|i| tokens[i * 11] = 1.0);
    let settings = FdeSettings { inner_projection: Some(5), ..google(2, 555) };
    let expected = [
        [0.0, -1.0, 0.0, 1.0, 0.0],
        [-1.0, 0.0, 0.0, -1.0, 0.0],
        [0.0, 0.0, 0.0, -1.0, -1.0],
        [-2.0, 0.0, 1.0, 0.0, 1.0],
    ];
    assert_eq!(query(settings, &tokens, 10), expected.concat());
}

/// An encoding by the reference implementation (`benches/peers/fde_golden.py`).
#[derive(Debug, Deserialize)]
struct Case {
    repetitions: usize,
    simhash_projections: usize,
    inner_projection: Option<usize>,
    final_projection: Option<usize>,
    fill_empty_cells: bool,
    seed: u64,
    document: bool,
    rows: usize,
    token_dimension: usize,
    salt: u64,
    dimension: usize,
    stride: usize,
    values: Vec<f32>,
}

impl Case {
    /// Same as `tokens` of the script.
    fn tokens(&self) -> Vec<f32> {
        let value = |i: usize| {
            let mut mixed = (i as u64 + (self.salt << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^= mixed >> 29;
            mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..self.rows * self.token_dimension).map(value).collect()
    }

    fn settings(&self) -> FdeSettings {
        FdeSettings {
            repetitions: self.repetitions,
            simhash_projections: self.simhash_projections,
            inner_projection: self.inner_projection,
            final_projection: self.final_projection,
            fill_empty_cells: self.fill_empty_cells,
            seed: self.seed,
            generator: Generator::Google,
            ball_carving: None,
        }
    }
}

#[test]
fn a_sweep_of_parameters_equals_the_reference() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert!(cases.len() > 40);
    for case in cases {
        let encode = if case.document { document } else { query };
        let encoding = encode(case.settings(), &case.tokens(), case.token_dimension);
        assert_eq!(encoding.len(), case.dimension, "{case:?}");
        let sampled = encoding.iter().step_by(case.stride);
        assert_eq!(sampled.len(), case.values.len());
        for (got, &expected) in sampled.zip(&case.values) {
            // The order of summation differs.
            let close = (got - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(close, "{got} {expected} {case:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_sparse_query_is_the_dense_one(
        repetitions in 1_usize..30,
        planes in 0_usize..7,
        projected in proptest::option::of(1_usize..12),
        count in 1_usize..40,
        seed in any::<u64>(),
        reference in any::<bool>(),
    ) {
        let settings = FdeSettings {
            repetitions,
            simhash_projections: planes,
            inner_projection: projected,
            seed,
            generator: if reference { Generator::Google } else { Generator::Paper },
            ..FdeSettings::default()
        };
        let (q, d) = (tokens(count, 12, seed), tokens(9, 12, seed ^ 1));
        let dense = query(settings.clone(), &q, 12);
        let encoding = document(settings.clone(), &d, 12);
        let encoder = FdeEncoder::new(settings, 12).unwrap();
        let sparse = encoder.sparse_query(&q).unwrap();
        prop_assert!(sparse.len() <= count * repetitions);
        let mut written = vec![f32::NAN; encoder.full_dimension()];
        sparse.write_dense(&mut written);
        prop_assert_eq!(&written, &dense);
        let expected = scalar::dot(&dense, &encoding);
        prop_assert!((sparse.dot(&encoding) - expected).abs() < 1e-3 * expected.abs().max(1.0));
    }

    /// The definition of the paper, for one repetition without projection: the codes are inferred
    /// from the blocks of single tokens.
    #[test]
    fn cells_are_centroids_and_empty_ones_the_nearest_token(
        planes in 0_usize..6,
        count in 1_usize..30,
        seed in any::<u64>(),
    ) {
        let settings = FdeSettings {
            repetitions: 1,
            simhash_projections: planes,
            inner_projection: None,
            seed,
            ..FdeSettings::default()
        };
        let (dimension, cells) = (6, settings.cells());
        let tokens = tokens(count, dimension, seed);
        let rows: Vec<&[f32]> = tokens.chunks_exact(dimension).collect();
        let code = |row: &&[f32]| {
            let alone = query(settings.clone(), row, dimension);
            alone.chunks_exact(dimension).position(|block| block == *row).unwrap()
        };
        let codes: Vec<usize> = rows.iter().map(code).collect();
        let blocks = document(settings.clone(), &tokens, dimension);
        for cell in 0..cells {
            let inside: Vec<usize> = (0..count).filter(|&t| codes[t] == cell).collect();
            let nearest =
                (0..count).min_by_key(|&t| (codes[t] ^ cell).count_ones()).unwrap();
            let taken = if inside.is_empty() { vec![nearest] } else { inside };
            for i in 0..dimension {
                let sum: f32 = taken.iter().map(|&t| rows[t][i]).sum();
                let got = blocks[cell * dimension + i];
                prop_assert!((got - sum / taken.len() as f32).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn without_planes_the_product_is_the_mean_similarity_to_all_tokens() {
    let settings = FdeSettings {
        repetitions: 3,
        simhash_projections: 0,
        inner_projection: None,
        ..FdeSettings::default()
    };
    let (q, d) = (tokens(4, 10, 1), tokens(6, 10, 2));
    let product = scalar::dot(&query(settings.clone(), &q, 10), &document(settings, &d, 10));
    let pairs: f32 =
        q.chunks_exact(10).flat_map(|q| d.chunks_exact(10).map(move |d| scalar::dot(q, d))).sum();
    assert!((product - 3.0 * pairs / 6.0).abs() < 1e-4);
}

#[test]
fn projections_keep_products_in_the_mean() {
    // Without planes, the mean over many repetitions approximates the product itself.
    let repetitions = 400;
    let (q, d) = (tokens(1, 32, 3), tokens(1, 32, 4));
    let exact = scalar::dot(&q, &d);
    for (inner, last) in [(Some(8), None), (None, Some(600))] {
        let settings = FdeSettings {
            repetitions: if last.is_some() { 1 } else { repetitions },
            simhash_projections: 0,
            inner_projection: inner,
            ..FdeSettings::default()
        };
        let mean: f32 = if last.is_some() {
            let products = (0..60).map(|seed| {
                let settings = FdeSettings {
                    seed,
                    repetitions: 19,
                    final_projection: last,
                    ..settings.clone()
                };
                scalar::dot(&query(settings.clone(), &q, 32), &document(settings, &d, 32)) / 19.0
            });
            products.sum::<f32>() / 60.0
        } else {
            scalar::dot(&query(settings.clone(), &q, 32), &document(settings, &d, 32))
                / repetitions as f32
        };
        assert!((mean - exact).abs() < 0.03, "{inner:?} {last:?}: {mean} {exact}");
    }
}

#[test]
fn encodings_rank_documents_like_max_sim() {
    // Ten documents, each with a noisy copy of the tokens of one query.
    let queries: Vec<Vec<f32>> = (0..10).map(|i| tokens(6, 64, 100 + i)).collect();
    let encoder = FdeEncoder::new(FdeSettings::default(), 64).unwrap();
    let documents: Vec<Vec<f32>> = (0..10)
        .map(|i| {
            let noise = tokens(6, 64, 200 + i as u64);
            let near = queries[i].iter().zip(&noise).map(|(q, n)| q + 0.7 * n);
            near.chain(tokens(20, 64, 300 + i as u64)).collect()
        })
        .collect();
    for (i, query) in queries.iter().enumerate() {
        let sparse = encoder.sparse_query(query).unwrap();
        let best = |score: &dyn Fn(&[f32]) -> f32| {
            let scores: Vec<f32> = documents.iter().map(|document| score(document)).collect();
            (0..10).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap()
        };
        let by_encoding = best(&|tokens| {
            let mut out = vec![0.0; encoder.dimension()];
            encoder.encode_document(tokens, &mut out).unwrap();
            sparse.dot(&out)
        });
        let exact = best(&|tokens| max_sim(query, tokens, 64, scalar::dot));
        assert_eq!((by_encoding, exact), (i, i));
    }
}

#[test]
fn carved_queries_keep_the_sum_of_their_tokens() {
    let one = tokens(1, 16, 5);
    let twice = [one.clone(), one.clone()].concat();
    let carved = FdeSettings { ball_carving: Some(0.7), ..FdeSettings::default() };
    assert_eq!(query(carved, &twice, 16), query(FdeSettings::default(), &twice, 16));
    let opposite = FdeSettings { ball_carving: Some(-1.0), ..FdeSettings::default() };
    let pair = [one.clone(), one.iter().map(|x| -0.5 * x).collect()].concat();
    let sum: Vec<f32> = one.iter().map(|x| x - 0.5 * x).collect();
    assert_eq!(query(opposite, &pair, 16), query(FdeSettings::default(), &sum, 16));
}

#[test]
fn degenerate_tokens_are_encoded() {
    let zeros = [0.0; 32];
    assert!(document(FdeSettings::default(), &zeros, 16).iter().all(|&x| x == 0.0));
    let equal = tokens(1, 16, 6).repeat(50);
    let (one, many) = (&equal[..16], &equal);
    let (one, many) =
        (document(FdeSettings::default(), one, 16), document(FdeSettings::default(), many, 16));
    for (one, many) in one.iter().zip(&many) {
        assert!((one - many).abs() < 1e-5);
    }
    let dimension_one = FdeSettings { inner_projection: Some(1), ..FdeSettings::default() };
    assert_eq!(document(dimension_one, &[2.0, -1.0], 1).len(), 640);
}

#[test]
fn no_tokens_and_partial_tokens_are_refused() {
    let encoder = FdeEncoder::new(FdeSettings::default(), 16).unwrap();
    let mut out = vec![0.0; encoder.dimension()];
    let none = encoder.encode_document(&[], &mut out).unwrap_err().to_string();
    assert_eq!(none, "tokens: expected at least one vector, got none");
    assert!(encoder.encode_query(&[], &mut out).is_err());
    let partial = encoder.encode_query(&[0.0; 17], &mut out).unwrap_err().to_string();
    assert_eq!(partial, "tokens: expected a multiple of 16 values, got 17");
    assert!(encoder.encode_document(&[0.0; 17], &mut out).is_err());
}

#[test]
fn settings_survive_json() {
    let settings = FdeSettings { final_projection: Some(9), ..google(3, 7) };
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<FdeSettings>(&text).unwrap(), settings);
    assert_eq!(serde_json::from_str::<FdeSettings>("{}").unwrap(), FdeSettings::default());
    assert!(serde_json::from_str::<FdeSettings>(r#"{"repetition": 3}"#).is_err());
}

#[test]
fn what_tokens_have_in_common_is_left_out() {
    let (dimension, documents) = (24, 12);
    let center: Vec<f32> = tokens(1, dimension, 5).iter().map(|value| 3.0 * value).collect();
    let shifted = |tokens: &[f32]| -> Vec<f32> {
        tokens.iter().zip(center.iter().cycle()).map(|(token, center)| token + center).collect()
    };
    for inner_projection in [None, Some(8)] {
        let settings = FdeSettings { repetitions: 6, inner_projection, ..FdeSettings::default() };
        let plain = FdeEncoder::new(settings, dimension).unwrap();
        let centred = plain.clone().centred(&center);
        let (mut expected, mut got) = (vec![0.0; plain.dimension()], vec![0.0; plain.dimension()]);
        for seed in 0..documents {
            let document = tokens(7 + seed as usize, dimension, 100 + seed);
            plain.encode_document(&document, &mut expected).unwrap();
            centred.encode_document(&shifted(&document), &mut got).unwrap();
            for (expected, got) in expected.iter().zip(&got) {
                assert!((expected - got).abs() < 1e-4, "{expected} {got}");
            }
            // Queries keep what they have in common: it is multiplied with centred documents.
            let query = tokens(4, dimension, 200 + seed);
            let cells = |encoder: &FdeEncoder, query: &[f32]| -> Vec<u32> {
                encoder
                    .sparse_query(query)
                    .unwrap()
                    .blocks()
                    .map(|(place, _)| place as u32)
                    .collect()
            };
            assert_eq!(cells(&centred, &shifted(&query)), cells(&plain, &query));
            plain.encode_query(&query, &mut expected).unwrap();
            let zero = plain.clone().centred(&vec![0.0; dimension]);
            zero.encode_query(&query, &mut got).unwrap();
            assert_eq!(expected, got);
        }
    }
}
