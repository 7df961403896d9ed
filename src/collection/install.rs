//! Makes a new folder part of a collection: completely, by one commit of the manifest, or not at
//! all.
//!
//! A [`NewFolder`] removes itself unless a manifest that references it may have reached the disk.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::MutexGuard;

use lanner_storage::{
    Batch, CollectionCopy, StorageError, Sync, read_collection_copy, remove_collection_copy,
    settle_collection_copies, write_collection_copy,
};

use super::Inner;
use super::state::Segments;
use super::writer::{State, Stop};
use crate::error::Result;
use crate::model::CollectionConfig;

/// The folder of a segment, an index, a calibration or queries while it is written. It is removed
/// on drop unless [`Inner::install`] has reached its commit.
pub(super) struct NewFolder<'i> {
    inner: &'i Inner,
    /// Its number, which is also its name and never reused.
    pub number: u64,
    /// The folder.
    pub path: String,
    epoch: u64,
    may_be_named: Cell<bool>,
}

impl Drop for NewFolder<'_> {
    fn drop(&mut self) {
        if !self.may_be_named.get() {
            self.inner.remove_folder(self.number);
        }
    }
}

impl Inner {
    /// Creates the next folder, for data built from the segments in `state`.
    pub(super) fn new_folder(&self, state: &mut State) -> NewFolder<'_> {
        let manifest = &mut state.segments.manifest;
        let number = manifest.next_segment;
        manifest.next_segment += 1;
        let (path, may_be_named) = (self.segment_folder(number), Cell::new(false));
        NewFolder { inner: self, number, path, epoch: state.epoch, may_be_named }
    }

    /// Changes the list of segments: first in the catalog, then for queries. Removes folders that
    /// the manifest no longer references, and `new` folders that it does not reference.
    pub(super) fn install(
        &self,
        new: &[NewFolder<'_>],
        change: impl FnOnce(&mut Segments, &mut Batch),
    ) -> Result<()> {
        self.install_under(self.lock(), new, |segments, batch| {
            change(segments, batch);
            Ok(())
        })
    }

    /// As [`Self::install`], with the lock held since the lookup it depends on.
    ///
    /// # Errors
    /// As [`Self::install`], and the errors of `change`; nothing is changed then.
    pub(super) fn install_under(
        &self,
        mut state: MutexGuard<'_, State>,
        new: &[NewFolder<'_>],
        change: impl FnOnce(&mut Segments, &mut Batch) -> Result<()>,
    ) -> Result<()> {
        if let Some(stop) = &state.stopped {
            return Err(self.stopped(stop));
        }
        if new.iter().any(|new| new.epoch != state.epoch) {
            let reason = "the segments were read again since this work began";
            return Err(self.stopped(&Stop::Failed(reason.into())));
        }
        let mut next = state.segments.clone();
        let mut batch = Batch::new();
        change(&mut next, &mut batch)?;
        next.manifest.version += 1;
        next.manifest.segments =
            next.sealed.iter().map(|slot| slot.segment.entry().clone()).collect();
        let gone = self.retire(&state.segments, &mut next);
        next.persist(self.id, &mut batch)?;
        new.iter().for_each(|new| new.may_be_named.set(true));
        if let Err(error) = self.store.catalog.commit(batch, Sync::Yes) {
            state.stopped = Some(Stop::Failed(error.to_string()));
            state.doubtful.extend(new.iter().map(|new| new.number));
            self.settle(&mut state);
            return Err(error.into());
        }
        for new in new {
            new.may_be_named.set(next.manifest.folders().any(|number| number == new.number));
        }
        next.persisted();
        state.segments = next;
        self.publish(&state);
        // Under the lock: copies are written in the order of the manifests, and whoever waits for
        // this change finds its copy.
        self.write_copy(&self.copy(&state.segments));
        drop(state);
        gone.into_iter().for_each(|number| self.remove_folder(number));
        Ok(())
    }

    /// Records in the next manifest the folders it replaces, and returns those newly replaced.
    fn retire(&self, now: &Segments, next: &mut Segments) -> Vec<u64> {
        let left: Vec<u64> = next.manifest.folders().collect();
        let gone = now.manifest.folders().filter(|number| !left.contains(number)).collect();
        let listed = self.store.directory.list(&self.folder());
        let retired = &mut next.manifest.retired;
        if let Ok(names) = listed {
            retired.retain(|number| names.contains(&number.to_string()));
        }
        retired.extend(&gone);
        gone
    }

    fn copy(&self, segments: &Segments) -> CollectionCopy<CollectionConfig> {
        let mut tombstones = BTreeMap::new();
        for slot in segments.sealed.iter().filter(|slot| !slot.deleted.is_empty()) {
            let mut bytes = Vec::with_capacity(slot.deleted.serialized_size());
            if slot.deleted.serialize_into(&mut bytes).is_ok() {
                tombstones.insert(slot.segment.entry().number, bytes);
            }
        }
        let (name, config) = (self.name.clone(), CollectionConfig::clone(&segments.config));
        CollectionCopy {
            name,
            id: self.id,
            config,
            manifest: segments.manifest.clone(),
            tombstones,
        }
    }

    /// Writes a copy of the catalog's current state.
    fn write_copy(&self, copy: &CollectionCopy<CollectionConfig>) {
        let directory = &*self.store.directory;
        if let Err(error) = write_collection_copy(directory, &self.folder(), copy) {
            tracing::warn!(collection = %self.name, %error, "the manifest has no copy");
        }
    }

    /// Damage of the manifest's copy, which is then rewritten.
    pub(super) fn check_copy(&self) -> Vec<StorageError> {
        let (directory, folder) = (&*self.store.directory, self.folder());
        let missing = || StorageError::Corrupted {
            path: folder.clone().into(),
            section: "manifest".into(),
            detail: "there is no copy of the manifest".into(),
        };
        let read = || match read_collection_copy::<CollectionConfig>(directory, &folder, self.id) {
            Ok((None, damage)) if damage.is_empty() => vec![missing()],
            Ok((_, damage)) => damage,
            Err(error) => vec![error],
        };
        if read().is_empty() {
            return Vec::new();
        }
        // A manifest replaced meanwhile has a sound copy, and a dropped collection has none.
        let state = self.lock();
        if matches!(state.stopped, Some(Stop::Dropped)) {
            return Vec::new();
        }
        let damage = read();
        if state.stopped.is_none() && !damage.is_empty() {
            let version = state.segments.manifest.version;
            if let Err(error) = remove_collection_copy(directory, &folder, version) {
                tracing::warn!(collection = %self.name, %error, "a damaged copy stays");
            }
            self.renew_copy(&state.segments);
        }
        damage
    }

    /// Ensures that exactly the copy of the opened state exists: the state may be new, its copy may
    /// have failed, or older copies may remain.
    pub(super) fn renew_copy(&self, segments: &Segments) {
        let (directory, version) = (&*self.store.directory, segments.manifest.version);
        match settle_collection_copies(directory, &self.folder(), version) {
            Ok(true) => {}
            Ok(false) => self.write_copy(&self.copy(segments)),
            Err(error) => {
                tracing::warn!(collection = %self.name, %error, "old copies of the manifest stay");
            }
        }
    }
}
