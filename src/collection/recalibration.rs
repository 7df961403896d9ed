//! Recalibrates indexes with recent queries, for fields without given ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanner_storage::{CalibrationEntry, QueriesEntry};

use super::Inner;
use super::indexer::{Build, present};
use super::reservoir::Reservoir;
use super::writer::State;
use crate::error::Result;
use crate::field::CodedField;
use crate::field::vectors::write_calibration;
use crate::model::{IndexKind, PreparedQueries, VectorField};
use crate::query::{CalibrationSample, KnownQueries};
use crate::segment::SegmentReader;
use crate::threads::Pace;

/// Minimum number of recent queries to be representative.
const LEAST_RECENT: usize = 128;

impl Inner {
    /// Records a query of a field; once enough have arrived, schedules the recalibration of its
    /// indexes.
    pub(super) fn note_query(&self, field: usize, query: &[f32]) {
        let note = |reservoir: &Reservoir| self.options.learns && reservoir.note(query);
        if !self.reservoirs.get(field).is_some_and(note) {
            return;
        }
        let mut state = self.lock();
        let numbers: Vec<u64> = state
            .segments
            .sealed
            .iter()
            .filter(|slot| slot.segment.field(field).index().is_some())
            .map(|slot| slot.segment.entry().number)
            .collect();
        state.work.indexing.recalibrate.extend(numbers.into_iter().map(|number| (number, field)));
        drop(state);
        self.wake();
    }

    /// The next index to recalibrate.
    pub(super) fn next_recalibration(&self, state: &mut State) -> Option<Arc<Build>> {
        while let Some((number, field)) = state.work.indexing.recalibrate.pop_first() {
            let slots = &mut state.segments.sealed.iter();
            let slot = slots.find(|slot| slot.segment.entry().number == number);
            if let Some(slot) = slot.filter(|slot| slot.segment.field(field).index().is_some()) {
                return Some(Arc::new(Build::new(slot.segment.clone(), field)));
            }
        }
        None
    }

    /// Recent queries of a field, if there are enough.
    pub(super) fn recent_queries(&self, field: usize, dimension: usize) -> Option<PreparedQueries> {
        let queries = self.reservoirs.get(field)?.queries(dimension);
        queries.filter(|queries| queries.len() >= LEAST_RECENT)
    }

    /// The training queries and the recent queries of a field.
    pub(super) fn known_queries(
        &self,
        index: usize,
        (name, field): (&str, &VectorField),
    ) -> Result<KnownQueries> {
        let queries = self.lock().segments.manifest.queries.clone();
        let entry = queries.iter().find(|entry| entry.field == name);
        let given = entry.map(|entry| self.read_queries(entry, field)).transpose()?;
        Ok(KnownQueries { given, recent: self.recent_queries(index, field.dimension) })
    }

    /// The calibration sample of an index.
    pub(super) fn calibration_sample(
        &self,
        build: &Build,
        (name, field): (&str, &VectorField),
        rows: &[u32],
        known: &KnownQueries,
    ) -> Result<CalibrationSample> {
        let of_segment = (&*build.segment as &dyn SegmentReader, rows);
        CalibrationSample::new(name, (build.field, field), of_segment, known)
    }

    /// Recalibrates an index with recent queries, and stores these and the calibration.
    pub(super) fn recalibrate(&self, build: &Build) -> Result<()> {
        let Some((name, field)) = self.fields.iter().nth(build.field) else { return Ok(()) };
        let segment = &build.segment;
        let coded = segment.field(build.field).coded();
        let Some(CodedField { codes, index: Some(index), .. }) = coded else { return Ok(()) };
        let rows = present(segment, build.field);
        let known = self.known_queries(build.field, (name, field))?;
        let sample = self.calibration_sample(build, (name, field), &rows, &known)?;
        let Some(reservoir) = self.reservoirs.get(build.field) else { return Ok(()) };
        // No rests while a missing index waits for this to finish.
        let came = || if self.is_index_missing() { 0 } else { reservoir.seen() };
        let pace = Pace::calm(&build.progress.cancelled, &came);
        let measure = || -> Result<_> {
            let is_flat = index.report().kind == IndexKind::Flat;
            let subject = self.subject(build, codes, (&sample, is_flat), &pace)?;
            let searched = index.searched();
            let index = searched.as_ref().map(|(view, copies)| (view, *copies));
            Ok(subject.calibrate(codes, index, &pace))
        };
        let calibration = self.scheduler.calm_pool().install(measure);
        reservoir.measured(build.started.elapsed());
        segment.check_pages()?;
        let calibration = calibration?;
        if build.progress.cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store_recent_queries(name, (build.field, field))?;
        let new = self.new_folder(&mut self.lock());
        let file = write_calibration(&*self.store.directory, &new.path, &calibration)?;
        let entry = CalibrationEntry { number: new.number, file };
        let mut published = false;
        self.install(&[new], |segments, _| {
            let mut indexes = segments.manifest.indexes.iter_mut();
            if let Some(listed) = indexes.find(|listed| listed.number == index.number()) {
                listed.calibration = Some(entry);
                published = true;
            }
        })?;
        if published {
            index.recalibrate(calibration);
        }
        tracing::info!(
            collection = %self.name,
            segment = build.number(),
            field = name,
            seconds = build.started.elapsed().as_secs_f64(),
            "recalibrated by the queries that came"
        );
        Ok(())
    }

    /// Stores the recent queries of a field with the collection.
    fn store_recent_queries(
        &self,
        name: &str,
        (index, field): (usize, &VectorField),
    ) -> Result<()> {
        let Some(queries) = self.recent_queries(index, field.dimension) else { return Ok(()) };
        let (new, file) = self.write_queries(&queries)?;
        let entry = QueriesEntry { field: name.to_owned(), number: new.number, file };
        self.install(&[new], |segments, _| {
            let all = &mut segments.manifest.recent_queries;
            all.retain(|entry| entry.field != name);
            all.push(entry);
        })
    }

    /// Restores the recent queries stored with the collection.
    pub(super) fn restore_recent_queries(&self, entries: &[QueriesEntry]) {
        for (index, (name, field)) in self.fields.iter().enumerate() {
            let Some(entry) = entries.iter().find(|entry| entry.field == *name) else { continue };
            match self.read_queries(entry, field) {
                Ok(queries) => self.reservoirs[index].fill(&queries, field.dimension),
                // They are only a hint: losing them loses no data.
                Err(error) => {
                    tracing::warn!(collection = %self.name, %error, "recent queries are lost");
                }
            }
        }
    }
}
