//! Recovery: from files, manifest and journal to a snapshot, when a collection is opened and after
//! a failed commit.
//!
//! Everything that was promised must be found; otherwise nothing is touched. Folders that the
//! manifest does not reference are removed only if an earlier manifest replaced them or they were
//! never completed. Any other folder may hold data, and is moved to `lost/`.

use std::sync::Arc;
use std::time::Instant;

use lanner_storage::{Directory, Manifest, Promise, SegmentEntry, StorageError};
use roaring::RoaringBitmap;

use super::Inner;
use super::record::Operation;
use super::state::{SealedSlot, Segments};
use super::writer::{State, Stop};
use crate::error::{Error, Result};
use crate::model::CollectionConfig;
use crate::segment::SealedSegment;

impl Inner {
    /// Opens the collection from its files. If nothing can be written now, reads work and later
    /// writes retry.
    pub(super) fn recover(&self) -> Result<()> {
        let mut state = self.lock();
        let mut segments = self.load()?;
        match self.store.catalog.read_only() {
            Some(why) => state.stopped = Some(Stop::Failed(why)),
            None => {
                if let Err(error) = self.sweep(&mut segments.manifest) {
                    tracing::warn!(collection = %self.name, %error, "leftovers stay");
                }
                self.renew_copy(&segments);
            }
        }
        self.restore_recent_queries(&segments.manifest.recent_queries);
        self.intake.store(segments.config.clone());
        state.segments = segments;
        self.publish(&state);
        Ok(())
    }

    /// Recovers after a failed commit by reloading the state from disk, which may or may not
    /// include that commit. Queries keep their snapshot.
    pub(super) fn revive(&self, state: &mut State) {
        let opened = self.store.catalog.reopen().map_err(Error::from);
        match opened.and_then(|()| self.load()) {
            Ok(mut segments) => {
                // Builds in progress may use numbers of the old state.
                let manifest = &mut segments.manifest;
                manifest.next_segment =
                    manifest.next_segment.max(state.segments.manifest.next_segment);
                self.remove_doubtful(state, &segments.manifest);
                state.segments = segments;
                state.epoch += 1;
                state.stopped = None;
                self.renew_intake(state);
                state.work.failures.try_again(Instant::now());
                self.publish(state);
                self.wake();
                tracing::info!(collection = %self.name, "writing goes on");
            }
            Err(error) => {
                tracing::warn!(collection = %self.name, %error, "nothing can be written yet");
                state.stopped = Some(Stop::Failed(error.to_string()));
            }
        }
    }

    /// Removes the folders of failed commits that the manifest turns out not to reference, or to
    /// have replaced.
    fn remove_doubtful(&self, state: &mut State, manifest: &Manifest) {
        manifest.retired.iter().for_each(|&number| self.remove_folder(number));
        for number in std::mem::take(&mut state.doubtful) {
            if manifest.folders().all(|known| known != number) {
                self.remove_folder(number);
            }
        }
    }

    /// Removes an unused folder. If that fails, it is removed when the collection is reopened.
    pub(super) fn remove_folder(&self, number: u64) {
        if let Err(error) = self.store.directory.remove_folder(&self.segment_folder(number)) {
            tracing::warn!(collection = %self.name, %error, "a leftover stays until reopening");
        }
    }

    /// Reads manifest, segments, tombstones and journal, and checks that nothing is missing.
    fn load(&self) -> Result<Segments> {
        let catalog = &self.store.catalog;
        let mut manifest = catalog.manifest(self.id)?;
        let config = Arc::new(catalog.config::<CollectionConfig>(&self.name)?);
        let mut segments = Segments { config: config.clone(), ..Segments::default() };
        for entry in &manifest.segments {
            let segment = self.open_segment(entry.clone(), &config, &segments.sealed)?;
            let deleted = match catalog.tombstones(self.id, entry.number)? {
                Some(bytes) => tombstones(entry, &bytes)?,
                None => RoaringBitmap::new(),
            };
            let (segment, deleted) = (Arc::new(segment), Arc::new(deleted));
            segments.sealed.push(SealedSlot { segment, deleted, dirty: false });
        }
        let named: Vec<u64> = manifest.folders().collect();
        self.open_indexes(&segments.sealed, &mut manifest);
        // Damaged indexes are rebuilt: their folders may be removed.
        let left: Vec<u64> = manifest.folders().collect();
        manifest.retired.extend(named.into_iter().filter(|number| !left.contains(number)));
        let (after, version) = (manifest.sealed_through, manifest.version);
        segments.sequence = after;
        segments.manifest = manifest;
        catalog.replay_journal(self.id, after, |sequence, record| {
            let operation = Operation::decode(&config, sequence, record)?;
            segments.active.journal_bytes += record.len() as u64;
            segments.apply(sequence, operation).map(drop)
        })?;
        catalog.check_promise(self.id, Promise { sequence: segments.sequence, version })?;
        if segments.active.is_full(self.options.seal_bytes) {
            segments.freeze();
        }
        Ok(segments)
    }

    /// Opens a segment; codecs shared with other segments are loaded once.
    pub(super) fn open_segment(
        &self,
        entry: SegmentEntry,
        config: &CollectionConfig,
        others: &[SealedSlot],
    ) -> Result<SealedSegment> {
        let (directory, folder) = (&*self.store.directory, self.segment_folder(entry.number));
        let mut segment = SealedSegment::open(directory, &folder, config, entry)?;
        others.iter().for_each(|slot| segment.share_codecs(&slot.segment));
        Ok(segment)
    }

    /// Removes or moves away folders that the manifest does not reference. Advances the next number
    /// beyond all existing folders.
    fn sweep(&self, manifest: &mut Manifest) -> Result<()> {
        let directory = &*self.store.directory;
        let known: Vec<u64> = manifest.folders().collect();
        // Any entry with the name of a folder occupies its number.
        let taken = directory.list(&self.folder())?;
        let highest = taken.iter().filter_map(|name| number(name)).max().unwrap_or(0);
        manifest.next_segment = manifest.next_segment.max(highest.saturating_add(1));
        for name in directory.folders(&self.folder())? {
            let path = format!("{}/{name}", self.folder());
            if is_unfinished(&name) {
                directory.remove_folder(&path)?;
            }
            let Some(number) = number(&name) else { continue };
            if known.contains(&number) {
                continue;
            }
            if manifest.retired.contains(&number) {
                tracing::info!(collection = %self.name, folder = %name, "leftover removed");
                directory.remove_folder(&path)?;
            } else {
                move_to_lost(directory, &path, &format!("{}-{name}", self.id))?;
            }
        }
        Ok(())
    }
}

/// The number of a folder, if its name is one.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

/// Whether the name of a folder in a collection's folder was given by Lanner.
pub(crate) fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    number(name.strip_prefix("manifest-").unwrap_or(name)).is_some()
}

/// Whether the name of a folder was given by Lanner to incomplete data.
fn is_unfinished(name: &str) -> bool {
    name.ends_with(".tmp") && is_ours(name)
}

/// Moves a folder unknown to the catalog out of the way.
pub(crate) fn move_to_lost(directory: &dyn Directory, path: &str, name: &str) -> Result<()> {
    let lost = lanner_storage::move_to_lost(directory, path, name)?;
    tracing::error!(folder = %path, %lost, "the catalog does not know it: moved to `lost`");
    Ok(())
}

pub(crate) fn tombstones(entry: &SegmentEntry, bytes: &[u8]) -> Result<RoaringBitmap> {
    let corrupted = |detail: String| {
        Error::from(StorageError::Corrupted {
            path: "catalog".into(),
            section: "tombstones".into(),
            detail: format!("segment {}: {detail}", entry.number),
        })
    };
    let deleted =
        RoaringBitmap::deserialize_from(bytes).map_err(|error| corrupted(error.to_string()))?;
    match deleted.max() {
        Some(row) if row >= entry.rows => Err(corrupted(format!("row {row} of {}", entry.rows))),
        _ => Ok(deleted),
    }
}
