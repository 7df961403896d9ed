//! Maps from eigenvectors: PCA, and the search between the eigenvectors of queries and base.

use super::linalg::{Matrix, eigen, trace};
use super::{LeanVecError, Maps, loss};

/// Width of the interval at which the search for β stops.
const TOLERANCE: f64 = 0.01;
/// Maximum number of loss evaluations; each costs an eigendecomposition.
const EVALUATIONS: usize = 20;

/// The eigenvectors of K_X, largest eigenvalue first (LeanVec §3.1).
pub fn pca(base: &Matrix) -> Result<Maps, LeanVecError> {
    let (_, vectors) = eigen(base)?;
    Ok(Maps { query: vectors, base: None })
}

/// The top eigenvectors of β K_Q + (1 − β) K_X with the β in [0, 1] of least loss (LeanVec §3.2.2).
/// K_Q is first scaled to the trace of K_X, so that β does not depend on the lengths of the
/// vectors. β = 0, which is PCA, is always tried.
pub fn search(base: &Matrix, queries: &Matrix, reduced: usize) -> Result<Maps, LeanVecError> {
    let (base_trace, query_trace) = (trace(base), trace(queries));
    let scale = if query_trace > 0.0 { base_trace / query_trace } else { 0.0 };
    let start = pca(base)?.first(reduced);
    let mut best = (loss(base, queries, &start), start);
    let mut failure = None;
    minimize(|beta| {
        let mixed = queries * faer::Scale(beta * scale) + base * faer::Scale(1.0 - beta);
        match pca(&mixed) {
            Ok(maps) => {
                let maps = maps.first(reduced);
                let value = loss(base, queries, &maps);
                if value < best.0 {
                    best = (value, maps);
                }
                value
            }
            Err(error) => {
                failure = Some(error);
                f64::INFINITY
            }
        }
    });
    failure.map_or(Ok(best.1), Err)
}

/// Brent's method without derivatives (Brent 1973, chapter 5) on [0, 1]: parabolas through the
/// three best points where they fall inside and shrink fast enough, golden sections elsewhere.
/// Returns the best point.
fn minimize(mut f: impl FnMut(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.381_966_011_250_105;
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = GOLDEN;
    let mut fx = f(x);
    let (mut w, mut fw, mut v, mut fv) = (x, fx, x, fx);
    let (mut step, mut before) = (0.0_f64, 0.0_f64);
    for _ in 1..EVALUATIONS {
        let middle = (low + high) / 2.0;
        if (x - middle).abs() + (high - low) / 2.0 <= 2.0 * TOLERANCE {
            break;
        }
        let r = (x - w) * (fx - fv);
        let q = (x - v) * (fx - fw);
        let p = (x - v) * q - (x - w) * r;
        let q = 2.0 * (q - r);
        let (p, q) = if q > 0.0 { (-p, q) } else { (p, -q) };
        let parabola = p / q;
        let inside = parabola.is_finite()
            && parabola.abs() < (before / 2.0).abs()
            && (low..high).contains(&(x + parabola));
        before = if inside { step } else { (if x < middle { high } else { low }) - x };
        step = if inside { parabola } else { GOLDEN * before };
        let moved = if step.abs() < TOLERANCE { TOLERANCE.copysign(step) } else { step };
        let u = (x + moved).clamp(0.0, 1.0);
        let fu = f(u);
        if fu <= fx {
            *(if u < x { &mut high } else { &mut low }) = x;
            (v, fv, w, fw, x, fx) = (w, fw, x, fx, u, fu);
        } else {
            *(if u < x { &mut low } else { &mut high }) = u;
            if fu <= fw || w == x {
                (v, fv, w, fw) = (w, fw, u, fu);
            } else if fu <= fv || v == x || v == w {
                (v, fv) = (u, fu);
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_minima_inside_and_at_the_ends() {
        type Function = fn(f64) -> f64;
        let functions: [(Function, f64); 5] = [
            (|x| (x - 0.3).powi(2), 0.3),
            (|x| (x - 0.83).abs(), 0.83),
            (|x| x, 0.0),
            (|x| -x, 1.0),
            (|x| (x - 0.6).powi(4) - 3.0, 0.6),
        ];
        for (function, expected) in functions {
            let mut calls = 0;
            let found = minimize(|x| {
                calls += 1;
                assert!((0.0..=1.0).contains(&x));
                function(x)
            });
            assert!((found - expected).abs() <= 0.05, "{found} {expected}");
            assert!(calls <= EVALUATIONS);
        }
    }
}
