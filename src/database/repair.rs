//! Makes a database that does not open usable again, and says what is missing.
//!
//! The catalog is put together from what is sound in its logs and tables. Then each collection gets
//! the newer of the manifest there and of the copy beside its segments, without the segments whose
//! files are damaged, and those unsealed writes that are left. Nothing is deleted: what is damaged
//! or not named is moved to `lost/`.

use std::collections::BTreeMap;
use std::path::Path;

use lanner_storage::{
    Batch, Catalog, CollectionCopy, DatabaseLock, Directory, Listed, LocalDirectory, Manifest,
    Promise, StorageError, Sync, identity, read_collection_copy, remove_collection_copy, salvage,
    write_collection_copy,
};

use super::Database;
use crate::collection::collection_folder;
use crate::collection::recovery::{move_to_lost, number, tombstones};
use crate::error::{Error, Result};
use crate::model::CollectionConfig;
use crate::segment::{SealedSegment, read_entry};

/// What a repair has found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What was damaged in the catalog.
    pub catalog: Vec<String>,
    /// The collections in which something was wrong.
    pub collections: Vec<CollectionRepair>,
}

/// What a repair has found and done in a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionRepair {
    /// Its name, or its folder if the name is lost.
    pub name: String,
    /// What was done.
    pub done: Vec<String>,
    /// What is missing, as far as it is known.
    pub missing: Vec<String>,
}

type Copy = CollectionCopy<CollectionConfig>;
/// Unsealed writes: the number that each had, and its record.
type Journal = Vec<(u64, Vec<u8>)>;

impl Database {
    /// Repairs the database in the folder `root`, which no process may have open. One that is
    /// sound is left as it is.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Locked`] or [`lanner_storage::StorageError::NotADatabase`],
    /// and I/O errors; a repair can be repeated.
    pub fn repair(root: impl AsRef<Path>) -> Result<RepairReport> {
        let root = root.as_ref();
        identity::open_existing(root)?;
        let _lock = DatabaseLock::acquire(root)?;
        let (catalog, damage) = salvage(root)?;
        let directory = LocalDirectory::new(root);
        let (catalog, is_rebuilt) = (&catalog, !damage.is_empty());
        let repair = Repair { catalog, directory: &directory, is_rebuilt };
        let collections = repair.collections()?;
        let catalog = damage.iter().map(ToString::to_string).collect();
        Ok(RepairReport { catalog, collections })
    }
}

/// What a collection is made of again.
struct Newest {
    copy: Copy,
    /// What the copy beside the segments has that the catalog has not, if it is that one.
    restored: Option<String>,
    /// Whether the copies are sound.
    is_copied: bool,
}

struct Repair<'r> {
    catalog: &'r Catalog,
    directory: &'r LocalDirectory,
    /// Whether the catalog was put together anew.
    is_rebuilt: bool,
}

impl Repair<'_> {
    fn collections(&self) -> Result<Vec<CollectionRepair>> {
        let mut known = BTreeMap::new();
        for listed in self.catalog.collections::<CollectionConfig>()? {
            known.insert(listed.id, listed);
        }
        let dropped = self.catalog.dropped()?;
        let mut ids: Vec<u32> = known.keys().copied().chain(self.catalog.promised()?).collect();
        let folders = self.directory.folders("collections")?;
        ids.extend(folders.iter().filter_map(|name| u32::try_from(number(name)?).ok()));
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !dropped.contains(id));
        let next = ids.last().map_or(1, |last| last.saturating_add(1));
        let next = next.max(self.catalog.next_collection().unwrap_or(1));
        let mut repaired = Vec::new();
        for id in ids {
            let mut report = CollectionRepair::default();
            // What a newer version has written is no damage.
            let listed = known.remove(&id);
            if self.catalog.promise(id) == Promise::DELETED {
                self.delete(id, listed.map(|listed| listed.name), &mut report)?;
                repaired.extend(Some(report).filter(|report| !report.done.is_empty()));
                continue;
            }
            let in_catalog = match listed {
                Some(Listed { config: Ok(config), name, .. }) => self.in_catalog(id, name, config),
                Some(Listed { config: Err(StorageError::UnknownSettings { .. }), .. }) => continue,
                Some(Listed { config: Err(error), .. }) => {
                    report.missing.push(error.to_string());
                    None
                }
                None => None,
            };
            self.repair(id, in_catalog, next, &mut report)?;
            if !report.done.is_empty() || !report.missing.is_empty() {
                repaired.push(report);
            }
        }
        Ok(repaired)
    }

    /// Deletes a collection again of which the catalog has lost that it was deleted.
    fn delete(&self, id: u32, name: Option<String>, report: &mut CollectionRepair) -> Result<()> {
        if let Some(name) = name {
            let mut batch = Batch::new();
            batch.drop_collection(id, &name);
            self.catalog.commit(batch, Sync::Yes)?;
            report.name = name;
            report.done.push("deleted it, as it was before".into());
        }
        Ok(())
    }

    /// What the catalog has of a collection, if it has a manifest.
    fn in_catalog(&self, id: u32, name: String, config: CollectionConfig) -> Option<Copy> {
        let manifest = self.catalog.manifest(id).ok()?;
        let mut tombstones = BTreeMap::new();
        for entry in &manifest.segments {
            if let Some(bytes) = self.catalog.tombstones(id, entry.number).ok()? {
                tombstones.insert(entry.number, bytes);
            }
        }
        Some(CollectionCopy { name, id, config, manifest, tombstones })
    }

    fn repair(
        &self,
        id: u32,
        in_catalog: Option<Copy>,
        next: u32,
        report: &mut CollectionRepair,
    ) -> Result<()> {
        let folder = collection_folder(id);
        report.name = folder.clone();
        let promised = self.catalog.promise(id);
        let Some(newest) = self.newest(&folder, in_catalog, report)? else {
            return self.give_up(&folder, report);
        };
        let Newest { mut copy, restored, is_copied } = newest;
        report.name.clone_from(&copy.name);
        if promised.version > copy.manifest.version {
            report.missing.push(format!(
                "changes of the manifest after version {} (it was {})",
                copy.manifest.version, promised.version
            ));
        }
        let segments = self.drop_damaged_segments(&folder, &mut copy, report)?;
        let after = copy.manifest.sealed_through;
        let (journal, gaps) = self.journal(id, after, promised.sequence)?;
        report.missing.extend(gaps);
        if self.is_rebuilt && promised == Promise::default() {
            let detail =
                format!("writes after {}, if there were more", after + journal.len() as u64);
            report.missing.push(detail);
        }
        let is_sound = report.done.is_empty() && report.missing.is_empty() && restored.is_none();
        self.report_damage(&folder, &segments, report);
        if is_sound {
            if !is_copied {
                remove_collection_copy(self.directory, &folder, copy.manifest.version)?;
                write_collection_copy(self.directory, &folder, &copy)?;
                report.done.push("wrote the copy of the manifest anew".into());
            }
            return Ok(());
        }
        report.done.extend(restored);
        report.done.push(format!("kept {} unsealed writes", journal.len()));
        self.write(copy, journal, next)
    }

    /// Says what is damaged in segments that open: their other rows can be read.
    fn report_damage(
        &self,
        folder: &str,
        segments: &[SealedSegment],
        report: &mut CollectionRepair,
    ) {
        for segment in segments {
            let damage = segment.damage(&mut |_| true);
            report.missing.extend(damage.iter().map(ToString::to_string));
            let path = format!("{folder}/{}", segment.entry().number);
            let noted = read_entry(self.directory, &path).err();
            report.missing.extend(noted.map(|error| error.to_string()));
        }
    }

    /// The newer of what the catalog has and of the sound copies beside the segments.
    fn newest(
        &self,
        folder: &str,
        in_catalog: Option<Copy>,
        report: &mut CollectionRepair,
    ) -> Result<Option<Newest>> {
        let (beside, damage) = read_collection_copy::<CollectionConfig>(self.directory, folder)?;
        // Copies that are damaged matter only if they are needed.
        if in_catalog.is_none() {
            report.missing.extend(damage.iter().map(ToString::to_string));
        }
        let is_copied = damage.is_empty();
        let known = in_catalog.as_ref().map(|copy| copy.manifest.version);
        let restored = beside.as_ref().and_then(|beside| {
            let version = beside.manifest.version;
            if known.is_none_or(|known| version > known) {
                return Some(format!("restored version {version} of the manifest from its copy"));
            }
            // What a log has lost may be tombstones, though not the manifest that came with them.
            let differ =
                in_catalog.as_ref().is_some_and(|copy| copy.tombstones != beside.tombstones);
            (self.is_rebuilt && known == Some(version) && differ)
                .then(|| "restored which rows are deleted from the copy of the manifest".into())
        });
        let copy = if restored.is_some() { beside } else { in_catalog };
        Ok(copy.map(|copy| Newest { copy, restored, is_copied }))
    }

    /// Says what is in a folder of which nothing is known, and moves it to `lost/`.
    fn give_up(&self, folder: &str, report: &mut CollectionRepair) -> Result<()> {
        let names = self.directory.list(folder)?;
        for name in names.iter().filter(|name| number(name).is_some()) {
            if let Ok(entry) = read_entry(self.directory, &format!("{folder}/{name}")) {
                report.missing.push(format!("a segment of {} rows", entry.rows));
            }
        }
        report.missing.push("name and settings, of which there is no sound copy".into());
        if !names.is_empty() {
            let name = format!("collection-{}", folder.trim_start_matches("collections/"));
            move_to_lost(self.directory, folder, &name)?;
            report.done.push("moved the folder to `lost`".into());
        }
        let id = folder.trim_start_matches("collections/").parse::<u32>();
        id.map_or(Ok(()), |id| Ok(self.catalog.forget(id)?))
    }

    /// Takes segments out of the manifest that do not open, and returns the others.
    fn drop_damaged_segments(
        &self,
        folder: &str,
        copy: &mut Copy,
        report: &mut CollectionRepair,
    ) -> Result<Vec<SealedSegment>> {
        let (mut segments, mut gone) = (Vec::new(), Vec::new());
        for entry in &copy.manifest.segments {
            let path = format!("{folder}/{}", entry.number);
            let opened = SealedSegment::open(self.directory, &path, &copy.config, entry.clone());
            let deleted = copy.tombstones.get(&entry.number);
            let sound = deleted.map(|bytes| tombstones(entry, bytes)).transpose();
            let error = match opened.and_then(|segment| sound.map(|_| segment)) {
                Ok(segment) => {
                    segments.push(segment);
                    continue;
                }
                Err(error) => error,
            };
            report.missing.push(format!("a segment of {} rows: {error}", entry.rows));
            if self.directory.list(folder)?.contains(&entry.number.to_string()) {
                let name = format!("{}-{}", copy.id, entry.number);
                move_to_lost(self.directory, &path, &name)?;
                report.done.push(format!("moved segment {} to `lost`", entry.number));
            }
            gone.push(entry.number);
        }
        let manifest = &mut copy.manifest;
        manifest.segments.retain(|entry| !gone.contains(&entry.number));
        manifest.indexes.retain(|entry| !gone.contains(&entry.segment));
        copy.tombstones.retain(|number, _| !gone.contains(number));
        Ok(segments)
    }

    /// The unsealed writes that are sound, and which ones are missing.
    fn journal(&self, id: u32, after: u64, promised: u64) -> Result<(Journal, Vec<String>)> {
        let (mut journal, mut missing) = (Journal::new(), Vec::new());
        let mut last = after;
        let mut note = |last: u64, before: u64| {
            let (first, end) = (last + 1, before.saturating_sub(1));
            if first <= end {
                missing.push(format!("writes {first} to {end}"));
            }
        };
        self.catalog.visit_journal(id, after, |sequence, record| {
            if let Some(record) = record {
                note(last, sequence);
                last = sequence;
                journal.push((sequence, record.to_vec()));
            }
            Ok::<_, Error>(())
        })?;
        note(last, promised.saturating_add(1));
        Ok((journal, missing))
    }

    /// Writes what was put together; writes are numbered anew, without gaps.
    fn write(&self, mut copy: Copy, journal: Journal, next: u32) -> Result<()> {
        let Manifest { version, sealed_through, .. } = &mut copy.manifest;
        *version += 1;
        let (version, first) = (*version, *sealed_through + 1);
        let mut batch = Batch::new();
        batch.drop_journal(copy.id);
        copy.restore(&mut batch, next)?;
        let mut sequence = first - 1;
        for (_, record) in journal {
            sequence += 1;
            batch.append_journal(copy.id, sequence, record);
        }
        self.catalog.commit(batch, Sync::Yes)?;
        self.catalog.reset_promise(copy.id, Promise { sequence, version })?;
        write_collection_copy(self.directory, &collection_folder(copy.id), &copy)?;
        Ok(())
    }
}
