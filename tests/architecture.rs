//! The rules of the house that a compiler does not know: which room may use which, where unsafe
//! code and foreign types may be, and how long a file may get.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 800;

/// What each room may use beside itself. `error` is the public error and its kinds.
const ARROWS: [(&str, &[&str]); 14] = [
    ("kernels", &[]),
    ("threads", &[]),
    ("model", &["kernels"]),
    ("error", &["model"]),
    ("jobs", &["error", "threads"]),
    ("multivector", &["kernels", "model", "quantization"]),
    ("quantization", &["kernels", "model"]),
    ("index", &["kernels", "model", "quantization"]),
    ("attention", &["index", "kernels", "model", "quantization"]),
    ("field", &["error", "index", "kernels", "model", "multivector", "quantization"]),
    ("segment", &["error", "field", "index", "model", "quantization"]),
    (
        "query",
        &[
            "error",
            "field",
            "index",
            "kernels",
            "model",
            "multivector",
            "quantization",
            "segment",
            "threads",
        ],
    ),
    (
        "collection",
        &[
            "error",
            "field",
            "index",
            "jobs",
            "kernels",
            "model",
            "multivector",
            "quantization",
            "query",
            "segment",
            "threads",
        ],
    ),
    ("database", &["collection", "error", "jobs", "model", "query", "segment"]),
];

/// Foreign crates that belong to some places only.
const RESERVED: [(&str, &[&str]); 12] = [
    ("rocksdb", &["storage/src/catalog/rocks.rs"]),
    ("memmap2", &["storage/src/mapped_file/mod.rs"]),
    ("libc", &["storage/src/mapped_file/lost_pages.rs"]),
    (
        "tonic",
        &["crates/client/", "crates/server/", "crates/cli/src/load.rs", "crates/cli/src/error.rs"],
    ),
    ("clap", &["crates/cli/"]),
    ("pyo3", &["clients/python/"]),
    ("numpy", &["clients/python/"]),
    ("simsimd", &["src/kernels/"]),
    ("faer", &["src/quantization/leanvec/"]),
    ("arrow_array", &["crates/cli/src/exchange/table/"]),
    ("arrow_ipc", &["crates/cli/src/exchange/table/"]),
    ("parquet", &["crates/cli/src/exchange/table/"]),
];

/// Which packages of the workspace each may be built on, by folder.
const PACKAGES: [(&str, &[&str]); 7] = [
    ("storage", &[]),
    ("crates/eval", &[]),
    (".", &["lanner-storage"]),
    ("crates/client", &["lanner"]),
    ("crates/server", &["lanner", "lanner-client"]),
    ("crates/cli", &["lanner", "lanner-client", "lanner-eval", "lanner-server", "lanner-storage"]),
    ("clients/python", &["lanner", "lanner-client", "lanner-storage"]),
];

/// Crates that whoever embeds the engine does not build.
const NOT_EMBEDDED: [&str; 7] =
    ["axum", "clap", "indicatif", "plotters", "prost", "tokio", "tonic"];

/// Files that may hold unsafe code; a counting allocator cannot be without.
const UNSAFE: [&str; 3] = ["src/kernels/", "storage/src/mapped_file/", "tests/allocations.rs"];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["src", "storage/src", "crates", "clients", "tests", "storage/tests", "benches"]
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
            assert!(room == "lib", "{name} is in a room without arrows");
            continue;
        };
        for used in words_after(&code(&text), "crate::") {
            // Of the types that the root re-exports the error is everybody's.
            let fine =
                used == room || allowed.contains(&used) || ["Error", "Result"].contains(&used);
            assert!(fine, "{name} uses crate::{used}");
            checked += 1;
        }
    }
    assert!(checked > 30, "the arrows were found");
}

/// The crates that a package is built on, beside those of its tests.
fn dependencies(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("Cargo.toml");
    let text = fs::read_to_string(path).unwrap();
    let sections = text.split("\n[").filter(|section| {
        let name = section.split(']').next().unwrap_or_default();
        name == "dependencies" || name.ends_with(".dependencies")
    });
    let lines = sections.filter(|s| !s.starts_with("workspace")).flat_map(|s| s.lines().skip(1));
    let names = lines.map(|line| line.split(['.', ' ', '=']).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn packages_are_built_on_those_below() {
    for (folder, allowed) in PACKAGES {
        let used = dependencies(folder);
        assert!(used.len() > 3, "the dependencies of {folder} were found");
        for name in used.iter().filter(|name| name.starts_with("lanner")) {
            assert!(allowed.contains(&name.as_str()), "{folder} is built on {name}");
        }
    }
    for folder in [".", "storage"] {
        for name in dependencies(folder) {
            assert!(!NOT_EMBEDDED.iter().any(|part| name.starts_with(part)), "{folder}: {name}");
        }
    }
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    for (name, text) in sources() {
        if !name.starts_with("src/") && !name.contains("/src/") {
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
