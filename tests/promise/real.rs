//! Real embeddings, with the exact answers that come with them.

use std::path::Path;

use lanner::{IndexKind, Metric, VectorKind};
use lanner_eval::{Neighbours, read_neighbours};

use super::cell::{Ask, Outcome, Setting, State};
use super::data::{Data, Facts, Keep, Questions, Recipe, Rows, Write};
use super::grid::{Filter, plan};
use super::oracle::MOST;
use super::run::{Bench, Rehearsal};
use crate::common::texts::Texts;
use crate::common::{self, shared_data};

/// Queries that are not like the glosses and descriptions that are searched, but for the first.
const QUERY_SETS: [&str; 3] = ["id", "ood_lemma", "ood_synopsis"];

const PLACES: [(State, IndexKind); 5] = [
    (State::Merged, IndexKind::Auto),
    (State::Indexed, IndexKind::Graph),
    (State::Reopened, IndexKind::Ivf),
    (State::Sealed, IndexKind::Flat),
    (State::Merged, IndexKind::Flat),
];

/// Number of hits, with what is asked.
fn asks() -> Vec<(usize, Ask)> {
    let ks = [1, 10, 100].into_iter();
    let of = |k| {
        [Ask::Default, Ask::Target(0.9), Ask::Target(0.95), Ask::Target(0.99)].map(|ask| (k, ask))
    };
    ks.flat_map(of).collect()
}

fn matrix(path: &Path) -> Rows {
    let matrix = common::matrix(path);
    let mut rows = Rows::new(matrix[0].len());
    for row in &matrix {
        rows.push(row);
    }
    rows
}

fn rows_of(truth: &Neighbours) -> Vec<Vec<u32>> {
    let of = |query| truth.of(query).iter().take(MOST).map(|&row| row as u32).collect();
    (0..truth.queries()).map(of).collect()
}

fn data(kind: VectorKind, rows: Rows, questions: Vec<(&'static str, Rows)>) -> Data {
    let mut data = Data::new(kind, rows.dimension, rows.len(), 0);
    data.before = (0..rows.len() as u32).map(|row| Write::Put { id: row, row }).collect();
    data.facts = vec![Facts::default(); rows.len()];
    data.rows = rows;
    data.questions = questions
        .into_iter()
        .map(|(name, rows)| Questions { name, keep: vec![Keep::All; rows.len()], rows })
        .collect();
    data
}

/// WordNet's glosses and Debian's descriptions, 40,000 × 384; `None` without the files.
fn glosses(recipe: &Recipe) -> Option<Bench<'_>> {
    let folder = shared_data("wn-deb-384")?;
    let queries = |set| matrix(&folder.join(format!("queries_{set}.f32.npy")));
    let questions = QUERY_SETS.map(|set| (set, queries(set))).into();
    let data = data(VectorKind::Single, matrix(&folder.join("base.f16.npy")), questions);
    let mut bench = Bench::new(recipe, data);
    for (number, set) in QUERY_SETS.iter().enumerate() {
        let truth = folder.join(format!("groundtruth_cosine_top100_{set}.i32.npy"));
        bench.know(number, Metric::Cosine, rows_of(&read_neighbours(&truth).unwrap()));
    }
    Some(bench)
}

/// The tokens of NFCorpus: 3,633 documents, 347,805 × 128; `None` without the files.
fn tokens(recipe: &Recipe) -> Option<Bench<'_>> {
    let folder = shared_data("nfcorpus")?;
    let rows = |texts: &Texts| {
        let mut rows = Rows::new(recipe.dimension);
        for text in 0..texts.len() {
            rows.push(texts.get(text));
        }
        rows
    };
    let documents = rows(&Texts::documents(&folder));
    let questions = vec![("queries", rows(&Texts::queries(&folder)))];
    let mut bench = Bench::new(recipe, data(VectorKind::Multi, documents, questions));
    let truth = read_neighbours(&folder.join("groundtruth_maxsim_top100.i32.npy")).unwrap();
    bench.know(0, Metric::Dot, rows_of(&truth));
    Some(bench)
}

fn glosses_recipe() -> Recipe {
    Recipe::single("wn-deb-384", |_| ()).dimension(384)
}

/// The cells of real data; those whose files are missing are left out, and say so.
pub fn outcomes(filter: &Filter) -> Vec<Outcome> {
    let glosses_recipe = glosses_recipe();
    let tokens_recipe = Recipe::multi("nfcorpus-tokens", |_| ()).dimension(128);
    let mut outcomes = Vec::new();
    for (bench, metric) in
        [(glosses(&glosses_recipe), Metric::Cosine), (tokens(&tokens_recipe), Metric::Dot)]
    {
        let Some(mut bench) = bench else { continue };
        let is_multi = bench.data.kind == VectorKind::Multi;
        let compressions: &[&'static str] = match is_multi {
            true => &["auto", "auto/lvq4/drop-raw"],
            false => &["auto", "auto/lvq8/drop-raw", "lvq4:96"],
        };
        for (compression, places) in compressions.iter().zip([5, 2, 2]) {
            for &(state, index) in &PLACES[..places] {
                let setting = Setting { metric, compression, index, state };
                let plan =
                    plan(bench.recipe, &bench.data, (setting, Rehearsal::None), &asks(), filter);
                if !plan.cells.is_empty() {
                    outcomes.extend(bench.run(&plan));
                }
            }
        }
    }
    outcomes
}

/// The targets after the queries of all sets were asked once, without any training queries.
pub fn rehearsed(filter: &Filter) -> Vec<Outcome> {
    let recipe = Recipe { name: "wn-deb-384-rehearsed", ..glosses_recipe() };
    let Some(mut bench) = glosses(&recipe) else { return Vec::new() };
    let (state, index) = PLACES[0];
    let setting = Setting { metric: Metric::Cosine, compression: "auto", index, state };
    let asks = [0.9, 0.95, 0.99].map(|target| (10, Ask::Target(target)));
    let plan = plan(&recipe, &bench.data, (setting, Rehearsal::All), &asks, filter);
    if plan.cells.is_empty() { Vec::new() } else { bench.run(&plan) }
}
