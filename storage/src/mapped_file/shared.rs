//! Bytes of a section that may be held on their own.

use std::ops::Deref;

use bytes::Bytes;
use stable_deref_trait::StableDeref;

/// Bytes that stay where they are while this value moves; they live as long as it does.
#[derive(Debug, Clone)]
pub struct SharedBytes(Bytes);

impl From<Bytes> for SharedBytes {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: `deref` gives the same address and length whenever it is called: `Bytes` holds a pointer to
// memory it shares ownership of (a mapping, or an allocation that is never reallocated), not the bytes
// themselves, so that moving it moves no byte, and nothing here hands out `&mut` access. The bounds are
// those of `Bytes`; no alignment or CPU feature is assumed.
unsafe impl StableDeref for SharedBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_in_place_when_their_holder_moves() {
        for bytes in [Bytes::from(vec![1, 2, 3]), Bytes::from_static(b"abc"), Bytes::new()] {
            let held = SharedBytes::from(bytes.slice(bytes.len().min(1)..));
            let (address, content) = (held.as_ptr(), held.to_vec());
            let moved = Box::new(held);
            assert_eq!((moved.as_ptr(), moved.to_vec()), (address, content));
        }
    }
}
