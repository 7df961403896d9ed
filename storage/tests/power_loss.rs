//! The way segments are sealed survives a loss of power at any moment: the folder under its
//! final name is complete or not there.

use std::path::Path;

use lanner_storage::{
    Directory, FaultyDirectory, LocalDirectory, Result, SectionFile, SectionWriter,
};

const FILES: [&str; 2] = ["points.sec", "field-0.sec"];

fn seal(directory: &dyn Directory) -> Result<()> {
    directory.create_folder("segments/1.tmp")?;
    for file in FILES {
        let mut writer = SectionWriter::create(directory, &format!("segments/1.tmp/{file}"))?;
        writer.write_section("a", &[7; 100])?;
        writer.write_section("b", &[9; 3000])?;
        writer.finish()?;
    }
    directory.sync_folder("segments/1.tmp")?;
    directory.rename("segments/1.tmp", "segments/1")
}

/// Whether the sealed folder is there; if so it must be complete.
fn is_sealed(root: &Path) -> bool {
    let directory = LocalDirectory::new(root);
    if directory.list("segments").unwrap().iter().all(|name| name != "1") {
        return false;
    }
    for file in FILES {
        SectionFile::open(&directory, &format!("segments/1/{file}")).unwrap().verify().unwrap();
    }
    true
}

fn operations() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
    seal(&directory).unwrap();
    assert!(is_sealed(folder.path()));
    directory.operations()
}

#[test]
fn a_sealed_folder_is_complete_or_absent() {
    let operations = operations();
    assert!(operations > 15, "the faults cover the whole protocol");
    for fault in 0..=operations {
        for survivors in [0_u64, 1, 70, u64::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
            directory.fail_from(fault);
            let sealed = seal(&directory).is_ok();
            directory.lose_power(|unsynced| survivors.min(unsynced)).unwrap();
            assert_eq!(sealed, is_sealed(folder.path()), "fault at operation {fault}");
        }
    }
}

#[test]
fn without_syncs_the_loss_shows() {
    // The fault injection itself can fail a protocol: here neither file nor folder is synced.
    let folder = tempfile::tempdir().unwrap();
    let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
    directory.create_folder("segments").unwrap();
    let mut file = directory.create_file("segments/x").unwrap();
    file.write_all(b"content").unwrap();
    file.flush().unwrap();
    drop(file);
    directory.sync_folder("segments").unwrap();
    directory.lose_power(|_| 3).unwrap();
    let kept = directory.open("segments/x").unwrap();
    assert_eq!(kept.bytes(0..kept.size_bytes()).unwrap(), "con");

    directory.create_file("segments/y").unwrap().sync().unwrap();
    directory.lose_power(|unsynced| unsynced).unwrap();
    assert!(directory.open("segments/y").is_err(), "its name was not synced");
}
