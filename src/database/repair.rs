//! Repairs a database that does not open, and reports what is missing.
//!
//! The catalog is rebuilt from the sound parts of its logs and tables. Each collection then gets
//! the newer of its manifest in the catalog and the copy beside its segments, without the segments
//! whose files are damaged, and the unsealed writes that remain. Nothing is deleted: damaged or
//! unreferenced files are moved to `lost/`. Findings are recorded before any change that depends on
//! them: an interrupted repair is resumed by the next one, which also reports the findings of the
//! first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use lanner_storage::{
    Batch, Catalog, CollectionCopy, DatabaseLock, Directory, Listed, LocalDirectory, Manifest,
    Promise, SegmentEntry, StorageError, Sync, copies_after, identity, numbered,
    read_collection_copy, remove_collection_copy, repair_notes, salvage, write_collection_copy,
};
use serde::{Deserialize, Serialize};

use super::Database;
use crate::collection::collection_folder;
use crate::collection::recovery::{move_to_lost, number, tombstones};
use crate::error::{Error, Result};
use crate::model::CollectionConfig;
use crate::segment::{ENTRY_FILE, SealedSegment, read_entry, write_entry};

/// Findings and actions of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Damage in the catalog.
    pub catalog: Vec<String>,
    /// Collections with problems.
    pub collections: Vec<CollectionRepair>,
}

/// Findings and actions of a repair in one collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionRepair {
    /// Its name, or its folder if the name is lost.
    pub name: String,
    /// Actions taken.
    pub done: Vec<String>,
    /// Missing data, as far as known.
    pub missing: Vec<String>,
}

type Copy = CollectionCopy<CollectionConfig>;
/// Unsealed writes: the sequence number of each, and its record.
type Journal = Vec<(u64, Vec<u8>)>;

impl Database {
    /// Repairs the database in the folder `root`, which no process may have open. A sound database
    /// is left as it is. An interrupted repair is resumed, and its report is included.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Locked`] or [`lanner_storage::StorageError::NotADatabase`],
    /// and I/O errors; a repair can be repeated. Errors of a single collection are in the report.
    pub fn repair(root: impl AsRef<Path>) -> Result<RepairReport> {
        let root = root.as_ref();
        let renamed = identity::repair(root)?;
        let _lock = DatabaseLock::acquire(root)?;
        let notes = Notes::begin(root, renamed)?;
        let (catalog, damage) = salvage(root, |damage| notes.note_catalog(damage))?;
        let directory = LocalDirectory::new(root);
        let is_rebuilt = !damage.is_empty() || notes.go_on;
        let names = RefCell::default();
        let repair = Repair { catalog: &catalog, directory: &directory, is_rebuilt, notes, names };
        repair.collections()?;
        repair.notes.end()
    }
}

/// The report so far, kept in a file.
struct Notes<'r> {
    root: &'r Path,
    report: RefCell<RepairReport>,
    /// Whether this repair resumes an interrupted one.
    go_on: bool,
}

impl<'r> Notes<'r> {
    fn begin(root: &'r Path, renamed: Option<StorageError>) -> Result<Self> {
        let mut report = RepairReport::default();
        let noted = repair_notes::read(root)?;
        let go_on = noted.is_some();
        if let Some(bytes) = noted {
            match serde_json::from_slice(&bytes) {
                Ok(noted) => report = noted,
                Err(error) => report.catalog.push(format!("notes of an earlier repair: {error}")),
            }
            report.catalog.push("an earlier repair was cut short, and this one goes on".into());
        }
        report.catalog.extend(renamed.map(|error| format!("{error}: written anew")));
        Ok(Self { root, report: RefCell::new(report), go_on })
    }

    fn note_catalog(&self, damage: &[StorageError]) -> Result<()> {
        let lines = damage.iter().map(ToString::to_string);
        self.report.borrow_mut().catalog.extend(lines);
        self.save(None)
    }

    /// Adds the report of a collection to what was recorded of it before.
    fn add(&self, report: CollectionRepair) {
        add(&mut self.report.borrow_mut(), report);
    }

    /// Writes the findings so far, including those of the collection in progress.
    fn save(&self, at_hand: Option<&CollectionRepair>) -> Result<()> {
        let mut report = self.report.borrow().clone();
        at_hand.into_iter().for_each(|at_hand| add(&mut report, at_hand.clone()));
        let json = serde_json::to_vec(&report)
            .map_err(|error| Error::Internal(format!("cannot encode a report: {error}")))?;
        Ok(repair_notes::write(self.root, &json)?)
    }

    fn end(self) -> Result<RepairReport> {
        repair_notes::remove(self.root)?;
        Ok(self.report.into_inner())
    }
}

fn add(report: &mut RepairReport, new: CollectionRepair) {
    match report.collections.iter_mut().find(|noted| noted.name == new.name) {
        Some(noted) => {
            let others = |lines: &[String], new: Vec<String>| -> Vec<String> {
                new.into_iter().filter(|line| !lines.contains(line)).collect()
            };
            let (done, missing) =
                (others(&noted.done, new.done), others(&noted.missing, new.missing));
            noted.done.extend(done);
            noted.missing.extend(missing);
        }
        None => report.collections.push(new),
    }
}

/// The newest state of a collection, to restore it from.
struct Newest {
    copy: Copy,
    /// If it comes from the copy beside the segments: what that restores, for the report.
    restored: Option<String>,
    /// Whether the copies are sound.
    is_copied: bool,
}

struct Repair<'r> {
    catalog: &'r Catalog,
    directory: &'r LocalDirectory,
    /// Whether the catalog was rebuilt.
    is_rebuilt: bool,
    notes: Notes<'r>,
    /// Names in use, and the id of the collection of each.
    names: RefCell<BTreeMap<String, u32>>,
}

impl Repair<'_> {
    fn collections(&self) -> Result<()> {
        let mut known = BTreeMap::new();
        for listed in self.catalog.collections::<CollectionConfig>()? {
            self.names.borrow_mut().insert(listed.name.clone(), listed.id);
            known.insert(listed.id, listed);
        }
        let (dropped, promised) = (self.catalog.dropped()?, self.catalog.promised()?);
        let mut ids: Vec<u32> = known.keys().chain(&promised).copied().collect();
        let folders = self.directory.folders("collections")?;
        ids.extend(folders.iter().filter_map(|name| u32::try_from(number(name)?).ok()));
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !dropped.contains(id));
        let next = ids.last().map_or(1, |last| last.saturating_add(1));
        let next = next.max(self.catalog.next_collection().unwrap_or(1));
        for id in ids {
            let mut report = CollectionRepair { name: collection_folder(id), ..Default::default() };
            let listed = known.remove(&id);
            // A failure in one collection does not keep the others from being repaired.
            if let Err(error) = self.one(id, listed, (next, &promised), &mut report) {
                report.missing.push(format!("it could not be repaired: {error}"));
            }
            if !report.done.is_empty() || !report.missing.is_empty() {
                self.notes.add(report);
            }
        }
        Ok(())
    }

    fn one(
        &self,
        id: u32,
        listed: Option<Listed<CollectionConfig>>,
        (next, promised): (u32, &[u32]),
        report: &mut CollectionRepair,
    ) -> Result<()> {
        let is_deleted = self.catalog.promise(id) == Promise::DELETED
            || self.is_rebuilt && !promised.contains(&id) && self.is_gone(id)?;
        if is_deleted {
            return self.delete(id, listed.map(|listed| listed.name), report);
        }
        let in_catalog = match listed {
            Some(Listed { config: Ok(config), name, .. }) => self.in_catalog(id, name, config),
            // Data of a newer version is not damage.
            Some(Listed { config: Err(StorageError::UnknownSettings { .. }), .. }) => return Ok(()),
            Some(Listed { config: Err(error), .. }) => {
                report.missing.push(error.to_string());
                None
            }
            None => None,
        };
        self.repair(id, in_catalog, next, report)
    }

    /// Whether the folder, which every collection fills at creation, is empty. If nothing was
    /// promised either, the collection was deleted, and the table or log with that deletion is
    /// lost.
    fn is_gone(&self, id: u32) -> Result<bool> {
        Ok(self.directory.list(&collection_folder(id))?.is_empty())
    }

    /// Repeats the deletion of a collection, if the catalog has lost it.
    fn delete(&self, id: u32, name: Option<String>, report: &mut CollectionRepair) -> Result<()> {
        let Some(name) = name else { return Ok(()) };
        let mut batch = Batch::new();
        batch.drop_collection(id, &name);
        self.names.borrow_mut().remove(&name);
        report.name = name;
        report.done.push("deleted it, as it was before".into());
        self.notes.save(Some(report))?;
        Ok(self.catalog.commit(batch, Sync::Yes)?)
    }

    /// Renames a collection if its name has been taken by another one since.
    fn settle_name(&self, copy: &mut Copy, report: &mut CollectionRepair) -> bool {
        let mut names = self.names.borrow_mut();
        let is_free = |name: &str| names.get(name).is_none_or(|&id| id == copy.id);
        let taken = copy.name.clone();
        if !is_free(&taken) {
            let free = numbered(&format!("{taken}-{}", copy.id)).find(|name| is_free(name));
            let free = free.unwrap_or_else(|| taken.clone());
            report.done.push(format!("named it `{free}`: another one is named `{taken}`"));
            copy.name = free;
        }
        names.insert(copy.name.clone(), copy.id);
        copy.name != taken
    }

    /// The state of a collection in the catalog, if it has a manifest.
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
        let promised = self.catalog.promise(id);
        let Some(newest) = self.newest(&folder, id, in_catalog, report)? else {
            return self.give_up(&folder, report);
        };
        let Newest { mut copy, restored, is_copied } = newest;
        report.name.clone_from(&copy.name);
        let is_renamed = self.settle_name(&mut copy, report);
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
        if is_sound && !is_renamed {
            if !is_copied {
                self.move_newer_copies(&folder, &copy)?;
                remove_collection_copy(self.directory, &folder, copy.manifest.version)?;
                write_collection_copy(self.directory, &folder, &copy)?;
                report.done.push("wrote the copy of the manifest anew".into());
            }
            return Ok(());
        }
        report.done.extend(restored);
        report.done.push(format!("kept {} unsealed writes", journal.len()));
        self.move_newer_copies(&folder, &copy)?;
        self.notes.save(Some(report))?;
        self.write(copy, journal, next)
    }

    /// Moves away copies newer than the restored one: they are damaged, or belong to another
    /// collection.
    fn move_newer_copies(&self, folder: &str, copy: &Copy) -> Result<()> {
        for name in copies_after(self.directory, folder, copy.manifest.version)? {
            let lost = format!("{}-{name}", copy.id);
            move_to_lost(self.directory, &format!("{folder}/{name}"), &lost)?;
        }
        Ok(())
    }

    /// Reports damage in segments that open; their other rows are readable.
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
            if let Err(error) = read_entry(self.directory, &path) {
                match self.renew_entry(&path, segment.entry()) {
                    Ok(()) => report.done.push(format!("wrote `{path}/{ENTRY_FILE}` anew")),
                    Err(_) => report.missing.push(error.to_string()),
                }
            }
        }
    }

    /// Rewrites the copy of a manifest's entry.
    fn renew_entry(&self, folder: &str, entry: &SegmentEntry) -> Result<()> {
        let path = self.directory.resolve(&format!("{folder}/{ENTRY_FILE}"))?;
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::Io { op: "remove", path, source }.into())
            }
            _ => {
                write_entry(self.directory, folder, entry)?;
                Ok(self.directory.sync_folder(folder)?)
            }
        }
    }

    /// The newest of the catalog's state and the sound copies beside the segments.
    fn newest(
        &self,
        folder: &str,
        id: u32,
        in_catalog: Option<Copy>,
        report: &mut CollectionRepair,
    ) -> Result<Option<Newest>> {
        let (beside, damage) =
            read_collection_copy::<CollectionConfig>(self.directory, folder, id)?;
        // Damaged copies only matter if they are needed.
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
            // A log may have lost tombstones or settings, but not the manifest committed with them.
            let differ = |differs: &dyn Fn(&Copy) -> bool| {
                self.is_rebuilt
                    && known == Some(version)
                    && in_catalog.as_ref().is_some_and(differs)
            };
            if differ(&|copy| copy.config != beside.config) {
                return Some("restored the settings from the copy of the manifest".into());
            }
            differ(&|copy| copy.tombstones != beside.tombstones)
                .then(|| "restored which rows are deleted from the copy of the manifest".into())
        });
        let copy = if restored.is_some() { beside } else { in_catalog };
        Ok(copy.map(|copy| Newest { copy, restored, is_copied }))
    }

    /// Reports the contents of an unknown folder, and moves it to `lost/`.
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

    /// Removes segments that do not open from the manifest; returns the others.
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

    /// The sound unsealed writes, and the missing ones.
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

    /// Commits the restored state; writes are renumbered without gaps.
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
