//! Indexes in `lanner inspect`, and their settings in help.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};

use lanner::{Calibration, Choice};
use lanner::{IndexKind, IndexReport, IndexSettings, IndexStatus};

/// Recalls whose depth is shown.
const TARGETS: [f32; 4] = [0.9, 0.95, 0.98, 0.99];

/// The settings that may follow the kind of an index, a line each.
pub fn settings_help() -> String {
    let line = |setting: &lanner::IndexSetting| {
        let lanner::IndexSetting { short_name, help, default, .. } = setting;
        let kinds: Vec<&str> = setting.kinds.iter().map(|kind| kind.as_str()).collect();
        let (kinds, range) = (kinds.join(", "), setting.range());
        format!("  {short_name:<7} {kinds:<12} {range}, by default {default}: {help}\n")
    };
    IndexSettings::declared().iter().map(line).collect()
}

/// Prints how far the index of a field is, or what it is.
pub fn print(field: &str, status: &IndexStatus) {
    match status {
        IndexStatus::Waiting => println!("    {field}: an index will be built"),
        IndexStatus::Building { done, total, .. } => {
            let share = 100.0 * *done as f64 / (*total).max(1) as f64;
            let left = status.remaining_seconds().map(|seconds| {
                format!(", {} left", HumanDuration(Duration::from_secs_f64(seconds)))
            });
            let left = left.unwrap_or_default();
            println!("    {field}: an index is being built: {share:.0}%{left}");
        }
        IndexStatus::Failed { reason } => {
            println!("    {field}: an index could not be built: {reason}");
            println!("      it will be tried again, at once by `lanner optimize`");
        }
        IndexStatus::Ready { report, size_bytes } => {
            let shape = match report.kind {
                IndexKind::Flat => "a scan of all codes".to_owned(),
                IndexKind::Ivf => format!("{} lists", report.lists),
                _ if report.taught_by > 0 => {
                    let IndexReport { degree, taught_by, .. } = report;
                    format!("graph of degree {degree}, learned from {taught_by} queries")
                }
                _ => format!("graph of degree {}", report.degree),
            };
            let Calibration { queries, from_user, .. } = report.calibration;
            let sample = if from_user { "sample queries" } else { "rows held out" };
            println!(
                "    {field}: {shape}, {}, calibrated by {queries} {sample}",
                HumanBytes(*size_bytes)
            );
            println!(
                "      {:<14} {:>13} {:>7} {:>7}   expected",
                "target recall", "search window", "margin", "rerank"
            );
            for target in TARGETS {
                let Some(choice) = report.calibration.depth_or_margin(10, target) else {
                    continue;
                };
                let Choice { depth, expected, reached, .. } = choice;
                let window = match (depth.is_scan(), reached) {
                    (_, false) => "all vectors".to_owned(),
                    (true, true) => "scan".to_owned(),
                    (false, true) => depth.window.to_string(),
                };
                let margin = depth.margin.filter(|_| reached);
                let margin = margin.map_or_else(String::new, |margin| format!("{:.3}", margin.gap));
                let rerank = if reached { depth.rerank.to_string() } else { String::new() };
                let expected = if reached { expected } else { 1.0 };
                println!("      {target:<14} {window:>13} {margin:>7} {rerank:>7}   {expected:.4}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_says_what_settings_are_and_may_be() {
        let help = settings_help();
        let lines: Vec<&str> = help.lines().collect();
        assert_eq!(lines.len(), IndexSettings::declared().len());
        let degree =
            "  degree  auto, graph  8 to 256, by default 64: maximum number of edges of a row";
        assert!(lines.contains(&degree), "{help}");
        let lists = "  lists   auto, ivf    1 to 1048576, by default rows / 128: number of lists";
        assert!(lines.contains(&lists), "{help}");
    }
}
