//! Decodes the changes of a RocksDB log record: a write batch ("WriteBatch" in its
//! `db/write_batch.cc`), restricted to what this catalog writes.

use super::{Change, Space};

/// Sequence number and count.
const HEADER_BYTES: usize = 12;

/// The changes of a record, in order; `None` if this catalog did not write it.
pub(super) fn changes(record: &[u8]) -> Option<Vec<Change>> {
    let mut rest = record.get(HEADER_BYTES..)?;
    let mut changes = Vec::new();
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        changes.push(match tag {
            // Delete, put and range deletion in a column family.
            0x4 => Change::Delete(space(&mut rest)?, bytes(&mut rest)?),
            0x5 => Change::Put(space(&mut rest)?, bytes(&mut rest)?, bytes(&mut rest)?),
            0xE => Change::DeleteRange(space(&mut rest)?, bytes(&mut rest)?, bytes(&mut rest)?),
            // A no-op.
            0xD => continue,
            _ => return None,
        });
    }
    Some(changes)
}

/// Column families are numbered in order of creation, after the default one.
fn space(rest: &mut &[u8]) -> Option<Space> {
    match number(rest)? {
        1 => Some(Space::Meta),
        2 => Some(Space::Journal),
        _ => None,
    }
}

fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let len = number(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes.to_vec())
}

/// A varint: seven bits per byte, lowest first.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_changes_of_a_batch_are_read_as_rocksdb_writes_them() {
        let mut batch = rocksdb::WriteBatch::default();
        batch.put(b"of no family", b"x");
        assert!(changes(batch.data()).is_none());
        let header = [0; HEADER_BYTES];
        let long = [&[0x5, 1, 3][..], b"key", &[200, 1], &[7; 200]].concat();
        let record = [&header[..], &long, &[0xD, 0x4, 2, 1, 9, 0xE, 2, 1, 1, 1, 5]].concat();
        let found = format!("{:?}", changes(&record).unwrap());
        let value = vec![7; 200];
        let expected = vec![
            Change::Put(Space::Meta, b"key".to_vec(), value),
            Change::Delete(Space::Journal, vec![9]),
            Change::DeleteRange(Space::Journal, vec![1], vec![5]),
        ];
        assert_eq!(found, format!("{expected:?}"));
        assert!(changes(&record[..record.len() - 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            changes(&bytes);
        }
    }
}
