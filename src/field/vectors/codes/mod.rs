//! The codes of a field: written next to its vectors, and scanned instead of them.
//!
//! Primary codes (with the codec) and secondary codes have separate files, because the former are
//! scanned by every query and the latter are read for few rows. The primary codes of a multi field
//! are codes of its points' encodings, which are not stored; its secondary codes are those of all
//! vectors.

mod kept;
mod multi;
mod query;
mod writer;

use std::ops::Range;
use std::sync::Arc;

use lanner_storage::{Access, Section, SectionFile};

use self::kept::Kept;
use self::multi::{CentroidLists, token_code};
pub use self::multi::{FieldEncoder, TokenStore};
pub use self::query::FieldQuery;
pub(super) use self::writer::write_codes;
pub use self::writer::{CodedSample, count_tokens, sample_tokens, sample_vectors};
use super::sections;
use crate::error::Result;
use crate::field::{FileRole, slice};
use crate::index::Scores;
use crate::kernels::codes::{CodeKernel, CodeLayout};
use crate::model::{LvqCode, VectorField};
use crate::multivector::CentroidQuery;
use crate::quantization::leanvec::Reduction;
use crate::quantization::{
    Centroids, Codec, CodecReport, CodecSettings, SecondaryQuery, TrainedCodec,
};

/// The codes of one field of a sealed segment.
#[derive(Debug)]
pub struct FieldCodes {
    file: SectionFile,
    primary: Section,
    secondary: Option<Secondary>,
    trained: Arc<TrainedCodec>,
    /// Multi fields only.
    encoder: Option<Arc<FieldEncoder>>,
    /// Multi fields with few rows only.
    lists: Option<CentroidLists>,
    /// Recall of the secondary codes, if the vectors were dropped and it was measured.
    kept: Option<Kept>,
    kernel: CodeKernel,
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
        let rows = rows as usize;
        let report: CodecReport = serde_json::from_slice(file.section(sections::CODEC)?)
            .map_err(|error| file.corrupted(sections::CODEC, error.to_string()))?;
        let floats = |section, len| slice::<f32>(&file, section, len).map(<[f32]>::to_vec);
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
        let expect = |file: &SectionFile, section, expected: usize| {
            let got = file.section(section)?.len();
            let detail = format!("expected {expected} bytes, got {got}");
            if got == expected { Ok(()) } else { Err(file.corrupted(section, detail)) }
        };
        expect(&file, sections::PRIMARY, codec.primary_layout().section_bytes(rows))?;
        let missing = || file.corrupted(sections::CODEC, "the secondary codes are missing");
        let centroids = read_centroids(&file, field)?;
        let secondary = match (secondary, token_code(field).is_some()) {
            (Some(file), true) => {
                let tokens = TokenStore::open(file, field, centroids.as_ref(), rows)?;
                Some(Secondary::Tokens(tokens))
            }
            (Some(file), false) => {
                expect(&file, sections::SECONDARY, rows * codec.secondary_stride())?;
                let records = file.find(sections::SECONDARY)?;
                Some(Secondary::Records(file, records))
            }
            (None, true) => return Err(missing().into()),
            (None, false) if codec.secondary_stride() > 0 => return Err(missing().into()),
            (None, false) => None,
        };
        let encoder = FieldEncoder::new(field)?.map(Arc::new);
        let count = centroids.as_ref().map_or(0, |centroids| centroids.count());
        let lists = CentroidLists::open(&file, rows, count)?;
        let trained = Arc::new(TrainedCodec { codec, report, centroids });
        let kept = secondary.as_ref().map(|secondary| read_kept(secondary.file())).transpose()?;
        let (kept, kernel) = (kept.flatten(), CodeKernel::detect());
        let primary = file.find(sections::PRIMARY)?;
        Ok(Self { file, primary, secondary, trained, encoder, lists, kept, kernel })
    }

    /// The codec, to be shared with new segments.
    pub fn trained(&self) -> &Arc<TrainedCodec> {
        &self.trained
    }

    /// Shares the codec of other codes if it is the same, so that it is in memory only once.
    pub fn share_codec(&mut self, other: &Self) {
        if self.codec_identity() != other.codec_identity() {
            return;
        }
        self.trained = other.trained.clone();
        self.encoder = other.encoder.clone();
        if let (Some(Secondary::Tokens(own)), Some(Secondary::Tokens(other))) =
            (&mut self.secondary, &other.secondary)
        {
            own.share(other);
        }
    }

    /// Identifies the codec, whatever the segment.
    fn codec_identity(&self) -> Vec<u64> {
        let of_rows =
            [sections::PRIMARY, sections::CENTROID_LISTS, sections::CENTROID_LIST_OFFSETS];
        let sections = self.file.sections().iter();
        let of_codec = sections.filter(|info| !of_rows.contains(&info.name.as_str()));
        of_codec.map(|info| info.checksum).collect()
    }

    /// Encodes vectors and scores codes.
    pub fn codec(&self) -> &Codec {
        &self.trained.codec
    }

    /// The report of the codec's training.
    pub fn report(&self) -> &CodecReport {
        &self.trained.report
    }

    /// Prepares a query of shape [m, field dimension] for scoring. With `scan`, no index is searched:
    /// primary codes are not scored where there are token centroids.
    ///
    /// # Errors
    /// If a multi-vector query has no vector.
    pub fn query(&self, query: &[f32], scan: bool) -> Result<FieldQuery> {
        let centroids = self.trained.centroids.as_ref().filter(|_| self.has_lists());
        let centroids = centroids.map(|centroids| Arc::new(CentroidQuery::new(centroids, query)));
        let primary = match &self.encoder {
            Some(_) if scan && centroids.is_some() => None,
            Some(encoder) => Some(encoder.query(self.codec(), query)?),
            None => Some(self.codec().query(query)),
        };
        Ok(FieldQuery { primary, centroids })
    }

    /// Extra bytes taken by a query of `vectors` vectors.
    pub fn query_bytes(&self, vectors: usize) -> usize {
        let centroids = self.trained.centroids.as_ref().filter(|_| self.has_lists());
        let all = self.tokens().is_some_and(|tokens| tokens.codec().centroids().is_some());
        centroids.map_or(0, |centroids| CentroidQuery::bytes(centroids, vectors, all))
    }

    /// True if scans read the token centroids instead of primary codes.
    pub fn has_lists(&self) -> bool {
        self.lists.is_some()
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        (self.primary().len().saturating_sub(CodeLayout::SLACK_BYTES) / self.row_bytes()) as u32
    }

    /// The primary record of a row.
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

    /// True for multi fields, whose primary codes are those of encodings.
    pub fn is_encoded(&self) -> bool {
        self.encoder.is_some()
    }

    /// Mean size of a row's secondary codes, in bytes; 0 if raw vectors re-rank.
    pub fn secondary_row_bytes(&self) -> usize {
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => {
                let rows = self.primary().len() / self.row_bytes().max(1);
                tokens.size_bytes() / rows.max(1)
            }
            _ => self.codec().secondary_stride(),
        }
    }

    /// Bytes of a primary record.
    pub fn row_bytes(&self) -> usize {
        self.codec().primary_layout().stride()
    }

    /// Approximate scores of a range of rows; higher is better.
    ///
    /// # Panics
    /// If `scores` and `rows` differ in length, or the range is out of bounds.
    #[inline]
    pub fn score(&self, query: &FieldQuery, rows: Range<u32>, scores: &mut [f32]) {
        assert_eq!(rows.len(), scores.len(), "a score a row");
        match (&self.lists, query.centroids(), query.primary()) {
            (Some(lists), Some(query), _) => lists.score(&self.file, query, rows, scores),
            (_, _, Some(query)) => {
                let records = &self.primary()[rows.start as usize * self.row_bytes()..];
                self.codec().score_rows(self.kernel, query, records, scores);
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
        match (&self.lists, query.centroids(), query.primary()) {
            (Some(lists), Some(query), _) => {
                lists.score(&self.file, query, rows.iter().copied(), scores);
            }
            (_, _, Some(query)) => self.scores(query).score(rows, scores),
            _ => scores.fill(f32::NEG_INFINITY),
        }
    }

    /// Mean bytes per row that a scan reads.
    pub fn scanned_row_bytes(&self, query: &FieldQuery) -> usize {
        match (query.centroids(), &self.lists) {
            (Some(_), Some(lists)) => lists.row_bytes(&self.file, self.rows()),
            _ => self.row_bytes(),
        }
    }

    /// The reconstructed vector of a row, or its vectors in a multi field.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reconstruct(&self, row: u32, out: &mut Vec<f32>) {
        if let Some(tokens) = self.tokens() {
            return tokens.decode(row, out);
        }
        let codec = self.codec();
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
                let stride = self.codec().secondary_stride();
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
        self.file.checked(self.primary, at(rows.start)..at(rows.end))?;
        Ok(())
    }

    /// Scores rows by their secondary codes; `None` if those must be decoded.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn rescore(&self, query: &SecondaryQuery, rows: &[u32]) -> Option<Vec<f32>> {
        self.codec().score_secondary(self.kernel, query, self.records(), rows)
    }

    fn records(&self) -> &[u8] {
        match &self.secondary {
            Some(Secondary::Records(file, records)) => file.bytes(*records),
            _ => &[],
        }
    }

    /// Prefetches the secondary code of a row.
    pub(crate) fn prefetch_secondary(&self, row: u32) {
        let stride = self.codec().secondary_stride();
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
        let _ = self.file.advise_range(self.primary, bytes(self.row_bytes()), Access::Soon);
        match &self.secondary {
            Some(Secondary::Tokens(tokens)) => tokens.read_ahead(rows),
            Some(Secondary::Records(file, records)) => {
                let bytes = bytes(self.codec().secondary_stride());
                let _ = file.advise_range(*records, bytes, Access::Soon);
            }
            None => {}
        }
    }

    /// The kernel that scores codes on this CPU.
    pub(super) fn kernel(&self) -> CodeKernel {
        self.kernel
    }

    /// The primary records, and slack.
    pub(crate) fn primary(&self) -> &[u8] {
        self.file.bytes(self.primary)
    }
}

fn read_centroids(file: &SectionFile, field: &VectorField) -> Result<Option<Arc<Centroids>>> {
    if !file.has(sections::TOKEN_CENTROIDS) {
        return Ok(None);
    }
    let values = slice::<f32>(file, sections::TOKEN_CENTROIDS, None)?.to_vec();
    let detail = "no whole number of centroids";
    let corrupted = || file.corrupted(sections::TOKEN_CENTROIDS, detail);
    Ok(Some(Arc::new(Centroids::from_values(values, field.dimension).ok_or_else(corrupted)?)))
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
            let query = codes.query(&[1.0; 4], true).unwrap();
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
