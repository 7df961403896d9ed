//! Searching an index: which keys are scored, and which of them are returned.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::part::{Frame, Part};
use super::request::{Request, Target};
use super::rows::{Rows, check_values};
use super::score::{Scored, Scorer};
use super::select::{least_of_largest, least_with_mass};
use super::{KeyIndex, mass};
use crate::Result;
use crate::index::Route;
use crate::kernels;
use crate::model::InvalidInput;

/// Searches indexes with reusable memory, and holds the hits of the last search. Once warm, a
/// search of an index of the same size does not allocate.
#[derive(Debug, Default)]
pub struct Searcher {
    scored: Scored,
    wide: Vec<f32>,
    key: Vec<f32>,
    routes: Vec<f32>,
    selection: Vec<f32>,
    ids: Vec<u32>,
    products: Vec<f32>,
    heads: Vec<Head>,
}

/// The hits of one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadHits<'a> {
    /// Ids of keys, or numbers of pages, in ascending order.
    pub ids: &'a [u32],
    /// The product of the query with each key, or the largest of each page: neither normalized nor
    /// scaled, higher is better. Exact if the search was given the keys, otherwise of their codes.
    pub products: &'a [f32],
    /// Number of keys of which the code was scored, including those that only estimate the mass.
    pub scored: usize,
    /// ln Σ exp(scale · product) over the keys that were neither returned nor excluded. `None` for
    /// [`Target::Keys`].
    pub rest: Option<Rest>,
}

/// ln Σ exp(scale · product) over the keys that were neither returned nor excluded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rest {
    /// An estimate, from scored keys and a sample of the others; −∞ if there are none.
    pub estimate: f32,
    /// An upper bound, which always holds.
    pub bound: f32,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    /// End of its hits.
    end: usize,
    scored: usize,
    rest: Option<Rest>,
}

/// What a search does beside the request.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    /// The keys, to compute products exactly.
    pub keys: Option<Rows<'a>>,
    /// Keys from this one on are not seen.
    pub limit: usize,
    /// Whether the mass that is left out is estimated whatever the target.
    pub with_rest: bool,
}

/// A search of one state of an index.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub frame: &'a Frame,
    pub parts: &'a [Arc<Part>],
    pub request: &'a Request<'a>,
    /// Keys from this one on are not seen.
    pub limit: usize,
}

impl View<'_> {
    /// For each part, the ranges of its keys that are searched, counted from its first.
    pub fn searched(&self) -> impl Iterator<Item = (&Part, Range<u32>)> {
        self.parts.iter().flat_map(move |part| {
            let (first, end) = (part.first as usize, part.first as usize + part.len as usize);
            let ranges = self.request.searched(self.limit.min(end));
            ranges.filter(move |range| range.end > first).map(move |range| {
                let start = range.start.max(first) - first;
                // Keys of a part are counted in 32 bits.
                (&**part, start as u32..(range.end - first) as u32)
            })
        })
    }

    /// The parts of a list that are searched.
    pub fn listed(&self, list: usize) -> impl Iterator<Item = (&Part, &[u32])> {
        self.searched().map(move |(part, range)| {
            let keys = &part.lists[list];
            let start = keys.partition_point(|&key| key < range.start);
            let end = keys.partition_point(|&key| key < range.end);
            (part, &keys[start..end])
        })
    }
}

impl Searcher {
    /// A searcher without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of queries of the last search.
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// The hits of a query of the last search.
    ///
    /// # Panics
    /// If the last search had no such query.
    pub fn head(&self, head: usize) -> HeadHits<'_> {
        let Head { end, scored, rest } = self.heads[head];
        let start = head.checked_sub(1).map_or(0, |before| self.heads[before].end);
        HeadHits { ids: &self.ids[start..end], products: &self.products[start..end], scored, rest }
    }

    pub(super) fn search(
        &mut self,
        index: &KeyIndex,
        queries: &Rows<'_>,
        request: &Request<'_>,
        pass: Pass<'_>,
    ) -> Result<()> {
        self.clear();
        request.check()?;
        queries.check_dimension("queries", index.dimension())?;
        let parts = index.parts();
        let view = View { frame: index.frame(), parts: &parts, request, limit: pass.limit };
        let mut wide = std::mem::take(&mut self.wide);
        let searched = (0..queries.len()).try_for_each(|row| {
            let query = queries.get(row, &mut wide);
            check_values("queries", row, query)?;
            self.search_one(view, query, pass);
            Ok(())
        });
        self.wide = wide;
        if searched.is_err() {
            self.clear();
        }
        searched
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.products.clear();
        self.heads.clear();
    }

    fn search_one(&mut self, view: View<'_>, query: &[f32], pass: Pass<'_>) {
        let Self { scored, routes, selection, ids, products, heads, key, .. } = self;
        let mut route = view.frame.lists.as_ref().filter(|_| !view.request.scans()).map(|lists| {
            routes.resize(lists.count(), 0.0);
            lists.route(query, routes)
        });
        let scale = view.request.scale_for(query.len());
        let start = ids.len();
        let mut scorer = Scorer::new(view.frame, query, scored);
        let has_rest = match view.request.target() {
            Target::Keys(k) => {
                score_for_keys(&mut scorer, view, &mut route, k, pass.with_rest);
                let margin = pass.keys.map_or(0.0, |_| mass::deviations(view, query, scored));
                let least = least_of_largest(&scored.products, k, selection);
                let most = if margin > 0.0 { usize::MAX } else { k };
                scored.select(least - margin, most, ids, products);
                pass.with_rest
            }
            Target::Mass(share) => {
                scorer.score_list_or_all(view, &route);
                let least = mass_threshold(&mut scorer, view, &mut route, share, scale);
                scored.select(least, usize::MAX, ids, products);
                true
            }
        };
        let rest = has_rest.then(|| mass::rest(view, query, route, scored, scale));
        if let Some(keys) = pass.keys {
            for (product, &id) in products[start..].iter_mut().zip(&ids[start..]) {
                *product = kernels::dot(query, keys.get(id as usize, key));
            }
            if let Target::Keys(k) = view.request.target() {
                keep_largest(ids, products, start, k, selection);
            }
        }
        merge_pages(ids, products, start, view.request.page());
        heads.push(Head { end: ids.len(), scored: scored.count(), rest });
    }
}

/// Scores a list, or all keys if it names fewer than `k`.
fn score_for_keys(
    scorer: &mut Scorer<'_>,
    view: View<'_>,
    route: &mut Option<Route>,
    k: usize,
    with_rest: bool,
) {
    *route = route
        .filter(|route| k <= view.listed(route.list).map(|(_, keys)| keys.len()).sum::<usize>());
    scorer.score_list_or_all(view, route);
    if let (Some(Route { list, .. }), true) = (*route, with_rest) {
        scorer.sample_unlisted(view, list);
    }
}

/// The product that keys exceed which hold the share. Scores all keys if those of the list do not
/// hold it.
fn mass_threshold(
    scorer: &mut Scorer<'_>,
    view: View<'_>,
    route: &mut Option<Route>,
    share: f32,
    scale: f32,
) -> f32 {
    if let Some(Route { list, .. }) = *route {
        scorer.sample_unlisted(view, list);
        let (most, total) = scorer.scored.total(scale);
        let needed = f64::from(share) * total;
        if let Some(least) = least_with_mass(&scorer.scored.products, most, scale, needed) {
            return least;
        }
        *route = None;
        scorer.score_all(view);
    }
    let (most, total) = scorer.scored.total(scale);
    // All together reach the whole mass, but for rounding.
    least_with_mass(&scorer.scored.products, most, scale, f64::from(share) * total)
        .unwrap_or(f32::NEG_INFINITY)
}

/// Keeps the `k` largest of the hits from `start` on.
fn keep_largest(
    ids: &mut Vec<u32>,
    products: &mut Vec<f32>,
    start: usize,
    k: usize,
    selection: &mut Vec<f32>,
) {
    let least = least_of_largest(&products[start..], k, selection);
    let above = products[start..].iter().filter(|&&product| product > least).count();
    let (mut ties, mut end) = (k.saturating_sub(above), start);
    for at in start..ids.len() {
        let is_tie = products[at] == least && ties > 0;
        if products[at] > least || is_tie {
            ties -= usize::from(is_tie);
            (ids[end], products[end]) = (ids[at], products[at]);
            end += 1;
        }
    }
    ids.truncate(end);
    products.truncate(end);
}

/// Replaces the keys from `start` on by the pages that hold them.
fn merge_pages(ids: &mut Vec<u32>, products: &mut Vec<f32>, start: usize, page: usize) {
    if page == 1 {
        return;
    }
    let mut end = start;
    for at in start..ids.len() {
        // A page number is at most the id.
        let (number, product) = (ids[at] / page as u32, products[at]);
        if end > start && ids[end - 1] == number {
            products[end - 1] = products[end - 1].max(product);
        } else {
            (ids[end], products[end]) = (number, product);
            end += 1;
        }
    }
    ids.truncate(end);
    products.truncate(end);
}

impl KeyIndex {
    /// Finds keys for queries, shape [heads, d]: all query heads that read this KV head. The hits
    /// are in the searcher.
    ///
    /// With `keys`, shape [n, d], the best keys by their codes are scored again, so that products
    /// are exact; keys that they do not have are not found. Without, keys with nearly equal
    /// products may be exchanged.
    ///
    /// # Errors
    /// `InvalidArgument` if the request is out of range, the queries or keys have another dimension
    /// than the index, or a query's value is not finite or exceeds 10¹⁵ in magnitude. The searcher
    /// is then empty.
    pub fn search(
        &self,
        queries: Rows<'_>,
        keys: Option<Rows<'_>>,
        request: &Request<'_>,
        searcher: &mut Searcher,
    ) -> Result<()> {
        if let Some(keys) = keys {
            searcher.clear();
            keys.check_dimension("keys", self.dimension())?;
        }
        let limit = keys.map_or(usize::MAX, |keys| keys.len());
        searcher.search(self, &queries, request, Pass { keys, limit, with_rest: false })
    }
}

/// Searches many heads on all threads of the current rayon pool: queries, shape [heads, d], are in
/// the order of the indexes, equally many for each, and so are the keys, if there are any. Indexes
/// may differ in length.
///
/// # Errors
/// As [`KeyIndex::search`], and if the numbers of indexes, keys, queries and searchers do not match.
pub fn search_heads<I: Borrow<KeyIndex> + Sync>(
    indexes: &[I],
    queries: Rows<'_>,
    keys: Option<&[Rows<'_>]>,
    request: &Request<'_>,
    searchers: &mut [Searcher],
) -> Result<()> {
    if let Some(keys) = keys
        && keys.len() != indexes.len()
    {
        let (expected, got) = ("the keys of each index", keys.len());
        return Err(InvalidInput::mismatch("keys", expected, got).into());
    }
    if searchers.len() != indexes.len() {
        let (expected, got) = ("a searcher for each index", searchers.len());
        return Err(InvalidInput::mismatch("searchers", expected, got).into());
    }
    if indexes.is_empty() || !queries.len().is_multiple_of(indexes.len()) {
        let got = format!("{} for {} indexes", queries.len(), indexes.len());
        let expected = "the same number of queries for each index";
        return Err(InvalidInput::mismatch("queries", expected, got).into());
    }
    let group = queries.len() / indexes.len();
    let searches = searchers.par_iter_mut().zip(indexes).enumerate();
    searches.try_for_each(|(at, (searcher, index))| {
        let keys = keys.map(|keys| keys[at]);
        index.borrow().search(queries.slice(at * group, group), keys, request, searcher)
    })
}

/// ‖q‖.
pub(super) fn norm(values: &[f32]) -> f32 {
    kernels::dot(values, values).sqrt()
}
