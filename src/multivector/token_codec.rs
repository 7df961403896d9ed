//! Token codes: LVQ with 8 or 4 bits per element, half precision, or the nearest centroid with the
//! rest in 8, 4 or 2 bits (ColBERTv2, arXiv 2112.01488, section 3.3).
//!
//! The tokens of a document are encoded together, in the layout that the kernels stream
//! ([`TokenLayout`]; half-precision tokens are rows). Tokens are rotated before they are coded, as
//! is the query, which preserves products: the variance of learned tokens is concentrated in few
//! dimensions, which would determine the range of all and the scale of the rounded query. On
//! NFCorpus this reduces the error of scores by 27%. Subtracting the mean as well gained only 3%,
//! so it is not done.
//!
//! Scores are dot products, and so cosines for unit tokens.

use std::borrow::Cow;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use super::CentroidQuery;
use crate::kernels::max_sim::{MaxSimKernel, MaxSimQuery, TokenBits, TokenConstants, TokenLayout};
use crate::kernels::products::{Panels, ProductKernel};
use crate::quantization::Centroids;
use crate::quantization::leanvec::rotation_map;
use crate::quantization::lvq::quantize;

/// Seed of the rotation, the same for all codecs of a dimension.
const ROTATION_SEED: u64 = 42;
/// Largest dimension that is rotated: the rotation is a dense matrix.
const MAX_ROTATED_DIMENSION: usize = 1024;

/// Storage of a token's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TokenCode {
    /// 8 bits per element, with a range per token.
    #[default]
    Lvq8,
    /// 4 bits per element, with a range per token.
    Lvq4,
    /// Half precision.
    F16,
    /// The nearest centroid, and the rest with 8 bits per element.
    Residual8,
    /// The nearest centroid, and the rest with 4 bits per element.
    Residual4,
    /// The nearest centroid, and the rest with 2 bits per element.
    Residual2,
}

impl TokenCode {
    /// Whether it needs centroids.
    pub fn is_residual(self) -> bool {
        matches!(self, Self::Residual8 | Self::Residual4 | Self::Residual2)
    }
}

/// Encodes, decodes and scores the tokens of documents.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCodec {
    code: TokenCode,
    dimension: usize,
    /// `None` for half precision.
    layout: Option<TokenLayout>,
    rotation: Option<Rotation>,
    /// Of residual codes.
    centroids: Option<Arc<Centroids>>,
}

/// An orthonormal map and its inverse.
#[derive(Debug, Clone, PartialEq)]
struct Rotation {
    forward: Panels,
    back: Panels,
}

impl Rotation {
    fn new(dimension: usize) -> Self {
        let map = rotation_map(dimension, ROTATION_SEED);
        let transposed: Vec<f32> = (0..dimension)
            .flat_map(|column| map.iter().skip(column).step_by(dimension).copied())
            .collect();
        let forward = Panels::from_rows(&map, dimension);
        Self { forward, back: Panels::from_rows(&transposed, dimension) }
    }
}

fn multiplied(tokens: &[f32], map: &Panels) -> Vec<f32> {
    let mut out = vec![0.0; tokens.len()];
    ProductKernel::detect().multiply(tokens, map, &mut out);
    out
}

/// A query's tokens, prepared for scoring documents of one codec.
#[derive(Debug, Clone)]
pub struct TokenQuery(Prepared);

#[derive(Debug, Clone)]
enum Prepared {
    Coded(MaxSimQuery),
    /// The tokens as columns.
    Floats(Panels),
}

/// Scoring kernels, and a buffer for widened tokens; one per thread.
#[derive(Debug, Clone)]
pub struct TokenScorer {
    coded: MaxSimKernel,
    floats: ProductKernel,
    widened: Vec<f32>,
}

impl TokenCodec {
    /// Bytes that must follow the last document.
    pub const SLACK_BYTES: usize = TokenLayout::SLACK_BYTES;

    /// A codec for tokens of `dimension`.
    ///
    /// # Panics
    /// If the dimension is 0 or above the limit for fields, or the code needs centroids.
    pub fn new(code: TokenCode, dimension: usize) -> Self {
        assert!(!code.is_residual(), "a residual code needs centroids");
        Self::with(code, dimension, None)
    }

    /// A codec for tokens whose differences from these centroids are coded, if the code is one of
    /// those.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn residual(code: TokenCode, centroids: Arc<Centroids>) -> Self {
        let dimension = centroids.dimension();
        Self::with(code, dimension, Some(centroids).filter(|_| code.is_residual()))
    }

    fn with(code: TokenCode, dimension: usize, centroids: Option<Arc<Centroids>>) -> Self {
        assert!(dimension > 0, "tokens have dimensions");
        let bits = match code {
            TokenCode::Lvq8 | TokenCode::Residual8 => Some(TokenBits::Eight),
            TokenCode::Lvq4 | TokenCode::Residual4 => Some(TokenBits::Four),
            TokenCode::Residual2 => Some(TokenBits::Two),
            TokenCode::F16 => None,
        };
        let layout = bits.map(|bits| TokenLayout::new(bits, dimension));
        let rotated = layout.is_some() && dimension <= MAX_ROTATED_DIMENSION;
        let rotation = rotated.then(|| Rotation::new(dimension));
        Self { code, dimension, layout, rotation, centroids }
    }

    /// Storage of elements.
    pub fn code(&self) -> TokenCode {
        self.code
    }

    /// Dimension of the tokens.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Bytes per token.
    pub fn token_bytes(&self) -> usize {
        self.layout.map_or(size_of::<f16>() * self.dimension(), |layout| layout.token_bytes())
    }

    /// Bytes of a document of `tokens` tokens: there is no padding.
    pub fn document_bytes(&self, tokens: usize) -> usize {
        tokens * self.token_bytes()
    }

    /// Centroids of residual codes.
    pub fn centroids(&self) -> Option<&Arc<Centroids>> {
        self.centroids.as_ref()
    }

    /// Encodes a document's tokens, shape [n, dimension]. Elements are clamped to the range of the
    /// code. `nearest`: the centroid nearest to each token, if known.
    ///
    /// # Panics
    /// If the lengths do not match, or there is no such centroid.
    pub fn encode(&self, tokens: &[f32], nearest: Option<&[u16]>, document: &mut [u8]) {
        let dimension = self.dimension();
        let count = tokens.len() / dimension;
        assert_eq!(document.len(), self.document_bytes(count), "bytes of {count} tokens");
        let Some(layout) = &self.layout else {
            let (least, most) = (f16::MIN.to_f32(), f16::MAX.to_f32());
            for (bytes, value) in document.chunks_exact_mut(size_of::<f16>()).zip(tokens) {
                let half = f16::from_f32(value.clamp(least, most));
                bytes.copy_from_slice(&half.to_le_bytes());
            }
            return;
        };
        let (mut codes, mut constants) = (Vec::with_capacity(tokens.len()), Vec::new());
        if let Some(centroids) = &self.centroids {
            let nearest = match nearest {
                Some(nearest) => Cow::Borrowed(nearest),
                None => Cow::Owned(centroids.nearest(tokens)),
            };
            let nearest = &*nearest;
            let rests = self.rotated(&rests(tokens, nearest, centroids)).into_owned();
            for (rest, &centroid) in rests.chunks_exact(dimension).zip(nearest) {
                let step = quantize_rest(layout.bits(), rest, &mut codes);
                constants.push(TokenConstants::of_residual(step, centroid.into()));
            }
            layout.pack(&codes, &constants, document);
            return;
        }
        let rotated = self.rotated(tokens);
        let mut scratch = Vec::new();
        for row in rotated.chunks_exact(dimension) {
            let range = quantize(layout.bits().max(), row, &mut scratch);
            codes.extend_from_slice(&scratch);
            constants.push(TokenConstants { step: range.step, low: range.low });
        }
        layout.pack(&codes, &constants, document);
    }

    /// Replaces `out` by the decoded tokens of a document, shape [n, dimension].
    ///
    /// # Panics
    /// If `document` is too short.
    pub fn decode(&self, document: &[u8], tokens: usize, out: &mut Vec<f32>) {
        out.clear();
        match &self.layout {
            None => widen(&document[..self.document_bytes(tokens)], out),
            Some(layout) => {
                let (codes, constants) = layout.unpack(document, tokens);
                for (codes, constants) in codes.chunks_exact(self.dimension()).zip(&constants) {
                    let low = match self.centroids {
                        Some(_) => -layout.bits().middle() * constants.step,
                        None => constants.low,
                    };
                    let value = |&code: &u8| low + constants.step * f32::from(code);
                    out.extend(codes.iter().map(value));
                }
                if let Some(rotation) = &self.rotation {
                    *out = multiplied(out, &rotation.back);
                }
                let Some(centroids) = &self.centroids else { return };
                for (token, constants) in out.chunks_exact_mut(self.dimension).zip(&constants) {
                    // Of a damaged document, the rest only.
                    let centroid = centroids.get(constants.centroid() as usize).unwrap_or_default();
                    token.iter_mut().zip(centroid).for_each(|(value, centroid)| *value += centroid);
                }
            }
        }
    }

    /// Prepares a query's tokens, shape [m, dimension]; `known`: the query, prepared for the same
    /// centroids, which saves time.
    ///
    /// # Panics
    /// If the last token is incomplete.
    pub fn query(&self, tokens: &[f32], known: Option<&CentroidQuery>) -> TokenQuery {
        let Some(layout) = &self.layout else {
            return TokenQuery(Prepared::Floats(Panels::from_rows(tokens, self.dimension)));
        };
        let query = MaxSimQuery::new(layout, &self.rotated(tokens));
        let Some(centroids) = &self.centroids else { return TokenQuery(Prepared::Coded(query)) };
        let products = match known {
            Some(known) => known.products(centroids, tokens),
            None => CentroidQuery::new(centroids, tokens).products(centroids, tokens),
        };
        TokenQuery(Prepared::Coded(query.with_centroids(products)))
    }

    /// The tokens, rotated as for encoding.
    fn rotated<'t>(&self, tokens: &'t [f32]) -> Cow<'t, [f32]> {
        match &self.rotation {
            Some(rotation) => Cow::Owned(multiplied(tokens, &rotation.forward)),
            None => Cow::Borrowed(tokens),
        }
    }
}

impl Default for TokenScorer {
    fn default() -> Self {
        let (coded, floats) = (MaxSimKernel::detect(), ProductKernel::detect());
        Self { coded, floats, widened: Vec::new() }
    }
}

impl TokenScorer {
    /// MaxSim of a query with the document of `tokens` tokens at the start of `bytes`, which must
    /// be followed by other documents or slack. Higher is better; −∞ without tokens.
    ///
    /// # Panics
    /// If `bytes` is too short for the document and slack.
    #[inline]
    pub fn score(&mut self, query: &TokenQuery, bytes: &[u8], tokens: usize) -> f32 {
        match &query.0 {
            Prepared::Coded(coded) => self.coded.score(coded, bytes, tokens),
            Prepared::Floats(panels) => {
                self.widened.clear();
                let len = tokens * panels.depth() * size_of::<f16>();
                widen(&bytes[..len], &mut self.widened);
                self.floats.max_sim(panels, &self.widened)
            }
        }
    }
}

/// Tokens less the centroids nearest to them.
fn rests(tokens: &[f32], nearest: &[u16], centroids: &Centroids) -> Vec<f32> {
    let dimension = centroids.dimension();
    assert_eq!(nearest.len() * dimension, tokens.len(), "a centroid a token");
    let mut rests = tokens.to_vec();
    for (rest, &centroid) in rests.chunks_exact_mut(dimension).zip(nearest) {
        let centroid = &centroids.values()[usize::from(centroid) * dimension..][..dimension];
        rest.iter_mut().zip(centroid).for_each(|(value, centroid)| *value -= centroid);
    }
    rests
}

/// Appends the codes of a rest, symmetric around zero; returns their step. Of several ranges, takes
/// the one whose codes are nearest to the direction of the rest. The step is chosen such that the
/// product of the rest with what is decoded is that with itself: the smallest error would shrink
/// scores, the more so the fewer bits there are.
fn quantize_rest(bits: TokenBits, rest: &[f32], codes: &mut Vec<u8>) -> f32 {
    let largest = rest.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let (middle, most) = (bits.middle(), f32::from(bits.max()));
    // Relative to the largest element, since squares of huge or tiny elements are not finite or zero.
    let relative = |value: &f32| value / largest;
    // Rounds; NaN becomes 0.
    let code = |value: &f32, range: f32| {
        (relative(value) * (middle / range) + middle + 0.5).clamp(0.0, most) as u8
    };
    let tried = ranges(bits).map(|range| {
        let (mut product, mut square) = (0.0_f32, 0.0_f32);
        for value in rest {
            let level = f32::from(code(value, range)) - middle;
            product += relative(value) * level;
            square += level * level;
        }
        (product / square.sqrt(), product, range)
    });
    let best = tried.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let (_, product, range) = best.unwrap_or_default();
    codes.extend(rest.iter().map(|value| code(value, range)));
    let square: f32 = rest.iter().map(|value| relative(value).powi(2)).sum();
    let step = largest * (square / product);
    // All elements are zero, or huge.
    if step.is_finite() { step } else { 0.0 }
}

/// Ranges that are tried for a rest, relative to its largest element, since the largest are rare. With
/// four values the best step for a normal distribution is one standard deviation, whereas the largest of
/// 128 elements is 2.8: a range of 0.55.
fn ranges(bits: TokenBits) -> [f32; 4] {
    match bits {
        TokenBits::Two => [0.7, 0.6, 0.5, 0.4],
        TokenBits::Four | TokenBits::Eight => [1.0, 0.9, 0.8, 0.7],
    }
}

/// Widens half-precision numbers of any alignment.
fn widen(bytes: &[u8], out: &mut Vec<f32>) {
    match bytemuck::try_cast_slice::<u8, f16>(bytes) {
        Ok(halves) => {
            out.resize(halves.len(), 0.0);
            halves.convert_to_f32_slice(out);
        }
        Err(_) => {
            let halves = bytes.as_chunks().0.iter();
            out.extend(halves.map(|&bytes| f16::from_le_bytes(bytes).to_f32()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels;
    use crate::multivector::max_sim;

    const CODES: [TokenCode; 6] = [
        TokenCode::Lvq8,
        TokenCode::Lvq4,
        TokenCode::F16,
        TokenCode::Residual8,
        TokenCode::Residual4,
        TokenCode::Residual2,
    ];

    /// A codec; with five centroids if it needs some.
    fn codec(code: TokenCode, dimension: usize) -> TokenCodec {
        if !code.is_residual() {
            return TokenCodec::new(code, dimension);
        }
        let value = |at: usize| ((at * 37 % 101) as f32 / 50.0 - 1.0) * 0.5;
        let values: Vec<f32> = (0..5 * dimension).map(value).collect();
        TokenCodec::residual(code, Arc::new(Centroids::from_values(&values, dimension).unwrap()))
    }

    /// A document at an odd address, with slack.
    fn encoded(codec: &TokenCodec, tokens: &[f32]) -> Vec<u8> {
        let len = codec.document_bytes(tokens.len() / codec.dimension());
        let mut bytes = vec![0xee; 1 + len + TokenCodec::SLACK_BYTES];
        codec.encode(tokens, None, &mut bytes[1..=len]);
        bytes
    }

    proptest! {
        #[test]
        fn the_error_of_a_token_is_at_most_half_a_step_an_element(
            (dimension, tokens) in (1_usize..60).prop_flat_map(|dimension| (
                Just(dimension),
                proptest::collection::vec(-1.0_f32..1.0, dimension * 37),
            )),
            count in 0_usize..37,
        ) {
            let tokens = &tokens[..count * dimension];
            for code in CODES {
                let codec = codec(code, dimension);
                let bytes = encoded(&codec, tokens);
                let mut decoded = vec![7.0; 3];
                codec.decode(&bytes[1..], count, &mut decoded);
                prop_assert_eq!(decoded.len(), tokens.len());
                // Elements are within ±1, and rotated ones within ±√dimension.
                let root = (dimension as f32).sqrt();
                let half_step = match code {
                    TokenCode::Lvq8 => root / 255.0,
                    TokenCode::Lvq4 => root / 15.0,
                    TokenCode::F16 => 1.0 / 2048.0,
                    // The rest is within ±1.5, before it is rotated.
                    TokenCode::Residual8 => 1.5 * root / 255.0,
                    TokenCode::Residual4 => 1.5 * root / 15.0,
                    TokenCode::Residual2 => 1.5 * root / 3.0,
                };
                let rows = tokens.chunks_exact(dimension).zip(decoded.chunks_exact(dimension));
                for (token, got) in rows {
                    let error = kernels::scalar::l2_squared(token, got).sqrt();
                    prop_assert!(error <= half_step * root * 1.001, "{:?} {}", code, error);
                }
            }
        }

        #[test]
        fn scores_are_those_of_the_decoded_tokens(
            (dimension, tokens, query) in (1_usize..60).prop_flat_map(|dimension| (
                Just(dimension),
                proptest::collection::vec(-1.0_f32..1.0, dimension * 21),
                proptest::collection::vec(-1.0_f32..1.0, dimension * 9),
            )),
            (count, queries) in (1_usize..21, 0_usize..9),
        ) {
            let (tokens, query) = (&tokens[..count * dimension], &query[..queries * dimension]);
            for code in CODES {
                let codec = codec(code, dimension);
                let bytes = encoded(&codec, tokens);
                let mut decoded = Vec::new();
                codec.decode(&bytes[1..], count, &mut decoded);
                let expected = max_sim(query, &decoded, dimension, kernels::scalar::dot);
                let prepared = codec.query(query, None);
                let got = TokenScorer::default().score(&prepared, &bytes[1..], count);
                // Half a step of the query per element, against a token of up to √dimension: the
                // rotation preserves lengths, and the step is at most length / 127.
                let root = (dimension as f32).sqrt();
                let rounding = queries as f32 * (root / 254.0 * root) * root;
                prop_assert!((got - expected).abs() <= rounding + 1e-3, "{:?}", code);
            }
        }
    }

    #[test]
    fn rests_of_any_size_are_not_shrunk() {
        let rest: Vec<f32> = (1..60).map(|at| (at as f32 * 0.7).sin()).collect();
        for bits in [TokenBits::Two, TokenBits::Four, TokenBits::Eight] {
            for scale in [1.0, 1e-30, 1e30] {
                let rest: Vec<f32> = rest.iter().map(|value| value * scale).collect();
                let mut codes = Vec::new();
                let step = quantize_rest(bits, &rest, &mut codes) / scale;
                let decoded = codes.iter().map(|&code| step * (f32::from(code) - bits.middle()));
                let (mut product, mut square, mut error) = (0.0, 0.0, 0.0);
                for (decoded, value) in decoded.zip(rest.iter().map(|value| value / scale)) {
                    product += decoded * value;
                    square += value * value;
                    error += (decoded - value).powi(2);
                }
                assert!((product / square - 1.0).abs() < 1e-4, "{bits:?} {scale}");
                // A uniform distribution is coded with an error of one part in (levels)².
                let levels = f32::from(bits.max()) + 1.0;
                assert!(error / square < 1.5 / levels.powi(2), "{bits:?} {scale} {error} {square}");
            }
            let mut codes = Vec::new();
            for rest in [[0.0; 3], [f32::INFINITY; 3], [f32::NAN; 3]] {
                assert_eq!(quantize_rest(bits, &rest, &mut codes), 0.0);
            }
            assert_eq!(codes.len(), 9);
        }
    }

    #[test]
    fn sizes_are_those_of_the_tokens() {
        let bytes = CODES.map(|code| codec(code, 128).document_bytes(96));
        assert_eq!(bytes, [96 * 136, 96 * 72, 96 * 256, 96 * 136, 96 * 72, 96 * 40]);
    }

    #[test]
    fn values_that_a_code_cannot_hold_stay_finite() {
        let tokens = [f32::MAX, -f32::MAX, 1e6, 0.0];
        for code in CODES {
            let codec = codec(code, 4);
            let bytes = encoded(&codec, &tokens);
            let mut decoded = Vec::new();
            codec.decode(&bytes[1..], 1, &mut decoded);
            assert!(decoded.iter().all(|value| value.is_finite()), "{code:?} {decoded:?}");
            let score = TokenScorer::default().score(&codec.query(&tokens, None), &bytes[1..], 1);
            assert!(!score.is_nan());
        }
    }

    #[test]
    fn empty_documents_lose() {
        for code in CODES {
            let codec = codec(code, 4);
            let bytes = vec![0; TokenCodec::SLACK_BYTES];
            let query = codec.query(&[1.0; 4], None);
            let score = TokenScorer::default().score(&query, &bytes, 0);
            assert_eq!(score, f32::NEG_INFINITY, "{code:?}");
        }
    }
}
