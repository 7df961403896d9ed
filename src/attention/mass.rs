//! The share of the softmax that a search leaves out: an estimate, and a bound.

use super::part::Frame;
use super::score::Scored;
use super::search::{Rest, View, norm};
use crate::index::Route;

/// Allowance for the rounding of single precision, as a share of the magnitudes that are added.
const ROUNDING: f32 = 1e-4;

/// ln Σ exp(scale · product) over the keys that were searched but not selected.
///
/// The estimate adds the weights of scored keys and, for those in no list, the weights of a sample.
/// Weights are heavy-tailed, but the largest are those of the listed keys.
///
/// The bound: a scored key's product differs from that of its code by at most ‖q‖·max ‖k − k̂‖ +
/// ‖q − q̂‖·max ‖k̂‖. For a key k in no list of centroid c with threshold t, and q = a·c + r, the
/// product is at most a·t + ‖r‖·max ‖k‖ (keys centred; Cauchy–Schwarz), which is far from tight.
pub(super) fn rest(
    view: View<'_>,
    query: &[f32],
    route: Option<Route>,
    scored: &Scored,
    scale: f32,
) -> Rest {
    let (most, total) = scored.total(scale);
    let mut selected = 0.0_f64;
    let mut unselected = 0.0_f64;
    let mut equal = scored.selected;
    for &product in &scored.products {
        let weight = f64::from((scale * (product - most)).exp());
        if product > scored.least {
            selected += weight;
            equal -= 1;
        } else {
            unselected += weight;
        }
    }
    // Of keys with the least product, some may have been selected.
    let ties = equal as f64 * f64::from((scale * (scored.least - most)).exp());
    if equal > 0 {
        (selected, unselected) = (selected + ties, unselected - ties);
    }
    let left = scored.products.len() - scored.selected;
    let unselected = if left == 0 { 0.0 } else { unselected.max(0.0) };
    let estimate = if left + scored.unlisted == 0 { 0.0 } else { (total - selected).max(0.0) };
    let error = scale * code_error_bound(view, query, scored);
    let mut bound = unselected * f64::from(error).exp();
    let at_most = route.filter(|_| scored.unlisted > 0).map(|route| {
        let product = unlisted_bound(view, query, route);
        scored.unlisted as f64 * f64::from(scale * (product - most)).exp()
    });
    bound += at_most.unwrap_or(0.0);
    let logarithm = |sum: f64| f64::from(scale * most) + sum.ln();
    let estimate = logarithm(estimate) as f32;
    if bound == 0.0 {
        return Rest { estimate: f32::NEG_INFINITY, bound: f32::NEG_INFINITY };
    }
    // Rounding up, as a bound must.
    Rest { estimate, bound: (logarithm(bound) as f32).max(estimate).next_up() }
}

/// Most that a product differs from that of the code.
fn code_error_bound(view: View<'_>, query: &[f32], scored: &Scored) -> f32 {
    let Some(code) = scored.code() else { return f32::INFINITY };
    let (radius, code_error) = extremes(view);
    // Each element is rounded by at most half of the scale.
    let rounding = 0.5 * code.scale() * (query.len() as f32).sqrt();
    let exact = norm(query) * code_error + rounding * (radius + code_error);
    exact + ROUNDING * magnitude(view.frame, query, radius)
}

/// Three standard deviations of the difference between a key's product and that of its code, if
/// rounding errors are independent, and twice the largest error if that is less. A key that was
/// wrongly ranked behind another is rarely farther behind.
pub(super) fn deviations(view: View<'_>, query: &[f32], scored: &Scored) -> f32 {
    let Some(code) = scored.code() else { return 0.0 };
    let (radius, code_error) = extremes(view);
    // A uniform error of a step has the deviation 1/√12.
    let of_query = code.scale() / 12.0_f32.sqrt() * radius;
    let of_key = norm(query) * code_error / (query.len() as f32).sqrt();
    (3.0 * of_query.hypot(of_key)).min(2.0 * code_error_bound(view, query, scored))
}

/// Largest product of a key that the list of a query does not name.
fn unlisted_bound(view: View<'_>, query: &[f32], route: Route) -> f32 {
    let Some(lists) = &view.frame.lists else { return f32::INFINITY };
    let (radius, _) = extremes(view);
    let centroid = lists.centroid(route.list);
    let along = route.along.max(0.0);
    let rest = query.iter().zip(centroid).map(|(q, c)| (q - along * c) * (q - along * c));
    let by_list = along * lists.threshold(route.list) + rest.sum::<f32>().sqrt() * radius;
    let offset = crate::kernels::dot(query, &view.frame.center);
    offset
        + by_list.min(norm(query) * radius)
        + ROUNDING * (magnitude(view.frame, query, radius) + along * norm(centroid) * radius)
}

/// Size of the numbers that a product is the sum of.
fn magnitude(frame: &Frame, query: &[f32], radius: f32) -> f32 {
    norm(query) * (radius + norm(&frame.center))
}

/// max ‖k − μ‖ and max ‖k − k̂‖.
fn extremes(view: View<'_>) -> (f32, f32) {
    view.parts.iter().fold((0.0, 0.0), |(radius, error), part| {
        (part.radius.max(radius), part.code_error.max(error))
    })
}
