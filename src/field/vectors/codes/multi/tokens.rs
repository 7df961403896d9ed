//! Token codes: the vectors of a multi field, coded to re-rank the candidates of its encodings.

use std::sync::Arc;

use lanner_storage::{Access, Section, SectionFile};

use crate::error::Result;
use crate::field::check_offsets;
use crate::field::vectors::sections;
use crate::model::{Secondary, VectorField, VectorKind};
use crate::multivector::{TokenCode, TokenCodec, TokenQuery, TokenScorer};
use crate::quantization::Centroids;

/// Bytes of a document to prefetch: kernels look this far ahead.
const PREFETCHED_BYTES: usize = 4096;

/// The token code of a field; `None` if its vectors re-rank, or it is a single-vector field.
pub fn token_code(field: &VectorField) -> Option<TokenCode> {
    if field.kind == VectorKind::Single {
        return None;
    }
    match field.compression.secondary {
        Secondary::Raw => None,
        Secondary::Auto | Secondary::Residual4 => Some(TokenCode::Residual4),
        Secondary::Residual8 => Some(TokenCode::Residual8),
        Secondary::Residual2 => Some(TokenCode::Residual2),
        Secondary::Lvq8 => Some(TokenCode::Lvq8),
        Secondary::Lvq4 => Some(TokenCode::Lvq4),
        Secondary::F16 => Some(TokenCode::F16),
    }
}

/// The token codec of a field; LVQ8 instead of a residual code without centroids.
pub fn token_codec(field: &VectorField, centroids: Option<&Arc<Centroids>>) -> Option<TokenCodec> {
    let codec = codec_of(token_code(field)?, field.dimension, centroids);
    Some(codec.unwrap_or_else(|| TokenCodec::new(TokenCode::Lvq8, field.dimension)))
}

/// The codec of a code; `None` for a residual code without centroids.
fn codec_of(
    code: TokenCode,
    dimension: usize,
    centroids: Option<&Arc<Centroids>>,
) -> Option<TokenCodec> {
    match code.is_residual() {
        true => Some(TokenCodec::residual(code, centroids?.clone())),
        false => Some(TokenCodec::new(code, dimension)),
    }
}

/// The token codec of a stored segment.
fn read_codec(
    file: &SectionFile,
    field: &VectorField,
    centroids: Option<&Arc<Centroids>>,
) -> Result<TokenCodec> {
    if !file.has(sections::TOKEN_CODE) {
        // Written before there were residual codes.
        let code = token_code(field).filter(|code| !code.is_residual()).unwrap_or_default();
        return Ok(TokenCodec::new(code, field.dimension));
    }
    let code: TokenCode = serde_json::from_slice(file.section(sections::TOKEN_CODE)?)
        .map_err(|error| file.corrupted(sections::TOKEN_CODE, error.to_string()))?;
    codec_of(code, field.dimension, centroids).ok_or_else(|| {
        file.corrupted(sections::TOKEN_CODE, "a residual code without centroids").into()
    })
}

/// The codes of all vectors of a field in a sealed segment, grouped by row.
#[derive(Debug)]
pub struct TokenStore {
    file: SectionFile,
    codes: Section,
    offsets: Section<u64>,
    codec: Arc<TokenCodec>,
}

impl TokenStore {
    /// Wraps an opened file and checks its offsets against its codes.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the section that does not match.
    pub fn open(
        file: SectionFile,
        field: &VectorField,
        centroids: Option<&Arc<Centroids>>,
        rows: usize,
    ) -> Result<Self> {
        let codec = Arc::new(read_codec(&file, field, centroids)?);
        let codes = file.find(sections::SECONDARY)?;
        let bytes = file.bytes(codes).len();
        let of_tokens = bytes.checked_sub(TokenCodec::SLACK_BYTES);
        let tokens = of_tokens.filter(|bytes| bytes.is_multiple_of(codec.token_bytes()));
        let Some(tokens) = tokens.map(|bytes| bytes / codec.token_bytes()) else {
            let detail = format!("{bytes} bytes are no whole number of codes and their slack");
            return Err(file.corrupted(sections::SECONDARY, detail).into());
        };
        let offsets = check_offsets(&file, sections::TOKEN_OFFSETS, rows, tokens as u64)?;
        Ok(Self { file, codes, offsets, codec })
    }

    /// The file.
    pub fn file(&self) -> &SectionFile {
        &self.file
    }

    /// The codec of the codes.
    pub fn codec(&self) -> &Arc<TokenCodec> {
        &self.codec
    }

    /// Shares the codec of another store, which must be equal.
    pub fn share(&mut self, other: &Self) {
        self.codec = other.codec.clone();
    }

    /// MaxSim of a query and a row; higher is better, −∞ for a row without vectors.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn score(&self, scorer: &mut TokenScorer, query: &TokenQuery, row: u32) -> f32 {
        let (start, tokens) = self.place(row);
        scorer.score(query, &self.file.bytes(self.codes)[start..], tokens)
    }

    /// Prefetches the first byte of a row's codes, and with it the translation of its address.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn touch(&self, row: u32) {
        crate::kernels::prefetch(self.file.bytes(self.codes), self.place(row).0, 1);
    }

    /// Prefetches the first codes of a row; kernels prefetch the others.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn prefetch(&self, row: u32) {
        let (start, tokens) = self.place(row);
        let len = (tokens * self.codec.token_bytes()).min(PREFETCHED_BYTES);
        crate::kernels::prefetch(self.file.bytes(self.codes), start, len);
    }

    /// Replaces `out` by the reconstructed vectors of a row, shape [n, dimension].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn decode(&self, row: u32, out: &mut Vec<f32>) {
        let (start, tokens) = self.place(row);
        self.codec.decode(&self.file.bytes(self.codes)[start..], tokens, out);
    }

    /// Verifies the checksums of the bytes that [`Self::decode`] reads.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    pub fn check(&self, row: u32) -> Result<()> {
        let (start, tokens) = self.place(row);
        let end = start + tokens * self.codec.token_bytes();
        self.file.checked(self.codes, start..end)?;
        Ok(())
    }

    /// Mean size of the codes of a row, in bytes.
    pub fn row_bytes(&self) -> usize {
        let rows = self.file.numbers(self.offsets).len().saturating_sub(1);
        self.file.bytes(self.codes).len() / rows.max(1)
    }

    /// Advises that [`Self::decode`] will read these rows soon.
    pub fn read_ahead(&self, rows: std::ops::Range<u32>) {
        let at = |row| (self.offset(row) as usize * self.codec.token_bytes()) as u64;
        let range = at(rows.start)..at(rows.end);
        // A hint, see `memory`.
        let _ = self.file.advise_range(self.codes, range, Access::Soon);
    }

    /// Offset of a row's codes, and its number of vectors.
    fn place(&self, row: u32) -> (usize, usize) {
        let (first, end) = (self.offset(row) as usize, self.offset(row + 1) as usize);
        (first * self.codec.token_bytes(), end - first)
    }

    fn offset(&self, row: u32) -> u64 {
        self.file.numbers(self.offsets)[row as usize]
    }
}
