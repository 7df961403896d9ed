//! What a sealed file is to whoever reads it: a run of bytes with a name, which never changes.
//!
//! A local file is mapped ([`MappedFile`](crate::MappedFile)), and its ranges are slices of the
//! mapping. Another store hands out ranges as it gets them; what reads blobs asks for those sections
//! that it uses, once, and holds them.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use crate::error::Result;

/// How a part of a blob will be read: a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In order, more or less: what surrounds a page that is missing is read with it.
    Ordered,
    /// Here and there: only the page that is missing is read.
    Random,
    /// Soon: it is read ahead of use, also where access is random otherwise.
    Soon,
}

/// Bytes that were written completely and never change.
pub trait Blob: Send + Sync + Debug {
    /// Its name, for errors: the path of a file.
    fn path(&self) -> &Path;

    /// Length in bytes.
    fn size_bytes(&self) -> u64;

    /// The bytes of a range, for as long as they are held. They begin at a multiple of 64 bytes in
    /// memory if the range does in the blob.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the range is out of bounds or cannot be read.
    fn bytes(&self, range: Range<u64>) -> Result<Bytes>;

    /// Reads what is stored, and not what [`Self::bytes`] may keep of it: for comparing it with
    /// checksums.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if it is no longer there or cannot be opened.
    fn reader(&self) -> Result<Box<dyn BlobReader + '_>>;

    /// Whether all that was read of the handed out bytes is what is stored. A page of a mapping that
    /// the disk could not read was replaced by zeros.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if there was such a page.
    fn check_pages(&self) -> Result<()> {
        Ok(())
    }

    /// Says how the bytes of `range` will be read.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the range is out of bounds or the system does
    /// not know the advice; reading works as before.
    fn advise(&self, range: Range<u64>, access: Access) -> Result<()> {
        let _ = (range, access);
        Ok(())
    }

    /// Reads all of it and keeps it in memory as long as it is open.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if there may not be so much of that; reading works
    /// as before.
    fn lock(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads a blob into memory of the caller.
pub trait BlobReader {
    /// Fills `bytes` from a position of the blob on.
    ///
    /// # Errors
    /// [`StorageError::Io`](crate::StorageError::Io) if the blob ends before or cannot be read.
    fn read(&self, bytes: &mut [u8], position: u64) -> Result<()>;

    /// Says that it is read in order.
    fn read_ahead(&self) {}
}
