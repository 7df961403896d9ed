//! Seals full segments and merges small ones.
//!
//! Both build a segment from the rows that are live at the start, without holding a lock, and then
//! publish it under the writer lock: rows deleted meanwhile become tombstones of the new segment,
//! the manifest changes in one atomic commit, and only then are the sources removed. A crash at any
//! point leaves the old or the new state; leftover folders are removed on opening.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanner_storage::StorageError;
use rayon::ThreadPool;

use super::Inner;
use super::codecs::{Codecs, CurrentCodecs, Retrain, Wish};
use super::install::NewFolder;
use super::recovery;
use super::state::{SealedSlot, Segments, translate};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::model::CollectionConfig;
use crate::segment::{BuildPlan, BuildSource, SealedSegment, SegmentReader, build_segment};

/// Settings of one build.
pub(super) struct Run<'r> {
    /// Progress and cancellation.
    pub progress: &'r Arc<BuildProgress>,
    pub pool: &'r ThreadPool,
    /// Whether large segments get their indexes before they are published, since their sources have
    /// some.
    pub indexes: bool,
    /// The collection's settings when it began.
    pub settings: Settings,
}

/// The settings that a segment is built with.
pub(super) struct Settings {
    pub config: Arc<CollectionConfig>,
    pub generation: u64,
}

impl Settings {
    fn of(segments: &Segments) -> Self {
        let (config, generation) = (segments.config.clone(), segments.manifest.settings_generation);
        Self { config, generation }
    }
}

impl Run<'_> {
    pub fn is_cancelled(&self) -> bool {
        self.progress.cancelled.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// Seals the oldest frozen segment.
    pub(super) fn seal(&self) -> Result<()> {
        let (slot, new, current, settings) = {
            let mut state = self.lock();
            let Some(slot) = state.segments.frozen.first().cloned() else { return Ok(()) };
            let new = self.new_folder(&mut state);
            let current = self.current_codecs(readers(&state.segments.sealed));
            (slot, new, current, Settings::of(&state.segments))
        };
        let sources = [slot.source()];
        let pool = self.scheduler.urgent_pool();
        let run = Run { progress: &self.sealing, pool, indexes: false, settings };
        let built = self.build(&new, &sources, (current, Retrain::IfMissing), &run)?;
        let (mut folders, indexes) = self.index_new(built.as_ref(), &[], &run)?;
        folders.push(new);
        let state = self.lock();
        let lacks = |segment: &Arc<SealedSegment>| segment.is_behind(&state.segments.config);
        if built.as_ref().is_some_and(lacks) {
            // A path was declared meanwhile, and its declaration relies on the column: seal again.
            return Ok(());
        }
        self.install_under(state, &folders, |segments, batch| {
            let now = segments.frozen.remove(0);
            segments.manifest.sealed_through = now.last_sequence;
            batch.truncate_journal(self.id, now.last_sequence);
            segments.manifest.indexes.extend(indexes);
            segments.sealed.extend(built.map(|segment| {
                let deleted = translate(&sources, &[now.deleted]);
                SealedSlot { segment, dirty: !deleted.is_empty(), deleted: Arc::new(deleted) }
            }));
            Ok(())
        })?;
        if let Err(error) = self.store.catalog.reclaim_journal(self.id, slot.last_sequence) {
            tracing::warn!(collection = %self.name, %error, "the journal keeps its space for now");
        }
        Ok(())
    }

    /// Whether the files of these segments are sound: a merge computes new checksums, which must
    /// not cover damaged rows.
    pub(super) fn all_sound(&self, numbers: &[u64]) -> Result<bool> {
        let slots: Vec<SealedSlot> = members(&self.lock().segments, numbers).cloned().collect();
        let mut sound = true;
        for slot in slots {
            sound &= self.is_sound(&slot.segment, SealedSegment::damage)?;
        }
        Ok(sound)
    }

    /// Whether the checked part of a segment is sound. If not, the damage is recorded and the
    /// segment excluded from merges.
    pub(super) fn is_sound(
        &self,
        segment: &SealedSegment,
        damage: impl Fn(&SealedSegment, &mut dyn FnMut(u64) -> bool) -> Vec<StorageError>,
    ) -> Result<bool> {
        let damage = damage(segment, &mut |_| !self.cancelled.load(Ordering::Relaxed));
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Closing);
        }
        let (shortages, damage): (Vec<_>, Vec<_>) =
            damage.into_iter().partition(StorageError::is_shortage);
        if let Some(error) = shortages.into_iter().next() {
            return Err(error.into());
        }
        self.note_segment_damage(segment.entry().number, &damage);
        Ok(damage.is_empty())
    }

    /// Records damage that a read ran into, if any.
    pub(super) fn noting_damage<T>(&self, read: Result<T>) -> Result<T> {
        if let Err(Error::Storage(error @ StorageError::Corrupted { path, .. })) = &read
            && let Some(folder) = path.parent().and_then(std::path::Path::file_name)
            && let Some(number) = folder.to_str().and_then(recovery::number)
            && self.has_segment(number)
        {
            self.note_segment_damage(number, std::slice::from_ref(error));
        }
        read
    }

    /// Records that a segment is damaged, if it is.
    pub(super) fn note_segment_damage(&self, number: u64, damage: &[StorageError]) {
        if let Some(error) = damage.iter().find(|error| !error.is_shortage()) {
            tracing::error!(collection = %self.name, %error, "a damaged segment is left alone");
            self.lock().work.damaged.insert(number, error.to_string());
        }
    }

    /// Merges these segments into one with their live rows, once it has its indexes; those of the
    /// sources serve queries until then.
    pub(super) fn merge(
        &self,
        numbers: &[u64],
        retrain: Retrain,
        progress: &Arc<BuildProgress>,
    ) -> Result<()> {
        self.cancel_index_of(numbers);
        let (slots, new, current, settings) = {
            let mut state = self.lock();
            let slots: Vec<SealedSlot> = members(&state.segments, numbers).cloned().collect();
            let new = self.new_folder(&mut state);
            let current = self.current_codecs(readers(&slots));
            (slots, new, current, Settings::of(&state.segments))
        };
        let sources: Vec<BuildSource> = slots.iter().map(SealedSlot::source).collect();
        let run = Run { progress, pool: self.scheduler.pool(), indexes: true, settings };
        let built = self.build(&new, &sources, (current, retrain), &run)?;
        let (mut folders, new_indexes) = self.index_new(built.as_ref(), &slots, &run)?;
        folders.push(new);
        self.install(&folders, |segments, batch| {
            let now: Vec<_> = members(segments, numbers).map(|slot| slot.deleted.clone()).collect();
            let deleted = translate(&sources, &now);
            let merged = built.map(|segment| SealedSlot {
                segment,
                dirty: !deleted.is_empty(),
                deleted: Arc::new(deleted),
            });
            let position = segments.sealed.iter().position(|slot| is_member(slot, numbers));
            segments.sealed.retain(|slot| !is_member(slot, numbers));
            if let Some(merged) = merged {
                segments.sealed.insert(position.unwrap_or(0), merged);
            }
            for &number in numbers {
                batch.drop_tombstones(self.id, number);
            }
            let indexes = &mut segments.manifest.indexes;
            indexes.retain(|entry| !numbers.contains(&entry.segment));
            indexes.extend(new_indexes);
        })?;
        self.cancel_index_of(numbers);
        Ok(())
    }

    fn build(
        &self,
        new: &NewFolder<'_>,
        sources: &[BuildSource],
        (current, retrain): (CurrentCodecs, Retrain),
        run: &Run<'_>,
    ) -> Result<Option<Arc<SealedSegment>>> {
        if sources.iter().all(|source| source.live_rows() == 0) {
            return Ok(None);
        }
        let started = std::time::Instant::now();
        let queries = self.lock().segments.manifest.queries.clone();
        let wish = Wish { retrain, cancelled: &run.progress.cancelled };
        let fit = || self.choose_codecs(sources, current, wish, &queries);
        let codecs = run.pool.install(fit)?;
        let segment = match self.write_segment(new, (sources, &codecs), run) {
            Err(Error::Storage(error @ StorageError::Corrupted { .. }))
                if codecs.iter().any(Option::is_some) =>
            {
                // The rows have to be sealed even if they cannot be coded.
                tracing::error!(collection = %self.name, %error, "codes cannot be read back");
                self.remove_folder(new.number);
                self.write_segment(new, (sources, &vec![None; codecs.len()]), run)?
            }
            written => written?,
        };
        tracing::info!(
            collection = %self.name,
            segment = new.number,
            rows = segment.entry().rows,
            bytes = segment.size_bytes(),
            seconds = started.elapsed().as_secs_f64(),
            "segment written"
        );
        Ok(Some(Arc::new(segment)))
    }

    /// Writes a segment and verifies it before it is used.
    fn write_segment(
        &self,
        new: &NewFolder<'_>,
        (sources, codecs): (&[BuildSource], &Codecs),
        run: &Run<'_>,
    ) -> Result<SealedSegment> {
        let plan = BuildPlan {
            directory: &*self.store.directory,
            folder: &new.path,
            number: new.number,
            config: &run.settings.config,
            settings_generation: run.settings.generation,
            codecs,
            pool: run.pool,
            progress: run.progress,
        };
        let entry = build_segment(&plan, sources)?;
        sources.iter().try_for_each(|source| source.reader.check_pages())?;
        let sealed = self.lock().segments.sealed.clone();
        let segment = self.open_segment(entry, &run.settings.config, &sealed)?;
        let damage = segment.damage(&mut |_| !run.is_cancelled());
        damage.into_iter().next().map_or(Ok(segment), |error| Err(error.into()))
    }
}

fn readers(slots: &[SealedSlot]) -> impl DoubleEndedIterator<Item = &dyn SegmentReader> + Clone {
    slots.iter().map(|slot| &*slot.segment as &dyn SegmentReader)
}

pub(super) fn number(slot: &SealedSlot) -> u64 {
    slot.segment.entry().number
}

fn is_member(slot: &SealedSlot, numbers: &[u64]) -> bool {
    numbers.contains(&number(slot))
}

fn members<'s>(segments: &'s Segments, numbers: &'s [u64]) -> impl Iterator<Item = &'s SealedSlot> {
    segments.sealed.iter().filter(|slot| is_member(slot, numbers))
}
