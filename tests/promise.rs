//! The promise of recall: in every cell of a grid of data sets that are hard on purpose, the recall
//! that is measured is at least the target less 0.03, and no estimate is more than 0.03 above what
//! is measured.
//!
//! `LANNER_PROMISE=text` runs only the cells whose names hold that text, as in
//! `LANNER_PROMISE='drift-plane/new cosine auto' cargo test --release --test promise -- --nocapture`.
//! A part of the grid runs with all tests; `make test-long` runs all of it, and `make promise` prints
//! the table that is in docs/promise.md.

mod common;

mod promise {
    pub mod axes;
    pub mod cell;
    pub mod data;
    pub mod grid;
    pub mod oracle;
    pub mod real;
    pub mod report;
    pub mod run;
    pub mod sets;
    pub mod shapes;
}

use std::collections::BTreeSet;

use lanner::{IndexKind, Metric, PointId, QueryRequest};
use promise::cell::{Setting, State};
use promise::grid::{self, Filter};
use promise::{axes, real, report, run, sets};

#[test]
fn recall_is_as_promised_on_a_coarse_grid() {
    let outcomes = grid::outcomes(false, &Filter::from_environment());
    report::print_worst(&outcomes);
    report::assert_all_hold(&outcomes);
}

#[test]
#[ignore = "takes minutes; `make test-long` runs it"]
fn recall_is_as_promised_on_the_whole_grid() {
    let filter = Filter::from_environment();
    let mut outcomes = grid::outcomes(true, &filter);
    outcomes.extend(real::outcomes(&filter));
    outcomes.extend(real::rehearsed(&filter));
    report::print_worst(&outcomes);
    let table = report::table(&outcomes);
    println!("{table}");
    if let Some(path) = std::env::var_os("LANNER_PROMISE_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    report::assert_all_hold(&outcomes);
}

#[test]
fn every_value_of_every_axis_meets_every_data_set() {
    for (position, recipe) in sets::all().iter().enumerate() {
        axes::check_coverage(recipe, position);
    }
}

/// Fifty vectors, sixty times each: everything ties with something.
#[test]
fn pages_over_duplicates_hold_every_point_once() {
    const PAGE: usize = 150;
    let recipe = sets::all().into_iter().find(|recipe| recipe.name == "duplicates-50x60").unwrap();
    let data = recipe.data(false);
    for (state, index) in [(State::Sealed, IndexKind::Flat), (State::Indexed, IndexKind::Graph)] {
        let setting = Setting { metric: Metric::Cosine, compression: "auto", index, state };
        let folder = tempfile::tempdir().unwrap();
        let (_database, collection) =
            run::build(&data, &recipe, &setting, true, folder.path()).unwrap();
        for query in 0..3 {
            let query = data.questions[0].rows.vector(query, data.kind);
            let mut seen = BTreeSet::<PointId>::new();
            for offset in (0..3_000).step_by(PAGE) {
                let request = QueryRequest::new(run::FIELD, lanner::Query::Vector(query.clone()));
                let page = collection.query(&request.limit(PAGE).offset(offset)).unwrap();
                assert_eq!(page.hits.len(), PAGE, "{setting}, offset {offset}");
                for hit in page.hits {
                    let id = hit.point.id;
                    assert!(seen.insert(id.clone()), "{setting}, offset {offset}: {id:?} again");
                }
            }
            assert_eq!(seen.len(), 3_000, "{setting}");
        }
    }
}
