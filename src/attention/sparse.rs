//! Attention over the static tokens and those that a search finds.

use super::KeyIndex;
use super::request::Request;
use super::rows::Rows;
use super::search::{Pass, Rest, Searcher};
use super::softmax::Partial;
use crate::Error;
use crate::Result;
use crate::kernels;
use crate::model::{InvalidInput, Problem};

/// Rows to prefetch ahead of their use.
const AHEAD: usize = 4;

/// Tensors of one KV head.
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    /// Queries of all heads that read this KV head, shape [heads, d].
    pub queries: Rows<'a>,
    /// Keys, shape [n, d]: those of the index, and maybe later ones.
    pub keys: Rows<'a>,
    /// Values, shape [n, v].
    pub values: Rows<'a>,
}

/// The share of the attention, from 0 to 1, that the keys in the output hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coverage {
    /// An estimate: the keys left out are estimated from their codes, and a sample.
    pub estimate: f32,
    /// A lower bound, which always holds. It is close to the truth if all keys were scored, and
    /// mostly far below it if those of a list were.
    pub at_least: f32,
    /// Number of keys whose values were read.
    pub keys: usize,
    /// Number of keys whose codes were scored.
    pub scored: usize,
}

/// The output of [`sparse_attention`], and its memory, which is reused.
#[derive(Debug, Default)]
pub struct Attention {
    output: Vec<f32>,
    dimension: usize,
    log_sum_exp: Vec<f32>,
    coverage: Vec<Coverage>,
    part: Option<Partial>,
    wide: Wide,
    logits: Vec<f32>,
    ids: Vec<usize>,
}

/// What the tokens of a part are read from.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    keys: &'a Rows<'a>,
    values: &'a Rows<'a>,
    scale: f32,
}

/// A row of each tensor in single precision.
#[derive(Debug, Default)]
struct Wide {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Attention {
    /// An empty output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of queries.
    pub fn heads(&self) -> usize {
        self.coverage.len()
    }

    /// Outputs of all queries, shape [heads, v].
    pub fn outputs(&self) -> &[f32] {
        &self.output
    }

    /// Output of a query, shape \[v\].
    ///
    /// # Panics
    /// If there is no such query.
    pub fn output(&self, head: usize) -> &[f32] {
        &self.output[head * self.dimension..][..self.dimension]
    }

    /// ln Σ exp(logit) over the keys in the output of a query, for merging with other parts
    /// ([`Partial::from_output`]). With [`Request::sampling`], an estimate of that over all keys.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn log_sum_exp(&self, head: usize) -> f32 {
        self.log_sum_exp[head]
    }

    /// The share of the attention of a query that its output covers.
    ///
    /// # Panics
    /// If there is no such query.
    pub fn coverage(&self, head: usize) -> Coverage {
        self.coverage[head]
    }

    fn reset(&mut self, heads: usize, dimension: usize) {
        self.dimension = dimension;
        self.output.clear();
        self.output.resize(heads * dimension, 0.0);
        self.log_sum_exp.clear();
        self.coverage.clear();
    }

    /// Adds the tokens with these ids to the part. Each stands for `each` tokens.
    fn attend(&mut self, inputs: Inputs<'_>, each: f64, ids: impl Iterator<Item = usize> + Clone) {
        let Inputs { keys, values, scale } = inputs;
        let more = each.ln() as f32;
        let (Some(part), Wide { query, key, value }) = (&mut self.part, &mut self.wide) else {
            return;
        };
        self.logits.clear();
        let mut ahead = ids.clone().skip(AHEAD);
        self.logits.extend(ids.clone().map(|id| {
            ahead.next().inspect(|&next| keys.prefetch(next));
            scale * kernels::dot(query, keys.get(id, key)) + more
        }));
        // First the largest logit, so that the output is not rescaled token by token.
        part.raise(self.logits.iter().fold(f32::NEG_INFINITY, |most, &logit| most.max(logit)));
        let mut ahead = ids.clone().skip(AHEAD);
        for (id, &logit) in ids.zip(&self.logits) {
            ahead.next().inspect(|&next| values.prefetch(next));
            part.push(logit, values.get(id, value));
        }
    }

    /// Adds a sample of the searched keys that are not among `hits`, in ascending order.
    fn sample(&mut self, inputs: Inputs<'_>, request: &Request<'_>, hits: &[u32]) {
        let searched = || request.searched(inputs.keys.len());
        let left = searched().map(|range| range.len()).sum::<usize>() - hits.len();
        if request.samples() == 0 || left == 0 {
            return;
        }
        let step = left.div_ceil(request.samples());
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let mut hits = hits.iter().map(|&id| id as usize).peekable();
        let unread = searched().flatten().filter(|&id| hits.next_if_eq(&id).is_none());
        ids.extend(unread.skip(step / 2).step_by(step));
        self.attend(inputs, left as f64 / ids.len() as f64, ids.iter().copied());
        self.ids = ids;
    }

    /// Writes the part as the output of the next query.
    fn finish(&mut self) {
        let Some(part) = &self.part else { return };
        let start = self.log_sum_exp.len() * self.dimension;
        part.write(&mut self.output[start..start + self.dimension]);
        self.log_sum_exp.push(part.log_sum_exp());
    }

    /// Reports the tokens of the part as those that the output of the next query covers.
    fn cover(&mut self, keys: usize, scored: usize, rest: Rest) {
        let Some(part) = &self.part else { return };
        let covered = f64::from(part.log_sum_exp());
        let share = |rest: f32| (1.0 / (1.0 + (f64::from(rest) - covered).exp())) as f32;
        self.coverage.push(Coverage {
            estimate: share(rest.estimate),
            at_least: if rest.bound == f32::NEG_INFINITY {
                1.0
            } else {
                share(rest.bound).next_down().max(0.0)
            },
            keys,
            scored,
        });
    }
}

/// Softmax attention of queries over the static tokens, which are the ranges that the request
/// excludes from the search, and the keys that a search of the index finds. Both are computed from
/// the tensors, in single precision, and merged by their log-sum-exp.
///
/// The index may have more keys than the tensors, if another thread appended some: these are not
/// seen. If it has fewer, static ranges must contain the others.
///
/// # Errors
/// As [`KeyIndex::search`], and if the request has pages, shapes do not match, a static range ends
/// beyond the keys, a key is neither static nor in the index, or there is no key to attend to.
pub fn sparse_attention(
    index: &KeyIndex,
    tensors: Tensors<'_>,
    request: &Request<'_>,
    searcher: &mut Searcher,
    output: &mut Attention,
) -> Result<()> {
    let Tensors { queries, keys, values } = tensors;
    output.reset(0, 0);
    request.check()?;
    check(index, &tensors, request)?;
    let pass = Pass { keys: None, limit: keys.len(), with_rest: true };
    searcher.search(index, &queries, request, pass)?;
    output.reset(queries.len(), values.dimension());
    let inputs =
        Inputs { keys: &keys, values: &values, scale: request.scale_for(keys.dimension()) };
    let fixed = || request.excluded().iter().flat_map(Clone::clone);
    for head in 0..queries.len() {
        let Wide { query, key, .. } = &mut output.wide;
        query.clear();
        query.extend_from_slice(queries.get(head, key));
        output.part.get_or_insert_with(|| Partial::new(0)).reset(values.dimension());
        let hits = searcher.head(head);
        output.attend(inputs, 1.0, fixed());
        output.attend(inputs, 1.0, hits.ids.iter().map(|&id| id as usize));
        let count = fixed().count() + hits.ids.len();
        if count + request.samples() == 0 {
            output.reset(0, 0);
            return Err(no_keys());
        }
        let nothing = Rest { estimate: f32::NEG_INFINITY, bound: f32::NEG_INFINITY };
        output.cover(count, hits.scored, hits.rest.unwrap_or(nothing));
        output.sample(inputs, request, hits.ids);
        output.finish();
    }
    Ok(())
}

fn no_keys() -> Error {
    let expected = "at least one key to attend to: a static range, or a budget above 0";
    InvalidInput::new("request", Problem::Missing { expected }).into()
}

fn check(index: &KeyIndex, tensors: &Tensors<'_>, request: &Request<'_>) -> Result<()> {
    let Tensors { keys, values, .. } = tensors;
    keys.check_dimension("keys", index.dimension())?;
    if values.len() != keys.len() {
        let got = format!("{} for {} keys", values.len(), keys.len());
        return Err(InvalidInput::mismatch("values", "a value for each key", got).into());
    }
    if request.page() != 1 {
        return Err(InvalidInput::out_of_range("page", 1, 1, request.page()).into());
    }
    if let Some(last) = request.excluded().last()
        && last.end > keys.len()
    {
        return Err(InvalidInput::out_of_range("excluded", 0, keys.len(), last.end).into());
    }
    let missing = request.searched(keys.len()).find(|range| range.end > index.len());
    match missing {
        Some(range) => {
            let got = format!("{range:?}, and the index has {}", index.len());
            let expected = "keys beyond those of the index to be in a static range";
            Err(InvalidInput::mismatch("excluded", expected, got).into())
        }
        None => Ok(()),
    }
}
