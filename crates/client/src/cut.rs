//! Splitting a write into messages.

use std::ops::Range;

/// Splits entries of the given sizes into parts of at most `most_bytes` bytes, unless a single
/// entry is larger; without entries, one empty part.
pub(crate) fn cut(sizes: impl Iterator<Item = usize>, most_bytes: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut end, mut bytes) = (Vec::new(), 0, 0, 0);
    for size in sizes {
        if bytes + size > most_bytes && end > start {
            parts.push(start..end);
            (start, bytes) = (end, 0);
        }
        bytes += size;
        end += 1;
    }
    parts.push(start..end);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_entry_once_and_are_bounded() {
        let cut = |sizes: &[usize]| cut(sizes.iter().copied(), 10);
        assert_eq!(cut(&[]).as_slice(), std::slice::from_ref(&(0..0)));
        assert_eq!(cut(&[5, 5, 1]), [0..2, 2..3]);
        assert_eq!(cut(&[11, 1, 11]), [0..1, 1..2, 2..3]);
        assert_eq!(cut(&[0, 10, 0, 1]), [0..3, 3..4]);
    }
}
