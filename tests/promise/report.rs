//! What a run of the grid says.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::cell::{Demand, Outcome};

/// Cells that are shown as the worst.
const WORST: usize = 10;

/// Prints the number of cells and the worst of them.
pub fn print_worst(outcomes: &[Outcome]) {
    let data: Vec<&str> = by_data(outcomes).into_iter().map(|(data, _)| data).collect();
    let demanding = outcomes.iter().filter(|cell| !matches!(cell.demand, Demand::Honesty));
    println!(
        "{} cells on {} data sets; {} demand a recall, all demand an honest estimate",
        outcomes.len(),
        data.len(),
        demanding.count()
    );
    let mut found: Vec<(f64, &Outcome)> =
        outcomes.iter().filter_map(|cell| Some((cell.above_target()?, cell))).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!("least recall, less what is demanded:");
    for (above, cell) in found.iter().take(WORST) {
        println!("  {above:+.3} | {cell}");
    }
    let mut flattered: Vec<(f64, &Outcome)> =
        outcomes.iter().filter_map(|cell| Some((cell.flattery()?, cell))).collect();
    flattered.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("most flattering estimates, less what is true:");
    for (flattery, cell) in flattered.iter().take(WORST) {
        println!("  {flattery:+.3} | {cell}");
    }
}

/// # Panics
/// If a cell does not hold, with all that do not.
pub fn assert_all_hold(outcomes: &[Outcome]) {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|cell| !cell.holds()).collect();
    for cell in &failed {
        println!("FAILED {cell}");
    }
    let (failed, all) = (failed.len(), outcomes.len());
    assert!(failed == 0, "{failed} of {all} cells do not hold; see the lines with FAILED");
}

/// Outcomes by data set, in the order of the grid.
fn by_data(outcomes: &[Outcome]) -> Vec<(&'static str, Vec<&Outcome>)> {
    let mut positions = BTreeMap::new();
    let mut groups: Vec<(&'static str, Vec<&Outcome>)> = Vec::new();
    for cell in outcomes {
        let position = *positions.entry(cell.data).or_insert_with(|| {
            groups.push((cell.data, Vec::new()));
            groups.len() - 1
        });
        groups[position].1.push(cell);
    }
    groups
}

/// The table of docs/promise.md.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| data set | cells | least recall − target | most estimate − recall |\n|---|---|---|---|\n",
    );
    for (data, cells) in by_data(outcomes) {
        let extreme = |values: Vec<f64>, better: fn(f64, f64) -> f64| {
            let extreme = values.into_iter().reduce(better);
            extreme.map_or("–".into(), |value| format!("{value:+.3}"))
        };
        let least = cells.iter().filter_map(|cell| cell.above_target()).collect();
        let most = cells.iter().filter_map(|cell| cell.flattery()).collect();
        let (least, most) = (extreme(least, f64::min), extreme(most, f64::max));
        writeln!(table, "| {data} | {} | {least} | {most} |", cells.len()).unwrap();
    }
    table
}
