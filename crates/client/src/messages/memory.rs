//! Memory policies and memory use ↔ messages.

use crate::proto;
use lanner::FileMemory;
use lanner::Problem;
use lanner::{InvalidInput, Memory};

/// Memory policy of a field from its message.
///
/// # Errors
/// If the value is unknown.
pub fn to_model(number: i32) -> Result<Memory, InvalidInput> {
    match proto::Memory::try_from(number) {
        Ok(proto::Memory::Unspecified | proto::Memory::Cached) => Ok(Memory::Cached),
        Ok(proto::Memory::Pinned) => Ok(Memory::Pinned),
        Ok(proto::Memory::Cold) => Ok(Memory::Cold),
        Err(_) => {
            let expected = "pinned, cached or cold";
            let got = number.to_string();
            Err(InvalidInput::new("memory", Problem::Mismatch { expected, got }))
        }
    }
}

/// The message of a field's memory policy.
pub fn from_model(memory: Memory) -> i32 {
    match memory {
        Memory::Pinned => proto::Memory::Pinned,
        Memory::Cached => proto::Memory::Cached,
        Memory::Cold => proto::Memory::Cold,
    }
    .into()
}

/// Memory use of a file from its message; values unknown to this version count as cached.
pub fn to_file(number: i32) -> FileMemory {
    match proto::FileMemory::try_from(number) {
        Ok(proto::FileMemory::Locked) => FileMemory::Locked,
        Ok(proto::FileMemory::LockRefused) => FileMemory::LockRefused,
        Ok(proto::FileMemory::Random) => FileMemory::Random,
        Ok(proto::FileMemory::Unspecified | proto::FileMemory::Cached) | Err(_) => {
            FileMemory::Cached
        }
    }
}

/// The message of a file's memory use.
pub fn from_file(memory: FileMemory) -> i32 {
    match memory {
        FileMemory::Cached => proto::FileMemory::Cached,
        FileMemory::Locked => proto::FileMemory::Locked,
        FileMemory::LockRefused => proto::FileMemory::LockRefused,
        FileMemory::Random => proto::FileMemory::Random,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_survive_the_way_there_and_back() {
        for memory in [Memory::Pinned, Memory::Cached, Memory::Cold] {
            assert_eq!(to_model(from_model(memory)), Ok(memory));
        }
        assert_eq!(to_model(0), Ok(Memory::Cached));
        assert_eq!(to_model(9).unwrap_err().path, "memory");
        for memory in
            [FileMemory::Cached, FileMemory::Locked, FileMemory::LockRefused, FileMemory::Random]
        {
            assert_eq!(to_file(from_file(memory)), memory);
        }
    }
}
