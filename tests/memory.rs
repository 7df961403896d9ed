//! What stays in memory: the choice of each field reaches its files, and changes no answer.

mod common;

use std::collections::BTreeMap;

use common::Random;
use lanner::FileMemory;
use lanner::{
    Collection, CollectionConfig, Compression, Database, Memory, Metric, Point, QueryRequest,
    VectorField,
};

const MEMORIES: [Memory; 3] = [Memory::Pinned, Memory::Cached, Memory::Cold];

/// A field of codes, re-ranked by vectors, and one of vectors alone, for each choice.
fn config() -> CollectionConfig {
    let codes = || VectorField::single(16, Metric::Dot).compressed("lvq8/f16".parse().unwrap());
    let plain = || VectorField::single(16, Metric::Dot).compressed(Compression::none());
    MEMORIES.iter().fold(CollectionConfig::new(), |config, &memory| {
        config
            .with_field(format!("codes-{memory}"), codes().in_memory(memory))
            .with_field(format!("plain-{memory}"), plain().in_memory(memory))
    })
}

fn fill(collection: &Collection) {
    let mut random = Random::new(3);
    let fields: Vec<String> = collection.config().fields.keys().cloned().collect();
    let points = (0..1100_u64).map(|id| {
        let vector = random.vector(16);
        let point = Point::new(id);
        fields.iter().fold(point, |point, field| point.with_vector(field, vector.clone()))
    });
    collection.upsert(points).unwrap();
    collection.flush().unwrap();
}

/// Which field each file belongs to, by the number in its name, and what it is of that field.
fn placements(collection: &Collection) -> BTreeMap<(String, String), FileMemory> {
    let info = collection.info();
    let fields: Vec<String> = info.config.fields.keys().cloned().collect();
    let files = info.segments[0].files.iter();
    let place = |file: &lanner::SegmentFile| {
        let (kind, number) = file.name.trim_end_matches(".sec").split_once('-')?;
        let field: usize = number.parse().unwrap();
        Some(((fields[field].clone(), kind.to_owned()), file.memory))
    };
    files.filter_map(place).collect()
}

/// Locked memory of this process, in KiB, where the system says so.
fn locked_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmLck:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn each_field_uses_memory_as_it_is_told_and_finds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path()).unwrap();
        let collection = database.create_collection("c", config()).unwrap();
        fill(&collection);
        // What a merge reads of fields that are not read ahead.
        collection.delete(vec![7.into()], lanner::Durability::Synced).unwrap();
        collection.optimize().unwrap();
    }
    let before = locked_kib();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("c").unwrap();
    assert_eq!(*collection.config(), config(), "the choice is kept");
    let placements = placements(&collection);
    let of = |field: &str, kind: &str| placements[&(field.to_owned(), kind.to_owned())];

    for (field, kind) in [("codes-pinned", "codes"), ("plain-pinned", "field")] {
        let pinned = of(field, kind);
        assert!([FileMemory::Locked, FileMemory::LockRefused].contains(&pinned), "{pinned:?}");
        if let (FileMemory::Locked, Some(before)) = (pinned, before) {
            assert!(locked_kib().unwrap() > before + 1100 * 16 / 1024, "something is locked");
        }
    }
    assert_eq!(of("codes-cached", "codes"), FileMemory::Cached);
    assert_eq!(of("plain-cached", "field"), FileMemory::Cached);
    for field in ["codes-pinned", "codes-cached", "codes-cold"] {
        assert_eq!(of(field, "field"), FileMemory::Random, "vectors beside codes");
        assert_eq!(of(field, "secondary"), FileMemory::Random);
    }
    assert_eq!(of("codes-cold", "codes"), FileMemory::Random);
    assert_eq!(of("plain-cold", "field"), FileMemory::Random);

    let mut random = Random::new(4);
    for _ in 0..5 {
        let query = random.vector(16);
        let hits = |field: &str, exact: bool| {
            let request = QueryRequest::new(field, query.clone()).with_payload();
            let request = if exact { request.exact() } else { request };
            collection.query(&request).unwrap().hits
        };
        for kind in ["codes", "plain"] {
            for exact in [false, true] {
                let cached = hits(&format!("{kind}-cached"), exact);
                assert_eq!(cached.len(), 10);
                for memory in MEMORIES {
                    assert_eq!(hits(&format!("{kind}-{memory}"), exact), cached, "{memory}");
                }
            }
        }
    }
    assert!(collection.verify(|_| {}).is_empty(), "also what is read at random");
}
