//! The codes of a field: written next to its vectors, and scanned instead of them.
//!
//! Primary codes (with the codec) and secondary codes have separate files, because the former are
//! scanned by every query and the latter are read for few rows. The primary codes of a multi field
//! are codes of its points' encodings, which are not stored; its secondary codes are those of all
//! vectors. A segment of a multi field that has no index is scanned by centroids: it has no primary
//! codes, and needs no encodings.

mod kept;
mod multi;
mod query;
mod writer;

use std::ops::Range;
use std::sync::Arc;

use lanner_storage::{Access, Section, SectionFile};

use self::kept::Kept;
use self::multi::{CentroidLists, token_code};
pub use self::multi::{FieldEncoder, Probed, TokenStore};
pub use self::query::FieldQuery;
pub(super) use self::writer::write_codes;
pub use self::writer::{CodedSample, count_tokens, sample_tokens, sample_vectors};
use super::sections;
use crate::error::Result;
use crate::field::{FileRole, slice};
use crate::index::Scores;
use crate::kernels::codes::CodeKernel;
use crate::model::{LvqCode, VectorField, VectorKind};
use crate::multivector::{CentroidQuery, Probes};
use crate::quantization::leanvec::Reduction;
use crate::quantization::{
    Centroids, Codec, CodecReport, CodecSettings, SecondaryQuery, TrainedCentroids, TrainedCodec,
};

/// What segments of a field share to code its rows.
#[derive(Debug, Clone, Default)]
pub struct FieldCodec {
    /// The codec of primary codes; `None` for a multi field that is only scanned by centroids.
    pub primary: Option<Arc<TrainedCodec>>,
    /// Token centroids of a multi field, if it has any.
    pub centroids: Option<TrainedCentroids>,
}

impl FieldCodec {
    /// True if both share all of their parts.
    pub fn is(&self, other: &Self) -> bool {
        let primary = (self.primary.as_ref(), other.primary.as_ref());
        same(primary.0, primary.1) && self.has_centroids_of(other)
    }

    /// True if both share their centroids, or have none.
    pub fn has_centroids_of(&self, other: &Self) -> bool {
        let of = |codec: &Self| codec.centroids.as_ref().map(|own| own.centroids.clone());
        same(of(self).as_ref(), of(other).as_ref())
    }
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The codes of one field of a sealed segment.
#[derive(Debug)]
pub struct FieldCodes {
    file: SectionFile,
    rows: u32,
    codec: FieldCodec,
    primary: Option<PrimaryCodes>,
    secondary: Option<Secondary>,
    /// Multi fields only.
    lists: Option<CentroidLists>,
    /// Recall of the secondary codes, if the vectors were dropped and it was measured.
    kept: Option<Kept>,
    kernel: CodeKernel,
}

/// Codes of vectors, or of the encodings of a multi field.
#[derive(Debug)]
struct PrimaryCodes {
    records: Section,
    /// Multi fields only.
    encoder: Option<Arc<FieldEncoder>>,
}

/// Codes for re-ranking, if the raw vectors do not re-rank.
#[derive(Debug)]
enum Secondary {
    /// One record per row.
    Records(SectionFile, Section),
    /// Codes of all vectors of a multi field.
    Tokens(TokenStore),
}

impl Secondary {
    fn file(&self) -> &SectionFile {
        match self {
            Self::Records(file, _) => file,
            Self::Tokens(tokens) => tokens.file(),
        }
    }
}

impl FieldCodes {
    /// Wraps opened files and checks the lengths of their sections.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the section with the wrong length.
    pub(super) fn open(
        file: SectionFile,
        secondary: Option<SectionFile>,
        field: &VectorField,
        rows: u32,
    ) -> Result<Self> {
        let primary = read_codec(&file, field)?.map(Arc::new);
        let centroids = read_centroids(&file, field)?;
        let codec = FieldCodec { primary, centroids };
        let count = rows as usize;
        let records = codec.primary.as_ref().map(|trained| -> Result<_> {
            expect(&file, sections::PRIMARY, trained.codec.primary_layout().section_bytes(count))?;
            let encoder = FieldEncoder::new(field, &trained.token_center)?.map(Arc::new);
            Ok(PrimaryCodes { records: file.find(sections::PRIMARY)?, encoder })
        });
        let primary = records.transpose()?;
        let missing = || file.corrupted(sections::CODEC, "the secondary codes are missing");
        let stride = codec.primary.as_ref().map_or(0, |trained| trained.codec.secondary_stride());
        let secondary = match (secondary, token_code(field).is_some()) {
            (Some(file), true) => {
                let centroids = codec.centroids.as_ref().map(|trained| &trained.centroids);
                Some(Secondary::Tokens(TokenStore::open(file, field, centroids, count)?))
            }
            (Some(file), false) => {
                expect(&file, sections::SECONDARY, count * stride)?;
                let records = file.find(sections::SECONDARY)?;
                Some(Secondary::Records(file, records))
            }
            (None, true) => return Err(missing().into()),
            (None, false) if stride > 0 => return Err(missing().into()),
            (None, false) => None,
        };
        let known = codec.centroids.as_ref().map_or(0, |trained| trained.centroids.count());
        let lists = CentroidLists::open(&file, count, known)?;
        if primary.is_none() && lists.is_none() {
            return Err(file.corrupted(sections::CODEC, "neither a codec nor centroids").into());
        }
        let kept = secondary.as_ref().map(|secondary| read_kept(secondary.file())).transpose()?;
        let (kept, kernel) = (kept.flatten(), CodeKernel::detect());
        Ok(Self { file, rows, codec, primary, secondary, lists, kept, kernel })
    }

    /// What is shared with other segments.
    pub fn shared(&self) -> &FieldCodec {
        &self.codec
    }

    /// Shares the parts of other codes that are the same, so that they are in memory only once.
    pub fn share_codec(&mut self, other: &Self) {
        let same = |names: &[&str]| self.checksums(names) == other.checksums(names);
        let codec = [
            sections::CODEC,
            sections::CENTER,
            sections::QUERY_MAP,
            sections::BASE_MAP,
            sections::TOKEN_CENTER,
        ];
        let (codec, centroids) =
            (same(&codec), same(&[sections::CENTROID_CODES, sections::TOKEN_CENTROIDS]));
        if codec && let (Some(own), Some(other_codes)) = (&mut self.primary, &other.primary) {
            self.codec.primary.clone_from(&other.codec.primary);
            own.encoder.clone_from(&other_codes.encoder);
        }
        if !centroids {
            return;
        }
        self.codec.centroids.clone_from(&other.codec.centroids);
        if let (Some(Secondary::Tokens(own)), Some(Secondary::Tokens(other))) =
            (&mut self.secondary, &other.secondary)
        {
            own.share(other);
        }
    }

    /// Checksums of sections; `None` of those that do not exist.
    fn checksums(&self, names: &[&str]) -> Vec<Option<u64>> {
        let checksum = |name: &&str| {
            let sections = self.file.sections().iter();
            sections.filter(|info| info.name == **name).map(|info| info.checksum).next()
        };
        names.iter().map(checksum).collect()
    }

    /// Encodes vectors, or encodings of a multi field, and scores codes, if there are primary codes.
    pub fn codec(&self) -> Option<&Codec> {
        Some(&self.codec.primary.as_ref()?.codec)
    }

    /// The report of the training of [`Self::codec`].
    pub fn report(&self) -> Option<&CodecReport> {
        Some(&self.codec.primary.as_ref()?.report)
    }

    /// Prepares a query of shape [m, field dimension] for scoring. With `scan`, no index is searched:
    /// primary codes are not scored where there are token centroids. `known` is the query, prepared for
    /// the same centroids.
    ///
    /// # Errors
    /// If a multi-vector query has no vector.
    pub fn query(
        &self,
        query: &[f32],
        scan: bool,
        known: Option<Arc<CentroidQuery>>,
    ) -> Result<FieldQuery> {
        let centroids = self.centroids().filter(|_| self.has_lists()).map(|centroids| {
            known.unwrap_or_else(|| Arc::new(CentroidQuery::new(centroids, query)))
        });
        let codes = self.primary.as_ref().filter(|_| !scan || centroids.is_none());
        let primary = match codes.zip(self.codec()) {
            Some((PrimaryCodes { encoder: Some(encoder), .. }, codec)) => {
                Some(encoder.query(codec, query)?)
            }
            Some((_, codec)) => Some(codec.query(query)),
            None => None,
        };
        Ok(FieldQuery { primary, centroids })
    }

    fn centroids(&self) -> Option<&Arc<Centroids>> {
        self.codec.centroids.as_ref().map(|trained| &trained.centroids)
    }

    /// Extra bytes taken by a query of `vectors` vectors.
    pub fn query_bytes(&self, vectors: usize) -> usize {
        let centroids = self.centroids().filter(|_| self.has_lists());
        let all = self.tokens().is_some_and(|tokens| tokens.codec().centroids().is_some());
        centroids.map_or(0, |centroids| CentroidQuery::bytes(centroids, vectors, all))
    }

    /// True if scans read the token centroids instead of primary codes.
    pub fn has_lists(&self) -> bool {
        self.lists.is_some()
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The primary record of a row; empty if there are no primary codes.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn record(&self, row: u32) -> &[u8] {
        &self.primary()[row as usize * self.row_bytes()..][..self.row_bytes()]
    }

    /// A lower bound of the recall of all secondary codes among the exact nearest `hits` rows, if
    /// the vectors were dropped and it was measured; `nearness` is that of the last hit, if known.
    pub fn kept(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        self.kept.as_ref()?.of(hits, nearness)
    }

    /// True if codes re-rank candidates, false if raw vectors do.
    pub fn has_secondary(&self) -> bool {
        self.secondary.is_some()
    }

    /// Token codes of a multi field, if there are any.
    pub fn tokens(&self) -> Option<&TokenStore> {
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => Some(tokens),
            _ => None,
        }
    }

    /// True for multi fields, whose primary codes are those of encodings, if there are any.
    pub fn is_multi(&self) -> bool {
        self.has_lists() || self.primary.as_ref().is_some_and(|codes| codes.encoder.is_some())
    }

    /// Mean size of a row's secondary codes, in bytes; 0 if raw vectors re-rank.
    pub fn secondary_row_bytes(&self) -> usize {
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => tokens.row_bytes(),
            _ => self.stride(),
        }
    }

    /// Bytes of a primary record; 0 if there are none.
    pub fn row_bytes(&self) -> usize {
        self.codec().map_or(0, |codec| codec.primary_layout().stride())
    }

    /// Bytes of a secondary record; 0 if there are none.
    fn stride(&self) -> usize {
        self.codec().map_or(0, Codec::secondary_stride)
    }

    /// Approximate scores of a range of rows; higher is better.
    ///
    /// # Panics
    /// If `scores` and `rows` differ in length, or the range is out of bounds.
    #[inline]
    pub fn score(&self, query: &FieldQuery, rows: Range<u32>, scores: &mut [f32]) {
        assert_eq!(rows.len(), scores.len(), "a score a row");
        match (&self.lists, query.centroids(), query.primary().zip(self.codec())) {
            (Some(lists), Some(query), _) => lists.score(&self.file, query, rows, scores),
            (_, _, Some((query, codec))) => {
                let records = &self.primary()[rows.start as usize * self.row_bytes()..];
                codec.score_rows(self.kernel, query, records, scores);
            }
            // No such query is made.
            _ => scores.fill(f32::NEG_INFINITY),
        }
    }

    /// Approximate scores of the listed rows; higher is better.
    ///
    /// # Panics
    /// As [`Self::score`].
    pub fn score_listed(&self, query: &FieldQuery, rows: &[u32], scores: &mut [f32]) {
        let own = query.primary().and_then(|query| self.scores(query));
        match (&self.lists, query.centroids(), own) {
            (Some(lists), Some(query), _) => {
                lists.score(&self.file, query, rows.iter().copied(), scores);
            }
            (_, _, Some(own)) => own.score(rows, scores),
            _ => scores.fill(f32::NEG_INFINITY),
        }
    }

    /// Candidates by lists of rows by centroid; none if there are no such lists.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    pub fn probe(&self, query: &FieldQuery, probes: &Probes) -> Result<Probed> {
        match self.lists.as_ref().zip(query.centroids()) {
            Some((lists, query)) => lists.probe(&self.file, query, probes),
            None => Ok(Probed::default()),
        }
    }

    /// Whether there are lists of rows by centroid.
    pub fn has_listed_rows(&self) -> bool {
        self.lists.as_ref().is_some_and(CentroidLists::has_rows)
    }

    /// Number of different tokens of a query that reach a row; 0 without centroids.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reached(&self, query: &FieldQuery, probes: &Probes, row: u32) -> u32 {
        let lists = self.lists.as_ref().zip(query.centroids());
        lists.map_or(0, |(lists, query)| lists.reached(&self.file, query, probes, row))
    }

    /// Mean bytes per row that a scan reads.
    pub fn scanned_row_bytes(&self) -> usize {
        let lists = self.lists.as_ref();
        lists.map_or(self.row_bytes(), |lists| lists.row_bytes(&self.file, self.rows))
    }

    /// The reconstructed vector of a row, or its vectors in a multi field.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reconstruct(&self, row: u32, out: &mut Vec<f32>) {
        if let Some(tokens) = self.tokens() {
            return tokens.decode(row, out);
        }
        out.clear();
        let Some(codec) = self.codec() else { return };
        let (stride, row) = (codec.secondary_stride(), row as usize);
        let primary = &self.primary()[row * self.row_bytes()..];
        codec.reconstruct(primary, &self.records()[row * stride..][..stride], out);
    }

    /// Verifies the checksums of the bytes that [`Self::reconstruct`] and [`Self::rescore`] read.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    pub(super) fn check(&self, row: u32) -> Result<()> {
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => return tokens.check(row),
            Some(Secondary::Records(file, records)) => {
                let stride = self.stride();
                file.checked(*records, row as usize * stride..(row as usize + 1) * stride)?;
            }
            None => {}
        }
        self.check_primary(row..row + 1)
    }

    /// Verifies the checksums of the bytes that [`Self::score`] reads for a query.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(super) fn check_scanned(&self, query: &FieldQuery, rows: Range<u32>) -> Result<()> {
        match (query.centroids(), &self.lists) {
            (Some(_), Some(lists)) => lists.check(&self.file, rows),
            _ => self.check_primary(rows),
        }
    }

    fn check_primary(&self, rows: Range<u32>) -> Result<()> {
        let at = |row: u32| row as usize * self.row_bytes();
        if let Some(codes) = &self.primary {
            self.file.checked(codes.records, at(rows.start)..at(rows.end))?;
        }
        Ok(())
    }

    /// Scores rows by their secondary codes; `None` if those must be decoded.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn rescore(&self, query: &SecondaryQuery, rows: &[u32]) -> Option<Vec<f32>> {
        self.codec()?.score_secondary(self.kernel, query, self.records(), rows)
    }

    fn records(&self) -> &[u8] {
        match &self.secondary {
            Some(Secondary::Records(file, records)) => file.bytes(*records),
            _ => &[],
        }
    }

    /// Prefetches the secondary code of a row.
    pub(crate) fn prefetch_secondary(&self, row: u32) {
        let stride = self.stride();
        crate::kernels::prefetch(self.records(), row as usize * stride, stride);
    }

    /// The files with their roles, in the order they were written.
    pub(super) fn files(&self) -> impl Iterator<Item = (&SectionFile, FileRole)> {
        let secondary = self.secondary.iter().map(|codes| (codes.file(), FileRole::Rerank));
        std::iter::once((&self.file, FileRole::Candidates)).chain(secondary)
    }

    /// Advises that [`Self::reconstruct`] will read these rows soon.
    pub(super) fn read_ahead(&self, rows: Range<u32>) {
        let bytes = |stride: usize| {
            u64::from(rows.start) * stride as u64..u64::from(rows.end) * stride as u64
        };
        // Hints, see `memory`.
        if let Some(codes) = &self.primary {
            let _ = self.file.advise_range(codes.records, bytes(self.row_bytes()), Access::Soon);
        }
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => tokens.read_ahead(rows),
            Some(Secondary::Records(file, records)) => {
                let bytes = bytes(self.stride());
                let _ = file.advise_range(*records, bytes, Access::Soon);
            }
            None => {}
        }
    }

    /// The kernel that scores codes on this CPU.
    pub(super) fn kernel(&self) -> CodeKernel {
        self.kernel
    }

    /// The primary records, and slack; empty if there are none.
    pub(crate) fn primary(&self) -> &[u8] {
        self.primary.as_ref().map_or(&[], |codes| self.file.bytes(codes.records))
    }
}

/// Checks the length of a section.
fn expect(file: &SectionFile, section: &str, expected: usize) -> Result<()> {
    let got = file.section(section)?.len();
    let detail = || format!("expected {expected} bytes, got {got}");
    if got == expected { Ok(()) } else { Err(file.corrupted(section, detail()).into()) }
}

/// The codec of the primary codes, if there are any.
fn read_codec(file: &SectionFile, field: &VectorField) -> Result<Option<TrainedCodec>> {
    if !file.has(sections::CODEC) && field.kind == VectorKind::Multi {
        return Ok(None);
    }
    let report: CodecReport = serde_json::from_slice(file.section(sections::CODEC)?)
        .map_err(|error| file.corrupted(sections::CODEC, error.to_string()))?;
    let floats = |section, len| slice::<f32>(file, section, len).map(<[f32]>::to_vec);
    let dimension = field.coded_dimension();
    let center = floats(sections::CENTER, Some(dimension))?;
    let query_map = floats(sections::QUERY_MAP, None)?;
    let base_map = floats(sections::BASE_MAP, None)?;
    let reduction = if query_map.is_empty() {
        None
    } else {
        let base_map = (!base_map.is_empty()).then_some(base_map);
        let maps = Reduction::from_maps(dimension, report.dimension, query_map, base_map);
        let detail = "the maps are not of the reduced dimension";
        Some(maps.ok_or_else(|| file.corrupted(sections::QUERY_MAP, detail))?)
    };
    if report.dimension > dimension {
        let detail = format!("{} of {dimension} dimensions", report.dimension);
        return Err(file.corrupted(sections::CODEC, detail).into());
    }
    if reduction.is_none() && report.dimension != dimension {
        let detail = format!("{} dimensions without a map to them", report.dimension);
        return Err(file.corrupted(sections::CODEC, detail).into());
    }
    let codec = Codec::new(codec_settings(field, report.code), center, reduction);
    let token_center = match file.has(sections::TOKEN_CENTER) {
        true => floats(sections::TOKEN_CENTER, Some(field.dimension))?,
        false => Vec::new(),
    };
    Ok(Some(TrainedCodec { codec, report, token_center }))
}

fn read_centroids(file: &SectionFile, field: &VectorField) -> Result<Option<TrainedCentroids>> {
    let (section, centroids) = if file.has(sections::CENTROID_CODES) {
        let codes = file.section(sections::CENTROID_CODES)?.to_vec();
        (sections::CENTROID_CODES, Centroids::from_codes(codes, field.dimension))
    } else if file.has(sections::TOKEN_CENTROIDS) {
        let values = slice::<f32>(file, sections::TOKEN_CENTROIDS, None)?;
        (sections::TOKEN_CENTROIDS, Centroids::from_values(values, field.dimension))
    } else {
        return Ok(None);
    };
    let corrupted = || file.corrupted(section, "no whole number of centroids");
    let centroids = centroids.ok_or_else(corrupted)?;
    let report = match file.has(sections::CENTROID_REPORT) {
        true => serde_json::from_slice(file.section(sections::CENTROID_REPORT)?)
            .map_err(|error| file.corrupted(sections::CENTROID_REPORT, error.to_string()))?,
        false => None,
    };
    Ok(Some(TrainedCentroids { centroids: Arc::new(centroids), report }))
}

fn read_kept(file: &SectionFile) -> Result<Option<Kept>> {
    if !file.has(sections::KEPT) {
        return Ok(None);
    }
    let kept = serde_json::from_slice(file.section(sections::KEPT)?);
    Ok(Some(kept.map_err(|error| file.corrupted(sections::KEPT, error.to_string()))?))
}

/// Settings of the primary codec; the secondary codes of a multi field are separate.
fn codec_settings(field: &VectorField, code: LvqCode) -> CodecSettings {
    let coded = field.coded();
    CodecSettings { code, secondary: coded.compression.resolved_secondary(), metric: coded.metric }
}

#[cfg(test)]
mod tests {
    use lanner_storage::{LocalDirectory, SectionWriter};

    use super::*;
    use crate::model::Metric;
    use crate::quantization::{Training, TrainingSample, train};

    const ROWS: u32 = 5;

    /// Opens a codes file of `ROWS` rows, damaged in the section `wrong` if it exists.
    fn open(compression: &str, wrong: &str) -> Result<FieldCodes> {
        let field = VectorField::single(4, Metric::Dot).compressed(compression.parse().unwrap());
        let rows: Vec<f32> = (0..4 * 64).map(|i| (i as f32).sin()).collect();
        let (ends, none) = ([64], &[][..]);
        let sample = TrainingSample {
            rows: &rows,
            ends: &ends,
            queries: none,
            held_out_queries: none,
            seed: 1,
        };
        let Training::Codec(trained) = train(&field, sample).unwrap() else { panic!("a codec") };
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
            let query = codes.query(&[1.0; 4], true, None).unwrap();
            codes.score(&query, 0..ROWS, &mut [0.0; 5]);
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
