//! Sealed files as their readers see them: named, immutable byte ranges.
//!
//! A local file is mapped ([`MappedFile`](crate::MappedFile)), and its ranges are slices of the
//! mapping. Other stores fetch ranges on request; readers request each section they use once, and
//! hold on to it.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use crate::error::Result;

/// Access pattern for a range of a blob: a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Roughly sequential: a page fault also reads the surrounding pages.
    Ordered,
    /// Random: a page fault reads only the missing page.
    Random,
    /// Needed soon: prefetched, even if access is otherwise random.
    Soon,
}

/// Immutable bytes that were completely written.
pub trait Blob: Send + Sync + Debug {
    /// Name for error messages: the path of a file.
    fn path(&self) -> &Path;

    /// Length in bytes.
    fn size_bytes(&self) -> u64;

    /// The bytes of a range, valid as long as they are held. They are 64-byte aligned in memory if
    /// the range is 64-byte aligned in the blob.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the range is out of bounds or cannot be read.
    fn bytes(&self, range: Range<u64>) -> Result<Bytes>;

    /// A reader of the stored bytes that bypasses whatever [`Self::bytes`] caches, for checksum
    /// verification.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the blob no longer exists or cannot be
    /// opened.
    fn reader(&self) -> Result<Box<dyn BlobReader + '_>>;

    /// Checks that all bytes read so far were the stored ones. An unreadable page of a mapping is
    /// replaced by zeros.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if a page could not be read.
    fn check_pages(&self) -> Result<()> {
        Ok(())
    }

    /// Advises the system on the access pattern of `range`.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the range is out of bounds or the advice is
    /// not supported; reads still work.
    fn advise(&self, range: Range<u64>, access: Access) -> Result<()> {
        let _ = (range, access);
        Ok(())
    }

    /// Reads the whole blob and locks it in memory while it is open.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the limit on locked memory is exceeded;
    /// reads still work.
    fn lock(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads a blob into buffers of the caller.
pub trait BlobReader {
    /// Fills `bytes`, starting at `position` of the blob.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the blob ends earlier or cannot be read.
    fn read(&self, bytes: &mut [u8], position: u64) -> Result<()>;

    /// Hints that reads are sequential.
    fn read_ahead(&self) {}
}
