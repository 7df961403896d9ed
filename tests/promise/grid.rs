//! Runs the cells of all data sets, several data sets at a time.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::axes;
use super::cell::{Ask, Outcome, Setting};
use super::data::{Data, Recipe};
use super::run::{Bench, Cell, Plan, Rehearsal};
use super::sets;

/// Data sets of the coarse grid whose queries change: those of the first kind come and are learned
/// from, and then others come, too.
const CHANGES: [&str; 7] = [
    "drift-plane",
    "drift-shift",
    "duplicates-near",
    "low-rank",
    "low-rank-cone",
    "multi-drift",
    "multi-foreign",
];

/// Which cells to run: those whose name holds the text in `LANNER_PROMISE`.
pub struct Filter(Option<String>);

impl Filter {
    pub fn from_environment() -> Self {
        Self(std::env::var("LANNER_PROMISE").ok().filter(|text| !text.is_empty()))
    }

    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    fn holds(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|text| name.contains(text.as_str()))
    }
}

/// The cells of a collection that the filter lets through.
pub fn plan(
    recipe: &Recipe,
    data: &Data,
    (setting, rehearsal): (Setting, Rehearsal),
    asks: &[(usize, Ask)],
    filter: &Filter,
) -> Plan {
    let mut cells = Vec::new();
    for (questions, of) in data.questions.iter().enumerate() {
        for &(k, ask) in asks {
            let after = if rehearsal == Rehearsal::First { " after-first" } else { "" };
            let name = format!("{}/{} {setting} k={k} {ask}{after}", recipe.name, of.name);
            if filter.holds(&name) {
                cells.push(Cell { questions, k, ask, name });
            }
        }
    }
    Plan { setting, rehearsal, cells }
}

/// What came of a data set.
struct Part {
    position: usize,
    outcomes: Vec<Outcome>,
    sources: BTreeSet<String>,
}

fn run(recipe: &Recipe, position: usize, long: bool, filter: &Filter) -> Option<Part> {
    if recipe.rows[usize::from(long)] == 0 {
        return None;
    }
    let started = Instant::now();
    let mut bench = Bench::new(recipe, recipe.data(long));
    let settings = axes::settings(recipe, position, long);
    let changes = bench.data.questions.len() > 1 && (long || CHANGES.contains(&recipe.name));
    let changed = match (changes, long) {
        (false, _) => &[],
        (true, false) => &settings[..1],
        (true, true) => &settings[..3],
    };
    let (asks, asks_of_changed) = (axes::asks(long), [(1, Ask::Default), (10, Ask::Default)]);
    let of = |setting: &Setting, rehearsal, asks: &[(usize, Ask)]| {
        plan(recipe, &bench.data, (*setting, rehearsal), asks, filter)
    };
    let plans: Vec<Plan> = settings
        .iter()
        .map(|setting| of(setting, Rehearsal::None, &asks))
        .chain(changed.iter().map(|setting| of(setting, Rehearsal::First, &asks_of_changed)))
        .filter(|plan| !plan.cells.is_empty())
        .collect();
    let outcomes: Vec<Outcome> = plans.iter().flat_map(|plan| bench.run(plan)).collect();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|cell| !cell.holds()).collect();
    // At once: the whole grid takes an hour.
    failed.iter().for_each(|cell| println!("does not hold: {cell}"));
    let failed = failed.len();
    println!(
        "{}: seed {}, {} collections, {} cells, {failed} failed, {:.1?}",
        recipe.name,
        recipe.seed(),
        plans.len(),
        outcomes.len(),
        started.elapsed()
    );
    Some(Part { position, outcomes, sources: bench.sources })
}

/// All cells that are made of seeds, in the order of their data sets.
///
/// # Panics
/// If a way to search was never taken: then the grid proves nothing about it.
pub fn outcomes(long: bool, filter: &Filter) -> Vec<Outcome> {
    let recipes = sets::all();
    // Building a collection is for a good part the work of one core.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (next, parts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let work = || {
            while let position = next.fetch_add(1, Ordering::Relaxed)
                && let Some(recipe) = recipes.get(position)
            {
                let part = run(recipe, position, long, filter);
                parts.lock().unwrap().extend(part);
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
    let mut parts = parts.into_inner().unwrap();
    parts.sort_by_key(|part| part.position);
    let sources: BTreeSet<&String> = parts.iter().flat_map(|part| &part.sources).collect();
    println!("read for the answers: {sources:?}");
    for source in ["vectors", "codes", "graph", "ivf"] {
        let is_read = sources.iter().any(|read| *read == source);
        assert!(filter.is_set() || is_read, "no answer came from {source}: {sources:?}");
    }
    parts.into_iter().flat_map(|part| part.outcomes).collect()
}
