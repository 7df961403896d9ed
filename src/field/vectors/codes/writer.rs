//! Writes the codes of a field, and samples their input.

use std::borrow::Cow;
use std::ops::Range;

use lanner_storage::{FileEntry, SectionWriter};
use rayon::prelude::*;

use super::FieldCodec;
use super::kept::KeptMeter;
use super::multi::{FieldEncoder, NewLists, token_codec};
use crate::error::{Error, Result};
use crate::field::vectors::sections;
use crate::field::{FieldBuild, FieldSource, finish};
use crate::kernels::codes::CodeLayout;
use crate::model::{ElementsRef, VectorField, VectorKind};
use crate::multivector::TokenCodec;
use crate::quantization::leanvec::Reduction;
use crate::quantization::{Codec, TrainedCentroids, TrainedCodec, stratified};

/// Most rows to sample for learning token centroids.
const TOKEN_ROWS: u64 = 16_384;
/// Rows to encode per block.
const ENCODED_ROWS: usize = 256;

/// A sample of codec input: vectors, or encodings of a multi field.
pub struct CodedSample {
    /// Shape [n, coded dimension of the field].
    pub rows: Vec<f32>,
    /// End of each source's rows.
    pub ends: Vec<usize>,
}

/// Samples codec input from about `count` live rows of the sources, spread evenly over each, with
/// at least `least` rows per source if it has that many. Rows without a vector are skipped.
/// `token_center` is subtracted from vectors that are encoded.
///
/// # Errors
/// If the settings of an encoding are out of bounds.
pub fn sample_vectors(
    sources: &[FieldSource<'_>],
    field: &VectorField,
    token_center: &[f32],
    (count, least): (u64, u64),
    seed: u64,
) -> Result<CodedSample> {
    let total = FieldSource::total(sources);
    let mut block = CodedBlock::default();
    let mut ends = Vec::with_capacity(sources.len());
    for source in sources {
        let live = source.live.count();
        let share =
            (u128::from(count) * u128::from(live)).div_ceil(u128::from(total.max(1))) as u64;
        visit_some(source, (share.max(least), seed), |_, vectors| block.push(vectors));
        ends.push(block.rows());
    }
    let encoder = FieldEncoder::new(field, token_center)?;
    Ok(CodedSample { rows: block.into_coded(encoder.as_ref())?, ends })
}

/// Visits an even sample of `count` live rows of a source, with their elements, skipping rows
/// without a vector.
fn visit_some(
    source: &FieldSource<'_>,
    (count, seed): (u64, u64),
    mut visit: impl FnMut(u32, ElementsRef<'_>),
) {
    let mut chosen = stratified(source.live.count(), count, seed).into_iter();
    let mut next = chosen.next();
    for (position, row) in (0..).zip(source.live.iter()) {
        if next != Some(position) {
            continue;
        }
        next = chosen.next();
        source.reader.visit(row..row + 1, &mut |_, view, range| {
            if !view.absent.contains(range.start as u32) {
                visit(row, view.row(range.start));
            }
        });
    }
}

/// Approximate number of vectors in the rows of a multi field.
pub fn count_tokens(sources: &[FieldSource<'_>], field: &VectorField) -> u64 {
    let bytes = |source: &FieldSource<'_>| source.reader.vector_bytes();
    let bytes: u64 = sources.iter().map(bytes).sum();
    bytes / (field.dimension * field.element.size_bytes()).max(1) as u64
}

/// Samples about `wanted` vectors of the live rows of a multi field, spread evenly; shape [n,
/// dimension].
pub fn sample_tokens(
    sources: &[FieldSource<'_>],
    field: &VectorField,
    wanted: usize,
    seed: u64,
) -> Vec<f32> {
    let total = FieldSource::total(sources);
    let rows = total.min(TOKEN_ROWS);
    let of_row = (wanted as u64).div_ceil(rows.max(1));
    let mut values = Vec::with_capacity(wanted * field.dimension);
    for source in sources {
        let share = (rows * source.live.count()).div_ceil(total.max(1));
        visit_some(source, (share, seed), |row, vectors| {
            let vectors = vectors.to_f32();
            let count = (vectors.len() / field.dimension) as u64;
            for token in stratified(count, of_row, seed ^ u64::from(row)) {
                let start = token as usize * field.dimension;
                values.extend_from_slice(&vectors[start..][..field.dimension]);
            }
        });
    }
    values
}

/// Vectors of a block of rows.
#[derive(Default)]
pub struct CodedBlock {
    values: Vec<f32>,
    /// End of each row's vectors, in elements.
    ends: Vec<usize>,
}

impl CodedBlock {
    /// The vectors of some rows.
    fn read(source: &FieldSource<'_>, rows: Range<u32>) -> Self {
        let mut block = Self::default();
        source.reader.read_ahead(rows.clone());
        source.reader.visit(rows, &mut |_, view, range| {
            range.for_each(|row| block.push(view.row(row)));
        });
        block
    }

    fn push(&mut self, elements: ElementsRef<'_>) {
        self.values.extend(elements.to_f32());
        self.ends.push(self.values.len());
    }

    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The vectors of a row.
    pub fn row(&self, row: usize) -> &[f32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start..self.ends[row]]
    }

    /// Codec input, row by row: the vectors, or the encodings of a multi field.
    fn coded(&self, encoder: Option<&FieldEncoder>) -> Result<Cow<'_, [f32]>> {
        match encoder {
            Some(encoder) => encoder.encode(&self.values, &self.ends).map(Cow::Owned),
            None => Ok(Cow::Borrowed(&self.values)),
        }
    }

    fn into_coded(self, encoder: Option<&FieldEncoder>) -> Result<Vec<f32>> {
        match encoder {
            Some(encoder) => encoder.encode(&self.values, &self.ends),
            None => Ok(self.values),
        }
    }

    /// Codes of all vectors, in order; `nearest`: the centroids nearest to them, if there are any.
    fn tokens(&self, codec: &TokenCodec, nearest: Option<&[u16]>) -> Vec<u8> {
        let count = |elements: usize| elements / codec.dimension();
        let mut codes = vec![0; codec.document_bytes(count(self.values.len()))];
        let (mut jobs, mut rest, mut start) = (Vec::with_capacity(self.ends.len()), &mut *codes, 0);
        for &end in &self.ends {
            let (document, after) = rest.split_at_mut(codec.document_bytes(count(end - start)));
            let nearest = nearest.and_then(|nearest| nearest.get(count(start)..count(end)));
            jobs.push((&self.values[start..end], nearest, document));
            (rest, start) = (after, end);
        }
        let encode = |(tokens, nearest, document): (&[f32], Option<&[u16]>, &mut [u8])| {
            codec.encode(tokens, nearest, document);
        };
        jobs.into_par_iter().for_each(encode);
        codes
    }
}

/// Writes the codes of the live rows of the sources, in order. Rows without a vector are coded as
/// zeros.
///
/// # Errors
/// If a file cannot be written, or [`Error::Closing`] if the build was cancelled.
pub fn write_codes(
    build: &FieldBuild<'_>,
    codec: &FieldCodec,
    sources: &[FieldSource<'_>],
) -> Result<Vec<FileEntry>> {
    let (index, field) = (build.index, build.settings);
    let trained = codec.primary.as_deref();
    let encoder = trained.map(|trained| FieldEncoder::new(field, &trained.token_center));
    let encoder = encoder.transpose()?.flatten();
    let name = sections::codes_file(index);
    let mut writer = build.create_file(&name)?;
    write_codec(&mut writer, codec)?;
    if trained.is_some() {
        writer.begin_section(sections::PRIMARY)?;
    }
    let second_name = sections::secondary_file(index);
    let mut second = Second::new(field, codec);
    let mut second_writer = None;
    if second.is_written() {
        let mut writer = build.create_file(&second_name)?;
        writer.begin_section(sections::SECONDARY)?;
        second_writer = Some(writer);
    }
    let (mut primary, mut secondary) = (Vec::new(), Vec::new());
    let drops = !field.compression.keep_raw && second_writer.is_some();
    let mut kept = drops.then(|| KeptMeter::new(field, sources));
    let centroids = codec.centroids.as_ref().map(|trained| &*trained.centroids);
    let mut lists = centroids.map(NewLists::new);
    for source in sources {
        for range in
            source.live.ranges().flat_map(|range| blocks(range, field.kind == VectorKind::Multi))
        {
            build.advance(u64::from(range.end - range.start))?;
            let block = CodedBlock::read(source, range);
            build.pool.install(|| -> Result<()> {
                let codec = trained.map(|trained| &trained.codec);
                let coded = codec.map(|_| block.coded(encoder.as_ref())).transpose()?;
                let coded = codec.zip(coded.as_deref());
                let nearest = centroids.map(|centroids| centroids.nearest(block.values()));
                second.encode(&block, nearest.as_deref(), coded, &mut primary, &mut secondary);
                if let Some((lists, nearest)) = lists.as_mut().zip(nearest.as_deref()) {
                    lists.add(&block, nearest);
                }
                if let Some(kept) = &mut kept {
                    let codes = (codec, &*primary, &*secondary);
                    kept.add(&block, codes, second.tokens());
                }
                Ok(())
            })?;
            if trained.is_some() {
                writer.write(&primary)?;
            }
            if let Some(writer) = &mut second_writer {
                writer.write(&secondary)?;
            }
        }
    }
    if trained.is_some() {
        writer.write(&[0; CodeLayout::SLACK_BYTES])?;
        writer.end_section()?;
    }
    if let Some(lists) = lists {
        lists.finish(&mut writer)?;
    }
    let mut files = vec![finish(writer, name)?];
    if let Some(mut writer) = second_writer {
        second.finish(&mut writer)?;
        if let Some(json) = kept.map(KeptMeter::into_section).transpose()?.flatten() {
            writer.write_section(sections::KEPT, &json)?;
        }
        files.push(finish(writer, second_name)?);
    }
    Ok(files)
}

/// Splits a range into blocks to encode: encodings are long.
fn blocks(range: Range<u32>, encoded: bool) -> impl Iterator<Item = Range<u32>> {
    let step = if encoded { ENCODED_ROWS } else { range.len().max(1) };
    let end = range.end;
    range.step_by(step).map(move |first| first..end.min(first.saturating_add(step as u32)))
}

/// Producer of secondary codes.
enum Second {
    /// None, or made by the codec.
    OfCodec { stride: usize },
    /// Codes of all vectors of a multi field, with the start of each row's.
    Tokens { codec: TokenCodec, offsets: Vec<u64> },
}

impl Second {
    fn new(field: &VectorField, codec: &FieldCodec) -> Self {
        let centroids = codec.centroids.as_ref().map(|trained| &trained.centroids);
        let stride = codec.primary.as_ref().map_or(0, |trained| trained.codec.secondary_stride());
        match token_codec(field, centroids) {
            Some(codec) => Self::Tokens { codec, offsets: vec![0] },
            None => Self::OfCodec { stride },
        }
    }

    fn tokens(&self) -> Option<&TokenCodec> {
        match self {
            Self::OfCodec { .. } => None,
            Self::Tokens { codec, .. } => Some(codec),
        }
    }

    fn is_written(&self) -> bool {
        !matches!(self, Self::OfCodec { stride: 0 })
    }

    /// Replaces `primary` and `secondary` by the codes of a block; `coded`: its codec and the input of
    /// that, if it has primary codes.
    fn encode(
        &mut self,
        block: &CodedBlock,
        nearest: Option<&[u16]>,
        coded: Option<(&Codec, &[f32])>,
        primary: &mut Vec<u8>,
        secondary: &mut Vec<u8>,
    ) {
        let stride = match self {
            Self::OfCodec { stride } => *stride,
            Self::Tokens { .. } => 0,
        };
        secondary.resize(block.rows() * stride, 0);
        if let Some((codec, values)) = coded {
            primary.resize(block.rows() * codec.primary_layout().stride(), 0);
            codec.encode(values, primary, secondary);
        }
        match self {
            Self::OfCodec { .. } => {}
            Self::Tokens { codec: tokens, offsets } => {
                *secondary = block.tokens(tokens, nearest);
                let before = offsets[offsets.len() - 1];
                let end = |&end: &usize| before + (end / tokens.dimension()) as u64;
                offsets.extend(block.ends.iter().map(end));
            }
        }
    }

    fn finish(&self, writer: &mut SectionWriter) -> Result<()> {
        let Self::Tokens { codec, offsets } = self else { return Ok(writer.end_section()?) };
        writer.write(&[0; TokenCodec::SLACK_BYTES])?;
        writer.end_section()?;
        let code = serde_json::to_vec(&codec.code())
            .map_err(|error| Error::Internal(format!("cannot encode a token code: {error}")))?;
        writer.write_section(sections::TOKEN_CODE, &code)?;
        Ok(writer.write_section(sections::TOKEN_OFFSETS, bytemuck::cast_slice(offsets))?)
    }
}

fn write_codec(writer: &mut SectionWriter, codec: &FieldCodec) -> Result<()> {
    let json = |report: serde_json::Result<Vec<u8>>| {
        report.map_err(|error| Error::Internal(format!("cannot encode a codec: {error}")))
    };
    if let Some(TrainedCodec { codec, report, token_center }) = codec.primary.as_deref() {
        writer.write_section(sections::CODEC, &json(serde_json::to_vec(report))?)?;
        let reduction = codec.reduction();
        for (name, floats) in [
            (sections::CENTER, Some(codec.center())),
            (sections::QUERY_MAP, reduction.map(Reduction::query_map)),
            (sections::BASE_MAP, reduction.and_then(Reduction::base_map)),
        ] {
            writer.write_section(name, bytemuck::cast_slice(floats.unwrap_or_default()))?;
        }
        if !token_center.is_empty() {
            writer.write_section(sections::TOKEN_CENTER, bytemuck::cast_slice(token_center))?;
        }
    }
    if let Some(TrainedCentroids { centroids, report }) = &codec.centroids {
        writer.write_section(sections::CENTROID_CODES, centroids.codes())?;
        writer.write_section(sections::CENTROID_REPORT, &json(serde_json::to_vec(report))?)?;
    }
    Ok(())
}
