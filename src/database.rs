//! A database: a folder of collections.

mod repair;
mod scrubber;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use lanner_storage::{
    Batch, Catalog, CommitFaults, DatabaseLock, Directory, Listed, LocalDirectory, Promise,
    StorageError, Sync, identity, read_collection_copy, repair_notes,
};

pub use self::repair::{CollectionRepair, RepairReport};

use self::scrubber::{ScrubOptions, Scrubber};
use crate::collection::codecs::prepare_queries;
use crate::collection::recovery::{is_ours, move_to_lost, number};
use crate::collection::unsealed::Unsealed;
use crate::collection::{Collection, SegmentOptions, Shared, Store, collection_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::jobs::{Job, Scheduler};
use crate::model::{CollectionConfig, TrainingQueries, validate_name};
use crate::query::QueryThreads;

/// Settings of an open database.
#[derive(Debug, Clone, Default)]
pub struct DatabaseOptions {
    threads: usize,
    build_threads: usize,
    segments: SegmentOptions,
    scrub: ScrubOptions,
    faults: CommitFaults,
}

impl DatabaseOptions {
    /// Defaults: queries on all cores, segments of 64 MiB merged up to 4 GiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of query threads; 0 for one per core.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Number of background threads that seal, merge, train and index; 0 for one per core.
    #[must_use]
    pub fn build_threads(self, build_threads: usize) -> Self {
        Self { build_threads, ..self }
    }

    /// Size in bytes of the points in memory, or of their journal, at which they are sealed.
    #[must_use]
    pub fn seal_bytes(mut self, seal_bytes: u64) -> Self {
        self.segments.seal_bytes = seal_bytes.max(1);
        self
    }

    /// Total size in bytes of the unsealed points of all collections at which the largest
    /// collection is sealed (256 MiB). Writers wait at twice this size.
    #[must_use]
    pub fn unsealed_bytes(mut self, unsealed_bytes: u64) -> Self {
        self.segments.unsealed_bytes = unsealed_bytes.max(1);
        self
    }

    /// Maximum size in bytes of a merged segment.
    #[must_use]
    pub fn segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segments.segment_bytes = segment_bytes.max(1);
        self
    }

    /// Minimum number of rows for a segment of a compressed field to get codes (1,024); smaller
    /// ones are scanned exactly.
    #[must_use]
    pub fn coded_rows(mut self, coded_rows: u32) -> Self {
        self.segments.coded_rows = coded_rows.max(1);
        self
    }

    /// Minimum number of rows for a segment to get an index (10,000); smaller ones are scanned.
    #[must_use]
    pub fn index_rows(mut self, index_rows: u32) -> Self {
        self.segments.index_rows = index_rows.max(1);
        self
    }

    /// Whether to keep a sample of the queries, of the size set by each field, to calibrate search
    /// depths with (true). What was learned before is used either way.
    #[must_use]
    pub fn learn_from_queries(mut self, learn: bool) -> Self {
        self.segments.learns = learn;
        self
    }

    /// Minimum free disk space in bytes for writing points.
    #[must_use]
    pub fn free_bytes(mut self, free_bytes: u64) -> Self {
        self.segments.free_bytes = free_bytes;
        self
    }

    /// Interval at which all sealed files are read in the background and compared with their
    /// checksums (a day after opening and after each round), and the rate in bytes per second (16
    /// MiB); a rate of 0 disables it.
    #[must_use]
    pub fn scrub(self, pause: Duration, bytes_per_second: u64) -> Self {
        Self { scrub: ScrubOptions { pause, bytes_per_second }, ..self }
    }

    /// Injects commit failures, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn commit_faults(self, faults: CommitFaults) -> Self {
        Self { faults, ..self }
    }

    /// Opens the database in `root`, creating it if the folder is missing or empty.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(self, root: impl AsRef<Path>) -> Result<Database> {
        let root = root.as_ref();
        let directory = Arc::new(LocalDirectory::new(root));
        self.open_with(root, directory)
    }

    /// Opens the database in `root` with its sealed files in `directory`.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with(self, root: &Path, directory: Arc<dyn Directory>) -> Result<Database> {
        identity::open_or_create(root)?;
        repair_notes::check(root)?;
        let lock = DatabaseLock::acquire(root)?;
        let catalog = Catalog::open_with(root, self.faults)?;
        if let Some(reason) = catalog.read_only() {
            tracing::warn!(%reason, "the database can be read, and not be written for now");
        }
        let store = Arc::new(Store { catalog, directory, _lock: lock });
        let collections = Arc::<RwLock<BTreeMap<String, Slot>>>::default();
        let mut database = Database {
            root: root.to_owned(),
            shared: Shared {
                store,
                threads: Arc::new(QueryThreads::start(self.threads)?),
                unsealed: Arc::new(Unsealed::new(self.segments.unsealed_bytes)),
                options: self.segments,
                scheduler: Arc::new(Scheduler::start(self.build_threads)?),
                jobs: Arc::default(),
            },
            collections: collections.clone(),
            changing: Mutex::default(),
            scrubber: None,
        };
        database.open_collections()?;
        database.scrubber =
            Some(Scrubber::start(self.scrub, database.shared.store.clone(), collections)?);
        Ok(database)
    }
}

/// An open database. One process owns a folder at a time; dropping the database closes it.
///
/// ```
/// use lanner::{CollectionConfig, Database, Metric, Point, QueryRequest, VectorField};
///
/// # let folder = tempfile::tempdir().map_err(|e| lanner::Error::Internal(e.to_string()))?;
/// # let path = folder.path();
/// let database = Database::open(path)?;
/// let config = CollectionConfig::new().with_field("text", VectorField::single(2, Metric::Cosine));
/// let notes = database.create_collection("notes", config)?;
/// notes.upsert([
///     Point::new(1).with_vector("text", vec![1.0, 0.0]),
///     Point::new(2).with_vector("text", vec![0.6, 0.8]),
/// ])?;
/// let answer = notes.query(&QueryRequest::new("text", vec![0.0, 1.0]).limit(1))?;
/// assert_eq!(answer.hits[0].point.id, 2.into());
/// # Ok::<(), lanner::Error>(())
/// ```
pub struct Database {
    root: PathBuf,
    shared: Shared,
    collections: Arc<RwLock<BTreeMap<String, Slot>>>,
    /// Held while a collection is created or deleted.
    changing: Mutex<()>,
    scrubber: Option<Scrubber>,
}

/// An open collection, or the reason why it could not be opened.
enum Slot {
    Open(Collection),
    Unusable(Unusable),
}

struct Unusable {
    id: u32,
    reason: String,
    kind: ErrorKind,
    /// The settings, if they are readable.
    config: Option<CollectionConfig>,
}

impl Unusable {
    fn new(id: u32, error: &Error, config: Option<CollectionConfig>) -> Self {
        Self { id, reason: error.to_string(), kind: error.kind(), config }
    }

    /// Whether opening it may succeed later, since a resource was exhausted.
    fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::ResourceExhausted)
    }
}

impl Slot {
    fn collection(&self, name: &str) -> Result<Collection> {
        match self {
            Self::Open(collection) => Ok(collection.clone()),
            Self::Unusable(unusable) => Err(Error::CollectionUnusable {
                name: name.to_owned(),
                reason: unusable.reason.clone(),
                kind: unusable.kind,
            }),
        }
    }
}

impl Database {
    /// Opens the database in the folder `root`, creating it if the folder is missing or empty.
    ///
    /// A damaged collection does not keep the others from opening: it is listed, and using it
    /// returns the cause.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Locked`] naming the process that owns the folder,
    /// [`lanner_storage::StorageError::NotADatabase`] if it holds something else,
    /// [`lanner_storage::StorageError::UnsupportedFormat`] if a newer version wrote it, and I/O errors.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        DatabaseOptions::new().open(root)
    }

    /// The folder of the database.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a collection.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed name or configuration, [`Error::CollectionExists`].
    pub fn create_collection(&self, name: &str, config: CollectionConfig) -> Result<Collection> {
        validate_name("name", name)?;
        config.validate()?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.read().contains_key(name) {
            return Err(Error::CollectionExists { name: name.to_owned() });
        }
        let id = self.next_id()?;
        self.shared.store.directory.create_folder(&collection_folder(id))?;
        let mut batch = Batch::new();
        batch.create_collection(id, name, &config)?;
        self.shared.store.catalog.commit(batch, Sync::Yes)?;
        let collection = self.open_collection(name.to_owned(), id, config)?;
        self.write().insert(name.to_owned(), Slot::Open(collection.clone()));
        Ok(collection)
    }

    /// Creates a collection with training queries for its compression, by field: queries like the
    /// expected ones, of shape [n, dimension].
    ///
    /// # Errors
    /// As [`Self::create_collection`] and [`Collection::train`]; the collection is not created
    /// then.
    pub fn create_collection_with(
        &self,
        name: &str,
        config: CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<Collection> {
        for (field, queries) in training_queries {
            prepare_queries(&config, field, queries)
                .map_err(|error| error.within(format!("training_queries.{field}")))?;
        }
        let collection = self.create_collection(name, config)?;
        for (field, queries) in training_queries {
            if let Err(error) = collection.set_training_queries(field, queries.clone()) {
                self.delete_collection(name)?;
                return Err(error);
            }
        }
        Ok(collection)
    }

    /// The collection called `name`. If it could not be opened for lack of descriptors, memory or
    /// space, opening is retried.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], or [`Error::CollectionUnusable`] if it cannot be opened.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        match self.read().get(name) {
            Some(Slot::Unusable(unusable)) if unusable.is_passing() => {}
            Some(slot) => return slot.collection(name),
            None => return Err(Error::CollectionNotFound { name: name.to_owned() }),
        }
        self.open_again(name)
    }

    fn open_again(&self, name: &str) -> Result<Collection> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match self.read().get(name) {
            Some(Slot::Unusable(Unusable { id, config: Some(config), .. })) => {
                Some((*id, config.clone()))
            }
            Some(slot) => return slot.collection(name),
            None => None,
        };
        let Some((id, config)) = found else {
            return Err(Error::CollectionNotFound { name: name.to_owned() });
        };
        let slot = self.open_slot(name, id, Ok(config));
        let opened = slot.collection(name);
        self.write().insert(name.to_owned(), slot);
        opened
    }

    /// Current problems, for monitoring: nothing or no points can be written, a collection is
    /// unusable, background work failed, or data is damaged.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.read_only().into_iter().collect();
        let needed = self.shared.options.free_bytes;
        if let Some(free) = self.free_bytes().filter(|&free| free < needed) {
            problems.push(format!("{free} bytes are free, and points need {needed}"));
        }
        for (name, slot) in &*self.read() {
            let problem = match slot {
                Slot::Open(collection) => collection.problem(),
                Slot::Unusable(unusable) => Some(format!("unusable: {}", unusable.reason)),
            };
            problems.extend(problem.map(|problem| format!("collection `{name}`: {problem}")));
        }
        problems
    }

    /// Free bytes on the disk; `None` if unknown.
    pub fn free_bytes(&self) -> Option<u64> {
        self.shared.store.directory.free_bytes()
    }

    /// The reason why nothing can be written, if so: the disk is full or read-only. Reads still
    /// work, and each write retries.
    pub fn read_only(&self) -> Option<String> {
        self.shared.store.catalog.read_only()
    }

    /// The names of all collections, each with the collection or the reason why it is unusable.
    pub fn collections(&self) -> Vec<(String, Result<Collection>)> {
        self.read().iter().map(|(name, slot)| (name.clone(), slot.collection(name))).collect()
    }

    /// The job with this id, of any collection.
    ///
    /// # Errors
    /// [`Error::JobNotFound`] if it does not exist, or its record has expired.
    pub fn job(&self, id: u64) -> Result<Job> {
        self.shared.jobs.get(id).ok_or(Error::JobNotFound { id })
    }

    /// The jobs of all collections, oldest first: running ones and the last ended ones.
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.jobs.all()
    }

    /// Deletes a collection with all its points, even if it is unusable. Works on a full disk.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], and I/O errors; the collection still exists then.
    pub fn delete_collection(&self, name: &str) -> Result<()> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, open) = match self.read().get(name) {
            None => return Err(Error::CollectionNotFound { name: name.to_owned() }),
            Some(Slot::Unusable(unusable)) => (unusable.id, None),
            Some(Slot::Open(collection)) => (collection.id(), Some(collection.clone())),
        };
        let delete = || self.drop_from_catalog(id, name);
        match &open {
            Some(collection) => collection.drop_by(delete)?,
            None => delete()?,
        }
        self.write().remove(name);
        // Other collections can be created and deleted while the work on this one ends.
        drop(changing);
        if let Some(collection) = open {
            collection.end_dropped();
        }
        if let Err(error) = self.remove_dropped(id) {
            tracing::warn!(collection = name, %error, "files stay until reopening");
        }
        Ok(())
    }

    fn drop_from_catalog(&self, id: u32, name: &str) -> Result<()> {
        let catalog = &self.shared.store.catalog;
        let drop = || -> Result<()> {
            catalog.reopen()?;
            // A commit that reported a failure may have succeeded.
            if catalog.dropped()?.contains(&id) {
                return Ok(());
            }
            let mut batch = Batch::new();
            batch.drop_collection(id, name);
            Ok(catalog.commit(batch, Sync::Yes)?)
        };
        drop().or_else(|_| drop())
    }

    /// Removes the files of a dropped collection, and its folder if nothing else is in it.
    fn remove_dropped(&self, id: u32) -> Result<()> {
        let (directory, folder) = (&*self.shared.store.directory, collection_folder(id));
        for name in directory.folders(&folder)? {
            if is_ours(&name) {
                directory.remove_folder(&format!("{folder}/{name}"))?;
            }
        }
        if directory.list(&folder)?.is_empty() {
            directory.remove_folder(&folder)?;
        }
        // The promise of the deletion is kept until the catalog is opened again and the deletion
        // has left its log. It may be missing if the process died right after the commit.
        self.shared.store.catalog.promise_deleted(id)?;
        let mut batch = Batch::new();
        batch.forget_dropped(id);
        Ok(self.shared.store.catalog.commit(batch, Sync::No)?)
    }

    fn open_collections(&self) -> Result<()> {
        let catalog = &self.shared.store.catalog;
        let listed = catalog.collections::<CollectionConfig>()?;
        let known: Vec<u32> = listed.iter().map(|listed| listed.id).collect();
        let dropped = catalog.dropped()?;
        let missing: Vec<u32> = catalog
            .promised()?
            .into_iter()
            .filter(|id| !known.contains(id) && !dropped.contains(id))
            .collect();
        let (deleted, missing): (Vec<u32>, Vec<u32>) =
            missing.into_iter().partition(|&id| catalog.promise(id) == Promise::DELETED);
        if catalog.read_only().is_none() {
            deleted.into_iter().try_for_each(|id| catalog.forget(id))?;
            if let Err(error) = self.sweep(&[&known[..], &missing].concat(), &dropped) {
                tracing::warn!(%error, "leftovers stay");
            }
        }
        for Listed { name, id, config } in listed {
            let slot = self.open_slot(&name, id, config.map_err(Error::from));
            self.write().insert(name, slot);
        }
        for id in missing {
            let (name, slot) = self.missing_slot(id);
            self.write().insert(name, slot);
        }
        Ok(())
    }

    fn open_slot(&self, name: &str, id: u32, config: Result<CollectionConfig>) -> Slot {
        let kept = config.as_ref().ok().cloned();
        let opened = config.and_then(|config| self.open_collection(name.to_owned(), id, config));
        match opened {
            Ok(collection) => Slot::Open(collection),
            Err(error) => {
                tracing::error!(collection = %name, %error, "collection is unusable");
                Slot::Unusable(Unusable::new(id, &error, kept))
            }
        }
    }

    /// A collection that the catalog has lost, though it still keeps a promise for it.
    fn missing_slot(&self, id: u32) -> (String, Slot) {
        let folder = collection_folder(id);
        let copy =
            read_collection_copy::<CollectionConfig>(&*self.shared.store.directory, &folder, id);
        let named = copy.ok().and_then(|(copy, _)| Some(copy?.name));
        let name = named.filter(|name| !self.read().contains_key(name));
        let error = Error::from(StorageError::Corrupted {
            path: self.root.join("catalog"),
            section: "collection".into(),
            detail: format!("the catalog has lost `{folder}`; `lanner repair` may restore it"),
        });
        tracing::error!(%error, "collection is unusable");
        (name.unwrap_or_else(|| format!("#{id}")), Slot::Unusable(Unusable::new(id, &error, None)))
    }

    /// An id that no collection has had, even if the catalog has lost some.
    fn next_id(&self) -> Result<u32> {
        let mut next = self.shared.store.catalog.next_collection()?;
        let names = self.shared.store.directory.list("collections")?;
        let folders = names.iter().filter_map(|name| u32::try_from(number(name)?).ok());
        for id in folders.chain(self.shared.store.catalog.promised()?) {
            next = next.max(id.saturating_add(1));
        }
        Ok(next)
    }

    fn open_collection(
        &self,
        name: String,
        id: u32,
        config: CollectionConfig,
    ) -> Result<Collection> {
        Collection::open(self.shared.clone(), name, id, config)
    }

    /// Removes leftovers of interrupted deletions and creations. A non-empty folder unknown to the
    /// catalog is moved to `lost/`; folders without a number are left alone.
    fn sweep(&self, known: &[u32], dropped: &[u32]) -> Result<()> {
        let directory = &*self.shared.store.directory;
        dropped.iter().try_for_each(|&id| self.remove_dropped(id))?;
        for name in directory.folders("collections")? {
            let Some(id) = number(&name) else { continue };
            let path = format!("collections/{name}");
            if known.iter().any(|&known| u64::from(known) == id) {
                continue;
            }
            if directory.list(&path)?.is_empty() {
                directory.remove_folder(&path)?;
            } else {
                move_to_lost(directory, &path, &format!("collection-{name}"))?;
            }
        }
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Slot>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Slot>> {
        self.collections.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.scrubber = None;
        let slots = std::mem::take(&mut *self.write()).into_values();
        let open = slots.filter_map(|slot| match slot {
            Slot::Open(collection) => Some(collection),
            Slot::Unusable(_) => None,
        });
        let open: Vec<Collection> = open.collect();
        open.iter().for_each(Collection::halt);
        open.iter().for_each(Collection::close);
        self.shared.scheduler.end();
        // An orderly close makes buffered writes durable, too.
        if let Err(error) = self.shared.store.catalog.sync() {
            tracing::error!(%error, "the last writes may not be durable");
        }
    }
}
