//! Selects the codec of a new segment: one in use that fits its rows, or a newly trained one.
//!
//! Segments share codecs, so that sealing only encodes. Later points may be unlike the training
//! rows of a codec, so each codec is evaluated on rows drawn evenly from every source of the new
//! segment, and the worst source decides. A merge also retrains if the codec was trained on few
//! rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lanner_storage::{FileEntry, QueriesEntry, SectionFile, SectionWriter, write_folder};

use super::Inner;
use super::install::NewFolder;
use super::state::Segments;
use crate::error::{Error, Result};
use crate::field::vectors::{
    CodedSample, FieldCodec, FieldEncoder, count_tokens, sample_tokens, sample_vectors,
};
use crate::field::{check_offsets, finish, slice};
use crate::model::{
    CollectionConfig, InvalidInput, PreparedQueries, TrainingQueries, VectorField, VectorKind,
};
use crate::quantization::leanvec::LeanVecError;
use crate::quantization::{
    Centroids, TrainedCentroids, TrainedCodec, Training, TrainingSample, fits, is_held_out,
    sample_rows, stratified, train_unless,
};
use crate::segment::{BuildSource, SegmentReader};

/// A codec is retrained when the rows have grown by this factor since its training; for encodings
/// earlier, since these have more dimensions than a small segment has rows.
const GROWTH: usize = 4;
const ENCODED_GROWTH: usize = 2;
/// Rows per source that evaluate codecs in use; fewer for encodings, which are long.
const JUDGED_ROWS: u64 = 1536;
const JUDGED_ENCODINGS: u64 = 384;
/// Vectors of a multi field per source that evaluate centroids in use.
const JUDGED_TOKENS: usize = 4096;
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
pub(super) type Codecs = Vec<Option<FieldCodec>>;

/// For each field the codecs in use, newest first.
pub(super) type CurrentCodecs = Vec<Vec<FieldCodec>>;

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
            let mut codecs: Vec<FieldCodec> = Vec::new();
            for codes in segments.clone().rev().filter_map(|segment| segment.field(field).codes()) {
                let known = codecs.iter().any(|known| known.is(codes.shared()));
                if !known && codecs.len() < CODECS_TRIED {
                    codecs.push(codes.shared().clone());
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
        current: &[FieldCodec],
        wish: Wish<'_>,
    ) -> Result<Option<FieldCodec>> {
        let field = subject.field;
        let mut fitting: Vec<&FieldCodec> = current.iter().collect();
        let mut centroids = None;
        if field.kind == VectorKind::Multi {
            fitting = with_fitting_centroids(current, subject, sources, wish.retrain);
            centroids = match fitting.first() {
                Some(codec) => codec.centroids.clone(),
                None => train_centroids(subject, sources, wish.cancelled),
            };
            if wish.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Closing);
            }
            let rows = sources.iter().map(BuildSource::live_rows).sum();
            if centroids.is_some() && !self.is_indexed(field, rows) {
                return Ok(Some(FieldCodec { primary: None, centroids }));
            }
        }
        let current: Vec<_> =
            fitting.into_iter().filter_map(|codec| codec.primary.clone()).collect();
        // Encodings of vectors around their mean tell more.
        let center = centroids.as_ref().map(|trained| trained.centroids.mean());
        let center = center.unwrap_or_default();
        let primary = self.fit_primary(subject, sources, &current, (wish, &center))?;
        let is_coded = primary.is_some() || centroids.is_some();
        Ok(is_coded.then_some(FieldCodec { primary, centroids }))
    }

    fn fit_primary(
        &self,
        subject: Subject<'_>,
        sources: &[BuildSource],
        current: &[Arc<TrainedCodec>],
        (wish, token_center): (Wish<'_>, &[f32]),
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
        let wanted = (sampled, LEAST_OF_SOURCE);
        let sample = sample_vectors(&fields, field, token_center, wanted, SEED)?;
        if sample.rows.len() / dimension.max(1) < self.options.coded_rows as usize {
            return Ok(None);
        }
        self.train_codec(subject, (&sample, token_center), current.first(), wish)
    }

    fn train_codec(
        &self,
        subject: Subject<'_>,
        (sample, token_center): (&CodedSample, &[f32]),
        current: Option<&Arc<TrainedCodec>>,
        wish: Wish<'_>,
    ) -> Result<Option<Arc<TrainedCodec>>> {
        let Subject { index, name, field, queries } = subject;
        let queries = match queries {
            Some(entry) => Some(self.read_queries(entry, field)?),
            None => None,
        };
        let of = |held_out| match &queries {
            Some(queries) => coded_queries(field, token_center, queries, held_out),
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
        trained.token_center = token_center.to_vec();
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

/// The codecs whose centroids fit the vectors of every source, and are enough for all of them.
fn with_fitting_centroids<'c>(
    current: &'c [FieldCodec],
    Subject { index, field, .. }: Subject<'_>,
    sources: &[BuildSource],
    retrain: Retrain,
) -> Vec<&'c FieldCodec> {
    let sources = BuildSource::fields(sources, index);
    let wanted = Centroids::count_for(count_tokens(&sources, field));
    let is_enough = |trained: &TrainedCentroids| match retrain {
        Retrain::Always => false,
        Retrain::IfDrifted => trained.centroids.count() >= wanted,
        Retrain::IfMissing => true,
    };
    let mut codecs: Vec<&FieldCodec> = current.iter().collect();
    codecs.retain(|codec| codec.centroids.as_ref().is_some_and(is_enough));
    if codecs.is_empty() {
        return codecs;
    }
    let sample = |source| sample_tokens(std::slice::from_ref(source), field, JUDGED_TOKENS, SEED);
    let judged: Vec<Vec<f32>> = sources.iter().map(sample).collect();
    let fits = |trained: &TrainedCentroids| judged.iter().all(|tokens| trained.fits(tokens));
    codecs.retain(|codec| codec.centroids.as_ref().is_some_and(fits));
    codecs
}

/// The token centroids of a multi field; `None` if there are too few tokens, or if cancelled.
fn train_centroids(
    Subject { index, field, .. }: Subject<'_>,
    sources: &[BuildSource],
    cancelled: &AtomicBool,
) -> Option<TrainedCentroids> {
    let sources = BuildSource::fields(sources, index);
    let count = Centroids::count_for(count_tokens(&sources, field));
    let started = std::time::Instant::now();
    let sample = sample_tokens(&sources, field, Centroids::sample_for(count), SEED);
    let trained = TrainedCentroids::train(&sample, field.dimension, count, SEED, cancelled)?;
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(field = index, count, seconds, "centroids trained");
    Some(trained)
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
    let sources = BuildSource::fields(sources, index);
    let mut judged_by: Option<(&[f32], CodedSample)> = None;
    for codec in current {
        let center = &*codec.token_center;
        let sample = match judged_by.take().filter(|(other, _)| *other == center) {
            Some((_, sample)) => sample,
            None => sample_vectors(&sources, field, center, (0, judged), SEED)?,
        };
        let starts = std::iter::once(&0).chain(&sample.ends);
        let of_source = |(&start, &end): (&usize, &usize)| {
            fits(codec, &sample.rows[start * dimension..end * dimension])
        };
        if starts.zip(&sample.ends).all(of_source) {
            return Ok(Some(codec));
        }
        judged_by = Some((center, sample));
    }
    Ok(None)
}

/// Queries to train or evaluate a codec: the held-out ones, or the others; for a multi field their
/// encodings.
fn coded_queries(
    field: &VectorField,
    token_center: &[f32],
    queries: &PreparedQueries,
    held_out: bool,
) -> Result<Vec<f32>> {
    let of: Vec<usize> =
        (0..queries.len()).filter(|&query| is_held_out(query) == held_out).collect();
    let get = |query: usize| queries.get(query, field.dimension);
    let Some(encoder) = FieldEncoder::new(field, token_center)? else {
        return Ok(of.into_iter().flat_map(get).copied().collect());
    };
    let chosen = stratified(of.len() as u64, ENCODED_QUERIES, SEED);
    let mut encodings = Vec::with_capacity(chosen.len() * encoder.dimension());
    for query in chosen {
        encodings.extend(encoder.encode_query(get(of[query as usize]))?);
    }
    Ok(encodings)
}
