//! Collections and their manifests: which segments make up a collection.
//!
//! Values are JSON, so that a person can read a damaged database; tombstones are opaque bytes.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Batch, Catalog, Space};
use crate::error::{Result, StorageError};
use crate::section_file::FileSummary;

const NEXT_COLLECTION: &[u8] = b"next_collection";
const COLLECTIONS: &str = "collection/";

/// The sealed state of a collection at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts the changes of this manifest.
    pub version: u64,
    /// Operations up to this sequence number are in the segments; later ones in the journal.
    pub sealed_through: u64,
    /// Number the next segment gets. Numbers are never used again.
    pub next_segment: u64,
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

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| StorageError::Catalog { op: "encode", detail: error.to_string() })
}

fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| StorageError::Catalog {
        op: "decode",
        detail: format!("`{}`: {error}", String::from_utf8_lossy(key)),
    })
}

#[derive(Serialize, Deserialize)]
struct CollectionEntry<C> {
    id: u32,
    config: C,
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
        self.put_manifest(id, &Manifest { next_segment: 1, ..Manifest::default() })
    }

    /// Removes a collection with its manifest, tombstones and journal.
    pub fn drop_collection(&mut self, id: u32, name: &str) {
        self.delete(Space::Meta, collection_key(name));
        self.delete(Space::Meta, manifest_key(id));
        let end = tombstones_key(id, u64::MAX);
        self.delete_range(Space::Meta, tombstones_key(id, 0), end);
        self.drop_journal(id);
    }

    /// Replaces the manifest of a collection.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn put_manifest(&mut self, collection: u32, manifest: &Manifest) -> Result<()> {
        self.put(Space::Meta, manifest_key(collection), encode(manifest)?);
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
            Some(bytes) => decode(NEXT_COLLECTION, &bytes),
            None => Ok(1),
        }
    }

    /// All collections as (name, number, configuration), by name.
    ///
    /// # Errors
    /// If the catalog cannot be read or a configuration does not decode.
    pub fn collections<C: DeserializeOwned>(&self) -> Result<Vec<(String, u32, C)>> {
        let mut found = Vec::new();
        let from = COLLECTIONS.as_bytes();
        let mut to = from.to_vec();
        to.push(0xff);
        self.scan(Space::Meta, from, &to, |key, value| {
            let entry: CollectionEntry<C> = decode(key, value)?;
            let name = String::from_utf8_lossy(&key[from.len()..]).into_owned();
            found.push((name, entry.id, entry.config));
            Ok::<_, StorageError>(())
        })?;
        Ok(found)
    }

    /// The manifest of a collection.
    ///
    /// # Errors
    /// If it is missing or does not decode.
    pub fn manifest(&self, collection: u32) -> Result<Manifest> {
        let key = manifest_key(collection);
        let bytes = self.get(Space::Meta, &key)?.ok_or_else(|| StorageError::Catalog {
            op: "read",
            detail: format!("`{}` is missing", String::from_utf8_lossy(&key)),
        })?;
        decode(&key, &bytes)
    }

    /// The tombstones of a segment, if it has any.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn tombstones(&self, collection: u32, segment: u64) -> Result<Option<Vec<u8>>> {
        self.get(Space::Meta, &tombstones_key(collection, segment))
    }
}
