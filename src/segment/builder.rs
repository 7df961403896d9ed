//! Writes the live rows of some segments as one sealed segment: both sealing and merging.
//!
//! Rows keep their order, so the row a live row gets is its rank among the live rows. Files go
//! to a temporary folder that is renamed into place once everything in it is durable.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanner_storage::{
    Directory, FileEntry, SectionFile, SectionWriter, SegmentEntry, write_folder,
};
use roaring::RoaringBitmap;

use super::codes::write_codes;
use super::payload_index::write_payload_index;
use super::{SegmentReader, sections};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::model::{CollectionConfig, Memory, PointId, VectorField, VectorKind};
use crate::quantization::TrainedCodec;

/// Rows written between two looks at whether the build was cancelled.
const RANGE_ROWS: u32 = 4096;

/// A segment to build from, and the rows of it that are deleted.
#[derive(Clone)]
pub struct BuildSource {
    /// The segment.
    pub reader: Arc<dyn SegmentReader>,
    /// Its deleted rows, which are left out.
    pub deleted: Arc<RoaringBitmap>,
}

impl BuildSource {
    /// Number of rows that will be written.
    pub fn live_rows(&self) -> u64 {
        u64::from(self.reader.rows()) - self.deleted.len()
    }

    /// Position of live row `row` among the live rows.
    pub fn rank(&self, row: u32) -> u32 {
        row - self.deleted.rank(row) as u32
    }

    pub(super) fn live(&self) -> impl Iterator<Item = u32> {
        (0..self.reader.rows()).filter(|&row| !self.deleted.contains(row))
    }

    /// Ranges of consecutive live rows, in order, none longer than [`RANGE_ROWS`].
    pub(super) fn live_ranges(&self) -> impl Iterator<Item = Range<u32>> {
        let ends = self.deleted.iter().chain([self.reader.rows()]);
        let mut start = 0;
        ends.flat_map(move |end| {
            let range = start..end;
            start = end + 1;
            range
                .clone()
                .step_by(RANGE_ROWS as usize)
                .map(move |first| first..range.end.min(first.saturating_add(RANGE_ROWS)))
        })
    }
}

/// What a segment is built for.
pub struct BuildPlan<'a> {
    /// Where its folder is made.
    pub directory: &'a dyn Directory,
    /// That folder, which must not exist.
    pub folder: &'a str,
    /// Its number in the manifest.
    pub number: u64,
    /// The collection's settings.
    pub config: &'a CollectionConfig,
    /// What compresses each field, if anything does.
    pub codecs: &'a [Option<Arc<TrainedCodec>>],
    /// Encoding runs here.
    pub pool: &'a rayon::ThreadPool,
    /// Counts rows of fields and of codes as they are written, and says whether to stop.
    pub progress: &'a BuildProgress,
}

impl BuildPlan<'_> {
    /// Begins a file of a field.
    pub(super) fn create_file(
        &self,
        folder: &str,
        name: &str,
        field: &VectorField,
    ) -> Result<SectionWriter> {
        let mut writer = SectionWriter::create(self.directory, &format!("{folder}/{name}"))?;
        if field.memory == Memory::Cold {
            writer.set_cold();
        }
        Ok(writer)
    }

    /// Counts rows that are about to be written.
    ///
    /// # Errors
    /// [`Error::Closing`] if the build was cancelled.
    pub(super) fn advance(&self, rows: u64) -> Result<()> {
        // Relaxed: the numbers order nothing else.
        self.progress.done.fetch_add(rows, Ordering::Relaxed);
        if self.progress.cancelled.load(Ordering::Relaxed) { Err(Error::Closing) } else { Ok(()) }
    }
}

/// Writes the live rows of `sources`, in order, as one segment and returns its manifest entry.
/// When this returns the files are durable under their final name.
///
/// # Errors
/// If a source is damaged or a file cannot be written, and [`Error::Closing`] if it was
/// cancelled; nothing is left then.
pub fn build_segment(plan: &BuildPlan<'_>, sources: &[BuildSource]) -> Result<SegmentEntry> {
    let rows: u64 = sources.iter().map(BuildSource::live_rows).sum();
    let rows = u32::try_from(rows)
        .map_err(|_| Error::Internal(format!("a segment cannot hold {rows} rows")))?;
    write_folder(plan.directory, plan.folder, |temporary| -> Result<_> {
        let mut files = vec![write_points(plan.directory, temporary, sources)?];
        if !plan.config.payload.is_empty() {
            files.push(write_payload_index(plan, temporary, sources)?);
        }
        for (index, field) in plan.config.fields.values().enumerate() {
            let trained = plan.codecs.get(index).and_then(Option::as_deref);
            let keep_raw = trained.is_none() || field.compression.keep_raw;
            files.push(write_field(plan, temporary, index, field, keep_raw, sources)?);
            if let Some(trained) = trained {
                files.extend(write_codes(plan, temporary, (index, field), trained, sources)?);
            }
        }
        let entry = SegmentEntry { number: plan.number, rows, files };
        write_entry(plan.directory, temporary, &entry)?;
        Ok(entry)
    })
}

/// Writes the copy of the manifest's entry that a repair reads if there is no manifest.
pub(crate) fn write_entry(
    directory: &dyn Directory,
    folder: &str,
    entry: &SegmentEntry,
) -> Result<()> {
    let path = format!("{folder}/{}", sections::ENTRY_FILE);
    let mut writer = SectionWriter::create(directory, &path)?;
    let json = serde_json::to_vec(entry)
        .map_err(|error| Error::Internal(format!("cannot encode a segment: {error}")))?;
    writer.write_section(sections::ENTRY, &json)?;
    writer.finish()?;
    Ok(())
}

/// Reads the copy of the manifest's entry in the folder of a segment.
///
/// # Errors
/// If the file is missing or damaged.
pub(crate) fn read_entry(directory: &dyn Directory, folder: &str) -> Result<SegmentEntry> {
    let file = SectionFile::open(directory, &format!("{folder}/{}", sections::ENTRY_FILE))?;
    file.verify()?;
    serde_json::from_slice(file.section(sections::ENTRY)?)
        .map_err(|error| file.corrupted(sections::ENTRY, error.to_string()).into())
}

/// Finishes a file and says what the manifest has to know about it.
pub(crate) fn finish(writer: SectionWriter, name: String) -> Result<FileEntry> {
    let summary = writer.finish()?;
    Ok(FileEntry { name, len: summary.len, checksum: summary.checksum })
}

fn write_points(
    directory: &dyn Directory,
    folder: &str,
    sources: &[BuildSource],
) -> Result<FileEntry> {
    let name = sections::POINTS_FILE.to_owned();
    let mut writer = SectionWriter::create(directory, &format!("{folder}/{name}"))?;
    write_ids(&mut writer, sources)?;
    write_payloads(&mut writer, sources)?;
    finish(writer, name)
}

fn write_ids(writer: &mut SectionWriter, sources: &[BuildSource]) -> Result<()> {
    let mut ids = Vec::new();
    for source in sources {
        for row in source.live() {
            ids.push(source.reader.id(row)?);
        }
    }
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| ids[a as usize].cmp(&ids[b as usize]));
    writer.write_section(sections::ID_ORDER, bytemuck::cast_slice(&order))?;

    let mut numbers = Vec::with_capacity(ids.len());
    let (mut text_rows, mut texts, mut text_offsets) =
        (RoaringBitmap::new(), String::new(), vec![0_u64]);
    for (row, id) in ids.iter().enumerate() {
        match id {
            PointId::Number(number) => numbers.push(*number),
            PointId::Text(text) => {
                numbers.push(text_rows.len());
                text_rows.insert(row as u32);
                texts.push_str(text);
                text_offsets.push(texts.len() as u64);
            }
        }
    }
    writer.write_section(sections::IDS, bytemuck::cast_slice(&numbers))?;
    writer.write_section(sections::ID_TEXT_ROWS, &bitmap_bytes(&text_rows)?)?;
    writer.write_section(sections::ID_TEXT_OFFSETS, bytemuck::cast_slice(&text_offsets))?;
    Ok(writer.write_section(sections::ID_TEXTS, texts.as_bytes())?)
}

fn write_payloads(writer: &mut SectionWriter, sources: &[BuildSource]) -> Result<()> {
    let mut offsets = vec![0_u64];
    let mut end = 0;
    writer.begin_section(sections::PAYLOADS)?;
    for source in sources {
        for row in source.live() {
            if let Some(payload) = source.reader.payload(row)? {
                writer.write(payload.as_str().as_bytes())?;
                end += payload.as_str().len() as u64;
            }
            offsets.push(end);
        }
    }
    writer.end_section()?;
    Ok(writer.write_section(sections::PAYLOAD_OFFSETS, bytemuck::cast_slice(&offsets))?)
}

fn write_field(
    plan: &BuildPlan<'_>,
    folder: &str,
    index: usize,
    field: &VectorField,
    keep_raw: bool,
    sources: &[BuildSource],
) -> Result<FileEntry> {
    let name = sections::field_file(index);
    let mut writer = plan.create_file(folder, &name, field)?;
    let settings = serde_json::to_vec(field)
        .map_err(|error| Error::Internal(format!("cannot encode a field: {error}")))?;
    writer.write_section(sections::FIELD, &settings)?;
    let mut absent = RoaringBitmap::new();
    let mut offsets = vec![0_u64];
    let mut next_row = 0;
    writer.begin_section(sections::VECTORS)?;
    for source in sources {
        for range in source.live_ranges() {
            plan.advance(u64::from(range.end - range.start))?;
            let mut result = Ok(());
            source.reader.read_ahead(index, range.clone());
            source.reader.visit_vectors(index, range, &mut |_, view, rows| {
                for row in rows {
                    let elements = view.row(row);
                    if view.absent.contains(row as u32) {
                        absent.insert(next_row);
                    }
                    let vectors = (elements.len() / view.dimension) as u64;
                    offsets.push(offsets[offsets.len() - 1] + vectors);
                    next_row += 1;
                    if keep_raw && result.is_ok() {
                        result = writer.write(elements.as_bytes());
                    }
                }
            });
            result?;
        }
    }
    writer.end_section()?;
    if field.kind == VectorKind::Multi {
        writer.write_section(sections::VECTOR_OFFSETS, bytemuck::cast_slice(&offsets))?;
    }
    writer.write_section(sections::ABSENT, &bitmap_bytes(&absent)?)?;
    finish(writer, name)
}

pub(super) fn bitmap_bytes(bitmap: &RoaringBitmap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap
        .serialize_into(&mut bytes)
        .map_err(|error| Error::Internal(format!("cannot encode a bitmap: {error}")))?;
    Ok(bytes)
}
