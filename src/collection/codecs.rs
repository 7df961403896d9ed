//! Which codec compresses a new segment: the one in use, or a newly trained one.
//!
//! Segments share the codec of their neighbours, so that sealing only encodes. A merge trains
//! anew when the codec no longer fits: when it loses more of the merged rows than of those it was
//! trained on, or when it saw few rows at its time.

use std::sync::Arc;

use lanner_storage::{QueriesEntry, SectionFile, SectionWriter, write_folder};

use super::Inner;
use super::state::Segments;
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, InvalidInput, PreparedQueries, TrainingQueries, VectorField, VectorKind,
};
use crate::quantization::{TrainedCodec, TrainingSample, sample_rows, stratified, train};
use crate::segment::{
    BuildSource, FieldEncoder, SegmentReader, check_offsets, finish, sample_vectors, slice,
};

/// Segments of fewer rows are not compressed: they are scanned exactly in no time, and too small
/// to learn from.
pub(super) const MIN_ROWS: u64 = 1024;
/// A codec is trained anew when it loses so many times what it lost of its training rows.
const DRIFT: f64 = 1.2;
/// A codec is trained anew when there are so many times the rows it was trained on; that of
/// encodings earlier, since these have more dimensions than a small segment has rows.
const GROWTH: usize = 4;
const ENCODED_GROWTH: usize = 2;
/// Rows whose loss is compared, at most, and their elements.
const DRIFT_ROWS: usize = 4096;
const DRIFT_VALUES: usize = 1 << 22;
/// Chooses samples and rotations.
const SEED: u64 = 42;

const QUERIES_FILE: &str = "queries.sec";
const QUERIES: &str = "queries";
const QUERY_OFFSETS: &str = "query_offsets";
/// Queries of a multi field that are encoded to train on, at most: encodings are long.
const ENCODED_QUERIES: u64 = 2048;

/// Training queries of a field, as they are stored: checked and prepared as queries are.
///
/// # Errors
/// [`InvalidInput`] if the field is unknown or not compressed, or if there are no queries, too
/// many, or one that does not fit the field.
pub(crate) fn prepare_queries(
    config: &CollectionConfig,
    field: &str,
    queries: &TrainingQueries,
) -> Result<PreparedQueries, InvalidInput> {
    queries.prepare(config.field(field)?.1)
}

/// Codecs by field, in the order of names.
pub(super) type Codecs = Vec<Option<Arc<TrainedCodec>>>;

/// When a codec is trained anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retrain {
    /// When there is none.
    IfMissing,
    /// When it no longer fits.
    IfDrifted,
    /// In any case.
    Always,
}

impl Inner {
    /// The codecs in use: for each field that of the newest of these segments that has one.
    pub(super) fn current_codecs<'s>(
        &self,
        segments: impl DoubleEndedIterator<Item = &'s (dyn SegmentReader + 's)> + Clone,
    ) -> Codecs {
        let newest = |field| {
            segments
                .clone()
                .rev()
                .find_map(|segment| segment.codes(field))
                .map(|codes| codes.trained().clone())
        };
        (0..self.config.fields.len()).map(newest).collect()
    }

    /// What compresses a segment of these rows.
    pub(super) fn choose_codecs(
        &self,
        sources: &[BuildSource],
        current: Codecs,
        retrain: Retrain,
        queries: &[QueriesEntry],
    ) -> Result<Codecs> {
        let rows: u64 = sources.iter().map(BuildSource::live_rows).sum();
        let mut codecs = Vec::with_capacity(current.len());
        for (index, ((name, field), current)) in self.config.fields.iter().zip(current).enumerate()
        {
            let wanted = field.is_compressed() && rows >= MIN_ROWS;
            codecs.push(match (wanted, current) {
                (false, _) => None,
                (true, Some(current)) if retrain == Retrain::IfMissing => Some(current),
                (true, current) => {
                    let entry = queries.iter().find(|entry| entry.field == *name);
                    self.pool
                        .install(|| self.fit(index, field, sources, current, retrain, entry))?
                }
            });
        }
        Ok(codecs)
    }

    fn fit(
        &self,
        index: usize,
        field: &VectorField,
        sources: &[BuildSource],
        current: Option<Arc<TrainedCodec>>,
        retrain: Retrain,
        queries: Option<&QueriesEntry>,
    ) -> Result<Option<Arc<TrainedCodec>>> {
        let coded = field.coded();
        let dimension = coded.dimension;
        let sample = sample_vectors(sources, (index, field), sample_rows(dimension), SEED)?;
        let rows = sample.len() / dimension.max(1);
        if (rows as u64) < MIN_ROWS {
            return Ok(None);
        }
        if let Some(current) = &current
            && retrain == Retrain::IfDrifted
            && rows < growth(field) * current.report.trained_rows
        {
            let judged = rows.min(DRIFT_ROWS).min(DRIFT_VALUES / dimension);
            let loss = current.codec.loss(&sample[..judged * dimension]);
            if loss <= DRIFT * current.report.loss {
                return Ok(Some(current.clone()));
            }
            tracing::info!(collection = %self.name, field = index, loss, "the codec drifted");
        }
        let queries = match queries {
            Some(entry) => coded_queries(field, &self.read_queries(entry, field)?)?,
            None => Vec::new(),
        };
        let started = std::time::Instant::now();
        let sample = TrainingSample { rows: &sample, queries: &queries, seed: SEED };
        let trained = match train(&coded, sample) {
            Ok(trained) => trained,
            Err(error) if retrain == Retrain::Always => {
                return Err(Error::Internal(format!("a codec cannot be trained: {error}")));
            }
            // Nobody asked for it now, and the points have to be sealed.
            Err(error) => {
                tracing::warn!(collection = %self.name, field = index, %error, "no new codec");
                return Ok(current);
            }
        };
        if let Some(trained) = &trained {
            tracing::info!(
                collection = %self.name,
                field = index,
                code = trained.report.chosen().map_or("", |rung| rung.code.as_str()),
                rows,
                queries = trained.report.trained_queries,
                seconds = started.elapsed().as_secs_f64(),
                "codec trained"
            );
        }
        Ok(trained.map(Arc::new))
    }

    pub(super) fn read_queries(
        &self,
        entry: &QueriesEntry,
        field: &VectorField,
    ) -> Result<PreparedQueries> {
        let path = format!("{}/{QUERIES_FILE}", self.segment_folder(entry.number));
        let directory = &*self.store.directory;
        let file = SectionFile::open_expecting(directory, &path, &entry.file.summary())?;
        file.verify()?;
        let values = slice::<f32>(&file, QUERIES, None)?;
        if !values.len().is_multiple_of(field.dimension) {
            return Err(file.corrupted(QUERIES, "not a whole number of vectors").into());
        }
        let vectors = (values.len() / field.dimension) as u64;
        let offsets = match field.kind {
            VectorKind::Single => (0..=vectors).collect(),
            VectorKind::Multi => {
                let offsets = slice::<u64>(&file, QUERY_OFFSETS, None)?;
                check_offsets(&file, QUERY_OFFSETS, offsets.len().saturating_sub(1), vectors)?;
                offsets.to_vec()
            }
        };
        Ok(PreparedQueries { values: values.to_vec(), offsets })
    }

    /// Makes these the training queries of a field; they are durable when this returns. They are
    /// used from the next training on.
    pub(super) fn store_queries(&self, field: &str, queries: &PreparedQueries) -> Result<()> {
        let new = self.new_folder(&mut self.lock());
        let directory = &*self.store.directory;
        let file = write_folder(directory, &new.path, |temporary| -> Result<_> {
            let path = format!("{temporary}/{QUERIES_FILE}");
            let mut writer = SectionWriter::create(directory, &path)?;
            writer.write_section(QUERIES, bytemuck::cast_slice(&queries.values))?;
            writer.write_section(QUERY_OFFSETS, bytemuck::cast_slice(&queries.offsets))?;
            finish(writer, QUERIES_FILE.to_owned())
        })?;
        let entry = QueriesEntry { field: field.to_owned(), number: new.number, file };
        self.install(&new, |segments: &mut Segments, _| {
            let all = &mut segments.manifest.queries;
            all.retain(|entry| entry.field != field);
            all.push(entry);
        })
    }
}

fn growth(field: &VectorField) -> usize {
    match field.kind {
        VectorKind::Single => GROWTH,
        VectorKind::Multi => ENCODED_GROWTH,
    }
}

/// What a codec is trained on of queries: themselves, or the encodings of those of a multi field.
fn coded_queries(field: &VectorField, queries: &PreparedQueries) -> Result<Vec<f32>> {
    let Some(encoder) = FieldEncoder::new(field)? else { return Ok(queries.values.clone()) };
    let chosen = stratified(queries.len() as u64, ENCODED_QUERIES, SEED);
    let mut encodings = Vec::with_capacity(chosen.len() * encoder.dimension());
    for query in chosen {
        encodings.extend(encoder.encode_query(queries.get(query as usize, field.dimension))?);
    }
    Ok(encodings)
}
