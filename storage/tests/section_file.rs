//! Section files come back as they were written, and nothing else is taken for one.

use std::fs;
use std::ops::Range;
use std::path::Path;

use lanner_storage::{
    Access, Directory, LocalDirectory, MemoryDirectory, SectionFile, SectionInfo, SectionWriter,
    StorageError,
};
use proptest::prelude::*;

fn write(directory: &dyn Directory, path: &str, sections: &[(String, Vec<u8>)], piece: usize) {
    let mut writer = SectionWriter::create(directory, path).unwrap();
    for (name, bytes) in sections {
        writer.begin_section(name).unwrap();
        for piece in bytes.chunks(piece) {
            writer.write(piece).unwrap();
        }
        writer.end_section().unwrap();
    }
    let summary = writer.finish().unwrap();
    SectionFile::open_expecting(directory, path, &summary).unwrap();
}

fn example() -> Vec<(String, Vec<u8>)> {
    vec![
        ("ids".to_owned(), (0..100).collect()),
        ("empty".to_owned(), Vec::new()),
        ("vectors".to_owned(), (0..=255).cycle().take(300).collect()),
    ]
}

/// Opens and verifies the file; what a caller would do before it trusts a byte.
fn check(directory: &LocalDirectory, path: &str) -> Result<Vec<SectionInfo>, StorageError> {
    let file = SectionFile::open(directory, path)?;
    file.verify()?;
    Ok(file.sections().to_vec())
}

#[test]
fn every_flipped_byte_is_reported_with_file_and_section() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    write(&directory, "a.sec", &example(), 64);
    let sections = check(&directory, "a.sec").unwrap();
    let path = folder.path().join("a.sec");
    let sound = fs::read(&path).unwrap();
    for at in 0..sound.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = sound.clone();
            bytes[at] ^= bit;
            fs::write(&path, &bytes).unwrap();
            let error = check(&directory, "a.sec").expect_err("a flipped byte is noticed");
            let text = error.to_string();
            assert!(text.contains("a.sec"), "{text}");
            let position = at as u64;
            let hit = sections.iter().find(|s| (s.offset..s.offset + s.len).contains(&position));
            if let Some(hit) = hit {
                let named = format!("corrupted in section `{}`", hit.name);
                assert!(text.contains(&named), "byte {at}: {text}");
            }
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    write(&directory, "a.sec", &example(), 64);
    let path = folder.path().join("a.sec");
    let sound = fs::read(&path).unwrap();
    for len in 0..sound.len() {
        fs::write(&path, &sound[..len]).unwrap();
        let error = check(&directory, "a.sec").expect_err("a truncated file is noticed");
        assert!(matches!(error, StorageError::Corrupted { .. }), "{len}: {error}");
    }
    fs::write(&path, [&sound[..], &[0]].concat()).unwrap();
    assert!(check(&directory, "a.sec").is_err());
}

#[test]
fn damage_lists_every_section_that_differs_and_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    // More than is read ahead at once.
    let large: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    let sections = [&example()[..], &[("large".to_owned(), large)]].concat();
    write(&directory, "a.sec", &sections, 1 << 20);
    let path = folder.path().join("a.sec");
    let sound = SectionFile::open(&directory, "a.sec").unwrap();
    let mut read = 0;
    let mut count = |bytes| {
        read += bytes;
        true
    };
    assert!(sound.damage(&mut count).is_empty());
    assert_eq!(read, 100 + 300 + 9_000_000);
    let at = |name: &str| {
        let section = sound.sections().iter().find(|section| section.name == name).unwrap();
        (section.offset + section.len - 1) as usize
    };
    let mut bytes = fs::read(&path).unwrap();
    bytes[at("ids")] ^= 1;
    bytes[at("large")] ^= 1;
    drop(sound);
    fs::write(&path, bytes).unwrap();
    let file = SectionFile::open(&directory, "a.sec").unwrap();
    let damage: Vec<String> = file.damage(&mut |_| true).iter().map(|e| e.to_string()).collect();
    assert_eq!(damage.len(), 2, "{damage:?}");
    assert!(damage[0].contains("`ids`") && damage[1].contains("`large`"), "{damage:?}");
    let mut left = 1;
    let mut twice = |_| {
        left -= 1;
        left >= 0
    };
    assert_eq!(file.damage(&mut twice).len(), 1, "the large section was not read");

    file.verify_sections(|name| name == "vectors").unwrap();
    let error = file.verify_sections(|name| name == "ids").unwrap_err().to_string();
    assert!(error.contains("`ids`"), "{error}");
}

#[test]
fn advice_changes_no_byte_and_has_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    write(&directory, "a.sec", &example(), 64);
    let file = SectionFile::open(&directory, "a.sec").unwrap();
    for access in [Access::Random, Access::Soon, Access::Ordered] {
        file.advise_all(access).unwrap();
        let vectors = file.find("vectors").unwrap();
        for range in [0..u64::MAX, 299..300, 500..600, 7..7] {
            file.advise_range(vectors, range, access).unwrap();
        }
    }
    // A page fits any limit that lets processes lock anything.
    let _ = file.lock();
    file.verify().unwrap();
    let mapped = directory.open("a.sec").unwrap();
    let len = mapped.size_bytes();
    mapped.advise(0..len, Access::Random).unwrap();
    assert!(mapped.advise(0..len + 1, Access::Random).is_err());
    fs::write(folder.path().join("empty"), "").unwrap();
    let empty = directory.open("empty").unwrap();
    empty.advise(0..0, Access::Soon).unwrap();
    empty.lock().unwrap();
}

#[test]
fn a_cold_file_is_written_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    let mut writer = SectionWriter::create(&directory, "a.sec").unwrap();
    writer.set_cold();
    writer.write_section("a", &[7; 1 << 20]).unwrap();
    let summary = writer.finish().unwrap();
    SectionFile::open_expecting(&directory, "a.sec", &summary).unwrap().verify().unwrap();
}

#[test]
fn a_newer_format_is_not_taken_for_damage_nor_damage_for_a_newer_format() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    write(&directory, "a.sec", &example(), 64);
    let path = folder.path().join("a.sec");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    let error = check(&directory, "a.sec").unwrap_err();
    assert!(matches!(error, StorageError::Corrupted { .. }), "{error}");

    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..56]);
    bytes[56..64].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = check(&directory, "a.sec").unwrap_err();
    assert!(matches!(error, StorageError::UnsupportedFormat { found: 9, .. }), "{error}");
}

#[test]
fn misuse_of_the_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    let mut writer = SectionWriter::create(&directory, "a.sec").unwrap();
    assert!(SectionWriter::create(&directory, "a.sec").is_err(), "files are written once");
    assert!(writer.write(b"x").is_err(), "outside a section");
    assert!(writer.end_section().is_err());
    writer.write_section("one", b"1").unwrap();
    assert!(writer.begin_section("one").is_err(), "names are unique");
    for name in ["", "Upper", "a b", &"x".repeat(49)] {
        assert!(writer.begin_section(name).is_err(), "{name:?}");
    }
    writer.begin_section("two").unwrap();
    assert!(writer.begin_section("three").is_err(), "one section at a time");
    assert!(writer.finish().is_err(), "a section is open");
}

/// A file of each format, kept: later versions must read them. That of the newest is made by
/// `LANNER_WRITE_FIXTURES=1 cargo test --release --workspace --test section_file`.
#[test]
fn the_fixtures_of_all_formats_are_read_and_the_newest_is_written_byte_for_byte() {
    const NEWEST: &str = "v2.sec";
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let directory = LocalDirectory::new(&fixtures);
    if std::env::var_os("LANNER_WRITE_FIXTURES").is_some() {
        fs::remove_file(fixtures.join(NEWEST)).ok();
        write(&directory, NEWEST, &example(), 7);
    }
    for name in ["v1.sec", NEWEST] {
        let file = SectionFile::open(&directory, name).unwrap();
        file.verify().unwrap();
        assert_eq!(file.sections().len(), example().len());
        for (name, bytes) in example() {
            assert_eq!(file.section(&name).unwrap(), bytes);
            assert_eq!(file.checked(file.find(&name).unwrap(), 0..bytes.len()).unwrap(), bytes);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write(&LocalDirectory::new(folder.path()), NEWEST, &example(), 11);
    let again = fs::read(folder.path().join(NEWEST)).unwrap();
    assert_eq!(again, fs::read(fixtures.join(NEWEST)).unwrap(), "the bytes are the format");
}

#[test]
fn blocks_are_checked_where_they_are_read_and_there_alone() {
    const BLOCK: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(folder.path());
    let bytes: Vec<u8> = (0..3 * BLOCK as u32 + 100).map(|i| (i % 253) as u8).collect();
    let sections = [("first".to_owned(), vec![1; BLOCK]), ("large".to_owned(), bytes.clone())];
    write(&directory, "a.sec", &sections, 1000);
    let offset = SectionFile::open(&directory, "a.sec").unwrap().sections()[1].offset as usize;
    let path = folder.path().join("a.sec");
    let mut damaged = fs::read(&path).unwrap();
    damaged[offset + 2 * BLOCK] ^= 1;
    fs::write(&path, damaged).unwrap();
    let file = SectionFile::open(&directory, "a.sec").unwrap();
    let large = file.find("large").unwrap();
    for _ in 0..2 {
        assert_eq!(file.checked(large, 10..2 * BLOCK).unwrap(), &bytes[10..2 * BLOCK]);
        assert_eq!(file.checked(large, 3 * BLOCK..bytes.len()).unwrap(), &bytes[3 * BLOCK..]);
        for range in [2 * BLOCK..2 * BLOCK + 1, 2 * BLOCK - 1..2 * BLOCK + 1, 0..bytes.len()] {
            let error = file.checked(large, range).unwrap_err().to_string();
            let named = "a.sec` is corrupted in section `large`: block 2 (bytes 131072 to 196608)";
            assert!(error.contains(named), "{error}");
        }
    }
    assert!(file.checked(large, 3 * BLOCK..usize::MAX).is_err(), "it does not reach so far");
    assert!(file.checked(large, bytes.len()..bytes.len()).unwrap().is_empty());
    let damage: Vec<String> = file.damage(&mut |_| true).iter().map(|e| e.to_string()).collect();
    assert!(damage.len() == 1 && damage[0].contains("`large`: block 2"), "{damage:?}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..500), 0..8),
        piece in 1_usize..200,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(folder.path());
        let sections: Vec<(String, Vec<u8>)> =
            contents.into_iter().enumerate().map(|(i, bytes)| (format!("s{i}"), bytes)).collect();
        write(&directory, "a.sec", &sections, piece);
        let file = SectionFile::open(&directory, "a.sec").unwrap();
        file.verify().unwrap();
        prop_assert_eq!(file.sections().len(), sections.len());
        for (name, bytes) in &sections {
            let read = file.section(name).unwrap();
            prop_assert_eq!(read, bytes.as_slice());
            prop_assert!((read.as_ptr() as usize).is_multiple_of(64));
        }
        prop_assert!(file.section("missing").is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        framed in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(folder.path());
        if framed && bytes.len() > 120 {
            // A sound header and trailer magic lead further into the reader.
            write(&directory, "sound.sec", &[], 1);
            let sound = fs::read(folder.path().join("sound.sec")).unwrap();
            bytes[..64].copy_from_slice(&sound[..64]);
            let end = bytes.len();
            bytes[end - 8..].copy_from_slice(&sound[sound.len() - 8..]);
            let len = (end as u64).to_le_bytes();
            bytes[end - 16..end - 8].copy_from_slice(&len);
        }
        fs::write(folder.path().join("a.sec"), &bytes).unwrap();
        prop_assert!(check(&directory, "a.sec").is_err());
    }
}

#[test]
fn a_file_in_memory_reads_as_one_of_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let (local, memory) = (LocalDirectory::new(folder.path()), MemoryDirectory::new());
    let mut random = 1_u32;
    let large: Vec<u8> = (0..200_000_u32)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .collect();
    let sections = [&example()[..], &[("large".to_owned(), large.clone())]].concat();
    write(&local, "a.sec", &sections, 1000);
    write(&memory, "a.sec", &sections, 77);
    let open = |directory: &dyn Directory| SectionFile::open(directory, "a.sec").unwrap();
    let (mapped, fetched) = (open(&local), open(&memory));
    assert_eq!(mapped.sections(), fetched.sections());
    assert_eq!(mapped.len(), fetched.len());
    assert_eq!(memory.handed_out_bytes(), 0, "nothing is fetched before somebody looks for it");
    for (name, bytes) in &sections {
        for file in [&mapped, &fetched] {
            let section = file.find(name).unwrap();
            assert_eq!(file.bytes(section), bytes);
            assert_eq!(file.bytes(section).as_ptr().align_offset(64), 0, "aligned");
            assert_eq!(file.checked(section, 0..bytes.len()).unwrap(), bytes);
        }
    }
    fetched.find("large").unwrap();
    assert_eq!(memory.handed_out_bytes(), 100 + 300 + 200_000, "each section is fetched once");
    for file in [&mapped, &fetched] {
        file.advise_all(Access::Random).unwrap();
        file.advise_range(file.find("large").unwrap(), 5..70_000, Access::Soon).unwrap();
        file.check_pages().unwrap();
        file.verify().unwrap();
        assert!(file.damage(&mut |_| true).is_empty());
        assert!(file.find("missing").is_err());
    }
}

#[test]
fn ranges_of_a_blob_outlive_it_and_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let directories: [&dyn Directory; 2] =
        [&LocalDirectory::new(folder.path()), &MemoryDirectory::new()];
    for directory in directories {
        let mut file = directory.create_file("blob").unwrap();
        file.write_all(b"0123456789").unwrap();
        file.sync().unwrap();
        let blob = directory.open("blob").unwrap();
        assert_eq!(blob.size_bytes(), 10);
        let (part, none) = (blob.bytes(3..7).unwrap(), blob.bytes(10..10).unwrap());
        for range in [0..11, 11..11, Range { start: 5, end: 4 }] {
            assert!(blob.bytes(range.clone()).is_err(), "{range:?}");
        }
        let mut read = [0; 4];
        blob.reader().unwrap().read(&mut read, 6).unwrap();
        assert_eq!(&read, b"6789");
        assert!(blob.reader().unwrap().read(&mut read, 7).is_err(), "past the end");
        drop(blob);
        assert_eq!((&part[..], &none[..]), (&b"3456"[..], &b""[..]));
    }
}

#[test]
fn folders_in_memory_follow_the_contract() {
    let directory = MemoryDirectory::new();
    directory.create_folder("a/b").unwrap();
    let mut file = directory.create_file("a/b/x.sec").unwrap();
    file.write_all(b"x").unwrap();
    assert!(directory.open("a/b/x.sec").is_err(), "it appears when it is synced");
    file.sync().unwrap();
    directory.create_file("a/y.sec").unwrap().sync().unwrap();
    assert!(directory.create_file("a/y.sec").is_err(), "files are written once");
    assert_eq!(directory.list("a").unwrap(), ["b", "y.sec"]);
    assert_eq!(directory.folders("a").unwrap(), ["b"]);
    assert!(directory.rename("a/b", "a/y.sec").is_err() && directory.rename("z", "c").is_err());
    directory.rename("a/b", "a/c").unwrap();
    assert_eq!(directory.open("a/c/x.sec").unwrap().size_bytes(), 1);
    assert!(directory.open("a/b/x.sec").is_err() && directory.open("../x").is_err());
    directory.remove_folder("a/c").unwrap();
    directory.remove_folder("a/c").unwrap();
    assert_eq!(directory.list("a").unwrap(), ["y.sec"]);
    assert!(directory.list("nowhere").unwrap().is_empty());
}
