//! A copy of the catalog's entries for a collection, next to its segments.
//!
//! Each version of a manifest is written once, after it is in the catalog, into its own folder
//! `collections/<id>/manifest-<version>`; older copies are then removed. The copies are only used
//! for repairs: as long as the catalog is sound, it alone is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::manifest::encode;
use super::{Batch, Manifest};
use crate::directory::{Directory, write_folder};
use crate::error::{Result, StorageError};
use crate::section_file::{SectionFile, SectionWriter};

const FILE: &str = "manifest.sec";
const COLLECTION: &str = "collection";
const MANIFEST: &str = "manifest";
const TOMBSTONES: &str = "tombstones.";
const PREFIX: &str = "manifest-";

/// The catalog's entries for a collection, except the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionCopy<C> {
    /// Name of the collection.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// Its configuration.
    pub config: C,
    /// Its manifest.
    pub manifest: Manifest,
    /// Tombstones by segment number, for segments that have any.
    pub tombstones: BTreeMap<u64, Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Named<C> {
    name: String,
    id: u32,
    config: C,
}

impl<C: Serialize + Clone> CollectionCopy<C> {
    /// Adds all entries to a batch.
    ///
    /// # Errors
    /// If a value cannot be encoded.
    pub fn restore(&self, batch: &mut Batch, next_collection: u32) -> Result<()> {
        let (config, manifest) = (&self.config, &self.manifest);
        batch.restore_collection(self.id, &self.name, config, manifest, next_collection)?;
        for (segment, bytes) in &self.tombstones {
            batch.put_tombstones(self.id, *segment, bytes.clone());
        }
        Ok(())
    }
}

/// Writes a copy into the folder of a collection, and removes older copies.
///
/// # Errors
/// If the copy cannot be written; earlier copies are then still there.
pub fn write_collection_copy<C: Serialize + Clone>(
    directory: &dyn Directory,
    folder: &str,
    copy: &CollectionCopy<C>,
) -> Result<()> {
    let version = copy.manifest.version;
    let path = format!("{folder}/{PREFIX}{version}");
    write_folder(directory, &path, |temporary| {
        let mut writer = SectionWriter::create(directory, &format!("{temporary}/{FILE}"))?;
        let (name, config) = (copy.name.clone(), copy.config.clone());
        writer.write_section(COLLECTION, &encode(&Named { name, id: copy.id, config })?)?;
        writer.write_section(MANIFEST, &encode(&copy.manifest)?)?;
        for (segment, bytes) in &copy.tombstones {
            writer.write_section(&format!("{TOMBSTONES}{segment}"), bytes)?;
        }
        writer.finish().map(drop)
    })?;
    settle_collection_copies(directory, folder, version).map(drop)
}

/// Removes the damaged copy of a version.
///
/// # Errors
/// If it cannot be removed.
pub fn remove_collection_copy(directory: &dyn Directory, folder: &str, version: u64) -> Result<()> {
    directory.remove_folder(&format!("{folder}/{PREFIX}{version}"))
}

/// Returns true if there is a copy of this version of the manifest; older copies are then removed.
///
/// # Errors
/// If the folder cannot be read or a copy cannot be removed.
pub fn settle_collection_copies(
    directory: &dyn Directory,
    folder: &str,
    version: u64,
) -> Result<bool> {
    let versions = versions(directory, folder)?;
    if !versions.contains(&version) {
        return Ok(false);
    }
    for older in versions.into_iter().filter(|found| *found < version) {
        directory.remove_folder(&format!("{folder}/{PREFIX}{older}"))?;
    }
    Ok(true)
}

/// The newest sound copy in the folder of a collection, and the damage found in newer ones. A copy
/// that belongs to another collection counts as damaged.
///
/// # Errors
/// If the folder cannot be read.
pub fn read_collection_copy<C: DeserializeOwned>(
    directory: &dyn Directory,
    folder: &str,
    id: u32,
) -> Result<(Option<CollectionCopy<C>>, Vec<StorageError>)> {
    let mut damage = Vec::new();
    for version in versions(directory, folder)?.into_iter().rev() {
        match read(directory, &format!("{folder}/{PREFIX}{version}/{FILE}"), (id, version)) {
            Ok(copy) => return Ok((Some(copy), damage)),
            Err(error) => damage.push(error),
        }
    }
    Ok((None, damage))
}

/// Folders of copies newer than `version`, which are damaged or belong to another collection.
///
/// # Errors
/// If the folder cannot be read.
pub fn copies_after(directory: &dyn Directory, folder: &str, version: u64) -> Result<Vec<String>> {
    let newer = versions(directory, folder)?.into_iter().filter(|found| *found > version);
    Ok(newer.map(|found| format!("{PREFIX}{found}")).collect())
}

fn read<C: DeserializeOwned>(
    directory: &dyn Directory,
    path: &str,
    (own, version): (u32, u64),
) -> Result<CollectionCopy<C>> {
    let file = SectionFile::open(directory, path)?;
    file.verify()?;
    let decoded = |error: serde_json::Error| file.corrupted(COLLECTION, error.to_string());
    let named = serde_json::from_slice(file.section(COLLECTION)?).map_err(decoded)?;
    let Named { name, id, config } = named;
    let manifest: Manifest = serde_json::from_slice(file.section(MANIFEST)?).map_err(decoded)?;
    if (id, manifest.version) != (own, version) {
        let detail = format!("it is version {} of collection {id}", manifest.version);
        return Err(file.corrupted(COLLECTION, detail));
    }
    let numbered = |name: &str| name.strip_prefix(TOMBSTONES)?.parse::<u64>().ok();
    let mut tombstones = BTreeMap::new();
    for info in file.sections() {
        if let Some(segment) = numbered(&info.name) {
            tombstones.insert(segment, file.section(&info.name)?.to_vec());
        }
    }
    Ok(CollectionCopy { name, id, config, manifest, tombstones })
}

/// The versions with a copy, sorted.
fn versions(directory: &dyn Directory, folder: &str) -> Result<Vec<u64>> {
    let names = directory.folders(folder)?;
    let version = |name: &String| name.strip_prefix(PREFIX)?.parse().ok();
    let mut versions: Vec<u64> = names.iter().filter_map(version).collect();
    versions.sort_unstable();
    Ok(versions)
}
