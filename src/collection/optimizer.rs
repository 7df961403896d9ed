//! Background work of a collection: sealing full segments and merging small ones.
//!
//! Both build a segment from the rows that are live when the build starts, without any lock, and
//! then publish it under the writer lock: rows deleted in the meantime become tombstones of the
//! new segment, the manifest changes in one atomic commit, and only then do the inputs go. A
//! crash at any point leaves the old or the new state; leftover folders are swept at open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanner_storage::StorageError;

use super::Inner;
use super::codecs::{Codecs, CurrentCodecs, MIN_ROWS, Retrain};
use super::index_work::IndexWork;
use super::install::NewFolder;
use super::state::{SealedSlot, Segments, translate};
use super::writer::{State, Stop};
use crate::error::{Error, Result};
use crate::segment::{BuildPlan, BuildSource, SealedSegment, SegmentReader, build_segment};

/// A segment with this share of deleted rows is rewritten.
pub(super) const REWRITE_DELETED_SHARE: f64 = 0.2;
/// So many segments of one size class are merged into one.
const MERGE_FAN_IN: usize = 8;

/// What the worker was asked for, and how it went.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Why the last piece of work failed; nothing more is tried until someone takes this.
    pub error: Option<String>,
    /// Tickets of `optimize` calls: handed out, and served.
    pub optimize_asked: u64,
    pub optimize_done: u64,
    /// The last ticket by which codecs are to be trained anew.
    retrain_asked: u64,
    /// Segments that were found damaged when they were to be merged, by number, and how. They
    /// stay as they are until the collection is reopened.
    pub damaged: BTreeMap<u64, String>,
    /// Why fields have no newly trained codec, by name.
    pub trainings: BTreeMap<String, String>,
    /// What the indexer does.
    pub indexing: IndexWork,
}

impl Work {
    /// What keeps segments from being merged, if anything does.
    pub fn damage(&self) -> Option<String> {
        let reasons: Vec<&str> = self.damaged.values().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

enum Task {
    Seal,
    Merge(Vec<u64>),
    Optimize(u64),
}

impl Inner {
    /// The worker thread: serves tasks until the collection closes.
    pub(super) fn work(&self) {
        let _guard = WorkerGuard(self);
        while let Some((task, epoch)) = self.next_task() {
            let done = match task {
                Task::Seal => self.seal(),
                Task::Merge(numbers) => match self.all_sound(&numbers) {
                    Ok(true) => self.merge(&numbers, Retrain::IfDrifted),
                    checked => checked.map(drop),
                },
                Task::Optimize(ticket) => self.optimize_all(ticket),
            };
            if let Err(error) = done {
                tracing::error!(collection = %self.name, %error, "background work failed");
                let mut state = self.lock();
                // What failed because the segments were read again is simply done again.
                if state.epoch == epoch {
                    state.work.error = Some(error.to_string());
                }
            }
            self.changed.notify_all();
        }
    }

    /// The next task, and the epoch of the segments that it is about.
    fn next_task(&self) -> Option<(Task, u64)> {
        let mut state = self.lock();
        loop {
            if state.is_over() {
                return None;
            }
            if state.work.error.is_none() && state.stopped.is_none() {
                let task = if !state.segments.frozen.is_empty() {
                    Some(Task::Seal)
                } else if state.work.optimize_done < state.work.optimize_asked {
                    Some(Task::Optimize(state.work.optimize_asked))
                } else {
                    self.merge_candidates(&state).map(Task::Merge)
                };
                if let Some(task) = task {
                    return Some((task, state.epoch));
                }
            }
            state = self.wait(state);
        }
    }

    /// Seals everything written before the call.
    pub(super) fn flush(&self) -> Result<()> {
        let (mut state, stop) = self.wait_for_room(self.lock());
        if let Some(stop) = stop {
            return Err(self.stopped(&stop));
        }
        state.segments.freeze();
        self.publish(&state);
        let through = state.segments.sequence;
        self.wait_until(state, |state| state.segments.manifest.sealed_through >= through)
    }

    /// Seals everything, merges segments as far as the size limit allows, and drops deleted rows.
    /// With `Retrain::Always`, rewrites all of them with newly trained codecs.
    pub(super) fn optimize(&self, retrain: Retrain) -> Result<()> {
        self.flush()?;
        let mut state = self.lock();
        state.work.optimize_asked += 1;
        let ticket = state.work.optimize_asked;
        if retrain == Retrain::Always {
            state.work.retrain_asked = ticket;
        }
        state.work.indexing.try_again();
        let done =
            |state: &State| state.work.optimize_done >= ticket && !self.has_index_work(state);
        self.wait_until(state, done)?;
        let state = self.lock();
        match (state.work.damage(), state.work.indexing.failed()) {
            (Some(reason), _) => Err(Error::SegmentsDamaged { reason }),
            (None, Some(reason)) => Err(Error::IndexesMissing { reason }),
            (None, None) => Ok(()),
        }
    }

    fn wait_until(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        done: impl Fn(&State) -> bool,
    ) -> Result<()> {
        // An old failure is no reason to give up: the call is a new try.
        state.work.error = None;
        self.changed.notify_all();
        loop {
            if done(&state) {
                return Ok(());
            }
            if let Some(stop) = &state.stopped {
                return Err(self.stopped(stop));
            }
            if let Some(reason) = &state.work.error {
                return Err(Error::SealFailed { reason: reason.clone() });
            }
            state = self.wait(state);
        }
    }

    fn seal(&self) -> Result<()> {
        let (slot, new, current) = {
            let mut state = self.lock();
            let Some(slot) = state.segments.frozen.first().cloned() else { return Ok(()) };
            let new = self.new_folder(&mut state);
            (slot, new, self.current_codecs(readers(&state.segments.sealed)))
        };
        let sources = [slot.source()];
        let built = self.build(&new, &sources, current, Retrain::IfMissing)?;
        let (mut folders, calibrations) = self.calibrate_scans(built.as_ref());
        folders.push(new);
        self.install(&folders, |segments, batch| {
            let now = segments.frozen.remove(0);
            segments.manifest.sealed_through = now.last_sequence;
            batch.truncate_journal(self.id, now.last_sequence);
            segments.manifest.indexes.extend(calibrations);
            segments.sealed.extend(built.map(|segment| {
                let deleted = translate(&sources, &[now.deleted]);
                SealedSlot { segment, dirty: !deleted.is_empty(), deleted: Arc::new(deleted) }
            }));
        })?;
        if let Err(error) = self.store.catalog.reclaim_journal(self.id, slot.last_sequence) {
            tracing::warn!(collection = %self.name, %error, "the journal keeps its space for now");
        }
        Ok(())
    }

    /// Whether the files of these segments are what was written: a merge makes new checksums,
    /// which must not vouch for damaged rows.
    fn all_sound(&self, numbers: &[u64]) -> Result<bool> {
        let slots: Vec<SealedSlot> = members(&self.lock().segments, numbers).cloned().collect();
        let mut sound = true;
        for slot in slots {
            sound &= self.is_sound(&slot.segment, SealedSegment::damage)?;
        }
        Ok(sound)
    }

    /// Whether what is asked for of a segment is what was written. If not, that is noted: nothing
    /// more is made of the segment.
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

    /// Notes that a segment is damaged, if it is.
    pub(super) fn note_segment_damage(&self, number: u64, damage: &[StorageError]) {
        if let Some(error) = damage.iter().find(|error| !error.is_shortage()) {
            tracing::error!(collection = %self.name, %error, "a damaged segment is left alone");
            self.lock().work.damaged.insert(number, error.to_string());
        }
    }

    /// Replaces the segments of these numbers by one with their live rows.
    fn merge(&self, numbers: &[u64], retrain: Retrain) -> Result<()> {
        self.cancel_index_of(numbers);
        let (sources, new, current) = {
            let mut state = self.lock();
            let slots: Vec<SealedSlot> = members(&state.segments, numbers).cloned().collect();
            let sources: Vec<BuildSource> = slots.iter().map(SealedSlot::source).collect();
            let new = self.new_folder(&mut state);
            (sources, new, self.current_codecs(readers(&slots)))
        };
        let built = self.build(&new, &sources, current, retrain)?;
        let (mut folders, calibrations) = self.calibrate_scans(built.as_ref());
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
            indexes.extend(calibrations);
        })?;
        self.cancel_index_of(numbers);
        Ok(())
    }

    fn optimize_all(&self, ticket: u64) -> Result<()> {
        let (groups, retrain) = loop {
            let (groups, retrain) = {
                let state = self.lock();
                let always = state.work.retrain_asked > state.work.optimize_done;
                let retrain = if always { Retrain::Always } else { Retrain::IfDrifted };
                (self.optimize_groups(&state, retrain), retrain)
            };
            // Otherwise in groups without what is known to be damaged by now.
            if self.all_sound(&groups.concat())? {
                break (groups, retrain);
            }
        };
        for numbers in groups {
            self.merge(&numbers, retrain)?;
        }
        self.check_indexes()?;
        self.lock().work.optimize_done = ticket;
        Ok(())
    }

    fn build(
        &self,
        new: &NewFolder<'_>,
        sources: &[BuildSource],
        current: CurrentCodecs,
        retrain: Retrain,
    ) -> Result<Option<Arc<SealedSegment>>> {
        if sources.iter().all(|source| source.live_rows() == 0) {
            return Ok(None);
        }
        let started = std::time::Instant::now();
        let queries = self.lock().segments.manifest.queries.clone();
        let codecs = self.choose_codecs(sources, current, retrain, &queries)?;
        let segment = match self.write_segment(new, sources, &codecs) {
            Err(Error::Storage(error @ StorageError::Corrupted { .. }))
                if codecs.iter().any(Option::is_some) =>
            {
                // The rows have to be sealed, also if they cannot be coded.
                tracing::error!(collection = %self.name, %error, "codes cannot be read back");
                self.remove_folder(new.number);
                self.write_segment(new, sources, &vec![None; codecs.len()])?
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

    /// Writes a segment, and reads it back before anybody else does.
    fn write_segment(
        &self,
        new: &NewFolder<'_>,
        sources: &[BuildSource],
        codecs: &Codecs,
    ) -> Result<SealedSegment> {
        let plan = BuildPlan {
            directory: &*self.store.directory,
            folder: &new.path,
            number: new.number,
            config: &self.config,
            codecs,
            pool: &self.pool,
            cancelled: &self.cancelled,
        };
        let entry = build_segment(&plan, sources)?;
        sources.iter().try_for_each(|source| source.reader.check_pages())?;
        let sealed = self.lock().segments.sealed.clone();
        let segment = self.open_segment(entry, &sealed)?;
        let damage = segment.damage(&mut |_| !self.cancelled.load(Ordering::Relaxed));
        damage.into_iter().next().map_or(Ok(segment), |error| Err(error.into()))
    }

    /// Segments worth merging in the background: one with many deleted rows, or enough of one
    /// size class.
    pub(super) fn merge_candidates(&self, state: &State) -> Option<Vec<u64>> {
        if let Some(slot) =
            mergeable(state).find(|slot| slot.deleted_share() >= REWRITE_DELETED_SHARE)
        {
            return Some(vec![number(slot)]);
        }
        for class in 0..u64::BITS {
            let of_class: Vec<&SealedSlot> = mergeable(state)
                .filter(|slot| size_class(live_bytes(slot), self.options.seal_bytes) == class)
                .collect();
            let total: u64 = of_class.iter().take(MERGE_FAN_IN).map(|slot| live_bytes(slot)).sum();
            if of_class.len() >= MERGE_FAN_IN && total <= self.options.segment_bytes {
                return Some(of_class.into_iter().take(MERGE_FAN_IN).map(number).collect());
            }
        }
        None
    }

    /// The merges that leave as few segments as the size limit allows, and no deleted row; all
    /// that may be compressed if codecs are trained anew.
    fn optimize_groups(&self, state: &State, retrain: Retrain) -> Vec<Vec<u64>> {
        let mut groups: Vec<(u64, Vec<&SealedSlot>)> = Vec::new();
        for slot in mergeable(state) {
            let bytes = live_bytes(slot);
            match groups.last_mut() {
                Some((total, members)) if *total + bytes <= self.options.segment_bytes => {
                    *total += bytes;
                    members.push(slot);
                }
                _ => groups.push((bytes, vec![slot])),
            }
        }
        groups
            .into_iter()
            .map(|(_, members)| members)
            .filter(|members| {
                members.len() > 1
                    || !members[0].deleted.is_empty()
                    || (retrain == Retrain::Always
                        && u64::from(members[0].segment.rows()) >= MIN_ROWS)
            })
            .map(|members| members.into_iter().map(number).collect())
            .collect()
    }

    /// Stops the worker and waits for it; a build in progress is abandoned.
    pub(super) fn stop(&self, stop: Stop) {
        self.lock().stopped = Some(stop);
        self.cancelled.store(true, Ordering::Relaxed);
        self.cancel_index();
        self.changed.notify_all();
        let workers = self.workers.lock().map(|mut workers| std::mem::take(&mut *workers));
        for worker in workers.unwrap_or_default() {
            if worker.join().is_err() {
                tracing::error!(collection = %self.name, "a background worker panicked");
            }
        }
    }
}

/// Stops writes if the worker panics: those who wait for it would wait for ever.
pub(super) struct WorkerGuard<'i>(pub &'i Inner);

impl Drop for WorkerGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().stopped = Some(Stop::Broken("a background worker panicked".into()));
            self.0.changed.notify_all();
        }
    }
}

fn readers(slots: &[SealedSlot]) -> impl DoubleEndedIterator<Item = &dyn SegmentReader> + Clone {
    slots.iter().map(|slot| &*slot.segment as &dyn SegmentReader)
}

fn number(slot: &SealedSlot) -> u64 {
    slot.segment.entry().number
}

fn is_member(slot: &SealedSlot, numbers: &[u64]) -> bool {
    numbers.contains(&number(slot))
}

fn members<'s>(segments: &'s Segments, numbers: &'s [u64]) -> impl Iterator<Item = &'s SealedSlot> {
    segments.sealed.iter().filter(|slot| is_member(slot, numbers))
}

/// The sealed segments that are not known to be damaged.
fn mergeable(state: &State) -> impl Iterator<Item = &SealedSlot> {
    let sound = |slot: &&SealedSlot| !state.work.damaged.contains_key(&number(slot));
    state.segments.sealed.iter().filter(sound)
}

fn live_bytes(slot: &SealedSlot) -> u64 {
    (slot.segment.size_bytes() as f64 * (1.0 - slot.deleted_share())) as u64
}

/// 0 up to one and a half times the size at which segments are sealed, and one more for each
/// factor of [`MERGE_FAN_IN`].
fn size_class(bytes: u64, seal_bytes: u64) -> u32 {
    let mut limit = seal_bytes.saturating_add(seal_bytes / 2).max(1);
    let mut class = 0;
    while bytes > limit {
        limit = limit.saturating_mul(MERGE_FAN_IN as u64);
        class += 1;
    }
    class
}
