//! Centroid lists: the centroids nearest to the tokens of each row of a multi field, scanned for
//! candidates.

use std::ops::Range;

use lanner_storage::{Section, SectionFile, SectionWriter};

use crate::error::Result;
use crate::field::check_offsets;
use crate::field::vectors::codes::writer::CodedBlock;
use crate::field::vectors::sections;
use crate::multivector::CentroidQuery;
use crate::quantization::Centroids;

/// Centroid lists of a sealed segment, in the file of its primary codes.
#[derive(Debug)]
pub struct CentroidLists {
    lists: Section<u16>,
    offsets: Section<u64>,
}

impl CentroidLists {
    /// Reads the lists of a file, if there are any, and checks offsets and centroid numbers.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the damaged section.
    pub fn open(file: &SectionFile, rows: usize, centroids: usize) -> Result<Option<Self>> {
        if !file.has(sections::CENTROID_LISTS) {
            return Ok(None);
        }
        let lists = file.find_numbers::<u16>(sections::CENTROID_LISTS, None)?;
        let listed = file.numbers(lists);
        let end = listed.len() as u64;
        let offsets = check_offsets(file, sections::CENTROID_LIST_OFFSETS, rows, end)?;
        if listed.iter().any(|&centroid| usize::from(centroid) >= centroids) {
            let detail = format!("a centroid that is none of {centroids}");
            return Err(file.corrupted(sections::CENTROID_LISTS, detail).into());
        }
        Ok(Some(Self { lists, offsets }))
    }

    /// Scores rows; higher is better.
    ///
    /// # Panics
    /// If a row does not exist, or `scores` and `rows` differ in length.
    pub fn score(
        &self,
        file: &SectionFile,
        query: &CentroidQuery,
        rows: impl ExactSizeIterator<Item = u32>,
        scores: &mut [f32],
    ) {
        assert_eq!(rows.len(), scores.len(), "a score a row");
        let (lists, offsets) = (file.numbers(self.lists), file.numbers(self.offsets));
        for (row, score) in rows.zip(scores) {
            let row = row as usize;
            *score = query.score(&lists[offsets[row] as usize..offsets[row + 1] as usize]);
        }
    }

    /// Mean size of a row's list, in bytes.
    pub fn row_bytes(&self, file: &SectionFile, rows: u32) -> usize {
        file.bytes(self.lists).len().div_ceil(rows.max(1) as usize)
    }

    /// Verifies the checksums of the bytes that a scan of these rows reads.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    pub fn check(&self, file: &SectionFile, rows: Range<u32>) -> Result<()> {
        let offsets = file.numbers(self.offsets);
        let at = |row: u32| offsets[row as usize] as usize * size_of::<u16>();
        file.checked(self.lists, at(rows.start)..at(rows.end))?;
        Ok(())
    }
}

/// Centroid lists under construction.
pub struct NewLists<'c> {
    centroids: &'c Centroids,
    lists: Vec<u16>,
    offsets: Vec<u64>,
}

impl<'c> NewLists<'c> {
    pub fn new(centroids: &'c Centroids) -> Self {
        Self { centroids, lists: Vec::new(), offsets: vec![0] }
    }

    /// Adds the rows of a block, with the centroids nearest to all vectors.
    pub fn add(&mut self, block: &CodedBlock, nearest: &[u16]) {
        let mut start = 0;
        let mut distinct = Vec::new();
        for row in 0..block.rows() {
            let end = start + block.row(row).len() / self.centroids.dimension();
            distinct.clear();
            distinct.extend_from_slice(&nearest[start..end]);
            distinct.sort_unstable();
            distinct.dedup();
            self.lists.extend_from_slice(&distinct);
            self.offsets.push(self.lists.len() as u64);
            start = end;
        }
    }

    pub fn finish(&self, writer: &mut SectionWriter) -> Result<()> {
        writer.write_section(sections::CENTROID_LISTS, bytemuck::cast_slice(&self.lists))?;
        let offsets = bytemuck::cast_slice(&self.offsets);
        Ok(writer.write_section(sections::CENTROID_LIST_OFFSETS, offsets)?)
    }
}

#[cfg(test)]
mod tests {
    use lanner_storage::LocalDirectory;

    use super::*;
    use crate::ErrorKind;

    const ROWS: usize = 3;

    fn open(lists: &[u16], offsets: &[u64]) -> Result<(SectionFile, Option<CentroidLists>)> {
        let folder = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(folder.path());
        let mut writer = SectionWriter::create(&directory, "codes.sec").unwrap();
        let (lists, offsets) = (bytemuck::cast_slice(lists), bytemuck::cast_slice(offsets));
        writer.write_section(sections::CENTROID_LISTS, lists).unwrap();
        writer.write_section(sections::CENTROID_LIST_OFFSETS, offsets).unwrap();
        writer.finish().unwrap();
        let file = SectionFile::open(&directory, "codes.sec").unwrap();
        let lists = CentroidLists::open(&file, ROWS, 4)?;
        Ok((file, lists))
    }

    #[test]
    fn rows_are_scored_by_their_lists_in_any_order() {
        let (file, lists) = open(&[0, 2, 3], &[0, 2, 2, 3]).unwrap();
        let lists = lists.unwrap();
        let centroids = Centroids::from_values(&[1.0, 0.5, -1.0, 0.25], 1).unwrap();
        let query = CentroidQuery::new(&centroids, &[2.0]);
        let mut scores = [0.0; ROWS];
        lists.score(&file, &query, [2, 0, 1].into_iter(), &mut scores);
        assert!((scores[0] - 0.5).abs() < 1e-3 && (scores[1] - 2.0).abs() < 1e-3, "{scores:?}");
        assert_eq!(scores[2], f32::NEG_INFINITY, "a row without vectors");
        assert_eq!(lists.row_bytes(&file, ROWS as u32), 2);
        lists.check(&file, 0..3).unwrap();
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        for (lists, offsets, named) in [
            (
                &[0, 4][..],
                &[0, 1, 1, 2][..],
                "section `centroid_lists`: a centroid that is none of 4",
            ),
            (&[0, 1], &[0, 1, 2], "section `centroid_list_offsets`"),
            (&[0, 1], &[0, 2, 1, 2], "section `centroid_list_offsets`"),
            (&[0, 1], &[0, 1, 2, 3], "section `centroid_list_offsets`"),
        ] {
            let error = open(lists, offsets).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{lists:?} {offsets:?}");
            assert!(error.to_string().contains(named), "{lists:?} {offsets:?}: {error}");
        }
    }
}
