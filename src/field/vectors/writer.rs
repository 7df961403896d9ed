//! Writes a vector field of a new segment.

use lanner_storage::FileEntry;
use roaring::RoaringBitmap;

use super::codes::write_codes;
use super::inverted::write_inverted;
use super::sections;
use crate::error::{Error, Result};
use crate::field::{FieldBuild, FieldSource, bitmap_bytes, finish};
use crate::model::VectorKind;

/// Writes the live rows of the sources, in order: vectors, and codes or an inverted index.
///
/// # Errors
/// If a file cannot be written, or [`Error::Closing`] if the build was cancelled.
pub fn write_vectors(
    build: &FieldBuild<'_>,
    sources: &[FieldSource<'_>],
) -> Result<Vec<FileEntry>> {
    let mut files = vec![write_raw(build, sources)?];
    if let Some(codec) = build.codec {
        files.extend(write_codes(build, codec, sources)?);
    }
    if build.settings.kind == VectorKind::Sparse {
        files.push(write_inverted(build, sources)?);
    }
    Ok(files)
}

/// Writes the file of raw vectors, without vectors if codes replace them.
fn write_raw(build: &FieldBuild<'_>, sources: &[FieldSource<'_>]) -> Result<FileEntry> {
    let field = build.settings;
    let keep_raw = build.codec.is_none() || field.compression.keep_raw;
    let name = sections::field_file(build.index);
    let mut writer = build.create_file(&name)?;
    let settings = serde_json::to_vec(field)
        .map_err(|error| Error::Internal(format!("cannot encode a field: {error}")))?;
    writer.write_section(sections::FIELD, &settings)?;
    let mut absent = RoaringBitmap::new();
    let mut offsets = vec![0_u64];
    let mut next_row = 0;
    writer.begin_section(sections::VECTORS)?;
    build.visit_live(sources, |view, row| {
        let elements = view.row(row);
        if view.absent.contains(row as u32) {
            absent.insert(next_row);
        }
        let vectors = (elements.len() / view.dimension) as u64;
        offsets.push(offsets[offsets.len() - 1] + vectors);
        next_row += 1;
        if keep_raw {
            writer.write(elements.as_bytes())?;
        }
        Ok(())
    })?;
    writer.end_section()?;
    if field.has_offsets() {
        writer.write_section(sections::VECTOR_OFFSETS, bytemuck::cast_slice(&offsets))?;
    }
    writer.write_section(sections::ABSENT, &bitmap_bytes(&absent)?)?;
    finish(writer, name)
}
