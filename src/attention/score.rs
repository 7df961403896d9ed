//! Scoring the codes of keys.

use super::part::{Frame, Part};
use super::search::View;
use crate::index::Route;
use crate::kernels;
use crate::kernels::codes::CodeQuery;
use crate::quantization::lvq::Lvq;

/// Keys to score at once.
const BLOCK: usize = 64;

/// Scored keys of one query; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct Scored {
    code: Option<CodeQuery>,
    sums: Vec<i32>,
    /// Ids in ascending order, and the product with each.
    ids: Vec<u32>,
    pub products: Vec<f32>,
    /// Products with a sample of the keys that are searched but in no list.
    pub sampled: Vec<f32>,
    /// Number of keys that the sample stands for.
    pub unlisted: usize,
    rows: Vec<u32>,
    /// Keys not above this product are not selected.
    pub least: f32,
    /// Number of keys that were selected.
    pub selected: usize,
}

impl Scored {
    /// Forgets the keys scored.
    fn clear(&mut self) {
        self.ids.clear();
        self.products.clear();
        self.sampled.clear();
        self.unlisted = 0;
    }

    /// Number of keys scored.
    pub fn count(&self) -> usize {
        self.products.len() + self.sampled.len()
    }

    /// The query as codes see it.
    pub fn code(&self) -> Option<&CodeQuery> {
        self.code.as_ref()
    }

    /// Largest product p, and the estimate of Σ exp(scale · (product − p)) over all keys searched.
    pub fn total(&self, scale: f32) -> (f32, f64) {
        let all = self.products.iter().chain(&self.sampled);
        let most = all.fold(f32::NEG_INFINITY, |most, &product| most.max(product));
        let sum = |products: &[f32]| -> f64 {
            products.iter().map(|product| f64::from((scale * (product - most)).exp())).sum()
        };
        (most, sum(&self.products) + self.per_sample() * sum(&self.sampled))
    }

    /// Number of unlisted keys per sampled one.
    pub fn per_sample(&self) -> f64 {
        self.unlisted as f64 / self.sampled.len().max(1) as f64
    }

    /// Appends the keys above `least`, and as many of those equal to it as make `most`.
    pub fn select(&mut self, least: f32, most: usize, ids: &mut Vec<u32>, products: &mut Vec<f32>) {
        let above = self.products.iter().filter(|&&product| product > least).count();
        let mut ties = if least.is_finite() { most.saturating_sub(above) } else { 0 };
        if most == usize::MAX {
            ties = 0;
        }
        let start = ids.len();
        for (&id, &product) in self.ids.iter().zip(&self.products) {
            let is_tie = product == least && ties > 0;
            ties -= usize::from(is_tie);
            if product > least || is_tie {
                ids.push(id);
                products.push(product);
            }
        }
        (self.least, self.selected) = (least, ids.len() - start);
    }
}

/// Scores keys for one query.
pub(super) struct Scorer<'a> {
    frame: &'a Frame,
    /// ⟨q, μ⟩.
    offset: f32,
    pub scored: &'a mut Scored,
}

impl<'a> Scorer<'a> {
    pub fn new(frame: &'a Frame, query: &[f32], scored: &'a mut Scored) -> Self {
        let layout = frame.lvq.layout();
        match &mut scored.code {
            Some(code) if code.fits(layout) => code.set(layout, query),
            code => *code = Some(CodeQuery::new(layout, query)),
        }
        scored.clear();
        Self { frame, offset: kernels::dot(query, &frame.center), scored }
    }

    /// Scores a list if there is one, and otherwise all searched keys.
    pub fn score_list_or_all(&mut self, view: View<'_>, route: &Option<Route>) {
        match route {
            Some(route) => self.score_list(view, route.list),
            None => self.score_all(view),
        }
    }

    /// Scores the searched keys of a list.
    fn score_list(&mut self, view: View<'_>, list: usize) {
        for (part, keys) in view.listed(list) {
            self.scored.ids.extend(keys.iter().map(|key| part.first + key));
            let mut products = std::mem::take(&mut self.scored.products);
            self.score(part, keys, &mut products);
            self.scored.products = products;
        }
    }

    /// Scores all searched keys, and forgets those scored before.
    pub fn score_all(&mut self, view: View<'_>) {
        self.scored.clear();
        let layout = self.frame.lvq.layout();
        let stride = layout.stride();
        for (part, range) in view.searched() {
            self.scored.ids.extend(part.first + range.start..part.first + range.end);
            let Scored { code: Some(code), sums, products, .. } = &mut *self.scored else { return };
            for start in range.clone().step_by(BLOCK) {
                let count = (range.end - start).min(BLOCK as u32) as usize;
                sums.resize(count, 0);
                let records = &part.records[start as usize * stride..];
                self.frame.kernel.dot_rows(layout, records, code, sums);
                let pairs = sums.iter().zip(records.chunks_exact(stride));
                products.extend(
                    pairs.map(|(&sum, record)| self.offset + Lvq::range(record).product(code, sum)),
                );
            }
        }
    }

    /// Scores a sample of the searched keys that a list does not name.
    pub fn sample_unlisted(&mut self, view: View<'_>, list: usize) {
        let step = self.frame.sample_stride;
        let mut rows = std::mem::take(&mut self.scored.rows);
        let mut sampled = std::mem::take(&mut self.scored.sampled);
        for ((part, range), (_, listed)) in view.searched().zip(view.listed(list)) {
            self.scored.unlisted += range.len() - listed.len();
            let first = (part.first + range.start).next_multiple_of(step) - part.first;
            let mut listed = listed.iter().copied().peekable();
            rows.clear();
            rows.extend((first..range.end).step_by(step as usize).filter(|&row| {
                while listed.next_if(|&key| key < row).is_some() {}
                listed.peek() != Some(&row)
            }));
            self.score(part, &rows, &mut sampled);
        }
        (self.scored.rows, self.scored.sampled) = (rows, sampled);
    }

    /// Appends the products with keys of a part.
    fn score(&mut self, part: &Part, keys: &[u32], products: &mut Vec<f32>) {
        let layout = self.frame.lvq.layout();
        let stride = layout.stride();
        let Scored { code: Some(code), sums, .. } = &mut *self.scored else { return };
        for (at, block) in keys.chunks(BLOCK).enumerate() {
            let ahead = keys.get((at + 1) * BLOCK..).unwrap_or_default();
            for &key in &ahead[..ahead.len().min(BLOCK)] {
                kernels::prefetch(&part.records, key as usize * stride, stride);
            }
            sums.resize(block.len(), 0);
            self.frame.kernel.dot_listed(layout, &part.records, code, block, sums);
            products.extend(block.iter().zip(sums.iter()).map(|(&key, &sum)| {
                let record = &part.records[key as usize * stride..];
                self.offset + Lvq::range(record).product(code, sum)
            }));
        }
    }
}
