//! The sealed segment: read-only files, mapped into memory.
//!
//! Opening checks every file against the manifest, every section that numbers are taken from
//! against its checksum, and every number that is later used as an index. The sections that make
//! up nearly all of the bytes (vectors, codes, payloads) are not read: no content of theirs leads
//! out of bounds, and [`SealedSegment::damage`] compares them with their checksums on demand.

mod points;

use std::sync::Arc;

use lanner_storage::{Directory, FileEntry, IndexEntry, SectionFile, SegmentEntry, StorageError};
use roaring::RoaringBitmap;

use self::points::Points;
use super::payload_index::PayloadIndex;
use super::payload_rows::visit_payloads;
use super::values::{self, RowOrder, ValueCounts, ValueGroups};
use super::{RowFilter, RowIds, RowPayloads, SegmentReader, sections};
use crate::error::{Error, Result};
use crate::field::text::{TextIndex, TextPart};
use crate::field::vectors::{FieldIndex, SealedVectors};
use crate::field::{FieldReader, FileMemory, FileRole, SegmentFile, SegmentFiles, place};
use crate::model::{CollectionConfig, Condition, DeclaredPath, Memory, Payload, PointId, Scalar};

/// Values are read row by row if less than one in this many rows is selected, otherwise in value
/// order.
const FEW_SHARE: u64 = 8;

/// A folder of immutable section files.
#[derive(Debug)]
pub struct SealedSegment {
    entry: SegmentEntry,
    points: Points,
    /// `None` if the collection declared no payload paths when the segment was written.
    payload_index: Option<PayloadIndex>,
    fields: Vec<SealedVectors>,
    texts: Vec<Arc<TextIndex>>,
    /// Memory use of each file, in order.
    memory: Vec<FileMemory>,
}

impl SealedSegment {
    /// Opens the segment in `folder` and checks it, except the content of vectors, codes and
    /// payloads; see [`Self::damage`]. Pinned data of a field is read.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming file and section if anything checked differs from what
    /// was sealed, [`StorageError::UnsupportedFormat`] for a newer format.
    pub fn open(
        directory: &dyn Directory,
        folder: &str,
        config: &CollectionConfig,
        entry: SegmentEntry,
    ) -> Result<Self> {
        let files = SegmentFiles { directory, folder, entry: &entry };
        let points = Points::open(files)?;
        let payload_index = match files.open_listed(sections::PAYLOAD_INDEX_FILE, &[])? {
            Some(file) => Some(PayloadIndex::open(file, config, entry.rows)?),
            None => None,
        };
        let settings = config.fields.values().enumerate();
        let fields = settings.map(|(index, field)| SealedVectors::open(files, index, field));
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let texts = config.text.values().enumerate();
        let texts = texts.map(|(index, field)| TextIndex::open(files, index, field).map(Arc::new));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let memory = Vec::new();
        let mut segment = Self { entry, points, payload_index, fields, texts, memory };
        segment.memory = segment.place();
        Ok(segment)
    }

    /// Applies the memory policies to the files.
    fn place(&self) -> Vec<FileMemory> {
        let fields = self
            .fields
            .iter()
            .flat_map(|field| field.files().map(|(file, role)| place(file, field.memory(), role)));
        let whole = std::iter::once(self.points.file())
            .chain(self.payload_index.iter().map(PayloadIndex::file));
        let of_points = |file| place(file, Memory::default(), FileRole::Points);
        let texts = self.text_files().map(of_points);
        whole.map(of_points).chain(fields).chain(texts).collect()
    }

    /// All files, in the order of the builder.
    fn open_files(&self) -> impl Iterator<Item = &SectionFile> {
        let fields = self.fields.iter().flat_map(SealedVectors::files);
        let index = self.payload_index.iter().map(PayloadIndex::file);
        let fields = fields.map(|(file, _)| file);
        std::iter::once(self.points.file()).chain(index).chain(fields).chain(self.text_files())
    }

    fn text_files(&self) -> impl Iterator<Item = &SectionFile> {
        self.texts.iter().filter_map(|text| text.file())
    }

    /// Verifies the checksums of all files and returns an error for each section that differs.
    /// `go_on` as in [`SectionFile::damage`].
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        self.open_files().flat_map(|file| file.damage(go_on)).collect()
    }

    /// As [`Self::damage`], for the files of one field.
    pub fn field_damage(
        &self,
        field: usize,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<StorageError> {
        self.fields[field].files().flat_map(|(file, _)| file.damage(go_on)).collect()
    }

    /// As [`Self::damage`], for the indexes, which are not part of the segment's files; each error
    /// with its field.
    pub fn index_damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<(usize, StorageError)> {
        let mut damage = Vec::new();
        for (field, sealed) in self.fields.iter().enumerate() {
            let found = sealed.index().map(|index| index.damage(go_on)).unwrap_or_default();
            damage.extend(found.into_iter().map(|error| (field, error)));
        }
        damage
    }

    /// Opens an index of a field, for [`Self::attach_index`]; `None` if the field has no codes.
    ///
    /// # Errors
    /// If the index is damaged.
    pub fn open_index(
        &self,
        directory: &dyn Directory,
        folder: &str,
        field: usize,
        entry: &IndexEntry,
    ) -> Result<Option<FieldIndex>> {
        self.fields[field].open_index(directory, folder, entry)
    }

    /// From now on, queries of the field use the index. A field has at most one: another is ignored.
    pub fn attach_index(&self, field: usize, index: FieldIndex) {
        self.fields[field].attach_index(index);
    }

    /// Shares the codecs of another segment where they are the same, so that they are in memory
    /// only once.
    pub fn share_codecs(&mut self, other: &Self) {
        for (own, other) in self.fields.iter_mut().zip(&other.fields) {
            own.share_codec(other);
        }
    }

    /// True if a declared path has no column in this segment yet.
    pub fn is_behind(&self, config: &CollectionConfig) -> bool {
        config.declared_paths().any(|path| !self.has_column(&path))
    }

    /// The manifest entry.
    pub fn entry(&self) -> &SegmentEntry {
        &self.entry
    }

    /// Total size of the files, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.entry.files.iter().map(|file| file.len).sum()
    }

    /// The files with their sections, including index files, for reports.
    pub fn files(&self) -> Vec<SegmentFile> {
        let files = self.open_files().zip(&self.memory).zip(&self.entry.files);
        let describe = |((file, memory), entry): ((&SectionFile, &FileMemory), &FileEntry)| {
            SegmentFile::new(entry.name.clone(), file, *memory)
        };
        let indexes = self.fields.iter().filter_map(SealedVectors::index);
        files.map(describe).chain(indexes.map(FieldIndex::describe)).collect()
    }

    /// True if values of these rows should be read row by row.
    fn are_few(&self, rows: &RoaringBitmap) -> bool {
        rows.len() * FEW_SHARE < u64::from(self.entry.rows)
    }

    /// The payload index with a column for the path, and the path's number there.
    fn column(&self, path: &DeclaredPath) -> Option<(&PayloadIndex, usize)> {
        let index = self.payload_index.as_ref()?;
        Some((index, index.find(path)?))
    }
}

impl SegmentReader for SealedSegment {
    fn rows(&self) -> u32 {
        self.entry.rows
    }

    fn field(&self, field: usize) -> &dyn FieldReader {
        &self.fields[field]
    }

    fn texts(&self, field: usize) -> Result<Vec<TextPart>> {
        let index = Arc::clone(&self.texts[field]);
        Ok(vec![TextPart { first_row: 0, rows: self.entry.rows, index }])
    }

    fn sealed_text(&self, field: usize) -> Option<&Arc<TextIndex>> {
        self.texts.get(field)
    }

    fn check_pages(&self) -> Result<()> {
        self.open_files().try_for_each(SectionFile::check_pages)?;
        let mut indexes = self.fields.iter().filter_map(SealedVectors::index);
        Ok(indexes.try_for_each(FieldIndex::check_pages)?)
    }
}

impl RowIds for SealedSegment {
    fn id(&self, row: u32) -> Result<PointId> {
        self.points.id(row).map(PointId::from)
    }

    fn find(&self, id: &PointId) -> Result<Option<u32>> {
        self.points.find(id)
    }

    fn page(
        &self,
        after: Option<&PointId>,
        deleted: &RoaringBitmap,
        limit: usize,
    ) -> Result<Vec<(PointId, u32)>> {
        self.points.page(after, deleted, limit)
    }
}

impl RowPayloads for SealedSegment {
    fn payload(&self, row: u32) -> Result<Option<Payload>> {
        self.points.payload(row)
    }

    fn filter<'s>(&'s self, condition: &Condition) -> Result<RowFilter<'s>> {
        let condition = condition.fitted(&|path| self.has_column(path));
        RowFilter::new(self, &condition, &|path, test| {
            let missing = || Error::Internal(format!("a segment has no column `{}`", path.name));
            let (index, number) = self.column(path).ok_or_else(missing)?;
            index.test(number, test)
        })
    }

    fn has_column(&self, path: &DeclaredPath) -> bool {
        self.column(path).is_some()
    }

    fn visit_path(
        &self,
        path: &DeclaredPath,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()> {
        if let Some((index, number)) = self.column(path) {
            return index.visit(number, deleted, visit);
        }
        let live = (0..self.entry.rows).filter(|&row| !deleted.contains(row));
        visit_payloads(self, path, live, visit)
    }

    fn visit_values(
        &self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Scalar<'_>),
    ) -> Result<()> {
        if let Some((index, number)) = self.column(path) {
            return index.visit_values(number, rows, visit);
        }
        visit_payloads(self, path, rows.iter(), &mut |row, scalar| {
            scalar.into_iter().for_each(|scalar| visit(row, scalar));
        })
    }

    fn value_counts<'s>(
        &'s self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
    ) -> Result<ValueCounts<'s>> {
        match self.column(path).filter(|_| !self.are_few(rows)) {
            Some((index, number)) => index.counts(number, rows),
            None => values::counts_by_row(self, path, rows),
        }
    }

    fn value_groups<'s>(
        &'s self,
        rows: &RoaringBitmap,
        order: &RowOrder<'_>,
    ) -> Result<ValueGroups<'s>> {
        match self.column(order.path).filter(|_| !self.are_few(rows)) {
            Some((index, number)) => index.groups(number, rows, order),
            None => values::groups_by_row(self, rows, order),
        }
    }
}
