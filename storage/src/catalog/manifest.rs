//! Collections and their manifests: which segments make up a collection.
//!
//! Values are JSON, so that a person can read a damaged database; tombstones are opaque bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::rocks::Rocks;
use super::{Batch, Catalog, Promise, Space};
use crate::error::{Result, StorageError};
use crate::section_file::FileSummary;

const NEXT_COLLECTION: &[u8] = b"next_collection";
const COLLECTIONS: &str = "collection/";
const DROPPED: &str = "dropped/";

/// The sealed state of a collection at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts the changes of this manifest.
    pub version: u64,
    /// Operations up to this sequence number are in the segments; later ones in the journal.
    pub sealed_through: u64,
    /// Number the next segment gets. Numbers are never used again.
    pub next_segment: u64,
    /// Counts the changes of the collection's settings, from 1 on. Each is committed together with the
    /// settings. Manifests of earlier versions do not say it.
    #[serde(default = "first_generation")]
    pub settings_generation: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentEntry>,
    /// Samples of queries to train on, at most one a field.
    #[serde(default)]
    pub queries: Vec<QueriesEntry>,
    /// Samples of queries that came, at most one a field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_queries: Vec<QueriesEntry>,
    /// Indexes of segments, each in a folder of its own with a number from the same series.
    #[serde(default)]
    pub indexes: Vec<IndexEntry>,
    /// Numbers of folders that this manifest or an earlier one has replaced: they may be removed.
    /// Nothing else is, however little is known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<u64>,
}

impl Manifest {
    /// The numbers of all folders that belong to the collection.
    pub fn folders(&self) -> impl Iterator<Item = u64> {
        let segments = self.segments.iter().map(|entry| entry.number);
        let queries = self.queries.iter().chain(&self.recent_queries).map(|entry| entry.number);
        segments.chain(queries).chain(self.indexes.iter().flat_map(IndexEntry::numbers))
    }
}

/// A collection of the catalog.
#[derive(Debug)]
pub struct Listed<C> {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Its configuration, or why this version cannot read it.
    pub config: Result<C>,
}

/// A sample of queries of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueriesEntry {
    /// The field they are queries of.
    pub field: String,
    /// Their number, which names their folder; from the same series as those of segments.
    pub number: u64,
    /// Their file.
    pub file: FileEntry,
}

/// An index of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The number of the segment.
    pub segment: u64,
    /// The field it is an index of.
    pub field: String,
    /// Its number, which names its folder; from the same series as those of segments.
    pub number: u64,
    /// Its file.
    pub file: FileEntry,
    /// What was measured later, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationEntry>,
}

/// What was measured of an index after it was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationEntry {
    /// Its number, which names its folder; from the same series as those of segments.
    pub number: u64,
    /// Its file.
    pub file: FileEntry,
}

impl IndexEntry {
    /// The numbers of its folders.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.number).chain(self.calibration.iter().map(|entry| entry.number))
    }
}

/// One sealed segment of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Its number, which names its folder.
    pub number: u64,
    /// Rows in its files, deleted ones included.
    pub rows: u32,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// The [`Manifest::settings_generation`] that it was built with; 0 if that was not recorded.
    #[serde(default, skip_serializing_if = "is_unrecorded")]
    pub settings_generation: u64,
}

/// The generation of the settings that a collection is created with.
fn first_generation() -> u64 {
    1
}

fn is_unrecorded(generation: &u64) -> bool {
    *generation == 0
}

/// One section file of a segment, as it was when it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name inside the segment's folder.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Checksum of the file's section table.
    pub checksum: u64,
}

impl FileEntry {
    /// What the file must look like when it is opened.
    pub fn summary(&self) -> FileSummary {
        FileSummary { len: self.len, checksum: self.checksum }
    }
}

fn manifest_key(collection: u32) -> Vec<u8> {
    format!("manifest/{collection:010}").into_bytes()
}

fn tombstones_key(collection: u32, segment: u64) -> Vec<u8> {
    format!("tombstones/{collection:010}/{segment:020}").into_bytes()
}

fn collection_key(name: &str) -> Vec<u8> {
    format!("{COLLECTIONS}{name}").into_bytes()
}

fn dropped_key(collection: u32) -> Vec<u8> {
    format!("{DROPPED}{collection:010}").into_bytes()
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| StorageError::Catalog { op: "encode", detail: error.to_string() })
}

/// What is needed of an entry that is not as it should be.
#[derive(Deserialize)]
struct Numbered {
    id: u32,
}

#[derive(Serialize, Deserialize)]
struct CollectionEntry<C> {
    id: u32,
    config: C,
}

/// What is there of a collection: the version of its manifest and the last write in a segment; `None` if it
/// has no manifest.
pub(super) fn found(rocks: &Rocks, collection: u32) -> Result<Option<Promise>> {
    let Some(bytes) = rocks.get(Space::Meta, &manifest_key(collection))? else { return Ok(None) };
    // One that cannot be read is an error of its collection.
    let manifest = serde_json::from_slice::<Manifest>(&bytes).ok();
    let found = |manifest: Manifest| Promise {
        sequence: manifest.sealed_through,
        version: manifest.version,
    };
    Ok(Some(manifest.map_or(Promise::DELETED, found)))
}

/// Whether a collection was deleted, and its files may still be there.
pub(super) fn is_dropped(rocks: &Rocks, collection: u32) -> Result<bool> {
    Ok(rocks.get(Space::Meta, &dropped_key(collection))?.is_some())
}

fn unknown_settings(name: &str, error: &serde_json::Error) -> StorageError {
    let (name, detail) = (name.to_owned(), error.to_string());
    StorageError::UnknownSettings { name, detail }
}

impl Batch {
    /// Adds a collection under a number from [`Catalog::next_collection`].
    ///
    /// # Errors
    /// If the configuration cannot be encoded.
    pub fn create_collection<C: Serialize>(
        &mut self,
        id: u32,
        name: &str,
        config: &C,
    ) -> Result<()> {
        self.put(Space::Meta, collection_key(name), encode(&CollectionEntry { id, config })?);
        self.put(Space::Meta, NEXT_COLLECTION.to_vec(), encode(&(id + 1))?);
        let settings_generation = first_generation();
        let empty = Manifest { next_segment: 1, settings_generation, ..Manifest::default() };
        self.put_manifest(id, &empty)
    }

    /// Replaces the configuration of a collection.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn put_config<C: Serialize>(&mut self, id: u32, name: &str, config: &C) -> Result<()> {
        self.put(Space::Meta, collection_key(name), encode(&CollectionEntry { id, config })?);
        Ok(())
    }

    /// Enters a collection as it was, and the number that the next one gets: for repairs.
    ///
    /// # Errors
    /// If the configuration cannot be encoded.
    pub fn restore_collection<C: Serialize>(
        &mut self,
        id: u32,
        name: &str,
        config: &C,
        manifest: &Manifest,
        next: u32,
    ) -> Result<()> {
        self.put(Space::Meta, collection_key(name), encode(&CollectionEntry { id, config })?);
        self.put(Space::Meta, NEXT_COLLECTION.to_vec(), encode(&next)?);
        self.put_manifest(id, manifest)
    }

    /// Removes a collection with its manifest, tombstones and journal, and notes that its files may
    /// be removed.
    pub fn drop_collection(&mut self, id: u32, name: &str) {
        self.put(Space::Meta, dropped_key(id), Vec::new());
        self.delete(Space::Meta, collection_key(name));
        self.delete(Space::Meta, manifest_key(id));
        let end = tombstones_key(id, u64::MAX);
        self.delete_range(Space::Meta, tombstones_key(id, 0), end);
        self.drop_journal(id);
        self.promise(id, Promise::DELETED);
    }

    /// Notes that the files of a collection that was dropped are gone.
    pub fn forget_dropped(&mut self, id: u32) {
        self.delete(Space::Meta, dropped_key(id));
    }

    /// Replaces the manifest of a collection.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn put_manifest(&mut self, collection: u32, manifest: &Manifest) -> Result<()> {
        self.put(Space::Meta, manifest_key(collection), encode(manifest)?);
        let (sequence, version) = (manifest.sealed_through, manifest.version);
        self.promise(collection, Promise { sequence, version });
        Ok(())
    }

    /// Replaces the tombstones of a segment.
    pub fn put_tombstones(&mut self, collection: u32, segment: u64, bytes: Vec<u8>) {
        self.put(Space::Meta, tombstones_key(collection, segment), bytes);
    }

    /// Removes the tombstones of a segment that left the manifest.
    pub fn drop_tombstones(&mut self, collection: u32, segment: u64) {
        self.delete(Space::Meta, tombstones_key(collection, segment));
    }
}

impl Catalog {
    /// The number for a new collection. Numbers are never used again.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn next_collection(&self) -> Result<u32> {
        match self.get(Space::Meta, NEXT_COLLECTION)? {
            Some(bytes) => self.decode("next_collection", &bytes),
            None => Ok(1),
        }
    }

    /// All collections, by name. A configuration that this version cannot read, because a newer one
    /// wrote it, is an error of its collection alone.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn collections<C: DeserializeOwned>(&self) -> Result<Vec<Listed<C>>> {
        let mut found = Vec::new();
        self.scan_prefix(COLLECTIONS, |name, value| {
            let entry = match self.decode::<CollectionEntry<serde_json::Value>>(name, value) {
                Ok(entry) => entry,
                Err(error) => {
                    let id = serde_json::from_slice::<Numbered>(value);
                    // What has no number is found by what was promised of it.
                    let listed =
                        |Numbered { id }| Listed { name: name.into(), id, config: Err(error) };
                    found.extend(id.ok().map(listed));
                    return Ok(());
                }
            };
            let config = serde_json::from_value(entry.config);
            let config = config.map_err(|error| unknown_settings(name, &error));
            found.push(Listed { name: name.to_owned(), id: entry.id, config });
            Ok(())
        })?;
        Ok(found)
    }

    /// The configuration of a collection.
    ///
    /// # Errors
    /// If it is missing, does not decode, or is one that this version cannot read.
    pub fn config<C: DeserializeOwned>(&self, name: &str) -> Result<C> {
        let key = collection_key(name);
        let text = String::from_utf8_lossy(&key);
        let Some(bytes) = self.get(Space::Meta, &key)? else {
            return Err(self.corrupted(text, "the configuration is missing"));
        };
        let entry = self.decode::<CollectionEntry<serde_json::Value>>(&text, &bytes)?;
        serde_json::from_value(entry.config).map_err(|error| unknown_settings(name, &error))
    }

    /// Numbers of collections that were dropped and whose files may still be there.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn dropped(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        self.scan_prefix(DROPPED, |number, _| {
            found.extend(number.parse::<u32>().ok());
            Ok(())
        })?;
        Ok(found)
    }

    fn scan_prefix(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut to = prefix.as_bytes().to_vec();
        to.push(0xff);
        self.scan(Space::Meta, prefix.as_bytes(), &to, |key, value| {
            visit(&String::from_utf8_lossy(&key[prefix.len()..]), value)
        })
    }

    fn decode<T: DeserializeOwned>(&self, key: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| self.corrupted(key, error.to_string()))
    }

    /// The manifest of a collection.
    ///
    /// # Errors
    /// If it is missing or does not decode.
    pub fn manifest(&self, collection: u32) -> Result<Manifest> {
        let key = manifest_key(collection);
        let text = String::from_utf8_lossy(&key);
        match self.get(Space::Meta, &key)? {
            Some(bytes) => self.decode(&text, &bytes),
            None => Err(self.corrupted(text, "the manifest is missing")),
        }
    }

    /// Checks that what was promised of a collection is there.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] saying how much is missing.
    pub fn check_promise(&self, collection: u32, found: Promise) -> Result<()> {
        let promised = self.promise(collection);
        if promised == Promise::DELETED {
            let detail = "it was deleted, and the catalog has lost that: delete it again";
            return Err(self.corrupted("collection", detail));
        }
        if promised.version > found.version {
            let detail = format!(
                "version {} of the manifest was made durable, and {} is the last one there",
                promised.version, found.version
            );
            return Err(self.corrupted("manifest", detail));
        }
        if promised.sequence > found.sequence {
            let detail = format!(
                "writes up to {} were made durable, and {} is the last one there",
                promised.sequence, found.sequence
            );
            return Err(self.corrupted("journal", detail));
        }
        Ok(())
    }

    /// The tombstones of a segment, if it has any.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn tombstones(&self, collection: u32, segment: u64) -> Result<Option<Vec<u8>>> {
        self.get(Space::Meta, &tombstones_key(collection, segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_generations_has_the_first_one_and_knows_none_of_its_segments() {
        let stored = r#"{"version":7,"sealed_through":3,"next_segment":2,
            "segments":[{"number":1,"rows":9,"files":[]}],"queries":[],"indexes":[]}"#;
        let mut manifest: Manifest = serde_json::from_str(stored).unwrap();
        assert_eq!(manifest.settings_generation, 1);
        assert_eq!(manifest.segments[0].settings_generation, 0);
        let segment = serde_json::to_string(&manifest.segments[0]).unwrap();
        assert_eq!(segment, r#"{"number":1,"rows":9,"files":[]}"#, "as it was");
        manifest.settings_generation = 4;
        manifest.segments[0].settings_generation = 3;
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }
}
