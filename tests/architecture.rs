//! The rules of the house that a compiler does not know: which room may use which, where unsafe
//! code and foreign types may be, and how long a file may get.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 800;

/// What each room may use beside itself. `error` is the public error and its kinds.
const ARROWS: [(&str, &[&str]); 13] = [
    ("kernels", &[]),
    ("model", &["kernels"]),
    ("error", &["model"]),
    ("jobs", &["error"]),
    ("multivector", &["kernels", "model", "quantization"]),
    ("quantization", &["kernels", "model"]),
    ("index", &["kernels", "model", "quantization"]),
    ("segment", &["error", "index", "kernels", "model", "multivector", "quantization"]),
    ("query", &["error", "index", "kernels", "model", "multivector", "quantization", "segment"]),
    (
        "collection",
        &[
            "error",
            "index",
            "jobs",
            "kernels",
            "model",
            "multivector",
            "quantization",
            "query",
            "segment",
        ],
    ),
    ("database", &["collection", "error", "jobs", "model", "segment"]),
    ("evaluation", &[]),
    ("service", &["collection", "database", "error", "index", "jobs", "model", "query", "segment"]),
];

/// Foreign crates that belong to some places only.
const RESERVED: [(&str, &[&str]); 6] = [
    ("rocksdb", &["storage/src/catalog/rocks.rs"]),
    ("memmap2", &["storage/src/mapped_file/mod.rs"]),
    ("libc", &["storage/src/mapped_file/lost_pages.rs"]),
    ("tonic", &["src/service/", "src/cli/"]),
    ("simsimd", &["src/kernels/"]),
    ("faer", &["src/quantization/leanvec/"]),
];

/// Files that may hold unsafe code.
const UNSAFE: [&str; 2] = ["src/kernels/", "storage/src/mapped_file/"];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "storage/src", "tests", "storage/tests", "benches", "examples"]
            .map(|folder| root.join(folder))
            .into();
    let mut sources = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                sources.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(sources.len() > 30, "the sources were found");
    sources
}

/// The code before a file's own tests, without comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The room of a source file of the root package: its folder, or its own name.
fn room(name: &str) -> Option<&str> {
    let inside = name.strip_prefix("src/")?;
    Some(inside.split('/').next()?.trim_end_matches(".rs"))
}

/// The words that follow `marker` in `code`.
fn words_after<'c>(code: &'c str, marker: &'c str) -> impl Iterator<Item = &'c str> {
    code.split(marker).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn arrows_between_rooms_are_never_reversed() {
    let arrows = BTreeMap::from(ARROWS);
    let mut checked = 0;
    for (name, text) in sources() {
        let Some(room) = room(&name) else { continue };
        let Some(allowed) = arrows.get(room) else {
            assert!(["lib", "main", "cli"].contains(&room), "{name} is in a room without arrows");
            continue;
        };
        for used in words_after(&code(&text), "crate::") {
            // Types that the root re-exports: the error is everybody's, the rest only upstairs.
            // (`crate::{…}` reads as an empty word.)
            let root = used.is_empty() || used.starts_with(char::is_uppercase);
            let upstairs = room == "service";
            let fine = used == room
                || allowed.contains(&used)
                || (root && (upstairs || ["Error", "Result"].contains(&used)));
            assert!(fine, "{name} uses crate::{used}");
            checked += 1;
        }
    }
    assert!(checked > 30, "the arrows were found");
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    for (name, text) in sources() {
        if !name.starts_with("src/") && !name.starts_with("storage/src/") {
            continue;
        }
        let code = code(&text);
        for (foreign, places) in RESERVED {
            if places.iter().all(|place| !name.starts_with(place)) {
                assert!(!code.contains(&format!("{foreign}::")), "{name} names {foreign}");
            }
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_belongs() {
    let mut found = 0;
    for (name, text) in sources() {
        let blocks = words_after(&code(&text), "unsafe").filter(|word| word.is_empty()).count();
        found += blocks;
        let allowed = UNSAFE.iter().any(|place| name.starts_with(place));
        assert!(blocks == 0 || allowed || name == "tests/architecture.rs", "{name} is unsafe");
    }
    assert!(found > 0, "the mapped file was found");
}

#[test]
fn files_stay_short() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{name} has {lines} lines, at most {MAX_FILE_LINES}");
    }
}
