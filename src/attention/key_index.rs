//! The index of the keys of one head.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::part::{Frame, Part};
use super::rows::{Rows, check_values};
use crate::Result;
use crate::index::{QueryListSettings, QueryLists};
use crate::kernels::codes::{CodeBits, CodeKernel};
use crate::model::{InvalidInput, Problem};
use crate::quantization::lvq::Lvq;
use crate::quantization::stratified;

/// Most keys, and most queries, that lists are learned from.
const MAX_SAMPLE: usize = 8_192;
/// Most lists. More would be more accurate, and take longer to build and to choose from.
const MAX_LISTS: usize = 512;
/// Training queries per list.
const QUERIES_PER_LIST: usize = 16;
/// Fewest queries to learn lists from.
const MIN_QUERIES: usize = 4 * QUERIES_PER_LIST;
/// Fewest keys for which lists are learned: the codes of fewer are scored in tens of microseconds.
const MIN_KEYS: usize = 4_096;
/// Keys that the mass of unlisted keys is estimated from.
const MASS_SAMPLE: usize = 512;
/// Most keys.
const MAX_KEYS: usize = 1 << 31;

/// Settings of [`KeyIndex::build`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyIndexSettings {
    /// Share of the keys that a search scores, in 0.0005..=1: the larger, the better the recall.
    pub share: f32,
    /// Number of lists, 1..=65,536; `None` chooses one for every 16 queries, up to 512.
    pub lists: Option<usize>,
    /// Seed of the samples and the initial centroids.
    pub seed: u64,
}

impl Default for KeyIndexSettings {
    fn default() -> Self {
        Self { share: 0.03, lists: None, seed: 1 }
    }
}

impl KeyIndexSettings {
    fn check(&self) -> Result<()> {
        if !(0.0005..=1.0).contains(&self.share) {
            let problem = Problem::NumberOutOfRange { min: 0.0005, max: 1.0, got: self.share };
            return Err(InvalidInput::new("share", problem).into());
        }
        match self.lists {
            Some(lists) if !(1..=1 << 16).contains(&lists) => {
                Err(InvalidInput::out_of_range("lists", 1, 1 << 16, lists).into())
            }
            _ => Ok(()),
        }
    }
}

/// Finds the keys of one layer and KV head that have the largest products with a query.
///
/// Holds an 8-bit code of each key (LVQ-8) and, for each of up to 512 cells of a partition of the
/// queries, the list of the keys that queries of the cell may need. A search scores the codes of
/// the keys of one list. Under 4,096 keys or 64 queries there are no lists, and all codes are
/// scored. The keys themselves are borrowed while the index is built and not kept.
///
/// All methods take `&self`: keys may be appended while other threads search, which then see either
/// all or none of the keys of an append. Searches wait for an append only while it copies finished
/// codes.
#[derive(Debug)]
pub struct KeyIndex {
    frame: Arc<Frame>,
    /// In the order of their keys. Those shared with a fork are not changed.
    parts: RwLock<Vec<Arc<Part>>>,
}

impl KeyIndex {
    /// Builds an index of keys, shape [n, d], from a sample of queries, shape [m, d]: those of the
    /// prefill, of all query heads that read this KV head. Runs on the calling thread.
    ///
    /// # Errors
    /// `InvalidArgument` if settings are out of range, queries differ from the keys in dimension,
    /// a value is not finite or exceeds 10¹⁵ in magnitude, or there are more than 2³¹ keys.
    pub fn build(keys: Rows<'_>, queries: Rows<'_>, settings: KeyIndexSettings) -> Result<Self> {
        settings.check()?;
        let dimension = keys.dimension();
        queries.check_dimension("queries", dimension)?;
        if keys.len() > MAX_KEYS {
            return Err(InvalidInput::out_of_range("keys", 0, MAX_KEYS, keys.len()).into());
        }
        let mut sampled = sample("keys", &keys, settings.seed)?;
        let learned = sample("queries", &queries, settings.seed)?;
        let center = mean(&sampled, dimension);
        let mut lists = None;
        if keys.len() >= MIN_KEYS && queries.len() >= MIN_QUERIES {
            for key in sampled.chunks_exact_mut(dimension) {
                key.iter_mut().zip(&center).for_each(|(value, mean)| *value -= mean);
            }
            let most = learned.len() / dimension;
            let count = (most / QUERIES_PER_LIST).min(MAX_LISTS);
            let count = settings.lists.map_or(count, |lists| lists.min(most));
            let settings =
                QueryListSettings { lists: count, share: settings.share, seed: settings.seed };
            lists = Some(QueryLists::train(&learned, &sampled, dimension, settings));
        }
        let frame = Frame {
            center,
            lvq: Lvq::new(CodeBits::Eight, dimension, false),
            kernel: CodeKernel::detect(),
            lists,
            // Odd, so that no alignment of the text is sampled alone.
            sample_stride: (keys.len() / MASS_SAMPLE) as u32 | 1,
        };
        let mut part = frame.encode(&keys)?;
        part.lists.iter_mut().for_each(Vec::shrink_to_fit);
        Ok(Self { frame: Arc::new(frame), parts: RwLock::new(vec![Arc::new(part)]) })
    }

    /// Appends keys, shape [n, d]; their ids follow those of the keys before. Nothing is appended
    /// if there is an error.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn append(&self, keys: Rows<'_>) -> Result<()> {
        keys.check_dimension("keys", self.dimension())?;
        let mut added = self.frame.encode(&keys)?;
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        let len = len_of(&parts);
        if len + keys.len() > MAX_KEYS {
            return Err(InvalidInput::out_of_range("keys", 0, MAX_KEYS - len, keys.len()).into());
        }
        // A part that a fork shares stays as it is, and a new one begins.
        match parts.last_mut().and_then(Arc::get_mut) {
            Some(last) => last.extend(added, self.frame.lvq.layout()),
            None => {
                added.first = len as u32;
                parts.push(Arc::new(added));
            }
        }
        Ok(())
    }

    /// An index of the same keys, for another continuation of a shared prefix. Shares the memory of
    /// the keys so far; keys appended to either are not seen by the other.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { frame: Arc::clone(&self.frame), parts: RwLock::new(self.parts().clone()) }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        len_of(&self.parts())
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// d, the number of elements of a key.
    pub fn dimension(&self) -> usize {
        self.frame.dimension()
    }

    /// Number of lists; 0 if all keys are scored.
    pub fn lists(&self) -> usize {
        self.frame.lists.as_ref().map_or(0, QueryLists::count)
    }

    /// Bytes of memory for codes and lists, including those shared with forks.
    pub fn memory_bytes(&self) -> usize {
        self.parts().iter().map(|part| part.bytes()).sum()
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(super) fn parts(&self) -> RwLockReadGuard<'_, Vec<Arc<Part>>> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn len_of(parts: &[Arc<Part>]) -> usize {
    parts.last().map_or(0, |part| part.first as usize + part.len as usize)
}

/// Up to [`MAX_SAMPLE`] rows, spread over all.
fn sample(path: &str, rows: &Rows<'_>, seed: u64) -> Result<Vec<f32>> {
    let chosen = stratified(rows.len() as u64, MAX_SAMPLE as u64, seed);
    let sampled = rows.gather(chosen.iter().map(|&row| row as usize));
    for (&row, values) in chosen.iter().zip(sampled.chunks_exact(rows.dimension())) {
        check_values(path, row as usize, values)?;
    }
    Ok(sampled)
}

/// The mean of rows; zero if there are none.
fn mean(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; dimension];
    for row in rows.chunks_exact(dimension) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (rows.len() / dimension).max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}
