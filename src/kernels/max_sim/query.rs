//! The query side: signed 8-bit integers in the order in which kernels read the codes.

use std::ops::Range;
use std::sync::Arc;

use super::layout::{TokenBits, TokenLayout};
use super::residual::{CentroidProducts, TileProducts};
use crate::kernels::centroids::{RUN, Run};

/// Largest number of query tokens scored together: each needs a register for its maxima and one or
/// two for its sums.
pub(super) const TILE_TOKENS: usize = 8;
/// Largest magnitude of a rounded element.
const LEVELS: f32 = 127.0;

/// The tokens of a query, rounded to integers: q ≈ scale · (q₁ … q_d), |qᵢ| ≤ 127, with a scale per
/// token.
#[derive(Debug, Clone)]
pub struct MaxSimQuery {
    layout: TokenLayout,
    scales: Vec<f32>,
    /// Σ qᵢ of each token.
    totals: Vec<i32>,
    /// Four integers per word, tile by tile. Within a tile, the words of its tokens are
    /// interleaved: those for the lowest codes of the bytes, then those for the next.
    words: Vec<i32>,
    products: Option<OfCentroids>,
}

/// Products with the centroids of residual codes.
#[derive(Debug, Clone)]
struct OfCentroids {
    table: Arc<Vec<Run>>,
    runs: usize,
    /// Number of the last row.
    last: usize,
    /// For each token, the step of the products divided by its scale.
    factors: Vec<f32>,
    /// Σ of the lowest products.
    lowest: f32,
}

impl OfCentroids {
    /// For one of [`tiles`], which ends within whole tiles, and so within the runs.
    #[inline]
    fn of_tile(&self, tile: Range<usize>) -> TileProducts<'_> {
        let (width, first) = (self.runs * RUN, tile.start);
        debug_assert!(first + TILE_TOKENS <= width, "a row has values for a whole tile");
        let (values, factors) = (bytemuck::cast_slice(&self.table), &self.factors[tile]);
        TileProducts { values, width, last: self.last, first, factors }
    }
}

/// Query tokens that are scored together.
pub(super) struct Tile<'a> {
    pub words: &'a [i32],
    pub totals: &'a [i32],
    /// With residual codes only.
    pub products: Option<TileProducts<'a>>,
}

impl MaxSimQuery {
    /// Rounds the tokens, shape [m, dimension]. The scale of a token is max |qᵢ| / 127; a zero
    /// token has scale 0.
    ///
    /// # Panics
    /// If the length of `tokens` is not a multiple of the layout's dimension.
    pub fn new(layout: &TokenLayout, tokens: &[f32]) -> Self {
        let mut scales = Vec::new();
        let mut integers = Vec::with_capacity(tokens.len());
        for token in tokens.chunks(layout.dimension().max(1)) {
            let largest = token.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let factor = LEVELS / largest;
            // Zeros, and values so small that the factor overflows, are rounded to zero.
            let (scale, factor) =
                if factor.is_finite() { (largest / LEVELS, factor) } else { (0.0, 0.0) };
            scales.push(scale);
            integers.extend(token.iter().map(|value| (value * factor).round_ties_even() as i8));
        }
        Self { scales, ..Self::from_integers(layout, &integers) }
    }

    /// From integers, shape [m, dimension], with scale 1.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn from_integers(layout: &TokenLayout, integers: &[i8]) -> Self {
        let dimension = layout.dimension();
        assert!(dimension > 0 && integers.len().is_multiple_of(dimension), "whole tokens");
        let tokens: Vec<&[i8]> = integers.chunks_exact(dimension).collect();
        let totals = tokens.iter().map(|token| token.iter().map(|&q| i32::from(q)).sum()).collect();
        let mut words = Vec::with_capacity(tokens.len() * words_of_token(layout));
        for range in tiles(tokens.len()) {
            for word in 0..layout.words() {
                for field in 0..layout.bits().per_byte() {
                    let places = layout.places(word, field);
                    words.extend(tokens[range.clone()].iter().map(|token| {
                        let mut bytes = [0; 4];
                        for (byte, &q) in bytes.iter_mut().zip(&token[places.clone()]) {
                            *byte = q as u8;
                        }
                        i32::from_le_bytes(bytes)
                    }));
                }
            }
        }
        let scales = vec![1.0; tokens.len()];
        Self { layout: *layout, scales, totals, words, products: None }
    }

    /// The same query, for residual codes.
    ///
    /// # Panics
    /// If there are products of another number of tokens, or the table has another shape, or no row
    /// of zeros at the end.
    #[must_use]
    pub fn with_centroids(self, products: CentroidProducts) -> Self {
        let CentroidProducts { table, runs, step, lowest } = products;
        assert_eq!(lowest.len(), self.len(), "products of each token");
        let (rows, rest) = (table.chunks_exact(runs), table.len() % runs);
        assert!(rest == 0 && self.len() <= runs * RUN, "a value a token in whole rows");
        let zeros = |row: &[Run]| row.iter().all(|&row| row == Run::of(0));
        assert!(rows.last().is_some_and(zeros), "a row of zeros at the end");
        // Tokens that were rounded to zero have products of about zero.
        let factor = |scale: &f32| Some(step / scale).filter(|factor| factor.is_finite());
        let factors: Vec<Option<f32>> = self.scales.iter().map(factor).collect();
        let lowest = factors.iter().zip(lowest).filter_map(|(factor, low)| factor.and(Some(low)));
        let (lowest, factors) =
            (lowest.sum(), factors.iter().map(|factor| factor.unwrap_or(0.0)).collect());
        let last = table.len() / runs - 1;
        let products = Some(OfCentroids { table, runs, last, factors, lowest });
        Self { products, ..self }
    }

    /// What is added to each score.
    #[inline]
    pub(super) fn offset(&self) -> f32 {
        self.products.as_ref().map_or(0.0, |products| products.lowest)
    }

    /// Layout of the documents it can score.
    #[inline]
    pub fn layout(&self) -> &TokenLayout {
        &self.layout
    }

    /// Number of tokens.
    #[inline]
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// True if there are no tokens.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Scale of each token, by which its integers are multiplied.
    #[inline]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    #[inline]
    pub(super) fn bits(&self) -> TokenBits {
        self.layout.bits()
    }

    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        let words = words_of_token(&self.layout);
        tiles(self.len()).map(move |range| Tile {
            words: &self.words[range.start * words..range.end * words],
            totals: &self.totals[range.clone()],
            products: self.products.as_ref().map(|products| products.of_tile(range)),
        })
    }
}

/// Words per query token: one per four codes.
fn words_of_token(layout: &TokenLayout) -> usize {
    layout.words() * layout.bits().per_byte()
}

/// Splits tokens into as few tiles as possible, of equal sizes as far as possible. Each begins
/// [`TILE_TOKENS`] before the end of the last whole tile at the latest.
fn tiles(tokens: usize) -> impl Iterator<Item = Range<usize>> {
    let count = tokens.div_ceil(TILE_TOKENS);
    (0..count).map(move |tile| tile * tokens / count..(tile + 1) * tokens / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_rounded_to_their_own_largest_element() {
        let layout = TokenLayout::new(TokenBits::Eight, 3);
        let query = MaxSimQuery::new(&layout, &[1.27, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.54, 0.03]);
        assert_eq!(query.scales(), [0.01, 0.0, 0.02]);
        assert_eq!(query.totals, [127 - 50, 0, 127 + 2]);
        let tile = query.tiles().next().unwrap();
        // One word per token: 127, −50, 0 and a zero past the dimension.
        assert_eq!(tile.words[0].to_le_bytes(), [127, 206, 0, 0]);
        assert_eq!(tile.words[2].to_le_bytes(), [0, 127, 2, 0]);
    }

    #[test]
    fn tiles_are_few_and_even() {
        for tokens in 0..200 {
            let found: Vec<_> = tiles(tokens).collect();
            assert_eq!(found.len(), tokens.div_ceil(TILE_TOKENS));
            assert_eq!(found.iter().map(|range| range.len()).sum::<usize>(), tokens);
            let lengths = || found.iter().map(|range| range.len());
            assert!(lengths().max().unwrap_or(0) <= TILE_TOKENS);
            assert!(lengths().max().unwrap_or(0) - lengths().min().unwrap_or(0) <= 1);
            let ends = found.iter().map(|range| range.start + TILE_TOKENS);
            assert!(ends.max().unwrap_or(0) <= tokens.next_multiple_of(TILE_TOKENS));
        }
    }

    #[test]
    fn tokens_of_extremes_have_finite_scales() {
        let layout = TokenLayout::new(TokenBits::Four, 2);
        let query = MaxSimQuery::new(&layout, &[1e-45, 0.0, f32::MAX, -f32::MAX]);
        assert!(query.scales().iter().all(|scale| scale.is_finite()));
        assert_eq!(query.totals, [0, 0]);
    }
}
