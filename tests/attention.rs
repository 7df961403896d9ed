//! The index of the keys of a KV cache, compared with all products and the exact softmax.

#[path = "common/heads.rs"]
mod heads;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use half::{bf16, f16};
use heads::{D, keys, queries, values};
use lanner::ErrorKind;
use lanner::attention::{
    Attention, Elements, KeyIndex, KeyIndexSettings, Request, Rows, Searcher, Target, Tensors,
    search_heads, sparse_attention,
};

const N: usize = 16_384;

fn rows(values: &[f32]) -> Rows<'_> {
    Rows::f32(values, D).unwrap()
}

fn build(keys: &[f32], queries: &[f32]) -> KeyIndex {
    KeyIndex::build(rows(keys), rows(queries), KeyIndexSettings::default()).unwrap()
}

fn index() -> (Vec<f32>, KeyIndex) {
    let keys = keys(0, N);
    let index = build(&keys, &queries(0, 4_096));
    (keys, index)
}

/// Ids found for one query.
fn found(index: &KeyIndex, query: &[f32], keys: Option<&[f32]>, request: &Request<'_>) -> Vec<u32> {
    let mut searcher = Searcher::new();
    index.search(rows(query), keys.map(rows), request, &mut searcher).unwrap();
    let hits = searcher.head(0);
    assert_eq!(hits.ids.len(), hits.products.len());
    assert!(hits.ids.windows(2).all(|pair| pair[0] < pair[1]), "ascending and distinct");
    hits.ids.to_vec()
}

/// ⟨q, k⟩ with each key.
fn products(query: &[f32], keys: &[f32]) -> Vec<f64> {
    let product = |key: &[f32]| key.iter().zip(query).map(|(k, q)| f64::from(k * q)).sum();
    keys.chunks_exact(D).map(product).collect()
}

/// The `k` allowed keys with the largest products, in ascending order.
fn nearest(products: &[f64], k: usize, allowed: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut order: Vec<usize> = (0..products.len()).filter(|&id| allowed(id)).collect();
    order.sort_by(|&a, &b| products[b].total_cmp(&products[a]));
    order.truncate(k);
    order.sort_unstable();
    order.into_iter().map(|id| id as u32).collect()
}

/// exp(product / √D) of each key, relative to the largest, and divided by their sum.
fn softmax(products: &[f64]) -> Vec<f64> {
    let most = products.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> =
        products.iter().map(|product| ((product - most) / (D as f64).sqrt()).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Σ weight · value / Σ weight over the listed keys.
fn attention(
    weights: &[f64],
    values: &[f32],
    ids: impl Iterator<Item = usize> + Clone,
) -> Vec<f64> {
    let sum: f64 = ids.clone().map(|id| weights[id]).sum();
    let mut output = vec![0.0; D];
    for id in ids {
        let value = &values[id * D..][..D];
        output.iter_mut().zip(value).for_each(|(o, &v)| *o += weights[id] / sum * f64::from(v));
    }
    output
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().filter(|id| b.contains(id)).count()
}

#[test]
fn lists_find_most_of_the_best_keys_and_score_few() {
    let (keys, index) = index();
    assert_eq!(index.lists(), 256);
    let mut searcher = Searcher::new();
    let (mut hit, mut scored, tests) = (0, 0, queries(5, 100));
    for query in tests.chunks_exact(D) {
        let products = products(query, &keys);
        let request = Request::new(Target::Keys(50));
        index.search(rows(query), Some(rows(&keys)), &request, &mut searcher).unwrap();
        let hits = searcher.head(0);
        for (&id, &product) in hits.ids.iter().zip(hits.products) {
            assert!((f64::from(product) - products[id as usize]).abs() < 1e-3, "raw products");
        }
        hit += shared(hits.ids, &nearest(&products, 50, |_| true));
        scored += hits.scored;
    }
    let recall = hit as f64 / (50 * 100) as f64;
    let share = scored as f64 / (100 * N) as f64;
    assert!(recall >= 0.95, "recall {recall}");
    assert!((0.02..0.04).contains(&share), "share scored {share}");
}

#[test]
fn a_scan_is_exact_with_keys_and_nearly_so_without() {
    let (keys, index) = index();
    for query in queries(6, 20).chunks_exact(D) {
        let products = products(query, &keys);
        let best = nearest(&products, 100, |_| true);
        let request = Request::new(Target::Keys(100)).scanning();
        assert_eq!(found(&index, query, Some(&keys), &request), best);
        assert!(shared(&found(&index, query, None, &request), &best) >= 90);
        // More than a list names: all keys are scored.
        let most = Request::new(Target::Keys(N / 2));
        let best = nearest(&products, N / 2, |_| true);
        assert_eq!(found(&index, query, Some(&keys), &most), best);
    }
}

#[test]
fn half_precision_gives_what_the_same_values_give() {
    let brain: Vec<bf16> = keys(0, N).iter().map(|&key| bf16::from_f32(key)).collect();
    let single: Vec<f32> = brain.iter().map(|key| key.to_f32()).collect();
    // bf16 with 8 bits fits f16, but for its range.
    let half: Vec<f16> = single.iter().map(|&key| f16::from_f32(key)).collect();
    let learn = queries(0, 1_000);
    let query = &queries(7, 1);
    let all = [Elements::F32(&single), Elements::F16(&half), Elements::Bf16(&brain)];
    let [of_single, of_half, of_brain] = all.map(|elements| {
        let keys = Rows::new(elements, D).unwrap();
        let index = KeyIndex::build(keys, rows(&learn), KeyIndexSettings::default()).unwrap();
        let mut searcher = Searcher::new();
        let request = Request::new(Target::Keys(100));
        index.search(rows(query), Some(keys), &request, &mut searcher).unwrap();
        let hits = searcher.head(0);
        hits.ids.iter().copied().zip(hits.products.iter().copied()).collect::<Vec<_>>()
    });
    assert_eq!(of_single, of_brain);
    let same = of_half.iter().filter(|hit| of_single.contains(hit)).count();
    assert!(same >= 98, "{same} of 100");
}

#[test]
fn excluded_tokens_are_not_found_and_pages_hold_what_is() {
    let (keys, index) = index();
    let excluded = [0..4, 5_000..9_000, N - 64..N + 1_000];
    let is_excluded = |id: usize| excluded.iter().any(|range: &Range<usize>| range.contains(&id));
    for query in queries(8, 10).chunks_exact(D) {
        let request = Request::new(Target::Keys(60)).excluding(&excluded);
        let ids = found(&index, query, Some(&keys), &request);
        assert_eq!(ids.len(), 60);
        assert!(ids.iter().all(|&id| !is_excluded(id as usize)));
        let best = nearest(&products(query, &keys), 60, |id| !is_excluded(id));
        assert_eq!(found(&index, query, Some(&keys), &request.scanning()), best);

        let pages = found(&index, query, Some(&keys), &request.pages_of(16));
        let mut expected: Vec<u32> = ids.iter().map(|id| id / 16).collect();
        expected.dedup();
        assert_eq!(pages, expected);
    }
}

#[test]
fn a_mass_is_reached_with_few_keys() {
    let (keys, index) = index();
    let mut searcher = Searcher::new();
    for share in [0.0, 0.3, 0.8, 0.99, 1.0] {
        for query in queries(9, 10).chunks_exact(D) {
            let weights = softmax(&products(query, &keys));
            let mut sorted = weights.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            for request in
                [Request::new(Target::Mass(share)), Request::new(Target::Mass(share)).scanning()]
            {
                index.search(rows(query), None, &request, &mut searcher).unwrap();
                let hits = searcher.head(0);
                let mass: f64 = hits.ids.iter().map(|&id| weights[id as usize]).sum();
                // Of a list, the mass of the others is an estimate; of a scan, codes round.
                let is_scan = hits.scored == N;
                let off = if is_scan { 0.02 } else { 0.1 };
                assert!(mass >= f64::from(share) - off, "{mass} of {share}");
                let needed = sorted.iter().scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                });
                let needed = needed.take_while(|sum| *sum < f64::from(share) + off).count();
                assert!(hits.ids.len() as f64 <= 1.3 * needed as f64 + 10.0, "{share}");
                let rest = hits.rest.unwrap();
                assert!(rest.estimate <= rest.bound);
            }
        }
    }
}

#[test]
fn appended_keys_are_found_like_others_and_forks_go_their_own_ways() {
    let all = keys(0, N + 2_000);
    let (prefix, later) = all.split_at(N * D);
    let index = build(prefix, &queries(0, 4_096));
    let before = index.memory_bytes();
    for step in later[..1_000 * D].chunks(D) {
        index.append(rows(step)).unwrap();
    }
    let fork = index.fork();
    // One continuation has the second thousand, the other the same in reverse.
    index.append(rows(&later[1_000 * D..])).unwrap();
    let reversed: Vec<f32> = later[1_000 * D..].chunks(D).rev().flatten().copied().collect();
    fork.append(rows(&reversed[..500 * D])).unwrap();
    fork.append(rows(&reversed[500 * D..])).unwrap();
    assert_eq!((index.len(), fork.len()), (N + 2_000, N + 2_000));
    assert!(index.memory_bytes() > before);

    let mut other = all[..(N + 1_000) * D].to_vec();
    other.extend(reversed);
    for (index, keys) in [(&index, &all), (&fork, &other)] {
        let mut hit = 0;
        for query in queries(10, 50).chunks_exact(D) {
            let best = nearest(&products(query, keys), 50, |_| true);
            let request = Request::new(Target::Keys(50));
            hit += shared(&found(index, query, Some(keys), &request), &best);
            assert_eq!(found(index, query, Some(keys), &request.scanning()), best);
        }
        assert!(hit as f64 >= 0.95 * (50 * 50) as f64, "{hit} of 2500");
    }
}

#[test]
fn keys_are_appended_while_others_search() {
    let all = keys(0, N + 1_000);
    let index = build(&all[..N * D], &queries(0, 1_024));
    let done = AtomicBool::new(false);
    let (index, done, all) = (&index, &done, &all);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            scope.spawn(move || {
                let (mut searcher, tests) = (Searcher::new(), queries(11 + seed, 16));
                let mut searches = 0;
                while !done.load(Ordering::Acquire) || searches == 0 {
                    let known = index.len();
                    let request = Request::new(Target::Keys(40));
                    index.search(rows(&tests), Some(rows(all)), &request, &mut searcher).unwrap();
                    let limit = index.len();
                    for (head, query) in tests.chunks_exact(D).enumerate() {
                        let hits = searcher.head(head);
                        assert_eq!(hits.ids.len(), 40);
                        for (&id, &product) in hits.ids.iter().zip(hits.products) {
                            let key = &all[id as usize * D..][..D];
                            let expected = products(query, key)[0];
                            assert!((f64::from(product) - expected).abs() < 1e-3);
                            assert!((id as usize) < limit && known <= limit);
                        }
                    }
                    searches += 1;
                }
            });
        }
        let appended = all[N * D..].chunks(3 * D).try_for_each(|keys| index.append(rows(keys)));
        done.store(true, Ordering::Release);
        appended.unwrap();
    });
    let query = &queries(12, 1);
    let best = nearest(&products(query, all), 100, |_| true);
    let request = Request::new(Target::Keys(100)).scanning();
    assert_eq!(found(index, query, Some(all), &request), best);
}

#[test]
fn many_heads_are_searched_in_one_call_whatever_their_lengths() {
    let lengths = [0, 5, 700, N];
    let tensors: Vec<Vec<f32>> = lengths.iter().map(|&n| keys(0, n)).collect();
    let indexes: Vec<KeyIndex> =
        tensors.iter().map(|keys| build(keys, &queries(0, 1_000))).collect();
    let tests = queries(13, 2 * lengths.len());
    let request = Request::new(Target::Keys(20));
    let mut searchers: Vec<Searcher> = lengths.iter().map(|_| Searcher::new()).collect();
    let all: Vec<Rows<'_>> = tensors.iter().map(|keys| rows(keys)).collect();
    search_heads(&indexes, rows(&tests), Some(&all), &request, &mut searchers).unwrap();
    for (at, (index, searcher)) in indexes.iter().zip(&searchers).enumerate() {
        assert_eq!(searcher.heads(), 2);
        for head in 0..2 {
            let query = &tests[(2 * at + head) * D..][..D];
            let alone = found(index, query, Some(&tensors[at]), &request);
            assert_eq!(searcher.head(head).ids, alone);
            assert_eq!(alone.len(), lengths[at].min(20));
        }
    }
    let wrong = search_heads(&indexes, rows(&tests[..7 * D]), None, &request, &mut searchers);
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let wrong = search_heads(&indexes, rows(&tests), None, &request, &mut searchers[1..]);
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let wrong = search_heads(&indexes, rows(&tests), Some(&all[1..]), &request, &mut searchers);
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// Relative error of a query's output against that of these keys.
fn error(output: &[f32], exact: &[f64]) -> f64 {
    let of = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = of(&mut output.iter().zip(exact).map(|(a, b)| f64::from(*a) - b));
    difference / of(&mut exact.iter().copied())
}

#[test]
fn attention_is_the_softmax_over_what_was_found_and_the_bound_bounds() {
    // The index lacks the last tokens, which are static.
    let (keys, values) = (keys(0, N + 32), values(0, N + 32));
    let index = build(&keys[..N * D], &queries(0, 4_096));
    let ranges = [0..4, N - 32..N + 32];
    let tests = queries(14, 24);
    let tensors = Tensors { queries: rows(&tests), keys: rows(&keys), values: rows(&values) };
    let budgets = [Target::Keys(0), Target::Keys(327), Target::Keys(N * 2), Target::Mass(0.9)];
    let (mut searcher, mut output) = (Searcher::new(), Attention::new());
    let mut off = 0.0;
    for (target, scan) in budgets.into_iter().flat_map(|target| [(target, false), (target, true)]) {
        let mut request = Request::new(target).excluding(&ranges);
        if scan {
            request = request.scanning();
        }
        sparse_attention(&index, tensors, &request, &mut searcher, &mut output).unwrap();
        assert_eq!(output.heads(), 24);
        for (head, query) in tests.chunks_exact(D).enumerate() {
            let weights = softmax(&products(query, &keys));
            let ids = searcher.head(head).ids;
            let chosen = ranges.iter().flat_map(Clone::clone);
            let chosen = chosen.chain(ids.iter().map(|&id| id as usize));
            let expected = attention(&weights, &values, chosen.clone());
            assert!(error(output.output(head), &expected) < 1e-4, "{target:?}");

            let covered: f64 = chosen.clone().map(|id| weights[id]).sum();
            let coverage = output.coverage(head);
            assert_eq!(coverage.keys, chosen.count());
            let at_least = f64::from(coverage.at_least);
            assert!(at_least <= covered + 1e-6, "{at_least} {covered} {target:?}");
            assert!(coverage.at_least <= coverage.estimate + 1e-6);
            let is_scan = coverage.scored >= N - 36;
            let distance = (f64::from(coverage.estimate) - covered).abs();
            assert!(distance < if is_scan { 0.02 } else { 0.2 }, "{distance} {target:?}");
            // Of codes alone, a bound allows for the largest rounding errors.
            if is_scan && covered > 0.5 {
                assert!(at_least > 0.6 * covered, "{at_least} {covered} {target:?}");
            }
            if target == Target::Keys(N * 2) {
                assert_eq!((coverage.estimate, coverage.at_least), (1.0, 1.0));
            }
            if target == Target::Keys(327) && !scan {
                off += distance / 24.0;
            }
        }
    }
    assert!(off < 0.05, "the estimate is off by {off}");
}

#[test]
fn a_sample_of_the_rest_brings_the_output_near_to_full_attention() {
    let (keys, index) = index();
    // Attention is spread over many keys, whose values differ from those of the best.
    let values = &keys;
    let scale = 0.3 / (D as f32).sqrt();
    let exact = |query: &[f32]| {
        let logits: Vec<f64> = products(query, &keys).iter().map(|p| 0.3 * p).collect();
        attention(&softmax(&logits), values, 0..N)
    };
    let tests = queries(15, 40);
    let tensors = Tensors { queries: rows(&tests), keys: rows(&keys), values: rows(values) };
    let mut errors = [0.0; 2];
    for (samples, errors) in [0, 160].into_iter().zip(&mut errors) {
        let request = Request::new(Target::Keys(160)).sampling(samples).scale(scale);
        let (mut searcher, mut output) = (Searcher::new(), Attention::new());
        sparse_attention(&index, tensors, &request, &mut searcher, &mut output).unwrap();
        for (head, query) in tests.chunks_exact(D).enumerate() {
            *errors += error(output.output(head), &exact(query)) / 40.0;
            assert!(output.coverage(head).keys == 160, "a sample is not covered");
        }
    }
    assert!(errors[1] < 0.6 * errors[0], "{errors:?}");
    // Everything sampled, nothing selected: attention over all keys.
    let request = Request::new(Target::Keys(0)).sampling(N).scale(scale);
    let (mut searcher, mut output) = (Searcher::new(), Attention::new());
    sparse_attention(&index, tensors, &request, &mut searcher, &mut output).unwrap();
    for (head, query) in tests.chunks_exact(D).enumerate() {
        assert!(error(output.output(head), &exact(query)) < 1e-4);
        let all: f64 = products(query, &keys).iter().map(|p| (f64::from(scale) * p).exp()).sum();
        assert!((f64::from(output.log_sum_exp(head)) - all.ln()).abs() < 1e-3);
    }
}

#[test]
fn few_queries_equal_keys_and_queries_among_the_keys_get_right_answers() {
    let all = keys(0, N);
    let ones = vec![1.0; N * D];
    let mut duplicates = all.clone();
    duplicates[..N / 2 * D].chunks_exact_mut(D).for_each(|key| key.copy_from_slice(&all[..D]));
    let (none, many): (&[f32], Vec<f32>) = (&[], queries(0, 2_000));
    let zeros = vec![0.0; 2_000 * D];
    let cases: [(&[f32], &[f32]); 8] = [
        (&all, none),
        (&all, &many[..49 * D]),
        (&all, &all),
        (&all, &zeros),
        (&ones, &many),
        (&duplicates, &many),
        (none, none),
        (&all[..D], &many),
    ];
    for (case, (keys, learn)) in cases.into_iter().enumerate() {
        let index = build(keys, learn);
        let count = keys.len() / D;
        assert_eq!(index.len(), count);
        for query in queries(16, 5).chunks_exact(D).chain([&zeros[..D]]) {
            let products = products(query, keys);
            for k in [0, 1, 30, N, N + 1, usize::MAX] {
                let ids = found(&index, query, Some(keys), &Request::new(Target::Keys(k)));
                assert_eq!(ids.len(), k.min(count), "case {case}");
                // Ties may be any, so products are compared. Queries unlike those learned from may
                // miss a few.
                let sum = |ids: &[u32]| ids.iter().map(|&id| products[id as usize]).sum::<f64>();
                let best = sum(&nearest(&products, k, |_| true));
                let spread = products.iter().fold(0.0_f64, |a, b| a.max(b.abs())) * k.min(N) as f64;
                assert!(sum(&ids) >= best - 0.1 * spread - 1e-3, "case {case} {k}");
            }
        }
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let (keys, index) = index();
    let refused = |result: lanner::Result<()>, text: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(text), "{error}");
    };
    let default = KeyIndexSettings::default();
    let mut broken = keys[..10 * D].to_vec();
    broken[7 * D + 3] = f32::NAN;
    let build = |keys: Rows<'_>, queries, settings| KeyIndex::build(keys, queries, settings);
    let none = rows(&[]);
    refused(build(rows(&broken), none, default).map(drop), "keys[7]: expected finite values");
    refused(build(rows(&keys), rows(&broken), default).map(drop), "queries[7]");
    let narrow = Rows::f32(&keys, D / 2).unwrap();
    refused(build(rows(&keys), narrow, default).map(drop), "expected 32 dimensions, got 16");
    for share in [0.0, f32::NAN, 1.1] {
        refused(build(none, none, KeyIndexSettings { share, ..default }).map(drop), "share");
    }
    let settings = KeyIndexSettings { lists: Some(0), ..default };
    refused(build(none, none, settings).map(drop), "lists: expected 1 to");

    refused(index.append(rows(&broken)), "keys[7]");
    refused(index.append(narrow), "keys: expected 32 dimensions");
    assert_eq!(index.len(), N);

    let (mut searcher, request) = (Searcher::new(), Request::new(Target::Keys(3)));
    let query = rows(&keys[..D]);
    index.search(query, None, &request, &mut searcher).unwrap();
    refused(index.search(rows(&broken), None, &request, &mut searcher), "queries[7]");
    assert_eq!(searcher.heads(), 0);
    refused(index.search(narrow, None, &request, &mut searcher), "queries: expected 32");
    refused(index.search(query, Some(narrow), &request, &mut searcher), "keys: expected 32");

    let mut output = Attention::new();
    let mut attend = |keys, values, request: &Request<'_>| {
        let tensors = Tensors { queries: query, keys, values };
        sparse_attention(&index, tensors, request, &mut searcher, &mut output)
    };
    let all = rows(&keys);
    refused(attend(all, rows(&keys[..9 * D]), &request), "a value for each key, got 9 for 16384");
    refused(attend(all, all, &Request::new(Target::Keys(0))), "at least one key to attend to");
    refused(attend(all, all, &request.pages_of(16)), "page");
    let beyond = [0..4, 4..N + 1];
    refused(attend(all, all, &request.excluding(&beyond)), "excluded");
    let longer = heads::keys(0, N + 1);
    refused(attend(rows(&longer), rows(&longer), &request), "to be in a static range");
    attend(all, all, &request).unwrap();
}
