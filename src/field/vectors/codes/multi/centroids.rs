//! Centroid lists: the centroids nearest to the tokens of each row of a multi field, scanned for
//! candidates.

use std::ops::Range;

use lanner_storage::{Section, SectionFile, SectionWriter};

use crate::error::Result;
use crate::field::check_offsets;
use crate::field::vectors::codes::writer::CodedBlock;
use crate::field::vectors::sections;
use crate::kernels;
use crate::multivector::{CentroidQuery, Probes};
use crate::quantization::Centroids;

/// Centroid lists of a sealed segment, in the file of its primary codes.
#[derive(Debug)]
pub struct CentroidLists {
    lists: Section<u16>,
    offsets: Section<u64>,
    inverted: Option<Inverted>,
}

/// For each centroid, the rows that it is listed for.
#[derive(Debug)]
struct Inverted {
    rows: Section<u32>,
    offsets: Section<u64>,
}

/// Candidates of a query: the rows with a centroid that it probes.
#[derive(Debug, Default)]
pub struct Probed {
    /// Ascending.
    pub rows: Vec<u32>,
    /// Number of entries of lists that were read.
    pub entries: u64,
}

/// Segments with fewer rows are scanned: lists would not save much.
const LEAST_ROWS: usize = 16_384;
/// Rows whose lists are prefetched ahead, and number of centroids.
const ROWS_AHEAD: usize = 16;
const PREFETCHED: usize = 64;

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
        let inverted = Inverted::open(file, rows, centroids)?;
        Ok(Some(Self { lists, offsets, inverted }))
    }

    /// Finds the rows with a centroid that a query probes; none without lists of rows.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    pub fn probe(
        &self,
        file: &SectionFile,
        query: &CentroidQuery,
        probes: &Probes,
    ) -> Result<Probed> {
        let Some(inverted) = &self.inverted else { return Ok(Probed::default()) };
        let (rows, offsets) = (file.numbers(inverted.rows), file.numbers(inverted.offsets));
        let mut found = vec![0_u64; (file.numbers(self.offsets).len() - 1).div_ceil(64)];
        let mut entries = 0;
        for centroid in query.probed(probes) {
            let centroid = usize::from(centroid);
            let range = offsets[centroid] as usize..offsets[centroid + 1] as usize;
            let bytes = range.start * size_of::<u32>()..range.end * size_of::<u32>();
            file.checked(inverted.rows, bytes)?;
            entries += range.len() as u64;
            for &row in &rows[range] {
                found[row as usize / 64] |= 1 << (row % 64);
            }
        }
        let mut rows =
            Vec::with_capacity(found.iter().map(|word| word.count_ones() as usize).sum());
        for (number, mut word) in (0..).zip(found) {
            while word != 0 {
                rows.push(number * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        Ok(Probed { rows, entries })
    }

    /// Number of different tokens of a query that reach a row; see [`CentroidQuery::reached`].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reached(
        &self,
        file: &SectionFile,
        query: &CentroidQuery,
        probes: &Probes,
        row: u32,
    ) -> u32 {
        query.reached(probes, self.of(file, row))
    }

    /// The centroids of a row.
    fn of<'f>(&self, file: &'f SectionFile, row: u32) -> &'f [u16] {
        of_row(file.numbers(self.lists), file.numbers(self.offsets), row)
    }

    /// Whether there are lists of rows.
    pub fn has_rows(&self) -> bool {
        self.inverted.is_some()
    }

    /// Scores rows; higher is better.
    ///
    /// # Panics
    /// If a row does not exist, or `scores` and `rows` differ in length.
    pub fn score(
        &self,
        file: &SectionFile,
        query: &CentroidQuery,
        rows: impl ExactSizeIterator<Item = u32> + Clone,
        scores: &mut [f32],
    ) {
        assert_eq!(rows.len(), scores.len(), "a score a row");
        let (lists, offsets) = (file.numbers(self.lists), file.numbers(self.offsets));
        // Lists of rows that do not follow each other are in no cache.
        let mut ahead = rows.clone().skip(ROWS_AHEAD);
        let list = |row: u32| {
            if let Some(row) = ahead.next() {
                kernels::prefetch(lists, offsets[row as usize] as usize, PREFETCHED);
            }
            of_row(lists, offsets, row)
        };
        query.score(rows.map(list), scores);
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

/// The list of a row.
fn of_row<'l>(lists: &'l [u16], offsets: &[u64], row: u32) -> &'l [u16] {
    &lists[offsets[row as usize] as usize..offsets[row as usize + 1] as usize]
}

impl Inverted {
    /// Reads the lists of rows of a file, if there are any, and checks offsets and rows.
    fn open(file: &SectionFile, rows: usize, centroids: usize) -> Result<Option<Self>> {
        if !file.has(sections::CENTROID_ROWS) {
            return Ok(None);
        }
        let found = file.find_numbers::<u32>(sections::CENTROID_ROWS, None)?;
        let listed = file.numbers(found);
        let end = listed.len() as u64;
        let offsets = check_offsets(file, sections::CENTROID_ROW_OFFSETS, centroids, end)?;
        if listed.iter().any(|&row| row as usize >= rows) {
            let detail = format!("a row that is none of {rows}");
            return Err(file.corrupted(sections::CENTROID_ROWS, detail).into());
        }
        Ok(Some(Self { rows: found, offsets }))
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
        writer.write_section(sections::CENTROID_LIST_OFFSETS, offsets)?;
        if self.offsets.len() <= LEAST_ROWS {
            return Ok(());
        }
        let (rows, offsets) = self.inverted();
        writer.write_section(sections::CENTROID_ROWS, bytemuck::cast_slice(&rows))?;
        let offsets = bytemuck::cast_slice(&offsets);
        Ok(writer.write_section(sections::CENTROID_ROW_OFFSETS, offsets)?)
    }

    /// The rows of each centroid, and where they start.
    fn inverted(&self) -> (Vec<u32>, Vec<u64>) {
        let mut offsets = vec![0_u64; self.centroids.count() + 1];
        self.lists.iter().for_each(|&centroid| offsets[usize::from(centroid) + 1] += 1);
        for centroid in 1..offsets.len() {
            offsets[centroid] += offsets[centroid - 1];
        }
        let (mut next, mut rows) = (offsets.clone(), vec![0; self.lists.len()]);
        for (row, range) in (0..).zip(self.offsets.windows(2)) {
            for &centroid in &self.lists[range[0] as usize..range[1] as usize] {
                let next = &mut next[usize::from(centroid)];
                rows[*next as usize] = row;
                *next += 1;
            }
        }
        (rows, offsets)
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
    fn rows_of_probed_centroids_are_candidates() {
        let values: Vec<f32> =
            (0..1200).map(|at| ((at * 7919) % 2003) as f32 / 1000.0 - 1.0).collect();
        let centroids = Centroids::from_values(&values, 3).unwrap();
        let rows = LEAST_ROWS + 5;
        let mut new = NewLists::new(&centroids);
        for row in 0..rows {
            let mut list = [row * 31 % 400, row * 17 % 400, 7].map(|centroid| centroid as u16);
            list.sort_unstable();
            let mut list = list.to_vec();
            list.dedup();
            new.lists.extend(&list[..if row == 3 { 0 } else { list.len() }]);
            new.offsets.push(new.lists.len() as u64);
        }
        let folder = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(folder.path());
        let mut writer = SectionWriter::create(&directory, "codes.sec").unwrap();
        new.finish(&mut writer).unwrap();
        writer.finish().unwrap();
        let file = SectionFile::open(&directory, "codes.sec").unwrap();
        let lists = CentroidLists::open(&file, rows, 400).unwrap().unwrap();
        assert!(lists.has_rows());
        let query =
            CentroidQuery::new(&centroids, &[0.3, -0.2, 0.9, -0.8, 0.1, 0.1, 0.0, 0.7, -0.5]);
        let probes = query.probes().unwrap();
        let Probed { rows: found, entries } = lists.probe(&file, &query, probes).unwrap();
        let probed: Vec<u16> = query.probed(probes).collect();
        let has =
            |row: &u32| lists.of(&file, *row).iter().any(|centroid| probed.contains(centroid));
        assert_eq!(found, (0..rows as u32).filter(has).collect::<Vec<_>>());
        assert!(entries >= found.len() as u64);
        for row in [0, 3, 100] {
            let reached = lists.reached(&file, &query, probes, row);
            assert_eq!(reached > 0, found.contains(&row), "{row}");
        }
        let few = CentroidQuery::new(&centroids, &[0.3, -0.2, 0.9]);
        assert!(few.probes().is_none());
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
