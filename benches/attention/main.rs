//! Attention as retrieval: recall, share of keys scored, time, coverage and error of the output, on
//! sets of queries, keys and values. `benches/attention/run.sh` makes the sets and runs this and the
//! peers; [docs/attention.md](../../docs/attention.md) keeps the results.
//!
//! `cargo bench --bench attention -- FOLDER`, a folder of sets, each a folder with `keys.npy`,
//! `learn.npy`, `test.npy` and, for attention, `values.npy`. With `--json FILE`, results are
//! appended to a file for `peers.py`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lanner::attention::{
    Attention, KeyIndex, KeyIndexSettings, Request, Rows, Searcher, Target, Tensors,
    sparse_attention,
};
use lanner::internals::kernels::matrix_vector;
use lanner_eval::NpyMatrix;

const K: usize = 100;
/// First and recent tokens, which are always attended to.
const FIRST: usize = 4;
const RECENT: usize = 64;
/// Budget of the attention, as a share of the keys.
const BUDGET: f64 = 0.02;
const MAX_QUERIES: usize = 500;

struct Set {
    name: String,
    dimension: usize,
    keys: Vec<f32>,
    learn: Vec<f32>,
    test: Vec<f32>,
    values: Option<Vec<f32>>,
}

impl Set {
    fn open(folder: &Path) -> Option<Self> {
        let (keys, dimension) = read(&folder.join("keys.npy"))?;
        let part = |name: &str| read(&folder.join(name)).map(|(values, _)| values);
        let mut test = part("test.npy")?;
        // Queries from all over the set.
        let step = (test.len() / dimension).div_ceil(MAX_QUERIES);
        test = test.chunks(dimension).step_by(step).flatten().copied().collect();
        let learn = part("learn.npy").unwrap_or_default();
        let name = folder.file_name()?.to_string_lossy().into_owned();
        Some(Self { name, dimension, keys, learn, test, values: part("values.npy") })
    }

    fn len(&self) -> usize {
        self.keys.len() / self.dimension
    }

    fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.test.chunks_exact(self.dimension)
    }

    fn rows<'a>(&self, values: &'a [f32]) -> Rows<'a> {
        Rows::f32(values, self.dimension).expect("whole rows")
    }
}

fn read(path: &Path) -> Option<(Vec<f32>, usize)> {
    let mut matrix = NpyMatrix::open(path).ok()?;
    let mut values = Vec::new();
    matrix.read_rows(0..matrix.rows(), &mut values).ok()?;
    Some((values, matrix.cols()))
}

/// Exact answers to one query.
struct Truth {
    /// The `K` keys with the largest products.
    nearest: Vec<u32>,
    /// Attention over all keys, and the logits.
    output: Vec<f64>,
    logits: Vec<f32>,
}

fn truth(set: &Set, query: &[f32]) -> Truth {
    let mut products = vec![0.0; set.len()];
    matrix_vector(&set.keys, query, &mut products);
    let mut order: Vec<u32> = (0..set.len() as u32).collect();
    order.select_nth_unstable_by(K, |&a, &b| products[b as usize].total_cmp(&products[a as usize]));
    let scale = 1.0 / (set.dimension as f32).sqrt();
    let logits: Vec<f32> = products.iter().map(|product| scale * product).collect();
    let most = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut output = Vec::new();
    if let Some(values) = &set.values {
        let width = values.len() / set.len();
        output.resize(width, 0.0);
        let mut sum = 0.0;
        for (logit, value) in logits.iter().zip(values.chunks_exact(width)) {
            let weight = f64::from(logit - most).exp();
            sum += weight;
            output.iter_mut().zip(value).for_each(|(out, &v)| *out += weight * f64::from(v));
        }
        output.iter_mut().for_each(|out| *out /= sum);
    }
    Truth { nearest: order[..K].to_vec(), output, logits }
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Recall@K, the share of keys scored, and the median time of a search in µs.
fn search(set: &Set, truths: &[Truth], index: &KeyIndex, request: &Request<'_>) -> (f64, f64, f64) {
    let keys = set.rows(&set.keys);
    let mut searcher = Searcher::new();
    let (mut recalls, mut scored, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        for (query, truth) in set.queries().zip(truths) {
            let start = Instant::now();
            index.search(set.rows(query), Some(keys), request, &mut searcher).expect("a search");
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if round == 0 {
                let hits = searcher.head(0);
                let found = truth.nearest.iter().filter(|id| hits.ids.contains(id)).count();
                recalls.push(found as f64 / K as f64);
                scored.push(hits.scored as f64 / set.len() as f64);
            }
        }
    }
    (mean(&recalls), mean(&scored), median(&mut times))
}

/// What attention at a budget of keys does.
#[derive(Default)]
struct Attended {
    /// ‖output − exact‖ / ‖exact‖ of each query.
    errors: Vec<f64>,
    /// The same for the best choice of as many keys.
    best: Vec<f64>,
    /// Share of the attention that is covered: true, estimated less true, and the bound.
    covered: Vec<f64>,
    estimate_errors: Vec<f64>,
    at_least: Vec<f64>,
    times: Vec<f64>,
}

/// How the keys of a budget are chosen.
#[derive(Clone, Copy, PartialEq)]
enum Choice {
    Lists,
    /// All codes are scored.
    Scan,
    /// Half of the budget from a list, and half as a sample of the others.
    Sampled,
}

fn attention(set: &Set, truths: &[Truth], index: &KeyIndex, choice: Choice) -> Attended {
    let mut all = Attended::default();
    let Some(values) = &set.values else { return all };
    let n = set.len();
    let width = values.len() / n;
    let static_ranges = [0..FIRST, n - RECENT..n];
    let budget = (BUDGET * n as f64) as usize;
    let selected = if choice == Choice::Sampled { budget / 2 } else { budget };
    let mut request = Request::new(Target::Keys(selected)).excluding(&static_ranges);
    match choice {
        Choice::Lists => {}
        Choice::Scan => request = request.scanning(),
        Choice::Sampled => request = request.sampling(budget - selected),
    }
    let (mut searcher, mut output) = (Searcher::new(), Attention::new());
    let values_rows = Rows::f32(values, width).expect("whole rows");
    for (query, truth) in set.queries().zip(truths) {
        let tensors =
            Tensors { queries: set.rows(query), keys: set.rows(&set.keys), values: values_rows };
        let start = Instant::now();
        sparse_attention(index, tensors, &request, &mut searcher, &mut output).expect("attention");
        all.times.push(start.elapsed().as_secs_f64() * 1e6);
        all.errors.push(relative_error(output.output(0), &truth.output));
        all.best.push(relative_error(&best_output(values, width, truth, budget), &truth.output));
        let most = truth.logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let total: f64 = truth.logits.iter().map(|l| f64::from(l - most).exp()).sum();
        let coverage = output.coverage(0);
        // A sample is not covered.
        let covered = f64::from(output.log_sum_exp(0) - most).exp() / total;
        let covered = if choice == Choice::Sampled { coverage.estimate.into() } else { covered };
        all.covered.push(covered);
        all.estimate_errors.push((f64::from(coverage.estimate) - covered).abs());
        all.at_least.push(f64::from(coverage.at_least));
        assert!(f64::from(coverage.at_least) <= covered + 1e-5, "the bound holds");
    }
    all
}

/// Attention over the static tokens and the `budget` others with the largest weights.
fn best_output(values: &[f32], width: usize, truth: &Truth, budget: usize) -> Vec<f32> {
    let n = truth.logits.len();
    let mut order: Vec<usize> = (FIRST..n - RECENT).collect();
    order.select_nth_unstable_by(budget, |&a, &b| truth.logits[b].total_cmp(&truth.logits[a]));
    let most = truth.logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let (mut sum, mut output) = (0.0, vec![0.0_f64; width]);
    for id in order[..budget].iter().copied().chain(0..FIRST).chain(n - RECENT..n) {
        let weight = f64::from(truth.logits[id] - most).exp();
        sum += weight;
        let value = &values[id * width..][..width];
        output.iter_mut().zip(value).for_each(|(out, &v)| *out += weight * f64::from(v));
    }
    output.iter().map(|out| (out / sum) as f32).collect()
}

fn relative_error(output: &[f32], exact: &[f64]) -> f64 {
    let difference: f64 = output.iter().zip(exact).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let size: f64 = exact.iter().map(|b| b * b).sum();
    (difference / size).sqrt()
}

fn build(set: &Set, settings: KeyIndexSettings) -> (KeyIndex, f64) {
    let start = Instant::now();
    let build = KeyIndex::build(set.rows(&set.keys), set.rows(&set.learn), settings);
    (build.expect("an index"), start.elapsed().as_secs_f64())
}

fn measure(set: &Set, json: &mut String) {
    let truths: Vec<Truth> = set.queries().map(|query| truth(set, query)).collect();
    println!("\n{}: {} keys, d = {}, {} queries", set.name, set.len(), set.dimension, truths.len());
    let default = KeyIndexSettings::default();
    let settings = [
        ("1%", KeyIndexSettings { share: 0.01, ..default }),
        ("2%", KeyIndexSettings { share: 0.02, ..default }),
        ("3%", default),
        ("6%", KeyIndexSettings { share: 0.06, ..default }),
        ("3%, 2048 lists", KeyIndexSettings { lists: Some(2048), ..default }),
    ];
    let mut at_three = None;
    for (label, settings) in settings {
        let (index, seconds) = build(set, settings);
        let (recall, scored, time) = search(set, &truths, &index, &Request::new(Target::Keys(K)));
        let bytes = index.memory_bytes() as f64 / set.len() as f64;
        println!(
            "  lists of {label:14} recall@{K} {recall:.4}, {:.2}% scored, {time:6.1} µs, built in \
             {seconds:.2} s, {bytes:.0} bytes/key",
            100.0 * scored
        );
        let _ = writeln!(
            json,
            r#"{{"set": "{}", "engine": "lanner lists {label}", "recall": {recall}, "scored": {scored}, "us": {time}, "build_s": {seconds}}}"#,
            set.name
        );
        if settings == default {
            at_three = Some(index);
        }
    }
    let Some(index) = at_three else { return };
    let (recall, scored, time) =
        search(set, &truths, &index, &Request::new(Target::Keys(K)).scanning());
    println!(
        "  all codes               recall@{K} {recall:.4}, {:.0}% scored, {time:.1} µs",
        100.0 * scored
    );
    let _ = writeln!(
        json,
        r#"{{"set": "{}", "engine": "lanner all codes", "recall": {recall}, "scored": {scored}, "us": {time}, "build_s": 0}}"#,
        set.name
    );
    for (label, choice) in
        [("list", Choice::Lists), ("all codes", Choice::Scan), ("list, sample", Choice::Sampled)]
    {
        let mut all = attention(set, &truths, &index, choice);
        if all.errors.is_empty() {
            return;
        }
        println!(
            "  attention, {:.0}% budget, {label:12}: error {:.4} (best choice {:.4}), covers {:.4}, \
             estimate off by {:.4}, bound {:.4}, {:.0} µs (medians)",
            100.0 * BUDGET,
            median(&mut all.errors),
            median(&mut all.best),
            median(&mut all.covered),
            median(&mut all.estimate_errors),
            median(&mut all.at_least),
            median(&mut all.times),
        );
    }
}

fn main() {
    let mut folder = None;
    let mut json_path: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json_path = arguments.next().map(PathBuf::from),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder else {
        println!("no folder of sets was given; benches/attention/run.sh makes some");
        return;
    };
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    let mut json = String::new();
    for set in folders.iter().filter_map(|folder| Set::open(folder)) {
        measure(&set, &mut json);
    }
    if let Some(path) = json_path {
        std::fs::write(path, json).expect("results are written");
    }
}
