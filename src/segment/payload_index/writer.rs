//! Writes the payload index of a new segment.

use std::collections::BTreeMap;

use lanner_storage::{FileEntry, SectionWriter};
use roaring::RoaringBitmap;

use super::parts;
use crate::error::{Error, Result};
use crate::field::{advance, bitmap_bytes, finish};
use crate::model::{DeclaredPath, Scalar};
use crate::segment::builder::{BuildPlan, BuildSource};
use crate::segment::sections;

/// Writes the values of the sources' live rows at the declared paths.
pub(in crate::segment) fn write_payload_index(
    plan: &BuildPlan<'_>,
    folder: &str,
    sources: &[BuildSource],
) -> Result<FileEntry> {
    let name = sections::PAYLOAD_INDEX_FILE.to_owned();
    let mut writer = SectionWriter::create(plan.directory, &format!("{folder}/{name}"))?;
    let paths = serde_json::to_vec(&plan.config.payload)
        .map_err(|error| Error::Internal(format!("cannot encode payload paths: {error}")))?;
    writer.write_section(sections::PATHS, &paths)?;
    for (index, path) in plan.config.declared_paths().enumerate() {
        advance(plan.progress, 0)?;
        let column = Collected::from_sources(&path, sources)?;
        PathWriter { writer: &mut writer, index }.write(column)?;
    }
    finish(writer, name)
}

/// The values at one path, in the order of the new rows.
struct Collected {
    /// Row of each value; the values are numbers, or provisional ordinals of terms.
    rows: Vec<u32>,
    values: Vec<i64>,
    /// Terms with their provisional ordinals.
    terms: Option<BTreeMap<Box<str>, u32>>,
    nulls: RoaringBitmap,
    row_count: u32,
}

impl Collected {
    fn from_sources(path: &DeclaredPath, sources: &[BuildSource]) -> Result<Self> {
        let terms = path.payload_type.is_terms().then(BTreeMap::new);
        let (rows, values, nulls) = (Vec::new(), Vec::new(), RoaringBitmap::new());
        let mut collected = Self { rows, values, terms, nulls, row_count: 0 };
        for source in sources {
            let base = collected.row_count;
            let mut last = (u32::MAX, 0);
            source.reader.visit_path(path, &source.deleted, &mut |row, scalar| {
                if last.0 != row {
                    last = (row, base + source.live().rank(row));
                }
                collected.push(last.1, scalar);
            })?;
            collected.row_count += source.live_rows() as u32;
        }
        Ok(collected)
    }

    fn push(&mut self, row: u32, scalar: Option<Scalar<'_>>) {
        let value = match (scalar, &mut self.terms) {
            (None, _) => {
                self.nulls.insert(row);
                return;
            }
            (Some(Scalar::Number(number)), _) => number,
            (Some(Scalar::Term(term)), Some(terms)) => {
                let next = terms.len() as u32;
                match terms.get(term) {
                    Some(&ordinal) => ordinal.into(),
                    None => terms.entry(term.into()).or_insert(next).to_owned().into(),
                }
            }
            // Only term paths have terms.
            (Some(Scalar::Term(_)), None) => return,
        };
        self.rows.push(row);
        self.values.push(value);
    }

    /// Start of each row's values.
    fn offsets(&self) -> Vec<u64> {
        let mut offsets = vec![0_u64; self.row_count as usize + 1];
        for &row in &self.rows {
            offsets[row as usize + 1] += 1;
        }
        let mut end = 0;
        for offset in &mut offsets {
            end += *offset;
            *offset = end;
        }
        offsets
    }
}

struct PathWriter<'w> {
    writer: &'w mut SectionWriter,
    index: usize,
}

impl PathWriter<'_> {
    fn write(&mut self, mut column: Collected) -> Result<()> {
        let present: RoaringBitmap = column.rows.iter().copied().collect();
        self.section(parts::PRESENT, &bitmap_bytes(&present)?)?;
        self.section(parts::NULLS, &bitmap_bytes(&column.nulls)?)?;
        self.section(parts::OFFSETS, bytemuck::cast_slice(&column.offsets()))?;
        match column.terms.take() {
            Some(terms) => self.write_terms(&column, terms),
            None => self.write_numbers(&column),
        }
    }

    fn write_numbers(&mut self, column: &Collected) -> Result<()> {
        self.section(parts::VALUES, bytemuck::cast_slice(&column.values))?;
        let pairs = column.values.iter().copied().zip(column.rows.iter().copied());
        let mut sorted: Vec<(i64, u32)> = pairs.collect();
        sorted.sort_unstable();
        let (values, rows): (Vec<i64>, Vec<u32>) = sorted.into_iter().unzip();
        self.section(parts::SORTED_VALUES, bytemuck::cast_slice(&values))?;
        self.section(parts::SORTED_ROWS, bytemuck::cast_slice(&rows))
    }

    fn write_terms(&mut self, column: &Collected, terms: BTreeMap<Box<str>, u32>) -> Result<()> {
        let mut ordinals = vec![0_u32; terms.len()];
        let (mut texts, mut text_offsets) = (String::new(), vec![0_u64]);
        for (ordinal, (term, provisional)) in (0..).zip(terms) {
            ordinals[provisional as usize] = ordinal;
            texts.push_str(&term);
            text_offsets.push(texts.len() as u64);
        }
        // Within a row, ordinals ascend, because its terms do.
        let values: Vec<u32> =
            column.values.iter().map(|&provisional| ordinals[provisional as usize]).collect();
        self.section(parts::VALUES, bytemuck::cast_slice(&values))?;
        self.section(parts::TERM_OFFSETS, bytemuck::cast_slice(&text_offsets))?;
        self.section(parts::TERMS, texts.as_bytes())?;

        let mut pairs: Vec<(u32, u32)> =
            values.into_iter().zip(column.rows.iter().copied()).collect();
        pairs.sort_unstable();
        let (mut term_rows, mut bitmap_offsets) = (vec![0_u32; ordinals.len()], vec![0_u64]);
        self.writer.begin_section(&sections::path_section(self.index, parts::BITMAPS))?;
        for rows_of_term in pairs.chunk_by(|a, b| a.0 == b.0) {
            let rows: RoaringBitmap = rows_of_term.iter().map(|&(_, row)| row).collect();
            let bytes = bitmap_bytes(&rows)?;
            self.writer.write(&bytes)?;
            term_rows[rows_of_term[0].0 as usize] = rows.len() as u32;
            bitmap_offsets.push(bitmap_offsets[bitmap_offsets.len() - 1] + bytes.len() as u64);
        }
        self.writer.end_section()?;
        self.section(parts::TERM_ROWS, bytemuck::cast_slice(&term_rows))?;
        self.section(parts::BITMAP_OFFSETS, bytemuck::cast_slice(&bitmap_offsets))
    }

    fn section(&mut self, part: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.writer.write_section(&sections::path_section(self.index, part), bytes)?)
    }
}
