//! What to search for.

use std::ops::Range;

use crate::Result;
use crate::model::{InvalidInput, Problem};

/// Largest page, in tokens.
const MAX_PAGE: usize = 65_536;

/// How many keys to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The keys with the largest products: this many, or all if there are fewer. Beyond the length
    /// of a list, the codes of all keys are scored.
    Keys(usize),
    /// The fewest keys, with the largest products, that hold this share (0 to 1) of the softmax
    /// over the keys that are not excluded, as estimated. If the list of the query holds less, the
    /// codes of all keys are scored. Keys within ⅛ of each other's logits are taken together.
    Mass(f32),
}

/// A search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request<'a> {
    target: Target,
    scale: Option<f32>,
    excluded: &'a [Range<usize>],
    page: usize,
    scan: bool,
    samples: usize,
}

impl<'a> Request<'a> {
    /// A search among all keys, with the usual scale 1/√d of logits.
    pub fn new(target: Target) -> Self {
        Self { target, scale: None, excluded: &[], page: 1, scan: false, samples: 0 }
    }

    /// Finds none of these keys, such as the first and the recent tokens: ranges of ids, in
    /// ascending order and without overlap, which may end beyond the keys.
    #[must_use]
    pub fn excluding(self, static_ranges: &'a [Range<usize>]) -> Self {
        Self { excluded: static_ranges, ..self }
    }

    /// Multiplies products by `scale` to get logits.
    #[must_use]
    pub fn scale(self, scale: f32) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Returns pages of this many tokens instead of tokens: the numbers of the pages with at least
    /// one of the keys found, and the largest product of each.
    #[must_use]
    pub fn pages_of(self, tokens: usize) -> Self {
        Self { page: tokens, ..self }
    }

    /// Scores the codes of all keys instead of a list: the answer is exact up to the rounding of
    /// codes, and the bound of the mass tight, in time proportional to the number of keys.
    #[must_use]
    pub fn scanning(self) -> Self {
        Self { scan: true, ..self }
    }

    /// Lets [`sparse_attention`](super::sparse_attention) estimate the attention to the keys that
    /// are left out from this many of them, evenly spread, each with the weight of those it stands
    /// for. The output is then an estimate of attention over all keys. Its error is smaller where
    /// attention is spread over very many keys, and may be larger where it is not. (Sampling
    /// instead of selecting is the idea of MagicPIG, arXiv 2410.16179.)
    #[must_use]
    pub fn sampling(self, keys: usize) -> Self {
        Self { samples: keys, ..self }
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    pub(super) fn excluded(&self) -> &'a [Range<usize>] {
        self.excluded
    }

    pub(super) fn page(&self) -> usize {
        self.page
    }

    pub(super) fn scans(&self) -> bool {
        self.scan
    }

    /// The scale of logits for keys of this dimension.
    pub(super) fn scale_for(&self, dimension: usize) -> f32 {
        self.scale.unwrap_or(1.0 / (dimension as f32).sqrt())
    }

    /// The ranges of keys below `len` that are not excluded.
    pub(super) fn searched(&self, len: usize) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.excluded.iter().map(|range| range.end));
        let ends = self.excluded.iter().map(|range| range.start).chain(std::iter::once(len));
        let gaps = starts.zip(ends).map(move |(start, end)| start..end.min(len));
        gaps.filter(|gap| !gap.is_empty())
    }

    /// # Errors
    /// `InvalidArgument` if a number is out of range, or ranges are not in ascending order.
    pub(super) fn check(&self) -> Result<()> {
        if let Target::Mass(share) = self.target
            && !(0.0..=1.0).contains(&share)
        {
            let problem = Problem::NumberOutOfRange { min: 0.0, max: 1.0, got: share };
            return Err(InvalidInput::new("target.mass", problem).into());
        }
        if let Some(scale) = self.scale
            && !(scale > 0.0 && scale <= 1e6)
        {
            let problem = Problem::NumberOutOfRange { min: 0.0, max: 1e6, got: scale };
            return Err(InvalidInput::new("scale", problem).into());
        }
        if !(1..=MAX_PAGE).contains(&self.page) {
            return Err(InvalidInput::out_of_range("page", 1, MAX_PAGE, self.page).into());
        }
        let mut end = 0;
        for (at, range) in self.excluded.iter().enumerate() {
            if range.start < end || range.end < range.start {
                let got = format!("{range:?} after {end}");
                let expected = "ranges in ascending order, without overlap";
                return Err(InvalidInput::mismatch(format!("excluded[{at}]"), expected, got).into());
            }
            end = range.end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_what_is_not_excluded() {
        let searched = |excluded: &[Range<usize>], len| -> Vec<usize> {
            let request = Request::new(Target::Keys(1)).excluding(excluded);
            request.check().unwrap();
            let keys: Vec<usize> = request.searched(len).flatten().collect();
            let is_excluded = |key: &usize| excluded.iter().any(|range| range.contains(key));
            assert!(keys.iter().copied().eq((0..len).filter(|key| !is_excluded(key))));
            keys
        };
        assert_eq!(searched(&[], 3), [0, 1, 2]);
        assert_eq!(searched(&[0..4, 8..12], 10), [4, 5, 6, 7]);
        assert_eq!(searched(&[2..3, 3..3, 5..30], 10), [0, 1, 3, 4]);
        assert!(searched(&[0..6, 6..10], 10).is_empty());
        assert!(searched(&[], 0).is_empty());
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        let refused = |request: Request<'_>| request.check().unwrap_err().to_string();
        let keys = Request::new(Target::Keys(usize::MAX));
        assert!(keys.check().is_ok());
        assert_eq!(
            refused(Request::new(Target::Mass(1.5))),
            "target.mass: expected 0 to 1, got 1.5"
        );
        assert!(refused(Request::new(Target::Mass(f32::NAN))).contains("got NaN"));
        assert!(refused(keys.scale(0.0)).starts_with("scale"));
        assert!(refused(keys.scale(f32::INFINITY)).starts_with("scale"));
        assert!(refused(keys.pages_of(0)).starts_with("page"));
        let overlap = [0..4, 3..9];
        assert!(refused(keys.excluding(&overlap)).starts_with("excluded[1]"));
        let reversed = [Range { start: 4, end: 2 }, 5..6];
        assert!(refused(keys.excluding(&reversed)).starts_with("excluded[0]"));
    }
}
