use proptest::prelude::*;

use super::*;

const METHODS: [Method; 4] =
    [Method::Pca, Method::EigenSearch, Method::FrankWolfe, Method::Sphering];

/// Rows of pseudo-random values; dimension j has width `spread(j)`.
fn rows(n: usize, dimension: usize, seed: u64, spread: impl Fn(usize) -> f32) -> Vec<f32> {
    let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    (0..n * dimension).map(|i| value(i) * spread(i % dimension)).collect()
}

fn map_queries(reduction: &Reduction, queries: &[f32]) -> Vec<f32> {
    let rows = queries.chunks_exact(reduction.dimension());
    rows.flat_map(|query| reduction.map_query(query)).collect()
}

#[test]
fn the_rotation_is_orthonormal() {
    for dimension in [1, 2, 3, 16, 33] {
        let rotation = rotation(dimension, 7);
        let identity = product(rotation.transpose(), rotation.as_ref());
        for i in 0..dimension {
            for j in 0..dimension {
                let expected = f64::from(u8::from(i == j));
                assert!((identity[(i, j)] - expected).abs() < 1e-12, "{dimension}: {i} {j}");
            }
        }
    }
}

#[test]
fn data_in_a_subspace_loses_nothing() {
    // Only dimensions 0, 2, 4 have variance.
    let base = rows(200, 6, 1, |j| if j % 2 == 0 { 1.0 } else { 0.0 });
    let queries = rows(100, 6, 2, |_| 1.0);
    let moments = Moments::new(&base, &queries, 6);
    for method in METHODS {
        let reduction = Reduction::learn(&moments, method, 3, 42).unwrap();
        let scale = inner(&moments.base, &moments.base);
        assert!(reduction.loss(&moments) < 1e-9 * scale, "{method:?}");
        let (x, q) = (reduction.map_base(&base), map_queries(&reduction, &queries));
        for (x, full) in x.chunks_exact(3).zip(base.chunks_exact(6)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(x, &q[..3]) - dot(full, &queries[..6])).abs() < 1e-5, "{method:?}");
        }
    }
}

#[test]
fn the_loss_is_the_mean_squared_error_of_inner_products() {
    let base = rows(50, 8, 3, |j| 1.0 / (1 + j) as f32);
    let queries = rows(40, 8, 4, |j| 1.0 / (8 - j) as f32);
    let moments = Moments::new(&base, &queries, 8);
    for method in METHODS {
        let reduction = Reduction::learn(&moments, method, 4, 42).unwrap();
        let (x, q) = (reduction.map_base(&base), map_queries(&reduction, &queries));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let mut sum = 0.0;
        for (x, full) in x.chunks_exact(4).zip(base.chunks_exact(8)) {
            for (q, query) in q.chunks_exact(4).zip(queries.chunks_exact(8)) {
                sum += (dot(x, q) - dot(full, query)).powi(2);
            }
        }
        let expected = sum / (50.0 * 40.0);
        let got = reduction.loss(&moments);
        assert!((got - expected).abs() < 1e-4 * expected, "{method:?}: {got} {expected}");
    }
}

#[test]
fn methods_that_know_the_queries_lose_less() {
    // The base is widest where the queries are narrowest.
    let base = rows(500, 24, 5, |j| 1.0 / (1 + j) as f32);
    let queries = rows(500, 24, 6, |j| 1.0 / (24 - j) as f32);
    let moments = Moments::new(&base, &queries, 24);
    let loss = |method| Reduction::learn(&moments, method, 8, 42).unwrap().loss(&moments);
    let [pca, search, frank_wolfe, sphering] = METHODS.map(loss);
    println!("pca {pca} search {search} frank_wolfe {frank_wolfe} sphering {sphering}");
    assert!(search < 0.8 * pca);
    assert!(frank_wolfe <= search);
    assert!(sphering < 0.8 * pca);
}

#[test]
fn without_queries_every_method_is_pca() {
    let base = rows(100, 10, 7, |j| (1 + j) as f32);
    let moments = Moments::new(&base, &[], 10);
    let pca = Reduction::learn(&moments, Method::Pca, 5, 1).unwrap();
    for method in METHODS {
        assert_eq!(Reduction::learn(&moments, method, 5, 1).unwrap(), pca);
    }
    assert!(pca.is_projection());
}

#[test]
fn degenerate_samples_give_finite_maps() {
    let cases: [(&str, Vec<f32>, Vec<f32>, usize); 6] = [
        ("one row", vec![1.0, 2.0, 3.0], vec![1.0, 0.0, 0.0], 3),
        ("zeros", vec![0.0; 30], vec![0.0; 30], 3),
        ("duplicates", [1.0, -1.0, 0.5].repeat(40), [0.0, 1.0, 0.0].repeat(5), 3),
        ("dimension 1", vec![1.0, -2.0, 0.5], vec![1.0], 1),
        ("constant dimensions", [1.0, 0.0, 0.0].repeat(9), vec![1.0; 9], 3),
        ("extremes", vec![1e30, -1e30, 1e-30, 1e30], vec![1e-30, 1e30], 2),
    ];
    for (name, base, queries, dimension) in cases {
        let moments = Moments::new(&base, &queries, dimension);
        for method in METHODS {
            for reduced in 1..=dimension {
                let learned = Reduction::learn(&moments, method, reduced, 42).unwrap();
                let maps = learned.query_map().iter().chain(learned.base_map().unwrap_or(&[]));
                let finite = maps.into_iter().all(|value| value.is_finite());
                assert!(finite, "{name}, {method:?}, {reduced}: {learned:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_projection_to_all_dimensions_keeps_inner_products(
        dimension in 1_usize..20,
        seed in any::<u64>(),
    ) {
        let base = rows(60, dimension, seed, |_| 1.0);
        let moments = Moments::new(&base, &base, dimension);
        for method in METHODS {
            let reduction = Reduction::learn(&moments, method, dimension, seed).unwrap();
            let scale = inner(&moments.base, &moments.base);
            prop_assert!(reduction.loss(&moments) < 1e-6 * scale, "{:?}", method);
        }
    }
}

#[test]
fn maps_from_a_sketch_lose_no_more_than_from_whole_moments() {
    let base = rows(400, 64, 8, |j| 1.0 / (1 + j) as f32);
    let queries = rows(300, 64, 9, |j| 1.0 / (64 - j) as f32);
    let moments = Moments::new(&base, &queries, 64);
    for (queries, methods) in [(&queries[..], &METHODS[..]), (&[], &METHODS[..1])] {
        let sketch = Moments::sketched(&base, queries, 64, 24, 7);
        for &method in methods {
            let loss = |from| {
                let learned = Reduction::learn(from, method, 12, 42).unwrap();
                assert_eq!((learned.dimension(), learned.reduced()), (64, 12));
                learned.loss(&moments)
            };
            let (whole, sketched) = (loss(&moments), loss(&sketch));
            assert!(sketched < 1.15 * whole, "{method:?}: {sketched:e} {whole:e}");
        }
    }
    let sketch = Moments::sketched(&base, &[], 64, 24, 7);
    let beyond = Reduction::learn(&sketch, Method::Pca, 25, 42).unwrap_err();
    assert_eq!(beyond, LeanVecError::BeyondSubspace { rank: 24, reduced: 25 });
}

#[test]
fn columns_map_sparse_queries_like_rows() {
    let base = rows(100, 20, 10, |_| 1.0);
    let moments = Moments::new(&base, &base, 20);
    let reduction = Reduction::learn(&moments, Method::Sphering, 6, 42).unwrap();
    let mut query = vec![0.0; 20];
    query[3..5].copy_from_slice(&[0.5, -1.0]);
    query[17..].copy_from_slice(&[2.0, 0.25, 1.0]);
    let runs = [(3, &query[3..5]), (17, &query[17..])];
    let got = reduction.query_columns().map(runs.into_iter());
    for (got, expected) in got.iter().zip(reduction.map_query(&query)) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
}
