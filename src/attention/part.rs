//! Codes of consecutive keys, and the lists that name them.

use super::rows::{Rows, check_values};
use crate::Result;
use crate::index::QueryLists;
use crate::kernels::codes::{CodeKernel, CodeLayout};
use crate::quantization::lvq::Lvq;

/// Keys to encode at once.
const BLOCK: usize = 256;

/// What all parts of an index share.
#[derive(Debug)]
pub(super) struct Frame {
    /// μ, subtracted from keys.
    pub center: Vec<f32>,
    /// The code of a key.
    pub lvq: Lvq,
    /// Scores codes.
    pub kernel: CodeKernel,
    /// The lists; without them, all codes are scored.
    pub lists: Option<QueryLists>,
    /// The mass of keys in no list is estimated from every key whose id is a multiple of this.
    pub sample_stride: u32,
}

/// Consecutive keys.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Id of the first key.
    pub first: u32,
    /// Number of keys.
    pub len: u32,
    /// Codes, followed by the slack that kernels read.
    pub records: Vec<u8>,
    /// Keys of each list, in ascending order, counted from the first of this part.
    pub lists: Vec<Vec<u32>>,
    /// max ‖k − μ‖.
    pub radius: f32,
    /// max ‖k − k̂‖, with k̂ the decoded code.
    pub code_error: f32,
}

impl Frame {
    pub fn dimension(&self) -> usize {
        self.center.len()
    }

    /// A part of these keys, whose first id is set later.
    ///
    /// # Errors
    /// `Problem::NotFinite` or `NumberOutOfRange` at `keys[row]`.
    pub fn encode(&self, keys: &Rows<'_>) -> Result<Part> {
        let lists = self.lists.as_ref().map_or(0, QueryLists::count);
        let layout = self.lvq.layout();
        let records = vec![0; layout.section_bytes(keys.len())];
        let mut part = Part { records, lists: vec![Vec::new(); lists], ..Part::default() };
        let (mut wide, mut codes, mut centred) = (Vec::new(), Vec::new(), Vec::new());
        for start in (0..keys.len()).step_by(BLOCK) {
            centred.clear();
            for row in start..keys.len().min(start + BLOCK) {
                let key = keys.get(row, &mut wide);
                check_values("keys", row, key)?;
                centred.extend(key.iter().zip(&self.center).map(|(value, mean)| value - mean));
            }
            for key in centred.chunks_exact(self.dimension()) {
                let record = &mut part.records[part.len as usize * layout.stride()..];
                self.lvq.encode(key, &mut record[..layout.stride()], &mut codes);
                let error = error_of(key, record, &codes);
                part.code_error = part.code_error.max(error);
                part.radius = part.radius.max(norm(key.iter().copied()));
                part.len += 1;
            }
            let members = &mut part.lists;
            if let Some(lists) = &self.lists {
                lists.assign(&centred, |list, row| members[list].push(start as u32 + row));
            }
        }
        Ok(part)
    }
}

impl Part {
    /// Appends the keys of another part.
    pub fn extend(&mut self, other: Self, layout: &CodeLayout) {
        self.records.truncate(self.len as usize * layout.stride());
        self.records.extend_from_slice(&other.records);
        for (list, more) in self.lists.iter_mut().zip(other.lists) {
            list.extend(more.into_iter().map(|row| self.len + row));
        }
        self.len += other.len;
        self.radius = self.radius.max(other.radius);
        self.code_error = self.code_error.max(other.code_error);
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| list.capacity() * size_of::<u32>()).sum();
        self.records.capacity() + lists + self.lists.capacity() * size_of::<Vec<u32>>()
    }
}

/// ‖k − k̂‖ of a key and its code.
fn error_of(key: &[f32], record: &[u8], codes: &[u8]) -> f32 {
    let range = Lvq::range(record);
    norm(
        key.iter()
            .zip(codes)
            .map(|(value, &code)| value - (range.low + range.step * f32::from(code))),
    )
}

fn norm(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}
