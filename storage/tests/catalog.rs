//! The catalog keeps what was committed, says what is missing, and opens again after a failure.

use lanner_storage::{
    Batch, Catalog, CommitFault, CommitFaults, Manifest, Promise, Result, StorageError, Sync,
};

fn append(catalog: &Catalog, sequences: &[u64], sync: Sync) -> Result<()> {
    let mut batch = Batch::new();
    for &sequence in sequences {
        batch.append_journal(1, sequence, vec![sequence as u8; 10]);
    }
    catalog.commit(batch, sync)
}

fn create(catalog: &Catalog) {
    let mut batch = Batch::new();
    batch.create_collection(1, "c", &"settings").unwrap();
    catalog.commit(batch, Sync::Yes).unwrap();
}

fn replay(catalog: &Catalog, after: u64) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    catalog.replay_journal(1, after, |sequence, record| {
        assert_eq!(record, [sequence as u8; 10]);
        found.push(sequence);
        Ok::<_, StorageError>(())
    })?;
    Ok(found)
}

#[test]
fn a_replay_has_no_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    create(&catalog);
    append(&catalog, &[1, 2, 3, 5], Sync::Yes).unwrap();
    let error = replay(&catalog, 0).unwrap_err().to_string();
    assert!(error.contains("section `journal`: write 4 is missing, the next is 5"), "{error}");
    assert_eq!(replay(&catalog, 4).unwrap(), [5]);
    let error = replay(&catalog, 3).unwrap_err().to_string();
    assert!(error.contains("write 4 is missing"), "the first is missing: {error}");
}

#[test]
fn what_was_synced_is_promised_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    create(&catalog);
    append(&catalog, &[1, 2], Sync::Yes).unwrap();
    append(&catalog, &[3], Sync::No).unwrap();
    let mut batch = Batch::new();
    let manifest = Manifest { version: 7, sealed_through: 1, ..Manifest::default() };
    batch.put_manifest(1, &manifest).unwrap();
    catalog.commit(batch, Sync::Yes).unwrap();
    assert_eq!(catalog.promise(1), Promise { sequence: 2, version: 7 });
    catalog.check_promise(1, Promise { sequence: 2, version: 7 }).unwrap();
    for (sequence, version, named) in [(1, 7, "writes up to 2"), (2, 6, "version 7")] {
        let error = catalog.check_promise(1, Promise { sequence, version }).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    drop(catalog);
    let catalog = Catalog::open(folder.path()).unwrap();
    assert_eq!(replay(&catalog, 0).unwrap(), [1, 2, 3]);
    assert_eq!(catalog.promised().unwrap(), [1]);
}

#[test]
fn a_catalog_opens_again_after_a_commit_has_failed() {
    for fault in [CommitFault::Before, CommitFault::After] {
        let folder = tempfile::tempdir().unwrap();
        let faults = CommitFaults::default();
        let catalog = Catalog::open_with(folder.path(), faults.clone()).unwrap();
        create(&catalog);
        append(&catalog, &[1], Sync::Yes).unwrap();
        faults.fail(0, 1, fault);
        append(&catalog, &[2], Sync::Yes).unwrap_err();
        catalog.reopen().unwrap();
        let found = replay(&catalog, 0).unwrap();
        let expected: &[u64] = if fault == CommitFault::After { &[1, 2] } else { &[1] };
        assert_eq!(found, expected);
        append(&catalog, &[found.len() as u64 + 1], Sync::Yes).unwrap();
        assert_eq!(replay(&catalog, 0).unwrap().len(), expected.len() + 1);
    }
}

#[test]
fn a_full_disk_leaves_a_catalog_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    create(&Catalog::open(folder.path()).unwrap());
    let faults = CommitFaults::default();
    faults.set_full(true);
    let catalog = Catalog::open_with(folder.path(), faults.clone()).unwrap();
    assert!(catalog.read_only().unwrap().contains("no space left"));
    assert_eq!(catalog.collections::<String>().unwrap()[0].name, "c");
    assert!(append(&catalog, &[1], Sync::Yes).is_err());
    assert!(catalog.reopen().is_err() && catalog.read_only().is_some());
    faults.set_full(false);
    append(&catalog, &[1], Sync::Yes).unwrap();
    assert_eq!(catalog.read_only(), None);
    assert_eq!(replay(&catalog, 0).unwrap(), [1]);
}

#[test]
fn what_was_dropped_is_remembered_until_its_files_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    create(&catalog);
    let mut batch = Batch::new();
    batch.drop_collection(1, "c");
    catalog.commit(batch, Sync::Yes).unwrap();
    assert_eq!(catalog.dropped().unwrap(), [1]);
    assert!(catalog.collections::<String>().unwrap().is_empty());
    assert_eq!(catalog.next_collection().unwrap(), 2, "numbers are not used again");
    let mut batch = Batch::new();
    batch.forget_dropped(1);
    catalog.commit(batch, Sync::Yes).unwrap();
    assert!(catalog.dropped().unwrap().is_empty());
}

#[test]
fn a_configuration_is_replaced_with_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(folder.path()).unwrap();
    create(&catalog);
    assert_eq!(catalog.config::<String>("c").unwrap(), "settings");
    let mut batch = Batch::new();
    batch.put_config(1, "c", &"others").unwrap();
    batch.put_manifest(1, &Manifest { version: 2, ..Manifest::default() }).unwrap();
    catalog.commit(batch, Sync::Yes).unwrap();
    drop(catalog);
    let catalog = Catalog::open(folder.path()).unwrap();
    assert_eq!(catalog.config::<String>("c").unwrap(), "others");
    assert_eq!(catalog.manifest(1).unwrap().version, 2);
    let listed = catalog.collections::<String>().unwrap();
    assert_eq!((listed.len(), listed[0].config.as_ref().unwrap().as_str()), (1, "others"));
    let unknown = catalog.config::<u64>("c").unwrap_err();
    assert!(matches!(unknown, StorageError::UnknownSettings { .. }), "{unknown}");
    let error = catalog.config::<String>("d").unwrap_err().to_string();
    assert!(error.contains("the configuration is missing"), "{error}");
}
