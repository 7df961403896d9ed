//! Softmax over parts of the tokens, merged by their log-sum-exp (FlashAttention, arXiv 2205.14135,
//! section 3.1; RetrievalAttention, section 3.3).

/// Attention over some tokens: Σ exp(l) · v / Σ exp(l) with logits l and values v, and ln Σ exp(l)
/// as the weight of the part.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    /// Σ exp(l − most) · v.
    weighted: Vec<f32>,
    /// Σ exp(l − most).
    sum: f64,
    /// Largest logit; −∞ without tokens.
    most: f32,
}

impl Partial {
    /// Attention over no tokens, whose values have this dimension.
    pub fn new(dimension: usize) -> Self {
        Self { weighted: vec![0.0; dimension], sum: 0.0, most: f32::NEG_INFINITY }
    }

    /// A part that was computed elsewhere: its output and ln Σ exp(l), −∞ for no tokens.
    pub fn from_output(output: Vec<f32>, log_sum_exp: f32) -> Self {
        let sum = if log_sum_exp == f32::NEG_INFINITY { 0.0 } else { 1.0 };
        Self { weighted: output, sum, most: log_sum_exp }
    }

    /// Removes all tokens; later values have this dimension.
    pub fn reset(&mut self, dimension: usize) {
        self.weighted.clear();
        self.weighted.resize(dimension, 0.0);
        (self.sum, self.most) = (0.0, f32::NEG_INFINITY);
    }

    /// Makes `most` the reference of all weights, if it is larger than those so far. Logits pushed
    /// later should not exceed it.
    pub fn raise(&mut self, most: f32) {
        if most <= self.most {
            return;
        }
        // Zero if there were no tokens.
        let factor = (self.most - most).exp();
        self.weighted.iter_mut().for_each(|value| *value *= factor);
        self.sum *= f64::from(factor);
        self.most = most;
    }

    /// Adds a token; a logit of −∞ adds nothing.
    ///
    /// # Panics
    /// If the value has another dimension.
    pub fn push(&mut self, logit: f32, value: &[f32]) {
        assert_eq!(value.len(), self.weighted.len(), "values of one dimension");
        if logit == f32::NEG_INFINITY {
            return;
        }
        self.raise(logit);
        let weight = (logit - self.most).exp();
        self.sum += f64::from(weight);
        self.weighted.iter_mut().zip(value).for_each(|(sum, &value)| *sum += weight * value);
    }

    /// Adds the tokens of another part.
    ///
    /// # Panics
    /// If its values have another dimension.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(other.weighted.len(), self.weighted.len(), "values of one dimension");
        if other.most == f32::NEG_INFINITY {
            return;
        }
        self.raise(other.most);
        let factor = (other.most - self.most).exp();
        self.sum += f64::from(factor) * other.sum;
        let both = self.weighted.iter_mut().zip(&other.weighted);
        both.for_each(|(sum, &value)| *sum += factor * value);
    }

    /// ln Σ exp(l); −∞ without tokens.
    pub fn log_sum_exp(&self) -> f32 {
        self.most + self.sum.ln() as f32
    }

    /// Writes Σ exp(l) · v / Σ exp(l) to `out`; zeros without tokens.
    ///
    /// # Panics
    /// If `out` has another dimension than the values.
    pub fn write(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.weighted.len(), "values of one dimension");
        let factor = if self.sum > 0.0 { (1.0 / self.sum) as f32 } else { 0.0 };
        out.iter_mut().zip(&self.weighted).for_each(|(out, &value)| *out = factor * value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Softmax in double precision: the output, and ln Σ exp(l).
    fn softmax(tokens: &[(f32, [f32; 3])]) -> ([f64; 3], f64) {
        let most = tokens.iter().fold(f64::NEG_INFINITY, |most, token| most.max(token.0.into()));
        let weight = |logit: f32| (f64::from(logit) - most).exp();
        let sum: f64 = tokens.iter().map(|&(logit, _)| weight(logit)).sum();
        let of = |at: usize| {
            tokens.iter().map(|(logit, value)| weight(*logit) * f64::from(value[at])).sum::<f64>()
        };
        (std::array::from_fn(|at| of(at) / sum), most + sum.ln())
    }

    fn partial(tokens: &[(f32, [f32; 3])]) -> Partial {
        let mut partial = Partial::new(3);
        tokens.iter().for_each(|(logit, value)| partial.push(*logit, value));
        partial
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_softmax_over_all(
            tokens in prop::collection::vec((-90.0_f32..90.0, [-2.0_f32..2.0, -2.0..2.0, -2.0..2.0]), 1..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            elsewhere in any::<bool>(),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(tokens.len())).collect();
            cuts.extend([0, tokens.len()]);
            cuts.sort_unstable();
            let mut merged = Partial::new(3);
            for pair in cuts.windows(2) {
                let mut part = partial(&tokens[pair[0]..pair[1]]);
                if elsewhere {
                    let mut output = vec![0.0; 3];
                    part.write(&mut output);
                    part = Partial::from_output(output, part.log_sum_exp());
                }
                merged.merge(&part);
            }
            let (expected, log_sum_exp) = softmax(&tokens);
            let mut output = [0.0; 3];
            merged.write(&mut output);
            for (got, expected) in output.iter().zip(expected) {
                prop_assert!((f64::from(*got) - expected).abs() < 2e-5, "{got} {expected}");
            }
            prop_assert!((f64::from(merged.log_sum_exp()) - log_sum_exp).abs() < 2e-5);
        }
    }

    #[test]
    fn no_tokens_weigh_nothing() {
        let mut empty = Partial::new(3);
        assert_eq!(empty.log_sum_exp(), f32::NEG_INFINITY);
        let token = partial(&[(3.0, [1.0, 2.0, 3.0])]);
        for part in [Partial::new(3), Partial::from_output(vec![7.0; 3], f32::NEG_INFINITY)] {
            let mut merged = token.clone();
            merged.merge(&part);
            assert_eq!(merged, token);
        }
        empty.push(f32::NEG_INFINITY, &[1.0; 3]);
        let mut output = [7.0; 3];
        empty.write(&mut output);
        assert_eq!(output, [0.0; 3]);
        empty.merge(&token);
        empty.write(&mut output);
        assert_eq!(output, [1.0, 2.0, 3.0]);
        empty.reset(1);
        assert_eq!(empty, Partial::new(1));
    }
}
