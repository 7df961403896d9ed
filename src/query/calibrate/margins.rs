//! Measures searches of a graph that end by a margin, all by one wide search of each query (see
//! [`Trace`]).

use rayon::prelude::*;

use super::{CANDIDATES_OF_WINDOW, KS, Points, Probe, Recalls, Subject};
use crate::field::FieldCodes;
use crate::index::{Copies, Depth, Effort, IndexView, Margin, Trace, with_scratch};
use crate::threads::Pace;

/// Margins measured: those with which searches find these shares of the hits that they can find.
const MARGINS: [f32; 17] = [
    0.5, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997,
    0.999, 1.0,
];

impl Subject<'_> {
    /// Measures the searches of a graph that end by a margin: for each k, of windows up to this.
    pub(super) fn measure_margins(
        &self,
        codes: &FieldCodes,
        (index, copies): (&IndexView<'_>, Copies<'_>),
        windows: [usize; KS.len()],
        probes: &mut [Probe],
        pace: &Pace<'_>,
    ) -> Points {
        let window = windows.into_iter().max().unwrap_or_default();
        let limit = window.saturating_mul(CANDIDATES_OF_WINDOW);
        let rerank = self.most_reranked(limit);
        let search = |probe: &mut Probe| {
            let mut trace = self.scorers[probe.query].trace(&KS);
            let ask = self.ask(codes, probe, Depth::new(window, rerank));
            let Some(ask) = ask.filter(|_| pace.goes_on()) else { return trace };
            with_scratch(|scratch| index.trace(&ask, copies, scratch, &mut trace));
            let nearest = &self.nearest[probe.query];
            trace.retain(|row| !nearest.hidden.contains(&row));
            let found: Vec<(f32, u32)> = trace.found().collect();
            self.score_again(codes, nearest, &found, probe);
            trace
        };
        let traces: Vec<Trace> = probes.par_iter_mut().map(search).collect();
        let mut points = Points::default();
        for (at, (k, window)) in KS.into_iter().zip(windows).enumerate() {
            let settings = self.settings.partition_point(|setting| setting.0 < k)
                ..self.settings.partition_point(|setting| setting.0 <= k);
            for gap in self.gaps(at, &traces, probes) {
                let search = |(probe, trace): (&Probe, &Trace)| {
                    let mut found = Vec::new();
                    let effort = trace.until(at, gap, window, &mut found);
                    let recalls = match pace.goes_on() {
                        true => {
                            self.recalls_at(k, &probe.ranked(&found), &self.nearest[probe.query])
                        }
                        false => vec![0.0; settings.len()],
                    };
                    (effort, (probe.query, recalls))
                };
                let (efforts, measured): (Vec<Effort>, Vec<(usize, Recalls)>) =
                    probes.par_iter().zip(&traces).map(search).unzip();
                let cost = self.cost(codes, index.kind(), efforts.into_iter());
                let margin = Some(Margin { rank: k, gap });
                let depth = Depth { margin, ..Depth::new(window, limit) };
                points.extend(self.points(codes, depth, cost, &measured, settings.clone()));
            }
        }
        points
    }

    /// The margins to measure for one k, ascending.
    fn gaps(&self, at: usize, traces: &[Trace], probes: &[Probe]) -> Vec<f32> {
        let of_query = |(trace, probe): (&Trace, &Probe)| {
            let nearest = &self.nearest[probe.query];
            let (k, threshold) = (KS[at], nearest.threshold(KS[at]));
            let hits = trace.gaps(at).filter(|(row, _)| probe.scores[row].1 >= threshold);
            hits.take(k).map(|(_, gap)| gap).collect::<Vec<f32>>()
        };
        let usual = traces.iter().zip(probes).take(self.sample.far);
        let mut gaps: Vec<f32> = usual.flat_map(of_query).collect();
        gaps.sort_unstable_by(f32::total_cmp);
        let Some(last) = gaps.len().checked_sub(1) else { return Vec::new() };
        let mut chosen: Vec<f32> =
            MARGINS.iter().map(|share| gaps[(share * last as f32).round() as usize]).collect();
        chosen.dedup();
        chosen
    }
}
