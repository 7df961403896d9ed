//! A plot of recall against queries per second, as SVG: a line for each index, better is up and
//! to the right.

use std::fmt::Display;

use plotters::prelude::*;

use super::sweep::SweepPoint;

const SIZE: (u32, u32) = (900, 600);

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(String);

fn failed(error: impl Display) -> PlotError {
    PlotError(error.to_string())
}

/// Draws the points; single-core QPS on a logarithmic axis.
///
/// # Errors
/// If the drawing library fails, which it has no reason to for finite numbers.
pub fn recall_qps_svg(title: &str, points: &[SweepPoint]) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let bounds = |value: fn(&SweepPoint) -> f64| {
            points
                .iter()
                .map(value)
                .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (recall_low, _) = bounds(|point| point.recall);
        let (qps_low, qps_high) = bounds(|point| point.qps_single.max(1e-3));
        let recall_low = recall_low.min(0.99) - 0.002;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 20))
            .margin(20)
            .x_label_area_size(45)
            .y_label_area_size(80)
            .build_cartesian_2d(recall_low..1.001, (qps_low / 1.3..qps_high * 1.3).log_scale())
            .map_err(failed)?;
        let k = points.first().map_or(10, |point| point.k);
        chart
            .configure_mesh()
            .x_desc(format!("recall@{k}"))
            .y_desc("queries per second, one core")
            .y_label_formatter(&|qps| format!("{qps:.0}"))
            .x_label_formatter(&|recall| format!("{recall:.3}"))
            .draw()
            .map_err(failed)?;
        let mut names: Vec<&str> = points.iter().map(|point| point.index.as_str()).collect();
        names.dedup();
        for (number, name) in names.into_iter().enumerate() {
            let color = Palette99::pick(number).mix(1.0);
            let of_index = points.iter().filter(|point| point.index == name);
            let mut line: Vec<(f64, f64)> =
                of_index.map(|point| (point.recall, point.qps_single.max(1e-3))).collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let marks = line.iter().map(|&point| Circle::new(point, 4, color.filled()));
            chart.draw_series(marks).map_err(failed)?;
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))
                .map_err(failed)?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 10, y), 5, color.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()
            .map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LatencyPercentiles;

    fn point(index: &str, recall: f64, qps_single: f64) -> SweepPoint {
        SweepPoint {
            index: index.into(),
            setting: "rerank 50".into(),
            k: 10,
            recall,
            qps_single,
            estimated_recall: recall,
            qps_all: qps_single,
            qps_batch_single: qps_single,
            qps_batch_all: qps_single,
            cores: 1,
            latency_ms: LatencyPercentiles { p50: 0.0, p95: 0.0, p99: 0.0 },
            bytes_per_vector: 0.0,
            code_bytes: 0.0,
            resident_bytes: 0,
            build_seconds: 0.0,
            load: None,
        }
    }

    #[test]
    fn every_index_is_drawn_with_its_points() {
        let points =
            [point("lvq8", 0.9, 100.0), point("lvq8", 0.99, 50.0), point("lvq4", 1.0, 70.0)];
        let svg = recall_qps_svg("title", &points).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["title", "lvq8", "lvq4", "recall@10", "queries per second"] {
            assert!(svg.contains(text), "{text}");
        }
        // Three points and two in the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
    }

    #[test]
    fn extreme_points_can_be_drawn() {
        for points in [vec![], vec![point("a", 0.0, 0.0)], vec![point("a", 1.0, 1e9)]] {
            recall_qps_svg("", &points).unwrap();
        }
    }
}
