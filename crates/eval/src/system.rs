//! Systems on one data set: what each was measured at, and whether they differ.
//!
//! A system is a name and the rankings that it gives for the judged queries; where the rankings come
//! from does not matter. Any number of them make one table
//! ([`comparison_table`](super::comparison_table)) and one file of scores by query.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::metrics::{Measure, QueryMetrics};
use super::qrels::Qrels;
use super::report::Report;
use super::run::Run;
use super::significance::randomization_test;
use super::trec::{TrecError, check_column};

/// One system: its rankings, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// Its means and costs; `mode` is its name.
    pub report: Report,
    /// Its rankings.
    pub run: Run,
    /// Its value of each measure, by query.
    pub queries: QueryMetrics,
}

/// What rankings are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'q> {
    /// Name of the data set.
    pub dataset: &'q str,
    /// Split of the judgements.
    pub split: &'q str,
    /// The judgements.
    pub qrels: &'q Qrels,
    /// Number of documents searched.
    pub documents: usize,
    /// Number of documents retrieved for each query; deeper measures are left out.
    pub depth: usize,
}

impl Judge<'_> {
    /// Judges the rankings of the system `name`, whose costs can be added to its report.
    pub fn judge(&self, name: &str, run: Run) -> System {
        let queries = QueryMetrics::new(&run, self.qrels);
        let report = Report::new(self.dataset, self.split, name, self.documents, &queries.mean());
        System { report: report.to_depth(self.depth), run, queries }
    }
}

/// Compares each of `systems`, all judged by the same judgements, with the one at `reference`, and
/// adds the p-values of the differences to the reports. Nothing happens if there is no other.
pub fn compare(systems: &mut [System], reference: usize) {
    if systems.len() < 2 {
        return;
    }
    let Some(System { report, queries, .. }) = systems.get(reference).cloned() else { return };
    for (index, system) in systems.iter_mut().enumerate() {
        let p = |measure: Measure| {
            let is_measured = system.report.has(measure) && report.has(measure);
            (index != reference && is_measured).then(|| p_value(&system.queries, &queries, measure))
        };
        let of_ndcg = p(Measure::Ndcg10);
        let of_recall = p(Measure::Recall100);
        system.report.p_ndcg_10 = of_ndcg;
        system.report.p_recall_100 = of_recall;
        system.report.reference = Some(report.mode.clone());
    }
}

/// Position of the system with the highest nDCG@10, the first of equal ones; 0 of none.
pub fn best(systems: &[System]) -> usize {
    let ndcg = |at: usize| systems[at].queries.mean().ndcg_10;
    (1..systems.len()).fold(0, |best, at| if ndcg(at) > ndcg(best) { at } else { best })
}

fn p_value(system: &QueryMetrics, reference: &QueryMetrics, measure: Measure) -> f64 {
    let pairs = system.values(measure).iter().zip(reference.values(measure));
    let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
    randomization_test(&differences)
}

/// Writes the value of every measure for every query of `systems`, as tab-separated lines of system,
/// measure (as ir_measures calls it), query id and value, under a heading. Measures deeper than the
/// retrieved documents are left out, as in reports; values are not rounded.
///
/// # Errors
/// [`TrecError::NotAColumn`] for a system whose name has whitespace, before anything is written;
/// [`TrecError::Write`] afterwards.
pub fn save_per_query(path: &Path, systems: &[System]) -> Result<(), TrecError> {
    for system in systems {
        check_column(path, "system", &system.report.mode)?;
    }
    write_lines(path, systems)
        .map_err(|source| TrecError::Write { path: path.to_path_buf(), source })
}

fn write_lines(path: &Path, systems: &[System]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "system\tmeasure\tquery-id\tvalue")?;
    for System { report, queries, .. } in systems {
        for measure in Measure::ALL.into_iter().filter(|&measure| report.has(measure)) {
            for (query, value) in queries.queries().iter().zip(queries.values(measure)) {
                writeln!(out, "{}\t{}\t{query}\t{value}", report.mode, measure.as_str())?;
            }
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven queries with one relevant document each, at a rank of each system; 0: not found.
    fn systems(ranks: &[(&str, [usize; 7])], depth: usize) -> Vec<System> {
        let mut qrels = Qrels::default();
        for query in 0..7 {
            assert!(qrels.insert(&format!("q{query}"), "yes", 1));
        }
        let judge = Judge { dataset: "d", split: "test", qrels: &qrels, documents: 9, depth };
        let system = |(name, ranks): &(&str, [usize; 7])| {
            let mut run = Run::new();
            for (query, &rank) in ranks.iter().enumerate() {
                let hit = |at: usize| {
                    let id = if at == rank { "yes".to_owned() } else { format!("d{at}") };
                    (id, -(at as f32))
                };
                run.push(&format!("q{query}"), (1..=rank).map(hit).collect()).expect("run");
            }
            judge.judge(name, run)
        };
        ranks.iter().map(system).collect()
    }

    const RANKS: [(&str, [usize; 7]); 3] = [
        ("a", [2, 2, 2, 2, 2, 2, 20]),
        ("b", [1, 1, 1, 1, 1, 1, 20]),
        ("c", [2, 2, 2, 2, 2, 2, 0]),
    ];

    #[test]
    fn systems_are_compared_with_the_reference() {
        let mut systems = systems(&RANKS, 100);
        assert_eq!(best(&systems), 1);
        assert_eq!(best(&[]), 0);
        compare(&mut systems, 0);
        let p = |at: usize| (systems[at].report.p_ndcg_10, systems[at].report.p_recall_100);
        assert!(systems.iter().all(|system| system.report.reference.as_deref() == Some("a")));
        assert!(systems[0].report.is_reference() && !systems[1].report.is_reference());
        // Six queries differ, in one direction: 2 of 64 exchanges.
        assert_eq!([p(0), p(1)], [(None, None), (Some(2.0 / 64.0), Some(1.0))]);
        assert_eq!(p(2), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn what_was_not_measured_is_not_compared() {
        let mut shallow = systems(&RANKS, 10);
        compare(&mut shallow, 2);
        let report = &shallow[1].report;
        assert_eq!((report.p_ndcg_10, report.p_recall_100), (Some(2.0 / 64.0), None));
        let mut alone = systems(&RANKS[..1], 100);
        let before = alone.clone();
        compare(&mut alone, 0);
        assert_eq!(alone, before);
        let mut none = systems(&RANKS, 100);
        compare(&mut none, 3);
        assert_eq!(none, systems(&RANKS, 100));
    }

    #[test]
    fn values_are_written_by_system_measure_and_query() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("queries.tsv");
        save_per_query(&path, &systems(&RANKS, 10)).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 3 * 3 * 7);
        assert_eq!(lines[0], "system\tmeasure\tquery-id\tvalue");
        assert_eq!(lines[1], "a\tnDCG@10\tq0\t0.6309297535714575");
        assert_eq!(lines[8], "a\tRR@10\tq0\t0.5");
        assert_eq!(lines[63], "c\tR@10\tq6\t0");
        let spaced = systems(&[("a b", RANKS[0].1)], 10);
        let error = save_per_query(&path, &spaced).expect_err("whitespace").to_string();
        assert!(error.ends_with("expected a system without whitespace, got \"a b\""), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    }
}
