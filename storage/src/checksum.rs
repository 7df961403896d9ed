//! The checksum of everything Lanner writes: 64-bit XXH3.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Incremental checksum of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct RunningChecksum(Xxh3);

impl RunningChecksum {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Checksum of all bytes so far.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}
