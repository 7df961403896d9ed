//! The sealed segment: read-only files, mapped into memory.
//!
//! Opening checks every file against the manifest, every section that numbers are taken from
//! against its checksum, and every number that is later used as an index. The sections that make
//! up nearly all of the bytes (vectors, codes, payloads) are not read: no content of theirs leads
//! out of bounds, and [`SealedSegment::damage`] compares them with their checksums on demand.

use std::cmp::Ordering;
use std::ops::Range;

use std::sync::OnceLock;

use lanner_storage::{
    Access, Directory, FileEntry, IndexEntry, Section, SectionFile, SegmentEntry, StorageError,
};
use roaring::RoaringBitmap;
use serde::de::IgnoredAny;

use super::memory::place;
use super::payload_index::PayloadIndex;
use super::payload_rows::visit_payloads;
use super::values::{self, RowOrder, ValueCounts, ValueGroups};
use super::{
    FieldCodes, FieldIndex, FieldQuery, FileMemory, FileRole, RowFilter, SegmentReader, sections,
    visit_one_by_one,
};
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, Condition, DeclaredPath, Elements, ElementsRef, Memory, Payload, PointId,
    PointIdRef, Scalar, VectorField, VectorKind, VectorsView,
};

/// Vectors that are asked for before they are visited.
const ROWS_AHEAD: usize = 2;
/// Rows whose pages are looked up before the first is visited.
const ROWS_TOUCHED: usize = 32;
/// Of rows that are fewer than one in so many, values are read row by row, not in the order of values.
const FEW_SHARE: u64 = 8;
/// Rows that are reconstructed at once.
const RECONSTRUCTED_ROWS: u32 = 256;

/// A folder of section files that never change.
#[derive(Debug)]
pub struct SealedSegment {
    entry: SegmentEntry,
    points: SectionFile,
    parts: PointSections,
    text_rows: RoaringBitmap,
    /// There if the collection declared payload paths when it was written.
    payload_index: Option<PayloadIndex>,
    fields: Vec<SealedField>,
    /// How each of the files uses memory, in their order.
    memory: Vec<FileMemory>,
}

/// The sections of the file of points.
#[derive(Debug)]
struct PointSections {
    ids: Section,
    id_order: Section,
    id_texts: Section,
    id_text_offsets: Section,
    payloads: Section,
    payload_offsets: Section,
}

impl PointSections {
    fn of(file: &SectionFile) -> Result<Self, StorageError> {
        Ok(Self {
            ids: file.find(sections::IDS)?,
            id_order: file.find(sections::ID_ORDER)?,
            id_texts: file.find(sections::ID_TEXTS)?,
            id_text_offsets: file.find(sections::ID_TEXT_OFFSETS)?,
            payloads: file.find(sections::PAYLOADS)?,
            payload_offsets: file.find(sections::PAYLOAD_OFFSETS)?,
        })
    }
}

#[derive(Debug)]
struct SealedField {
    file: SectionFile,
    vectors: Section,
    /// Of a multi field.
    offsets: Option<Section>,
    /// Whether the vectors are there; if not, codes stand for them.
    has_raw: bool,
    settings: VectorField,
    absent: RoaringBitmap,
    codes: Option<FieldCodes>,
    /// Set once, when the index is there.
    index: OnceLock<FieldIndex>,
}

/// A file of a sealed segment, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// File name inside the segment's folder.
    pub name: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// Its sections: name and length in bytes.
    pub sections: Vec<(String, u64)>,
    /// How it uses memory.
    pub memory: FileMemory,
}

impl SealedSegment {
    /// Opens and checks the segment in `folder`, but for the content of vectors, codes and
    /// payloads; see [`Self::damage`]. Of a pinned field, reads what is pinned.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming file and section if anything that is checked differs
    /// from what was sealed, [`StorageError::UnsupportedFormat`] for a newer format.
    pub fn open(
        directory: &dyn Directory,
        folder: &str,
        config: &CollectionConfig,
        entry: SegmentEntry,
    ) -> Result<Self> {
        let open = |name: &str| -> Result<SectionFile> {
            let path = format!("{folder}/{name}");
            let listed = entry.files.iter().find(|file| file.name == name);
            let listed = listed.ok_or_else(|| StorageError::Catalog {
                op: "open segment",
                detail: format!("the manifest does not list `{path}`"),
            })?;
            let file = SectionFile::open_expecting(directory, &path, &listed.summary())?;
            file.verify_sections(|section| !sections::is_read_on_demand(section))?;
            Ok(file)
        };
        let points = open(sections::POINTS_FILE)?;
        let text_rows = bitmap(&points, sections::ID_TEXT_ROWS)?;
        let listed = |name: &str| entry.files.iter().any(|file| file.name == name);
        let payload_index = match listed(sections::PAYLOAD_INDEX_FILE) {
            true => {
                let file = open(sections::PAYLOAD_INDEX_FILE)?;
                Some(PayloadIndex::open(file, config, entry.rows)?)
            }
            false => None,
        };
        let mut fields = Vec::with_capacity(config.fields.len());
        for (index, settings) in config.fields.values().enumerate() {
            let file = open(&sections::field_file(index))?;
            let absent = bitmap(&file, sections::ABSENT)?;
            let optional = |name: String| listed(&name).then(|| open(&name)).transpose();
            let codes = match optional(sections::codes_file(index))? {
                Some(codes) => {
                    let secondary = optional(sections::secondary_file(index))?;
                    Some(FieldCodes::open(codes, secondary, settings, entry.rows)?)
                }
                None => None,
            };
            let field = SealedField::new(file, settings.clone(), absent, codes)?;
            field.check(entry.rows)?;
            fields.push(field);
        }
        let memory = Vec::new();
        let parts = PointSections::of(&points)?;
        let mut segment = Self { entry, points, parts, text_rows, payload_index, fields, memory };
        segment.check_ids()?;
        segment.check_payloads()?;
        segment.memory = segment.place();
        Ok(segment)
    }

    /// Sets up how the files use memory.
    fn place(&self) -> Vec<FileMemory> {
        let fields = self.fields.iter().flat_map(|field| {
            field.files().map(|(file, role)| place(file, field.settings.memory, role))
        });
        let whole =
            std::iter::once(&self.points).chain(self.payload_index.iter().map(PayloadIndex::file));
        let whole = whole.map(|file| place(file, Memory::default(), FileRole::Points));
        whole.chain(fields).collect()
    }

    /// All files, in the order in which the builder lists them.
    fn open_files(&self) -> impl Iterator<Item = &SectionFile> {
        let fields = self.fields.iter().flat_map(SealedField::files);
        let index = self.payload_index.iter().map(PayloadIndex::file);
        std::iter::once(&self.points).chain(index).chain(fields.map(|(file, _)| file))
    }

    /// Compares everything in the files with its checksum, and returns an error for each section
    /// that differs. `go_on` is told how many bytes were read since it was told last; if it
    /// returns `false`, what is left is not checked.
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        self.open_files().flat_map(|file| file.damage(go_on)).collect()
    }

    /// As [`Self::damage`], of the files of one field.
    pub fn field_damage(
        &self,
        field: usize,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Vec<StorageError> {
        self.fields[field].files().flat_map(|(file, _)| file.damage(go_on)).collect()
    }

    /// As [`Self::damage`], of the indexes, which are no part of the segment's files: with the
    /// field of each.
    pub fn index_damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<(usize, StorageError)> {
        let mut damage = Vec::new();
        for (field, sealed) in self.fields.iter().enumerate() {
            let found = sealed.index.get().map(|index| index.damage(go_on)).unwrap_or_default();
            damage.extend(found.into_iter().map(|error| (field, error)));
        }
        damage
    }

    /// Opens an index of a field, for [`Self::attach_index`]; `None` if the field has no codes, as
    /// those of which an index was built have.
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
        let Some(codes) = self.codes(field) else { return Ok(None) };
        let memory = self.fields[field].settings.memory;
        FieldIndex::open(directory, folder, entry, codes, self.entry.rows, memory).map(Some)
    }

    /// Queries of the field use the index from now on. A field has one index at most: another is
    /// ignored.
    pub fn attach_index(&self, field: usize, index: FieldIndex) {
        let _ = self.fields[field].index.set(index);
    }

    /// Uses the codecs of another segment where they are the same, so that they are in memory once.
    pub fn share_codecs(&mut self, other: &Self) {
        for (own, other) in self.fields.iter_mut().zip(&other.fields) {
            if let (Some(own), Some(other)) = (&mut own.codes, &other.codes) {
                own.share_codec(other);
            }
        }
    }

    /// Whether it has no column of some path that is declared by now.
    pub fn is_behind(&self, config: &CollectionConfig) -> bool {
        config.declared_paths().any(|path| !self.has_column(&path))
    }

    /// The manifest entry.
    pub fn entry(&self) -> &SegmentEntry {
        &self.entry
    }

    /// Length of all files, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.entry.files.iter().map(|file| file.len).sum()
    }

    /// The files with their sections, and those of the indexes, for reports.
    pub fn files(&self) -> Vec<SegmentFile> {
        let files = self.open_files().zip(&self.memory).zip(&self.entry.files);
        let describe = |((file, memory), entry): ((&SectionFile, &FileMemory), &FileEntry)| {
            let sections = file.sections().iter();
            SegmentFile {
                name: entry.name.clone(),
                size_bytes: entry.len,
                sections: sections.map(|info| (info.name.clone(), info.len)).collect(),
                memory: *memory,
            }
        };
        let indexes = self.fields.iter().filter_map(|field| field.index.get());
        files.map(describe).chain(indexes.map(FieldIndex::describe)).collect()
    }

    fn check_ids(&self) -> Result<()> {
        let rows = self.entry.rows;
        let numbers = slice::<u64>(&self.points, sections::IDS, Some(rows as usize))?;
        let order = slice::<u32>(&self.points, sections::ID_ORDER, Some(rows as usize))?;
        let mut seen = RoaringBitmap::new();
        if !order.iter().all(|&row| row < rows && seen.insert(row)) {
            return Err(corrupted(&self.points, sections::ID_ORDER, "no permutation of the rows"));
        }
        let texts = self.text_rows.len();
        let sound = |row: u32| row < rows && numbers[row as usize] < texts;
        if !self.text_rows.iter().all(sound) {
            return Err(corrupted(&self.points, sections::ID_TEXT_ROWS, "rows out of bounds"));
        }
        check_offsets(
            &self.points,
            sections::ID_TEXT_OFFSETS,
            texts as usize,
            self.points.section(sections::ID_TEXTS)?.len() as u64,
        )
    }

    fn check_payloads(&self) -> Result<()> {
        let end = self.points.section(sections::PAYLOADS)?.len() as u64;
        let rows = self.entry.rows as usize;
        check_offsets(&self.points, sections::PAYLOAD_OFFSETS, rows, end)
    }

    /// A text of an id: opening has checked the section.
    fn id_text(&self, range: Range<u64>) -> Result<&str> {
        let texts = self.points.bytes(self.parts.id_texts);
        let bytes = &texts[range.start as usize..range.end as usize];
        std::str::from_utf8(bytes)
            .map_err(|_| corrupted(&self.points, sections::ID_TEXTS, "not UTF-8"))
    }
}

impl SealedField {
    fn new(
        file: SectionFile,
        settings: VectorField,
        absent: RoaringBitmap,
        codes: Option<FieldCodes>,
    ) -> Result<Self> {
        let vectors = file.find(sections::VECTORS)?;
        let empty = file.bytes(vectors).is_empty();
        let has_raw = !(empty && codes.is_some() && !settings.compression.keep_raw);
        let offsets = match settings.kind {
            VectorKind::Single => None,
            VectorKind::Multi => Some(file.find(sections::VECTOR_OFFSETS)?),
        };
        let index = OnceLock::new();
        Ok(Self { file, vectors, offsets, has_raw, settings, absent, codes, index })
    }

    fn check(&self, rows: u32) -> Result<()> {
        let stored = serde_json::from_slice::<VectorField>(self.file.section(sections::FIELD)?);
        // The use of memory does not change the bytes.
        let stored = stored.ok().map(|stored| stored.in_memory(self.settings.memory));
        if stored.as_ref() != Some(&self.settings) {
            let detail = "the settings differ from the collection's";
            return Err(corrupted(&self.file, sections::FIELD, detail));
        }
        if self.absent.max().is_some_and(|row| row >= rows) {
            return Err(corrupted(&self.file, sections::ABSENT, "rows out of bounds"));
        }
        let bytes = self.file.bytes(self.vectors);
        let vector_bytes = self.settings.dimension * self.settings.element.size_bytes();
        if !bytes.len().is_multiple_of(vector_bytes) || self.elements().is_none() {
            return Err(corrupted(&self.file, sections::VECTORS, "not a whole number of vectors"));
        }
        let vectors = (bytes.len() / vector_bytes) as u64;
        if !self.has_raw {
            return Ok(());
        }
        if self.settings.kind == VectorKind::Multi {
            return check_offsets(&self.file, sections::VECTOR_OFFSETS, rows as usize, vectors);
        }
        if vectors != u64::from(rows) {
            let detail = format!("expected {rows} vectors, got {vectors}");
            return Err(corrupted(&self.file, sections::VECTORS, detail));
        }
        Ok(())
    }

    /// The files and what they are read for, in the order in which they were written.
    fn files(&self) -> impl Iterator<Item = (&SectionFile, FileRole)> {
        let role = if self.codes.is_some() { FileRole::Rerank } else { FileRole::Candidates };
        let codes = self.codes.iter().flat_map(FieldCodes::files);
        std::iter::once((&self.file, role)).chain(codes)
    }

    /// Whether vectors are read a page at a time, unless that is announced.
    fn is_read_at_random(&self) -> bool {
        self.codes.is_some() || self.settings.memory == Memory::Cold
    }

    /// Visits reconstructed vectors, rounded to the field's element type.
    fn visit_reconstructed(
        &self,
        codes: &FieldCodes,
        rows: Range<u32>,
        visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>),
    ) {
        let dimension = self.settings.dimension;
        let mut values = Vec::new();
        for first in rows.clone().step_by(RECONSTRUCTED_ROWS as usize) {
            let end = rows.end.min(first.saturating_add(RECONSTRUCTED_ROWS));
            let mut elements = Elements::new(self.settings.element);
            let mut offsets = vec![0];
            for row in first..end {
                codes.reconstruct(row, &mut values);
                elements.extend_from_f32(&values);
                offsets.push((elements.as_ref().len() / dimension) as u64);
            }
            let absent: RoaringBitmap =
                self.absent.range(first..end).map(|row| row - first).collect();
            let elements = elements.as_ref();
            let offsets = (self.settings.kind == VectorKind::Multi).then_some(&*offsets);
            let view = VectorsView { dimension, elements, offsets, absent: &absent };
            visit(first, view, 0..(end - first) as usize);
        }
    }

    /// Compares the vectors of rows with their checksums.
    fn check_vectors(&self, rows: Range<u32>) -> Result<()> {
        let vector_bytes = self.settings.dimension * self.settings.element.size_bytes();
        let at = |row| (self.first_vector(row) as usize).saturating_mul(vector_bytes);
        self.file.checked(self.vectors, at(rows.start)..at(rows.end))?;
        Ok(())
    }

    /// The first vector of a row, if the vectors are there.
    fn first_vector(&self, row: u32) -> u64 {
        match self.view().and_then(|view| view.offsets) {
            Some(offsets) => offsets.get(row as usize).copied().unwrap_or(u64::MAX),
            None => u64::from(row),
        }
    }

    fn elements(&self) -> Option<ElementsRef<'_>> {
        ElementsRef::from_bytes(self.settings.element, self.file.bytes(self.vectors))
    }

    fn view(&self) -> Option<VectorsView<'_>> {
        let offsets = match self.offsets {
            None => None,
            Some(offsets) => Some(bytemuck::try_cast_slice(self.file.bytes(offsets)).ok()?),
        };
        let (dimension, absent) = (self.settings.dimension, &self.absent);
        Some(VectorsView { dimension, elements: self.elements()?, offsets, absent })
    }
}

impl SegmentReader for SealedSegment {
    fn rows(&self) -> u32 {
        self.entry.rows
    }

    fn id(&self, row: u32) -> Result<PointId> {
        self.id_ref(row).map(PointId::from)
    }

    fn find(&self, id: &PointId) -> Result<Option<u32>> {
        let order = numbers::<u32>(&self.points, self.parts.id_order)?;
        let position = self.first_not_before(order, id, Ordering::is_lt)?;
        let found = match order.get(position) {
            Some(&row) if self.id_ref(row)? == id.as_ref() => Some(row),
            _ => None,
        };
        // An id that could not be read is not one that is missing.
        self.points.check_pages()?;
        Ok(found)
    }

    fn page(
        &self,
        after: Option<&PointId>,
        deleted: &RoaringBitmap,
        limit: usize,
    ) -> Result<Vec<(PointId, u32)>> {
        let order = numbers::<u32>(&self.points, self.parts.id_order)?;
        let start = match after {
            Some(id) => self.first_not_before(order, id, Ordering::is_le)?,
            None => 0,
        };
        let live = order[start..].iter().filter(|&&row| !deleted.contains(row));
        live.take(limit).map(|&row| Ok((self.id(row)?, row))).collect()
    }

    fn payload(&self, row: u32) -> Result<Option<Payload>> {
        let offsets = numbers::<u64>(&self.points, self.parts.payload_offsets)?;
        let range = offsets[row as usize]..offsets[row as usize + 1];
        if range.is_empty() {
            return Ok(None);
        }
        let range = range.start as usize..range.end as usize;
        let bytes = self.points.checked(self.parts.payloads, range)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| corrupted(&self.points, sections::PAYLOADS, "not UTF-8"))?;
        let sound = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        if !text.starts_with('{') || !sound(text) {
            return Err(corrupted(&self.points, sections::PAYLOADS, "not a JSON object"));
        }
        Ok(Some(Payload::from_stored(text)))
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

    fn visit_vectors(
        &self,
        field: usize,
        range: Range<u32>,
        visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>),
    ) {
        let (field, range) = (&self.fields[field], range.start..range.end.min(self.entry.rows));
        if let Some(codes) = field.codes.as_ref().filter(|_| !field.has_raw) {
            return field.visit_reconstructed(codes, range, visit);
        }
        // `open` checked the sections a view is made of, so there always is one.
        if let Some(view) = field.view() {
            visit(0, view, range.start as usize..range.end as usize);
        }
    }

    fn read_ahead(&self, field: usize, rows: Range<u32>) {
        let field = &self.fields[field];
        if !field.is_read_at_random() || rows.is_empty() {
            return;
        }
        if let Some(codes) = field.codes.as_ref().filter(|_| !field.has_raw) {
            return codes.read_ahead(rows);
        }
        let vector_bytes = (field.settings.dimension * field.settings.element.size_bytes()) as u64;
        let at = |row| field.first_vector(row).saturating_mul(vector_bytes);
        // A hint, see `memory`.
        let _ =
            field.file.advise_range(sections::VECTORS, at(rows.start)..at(rows.end), Access::Soon);
    }

    fn visit_rows(&self, field: usize, rows: &[u32], visit: &mut dyn FnMut(u32, ElementsRef<'_>)) {
        let sealed = &self.fields[field];
        let single = sealed.settings.kind == VectorKind::Single && sealed.has_raw;
        let Some(view) = sealed.view().filter(|_| single) else {
            return visit_one_by_one(self, field, rows, visit);
        };
        let bytes = view.elements.as_bytes();
        let stride = sealed.settings.dimension * sealed.settings.element.size_bytes();
        let ask = |row: u32, len| crate::kernels::prefetch(bytes, row as usize * stride, len);
        let prefetch = |row: &u32| ask(*row, stride);
        // Pages of different rows are looked up at once: a byte of each is asked for first.
        rows.iter().take(ROWS_TOUCHED).for_each(|&row| ask(row, 1));
        rows.iter().take(ROWS_AHEAD).for_each(prefetch);
        for (index, &row) in rows.iter().enumerate() {
            rows.get(index + ROWS_AHEAD).into_iter().for_each(prefetch);
            if row < self.entry.rows {
                visit(row, view.row(row as usize));
            }
        }
    }

    fn check_pages(&self) -> Result<()> {
        self.open_files().try_for_each(SectionFile::check_pages)?;
        let mut indexes = self.fields.iter().filter_map(|field| field.index.get());
        Ok(indexes.try_for_each(FieldIndex::check_pages)?)
    }

    fn check_vector(&self, field: usize, row: u32) -> Result<()> {
        let field = &self.fields[field];
        if let Some(codes) = field.codes.as_ref().filter(|_| !field.has_raw) {
            return codes.check(row);
        }
        field.check_vectors(row..row + 1)
    }

    fn check_rescored(&self, field: usize, rows: &[u32]) -> Result<()> {
        let field = &self.fields[field];
        match field.codes.as_ref().filter(|codes| codes.has_secondary() || !field.has_raw) {
            Some(codes) => rows.iter().try_for_each(|&row| codes.check(row)),
            None => rows.iter().try_for_each(|&row| field.check_vectors(row..row + 1)),
        }
    }

    fn check_scanned(
        &self,
        field: usize,
        rows: Range<u32>,
        query: Option<&FieldQuery>,
    ) -> Result<()> {
        let (field, rows) = (&self.fields[field], rows.start..rows.end.min(self.entry.rows));
        match (&field.codes, query) {
            (Some(codes), Some(query)) => codes.check_scanned(query, rows),
            (Some(codes), None) if !field.has_raw => {
                rows.into_iter().try_for_each(|row| codes.check(row))
            }
            _ => field.check_vectors(rows),
        }
    }

    fn vector_bytes(&self, field: usize) -> u64 {
        let field = &self.fields[field];
        match &field.codes {
            Some(codes) if !field.has_raw => {
                let row_bytes = codes.row_bytes() + codes.secondary_row_bytes();
                u64::from(self.entry.rows) * row_bytes as u64
            }
            _ => field.elements().map_or(0, |elements| elements.as_bytes().len() as u64),
        }
    }

    fn codes(&self, field: usize) -> Option<&FieldCodes> {
        self.fields[field].codes.as_ref()
    }

    fn index(&self, field: usize) -> Option<&FieldIndex> {
        self.fields[field].index.get()
    }

    fn absent(&self, field: usize) -> Option<&RoaringBitmap> {
        Some(&self.fields[field].absent).filter(|absent| !absent.is_empty())
    }

    fn has_raw(&self, field: usize) -> bool {
        self.fields[field].has_raw
    }

    fn kept(&self, field: usize, hits: usize, nearness: Option<f32>) -> Option<f32> {
        match &self.fields[field].codes {
            Some(codes) if !self.has_raw(field) => codes.kept(hits, nearness),
            _ => Some(1.0),
        }
    }
}

impl SealedSegment {
    /// Whether the values of so few rows are read row by row.
    fn are_few(&self, rows: &RoaringBitmap) -> bool {
        rows.len() * FEW_SHARE < u64::from(self.entry.rows)
    }

    /// The index that has a path, and the number of the path there.
    fn column(&self, path: &DeclaredPath) -> Option<(&PayloadIndex, usize)> {
        let index = self.payload_index.as_ref()?;
        Some((index, index.find(path)?))
    }

    fn id_ref(&self, row: u32) -> Result<PointIdRef<'_>> {
        let number = numbers::<u64>(&self.points, self.parts.ids)?[row as usize];
        if !self.text_rows.contains(row) {
            return Ok(PointIdRef::Number(number));
        }
        let offsets = numbers::<u64>(&self.points, self.parts.id_text_offsets)?;
        let range = offsets[number as usize]..offsets[number as usize + 1];
        self.id_text(range).map(PointIdRef::Text)
    }

    /// Binary search in the order of ids: the first position for which `before(id there, id)`
    /// no longer holds.
    fn first_not_before(
        &self,
        order: &[u32],
        id: &PointId,
        before: fn(Ordering) -> bool,
    ) -> Result<usize> {
        let (mut low, mut high) = (0, order.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.id_ref(order[middle])?.cmp(&id.as_ref())) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// A section as numbers.
fn numbers<T: bytemuck::AnyBitPattern>(file: &SectionFile, section: Section) -> Result<&[T]> {
    let numbers = bytemuck::try_cast_slice(file.bytes(section));
    numbers.map_err(|error| corrupted(file, "numbers", error.to_string()))
}

/// A section as numbers; `len` is how many there must be.
pub(crate) fn slice<'f, T: bytemuck::AnyBitPattern>(
    file: &'f SectionFile,
    section: &str,
    len: Option<usize>,
) -> Result<&'f [T]> {
    let bytes = file.section(section)?;
    let values: &[T] = bytemuck::try_cast_slice(bytes)
        .map_err(|error| corrupted(file, section, error.to_string()))?;
    match len {
        Some(expected) if values.len() != expected => {
            let detail = format!("expected {expected} values, got {}", values.len());
            Err(corrupted(file, section, detail))
        }
        _ => Ok(values),
    }
}

pub(super) fn bitmap(file: &SectionFile, section: &str) -> Result<RoaringBitmap> {
    RoaringBitmap::deserialize_from(file.section(section)?)
        .map_err(|error| corrupted(file, section, error.to_string()))
}

/// Checks that a section holds `items` + 1 offsets that rise from 0 to `end`.
pub(crate) fn check_offsets(
    file: &SectionFile,
    section: &str,
    items: usize,
    end: u64,
) -> Result<()> {
    let offsets = slice::<u64>(file, section, Some(items + 1))?;
    if offsets.first() == Some(&0) && offsets.last() == Some(&end) && offsets.is_sorted() {
        return Ok(());
    }
    Err(corrupted(file, section, format!("offsets do not rise from 0 to {end}")))
}

fn corrupted(file: &SectionFile, section: &str, detail: impl Into<String>) -> crate::Error {
    file.corrupted(section, detail).into()
}
