//! Selects the codec of a new segment: one in use that fits its rows, or a newly trained one.
//!
//! Segments share codecs, so that sealing only encodes. Later points may be unlike the training
//! rows of a codec, so each codec is evaluated on rows drawn evenly from every source of the new
//! segment, and the worst source decides. A merge also retrains if the codec was trained on few
//! rows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lanner_storage::{FileEntry, QueriesEntry, SectionFile, SectionWriter, write_folder};

use super::Inner;
use super::install::NewFolder;
use super::state::Segments;
use crate::error::{Error, Result};
use crate::field::vectors::{
    CodedSample, FieldEncoder, count_tokens, sample_tokens, sample_vectors,
};
use crate::field::{check_offsets, finish, slice};
use crate::model::{
    CollectionConfig, InvalidInput, PreparedQueries, TrainingQueries, VectorField, VectorKind,
};
use crate::quantization::leanvec::LeanVecError;
use crate::quantization::{
    Centroids, TrainedCodec, Training, TrainingSample, fits, is_held_out, sample_rows, stratified,
    train_unless,
};
use crate::segment::{BuildSource, SegmentReader};

/// A codec is retrained when the rows have grown by this factor since its training; for encodings
/// earlier, since these have more dimensions than a small segment has rows.
const GROWTH: usize = 4;
const ENCODED_GROWTH: usize = 2;
/// Rows per source that evaluate codecs in use; fewer for encodings, which are long.
const JUDGED_ROWS: u64 = 1536;
const JUDGED_ENCODINGS: u64 = 384;
/// Minimum training rows per source.
const LEAST_OF_SOURCE: u64 = 512;
/// Number of codecs in use that are evaluated, newest first.
const CODECS_TRIED: usize = 3;
/// Seed of samples and rotations.
const SEED: u64 = 42;

const QUERIES_FILE: &str = "queries.sec";
const QUERIES: &str = "queries";
const QUERY_OFFSETS: &str = "query_offsets";
/// Maximum number of training queries of a multi field that are encoded; encodings are long.
const ENCODED_QUERIES: u64 = 2048;

/// Training queries of a field as they are stored: validated and prepared like queries.
///
/// # Errors
/// [`InvalidInput`] if the field is unknown or not compressed, or if there are no queries, too
/// many, or one that does not match the field.
pub(crate) fn prepare_queries(
    config: &CollectionConfig,
    field: &str,
    queries: &TrainingQueries,
) -> Result<PreparedQueries, InvalidInput> {
    queries.prepare(config.field(field)?.1)
}

/// Codecs by field, in the order of names.
pub(super) type Codecs = Vec<Option<Arc<TrainedCodec>>>;

/// For each field the codecs in use, newest first.
pub(super) type CurrentCodecs = Vec<Vec<Arc<TrainedCodec>>>;

/// Retraining policy and cancellation.
#[derive(Clone, Copy)]
pub(super) struct Wish<'w> {
    pub retrain: Retrain,
    pub cancelled: &'w AtomicBool,
}

/// Retraining policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retrain {
    /// If no codec in use fits.
    IfMissing,
    /// If the codec does not fit, or was trained on few rows.
    IfDrifted,
    /// Always.
    Always,
}

/// A field, its position, and its training queries.
#[derive(Clone, Copy)]
struct Subject<'a> {
    index: usize,
    name: &'a str,
    field: &'a VectorField,
    queries: Option<&'a QueriesEntry>,
}

impl Inner {
    /// The codecs in use: for each field those of these segments, the last of which is the newest.
    pub(super) fn current_codecs<'s>(
        &self,
        segments: impl DoubleEndedIterator<Item = &'s (dyn SegmentReader + 's)> + Clone,
    ) -> CurrentCodecs {
        let in_use = |field| {
            let mut codecs: Vec<Arc<TrainedCodec>> = Vec::new();
            for codes in segments.clone().rev().filter_map(|segment| segment.field(field).codes()) {
                let trained = codes.trained();
                let known = codecs.iter().any(|known| Arc::ptr_eq(known, trained));
                if !known && codecs.len() < CODECS_TRIED {
                    codecs.push(trained.clone());
                }
            }
            codecs
        };
        (0..self.fields.len()).map(in_use).collect()
    }

    /// Selects the codecs of a segment built from these sources. Runs on the current rayon pool.
    pub(super) fn choose_codecs(
        &self,
        sources: &[BuildSource],
        current: CurrentCodecs,
        wish: Wish<'_>,
        queries: &[QueriesEntry],
    ) -> Result<Codecs> {
        let rows: u64 = sources.iter().map(BuildSource::live_rows).sum();
        let mut codecs = Vec::with_capacity(current.len());
        for (index, ((name, field), current)) in self.fields.iter().zip(current).enumerate() {
            if !field.is_compressed() || rows < u64::from(self.options.coded_rows) {
                codecs.push(None);
                continue;
            }
            let queries = queries.iter().find(|entry| entry.field == *name);
            let subject = Subject { index, name, field, queries };
            codecs.push(self.fit(subject, sources, &current, wish)?);
        }
        Ok(codecs)
    }

    fn fit(
        &self,
        subject: Subject<'_>,
        sources: &[BuildSource],
        current: &[Arc<TrainedCodec>],
        wish: Wish<'_>,
    ) -> Result<Option<Arc<TrainedCodec>>> {
        let (Subject { index, field, .. }, retrain) = (subject, wish.retrain);
        let dimension = field.coded_dimension();
        let total: u64 = sources.iter().map(BuildSource::live_rows).sum();
        let sampled = total.min(sample_rows(dimension));
        let grown = |codec: &TrainedCodec| {
            retrain == Retrain::IfDrifted
                && sampled >= (growth(field) * codec.report.trained_rows) as u64
        };
        if retrain != Retrain::Always && !current.is_empty() {
            if let Some(fitting) = fitting(subject, sources, current)?
                && !grown(fitting)
            {
                return Ok(Some(fitting.clone()));
            }
            tracing::info!(collection = %self.name, field = index, "no codec in use fits");
        }
        let fields = BuildSource::fields(sources, index);
        let sample = sample_vectors(&fields, field, (sampled, LEAST_OF_SOURCE), SEED)?;
        if sample.rows.len() / dimension.max(1) < self.options.coded_rows as usize {
            return Ok(None);
        }
        self.train_codec(subject, (&sample, sources), current.first(), wish)
    }

    fn train_codec(
        &self,
        subject: Subject<'_>,
        (sample, sources): (&CodedSample, &[BuildSource]),
        current: Option<&Arc<TrainedCodec>>,
        wish: Wish<'_>,
    ) -> Result<Option<Arc<TrainedCodec>>> {
        let Subject { index, name, field, queries } = subject;
        let queries = match queries {
            Some(entry) => Some(self.read_queries(entry, field)?),
            None => None,
        };
        let of = |held_out| match &queries {
            Some(queries) => coded_queries(field, queries, held_out),
            None => Ok(Vec::new()),
        };
        let (queries, held_out_queries) = (of(false)?, of(true)?);
        let started = std::time::Instant::now();
        let sample = TrainingSample {
            rows: &sample.rows,
            ends: &sample.ends,
            queries: &queries,
            held_out_queries: &held_out_queries,
            seed: SEED,
        };
        let trained = match train_unless(wish.cancelled, &field.coded(), sample) {
            Ok(trained) => trained,
            Err(LeanVecError::Cancelled) => return Err(Error::Closing),
            Err(error) if wish.retrain == Retrain::Always => {
                return Err(Error::Internal(format!("a codec cannot be trained: {error}")));
            }
            // Training was not requested, and the points have to be sealed.
            Err(error) => {
                tracing::warn!(collection = %self.name, field = index, %error, "no new codec");
                self.note_training(name, Some(format!("no codec could be trained: {error}")));
                return Ok(current.cloned());
            }
        };
        let mut trained = match trained {
            Training::Codec(trained) => trained,
            Training::NoCodes { ladder } => {
                let best = ladder.last().and_then(|rung| Some((&rung.code, rung.recall?[1])));
                let best = best.map_or(String::new(), |(code, kept)| {
                    format!("; `{code}` keeps {kept:.3} of the nearest among 50 candidates")
                });
                let note = format!("no code keeps enough, so that vectors are scanned{best}");
                tracing::warn!(collection = %self.name, field = index, note, "no codec");
                self.note_training(name, Some(note));
                return Ok(None);
            }
        };
        if field.kind == VectorKind::Multi {
            trained.centroids = train_centroids(subject, sources, wish.cancelled).map(Arc::new);
        }
        tracing::info!(
            collection = %self.name,
            field = index,
            code = trained.report.chosen().map_or("", |rung| rung.code.as_str()),
            rows = trained.report.trained_rows,
            queries = trained.report.trained_queries,
            seconds = started.elapsed().as_secs_f64(),
            "codec trained"
        );
        self.note_training(name, None);
        Ok(Some(Arc::new(trained)))
    }

    /// Records why the last training of a field failed, or clears it.
    fn note_training(&self, field: &str, failure: Option<String>) {
        let trainings = &mut self.lock().work.trainings;
        match failure {
            Some(failure) => trainings.insert(field.to_owned(), failure),
            None => trainings.remove(field),
        };
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
            VectorKind::Single | VectorKind::Sparse => (0..=vectors).collect(),
            VectorKind::Multi => {
                let offsets = slice::<u64>(&file, QUERY_OFFSETS, None)?;
                check_offsets(&file, QUERY_OFFSETS, offsets.len().saturating_sub(1), vectors)?;
                offsets.to_vec()
            }
        };
        Ok(PreparedQueries { values: values.to_vec(), offsets })
    }

    /// Writes queries into a new folder; returns the folder and the file.
    pub(super) fn write_queries(
        &self,
        queries: &PreparedQueries,
    ) -> Result<(NewFolder<'_>, FileEntry)> {
        let new = self.new_folder(&mut self.lock());
        let directory = &*self.store.directory;
        let file = write_folder(directory, &new.path, |temporary| -> Result<_> {
            let path = format!("{temporary}/{QUERIES_FILE}");
            let mut writer = SectionWriter::create(directory, &path)?;
            writer.write_section(QUERIES, bytemuck::cast_slice(&queries.values))?;
            writer.write_section(QUERY_OFFSETS, bytemuck::cast_slice(&queries.offsets))?;
            finish(writer, QUERIES_FILE.to_owned())
        })?;
        Ok((new, file))
    }

    /// Sets the training queries of a field; they are durable on return, and used from the next
    /// training on.
    pub(super) fn store_queries(&self, field: &str, queries: &PreparedQueries) -> Result<()> {
        let (new, file) = self.write_queries(queries)?;
        let entry = QueriesEntry { field: field.to_owned(), number: new.number, file };
        self.install(&[new], |segments: &mut Segments, _| {
            let all = &mut segments.manifest.queries;
            all.retain(|entry| entry.field != field);
            all.push(entry);
        })
    }
}

/// The token centroids of a multi field; `None` if there are too few tokens, or if cancelled.
fn train_centroids(
    Subject { index, field, .. }: Subject<'_>,
    sources: &[BuildSource],
    cancelled: &AtomicBool,
) -> Option<Centroids> {
    let sources = BuildSource::fields(sources, index);
    let count = Centroids::count_for(count_tokens(&sources, field));
    let sample = sample_tokens(&sources, field, Centroids::sample_for(count), SEED);
    Centroids::train(&sample, field.dimension, count, SEED, cancelled)
}

fn growth(field: &VectorField) -> usize {
    match field.kind {
        VectorKind::Single | VectorKind::Sparse => GROWTH,
        VectorKind::Multi => ENCODED_GROWTH,
    }
}

/// The newest codec that fits the rows of every source.
fn fitting<'c>(
    subject: Subject<'_>,
    sources: &[BuildSource],
    current: &'c [Arc<TrainedCodec>],
) -> Result<Option<&'c Arc<TrainedCodec>>> {
    let Subject { index, field, .. } = subject;
    let dimension = field.coded_dimension();
    let judged = match field.kind {
        VectorKind::Single | VectorKind::Sparse => JUDGED_ROWS,
        VectorKind::Multi => JUDGED_ENCODINGS,
    };
    let sample = sample_vectors(&BuildSource::fields(sources, index), field, (0, judged), SEED)?;
    let fits_all = |codec: &&Arc<TrainedCodec>| {
        let starts = std::iter::once(&0).chain(&sample.ends);
        let mut sources = starts.zip(&sample.ends);
        sources.all(|(&start, &end)| fits(codec, &sample.rows[start * dimension..end * dimension]))
    };
    Ok(current.iter().find(fits_all))
}

/// Queries to train or evaluate a codec: the held-out ones, or the others; for a multi field their
/// encodings.
fn coded_queries(
    field: &VectorField,
    queries: &PreparedQueries,
    held_out: bool,
) -> Result<Vec<f32>> {
    let of: Vec<usize> =
        (0..queries.len()).filter(|&query| is_held_out(query) == held_out).collect();
    let get = |query: usize| queries.get(query, field.dimension);
    let Some(encoder) = FieldEncoder::new(field)? else {
        return Ok(of.into_iter().flat_map(get).copied().collect());
    };
    let chosen = stratified(of.len() as u64, ENCODED_QUERIES, SEED);
    let mut encodings = Vec::with_capacity(chosen.len() * encoder.dimension());
    for query in chosen {
        encodings.extend(encoder.encode_query(get(of[query as usize]))?);
    }
    Ok(encodings)
}
