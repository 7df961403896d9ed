//! A database: a folder of collections.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use lanner_storage::{Batch, Catalog, DatabaseLock, Directory, LocalDirectory, Sync, identity};

use crate::collection::codecs::prepare_queries;
use crate::collection::{Collection, SegmentOptions, Store, collection_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{CollectionConfig, TrainingQueries, validate_name};

/// Settings of an open database.
#[derive(Debug, Clone, Default)]
pub struct DatabaseOptions {
    threads: usize,
    segments: SegmentOptions,
}

impl DatabaseOptions {
    /// The defaults: queries on all cores, segments of 64 MiB merged up to 4 GiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of threads that queries run on; 0 for one a core.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Size of the vectors and payloads in memory at which they are sealed, in bytes.
    #[must_use]
    pub fn seal_bytes(mut self, seal_bytes: u64) -> Self {
        self.segments.seal_bytes = seal_bytes.max(1);
        self
    }

    /// Size beyond which merges do not go, in bytes.
    #[must_use]
    pub fn segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segments.segment_bytes = segment_bytes.max(1);
        self
    }

    /// Rows from which a segment gets an index; smaller ones are scanned.
    #[must_use]
    pub fn index_rows(mut self, index_rows: u32) -> Self {
        self.segments.index_rows = index_rows.max(1);
        self
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
        let lock = DatabaseLock::acquire(root)?;
        let catalog = Catalog::open(&root.join("catalog"))?;
        let store = Arc::new(Store { catalog, directory, _lock: lock });
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|index| format!("lanner-query-{index}"))
            .build()
            .map_err(|error| Error::Internal(format!("cannot start query threads: {error}")))?;
        let database = Database {
            root: root.to_owned(),
            store,
            pool: Arc::new(pool),
            options: self.segments,
            collections: RwLock::default(),
            changing: Mutex::default(),
        };
        database.open_collections()?;
        Ok(database)
    }
}

/// An open database. One process owns a folder at a time; dropping this closes it.
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
    store: Arc<Store>,
    pool: Arc<rayon::ThreadPool>,
    options: SegmentOptions,
    collections: RwLock<BTreeMap<String, Slot>>,
    /// Held while a collection is created or deleted.
    changing: Mutex<()>,
}

/// A collection that opened, or why it did not.
enum Slot {
    Open(Collection),
    Unusable { id: u32, reason: String, kind: ErrorKind },
}

impl Slot {
    fn collection(&self, name: &str) -> Result<Collection> {
        match self {
            Self::Open(collection) => Ok(collection.clone()),
            Self::Unusable { reason, kind, .. } => Err(Error::CollectionUnusable {
                name: name.to_owned(),
                reason: reason.clone(),
                kind: *kind,
            }),
        }
    }
}

impl Database {
    /// Opens the database in the folder `root`, creating it if the folder is missing or empty.
    ///
    /// A damaged collection does not keep the others from opening: it is listed, and using it
    /// says what is wrong.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Locked`] naming the process that owns the folder,
    /// [`lanner_storage::StorageError::NotADatabase`] if it holds something else,
    /// [`lanner_storage::StorageError::UnsupportedFormat`] if a newer version wrote it, and I/O errors.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        DatabaseOptions::new().open(root)
    }

    /// The folder.
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
        let id = self.store.catalog.next_collection()?;
        self.store.directory.create_folder(&collection_folder(id))?;
        let mut batch = Batch::new();
        batch.create_collection(id, name, &config)?;
        self.store.catalog.commit(batch, Sync::Yes)?;
        let collection = self.open_collection(name.to_owned(), id, config)?;
        self.write().insert(name.to_owned(), Slot::Open(collection.clone()));
        Ok(collection)
    }

    /// Creates a collection whose compression is trained on these queries, by field: of the kind
    /// that will come, shape [n, dimension].
    ///
    /// # Errors
    /// As [`Self::create_collection`] and [`Collection::train`]; then there is no collection.
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

    /// The collection called `name`.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], or [`Error::CollectionUnusable`] if it did not open.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        match self.read().get(name) {
            Some(slot) => slot.collection(name),
            None => Err(Error::CollectionNotFound { name: name.to_owned() }),
        }
    }

    /// The names of all collections, and each collection or why it is unusable.
    pub fn collections(&self) -> Vec<(String, Result<Collection>)> {
        self.read().iter().map(|(name, slot)| (name.clone(), slot.collection(name))).collect()
    }

    /// Deletes a collection with all its points, also one that is unusable.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], and I/O errors.
    pub fn delete_collection(&self, name: &str) -> Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.write().remove(name);
        let id = match slot {
            None => return Err(Error::CollectionNotFound { name: name.to_owned() }),
            Some(Slot::Unusable { id, .. }) => id,
            Some(Slot::Open(collection)) => {
                collection.dropped();
                collection.id()
            }
        };
        let mut batch = Batch::new();
        batch.drop_collection(id, name);
        self.store.catalog.commit(batch, Sync::Yes)?;
        self.store.directory.remove_folder(&collection_folder(id))?;
        Ok(())
    }

    fn open_collections(&self) -> Result<()> {
        let listed = self.store.catalog.collections::<CollectionConfig>()?;
        self.sweep(listed.iter().map(|(_, id, _)| *id))?;
        for (name, id, config) in listed {
            let slot = match self.open_collection(name.clone(), id, config) {
                Ok(collection) => Slot::Open(collection),
                Err(error) => {
                    tracing::error!(collection = %name, %error, "collection is unusable");
                    Slot::Unusable { id, reason: error.to_string(), kind: error.kind() }
                }
            };
            self.write().insert(name, slot);
        }
        Ok(())
    }

    fn open_collection(
        &self,
        name: String,
        id: u32,
        config: CollectionConfig,
    ) -> Result<Collection> {
        let (store, pool) = (self.store.clone(), self.pool.clone());
        Collection::open(store, pool, self.options.clone(), name, id, config)
    }

    /// Removes folders of collections that are not in the catalog: creations and deletions cut
    /// short.
    fn sweep(&self, listed: impl Iterator<Item = u32>) -> Result<()> {
        let listed: Vec<String> = listed.map(|id| id.to_string()).collect();
        for name in self.store.directory.list("collections")? {
            if !listed.contains(&name) {
                self.store.directory.remove_folder(&format!("collections/{name}"))?;
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
        for (_, slot) in std::mem::take(&mut *self.write()) {
            if let Slot::Open(collection) = slot {
                collection.close();
            }
        }
        // Buffered writes of a database that closes in order are durable, too.
        if let Err(error) = self.store.catalog.sync() {
            tracing::error!(%error, "the last writes may not be durable");
        }
    }
}
