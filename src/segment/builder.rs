//! Writes the live rows of some segments as one sealed segment, for sealing and for merging.
//!
//! Rows keep their order, so the new number of a live row is its rank among the live rows. Files
//! are written to a temporary folder that is renamed into place once everything in it is durable.

use std::sync::Arc;

use lanner_storage::{
    Directory, FileEntry, SectionFile, SectionWriter, SegmentEntry, write_folder,
};
use roaring::RoaringBitmap;

use super::payload_index::write_payload_index;
use super::{SegmentReader, sections};
use crate::error::{Error, Result};
use crate::field::text::{TextBuild, TextSource, write_text};
use crate::field::vectors::{FieldCodec, write_vectors};
use crate::field::{FieldBuild, FieldSource, LiveRows, bitmap_bytes, finish};
use crate::index::BuildProgress;
use crate::model::{CollectionConfig, PointId, TextField, VectorField};

/// A source segment with its deleted rows.
#[derive(Clone)]
pub struct BuildSource {
    /// The segment.
    pub reader: Arc<dyn SegmentReader>,
    /// Its deleted rows, which are left out.
    pub deleted: Arc<RoaringBitmap>,
}

impl BuildSource {
    /// The rows to write.
    pub fn live(&self) -> LiveRows<'_> {
        LiveRows::new(self.reader.rows(), &self.deleted)
    }

    /// Number of rows to write.
    pub fn live_rows(&self) -> u64 {
        self.live().count()
    }

    /// One field of each source.
    pub fn fields(sources: &[Self], field: usize) -> Vec<FieldSource<'_>> {
        sources
            .iter()
            .map(|source| FieldSource { reader: source.reader.field(field), live: source.live() })
            .collect()
    }
}

/// Plan of a segment to build.
pub struct BuildPlan<'a> {
    /// Directory in which the folder is created.
    pub directory: &'a dyn Directory,
    /// Folder of the segment, which must not exist.
    pub folder: &'a str,
    /// Its number in the manifest.
    pub number: u64,
    /// Settings of the collection.
    pub config: &'a CollectionConfig,
    /// The generation of these settings.
    pub settings_generation: u64,
    /// What compresses each field, if anything does.
    pub codecs: &'a [Option<FieldCodec>],
    /// Thread pool for encoding.
    pub pool: &'a rayon::ThreadPool,
    /// Progress and cancellation; counts rows of fields and codes.
    pub progress: &'a BuildProgress,
}

impl BuildPlan<'_> {
    /// The plan of one field, in the temporary folder.
    fn field<'b>(
        &'b self,
        folder: &'b str,
        index: usize,
        settings: &'b VectorField,
    ) -> FieldBuild<'b> {
        FieldBuild {
            directory: self.directory,
            folder,
            index,
            settings,
            codec: self.codecs.get(index).and_then(Option::as_ref),
            pool: self.pool,
            progress: self.progress,
        }
    }
}

/// Writes the live rows of `sources`, in order, as one segment and returns its manifest entry. On
/// return the files are durable under their final name.
///
/// # Errors
/// If a source is damaged or a file cannot be written, and [`Error::Closing`] if the build was
/// cancelled; nothing is left behind.
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
            let sources = BuildSource::fields(sources, index);
            files.extend(write_vectors(&plan.field(temporary, index, field), &sources)?);
        }
        for (index, settings) in plan.config.text.values().enumerate() {
            files.push(write_texts(plan, temporary, (index, settings), sources)?);
        }
        let (number, settings_generation) = (plan.number, plan.settings_generation);
        let entry = SegmentEntry { number, rows, files, settings_generation };
        write_entry(plan.directory, temporary, &entry)?;
        Ok(entry)
    })
}

fn write_texts(
    plan: &BuildPlan<'_>,
    folder: &str,
    (index, settings): (usize, &TextField),
    sources: &[BuildSource],
) -> Result<FileEntry> {
    let (directory, progress) = (plan.directory, plan.progress);
    let build = TextBuild { directory, folder, index, settings, progress };
    let sources: Vec<TextSource<'_>> = sources
        .iter()
        .map(|source| TextSource {
            live: source.live(),
            index: source.reader.sealed_text(index).cloned(),
            payloads: Box::new(|row| source.reader.payload(row)),
        })
        .collect();
    write_text(&build, &sources)
}

/// Writes a copy of the manifest entry, for repairs without a manifest.
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

/// Reads the copy of the manifest entry in a segment's folder.
///
/// # Errors
/// If the file is missing or damaged.
pub(crate) fn read_entry(directory: &dyn Directory, folder: &str) -> Result<SegmentEntry> {
    let file = SectionFile::open(directory, &format!("{folder}/{}", sections::ENTRY_FILE))?;
    file.verify()?;
    serde_json::from_slice(file.section(sections::ENTRY)?)
        .map_err(|error| file.corrupted(sections::ENTRY, error.to_string()).into())
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
        for row in source.live().iter() {
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
        for row in source.live().iter() {
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
