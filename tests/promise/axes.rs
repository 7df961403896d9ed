//! Which settings and questions meet which data set.
//!
//! Not all of them: settings rotate, so that every value of an axis meets every data set, with other
//! values of the other axes.

use lanner::IndexKind::{Auto, Flat, Graph, Ivf};
use lanner::{IndexKind, Metric, VectorKind};

use super::cell::{Ask, Setting, State};
use super::data::Recipe;

const COMPRESSIONS: [&str; 10] = [
    "auto",
    "lvq4:16",
    "auto/lvq8/drop-raw",
    "lvq8",
    "lvq4/lvq4/drop-raw",
    "lvq4",
    "lvq4x4",
    "auto/f16/drop-raw",
    "lvq4x8/drop-raw",
    "none",
];
/// The same for multi fields, whose codes of encodings have one level.
const MULTI_COMPRESSIONS: [&str; 6] =
    ["auto", "lvq4:64", "auto/lvq4/drop-raw", "lvq8", "auto/f16", "auto/lvq8/drop-raw"];

/// Where a collection is and what finds candidates there; what is in memory or only sealed has no
/// index.
const PLACES: [(State, IndexKind); 14] = [
    (State::Sealed, Flat),
    (State::Indexed, Graph),
    (State::Merged, Ivf),
    (State::Reopened, Auto),
    (State::Indexed, Ivf),
    (State::Merged, Graph),
    (State::Memory, Auto),
    (State::Reopened, Flat),
    (State::Indexed, Auto),
    (State::Merged, Auto),
    (State::Reopened, Graph),
    (State::Indexed, Flat),
    (State::Merged, Flat),
    (State::Reopened, Ivf),
];

fn compressions(recipe: &Recipe) -> Vec<&'static str> {
    let all: &[&str] = match recipe.kind {
        // They have no codes.
        VectorKind::Multi if recipe.metrics == [Metric::L2] => &MULTI_COMPRESSIONS[..1],
        VectorKind::Multi => &MULTI_COMPRESSIONS,
        _ => &COMPRESSIONS,
    };
    let fits = |compression: &&&str| !(recipe.is_large && compression.contains("f16"));
    all.iter().filter(fits).copied().collect()
}

/// The settings that a data set meets, of which `position` among all says where axes start.
pub fn settings(recipe: &Recipe, position: usize, long: bool) -> Vec<Setting> {
    let compressions = compressions(recipe);
    let of = |(state, index), compression: usize, metric: usize| Setting {
        metric: recipe.metrics[metric % recipe.metrics.len()],
        compression: compressions[compression % compressions.len()],
        index,
        state,
    };
    let indexed = of([PLACES[1], PLACES[4]][position / 2 % 2], 1 + position, position + 1);
    let merged = of([PLACES[9], PLACES[3]][position / 2 % 2], 0, position + 2);
    let mut settings = vec![of(PLACES[0], 0, position)];
    match position % 2 {
        _ if long || recipe.is_central => settings.extend([indexed, merged]),
        0 => settings.push(indexed),
        _ => settings.push(merged),
    }
    if long {
        // Each place once, with compressions in turn: what is in memory has no codes and takes none.
        let mut compression = position;
        for (i, place) in PLACES.into_iter().enumerate() {
            settings.push(of(place, compression, i + i / compressions.len()));
            compression += usize::from(place.0.is_coded());
        }
    }
    let mut distinct: Vec<Setting> = Vec::new();
    for setting in settings {
        if !distinct.contains(&setting) {
            distinct.push(setting);
        }
    }
    distinct
}

/// Numbers of hits, with what is asked.
pub fn asks(long: bool) -> Vec<(usize, Ask)> {
    let mut asks = vec![
        (1, Ask::Default),
        (10, Ask::Default),
        (100, Ask::Default),
        (10, Ask::Target(0.9)),
        (10, Ask::Target(0.99)),
        (10, Ask::Rerank),
        (10, Ask::Exact),
    ];
    if long {
        for k in [1, 10, 100] {
            for target in [0.9, 0.95, 0.99] {
                asks.push((k, Ask::Target(target)));
            }
        }
        asks.extend([(100, Ask::Exact), (1, Ask::Rerank)]);
        asks.sort_by_key(|&(k, _)| k);
        asks.dedup();
    }
    asks
}

/// Checks that every value of every axis meets a data set in the whole grid, and that its coarse part
/// has a scan of codes and an index.
///
/// # Panics
/// If one does not.
pub fn check_coverage(recipe: &Recipe, position: usize) {
    let name = recipe.name;
    let coarse = settings(recipe, position, false);
    assert!(coarse.iter().any(|of| of.state == State::Sealed), "{name}");
    assert!(coarse.iter().any(|of| of.state.has_index()), "{name}");
    let long = settings(recipe, position, true);
    for place in PLACES {
        assert!(long.iter().any(|of| (of.state, of.index) == place), "{name}: {place:?}");
    }
    for metric in recipe.metrics {
        assert!(long.iter().any(|of| of.metric == *metric), "{name}: {metric:?}");
    }
    for compression in compressions(recipe) {
        let is_met = long.iter().any(|of| of.compression == compression && of.state.is_coded());
        assert!(is_met, "{name}: {compression}");
    }
}
