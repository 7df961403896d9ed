//! The codes of a field: written beside its vectors, and scanned instead of them.
//!
//! Primary codes (with the codec) and secondary codes have a file each, since the one is scanned
//! by every query and the other read for few rows.

use std::ops::Range;
use std::sync::Arc;

use lanner_storage::{Access, FileEntry, SectionFile, SectionWriter};

use super::builder::{BuildPlan, BuildSource, finish};
use super::{FileRole, sealed, sections};
use crate::error::{Error, Result};
use crate::kernels::codes::{CodeKernel, CodeLayout};
use crate::model::{LvqCode, VectorField};
use crate::quantization::leanvec::Reduction;
use crate::quantization::{
    Codec, CodecReport, CodecSettings, PrimaryQuery, TrainedCodec, stratified,
};

/// The codes of one field of a sealed segment.
#[derive(Debug)]
pub struct FieldCodes {
    file: SectionFile,
    secondary: Option<SectionFile>,
    trained: Arc<TrainedCodec>,
    kernel: CodeKernel,
}

impl FieldCodes {
    /// Takes over opened files and checks that everything in them has the length it should.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the section that has not.
    pub(super) fn open(
        file: SectionFile,
        secondary: Option<SectionFile>,
        field: &VectorField,
        rows: u32,
    ) -> Result<Self> {
        let rows = rows as usize;
        let report: CodecReport = serde_json::from_slice(file.section(sections::CODEC)?)
            .map_err(|error| file.corrupted(sections::CODEC, error.to_string()))?;
        let floats = |section, len| sealed::slice::<f32>(&file, section, len).map(<[f32]>::to_vec);
        let center = floats(sections::CENTER, Some(field.dimension))?;
        let query_map = floats(sections::QUERY_MAP, None)?;
        let base_map = floats(sections::BASE_MAP, None)?;
        let reduction = if query_map.is_empty() {
            None
        } else {
            let base_map = (!base_map.is_empty()).then_some(base_map);
            let maps = Reduction::from_maps(field.dimension, report.dimension, query_map, base_map);
            let detail = "the maps are not of the reduced dimension";
            Some(maps.ok_or_else(|| file.corrupted(sections::QUERY_MAP, detail))?)
        };
        if report.dimension > field.dimension {
            let detail = format!("{} of {} dimensions", report.dimension, field.dimension);
            return Err(file.corrupted(sections::CODEC, detail).into());
        }
        if reduction.is_none() && report.dimension != field.dimension {
            let detail = format!("{} dimensions without a map to them", report.dimension);
            return Err(file.corrupted(sections::CODEC, detail).into());
        }
        let codec = Codec::new(codec_settings(field, report.code), center, reduction);
        let expect = |file: &SectionFile, section, expected: usize| {
            let got = file.section(section)?.len();
            let detail = format!("expected {expected} bytes, got {got}");
            if got == expected { Ok(()) } else { Err(file.corrupted(section, detail)) }
        };
        expect(&file, sections::PRIMARY, codec.primary_layout().section_bytes(rows))?;
        match &secondary {
            Some(file) => expect(file, sections::SECONDARY, rows * codec.secondary_stride())?,
            None if codec.secondary_stride() > 0 => {
                return Err(file
                    .corrupted(sections::CODEC, "the secondary codes are missing")
                    .into());
            }
            None => {}
        }
        let trained = Arc::new(TrainedCodec { codec, report });
        Ok(Self { file, secondary, trained, kernel: CodeKernel::detect() })
    }

    /// The codec, for new segments to share.
    pub fn trained(&self) -> &Arc<TrainedCodec> {
        &self.trained
    }

    /// The same for codes of the same codec, whatever the segment.
    pub fn codec_identity(&self) -> Vec<u64> {
        let sections = self.file.sections().iter();
        sections.filter(|info| info.name != sections::PRIMARY).map(|info| info.checksum).collect()
    }

    /// Encodes and scores.
    pub fn codec(&self) -> &Codec {
        &self.trained.codec
    }

    /// What was measured when the codec was trained.
    pub fn report(&self) -> &CodecReport {
        &self.trained.report
    }

    /// Whether candidates are re-ranked by codes; if not, by the vectors themselves.
    pub fn has_secondary(&self) -> bool {
        self.secondary.is_some()
    }

    /// Bytes that a scan reads for one row.
    pub fn row_bytes(&self) -> usize {
        self.codec().primary_layout().stride()
    }

    /// The approximate scores of a range of rows; higher is better.
    ///
    /// # Panics
    /// If `scores` are not as many as the rows, or the range ends past the last.
    #[inline]
    pub fn score(&self, query: &PrimaryQuery, rows: Range<u32>, scores: &mut [f32]) {
        assert_eq!(rows.len(), scores.len(), "a score a row");
        let records = &self.primary()[rows.start as usize * self.row_bytes()..];
        self.codec().score_rows(self.kernel, query, records, scores);
    }

    /// The vector of a row, as far as its codes hold it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reconstruct(&self, row: u32, out: &mut Vec<f32>) {
        let codec = self.codec();
        let (stride, row) = (codec.secondary_stride(), row as usize);
        let primary = &self.primary()[row * self.row_bytes()..];
        let secondary = self.secondary.as_ref().map(|file| section(file, sections::SECONDARY));
        let secondary = &secondary.unwrap_or_default()[row * stride..][..stride];
        codec.reconstruct(primary, secondary, out);
    }

    /// Asks for the secondary code of a row to be brought into the cache.
    pub(crate) fn prefetch_secondary(&self, row: u32) {
        let stride = self.codec().secondary_stride();
        let records = self.secondary.as_ref().map(|file| section(file, sections::SECONDARY));
        crate::kernels::prefetch(records.unwrap_or_default(), row as usize * stride, stride);
    }

    /// The files and what they are read for, in the order in which they were written.
    pub(super) fn files(&self) -> impl Iterator<Item = (&SectionFile, FileRole)> {
        let secondary = self.secondary.iter().map(|file| (file, FileRole::Rerank));
        std::iter::once((&self.file, FileRole::Candidates)).chain(secondary)
    }

    /// Says that [`Self::reconstruct`] will read these rows soon.
    pub(super) fn read_ahead(&self, rows: Range<u32>) {
        let bytes = |stride: usize| {
            u64::from(rows.start) * stride as u64..u64::from(rows.end) * stride as u64
        };
        // Hints, see `memory`.
        let _ = self.file.advise_range(sections::PRIMARY, bytes(self.row_bytes()), Access::Soon);
        if let Some(file) = &self.secondary {
            let bytes = bytes(self.codec().secondary_stride());
            let _ = file.advise_range(sections::SECONDARY, bytes, Access::Soon);
        }
    }

    /// What scores the codes on this machine.
    pub(super) fn kernel(&self) -> CodeKernel {
        self.kernel
    }

    /// The primary records, and slack.
    pub(crate) fn primary(&self) -> &[u8] {
        section(&self.file, sections::PRIMARY)
    }
}

/// `open` has found the section, so it is there.
fn section<'f>(file: &'f SectionFile, name: &str) -> &'f [u8] {
    file.section(name).unwrap_or_default()
}

fn codec_settings(field: &VectorField, code: LvqCode) -> CodecSettings {
    let secondary = field.compression.resolved_secondary();
    CodecSettings { code, secondary, metric: field.metric }
}

/// Vectors of some live rows of the sources, at most `count`, spread evenly over all: shape [n,
/// dimension]. Rows without a vector are left out.
pub fn sample_vectors(
    sources: &[BuildSource],
    index: usize,
    dimension: usize,
    count: u64,
    seed: u64,
) -> Vec<f32> {
    let total: u64 = sources.iter().map(BuildSource::live_rows).sum();
    let mut chosen = stratified(total, count, seed).into_iter().peekable();
    let mut values = Vec::with_capacity(count.min(total) as usize * dimension);
    let mut position = 0;
    for source in sources {
        let end = position + source.live_rows();
        let mut live = source.live();
        while let Some(next) = chosen.next_if(|&next| next < end) {
            let Some(row) = live.nth((next - position) as usize) else { break };
            position = next + 1;
            source.reader.visit_vectors(index, row..row + 1, &mut |_, view, range| {
                if !view.absent.contains(range.start as u32) {
                    values.extend(view.row(range.start).to_f32());
                }
            });
        }
        position = end;
    }
    values
}

/// Writes the codes of the live rows of the sources, in order. Rows without a vector get the code
/// of zeros.
pub(super) fn write_codes(
    plan: &BuildPlan<'_>,
    folder: &str,
    (index, field): (usize, &VectorField),
    trained: &TrainedCodec,
    sources: &[BuildSource],
) -> Result<Vec<FileEntry>> {
    let codec = &trained.codec;
    let name = sections::codes_file(index);
    let mut writer = plan.create_file(folder, &name, field)?;
    write_codec(&mut writer, trained)?;
    writer.begin_section(sections::PRIMARY)?;
    let (stride, second_stride) = (codec.primary_layout().stride(), codec.secondary_stride());
    let second_name = sections::secondary_file(index);
    let mut second = None;
    if second_stride > 0 {
        let mut writer = plan.create_file(folder, &second_name, field)?;
        writer.begin_section(sections::SECONDARY)?;
        second = Some(writer);
    }
    let (mut rows, mut primary, mut secondary) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        for range in source.live_ranges() {
            rows.clear();
            source.reader.read_ahead(index, range.clone());
            source.reader.visit_vectors(index, range, &mut |_, view, range| {
                for row in range {
                    rows.extend(view.row(row).to_f32());
                }
            });
            let count = rows.len() / codec.dimension();
            primary.resize(count * stride, 0);
            secondary.resize(count * second_stride, 0);
            plan.check_cancelled()?;
            plan.pool.install(|| codec.encode(&rows, &mut primary, &mut secondary));
            writer.write(&primary)?;
            if let Some(writer) = &mut second {
                writer.write(&secondary)?;
            }
        }
    }
    writer.write(&[0; CodeLayout::SLACK_BYTES])?;
    writer.end_section()?;
    let mut files = vec![finish(writer, name)?];
    if let Some(mut writer) = second {
        writer.end_section()?;
        files.push(finish(writer, second_name)?);
    }
    Ok(files)
}

fn write_codec(writer: &mut SectionWriter, trained: &TrainedCodec) -> Result<()> {
    let report = serde_json::to_vec(&trained.report)
        .map_err(|error| Error::Internal(format!("cannot encode a codec: {error}")))?;
    writer.write_section(sections::CODEC, &report)?;
    let reduction = trained.codec.reduction();
    for (name, floats) in [
        (sections::CENTER, Some(trained.codec.center())),
        (sections::QUERY_MAP, reduction.map(Reduction::query_map)),
        (sections::BASE_MAP, reduction.and_then(Reduction::base_map)),
    ] {
        writer.write_section(name, bytemuck::cast_slice(floats.unwrap_or_default()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lanner_storage::LocalDirectory;

    use super::*;
    use crate::model::Metric;
    use crate::quantization::{TrainingSample, train};

    const ROWS: u32 = 5;

    /// A codes file of `ROWS` rows, or one that is wrong in the section of this name.
    fn open(compression: &str, wrong: &str) -> Result<FieldCodes> {
        let field = VectorField::single(4, Metric::Dot).compressed(compression.parse().unwrap());
        let rows: Vec<f32> = (0..4 * 64).map(|i| (i as f32).sin()).collect();
        let sample = TrainingSample { rows: &rows, queries: &[], seed: 1 };
        let trained = train(&field, sample).unwrap().unwrap();
        let mut report = trained.report.clone();
        report.dimension += usize::from(wrong == "dimension");
        let folder = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(folder.path());
        let mut writer = SectionWriter::create(&directory, "codes.sec").unwrap();
        let section_bytes = trained.codec.primary_layout().section_bytes(ROWS as usize);
        let reduction = trained.codec.reduction().map_or(&[][..], Reduction::query_map);
        for (name, mut bytes) in [
            (sections::CODEC, serde_json::to_vec(&report).unwrap()),
            (sections::CENTER, bytemuck::cast_slice(trained.codec.center()).to_vec()),
            (sections::QUERY_MAP, bytemuck::cast_slice(reduction).to_vec()),
            (sections::BASE_MAP, Vec::new()),
            (sections::PRIMARY, vec![0; section_bytes]),
        ] {
            if name == wrong {
                bytes.truncate(bytes.len().saturating_sub(4));
            }
            writer.write_section(name, &bytes).unwrap();
        }
        writer.finish().unwrap();
        let file = SectionFile::open(&directory, "codes.sec")?;
        FieldCodes::open(file, None, &field, ROWS)
    }

    #[test]
    fn files_whose_lengths_do_not_fit_are_refused() {
        for compression in ["lvq8", "lvq4:2"] {
            let codes = open(compression, "nothing").unwrap();
            codes.score(&codes.codec().query(&[1.0; 4]), 0..ROWS, &mut [0.0; 5]);
        }
        for (compression, wrong, named) in [
            ("lvq8", sections::PRIMARY, "expected 124 bytes, got 120"),
            ("lvq8", sections::CENTER, "section `center`: expected 4 values, got 3"),
            ("lvq8", sections::CODEC, "section `codec`"),
            ("lvq8", "dimension", "section `codec`: 5 of 4 dimensions"),
            ("lvq8:2", "dimension", "section `query_map`: the maps are not"),
            ("lvq8:2", sections::QUERY_MAP, "section `query_map`: the maps are not"),
            ("lvq8/f16", "nothing", "the secondary codes are missing"),
        ] {
            let error = open(compression, wrong).err().unwrap();
            assert_eq!(error.kind(), crate::ErrorKind::Corrupted, "{compression} {wrong}");
            assert!(error.to_string().contains(named), "{compression} {wrong}: {error}");
        }
    }
}
